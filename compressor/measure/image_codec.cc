#include "compressor/measure/image_codec.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "formats/error.h"

namespace quench::measure {

namespace {

constexpr double kQualityStep = 1.0 / 256;  // of a file's quality

// `pixels` is written to by a decoder only.
quench_image_pixels pixels_of(const data::Picture& picture) {
  return {const_cast<uint8_t*>(picture.pixels.data()), static_cast<uint32_t>(picture.width),
          static_cast<uint32_t>(picture.height),
          static_cast<size_t>(picture.width) * static_cast<size_t>(picture.samples),
          static_cast<quench_image_format>(picture.samples)};
}

}  // namespace

quench_image_info read_image_info(std::span<const std::byte> file, const std::string& name) {
  quench_image_info info;
  quench_status status = QUENCH_STATUS_INIT;
  if (quench_image_read_info(file.data(), file.size(), &info, &status) != QUENCH_OK) {
    throw Error::make("{}: {}", name, status.message);
  }
  return info;
}

ImageCodec::ImageCodec(std::vector<std::byte> encoder, std::vector<std::byte> decoder, std::string name, int threads)
    : encoder_(std::move(encoder)), decoder_(std::move(decoder)), name_(std::move(name)) {
  quench_image_options options = {};
  options.size = sizeof options;
  options.threads = threads;
  quench_image_codec* codec = nullptr;
  quench_status status = QUENCH_STATUS_INIT;
  const auto bytes = [](const std::vector<std::byte>& file) { return file.empty() ? nullptr : file.data(); };
  if (quench_image_codec_open(bytes(encoder_), encoder_.size(), bytes(decoder_), decoder_.size(), &options, &codec,
                              &status) != QUENCH_OK) {
    throw Error::make("{}: {}", name_, status.message);
  }
  codec_.reset(codec);
}

double ImageCodec::qualities() const { return static_cast<double>(quench_image_codec_qualities(codec_.get())); }

ImageCodec::File ImageCodec::encode(const data::Picture& picture, double quality) {
  const quench_image_pixels pixels = pixels_of(picture);
  void* file = nullptr;
  size_t size = 0;
  quench_status status = QUENCH_STATUS_INIT;
  if (quench_image_encode(codec_.get(), &pixels, static_cast<float>(quality), &file, &size, &status) != QUENCH_OK) {
    throw Error::make("{}: {}", name_, status.message);
  }
  const auto* first = static_cast<const std::byte*>(file);
  File made{{first, first + size}, std::round(quality / kQualityStep) * kQualityStep};
  quench_image_free(codec_.get(), file, size);
  return made;
}

ImageCodec::File ImageCodec::encode_within(const data::Picture& picture, uint64_t most) {
  constexpr double kNearEnough = 0.998;
  const double wanted = std::log(static_cast<double>(most));
  const auto log_size = [](const File& file) { return std::log(static_cast<double>(file.bytes.size())); };
  File highest = encode(picture, qualities());
  if (highest.bytes.size() <= most) return highest;
  File best = encode(picture, 1);
  if (best.bytes.size() > most) {
    throw Error::make("{} bytes are too few: at the lowest quality it takes {}", most, best.bytes.size());
  }
  // Always between one that fits and one that does not. Sizes are about exponential in the quality.
  double above = highest.quality, above_size = log_size(highest);
  while (static_cast<double>(best.bytes.size()) < kNearEnough * static_cast<double>(most) &&
         above - best.quality > 1.5 * kQualityStep) {
    const double share = (wanted - log_size(best)) / (above_size - log_size(best));
    const double guess = best.quality + std::clamp(share, 0.05, 0.95) * (above - best.quality);
    const double on_grid = std::round(guess / kQualityStep) * kQualityStep;
    File tried = encode(picture, std::clamp(on_grid, best.quality + kQualityStep, above - kQualityStep));
    if (tried.bytes.size() <= most) {
      best = std::move(tried);
    } else {
      above = tried.quality;
      above_size = log_size(tried);
    }
  }
  return best;
}

data::Picture ImageCodec::decode(std::span<const std::byte> file, const std::string& name) {
  const quench_image_info info = read_image_info(file, name);
  data::Picture picture;
  picture.width = static_cast<int>(info.width);
  picture.height = static_cast<int>(info.height);
  picture.samples = info.has_alpha != 0 ? 4 : info.is_grey != 0 ? 1 : 3;
  picture.pixels.resize(size_t{info.width} * info.height * static_cast<size_t>(picture.samples));
  const quench_image_pixels pixels = pixels_of(picture);
  quench_status status = QUENCH_STATUS_INIT;
  if (quench_image_decode(codec_.get(), file.data(), file.size(), &pixels, &status) != QUENCH_OK) {
    throw Error::make("{}: {}", name, status.message);
  }
  return picture;
}

}  // namespace quench::measure
