#include <fmt/format.h>

#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/loop_options.h"
#include "compressor/cli/options.h"
#include "compressor/report/json.h"
#include "compressor/report/picture_panels.h"
#include "compressor/report/text.h"
#include "compressor/training/codec/train_codec.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

struct Arguments {
  std::string prefix;
  training::CodecOptions options;
  std::vector<double> betas, bits_per_pixel;
  std::string data, test_data;
  uint64_t samples = 0;
  LoopArguments loop;
  JsonOption json;
};

training::LoopOptions defaults() {
  training::LoopOptions options;
  options.epochs = 40;
  options.batch = 4;
  options.optimizer = training::OptimizerKind::kAdam;
  options.learning_rate = 2e-4;
  return options;
}

std::filesystem::path file_of(const std::string& prefix, const char* network) {
  return fmt::format("{}.{}.onnx", prefix, network);
}

training::QualityRange range_of(const std::vector<double>& ends) {
  if (ends.empty()) return {};
  return {ends.front(), ends.back()};
}

std::string figure_of(const std::vector<training::DecodedMiddle>& middles) {
  if (middles.empty()) return {};
  report::PicturePanels panels{"Middles of test pictures", middles.front().decoded.size() + 1, {}};
  for (const training::DecodedMiddle& middle : middles) {
    panels.panels.push_back({middle.file, middle.original});
    for (const auto& [measured, pixels] : middle.decoded) {
      panels.panels.push_back({fmt::format("quality {:g}: {:.3f} bits per pixel, MS-SSIM {:.4f}", measured.quality,
                                           measured.bits_per_pixel, measured.ms_ssim),
                               pixels});
    }
  }
  return to_figure(panels);
}

void run(const Arguments& arguments) {
  report::Progress progress;
  FileUse files;
  files.reads_data(arguments.data);
  files.reads_data(arguments.test_data);
  files.writes(file_of(arguments.prefix, "decoder"), FileUse::Place::kFile);
  training::CodecOptions options = arguments.options;
  std::vector<training::DecodedMiddle> middles;
  options.on_pictures = [&middles](const std::vector<training::DecodedMiddle>& latest) { middles = latest; };
  options.loop = arguments.loop.get(files, file_of(arguments.prefix, "encoder"), arguments.prefix, arguments.json,
                                    progress, "", [&middles] { return figure_of(middles); });
  options.loop.data = arguments.data;
  options.loop.test_data = arguments.test_data;
  options.loop.samples = arguments.samples;
  options.network.seed = options.loop.seed;
  options.betas = range_of(arguments.betas);
  options.bits_per_pixel = range_of(arguments.bits_per_pixel);
  if (options.bits_per_pixel.finest < options.bits_per_pixel.coarsest) {
    throw Error::make("--bpp: the finest quality cannot take fewer bits than the coarsest: give the smaller one first");
  }
  const training::CodecReport report = training::train_codec(arguments.prefix, options);
  progress.finish();
  if (report.encoder_bytes == 0) return;  // another process has written it
  arguments.json.show(report::to_text(report, arguments.prefix), report::to_json(report));
}

}  // namespace

void add_codec_train(CLI::App& codec) {
  auto arguments = std::make_shared<Arguments>();
  training::CodecOptions& options = arguments->options;
  CLI::App* command = codec.add_subcommand("train", "Train the two networks of an image codec on photographs");
  command->add_option("-o,--output", arguments->prefix, "writes PREFIX.encoder.onnx and PREFIX.decoder.onnx")
      ->required()
      ->type_name("PREFIX");
  arguments->json.add_to(*command);
  const std::string data = "Data and loss", network = "Networks";
  command->add_option("--data", arguments->data, "a folder of photographs, PNG or JPEG")
      ->required()
      ->type_name("FOLDER")
      ->group(data);
  command->add_option("--test-data", arguments->test_data, "a folder of photographs to measure rate and quality on")
      ->type_name("FOLDER")
      ->group(data);
  command->add_option("--samples", arguments->samples, "pieces of an epoch; default: as many as there is room for")
      ->check(above_zero())
      ->type_name("N")
      ->group(data);
  command->add_option("--crop", options.crop, "side of a piece in pixels; default 192")
      ->check(CLI::Range(16, 4096))
      ->type_name("N")
      ->group(data);
  command->add_option("--loss", options.distortion, "default ms-ssim")
      ->transform(one_of(training::kDistortions))
      ->type_name("ms-ssim|mse")
      ->default_str("")
      ->group(data);
  CLI::Option* betas =
      command
          ->add_option(
              "--beta", arguments->betas,
              "loss that a bit per pixel costs, at the coarsest and at the finest quality; default 1 and 0.005 "
              "for ms-ssim, 0.015 and 0.00015 for mse")
          ->expected(2)
          ->check(above_zero())
          ->type_name("B")
          ->group(data);
  command
      ->add_option("--bpp", arguments->bits_per_pixel,
                   "instead: bits per pixel that the pieces shall take on average, at the coarsest and at the finest "
                   "quality; what they cost is steered to it")
      ->expected(2)
      ->check(above_zero())
      ->excludes(betas)
      ->type_name("B")
      ->group(data);
  command->add_option("--channels", options.network.channels, "a multiple of 4; default 64")
      ->check(CLI::Range(8, 1024))
      ->type_name("N")
      ->group(network);
  command->add_option("--latents", options.network.latents, "channels that are coded; default 48")
      ->check(CLI::Range(1, 192))
      ->type_name("N")
      ->group(network);
  command->add_option("--blocks", options.network.blocks, "residual blocks of each network; default 3")
      ->check(CLI::Range(0, 100))
      ->type_name("N")
      ->group(network);
  command->add_option("--qualities", options.network.qualities, "that one codec has; default 8")
      ->check(CLI::Range(1, 64))
      ->type_name("N")
      ->group(network);
  command->add_option("--centers", options.centers, "of the latent values; default 255")
      ->check(CLI::Range(2, 255))
      ->type_name("L")
      ->group(network);
  command
      ->add_option("--assignment", options.assignment,
                   "of latent values to centers; default hard, with soft gradients; annealed: soft, and ever harder")
      ->transform(one_of(training::kAssignments))
      ->type_name("hard|annealed")
      ->default_str("")
      ->group(network);
  arguments->loop.add_loop_to(*command, defaults());
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
