// Solves u' = f(t, u), u(times[0]) = u0, by explicit Runge-Kutta methods, in fixed steps or in steps that keep to a
// tolerance, and differentiates what comes out.
//
//     Solution solution = integrate(f, u0, {0, 0.5, 1}, {.method = "dopri5", .rtol = 1e-6, .atol = 1e-6});
//     solution.values[2].sum().backward();
//     solution.counts.evaluations;
//
// Fixed steps divide each interval between two times evenly. Adaptive steps follow Hairer, Norsett and Wanner, "Solving
// Ordinary Differential Equations I", 1993, section II.4: the estimated error, as the root mean square over all elements
// of e / (atol + rtol max(|u|, |u'|)), is held to at most 1; a step is 0.9 err^(-1/(q + 1)) times the one before, at
// least a fifth and at most ten times, q being the order of the embedded method; the first step is theirs, too. Steps end
// at the times asked for, so that values there are as accurate as the steps: no interpolation.
//
// Time may run either way. All elements of u, the batch included, share the steps.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "compressor/solver/gradient.h"
#include "formats/error.h"

namespace quench::solver {

// f(t, u): of u's shape and type, float or double. It may be called under any mode of autograd.
using Function = std::function<torch::Tensor(double t, const torch::Tensor& u)>;

// The problem has no solution that these steps could find, where another one, or other options, might do.
struct NoSolution : Error {
  using Error::Error;
};

struct Options {
  std::string name = {};            // of the problem: errors begin with it, those of backward passes, too
  std::string method = "dopri5";    // one of tableau_names()
  int steps = 0;                    // fixed ones between two times, at least 1; 0: adaptive
  double rtol = 1e-6, atol = 1e-6;  // at least 0, not both 0; rtol below 1
  int64_t max_steps = 100000;       // tried ones of one call, adaptive
  Gradient gradient = Gradient::kRecompute;
  // What f depends on besides u, and has a gradient: kRecompute and kAdjoint give gradients to these and to u0 only.
  std::vector<torch::Tensor> parameters = {};
};

struct Counts {
  int64_t evaluations = 0;  // of f on the way forward
  int64_t accepted = 0, rejected = 0;
};

struct Solution {
  std::vector<torch::Tensor> values;  // u at each time, the first of them u0
  Counts counts;
};

// `times`: one or more, finite, each beyond the one before, in one direction. Times have no gradient. Throws
// quench::Error, with what to do: for an unknown method, tolerances that cannot be met, adaptive steps of a method
// without an error estimate, times in no order, and where f's result has another shape or type; NoSolution where u or f
// is not finite, where a step becomes too small to change t, and after max_steps.
Solution integrate(const Function& f, const torch::Tensor& u0, const std::vector<double>& times,
                   const Options& options = {});

}  // namespace quench::solver
