// Images as .qim files, by the library that ships (quench/image.h), for programs: whole files in memory, errors thrown.
//
//     ImageCodec codec(read_file("photo.encoder.quench"), read_file("photo.decoder.quench"), threads);
//     const ImageCodec::File file = codec.encode(picture, 3.5);
//     const data::Picture decoded = codec.decode(file.bytes, "photo.qim");
#pragma once

#include <quench/image.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compressor/data/image.h"

namespace quench::measure {

// What a .qim file says of its image. Throws quench::Error with `name`.
quench_image_info read_image_info(std::span<const std::byte> file, const std::string& name);

class ImageCodec {
 public:
  struct File {
    std::vector<std::byte> bytes;
    double quality = 0;
  };

  // The bytes of its .quench files, of which one may be empty; `name`: of both, for messages. Throws quench::Error.
  ImageCodec(std::vector<std::byte> encoder, std::vector<std::byte> decoder, std::string name, int threads);

  // The highest quality; the lowest is 1.
  double qualities() const;

  // Throws quench::Error where the quality is none of the codec's.
  File encode(const data::Picture& picture, double quality);

  // The largest file of at most `most` bytes, found by interpolation between qualities; within 0.2 % of what there is, or of
  // a quality next to one that is too large. Throws quench::Error where even the lowest quality takes more.
  File encode_within(const data::Picture& picture, uint64_t most);

  // Grey and transparency as the file has them. Throws quench::Error with `name`.
  data::Picture decode(std::span<const std::byte> file, const std::string& name);

 private:
  struct Release {
    void operator()(quench_image_codec* codec) const { quench_image_codec_release(codec); }
  };

  std::vector<std::byte> encoder_, decoder_;
  std::string name_;
  std::unique_ptr<quench_image_codec, Release> codec_;
};

}  // namespace quench::measure
