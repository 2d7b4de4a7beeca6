// Continuous normalizing flows (Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, "FFJORD: Free-form Continuous
// Dynamics for Scalable Reversible Generative Models", 2018, arXiv:1810.01367) as ONNX graphs: a density p(x) by way of
// an ordinary differential equation z' = f(t, z) that takes normal numbers z(0) to samples x = z(1).
//
//     OnnxModel density = networks::build({.dimensions = 2, .form = FlowForm::kDensity});
//
// With D the dimensions, log p(x) = log N(z(0); 0, I) - integral over [0, 1] of the trace of df/dz, which is integrated
// together with z, from t = 1 back to 0. f is `hidden.size() + 1` layers
//
//     y = (x W + b) * sigmoid(t wg + bg) + t ws
//
// ("concatsquash"), with a nonlinearity behind each but the last. The trace is written as nodes by forward
// differentiation: tangents T, D of them along the axes, or one along a noise, go through the layers beside z as
// T W * (1 - tanh^2) * sigmoid(...), and the trace is the sum of T(0) * T(end). So a density is an ordinary graph.
//
// Graphs of one flow have the same weights by name, whatever their form (with_weights_of). They have opset 13, N open:
//
//     kSampler   `z` [N, D] to `x` [N, D], from t = 0 to 1
//     kDensity   `x` [N, D] to `log_density` [N] in nats and `z` [N, D], with the exact trace, D times the work of f;
//                beyond kMostExactDimensions with the mean of as many estimates as below, by noise that lies in the graph
//     kEstimate  `x` and `noise` [N, D] to the same, with Hutchinson's estimate e df/dz e^T of the trace: it
//                is right in the mean where e is noise of mean 0 and covariance I: of -1 and 1, say
//
// Solvers take steps of equal size. Weights start uniform in +-1/sqrt(inputs of a neuron), as in the authors' code.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::networks {

// Their trace takes as many passes through f's layers.
inline constexpr int64_t kMostExactDimensions = 64;

enum class FlowForm : uint8_t { kSampler, kDensity, kEstimate };

struct FlowOptions {
  int64_t dimensions = 2;                      // 1 to 4096
  std::vector<int64_t> hidden = {64, 64, 64};  // widths, one or more, each 1 to 4096
  std::string nonlinearity = "tanh";           // or softplus
  std::string solver = "rk4";                  // one of solver::tableau_names()
  int steps = 8;                               // 1 to 1000
  FlowForm form = FlowForm::kDensity;
  uint64_t seed = 1;  // same options, same bytes, on any machine
};

// Throws quench::Error, with what to do, on options out of range.
OnnxModel build(const FlowOptions& options);

// Evaluations of f in a pass.
int64_t evaluations_of(const FlowOptions& options);

}  // namespace quench::networks
