#include "compressor/training/train.h"

#include <torch/torch.h>

#include "compressor/graph/columns.h"
#include "compressor/training/loop/drop_path.h"
#include "compressor/training/loop/measure.h"
#include "compressor/training/loop/process.h"
#include "compressor/training/loop/trainer.h"

namespace quench::training {
namespace {

// Each column as a model, with the statistics that its layers have where there is no other column.
std::vector<OnnxModel> columns_alone(GraphModule& module, Trainer& trainer) {
  std::vector<OnnxModel> columns;
  for (int column = 1; column <= module.columns(); ++column) {
    module.set_paths(paths_of_column(module.joins(), module.columns(), column));
    trainer.estimate_statistics(kStatisticsBatches, {});
    columns.push_back(graph::column_alone(module.to_onnx(), column));
  }
  module.set_paths({});
  return columns;
}

TrainReport run(const OnnxModel& model, const std::filesystem::path& output, const LoopOptions& options,
                const RunKey& network, int column, const std::function<OnnxModel(const OnnxModel&)>& finish,
                const std::function<OnnxModel(const OnnxModel&)>& judged) {
  if (column != 0) graph::column_alone(model, column);  // throws where there is none, before the work
  const Process process(options);
  GraphModule module(model, process.device(), &process.communicator());
  std::unique_ptr<Teacher> teacher;
  if (!options.teacher.empty()) teacher = open_teacher(options.teacher, process.device(), options.threads);
  TrainReport report;
  for (const auto& [name, tensor] : module.parameters()) report.parameters += static_cast<uint64_t>(tensor.numel());
  Trainer trainer(module, teacher.get(), options, process.communicator());
  trainer.set_judged_form(judged);
  trainer.run(run_key(options, network));
  const std::vector<OnnxModel> columns = columns_alone(module, trainer);
  trainer.estimate_statistics(kStatisticsBatches, {});
  if (process.communicator().rank() != 0) return report;
  OnnxModel trained = column == 0 ? module.to_onnx() : columns.at(static_cast<size_t>(column) - 1).clone();
  if (finish) trained = finish(trained);
  save(output, trained);
  report.output_bytes = std::filesystem::file_size(output);
  report.column = column;
  if (const std::unique_ptr<data::Dataset> data = open_test_data(model, options)) {
    const std::unique_ptr<Teacher> file = open_teacher(output, torch::kCPU, options.threads);
    if (options.likelihood) {
      report.log_likelihood = log_likelihood(*file, *data);
    } else {
      report.accuracy = measure(*file, input_batch(model), *data, nullptr).accuracy;
    }
    for (const OnnxModel& each : columns) {
      const TestResult alone = measure(*runtime_teacher(each, options.threads), input_batch(model), *data, nullptr);
      if (alone.accuracy) report.column_accuracies.push_back(*alone.accuracy);
    }
  }
  if (const std::unique_ptr<data::Dataset> data = open_validation_data(model, options)) {
    const std::unique_ptr<Teacher> file = open_teacher(output, torch::kCPU, options.threads);
    if (options.likelihood) {
      report.validation_log_likelihood = log_likelihood(*file, *data);
    } else {
      report.validation_accuracy = measure(*file, input_batch(model), *data, nullptr).accuracy;
    }
  }
  remove_checkpoint(options.checkpoint);
  return report;
}

}  // namespace

TrainReport train(const OnnxModel& model, const std::filesystem::path& output, const LoopOptions& options,
                  const RunKey& network, int column, const std::function<OnnxModel(const OnnxModel&)>& finish,
                  const std::function<OnnxModel(const OnnxModel&)>& judged) {
  return run_torch([&] { return run(model, output, options, network, column, finish, judged); });
}

}  // namespace quench::training
