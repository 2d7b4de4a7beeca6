// `quench codec compress`: the two networks of an image codec as .quench files, by what they cost in pictures.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "compressor/cli/codec_files.h"
#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/cli/temporary_folder.h"
#include "compressor/compress/compress.h"
#include "compressor/data/files.h"
#include "compressor/data/image.h"
#include "compressor/measure/image_codec.h"
#include "compressor/measure/ms_ssim.h"
#include "compressor/report/progress.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using graph::HostTensor;

// Networks are calibrated on pieces of kPieceSide pixels, a multiple of 8, and judged by the middles of pictures, of at most
// kJudgedSide, at kQualities qualities from the lowest to the highest.
constexpr int kPieceSide = 192, kJudgedSide = 256;
constexpr size_t kJudgedPictures = 8, kPieces = 64;
constexpr int kQualities = 3;

struct Arguments {
  std::string input, output, data;
  double max_loss = 0.001;
  int threads = 0;
  JsonOption json;
};

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
  CodecCompression(const Arguments& arguments, const fs::path& encoder, const fs::path& decoder,
                   report::Progress& progress)
      : arguments_(arguments),
        threads_(resolve_threads(arguments.threads)),
        progress_(progress),
        encoder_file_(encoder),
        decoder_file_(decoder),
        encoder_(read_network(encoder)),
        decoder_(read_network(decoder)) {
    const std::vector<fs::path> files = files_in(arguments.data, data::is_image_name);
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

  struct Networks {
    std::vector<std::byte> encoder, decoder;
    double loss;  // of MS-SSIM at the same rates, by both
  };
  Networks compress() {
    Networks small;
    small.encoder = compress("encoder", encoder_file_, encoder_samples_,
                             [&](const std::vector<std::byte>& file) { return loss(file, decoder_); });
    const double encoder_loss = loss(small.encoder, decoder_);
    small.decoder = compress("decoder", decoder_file_, decoder_samples_, [&](const std::vector<std::byte>& file) {
      return loss(small.encoder, file) - encoder_loss;
    });
    small.loss = loss(small.encoder, small.decoder);
    return small;
  }

 private:
  measure::ImageCodec open(std::vector<std::byte> encoder, std::vector<std::byte> decoder) const {
    return {std::move(encoder), std::move(decoder), arguments_.input, threads_};
  }

  void make_samples(const std::vector<fs::path>& files) {
    const OnnxModel model = load(encoder_file_);
    graph::Evaluator encoder(model, {.threads = threads_});
    const double last = open(encoder_, decoder_).qualities();
    for (size_t i = 0; i < files.size(); ++i) {
      progress_.update("making samples", static_cast<double>(i) / static_cast<double>(files.size()));
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
      sum.ms_ssim += measure::ms_ssim(codec.decode(file.bytes, arguments_.input), picture);
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
    const TemporaryFolder folder;
    quantizer::CompressOptions options;
    options.threads = threads_;
    options.trial = folder.path() / "trial.quench";
    options.data = [&samples](uint64_t index, int64_t batch) { return batch_of(samples, index, batch); };
    options.accepts = [&](const fs::path& file) { return loss_of(data::read_file(file)) <= arguments_.max_loss; };
    options.progress = [&](std::string_view stage, double share) {
      progress_.update(fmt::format("{}: {}", side, stage), share);
    };
    const fs::path output = folder.path() / "network.quench";
    quantizer::compress(input, output, options);
    return data::read_file(output);
  }

  const Arguments& arguments_;
  int threads_;
  report::Progress& progress_;
  fs::path encoder_file_, decoder_file_;
  std::vector<std::byte> encoder_, decoder_;  // without loss
  std::vector<data::Picture> pictures_;
  std::vector<Sample> encoder_samples_, decoder_samples_;
  std::vector<Point> curve_;
};

fs::path onnx_file(const std::string& prefix, const char* side) {
  fs::path file = prefix + "." + side + ".onnx";
  std::error_code error;
  if (!fs::exists(file, error)) throw Error::make("{}: there is no such file", file.string());
  return file;
}

void run(const Arguments& arguments) {
  FileUse files;
  const fs::path encoder = onnx_file(arguments.input, "encoder"), decoder = onnx_file(arguments.input, "decoder");
  const fs::path small_encoder = arguments.output + ".encoder.quench",
                 small_decoder = arguments.output + ".decoder.quench";
  files.reads_model(encoder);
  files.reads_model(decoder);
  files.reads_data(arguments.data);
  files.writes(small_encoder, FileUse::Place::kFile);
  files.writes(small_decoder, FileUse::Place::kFile);
  arguments.json.declare(files);
  report::Progress progress;
  CodecCompression compression(arguments, encoder, decoder, progress);
  const CodecCompression::Networks small = compression.compress();
  data::write_file(small_encoder, small.encoder);
  data::write_file(small_decoder, small.decoder);
  progress.finish();
  const size_t encoder_bytes = small.encoder.size(), decoder_bytes = small.decoder.size();
  const nlohmann::ordered_json json = {
      {"encoder_bytes", encoder_bytes}, {"decoder_bytes", decoder_bytes}, {"ms_ssim_loss", small.loss}};
  arguments.json.show(
      fmt::format("{}: {} bytes\n{}: {} bytes\nMS-SSIM lost at the same rates: {:.5f}\n", small_encoder.string(),
                  encoder_bytes, small_decoder.string(), decoder_bytes, small.loss),
      json.dump(2) + "\n");
}

}  // namespace

void add_codec_compress(CLI::App& codec) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = codec.add_subcommand("compress", "Make small .quench files of a codec's networks");
  command->add_option("input", arguments->input, "of PREFIX.encoder.onnx and PREFIX.decoder.onnx")
      ->required()
      ->type_name("PREFIX");
  command->add_option("-o,--output", arguments->output, "writes OUT.encoder.quench and OUT.decoder.quench")
      ->required()
      ->type_name("OUT");
  command->add_option("--data", arguments->data, "a folder of photographs, PNG or JPEG, to calibrate and judge on")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option("--max-loss", arguments->max_loss,
                   "the smallest that lose at most this much MS-SSIM each, at the same rates; default 0.001")
      ->check(above_zero())
      ->type_name("L");
  add_threads(*command, arguments->threads);
  arguments->json.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
