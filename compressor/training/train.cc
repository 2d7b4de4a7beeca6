#include "compressor/training/train.h"

#include <torch/torch.h>

#include "compressor/training/loop/measure.h"
#include "compressor/training/loop/process.h"
#include "compressor/training/loop/trainer.h"

namespace quench::training {
namespace {

TrainReport run(const OnnxModel& model, const std::filesystem::path& output, const LoopOptions& options,
                const RunKey& network) {
  const Process process(options);
  GraphModule module(model, process.device(), &process.communicator());
  std::unique_ptr<Teacher> teacher;
  if (!options.teacher.empty()) teacher = open_teacher(options.teacher, process.device(), options.threads);
  TrainReport report;
  for (const auto& [name, tensor] : module.parameters()) report.parameters += static_cast<uint64_t>(tensor.numel());
  Trainer trainer(module, teacher.get(), options, process.communicator());
  RunKey key = run_key(options);
  key.add(network);
  trainer.run(std::move(key));
  trainer.estimate_statistics(kStatisticsBatches, {});
  if (process.communicator().rank() != 0) return report;
  const OnnxModel trained = module.to_onnx();
  save(output, trained);
  report.output_bytes = std::filesystem::file_size(output);
  if (const std::unique_ptr<data::Dataset> data = open_test_data(model, options)) {
    const std::unique_ptr<Teacher> file = open_teacher(output, torch::kCPU, options.threads);
    report.accuracy = measure(*file, input_batch(model), *data, nullptr).accuracy;
  }
  remove_checkpoint(options.checkpoint);
  return report;
}

}  // namespace

TrainReport train(const OnnxModel& model, const std::filesystem::path& output, const LoopOptions& options,
                  const RunKey& network) {
  return run_torch([&] { return run(model, output, options, network); });
}

}  // namespace quench::training
