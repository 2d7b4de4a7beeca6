#include "compressor/training/sensitivity.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace quench::training {
namespace {

constexpr double kNoise = 0.25;  // in units of the root mean square: about that of three bits
constexpr double kFinest = 1.0 / 8, kCoarsest = 1.5;

using Logs = std::map<std::string, double>;

torch::Tensor root_mean_square(const torch::Tensor& weight, bool per_channel) {
  if (!per_channel) return weight.square().mean().sqrt();
  std::vector<int64_t> dims(static_cast<size_t>(weight.dim()), 1);
  dims[0] = weight.size(0);
  return weight.square().flatten(1).mean(1).sqrt().view(dims);
}

double limited(double log) { return std::clamp(log, std::log(kFinest), std::log(kCoarsest)); }

// What is to be added to the logarithms for their mean over all weights, once they are limited, to be 0.
double balancing_offset(const Logs& logs, const NamedTensors& parameters) {
  double low = 0, high = 0;
  for (const auto& [name, log] : logs) {
    low = std::min(low, -log - 10);
    high = std::max(high, -log + 10);
  }
  for (int round = 0; round < 100; ++round) {
    const double offset = (low + high) / 2;
    double sum = 0;
    for (const auto& [name, log] : logs)
      sum += static_cast<double>(parameters.at(name).numel()) * limited(log + offset);
    (sum < 0 ? low : high) = offset;
  }
  return high;
}

}  // namespace

std::map<std::string, double> balanced_steps(const NamedTensors& parameters, const std::vector<std::string>& names,
                                             bool per_channel, const OutputChange& change, uint64_t seed) {
  torch::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);  // the same noise on all devices
  Logs changes, steps;
  double total = 0;
  for (const std::string& name : names) {
    const torch::Tensor& weight = parameters.at(name);
    const torch::Tensor noise = torch::randn(weight.sizes(), generator).to(weight.device());
    changes[name] = change({{name, weight + noise * root_mean_square(weight, per_channel) * kNoise}});
    total += changes[name];
  }
  if (!std::isfinite(total) || total <= 0) {
    for (const std::string& name : names) steps[name] = 1;
    return steps;
  }
  for (const auto& [name, e] : changes) {
    const double share = std::max(e, 1e-9 * total) / static_cast<double>(parameters.at(name).numel());
    steps[name] = -0.5 * std::log(share);
  }
  const double offset = balancing_offset(steps, parameters);
  for (auto& [name, log] : steps) log = std::exp(limited(log + offset));
  return steps;
}

}  // namespace quench::training
