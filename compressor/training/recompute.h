// Functions whose inner values autograd does not keep: backward() computes them again.
//
//     Tensors outputs = checkpointed(run, inputs);             // keeps the inputs alone
//     Tensors after = reversible(steps, before, parameters);   // keeps what comes out alone
//
// Gradients are those of the plain computation, with `reversible` up to the rounding of values that are subtracted
// again. They have no gradients of their own.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <functional>
#include <vector>

namespace quench::training {

using Tensors = std::vector<torch::Tensor>;

// `again`: in a backward pass, where states like running statistics have been changed already. The result depends on
// the inputs alone, and has the same tensors in both.
using Rerun = std::function<Tensors(const Tensors& inputs, bool again)>;

Tensors checkpointed(const Rerun& run, const Tensors& inputs);

// A step to state[target] + residual of the other values.
struct ReversibleStep {
  size_t target = 0;
  std::vector<size_t> parameters;  // which of them it reads
  // `state`: with an undefined tensor at `target`; `parameters`: those it reads. A tensor of the shape of
  // state[target], or one that can be broadcast to it.
  std::function<torch::Tensor(const Tensors& state, const Tensors& parameters, bool again)> residual;
};

// The state after the steps, in order (Gomez et al. 2017, arXiv:1707.04585). Sums are of float32 where the state has
// fewer bits.
Tensors reversible(std::vector<ReversibleStep> steps, const Tensors& state, const Tensors& parameters);
// The state before them, from that after them.
Tensors reversed(const std::vector<ReversibleStep>& steps, Tensors state, const Tensors& parameters);

}  // namespace quench::training
