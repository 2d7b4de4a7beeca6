// How finely each tensor is to be quantized, by what noise on it does to the model's outputs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "compressor/training/graph_module.h"

namespace quench::training {

// How far the outputs with these weights are from those with the model's own, at least 0; quadratic in small changes.
using OutputChange = std::function<double(const NamedTensors& weights)>;

// Quantization steps for the tensors `names`, in units of each one's root mean square; their geometric mean over all
// weights is 1, and none is more than eight times smaller or one and a half times larger than that.
//
// Quantizing n weights in steps of s units makes noise that changes the outputs by e s^2, where e is measured with
// Gaussian noise; changes of several tensors add up, and half the step costs a bit for each weight. The change is least
// for given bits where another bit gains the same everywhere: s^2 in proportion to n / e (Shoham and Gersho 1988).
// Without the limit, tensors that hardly matter in the trained model would lose all their weights at once.
//
// `per_channel`: root mean squares are those of the output channels (the first axis). All steps are 1 where a change is
// not finite.
std::map<std::string, double> balanced_steps(const NamedTensors& parameters, const std::vector<std::string>& names,
                                             bool per_channel, const OutputChange& change, uint64_t seed);

// In units of a tensor's root mean square. With coarser steps, tensors lose nearly all of their weights, and gradients
// explode in the BatchNormalization behind them.
constexpr double kCoarsestStep = 2.25;

// The step, in units of a tensor's root mean square times its factor (1 where there is none), at which the tensors have
// an order-0 entropy of `bits` per weight, each with a histogram of its own, when they are assigned to multiples of the
// step at a price of 0.1 steps^2 per bit: the slope of the rate-distortion curve of a uniform quantizer at high rate,
// and not far from it at low rate. With smaller steps, the price that leads to that rate would be so high that more and
// more weights fall to 0, which makes the others dearer still. From 0.05 to kCoarsestStep.
double step_for_rate(const NamedTensors& parameters, const std::vector<std::string>& names,
                     const std::map<std::string, double>& factors, bool per_channel, double bits);

}  // namespace quench::training
