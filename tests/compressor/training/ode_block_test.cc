// ODE blocks that a training integrates itself.
#include "compressor/networks/ode_block.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "compressor/graph/evaluator.h"
#include "compressor/networks/ode_network.h"
#include "compressor/training/graph_module.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::training {
namespace {

using networks::GraphBuilder;
using networks::OdeForm;
using networks::OdeNetworkOptions;
using ::quench::testing::error_of;
using solver::Gradient;
using torch::Tensor;

constexpr Gradient kAll[] = {Gradient::kStored, Gradient::kRecompute, Gradient::kAdjoint};

// u' = f(t, u) behind a matrix.
OnnxModel model_of(const networks::TimedRightHandSide& f) {
  GraphBuilder graph("net", 13);
  graph.input("x", {-1, 2});
  const std::string first = graph.floats("first", {2, 2}, [] { return std::vector<float>{1, 0.5f, -0.25f, 1.5f}; });
  const std::string u = graph.node("MatMul", "matmul", {"x", first});
  graph.output(networks::write_for_training(graph, "ode", f, u), {-1, 2});
  return graph.finish();
}

std::string matrix_of(GraphBuilder& graph) {
  return graph.floats("w", {2, 2}, [] { return std::vector<float>{0.5f, -1, 1, 0.25f}; });
}

// tanh(u W + t)
std::string tanh_of(GraphBuilder& graph, const std::string& t, const std::string& u) {
  const std::string product = graph.node("MatMul", "f", {u, matrix_of(graph)});
  return graph.node("Tanh", "tanh", {graph.node("Add", "add", {product, t})});
}

OdeOptions with(Gradient gradient, double tolerance = 1e-5, int steps = 0) {
  return {{"ode"}, "dopri5", steps, tolerance, tolerance, gradient};
}

Tensor some_inputs() {
  torch::manual_seed(3);
  return torch::randn({3, 2});
}

TEST(OdeBlock, IsTheSolutionOfItsProblem) {
  const Tensor x = some_inputs();
  for (const Gradient gradient : kAll) {
    GraphModule module(model_of(tanh_of), torch::kCPU);
    module.integrate_blocks(with(gradient));
    const Tensor first = module.parameters().at("first").detach().clone().requires_grad_(true);
    const Tensor w = module.parameters().at("w").detach().clone().requires_grad_(true);
    int64_t calls = 0;
    const solver::Function f = [&](double t, const Tensor& u) {
      ++calls;
      return torch::tanh(torch::matmul(u, w) + t);
    };
    solver::Options options{.rtol = 1e-5, .atol = 1e-5, .gradient = gradient, .parameters = {w}};
    const Tensor expected = solver::integrate(f, torch::matmul(x, first), {0, 1}, options).values[1];
    const Tensor end = module.forward({{"x", x}}, GraphModule::Mode::kTrain)[0];
    EXPECT_LT((end - expected).abs().max().item<float>(), 1e-6f);
    EXPECT_EQ(module.evaluations(), calls);
    EXPECT_GT(calls, 7);
    end.square().sum().backward();
    expected.square().sum().backward();
    EXPECT_EQ(module.evaluations(), calls) << "and on the way back";
    EXPECT_LT((module.parameters().at("w").grad() - w.grad()).abs().max().item<float>(), 1e-5f);
    EXPECT_LT((module.parameters().at("first").grad() - first.grad()).abs().max().item<float>(), 1e-5f);
  }
}

// In each form of the graph, of the same weights.
TEST(OdeBlock, LoopInTheRuntimeTakesTheSameSteps) {
  const Tensor x = some_inputs();
  for (const std::string_view method : solver::adaptive_names()) {
    for (const double tolerance : {1e-3, 1e-4}) {
      OdeOptions how = with(Gradient::kStored, tolerance);
      how.solver = method;
      GraphModule module(model_of(tanh_of), torch::kCPU);
      module.integrate_blocks(how);
      const Tensor u0 = torch::matmul(x, module.parameters().at("first")).detach();
      const Tensor end = module.forward({{"x", x}}, GraphModule::Mode::kEvaluate)[0];
      GraphBuilder graph("loop", 13);
      graph.input("u", {-1, 2});
      const solver::Tableau& tableau = solver::find_tableau(method);
      graph.output(networks::integrate_in_loop(graph, "ode", tableau, {tolerance, tolerance}, 0, 1, tanh_of, "u"),
                   {-1, 2});
      graph::EvaluatorOptions options;
      options.extra_outputs = {"ode.tries"};
      graph::HostTensor input = graph::HostTensor::float32("u", {3, 2});
      std::copy_n(u0.data_ptr<float>(), 6, input.floats().begin());
      const std::vector<graph::HostTensor> outputs = graph::Evaluator(graph.finish(), options).run({{input}});
      const Tensor value = torch::from_blob(const_cast<float*>(outputs[0].floats().data()), {3, 2});
      // In float, rounding is a part of small estimated errors: the steps differ a little, within the tolerance.
      EXPECT_LT((value - end).abs().max().item<double>(), 2 * tolerance) << method << " " << tolerance;
      if (!tableau.is_fsal()) continue;
      const auto tries = static_cast<int64_t>(outputs[1].floats()[0]);
      EXPECT_EQ(module.evaluations(), 2 + tries * static_cast<int64_t>(tableau.stages() - 1)) << method << tolerance;
    }
  }
}

struct Pass {
  Tensor outputs;
  NamedTensors gradients;
  int64_t forward = 0, backward = 0;
};

Pass pass_of(const OnnxModel& model, const OdeOptions& how) {
  GraphModule module(model, torch::kCPU);
  if (!how.blocks.empty()) module.integrate_blocks(how);
  torch::manual_seed(5);
  const Tensor images = model.name == "odenet" ? torch::randn({3, 1, 28, 28}) : torch::randn({3, 3, 32, 32});
  Pass pass;
  pass.outputs = module.forward({{"input", images}}, GraphModule::Mode::kTrain)[0];
  pass.forward = module.evaluations();
  pass.outputs.square().sum().backward();
  pass.backward = module.evaluations() - pass.forward;
  for (const auto& [name, tensor] : module.parameters()) pass.gradients[name] = tensor.grad();
  return pass;
}

// Of all parameters' gradients together.
double difference_of(const Pass& pass, const Pass& expected) {
  double difference = 0, size = 0;
  for (const auto& [name, gradient] : expected.gradients) {
    difference += (pass.gradients.at(name) - gradient).square().sum().item<double>();
    size += gradient.square().sum().item<double>();
  }
  return std::sqrt(difference / size);
}

// Of each parameter's gradient.
double largest_difference(const Pass& pass, const Pass& expected) {
  double largest = 0;
  for (const auto& [name, gradient] : expected.gradients) {
    const Tensor& own = pass.gradients.at(name);
    if (!own.defined()) return INFINITY;
    const double difference = ((own - gradient).norm() / (gradient.norm() + 1e-6)).item<double>();
    if (!(difference <= largest)) largest = difference;  // what is no number, too
  }
  return largest;
}

TEST(OdeBlock, FixedStepsAreThoseOfTheUnrolledNetwork) {
  for (const std::string network : {"odenet", "odenet-cifar"}) {
    OdeNetworkOptions options{.network = network, .solver = "rk4", .steps = 2, .extra_channels = 8};
    const Pass expected = pass_of(networks::build(options), {});
    options.form = OdeForm::kForTraining;
    OdeOptions how{networks::ode_block_names(network), "rk4", 2};
    for (const Gradient gradient : {Gradient::kStored, Gradient::kRecompute}) {
      how.gradient = gradient;
      const Pass pass = pass_of(networks::build(options), how);
      EXPECT_LT((pass.outputs - expected.outputs).abs().max().item<float>(), 1e-4f) << network;
      EXPECT_LT(largest_difference(pass, expected), 1e-3) << network;
      EXPECT_EQ(pass.forward, networks::evaluations_of(options));
      EXPECT_EQ(pass.backward, gradient == Gradient::kStored ? 0 : pass.forward);
    }
  }
}

TEST(OdeBlock, GradientsOfANetworkAgree) {
  for (const std::string network : {"odenet", "odenet-cifar"}) {
    const OnnxModel model = networks::build(OdeNetworkOptions{.network = network, .form = OdeForm::kForTraining});
    OdeOptions how{networks::ode_block_names(network), "tsit5", 0, 1e-5, 1e-5, Gradient::kStored};
    const Pass stored = pass_of(model, how);
    how.gradient = Gradient::kRecompute;
    const Pass recomputed = pass_of(model, how);
    how.gradient = Gradient::kAdjoint;
    const Pass adjoint = pass_of(model, how);
    EXPECT_LT(largest_difference(recomputed, stored), 1e-4) << network;
    how.rtol = how.atol = 1e-2;
    const Pass coarse = pass_of(model, how);
    EXPECT_LT(difference_of(adjoint, stored), 0.05) << "f has kinks: " << network;
    EXPECT_LT(difference_of(adjoint, stored), difference_of(coarse, stored) / 2) << "by the tolerance: " << network;
    EXPECT_GT(difference_of(adjoint, stored), 1e-7) << "it is another problem that is solved";
    EXPECT_LT(coarse.backward, adjoint.backward);
    EXPECT_EQ(stored.backward, 0);
    EXPECT_GT(recomputed.backward, 0);
    // Of accepted steps alone all seven stages; on the way forward the first is the last of the step before.
    EXPECT_EQ(recomputed.backward % 7, 0);
    EXPECT_LE(recomputed.backward / 7 * 6, recomputed.forward - 2);
    EXPECT_GT(adjoint.backward, 0);
    EXPECT_EQ(stored.forward, adjoint.forward);
  }
}

TEST(OdeBlock, SaysWhatCannotBe) {
  const auto error = [](const networks::TimedRightHandSide& f, OdeOptions how) {
    GraphModule module(model_of(f), torch::kCPU);
    return error_of([&] {
      module.integrate_blocks(how);
      module.forward({{"x", torch::full({1, 2}, 4.0f)}}, GraphModule::Mode::kTrain);
    });
  };
  OdeOptions how = with(Gradient::kRecompute);
  how.blocks = {"other"};
  EXPECT_EQ(error(tanh_of, how), "net: has no ODE block 'other' to integrate");
  const auto normalized = [](GraphBuilder& graph, const std::string&, const std::string& u) {
    const auto constant = [&](const char* name, float value) {
      return graph.floats(name, {2}, [value] { return std::vector<float>{value, value}; });
    };
    return graph.node("BatchNormalization", "bn",
                      {u, constant("scale", 1), constant("shift", 0), constant("mean", 0), constant("variance", 1)});
  };
  EXPECT_NE(error(normalized, with(Gradient::kRecompute)).find("ODE block 'ode': has BatchNormalization"),
            std::string::npos);
  // u' = u^3, which has no end at t = 1.
  const auto bursting = [](GraphBuilder& graph, const std::string&, const std::string& u) {
    return graph.node("Mul", "cube", {u, graph.node("Mul", "square", {u, u})});
  };
  for (const Gradient gradient : kAll) {
    const std::string message = error(bursting, with(gradient));
    EXPECT_TRUE(message.starts_with("net: ODE block 'ode': ")) << message;
    EXPECT_TRUE(message.find("finite") != std::string::npos || message.find("underflows") != std::string::npos)
        << message;
  }
  EXPECT_NE(error(tanh_of, with(Gradient::kRecompute, 1e-30)).find("ode': "), std::string::npos);
  EXPECT_NE(error(tanh_of, with(Gradient::kRecompute, 0)).find("a tolerance of 0 cannot be met"), std::string::npos);
  GraphModule module(model_of(tanh_of), torch::kCPU);
  module.integrate_blocks(with(Gradient::kRecompute));
  EXPECT_NE(error_of([&] { module.recompute_activations(); }).find("--recompute is for networks"), std::string::npos);
}

}  // namespace
}  // namespace quench::training
