// The loop that trains a graph, with its weights quantized on the way or not.
//
//     Trainer trainer(module, teacher, original_bytes, options, communicator);
//     trainer.set_annealer(&annealer);            // or plainly
//     trainer.run();
//     OnnxModel trained = module.to_onnx();
//
// On the CPU the run depends on model, options, number of processes and threads alone; one that goes on from a
// checkpoint gives the same result as one without the break. Throws quench::Error: for data that does not fit the
// model, a loss that is not finite, a checkpoint that cannot be written or is another run's, and when a signal (SIGINT,
// SIGTERM) ends it, after a checkpoint.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "compressor/training/distributed/communicator.h"
#include "compressor/training/graph_module.h"
#include "compressor/training/loop/batches.h"
#include "compressor/training/loop/checkpoint.h"
#include "compressor/training/loop/options.h"
#include "compressor/training/loop/teacher.h"
#include "compressor/training/quantization/annealer.h"

namespace quench::training {

// Enough for estimate_statistics.
constexpr int64_t kStatisticsBatches = 100;

class Trainer {
 public:
  // `teacher` may be null: labels only. `original_bytes`: of the model's file, for ratios. All arguments must outlive
  // this object.
  Trainer(GraphModule& module, Teacher* teacher, uint64_t original_bytes, const LoopOptions& options,
          Communicator& communicator);
  ~Trainer();

  // Before run(). `after_step` may keep parameters in their range.
  void set_annealer(Annealer* annealer, std::function<void()> after_step = nullptr);

  // Records of earlier runs, which this one's follow.
  void set_earlier(std::vector<TrainingRecord> records);

  // All epochs, or those that are left. Returns a record for each, earlier ones included.
  std::vector<TrainingRecord> run();

  // Running statistics of BatchNormalization become the means over `batches` batches of training data, with `weights`
  // in place of the parameters of the same name.
  void estimate_statistics(int64_t batches, const NamedTensors& weights);

  // See sensitivity.h; on a few batches of the training data.
  std::map<std::string, double> balanced_steps(const std::vector<std::string>& names, bool per_channel);

  // Hard weights by name; empty without an annealer.
  NamedTensors hard_weights();

 private:
  void open_data();
  void make_optimizer();
  void check_outputs(const Tensors& outputs, const Tensors& taught) const;
  void check_finite(double value, const char* what) const;
  double learning_rate(int64_t step) const;
  torch::Tensor to_device(const torch::Tensor& inputs) const;
  Tensors forward(const torch::Tensor& inputs, GraphModule::Mode mode, const NamedTensors& weights);
  torch::Tensor imitation(const Tensors& outputs, const Tensors& taught, int64_t own) const;
  torch::Tensor task_loss(const Tensors& outputs, const Tensors& taught, const Batch& batch) const;
  double step(const Batch& batch);
  void reduce_gradients();
  void observe_gap(const Batch& batch, const Tensors& taught, double soft_loss);
  void finish_epoch(int epoch);
  void evaluate(TrainingRecord& record);
  void save_checkpoint();
  void load_checkpoint();
  void restore(const Checkpoint& checkpoint);
  std::string fingerprint() const;
  void interrupt_if_asked();
  double seconds() const;
  bool is_leader() const { return communicator_.rank() == 0; }
  std::vector<torch::Tensor> trained_tensors() const;

  GraphModule& module_;
  Teacher* teacher_;
  uint64_t original_bytes_;
  const LoopOptions& options_;
  Communicator& communicator_;
  torch::Device device_;
  Annealer* annealer_ = nullptr;
  std::function<void()> after_step_;
  std::unique_ptr<data::Dataset> dataset_, test_dataset_;
  std::unique_ptr<Batches> batches_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::vector<TrainingRecord> records_;
  int64_t step_ = 0, steps_ = 0;
  bool has_checkpoint_ = false;
  double loss_sum_ = 0;  // over the steps of this epoch
  double earlier_seconds_ = 0, start_ = 0, last_checkpoint_ = 0;
};

// The model's only input, as data/dataset.h wants to know it. Throws quench::Error where there are more.
std::vector<int64_t> input_dims(const OnnxModel& model);

// `spec` of training data: "cifar10:DIR" becomes "cifar10-train:DIR", "synthetic:shapes" gets its training split.
std::string training_spec(const std::string& spec);

}  // namespace quench::training
