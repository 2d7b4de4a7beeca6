#include "compressor/cli/flow.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "compressor/data/files.h"
#include "compressor/measure/runner.h"
#include "compressor/networks/initial_values.h"
#include "compressor/networks/ode_network.h"
#include "compressor/report/json.h"
#include "compressor/report/text.h"
#include "compressor/report/training_page.h"
#include "compressor/training/train.h"

namespace quench::cli {
namespace {

constexpr int64_t kMostTrainedExactly = 8;  // dimensions: beyond, an estimate of the trace is less work
constexpr std::string_view kSuffix = ".onnx";
constexpr const char* kTitle = "flow";

struct Outputs {
  std::string sampler, density;
};

Outputs outputs_of(const std::string& output) {
  if (!output.ends_with(kSuffix) || output == kSuffix) {
    throw Error::make(
        "{}: give a name that ends in .onnx: a flow is written to NAME.sampler.onnx and NAME.density.onnx", output);
  }
  const std::string name = output.substr(0, output.size() - kSuffix.size());
  return {name + ".sampler.onnx", name + ".density.onnx"};
}

int64_t dimensions_of(const training::LoopOptions& loop) {
  const std::unique_ptr<data::Dataset> data = data::open_dataset(loop.data, loop.preprocessing);
  const std::vector<int64_t>& shape = data->sample_shape();
  if (shape.size() == 1) return shape[0];
  throw Error::make("{}: its samples are {}: a flow takes rows of numbers, an array of samples x dimensions", loop.data,
                    shape.empty() ? "single numbers" : data::dims_text(shape));
}

training::RunKey key_of(const networks::FlowOptions& options) {
  const auto& [dimensions, hidden, nonlinearity, solver, steps, form, seed] = options;  // the seed is the loop's
  training::RunKey key;
  key.add("the network", "flow");
  key.add("dimensions", std::to_string(dimensions));
  key.add("--hidden", fmt::format("{}", fmt::join(hidden, ",")));
  key.add("--nonlinearity", nonlinearity);
  key.add("--solver", solver);
  key.add("--steps", std::to_string(steps));
  key.add("--trace", form == networks::FlowForm::kDensity ? "exact" : "hutchinson");
  return key;
}

constexpr size_t kPictureSide = 120;     // squares of the density
constexpr size_t kPicturePoints = 2000;  // of the data, and samples

std::vector<float> run_file(const std::string& file, const std::string& input, const std::vector<float>& points,
                            int threads) {
  const std::vector<int64_t> dims = {static_cast<int64_t>(points.size() / 2), 2};
  const std::vector<graph::HostTensor> inputs = {graph::HostTensor::float32(input, dims, points)};
  const std::vector<graph::HostTensor> outputs = measure::Runner::open(file, threads)->run(inputs);
  return {outputs.at(0).floats().begin(), outputs.at(0).floats().end()};
}

std::vector<float> some_of(const data::Dataset& dataset) {
  std::vector<uint64_t> indices(std::min<uint64_t>(kPicturePoints, dataset.size()));
  for (uint64_t i = 0; i < indices.size(); ++i) indices[i] = data::spread_index(i, dataset.size());
  std::vector<float> points(indices.size() * 2);
  dataset.fill(indices, points, {});
  return points;
}

report::PlanePanels::Panel panel_of(const std::string& caption, const std::vector<float>& points) {
  report::PlanePanels::Panel panel{caption, {}, {}, {}};
  for (size_t i = 0; i < points.size(); i += 2) {
    panel.x.push_back(points[i]);
    panel.y.push_back(points[i + 1]);
  }
  return panel;
}

// Of two dimensions, by the files: data, samples and density.
report::PlanePanels picture_of(const Outputs& outputs, const training::LoopOptions& loop) {
  const std::vector<float> points = some_of(*data::open_dataset(loop.data, loop.preprocessing));
  const auto [least, most] = std::ranges::minmax(points);
  const double room = 0.1 * std::max(1e-3, double{most} - double{least});
  const double low = least - room, high = most + room;
  const double cell = (high - low) / kPictureSide;
  std::vector<float> grid;
  for (size_t row = 0; row < kPictureSide; ++row) {
    for (size_t column = 0; column < kPictureSide; ++column) {
      grid.push_back(static_cast<float>(low + cell * (static_cast<double>(column) + 0.5)));
      grid.push_back(static_cast<float>(low + cell * (static_cast<double>(row) + 0.5)));
    }
  }
  const std::vector<float> z = networks::normal_values(loop.seed, "picture", 2 * int64_t{kPicturePoints}, 1);
  report::PlanePanels picture{"What was learned", {low, high}, {}};
  picture.panels = {panel_of("data", points),
                    panel_of("samples", run_file(outputs.sampler, "z", z, loop.threads)),
                    {"density", {}, {}, {}}};
  for (const float log : run_file(outputs.density, "x", grid, loop.threads)) {
    picture.panels.back().density.push_back(std::exp(double{log}));
  }
  return picture;
}

}  // namespace

void FlowArguments::add_to(CLI::App& command) {
  command_ = &command;
  const std::string group = "Flows";
  command.add_option("--hidden", hidden_, "widths of the layers; default 64,64,64")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(above_zero())
      ->type_name("W,...")
      ->group(group);
  command.add_option("--nonlinearity", nonlinearity_, "behind each layer but the last; default tanh")
      ->check(CLI::IsMember({"tanh", "softplus"}).description(""))
      ->type_name("tanh|softplus")
      ->group(group);
  command
      .add_option(
          "--trace", trace_,
          fmt::format("in training, exact or estimated; default exact up to {} dimensions", kMostTrainedExactly))
      ->check(CLI::IsMember({"exact", "hutchinson"}).description(""))
      ->type_name("exact|hutchinson")
      ->group(group);
  command.add_option("--export-steps", export_steps_, "of the files; default 32, of ODE blocks after adaptive steps 8")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->group(group);
  for (const char* name : {"--hidden", "--nonlinearity", "--trace"}) own_.push_back(command.get_option(name));
}

void FlowArguments::check_options() const {
  for (const char* name : {"--teacher", "--temperature", "--label-share", "--no-augment", "--drop-path", "--column"}) {
    if (command_->get_option(name)->count() == 0) continue;
    throw Error::make("flow: {} is for networks that learn labels or from a teacher: leave it out", name);
  }
}

// They are not tuned.
training::LoopOptions FlowArguments::with_defaults(training::LoopOptions loop) const {
  const auto is_given = [this](const char* name) { return command_->get_option(name)->count() > 0; };
  loop.likelihood = true;
  loop.augment = false;
  loop.drop_path = 0;
  loop.bfloat16 = false;  // which has no place for a density
  if (!is_given("--optimizer")) loop.optimizer = training::OptimizerKind::kAdam;
  if (!is_given("--learning-rate")) loop.learning_rate = 0.005;
  if (!is_given("--weight-decay")) loop.weight_decay = 0;
  if (!is_given("--batch")) loop.batch = 512;
  return loop;
}

void FlowArguments::run(networks::FlowOptions options, const std::string& output, const LoopArguments& arguments,
                        const JsonOption& json) const {
  using networks::FlowForm;
  check_options();
  const Outputs outputs = outputs_of(output);
  report::Progress progress;
  const std::string note = fmt::format("  {} evaluations a pass", networks::evaluations_of(options));
  training::LoopOptions loop = with_defaults(arguments.get({}, outputs.density, kTitle, json, progress, note));
  std::vector<training::TrainingRecord> records;
  loop.on_epoch = [&records, tell = loop.on_epoch](std::span<const training::TrainingRecord> all) {
    records.assign(all.begin(), all.end());
    tell(all);
  };
  FileUse files;
  files.reads_data(loop.data);
  files.reads_data(loop.test_data);
  files.writes(outputs.sampler, FileUse::Place::kFile);
  options.dimensions = dimensions_of(loop);
  options.seed = loop.seed;
  if (!hidden_.empty()) options.hidden = hidden_;
  options.nonlinearity = nonlinearity_;
  if (trace_ == "exact" && options.dimensions > networks::kMostExactDimensions) {
    throw Error::make("{}: --trace exact takes {} dimensions at most, and these are {}: give --trace hutchinson",
                      loop.data, networks::kMostExactDimensions, options.dimensions);
  }
  const bool is_exact = trace_.empty() ? options.dimensions <= kMostTrainedExactly : trace_ == "exact";
  options.form = is_exact ? FlowForm::kDensity : FlowForm::kEstimate;
  const auto in_file = [this, &options](FlowForm form, const OnnxModel& trained) {
    networks::FlowOptions finer = options;
    finer.form = form;
    finer.steps = export_steps_;
    return networks::with_weights_of(networks::build(finer), trained);
  };
  const auto density = [&](const OnnxModel& trained) { return in_file(FlowForm::kDensity, trained); };
  const training::TrainReport report =
      training::train(networks::build(options), outputs.density, loop, key_of(options), 0, density, density);
  progress.finish();
  if (report.output_bytes == 0) return;  // another process has written it
  save(outputs.sampler, in_file(FlowForm::kSampler, load(outputs.density)));
  if (!arguments.page().empty() && options.dimensions == 2 && !records.empty()) {
    const std::string page = report::training_page(kTitle, records, to_figure(picture_of(outputs, loop)));
    data::write_file(arguments.page(), std::as_bytes(std::span(page)));
  }
  const uint64_t sampler_bytes = std::filesystem::file_size(outputs.sampler);
  json.show(fmt::format("{}{}: the sampler, {} bytes\n", report::to_text(report, outputs.density), outputs.sampler,
                        sampler_bytes),
            report::to_json(report));
}

}  // namespace quench::cli
