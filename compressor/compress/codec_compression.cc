#include "compressor/compress/codec_compression.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "compressor/compress/compress.h"
#include "compressor/data/files.h"
#include "compressor/data/image.h"
#include "compressor/graph/evaluator.h"
#include "compressor/measure/image_codec.h"
#include "compressor/measure/ms_ssim.h"
#include "formats/error.h"
#include "formats/onnx/model_file.h"

namespace quench::quantizer {
namespace {

namespace fs = std::filesystem;
using graph::HostTensor;

// Networks are calibrated on pieces of kPieceSide pixels, a multiple of 8, and judged by the middles of pictures, of at most
// kJudgedSide, at kQualities qualities from the lowest to the highest.
constexpr int kPieceSide = 192, kJudgedSide = 256;
constexpr size_t kJudgedPictures = 8, kPieces = 64;
constexpr int kQualities = 3;

// Pictures of which at most `count` are taken, evenly from all.
std::vector<fs::path> some_of(const std::vector<fs::path>& all, size_t count) {
  std::vector<fs::path> some;
  const size_t taken = std::min(all.size(), count);
  for (size_t i = 0; i < taken; ++i) some.push_back(all[i * all.size() / taken]);
  return some;
}

// Float32 [1, 3, kPieceSide, kPieceSide], 0 to 255, of an image's middle.
HostTensor piece_of(const fs::path& file) {
  const data::Image image = data::read_image(file);
  if (image.width < kPieceSide || image.height < kPieceSide) {
    throw Error::make("{}: {} x {} pixels are too few to calibrate on; give images of {} x {} and more", file.string(),
                      image.width, image.height, kPieceSide, kPieceSide);
  }
  HostTensor piece = HostTensor::float32("image", {1, 3, kPieceSide, kPieceSide});
  const int left = (image.width - kPieceSide) / 2, top = (image.height - kPieceSide) / 2;
  float* out = piece.floats().data();
  for (int color = 0; color < 3; ++color) {
    for (int y = 0; y < kPieceSide; ++y) {
      for (int x = 0; x < kPieceSide; ++x) {
        const int64_t pixel = int64_t{top + y} * image.width + left + x;
        *out++ = image.pixels[static_cast<size_t>(3 * pixel + color)];
      }
    }
  }
  return piece;
}

// What the two networks are given: a sample is the inputs of one of them.
using Sample = std::vector<HostTensor>;

// Samples number index * batch and on, along the first axis.
std::vector<HostTensor> batch_of(const std::vector<Sample>& samples, uint64_t index, int64_t batch) {
  const auto size = static_cast<uint64_t>(batch);
  std::vector<HostTensor> joined;
  for (uint64_t i = index * size; i < std::min<uint64_t>((index + 1) * size, samples.size()); ++i) {
    if (joined.empty()) {
      joined = samples[i];
      continue;
    }
    for (size_t input = 0; input < joined.size(); ++input) {
      const HostTensor& more = samples[i][input];
      joined[input].dims[0] += more.dims[0];
      joined[input].bytes.insert(joined[input].bytes.end(), more.bytes.begin(), more.bytes.end());
    }
  }
  return joined;
}

// Rate and MS-SSIM at a quality, means over pictures.
struct Point {
  double bpp = 0, ms_ssim = 0;
};

class CodecCompression {
 public:
  CodecCompression(const CodecModels& models, const std::vector<fs::path>& files, const CodecCompressOptions& options)
      : models_(models),
        options_(options),
        encoder_(lossless_network(models.encoder, options.folder)),
        decoder_(lossless_network(models.decoder, options.folder)) {
    for (const fs::path& file : some_of(files, kJudgedPictures)) {
      pictures_.push_back(data::middle_of(data::read_picture(file), kJudgedSide));
    }
    make_samples(some_of(files, kPieces));
    // Between these the loss of a codec with other rates is found.
    const measure::ImageCodec codec = open(encoder_, decoder_);
    constexpr int steps = 2 * (kQualities - 1);
    for (int i = 0; i <= steps; ++i)
      curve_.push_back(measure(encoder_, decoder_, 1 + (codec.qualities() - 1) * i / steps));
  }

  CompressedCodec compress() {
    CompressedCodec small;
    small.encoder = compress("encoder", models_.encoder, encoder_samples_,
                             [&](const std::vector<std::byte>& file) { return loss(file, decoder_); });
    const double encoder_loss = loss(small.encoder, decoder_);
    small.decoder = compress("decoder", models_.decoder, decoder_samples_, [&](const std::vector<std::byte>& file) {
      return loss(small.encoder, file) - encoder_loss;
    });
    small.loss = loss(small.encoder, small.decoder);
    return small;
  }

 private:
  measure::ImageCodec open(std::vector<std::byte> encoder, std::vector<std::byte> decoder) const {
    return {std::move(encoder), std::move(decoder), models_.encoder.string() + " and its decoder", options_.threads};
  }

  void make_samples(const std::vector<fs::path>& files) {
    const OnnxModel model = load(models_.encoder);
    graph::Evaluator encoder(model, {.threads = options_.threads});
    const double last = open(encoder_, decoder_).qualities();
    for (size_t i = 0; i < files.size(); ++i) {
      show("making samples", static_cast<double>(i) / static_cast<double>(files.size()));
      const auto quality = static_cast<float>(1 + std::fmod(static_cast<double>(i), last));
      const Sample sample = {piece_of(files[i]), HostTensor::float32("quality", {1, 1}, {{quality}})};
      HostTensor indices = encoder.run(sample).front();
      indices.name = "indices";
      encoder_samples_.push_back(sample);
      decoder_samples_.push_back({std::move(indices), sample.back()});
    }
  }

  Point measure(const std::vector<std::byte>& encoder, const std::vector<std::byte>& decoder, double quality) const {
    measure::ImageCodec codec = open(encoder, decoder);
    Point sum;
    for (const data::Picture& picture : pictures_) {
      const measure::ImageCodec::File file = codec.encode(picture, quality);
      sum.bpp += 8.0 * static_cast<double>(file.bytes.size()) / picture.width / picture.height;
      sum.ms_ssim += measure::ms_ssim(codec.decode(file.bytes, "a file of it"), picture);
    }
    const auto count = static_cast<double>(pictures_.size());
    return {sum.bpp / count, sum.ms_ssim / count};
  }

  // The MS-SSIM that the codec had at a rate: on the line between two known points, or beyond the last ones.
  double before(double bpp) const {
    size_t i = 1;
    while (i + 1 < curve_.size() && curve_[i].bpp < bpp) ++i;
    const Point &a = curve_[i - 1], &b = curve_[i];
    const double run = b.bpp - a.bpp;  // 0 where the codec has one quality
    return run > 0 ? a.ms_ssim + (b.ms_ssim - a.ms_ssim) * (bpp - a.bpp) / run : b.ms_ssim;
  }

  double loss(const std::vector<std::byte>& encoder, const std::vector<std::byte>& decoder) const {
    const double last = open(encoder, decoder).qualities();
    double sum = 0;
    for (int i = 0; i < kQualities; ++i) {
      const Point point = measure(encoder, decoder, 1 + (last - 1) * i / (kQualities - 1));
      sum += before(point.bpp) - point.ms_ssim;
    }
    return sum / kQualities;
  }

  std::vector<std::byte> compress(const char* side, const fs::path& input, const std::vector<Sample>& samples,
                                  const std::function<double(const std::vector<std::byte>&)>& loss_of) {
    CompressOptions options;
    options.threads = options_.threads;
    options.trial = options_.folder / "trial.quench";
    options.data = [&samples](uint64_t index, int64_t batch) { return batch_of(samples, index, batch); };
    options.accepts = [&](const fs::path& file) { return loss_of(data::read_file(file)) <= options_.max_loss; };
    options.progress = [&](std::string_view stage, double share) { show(fmt::format("{}: {}", side, stage), share); };
    const fs::path output = options_.folder / "network.quench";
    quantizer::compress(input, output, options);
    return data::read_file(output);
  }

  void show(std::string_view stage, double share) const {
    if (options_.progress) options_.progress(stage, share);
  }

  const CodecModels& models_;
  const CodecCompressOptions& options_;
  std::vector<std::byte> encoder_, decoder_;  // without loss
  std::vector<data::Picture> pictures_;
  std::vector<Sample> encoder_samples_, decoder_samples_;
  std::vector<Point> curve_;
};

}  // namespace

CompressedCodec compress_codec(const CodecModels& models, const std::vector<fs::path>& pictures,
                               const CodecCompressOptions& options) {
  return CodecCompression(models, pictures, options).compress();
}

std::vector<std::byte> lossless_network(const fs::path& model, const fs::path& folder) {
  const fs::path converted = folder / "lossless.quench";
  CompressOptions options;
  options.quality = Quality::kLossless;
  options.calibrate = false;
  compress(model, converted, options);
  return data::read_file(converted);
}

}  // namespace quench::quantizer
