// Values that are computed again in the backward pass: gradients, statistics, and where a graph is cut for it.
#include "compressor/training/recompute.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "compressor/networks/integrator.h"
#include "compressor/networks/network.h"
#include "compressor/training/autocast.h"
#include "compressor/training/loop/drop_path.h"
#include "compressor/training/segments.h"
#include "tests/compressor/training/small_networks.h"

namespace quench::training {
namespace {

using Mode = GraphModule::Mode;
using torch::Tensor;

OnnxModel small_network(std::string_view integrator, int depth = 26) {
  return networks::build({.depth = depth, .integrator = std::string(integrator), .input = {3, 8, 8}});
}

struct Outcome {
  Tensor loss;
  NamedTensors gradients, buffers;
};

// Of a step of training in which nothing moves the weights.
Outcome train_once(const OnnxModel& model, bool recompute, torch::ScalarType type, bool autocasts = false,
                   int column = 0) {
  GraphModule module(model, torch::kCPU);
  for (auto& [name, parameter] : module.parameters()) parameter = parameter.detach().to(type).requires_grad_(true);
  for (auto& [name, buffer] : module.buffers()) buffer = buffer.to(type);
  if (recompute) module.recompute_activations();
  if (column > 0) module.set_paths(paths_of_column(module.joins(), module.columns(), column));
  Tensor scores;
  {
    const Autocast autocast(torch::kCPU, autocasts);
    scores = module.forward({{"input", random_inputs({4, 3, 8, 8}).to(type)}}, Mode::kTrain)[0];
  }
  module.set_paths({});  // what was drawn for the forward pass holds for its backward pass
  const Tensor labels = torch::tensor({1, 5, 0, 7}, torch::kInt64);
  Outcome outcome{torch::cross_entropy_loss(scores.to(torch::promote_types(type, torch::kFloat)), labels), {}, {}};
  outcome.loss.backward();
  for (const auto& [name, parameter] : module.parameters()) outcome.gradients[name] = parameter.grad();
  outcome.buffers = module.buffers();
  return outcome;
}

double largest(const Tensor& tensor) { return tensor.abs().max().item<double>(); }

void expect_same(const Outcome& actual, const Outcome& expected, double tolerance) {
  EXPECT_TRUE(actual.loss.equal(expected.loss));
  for (const auto& [name, buffer] : expected.buffers) {
    EXPECT_TRUE(actual.buffers.at(name).equal(buffer)) << name << ": statistics move once, by the same amount";
  }
  for (const auto& [name, gradient] : expected.gradients) {
    const Tensor& other = actual.gradients.at(name);
    ASSERT_EQ(other.defined(), gradient.defined()) << name;
    if (!gradient.defined()) continue;
    EXPECT_LE(largest(other - gradient), tolerance * largest(gradient)) << name;
  }
}

TEST(Recompute, GradientsAreThoseOfStoredActivations) {
  for (const std::string_view integrator : networks::integrator_names()) {
    SCOPED_TRACE(integrator);
    const OnnxModel model = small_network(integrator);
    expect_same(train_once(model, true, torch::kDouble), train_once(model, false, torch::kDouble), 1e-10);
  }
}

TEST(Recompute, IsReproducibleToTheBit) {
  for (const char* integrator : {"euler", "reversible"}) {
    const OnnxModel model = small_network(integrator);
    expect_same(train_once(model, true, torch::kFloat), train_once(model, true, torch::kFloat), 0);
    const Outcome recomputed = train_once(model, true, torch::kFloat), stored = train_once(model, false, torch::kFloat);
    expect_same(recomputed, stored, 1e-3);
    // Checkpoints compute the same again; what was undone by subtraction is rounded otherwise.
    const std::string name = "layer1.0.conv1.weight";
    EXPECT_EQ(recomputed.gradients.at(name).equal(stored.gradients.at(name)), model.name.ends_with("euler"));
  }
}

TEST(Recompute, KeepsThePathsThatWereDrawn) {
  const OnnxModel model = small_network("fractal-3", 14);
  const Outcome whole = train_once(model, true, torch::kDouble);
  for (const int column : {1, 2, 3}) {
    const Outcome stored = train_once(model, false, torch::kDouble, false, column);
    expect_same(train_once(model, true, torch::kDouble, false, column), stored, 1e-10);
    EXPECT_FALSE(stored.loss.equal(whole.loss));
  }
}

TEST(Recompute, ComputesInTheArithmeticOfTheForwardPass) {
  const OnnxModel model = small_network("euler");
  const Outcome stored = train_once(model, false, torch::kFloat, true);
  expect_same(train_once(model, true, torch::kFloat, true), stored, 1e-5);
  EXPECT_FALSE(stored.loss.equal(train_once(model, false, torch::kFloat).loss)) << "nothing was computed in bfloat16";
  const OnnxModel pair = small_network("reversible");
  for (const auto& [name, gradient] : train_once(pair, true, torch::kFloat, true).gradients) {
    EXPECT_TRUE(torch::isfinite(gradient).all().item<bool>()) << name;
  }
}

TEST(Recompute, CheckpointsPassIntegersAndUnusedInputs) {
  const Tensor a = torch::randn({3}).requires_grad_(true), b = torch::randn({3}).requires_grad_(true);
  int runs = 0;
  const Rerun run = [&runs](const Tensors& inputs, bool again) {
    EXPECT_EQ(again, runs++ > 0);
    return Tensors{inputs[0].square(), inputs[0].argmax(), inputs[0] * 3};
  };
  const Tensors outputs = checkpointed(run, {a, b});
  EXPECT_FALSE(outputs[1].requires_grad());
  outputs[0].sum().backward();
  EXPECT_TRUE(torch::allclose(a.grad(), 2 * a.detach()));
  EXPECT_FALSE(b.grad().defined());
  EXPECT_EQ(runs, 2);
}

// As many steps as a stage of depth 110 has, on two values and one that no step changes.
std::vector<ReversibleStep> convolutions(Tensors& parameters) {
  std::vector<ReversibleStep> steps;
  for (size_t i = 0; i < 18; ++i) {
    parameters.push_back(torch::randn({8, 8, 3, 3}) * 0.1);
    steps.push_back({i % 2, {i}, [i](const Tensors& state, const Tensors& own, bool) {
                       EXPECT_FALSE(state[i % 2].defined());
                       return torch::conv2d(torch::relu(state[1 - i % 2]), own[0], {}, 1, 1) * state[2];
                     }});
  }
  return steps;
}

TEST(Reversible, TheInverseReturnsTheInput) {
  torch::manual_seed(3);
  Tensors parameters;
  const std::vector<ReversibleStep> steps = convolutions(parameters);
  const Tensors before{torch::randn({2, 8, 6, 6}), torch::randn({2, 8, 6, 6}), torch::rand({1, 8, 1, 1})};
  const Tensors after = reversible(steps, before, parameters);
  EXPECT_GT(largest(after[0] - before[0]), 0.1);
  EXPECT_TRUE(after[2].is_same(before[2]));
  const Tensors back = reversed(steps, after, parameters);
  for (size_t i = 0; i < 2; ++i) EXPECT_LT(largest(back[i] - before[i]), 1e-5);
}

TEST(Reversible, GradientsReachWhatNoStepChanges) {
  torch::manual_seed(3);
  Tensors parameters;
  const std::vector<ReversibleStep> steps = convolutions(parameters);
  Tensors state;
  for (const std::vector<int64_t>& dims : {std::vector<int64_t>{2, 8, 6, 6}, {2, 8, 6, 6}, {1, 8, 1, 1}}) {
    state.push_back(torch::rand(dims, torch::kDouble).requires_grad_(true));
  }
  for (Tensor& parameter : parameters) parameter = parameter.to(torch::kDouble).requires_grad_(true);
  Tensors all = state;
  all.insert(all.end(), parameters.begin(), parameters.end());
  const Tensors after = reversible(steps, state, parameters);
  const auto recomputed = torch::autograd::grad({after[0].square().sum() + after[1].sum()}, all);
  Tensors plain = state;
  for (const ReversibleStep& step : steps) {
    Tensors others = plain;
    others[step.target] = Tensor();
    plain[step.target] = plain[step.target] + step.residual(others, {parameters[step.parameters[0]]}, false);
  }
  const auto stored = torch::autograd::grad({plain[0].square().sum() + plain[1].sum()}, all);
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_LE(largest(recomputed[i] - stored[i]), 1e-10 * largest(stored[i])) << i;
}

// f of one value, in two nodes; then the sum with another value.
std::vector<SegmentNode> leapfrog(int steps, bool same_shapes) {
  std::vector<SegmentNode> nodes;
  int older = 0, newer = 1, next = 2;
  for (int i = 0; i < steps; ++i) {
    nodes.push_back({{newer, -1}, {next}, {}});
    nodes.push_back({{next}, {next + 1}, {}});
    nodes.push_back({{next + 1, older}, {next + 2}, {true, same_shapes}});
    older = newer;
    newer = next + 2;
    next += 3;
  }
  return nodes;
}

void expect_whole(const std::vector<Segment>& segments, size_t nodes) {
  size_t at = 0;
  for (const Segment& segment : segments) {
    EXPECT_EQ(segment.first, at);
    EXPECT_GT(segment.last, at);
    at = segment.last;
  }
  EXPECT_EQ(at, nodes);
}

TEST(Segments, RowsOfAdditiveStepsAreFound) {
  const std::vector<Segment> segments = cut_into_segments(leapfrog(5, true), {0, 1}, {13, 16});
  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments[0].steps.size(), 5u);
  EXPECT_EQ(segments[0].steps[1].first, 3u);
  EXPECT_EQ(segments[0].steps[1].before, 1);
  EXPECT_EQ(segments[0].steps[1].after, 7);
  EXPECT_EQ(segments[0].steps[1].residual, 6);
  expect_whole(segments, 15);
}

TEST(Segments, WhatCannotBeUndoneIsNoStep) {
  for (const Segment& segment : cut_into_segments(leapfrog(5, false), {0, 1}, {13, 16})) {
    EXPECT_TRUE(segment.steps.empty()) << "a value that the sum makes larger";
  }
  // u + f(u), again and again: f needs the very value that the sum takes the place of.
  std::vector<SegmentNode> euler;
  for (int u = 0; u < 20; u += 2) {
    euler.push_back({{u}, {u + 1}, {}});
    euler.push_back({{u + 1, u}, {u + 2}, {true, true}});
  }
  const std::vector<Segment> segments = cut_into_segments(euler, {0}, {20});
  expect_whole(segments, 20);
  EXPECT_EQ(segments.size(), 4u);  // the square root of 20
  for (const Segment& segment : segments) {
    EXPECT_TRUE(segment.steps.empty());
    EXPECT_EQ(segment.reads.size(), 1u) << "cut where one value is alive";
    EXPECT_EQ(segment.makes.size(), 1u);
  }
}

}  // namespace
}  // namespace quench::training
