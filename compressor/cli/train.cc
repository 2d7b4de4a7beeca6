#include "compressor/training/train.h"

#include <fmt/format.h>

#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/loop_options.h"
#include "compressor/cli/options.h"
#include "compressor/networks/integrator.h"
#include "compressor/networks/network.h"
#include "compressor/report/json.h"
#include "compressor/report/text.h"

namespace quench::cli {
namespace {

struct Arguments {
  std::string network, output;
  networks::NetworkOptions options;
  int column = 0;
  LoopArguments loop;
  JsonOption json;
};

training::LoopOptions defaults() {
  training::LoopOptions options;
  options.epochs = 30;
  options.schedule = training::RateSchedule::kOneCycle;
  options.learning_rate = 0.4;
  options.weight_decay = 5e-4;
  options.drop_path = 0.15;  // as Larsson et al. have it
  return options;
}

training::RunKey key_of(const networks::NetworkOptions& options) {
  const auto& [depth, integrator, classes, input, seed] = options;  // no option sets the input; the seed is the loop's
  training::RunKey key;
  key.add("a network of depth", std::to_string(depth));
  key.add("--integrator", integrator);
  key.add("--classes", std::to_string(classes));
  return key;
}

void run(const Arguments& arguments) {
  const bool from_file = arguments.network.ends_with(".onnx");
  const std::string title = from_file ? std::filesystem::path(arguments.network).filename().string()
                                      : fmt::format("{}-{}", arguments.network, arguments.options.integrator);
  report::Progress progress;
  FileUse files;
  if (from_file) files.reads_model(arguments.network);
  const training::LoopOptions loop = arguments.loop.get(files, arguments.output, title, arguments.json, progress);
  networks::NetworkOptions options = arguments.options;
  options.seed = loop.seed;
  if (!from_file) options.depth = networks::depth_of(arguments.network);
  const OnnxModel model = from_file ? load(arguments.network) : networks::build(options);
  const training::TrainReport report = training::train(
      model, arguments.output, loop, from_file ? training::RunKey() : key_of(options), arguments.column);
  progress.finish();
  if (report.output_bytes == 0) return;  // another process has written it
  arguments.json.show(report::to_text(report, arguments.output), report::to_json(report));
}

}  // namespace

void add_train(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("train", "Train a residual network, an integrator of an ODE, to an .onnx file");
  command
      ->add_option("network", arguments->network,
                   "resnet20, resnet32, resnet44, resnet56, resnet110; or an .onnx file to go on with")
      ->required()
      ->type_name("NETWORK");
  command->add_option("-o,--output", arguments->output, "the .onnx file to write")->required()->type_name("OUT");
  arguments->json.add_to(*command);
  const std::vector<std::string_view> known = networks::integrator_names();
  command->add_option("--integrator", arguments->options.integrator, "how a step follows from f; default euler")
      ->check(CLI::IsMember(std::vector<std::string>(known.begin(), known.end())).description(""))
      ->type_name(fmt::format("{}", fmt::join(known, "|")));
  command->add_option("--classes", arguments->options.classes, "default 10")
      ->check(CLI::Range(2, 1 << 20))
      ->type_name("N");
  command
      ->add_option("--column", arguments->column,
                   "of a network of columns (fractal-2 to fractal-4), the one to write alone; 1 is the shallowest")
      ->check(above_zero())
      ->type_name("K");
  arguments->loop.add_to(*command, defaults());
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
