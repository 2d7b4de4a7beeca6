// The loop that trains a graph, with its weights quantized on the way or not.
//
//     Trainer trainer(module, teacher, options, communicator);
//     trainer.set_annealer(&annealer);            // or plainly
//     trainer.run(run_key(options));
//     OnnxModel trained = module.to_onnx();
//
// It holds the order of things: what a step does, and when an epoch is measured, saved and told of. The parts are
// training_data.h (batches), task.h (the loss), optimizer.h, annealer.h (how weights harden), measure.h (test data) and
// checkpointing.h.
//
// On the CPU the run depends on model, options, number of processes and threads alone; one that goes on from a
// checkpoint gives the same result as one without the break. Throws quench::Error: for data that does not fit the
// model, a loss that is not finite, a checkpoint that cannot be written or is another run's, and when a signal (SIGINT,
// SIGTERM) ends it, after a checkpoint.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compressor/training/distributed/communicator.h"
#include "compressor/training/graph_module.h"
#include "compressor/training/loop/checkpointing.h"
#include "compressor/training/loop/optimizer.h"
#include "compressor/training/loop/options.h"
#include "compressor/training/loop/signals.h"
#include "compressor/training/loop/task.h"
#include "compressor/training/loop/teacher.h"
#include "compressor/training/loop/training_data.h"
#include "compressor/training/quantization/annealer.h"
#include "compressor/training/run_key.h"

namespace quench::training {

// Enough for estimate_statistics.
constexpr int64_t kStatisticsBatches = 100;

class Trainer {
 public:
  // `teacher` may be null: labels only. All arguments must outlive this object.
  Trainer(GraphModule& module, Teacher* teacher, const LoopOptions& options, Communicator& communicator);

  // Before run(). `after_step` may keep parameters in their range.
  void set_annealer(Annealer* annealer, std::function<void()> after_step = nullptr);

  // Before run(): what is measured of the model after each epoch, where it is not the model itself.
  void set_judged_form(std::function<OnnxModel(const OnnxModel&)> judged_form);

  // Records of earlier runs, which this one's follow.
  void set_earlier(std::vector<TrainingRecord> records);

  // All epochs, or those that are left. Returns a record for each, earlier ones included. `key`: what a checkpoint to go
  // on from must have been asked for, too.
  std::vector<TrainingRecord> run(RunKey key);

  // Running statistics of BatchNormalization become the means over `batches` batches of training data, with `weights`
  // in place of the parameters of the same name.
  void estimate_statistics(int64_t batches, const NamedTensors& weights);

  // See sensitivity.h; on a few batches of the training data.
  std::map<std::string, double> balanced_steps(const std::vector<std::string>& names, bool per_channel);

  // Hard weights by name; empty without an annealer.
  NamedTensors hard_weights();

 private:
  double step(const Batch& batch);
  Batch to_device(const Batch& batch) const;
  Tensors forward(const Batch& batch, GraphModule::Mode mode, const NamedTensors& weights);
  void count_evaluations(int64_t forward, int64_t backward);
  void draw_paths();
  void reduce_gradients();
  void observe_gap(const Batch& batch, const Tensors& taught, double soft_loss);
  std::string this_step() const;
  std::string way_out() const;
  void check_finite(double value, const char* what) const;
  template <typename Body>
  auto at_this_step(const Body& body) const;
  void make_optimizer();
  void share_first_values();
  void finish_epoch(int epoch);
  void evaluate(TrainingRecord& record);
  void save_or_stop(const SignalCatcher& signals);
  double rate_at(int64_t step) const;
  bool is_leader() const { return communicator_.rank() == 0; }
  std::vector<torch::Tensor> trained_tensors() const;

  GraphModule& module_;
  Teacher* teacher_;
  const LoopOptions& options_;
  Communicator& communicator_;
  TrainingData data_;
  Task task_;
  Annealer* annealer_ = nullptr;
  std::function<void()> after_step_;
  std::function<OnnxModel(const OnnxModel&)> judged_form_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Checkpointing> checkpointing_;
  TrainingProgress progress_;
  int64_t steps_ = 0;  // in all
  double start_ = 0;   // when progress_.seconds were 0, breaks left out
};

}  // namespace quench::training
