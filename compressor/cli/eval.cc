#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/metric.h"
#include "compressor/cli/options.h"
#include "compressor/data/preprocessing.h"
#include "compressor/measure/evaluation.h"
#include "compressor/report/json.h"
#include "compressor/report/progress.h"
#include "compressor/report/text.h"

namespace quench::cli {
namespace {

struct Arguments {
  std::string file, against;
  measure::EvaluationOptions options;
  int threads = 0;
  uint64_t changed = 0;
  std::string metric;
  ShapeOptions shapes;
  PreprocessingOptions preprocessing;
  JsonOption json;
};

void run(const Arguments& arguments) {
  const bool is_compared = !arguments.against.empty() || !arguments.options.reference.empty();
  if (!arguments.metric.empty()) check_metric(arguments.metric);
  if (!arguments.metric.empty() && !is_compared) throw UsageError("--metric needs --against or --reference");
  FileUse files;
  files.reads_model(arguments.file);
  files.reads_model(arguments.against);
  files.reads_data(arguments.options.data);
  files.reads_outputs(arguments.options.reference);
  arguments.json.declare(files);
  measure::EvaluationOptions options = arguments.options;
  options.threads = resolve_threads(arguments.threads);
  options.shapes = arguments.shapes.get();
  options.preprocessing = arguments.preprocessing.get(arguments.file, options.max_memory);
  if (data::to_text(options.preprocessing).empty() && !arguments.against.empty()) {
    options.preprocessing = arguments.preprocessing.get(arguments.against, options.max_memory);
  }
  std::optional<Metric> metric;
  if (!arguments.metric.empty()) {
    metric.emplace(arguments.metric);
    options.batch = 1;  // an output may have no row for each sample
    options.on_outputs = [&](auto... outputs) { metric->add(outputs...); };
  }
  report::Progress progress;
  options.progress = [&](double share) { progress.update("evaluating", share); };
  measure::Evaluation evaluation = measure::evaluate(arguments.file, arguments.against, options);
  progress.finish();
  if (metric) evaluation.metric = metric->run();
  arguments.json.show(report::to_text(evaluation, arguments.changed), report::to_json(evaluation));
}

}  // namespace

void add_eval(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("eval", "Measure a model's accuracy, and how near it is to another model");
  command->add_option("file", arguments->file, "a .quench or .onnx file")->required()->type_name("FILE");
  CLI::Option* data = add_data_option(*command, arguments->options.data,
                                      "cifar10:DIR, mnist:DIR, synthetic:shapes, images, .npy, .npz or a folder of "
                                      "such, or NAME=SPEC; default: seeded inputs");
  CLI::Option* against =
      command->add_option("--against", arguments->against, "a .quench or .onnx file to compare the outputs with")
          ->type_name("MODEL");
  command
      ->add_option("--reference", arguments->options.reference,
                   "a folder of outputs that were computed elsewhere, in place of a model to compare with")
      ->excludes(against)
      ->needs(data)
      ->type_name("DIR");
  command->add_option("--samples", arguments->options.samples, "default: all, or 64 seeded inputs")
      ->check(above_zero())
      ->type_name("N");
  command->add_option("--batch", arguments->options.batch, "where the model leaves it open; default 64")
      ->check(CLI::Range(1, 65536))
      ->type_name("N");
  command->add_option("--changed", arguments->changed, "list the first N samples whose class is another than before")
      ->check(above_zero())
      ->type_name("N");
  command
      ->add_option(
          "--metric", arguments->metric,
          "a command to run on both models' outputs, in {original} and {compressed}; its last line is a figure")
      ->type_name("COMMAND");
  command->add_option("--seed", arguments->options.seed, "of seeded inputs")->type_name("S");
  add_threads(*command, arguments->threads);
  arguments->shapes.add_to(*command);
  add_max_memory(*command, arguments->options.max_memory);
  arguments->json.add_to(*command);
  arguments->preprocessing.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
