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

  // No tensor has a gradient any more.
  void zero_grad();
  void step(double learning_rate);

  // All that the next steps depend on beside the tensors, as one tensor.
  torch::Tensor state() const;
  // Throws what torch throws, or quench::Error, where it is no such state.
  void set_state(const torch::Tensor& state, const torch::Device& device);

 private:
  // Stochastic gradient descent with Nesterov's momentum (Sutskever et al. 2013). torch's own for C++ takes several
  // operators for each tensor, which on a GPU is much of a step's time; this one takes a few for all of a group.
  struct Group {
    std::vector<torch::Tensor> tensors, momenta;
    double weight_decay = 0;
  };
  void descend(Group& group, double learning_rate) const;

  std::vector<Group> groups_;
  double momentum_ = 0;
  std::unique_ptr<torch::optim::Optimizer> adam_;  // in place of groups_' descent
};

// By the options' schedule. `share`: of the run's steps that are done, 0 to 1.
double learning_rate(const LoopOptions& options, double share);

}  // namespace quench::training
