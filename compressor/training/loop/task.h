// What a training learns from its batches: the labels, what a teacher makes of the same inputs, or both; or the density
// of the inputs.
#pragma once

#include <torch/types.h>

#include <string>

#include "compressor/training/distributed/communicator.h"
#include "compressor/training/loop/batches.h"
#include "compressor/training/loop/options.h"
#include "compressor/training/operators/operators.h"

namespace quench::training {

// Outputs are the model's, `taught` the teacher's to the same inputs, which are not looked at without one. Losses are
// those of losses.h: this rank's part, over the batch of all ranks.
class Task {
 public:
  // `model`: its name, for errors. `classes`: of the labels; 0: there are none. The rest must outlive this object.
  Task(std::string model, int64_t classes, bool has_teacher, const LoopOptions& options, Communicator& communicator);

  // Throws quench::Error where the outputs cannot be compared with the labels or with the teacher's, or are no densities.
  void check(const Tensors& outputs, const Tensors& taught) const;
  torch::Tensor loss(const Tensors& outputs, const Tensors& taught, const Batch& batch) const;
  // How far outputs are from others, labels left aside. `own`: samples of this rank.
  torch::Tensor imitation(const Tensors& outputs, const Tensors& taught, int64_t own) const;

 private:
  void check_labels(const Tensors& outputs) const;

  std::string model_;
  int64_t classes_;
  bool has_teacher_;
  const LoopOptions& options_;
  Communicator& communicator_;
};

}  // namespace quench::training
