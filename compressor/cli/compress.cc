#include "compressor/compress/compress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/cli/provenance.h"
#include "compressor/cli/temporary_folder.h"
#include "compressor/data/preprocessing.h"
#include "compressor/measure/evaluation.h"
#include "compressor/measure/samples.h"
#include "compressor/report/json.h"
#include "compressor/report/progress.h"
#include "compressor/report/text.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

using measure::Evaluation;
using measure::Samples;
using quantizer::CodebookScope;
using quantizer::CompressOptions;
using quantizer::CompressReport;
using quantizer::FileNotes;
using quantizer::Quality;

constexpr uint64_t kReportSamples = 1000;  // to measure on, at most

// What a file must have, on samples that were held out from calibration.
struct Goals {
  std::optional<double> min_snr, max_drop, min_agreement;  // dB, points, percent

  bool any() const { return min_snr || max_drop || min_agreement; }
};

struct Arguments {
  std::string model, output;
  std::vector<std::string> data;
  CompressOptions options;
  int threads = 0;
  ShapeOptions shapes;
  PreprocessingOptions preprocessing;
  std::string labels;
  const CLI::App* command = nullptr;
  JsonOption json;
  Goals goals;
};

FileNotes notes_of(const Arguments& arguments) {
  FileNotes notes{provenance(arguments.model, *arguments.command), {}};
  if (arguments.preprocessing.is_given()) {
    notes.properties.emplace_back(data::kPreprocessingKey, data::to_text(arguments.preprocessing.get()));
  }
  const std::string labels = read_labels(arguments.labels);
  if (!labels.empty()) notes.properties.emplace_back(data::kLabelsKey, labels);
  return notes;
}

// Made-up inputs have the shapes of the samples, where the model leaves more than the batch open.
void take_shapes(const onnx::GraphProto& graph, const Samples& samples, measure::InputShapes& shapes) {
  const std::vector<graph::HostTensor> inputs = samples.batch(0, 1).inputs;
  for (const onnx::ValueInfoProto& declared : graph.input()) {
    const auto& dims = declared.type().tensor_type().shape().dim();
    const bool is_open = std::any_of(dims.begin() + (dims.empty() ? 0 : 1), dims.end(),
                                     [](const auto& dim) { return dim.dim_value() <= 0; });
    const auto input = std::ranges::find(inputs, declared.name(), &graph::HostTensor::name);
    if (is_open && input != inputs.end()) shapes.whole.emplace(input->name, input->dims);
  }
}

// The model's inputs are read once here for the data; the weights stay on disk. Samples that are too few to calibrate on
// give their shapes to made-up inputs.
void set_data(const Arguments& arguments, CompressOptions& options) {
  if (arguments.data.empty()) return;
  const OnnxModel model = load(arguments.model);
  const Samples all(model.name, model.proto, arguments.data, arguments.preprocessing.get(arguments.model),
                    options.input_shapes);
  const Samples calibrating = all.part(Samples::Part::kCalibration);
  if (calibrating.size() == 0) {
    take_shapes(model.proto.graph(), all, options.input_shapes);
    return;
  }
  options.data = [samples = calibrating](uint64_t index, int64_t batch) {
    const uint64_t count = samples.batch_size(static_cast<uint64_t>(batch));
    return samples.batch(index * count, count).inputs;
  };
}

measure::EvaluationOptions evaluation_options(const Arguments& arguments, const CompressOptions& compress) {
  measure::EvaluationOptions options;
  options.data = arguments.data;
  options.preprocessing = arguments.preprocessing.get(arguments.model);
  options.shapes = arguments.shapes.get();
  options.part = Samples::Part::kHeldOut;
  options.samples = arguments.data.empty() ? 0 : kReportSamples;
  options.threads = compress.threads;
  options.seed = compress.seed + 1;  // other inputs than those of the calibration
  return options;
}

bool meets(const Goals& goals, const Evaluation& evaluation) {
  const auto need = [](bool is_there, const char* option, const char* what) {
    if (!is_there) throw Error::make("{} needs {}", option, what);
  };
  if (goals.min_snr) {
    need(evaluation.snr_db.has_value(), "--min-snr", "outputs that are numbers and not all zero");
    if (*evaluation.snr_db < *goals.min_snr) return false;
  }
  if (goals.min_agreement) {
    need(evaluation.agreement.has_value(), "--min-agreement", "an output with classes");
    if (100 * *evaluation.agreement < *goals.min_agreement) return false;
  }
  if (goals.max_drop) {
    need(evaluation.accuracy && evaluation.against, "--max-drop",
         "--data with labels, and an output with their classes");
    if (100 * (evaluation.against->top1 - evaluation.accuracy->top1) > *goals.max_drop) return false;
  }
  return true;
}

// On samples that the calibration has not seen. Nothing where there is no data, or where nothing can be said of the
// outputs, which is no fault of the file: a warning then.
std::optional<Evaluation> evaluate(const Arguments& arguments, const CompressOptions& compress,
                                   report::Progress& progress, std::vector<std::string>& warnings) {
  if (arguments.data.empty()) return std::nullopt;
  measure::EvaluationOptions options = evaluation_options(arguments, compress);
  options.progress = [&](double share) { progress.update("evaluating", share); };
  try {
    return measure::evaluate(arguments.output, arguments.model, options);
  } catch (const measure::NotFinite& error) {
    warnings.push_back(fmt::format("not measured: {}", error.what()));
    return std::nullopt;
  }
}

// Where calibration has learned its few samples by heart. 3 dB are twice the error.
void warn_of_disappointment(const Evaluation& evaluation, CompressReport& report) {
  constexpr double kDisappointment = 3;
  if (!report.on_data || !evaluation.snr_db) return;
  const double less = report.predicted_snr_db - *evaluation.snr_db;
  if (!(less > kDisappointment) || !std::isfinite(less)) return;
  report.warnings.push_back(
      fmt::format("the outputs are {:.1f} dB worse than expected on samples that were held out: give more samples to "
                  "calibrate on",
                  less));
}

void run(const Arguments& arguments) {
  FileUse files;
  files.reads_model(arguments.model);
  files.reads_data(arguments.data);
  files.reads(arguments.labels);
  files.writes(arguments.output, FileUse::Place::kFile);
  arguments.json.declare(files);
  CompressOptions options = arguments.options;
  options.threads = resolve_threads(arguments.threads);
  options.input_shapes = arguments.shapes.get();
  options.notes = notes_of(arguments);
  options.on_begin = [&](const quantizer::ModelCheck& check) {
    if (arguments.json.is_printed()) return;
    fmt::print("{}", report::headline(check));
    std::fflush(stdout);
  };
  report::Progress progress;
  options.progress = [&](std::string_view stage, double share) { progress.update(stage, share); };
  set_data(arguments, options);
  std::optional<TemporaryFolder> trials;
  if (arguments.goals.any()) {
    if (arguments.goals.max_drop && arguments.data.empty()) throw Error("--max-drop needs --data with labels");
    options.trial = trials.emplace().path() / "trial.quench";
    options.accepts = [&](const std::filesystem::path& file) {
      return meets(arguments.goals, measure::evaluate(file, arguments.model, evaluation_options(arguments, options)));
    };
  }
  CompressReport report = quantizer::compress(arguments.model, arguments.output, options);
  if (!arguments.data.empty() && !options.data) {
    report.warnings.push_back(fmt::format(
        "these are too few samples to calibrate on, which takes {}: made-up inputs did, and all samples measure",
        Samples::kLeastCalibrated));
  }
  const std::optional<Evaluation> evaluation = evaluate(arguments, options, progress, report.warnings);
  progress.finish();
  if (evaluation) warn_of_disappointment(*evaluation, report);
  for (const std::string& warning : report.warnings) print_warning(warning);
  const Evaluation* shown = evaluation ? &*evaluation : nullptr;
  arguments.json.show(report::to_text(report, shown, arguments.model, arguments.output),
                      report::to_json(report, shown));
}

void add_size_options(CLI::App& command, CompressOptions& options, Goals& goals) {
  const std::string group = "Size and quality";
  auto* quality =
      command.add_option("--quality", options.quality, "how much the outputs may change; default transparent")
          ->transform(one_of<Quality>({{"lossless", Quality::kLossless},
                                       {"transparent", Quality::kTransparent},
                                       {"balanced", Quality::kBalanced},
                                       {"small", Quality::kSmall}}))
          ->type_name("lossless|transparent|balanced|small")
          ->default_str("")
          ->group(group);
  const SizeOptions size = add_size(command, options.ratio, options.bits, group);
  size.ratio->excludes(quality);
  size.bits->excludes(quality);
  const auto add_goal = [&](const char* name, std::optional<double>& value, const char* unit, const char* help) {
    auto* option = command.add_option(name, value, help)->check(at_least_zero())->type_name(unit)->group(group);
    for (auto* other : {quality, size.ratio, size.bits}) option->excludes(other);
  };
  add_goal("--min-snr", goals.min_snr, "DB", "or the smallest file whose outputs have this SNR on held-out samples");
  add_goal("--max-drop", goals.max_drop, "P", "the smallest that loses at most P points of accuracy on them");
  add_goal("--min-agreement", goals.min_agreement, "PERCENT", "the smallest that gives so many the class as before");
  command.add_option("--include", options.include, "quantize these weights only, e.g. 'layer1.*'; may be repeated")
      ->type_name("PATTERN")
      ->allow_extra_args(false)
      ->group(group);
  command.add_option("--exclude", options.exclude, "keep these weights bit-exact; may be repeated")
      ->type_name("PATTERN")
      ->allow_extra_args(false)
      ->group(group);
}

void add_method_options(CLI::App& command, CompressOptions& options) {
  const std::string group = "Method";
  add_coder(command, options.coder, group);
  command.add_option("--dimension", options.dimension, "of the codebook's vectors; default 1")
      ->check(CLI::IsMember({1, 2, 4, 8}).description(""))
      ->type_name("1|2|4|8")
      ->group(group);
  command
      .add_option("--codebook", options.codebook,
                  "two grids that take turns (default), or learned: one for the model, like tensors, or each")
      ->transform(one_of<CodebookScope>({{"trellis", CodebookScope::kTrellis},
                                         {"model", CodebookScope::kModel},
                                         {"group", CodebookScope::kGroup},
                                         {"tensor", CodebookScope::kTensor}}))
      ->type_name("trellis|model|group|tensor")
      ->default_str("")
      ->group(group);
  command.add_option("--seed", options.seed, "of everything random; default 1")->type_name("S")->group(group);
  command.add_flag("--keep-graph", options.keep_graph, "do not fold constants and BatchNormalization")->group(group);
  command.add_flag("--keep-names", options.keep_names, "keep the names of inner values and nodes")->group(group);
}

}  // namespace

void add_compress(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("compress", "Make a .quench file from an ONNX model");
  command->add_option("model", arguments->model, "an .onnx file")->required()->type_name("MODEL");
  command->add_option("-o,--output", arguments->output, "the .quench file to write")->required()->type_name("OUT");
  add_data_option(*command, arguments->data,
                  "inputs to calibrate and measure on: images, .npy, .npz or a folder of such, or NAME=SPEC");
  command->add_option("--labels", arguments->labels, "names of the classes, a line each, for the file to carry")
      ->type_name("FILE");
  arguments->command = command;
  add_threads(*command, arguments->threads);
  arguments->shapes.add_to(*command);
  arguments->json.add_to(*command);
  add_size_options(*command, arguments->options, arguments->goals);
  add_method_options(*command, arguments->options);
  arguments->preprocessing.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
