// Images in memory: decoding, and fitting them to what a model takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "compressor/data/dataset.h"

namespace quench::data {

// Rows of interleaved RGB.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> pixels;
};

// PNG (transparency over black) or JPEG, by its first bytes; samples as they lie in the file (see dataset.h). At most
// 2^26 pixels. Throws quench::Error.
Image read_image(const std::filesystem::path& path);
Image decode_image(std::span<const std::byte> file, const std::string& name);  // `name`: for messages

// An image as a picture, for a codec: grey stays grey, and transparency stays.
struct Picture {
  int width = 0;
  int height = 0;
  int samples = 3;           // of a pixel: 1 grey, 3 RGB, 4 RGB and how opaque
  bool had_16_bits = false;  // a sample; rounded to 8 here
  std::vector<uint8_t> pixels;
};

// PNG or JPEG, as read_image() otherwise. Throws quench::Error.
Picture read_picture(const std::filesystem::path& path);
// A PNG file; `name`: for messages. Throws quench::Error.
std::vector<std::byte> encode_png(const Picture& picture, const std::string& name);
// Appears complete or not at all. Throws quench::Error.
void write_png(const std::filesystem::path& path, const Picture& picture);

// The middle of a picture: a square of `side` pixels, or less where the picture is smaller.
Picture middle_of(const Picture& picture, int side);

// How a model wants its images.
class ImageTarget {
 public:
  // `width` and `height`: what open dimensions of the model's input become. Throws quench::Error where the model does
  // not take images, or mean and std do not fit its channels.
  ImageTarget(const DatasetOptions& options, int width, int height);

  // Of one sample, in the model's layout.
  const std::vector<int64_t>& shape() const { return shape_; }
  // `out` has as many values as shape() says.
  void convert(const Image& image, std::span<float> out) const;

 private:
  void read_shape(const DatasetOptions& options, int width, int height);

  Layout layout_ = Layout::kNchw;
  int width_ = 0, height_ = 0, channels_ = 3;
  bool bgr_ = false;
  std::vector<int64_t> shape_;
  std::vector<float> factor_, offset_;  // value = pixel * factor + offset, per channel
};

// True for names that end in .png, .jpg or .jpeg, in any case.
bool is_image_name(const std::filesystem::path& path);

// Scaled so that it covers width x height, then cropped in the middle. The image itself where it has that size.
Image fit_image(const Image& image, int width, int height);

}  // namespace quench::data
