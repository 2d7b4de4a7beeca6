#include "compressor/training/quantization/sensitivity.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace quench::training {
namespace {

const std::vector<std::string> kNames = {"a", "b", "c"};

NamedTensors tensors() {
  torch::manual_seed(1);
  return {{"a", torch::randn({256, 128}) * 3}, {"b", torch::randn({256, 128})}, {"c", torch::randn({512, 128})}};
}

// A model whose outputs change by a weight's relative square error times what its tensor has here.
OutputChange quadratic(const NamedTensors& parameters, std::map<std::string, double> factors) {
  return [&parameters, factors = std::move(factors)](const NamedTensors& weights) {
    double sum = 0;
    for (const auto& [name, weight] : weights) {
      const torch::Tensor& own = parameters.at(name);
      const double error = ((weight - own).square().sum() / own.square().mean()).item<double>();
      sum += factors.at(name) * error;
    }
    return sum;
  };
}

double log_mean(const std::map<std::string, double>& steps, const NamedTensors& parameters) {
  double sum = 0, weights = 0;
  for (const auto& [name, step] : steps) {
    const auto size = static_cast<double>(parameters.at(name).numel());
    sum += size * std::log(step);
    weights += size;
  }
  return sum / weights;
}

TEST(BalancedSteps, GoWithTheRootOfWhatAWeightMatters) {
  const NamedTensors parameters = tensors();
  const auto steps =
      balanced_steps(parameters, kNames, false, quadratic(parameters, {{"a", 4}, {"b", 2}, {"c", 1.5}}), 1);
  EXPECT_NEAR(steps.at("b") / steps.at("a"), std::sqrt(2), 0.04);
  EXPECT_NEAR(steps.at("c") / steps.at("a"), std::sqrt(4 / 1.5), 0.04) << "per weight, whatever the size";
  EXPECT_NEAR(log_mean(steps, parameters), 0, 1e-6);
}

// By an independent computation, for Gaussian weights: 2.009 bits in steps of 1, 1.290 in steps of 1.6.
TEST(StepForRate, IsThatOfAUniformQuantizerAtAPrice) {
  const NamedTensors parameters = tensors();
  EXPECT_NEAR(step_for_rate(parameters, kNames, {}, false, 2.009), 1.0, 0.03);
  EXPECT_NEAR(step_for_rate(parameters, kNames, {}, false, 1.290), 1.6, 0.04);
  EXPECT_NEAR(step_for_rate(parameters, kNames, {{"a", 2}, {"b", 2}, {"c", 2}}, false, 1.290), 0.8, 0.02);
  EXPECT_LE(step_for_rate(parameters, kNames, {}, true, 0), kCoarsestStep);
  EXPECT_GE(step_for_rate(parameters, kNames, {}, false, 100), 0.05);
}

TEST(BalancedSteps, AreLimited) {
  NamedTensors parameters = tensors();
  parameters["a"] = torch::randn({16, 16});
  const auto fine =
      balanced_steps(parameters, kNames, false, quadratic(parameters, {{"a", 1e9}, {"b", 1}, {"c", 1}}), 1);
  EXPECT_NEAR(fine.at("a"), 1.0 / 8, 1e-6);
  const auto coarse =
      balanced_steps(parameters, kNames, false, quadratic(parameters, {{"a", 1}, {"b", 1}, {"c", 0}}), 1);
  EXPECT_NEAR(coarse.at("c"), 1.5, 1e-6);
  EXPECT_NEAR(log_mean(coarse, parameters), 0, 1e-6);
}

TEST(BalancedSteps, AreEqualWhereNothingIsKnown) {
  const NamedTensors parameters = tensors();
  for (const double change : {0.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    const auto steps = balanced_steps(
        parameters, kNames, false, [&](const NamedTensors&) { return change; }, 1);
    for (const std::string& name : kNames) EXPECT_NEAR(steps.at(name), 1, 1e-9) << change;
  }
}

TEST(BalancedSteps, AreEqualWhereOneTensorBreaksTheModel) {
  const NamedTensors parameters = tensors();
  const auto change = [](const NamedTensors& weights) {
    return weights.contains("b") ? std::numeric_limits<double>::quiet_NaN() : 1.0;
  };
  for (const auto& [name, step] : balanced_steps(parameters, kNames, false, change, 1)) EXPECT_EQ(step, 1) << name;
}

TEST(BalancedSteps, NoiseFollowsTheChannelsWhereScalesDo) {
  NamedTensors parameters = tensors();
  parameters["a"].slice(0, 0, 128).mul_(100);
  double loud = 0, quiet = 0;
  const auto change = [&](const NamedTensors& weights) {
    if (const auto a = weights.find("a"); a != weights.end()) {
      const torch::Tensor noise = a->second - parameters["a"];
      loud = noise.slice(0, 0, 128).square().mean().sqrt().item<double>();
      quiet = noise.slice(0, 128).square().mean().sqrt().item<double>();
    }
    return 1.0;
  };
  balanced_steps(parameters, kNames, true, change, 1);
  EXPECT_NEAR(loud / quiet, 100, 3);
  balanced_steps(parameters, kNames, false, change, 1);
  EXPECT_NEAR(loud / quiet, 1, 0.05);
}

TEST(BalancedSteps, DependOnTheSeedAlone) {
  const NamedTensors parameters = tensors();
  const OutputChange change = quadratic(parameters, {{"a", 3}, {"b", 2}, {"c", 1}});
  const auto steps = balanced_steps(parameters, kNames, false, change, 7);
  torch::manual_seed(99);
  EXPECT_EQ(balanced_steps(parameters, kNames, false, change, 7), steps);
  EXPECT_NE(balanced_steps(parameters, kNames, false, change, 8), steps);
}

}  // namespace
}  // namespace quench::training
