#include "compressor/training/quantization/sensitivity.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace quench::training {
namespace {

constexpr double kNoise = 0.25;  // in units of the root mean square: about that of three bits
constexpr double kFinest = 1.0 / 8, kCoarsest = 1.5;

constexpr double kPrice = 0.1;  // in steps^2 per bit
constexpr int64_t kLargestLevel = 31;
constexpr int kAssignments = 6, kStepRounds = 12;
constexpr double kSampledWeights = 1 << 18;
constexpr double kFinestStep = 0.05;

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

// Of magnitudes in units of the step, with a bit for the sign of each that is not 0.
double priced_entropy(const torch::Tensor& magnitudes) {
  const torch::Tensor low = magnitudes.floor().clamp_max(kLargestLevel - 1);
  torch::Tensor levels = magnitudes.round().clamp_max(kLargestLevel);
  torch::Tensor shares;
  for (int round = 0; round < kAssignments; ++round) {
    shares = torch::bincount(levels.to(torch::kInt64), {}, kLargestLevel + 1).to(torch::kFloat32);
    shares = (shares + 0.5) / (shares.sum() + 0.5 * (kLargestLevel + 1));
    torch::Tensor lengths = -shares.log2();
    lengths.slice(0, 1) += 1;
    torch::Tensor best = torch::zeros_like(low);
    torch::Tensor cost = magnitudes.square() + kPrice * lengths[0];
    for (const torch::Tensor& candidate : {low, low + 1}) {
      const torch::Tensor own =
          (magnitudes - candidate).square() + kPrice * lengths.index_select(0, candidate.to(torch::kInt64));
      best = torch::where(own < cost, candidate, best);
      cost = torch::minimum(cost, own);
    }
    levels = best;
  }
  return (-(shares * shares.log2()).sum() + 1 - shares[0]).item<double>();
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

double step_for_rate(const NamedTensors& parameters, const std::vector<std::string>& names,
                     const std::map<std::string, double>& factors, bool per_channel, double bits) {
  torch::NoGradGuard no_grad;
  double weights = 0;
  for (const std::string& name : names) weights += static_cast<double>(parameters.at(name).numel());
  const auto stride = static_cast<int64_t>(std::ceil(weights / kSampledWeights));
  std::vector<std::pair<torch::Tensor, double>> tensors;  // magnitudes, share of the weights
  for (const std::string& name : names) {
    const torch::Tensor& weight = parameters.at(name);
    const auto factor = factors.find(name);
    const torch::Tensor unit =
        root_mean_square(weight, per_channel).clamp_min(1e-12) * (factor == factors.end() ? 1.0 : factor->second);
    tensors.emplace_back((weight / unit).abs().flatten().slice(0, 0, weight.numel(), stride).to(torch::kCPU),
                         static_cast<double>(weight.numel()) / weights);
  }
  double fine = kFinestStep, coarse = kCoarsestStep;
  for (int round = 0; round < kStepRounds; ++round) {
    const double step = std::sqrt(fine * coarse);
    double entropy = 0;
    for (const auto& [magnitudes, share] : tensors) entropy += share * priced_entropy(magnitudes / step);
    (entropy > bits ? fine : coarse) = step;
  }
  return coarse;
}

}  // namespace quench::training
