// How the solution of an initial value problem is differentiated. No torch here.
#pragma once

#include <cstdint>

namespace quench::solver {

enum class Gradient : uint8_t {
  // Back through the accepted steps, each computed again from its beginning: memory for one u a step and the values
  // within one step.
  kRecompute,
  // The continuous adjoint (Chen, Rubanova, Bettencourt and Duvenaud 2018, arXiv:1806.07366): a second initial value
  // problem back in time by the same method; memory for one u a time, and an error of the order of the tolerance.
  kAdjoint,
  // Back through all values, kept.
  kStored,
};

}  // namespace quench::solver
