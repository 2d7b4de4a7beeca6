// What moves the trained tensors, and how fast in the course of a run.
#pragma once

#include <torch/types.h>

#include <memory>
#include <vector>

#include "compressor/training/loop/options.h"

namespace torch::optim {
class Optimizer;
}

namespace quench::training {

class Optimizer {
 public:
  // Leaves of autograd. Weight decay is for the `decayed` ones.
  Optimizer(const std::vector<torch::Tensor>& decayed, const std::vector<torch::Tensor>& others,
            const LoopOptions& options);
  ~Optimizer();

  void zero_grad();
  void step(double learning_rate);

  // All that the next steps depend on beside the tensors, as bytes: a uint8 tensor.
  torch::Tensor state() const;
  // Throws what torch throws where the bytes are no such state.
  void set_state(const torch::Tensor& state, const torch::Device& device);

 private:
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

// By the options' schedule. `share`: of the run's steps that are done, 0 to 1.
double learning_rate(const LoopOptions& options, double share);

}  // namespace quench::training
