#include "compressor/training/train.h"

#include <fmt/ranges.h>

#include <charconv>
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
  std::string solver, steps;  // empty: not given
  bool exports_loop = false;
  solver::Gradient gradient = solver::Gradient::kStored;
  const CLI::Option *export_given = nullptr, *gradient_given = nullptr;
  // Options that mean something to some networks alone.
  const CLI::Option *integrator = nullptr, *classes = nullptr;
  std::vector<const CLI::Option*> of_ode, of_tolerances, of_solvers;
  FlowArguments flow;
  LoopArguments loop;
  JsonOption json;
};

constexpr const char* kAdaptiveSolver = "dopri5";
constexpr const char* kAdaptive = "adaptive";
constexpr const char* kFlow = "flow";
constexpr int kUnrolledSteps = 8;  // of the file, where a training's were adaptive

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

struct Built {
  OnnxModel model;
  training::RunKey key;  // what a run that goes on must have in common
  // What is written, and what is measured after each epoch, of the trained model; null: that is it.
  std::function<OnnxModel(const OnnxModel&)> finish, judged;
};

bool is_adaptive(const Arguments& arguments) { return arguments.steps == kAdaptive; }

bool writes_loops(const Arguments& arguments) {
  return arguments.export_given->count() > 0 ? arguments.exports_loop : is_adaptive(arguments);
}

// Whether the training solves the ODE blocks, in place of a graph in which they are unrolled.
bool solves_blocks(const Arguments& arguments) {
  return is_adaptive(arguments) || arguments.gradient != solver::Gradient::kStored;
}

networks::OdeNetworkOptions ode_network_of(const Arguments& arguments) {
  networks::OdeNetworkOptions options = arguments.ode;
  options.network = arguments.network;
  options.classes = arguments.options.classes;
  if (is_adaptive(arguments)) {
    options.solver = kAdaptiveSolver;
    const CLI::Option* given = arguments.flow.export_steps();
    options.steps = given->count() > 0 ? given->as<int>() : kUnrolledSteps;
  } else if (!arguments.steps.empty()) {
    options.steps = std::stoi(arguments.steps);
  }
  if (!arguments.solver.empty()) options.solver = arguments.solver;
  return options;
}

training::OdeOptions solver_of(const Arguments& arguments) {
  if (!solves_blocks(arguments)) return {};
  const networks::OdeNetworkOptions network = ode_network_of(arguments);
  return {networks::ode_block_names(network.network),
          network.solver,
          is_adaptive(arguments) ? 0 : network.steps,
          network.rtol,
          network.atol,
          arguments.gradient_given->count() > 0 ? arguments.gradient : solver::Gradient::kRecompute};
}

training::RunKey key_of(const Arguments& arguments, const networks::OdeNetworkOptions& options) {
  // Input and seed as above; the form follows from the others, and its tolerances may be of the file alone.
  const auto& [network, form, solver, steps, extra_channels, rtol, atol, classes, input, seed] = options;
  training::RunKey key;
  key.add("the network", network);
  key.add("--solver", solver);
  key.add("--steps", is_adaptive(arguments) ? kAdaptive : std::to_string(steps));
  key.add("--extra-channels", std::to_string(extra_channels));
  key.add("--classes", std::to_string(classes));
  const training::OdeOptions how = solver_of(arguments);
  if (!how.blocks.empty()) key.add("--gradient", training::name_in(training::kGradients, how.gradient));
  if (!is_adaptive(arguments)) return key;
  key.add("--rtol", fmt::format("{}", rtol));
  key.add("--atol", fmt::format("{}", atol));
  return key;
}

// What is written: in a loop by the solver of the training, or the default one where that cannot choose its steps.
networks::OdeNetworkOptions in_file(const Arguments& arguments, networks::OdeNetworkOptions options) {
  if (!writes_loops(arguments)) return options;
  options.form = networks::OdeForm::kLoop;
  const bool has_error = solver::find_tableau(options.solver).has_error();
  if (!has_error && !is_adaptive(arguments)) options.solver = kAdaptiveSolver;
  return options;
}

Built build_ode(const Arguments& arguments, uint64_t seed) {
  networks::OdeNetworkOptions options = ode_network_of(arguments);
  options.seed = seed;
  const networks::OdeNetworkOptions file = in_file(arguments, options);
  if (solves_blocks(arguments)) options.form = networks::OdeForm::kForTraining;
  Built built{networks::build(options), key_of(arguments, options), nullptr, nullptr};
  if (file.form == options.form) return built;
  networks::build(file);  // what cannot be is said before the training
  built.finish = [file](const OnnxModel& trained) { return networks::with_weights_of(networks::build(file), trained); };
  if (solves_blocks(arguments)) built.judged = built.finish;
  return built;
}

Built build(const Arguments& arguments, uint64_t seed) {
  if (networks::is_ode_network(arguments.network)) return build_ode(arguments, seed);
  if (arguments.network.ends_with(".onnx")) return {load(arguments.network), {}, nullptr, nullptr};
  networks::NetworkOptions options = arguments.options;
  options.seed = seed;
  options.depth = networks::depth_of(arguments.network);
  return {networks::build(options), key_of(options), nullptr, nullptr};
}

std::string title_of(const Arguments& arguments) {
  if (arguments.network.ends_with(".onnx")) return std::filesystem::path(arguments.network).filename().string();
  if (networks::is_ode_network(arguments.network)) return arguments.network;
  return fmt::format("{}-{}", arguments.network, arguments.options.integrator);
}

// What a pass costs, behind each epoch's line, where that is not counted.
std::string note_of(const Arguments& arguments) {
  if (!networks::is_ode_network(arguments.network) || solves_blocks(arguments)) return "";
  const int64_t evaluations = networks::evaluations_of(ode_network_of(arguments));
  return evaluations > 0 ? fmt::format("  {} evaluations a pass", evaluations) : "";
}

void check_solver(const std::string& solver) {
  if (solver.empty() || solver::find_tableau(solver).has_error()) return;
  throw Error::make("--steps adaptive: solver '{}' has no estimate of its error: choose one of {}", solver,
                    fmt::join(solver::adaptive_names(), ", "));
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
    const bool writes_other_steps = is_ode && is_adaptive(arguments) && !writes_loops(arguments);
    if (!writes_other_steps) refuse(arguments.flow.export_steps(), "flow and --steps adaptive --export unrolled");
  }
  if (!is_ode || arguments.network == "odenet-twin") {
    for (const CLI::Option* option : arguments.of_ode) refuse(option, "networks with ODE blocks");
    if (!is_flow) {
      for (const CLI::Option* option : arguments.of_solvers) refuse(option, "flow and networks with ODE blocks");
    }
  }
  if (is_flow && is_adaptive(arguments)) {
    throw Error("flow: --steps adaptive is for networks with ODE blocks: give a number");
  }
  if (!writes_loops(arguments) && !is_adaptive(arguments)) {
    for (const CLI::Option* option : arguments.of_tolerances) refuse(option, "--export loop and --steps adaptive");
  }
  if (is_ode && is_adaptive(arguments)) check_solver(arguments.solver);
}

CLI::Validator steps_or_adaptive() {
  const auto check = [](const std::string& text) -> std::string {
    int steps = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), steps);
    const bool is_number = error == std::errc() && end == text.data() + text.size();
    if (text == kAdaptive || (is_number && steps >= 1 && steps <= solver::kMostNetworkSteps)) return {};
    return fmt::format("'{}' is neither {} nor a number from 1 to {}", printable(text), kAdaptive,
                       solver::kMostNetworkSteps);
  };
  return {check, ""};
}

void train_flow(const Arguments& arguments) {
  networks::FlowOptions options;
  if (!arguments.solver.empty()) options.solver = arguments.solver;
  if (!arguments.steps.empty()) options.steps = std::stoi(arguments.steps);
  arguments.flow.run(options, arguments.output, arguments.loop, arguments.json);
}

void run(const Arguments& arguments) {
  check_options(arguments);
  if (arguments.network == kFlow) return train_flow(arguments);
  report::Progress progress;
  FileUse files;
  if (arguments.network.ends_with(".onnx")) files.reads_model(arguments.network);
  training::LoopOptions loop =
      arguments.loop.get(files, arguments.output, title_of(arguments), arguments.json, progress, note_of(arguments));
  if (networks::is_ode_network(arguments.network)) loop.ode = solver_of(arguments);
  if (!loop.ode.blocks.empty()) loop.bfloat16 = false;  // its rounding would pass for the error of a step
  const Built built = build(arguments, loop.seed);
  const training::TrainReport report =
      training::train(built.model, arguments.output, loop, built.key, arguments.column, built.finish, built.judged);
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
  command
      ->add_option("--solver", arguments->solver,
                   fmt::format("of the ODE; default rk4, for adaptive steps {}", kAdaptiveSolver))
      ->check(CLI::IsMember(std::vector<std::string>(solvers.begin(), solvers.end())).description(""))
      ->type_name(fmt::format("{}", fmt::join(solvers, "|")))
      ->group(ode);
  command
      ->add_option(
          "--steps", arguments->steps,
          "of equal size, of each ODE block or the flow, default 2 or 8; adaptive: of ODE blocks, by the error")
      ->check(steps_or_adaptive())
      ->type_name(fmt::format("N|{}", kAdaptive))
      ->group(ode);
  arguments->gradient_given =
      command
          ->add_option("--gradient", arguments->gradient,
                       "of the ODE blocks: back through stored or recomputed steps, or by the adjoint; default stored, "
                       "for adaptive steps recomputed")
          ->transform(one_of(training::kGradients))
          ->type_name("stored|recomputed|adjoint")
          ->default_str("")
          ->group(ode);
  command
      ->add_option("--extra-channels", arguments->ode.extra_channels,
                   "of zeros, a multiple of 2, of 8 with odenet-cifar; default 0")
      ->check(CLI::Range(0, 1024))
      ->type_name("N")
      ->group(ode);
  arguments->export_given =
      command
          ->add_option(
              "--export", arguments->exports_loop,
              fmt::format("the file's ODE blocks: steps one after the other (default), or loops that choose their "
                          "steps (default after adaptive ones), by --solver or else {}",
                          kAdaptiveSolver))
          ->transform(
              CLI::CheckedTransformer(std::map<std::string, bool>{{"unrolled", false}, {"loop", true}}).description(""))
          ->type_name("unrolled|loop")
          ->default_str("")
          ->group(ode);
  command
      ->add_option("--rtol", arguments->ode.rtol,
                   "of the error of loops and of adaptive steps, relative; default 0.001")
      ->check(above_zero())
      ->type_name("R")
      ->group(ode);
  command->add_option("--atol", arguments->ode.atol, "likewise, absolute; default 0.001")
      ->check(above_zero())
      ->type_name("A")
      ->group(ode);
  for (const char* name : {"--solver", "--steps"}) arguments->of_solvers.push_back(command->get_option(name));
  for (const char* name : {"--extra-channels", "--gradient", "--export", "--rtol", "--atol"}) {
    arguments->of_ode.push_back(command->get_option(name));
  }
  for (const char* name : {"--rtol", "--atol"}) arguments->of_tolerances.push_back(command->get_option(name));
  arguments->loop.add_to(*command, defaults());
  arguments->flow.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
