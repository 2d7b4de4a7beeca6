#include "compressor/training/train.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/flow.h"
#include "compressor/cli/loop_options.h"
#include "compressor/cli/options.h"
#include "compressor/networks/integrator.h"
#include "compressor/networks/network.h"
#include "compressor/networks/ode_network.h"
#include "compressor/report/json.h"
#include "compressor/report/text.h"
#include "compressor/solver/tableau.h"

namespace quench::cli {
namespace {

struct Arguments {
  std::string network, output;
  networks::NetworkOptions options;
  int column = 0;
  networks::OdeNetworkOptions ode;
  bool exports_loop = false;
  // Options that mean something to some networks alone.
  const CLI::Option *integrator = nullptr, *classes = nullptr;
  std::vector<const CLI::Option*> of_ode, of_loop, of_solvers;
  FlowArguments flow;
  LoopArguments loop;
  JsonOption json;
};

constexpr const char* kLoopSolver = "dopri5";
constexpr const char* kFlow = "flow";

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

training::RunKey key_of(const networks::OdeNetworkOptions& options) {
  // Input and seed as above; loop and tolerances are of the file that is written.
  const auto& [network, solver, steps, extra_channels, loop, rtol, atol, classes, input, seed] = options;
  training::RunKey key;
  key.add("the network", network);
  key.add("--solver", solver);
  key.add("--steps", std::to_string(steps));
  key.add("--extra-channels", std::to_string(extra_channels));
  key.add("--classes", std::to_string(classes));
  return key;
}

struct Built {
  OnnxModel model;
  training::RunKey key;                               // what a run that goes on must have in common
  std::function<OnnxModel(const OnnxModel&)> finish;  // null: the trained model is what is written
};

// In the loop the solver of the training, or the default one where that cannot choose its steps.
networks::OdeNetworkOptions in_loop(networks::OdeNetworkOptions options) {
  options.loop = true;
  if (!solver::find_tableau(options.solver).has_error()) options.solver = kLoopSolver;
  return options;
}

Built build_ode(const Arguments& arguments, uint64_t seed) {
  networks::OdeNetworkOptions options = arguments.ode;
  options.network = arguments.network;
  options.classes = arguments.options.classes;
  options.seed = seed;
  Built built{networks::build(options), key_of(options), nullptr};
  if (arguments.exports_loop) {
    networks::build(in_loop(options));  // what cannot be is said before the training
    built.finish = [options](const OnnxModel& trained) {
      return networks::with_weights_of(networks::build(in_loop(options)), trained);
    };
  }
  return built;
}

Built build(const Arguments& arguments, uint64_t seed) {
  if (networks::is_ode_network(arguments.network)) return build_ode(arguments, seed);
  if (arguments.network.ends_with(".onnx")) return {load(arguments.network), {}, nullptr};
  networks::NetworkOptions options = arguments.options;
  options.seed = seed;
  options.depth = networks::depth_of(arguments.network);
  return {networks::build(options), key_of(options), nullptr};
}

std::string title_of(const Arguments& arguments) {
  if (arguments.network.ends_with(".onnx")) return std::filesystem::path(arguments.network).filename().string();
  if (networks::is_ode_network(arguments.network)) return arguments.network;
  return fmt::format("{}-{}", arguments.network, arguments.options.integrator);
}

// What a pass costs, behind each epoch's line.
std::string note_of(const Arguments& arguments) {
  if (!networks::is_ode_network(arguments.network)) return "";
  networks::OdeNetworkOptions options = arguments.ode;
  options.network = arguments.network;
  const int64_t evaluations = networks::evaluations_of(options);
  return evaluations > 0 ? fmt::format("  {} evaluations a pass", evaluations) : "";
}

// What would be given and do nothing is a slip of the pen.
void check_options(const Arguments& arguments) {
  const auto refuse = [&](const CLI::Option* option, const char* whose) {
    if (option->count() == 0) return;
    throw Error::make("{}: {} is for {}: leave it out", arguments.network, option->get_name(), whose);
  };
  const bool is_file = arguments.network.ends_with(".onnx"), is_ode = networks::is_ode_network(arguments.network);
  if (is_file || is_ode) refuse(arguments.integrator, "residual networks");
  if (is_file) refuse(arguments.classes, "new networks");
  const bool is_flow = arguments.network == kFlow;
  if (is_flow) {
    refuse(arguments.integrator, "residual networks");
    refuse(arguments.classes, "networks with classes");
  } else {
    for (const CLI::Option* option : arguments.flow.own()) refuse(option, "flow");
  }
  if (!is_ode || arguments.network == "odenet-twin") {
    for (const CLI::Option* option : arguments.of_ode) refuse(option, "networks with ODE blocks");
    if (!is_flow) {
      for (const CLI::Option* option : arguments.of_solvers) refuse(option, "flow and networks with ODE blocks");
    }
  }
  if (!arguments.exports_loop) {
    for (const CLI::Option* option : arguments.of_loop) refuse(option, "--export loop");
  }
}

void train_flow(const Arguments& arguments) {
  networks::FlowOptions options;
  const auto [solver, steps] = std::pair(arguments.of_solvers[0], arguments.of_solvers[1]);
  if (solver->count() > 0) options.solver = arguments.ode.solver;
  if (steps->count() > 0) options.steps = arguments.ode.steps;
  arguments.flow.run(options, arguments.output, arguments.loop, arguments.json);
}

void run(const Arguments& arguments) {
  check_options(arguments);
  if (arguments.network == kFlow) return train_flow(arguments);
  report::Progress progress;
  FileUse files;
  if (arguments.network.ends_with(".onnx")) files.reads_model(arguments.network);
  const training::LoopOptions loop =
      arguments.loop.get(files, arguments.output, title_of(arguments), arguments.json, progress, note_of(arguments));
  const Built built = build(arguments, loop.seed);
  const training::TrainReport report =
      training::train(built.model, arguments.output, loop, built.key, arguments.column, built.finish);
  progress.finish();
  if (report.output_bytes == 0) return;  // another process has written it
  arguments.json.show(report::to_text(report, arguments.output), report::to_json(report));
}

}  // namespace

void add_train(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("train", "Train a residual network, an ODE network or a flow to .onnx files");
  command
      ->add_option("network", arguments->network,
                   "resnet20, resnet32, resnet44, resnet56, resnet110; odenet, odenet-twin, odenet-cifar; flow; or an "
                   ".onnx file to go on with")
      ->required()
      ->type_name("NETWORK");
  command->add_option("-o,--output", arguments->output, "the .onnx file to write")->required()->type_name("OUT");
  arguments->json.add_to(*command);
  const std::vector<std::string_view> known = networks::integrator_names();
  arguments->integrator =
      command->add_option("--integrator", arguments->options.integrator, "how a step follows from f; default euler")
          ->check(CLI::IsMember(std::vector<std::string>(known.begin(), known.end())).description(""))
          ->type_name(fmt::format("{}", fmt::join(known, "|")));
  arguments->classes = command->add_option("--classes", arguments->options.classes, "default 10")
                           ->check(CLI::Range(2, 1 << 20))
                           ->type_name("N");
  command
      ->add_option("--column", arguments->column,
                   "of a network of columns (fractal-2 to fractal-4), the one to write alone; 1 is the shallowest")
      ->check(above_zero())
      ->type_name("K");
  const std::string ode = "ODE networks";
  const std::vector<std::string_view> solvers = solver::tableau_names();
  command->add_option("--solver", arguments->ode.solver, "of the ODE; default rk4")
      ->check(CLI::IsMember(std::vector<std::string>(solvers.begin(), solvers.end())).description(""))
      ->type_name(fmt::format("{}", fmt::join(solvers, "|")))
      ->group(ode);
  command->add_option("--steps", arguments->ode.steps, "of equal size, of each ODE block or the flow; default 2 or 8")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->group(ode);
  command
      ->add_option("--extra-channels", arguments->ode.extra_channels,
                   "of zeros, a multiple of 2, of 8 with odenet-cifar; default 0")
      ->check(CLI::Range(0, 1024))
      ->type_name("N")
      ->group(ode);
  command
      ->add_option("--export", arguments->exports_loop,
                   fmt::format("the file's ODE blocks: steps one after the other (default), or loops that choose their "
                               "steps, by --solver or else {}",
                               kLoopSolver))
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, bool>{{"unrolled", false}, {"loop", true}}).description(""))
      ->type_name("unrolled|loop")
      ->default_str("")
      ->group(ode);
  command->add_option("--rtol", arguments->ode.rtol, "of the loops' errors, relative; default 0.001")
      ->check(above_zero())
      ->type_name("R")
      ->group(ode);
  command->add_option("--atol", arguments->ode.atol, "of the loops' errors, absolute; default 0.001")
      ->check(above_zero())
      ->type_name("A")
      ->group(ode);
  for (const char* name : {"--solver", "--steps"}) arguments->of_solvers.push_back(command->get_option(name));
  for (const char* name : {"--extra-channels", "--export", "--rtol", "--atol"}) {
    arguments->of_ode.push_back(command->get_option(name));
  }
  for (const char* name : {"--rtol", "--atol"}) arguments->of_loop.push_back(command->get_option(name));
  arguments->loop.add_to(*command, defaults());
  arguments->flow.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
