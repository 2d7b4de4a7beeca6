#include "compressor/networks/flow.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "compressor/graph/evaluator.h"
#include "compressor/training/graph_module.h"

namespace quench::training {
namespace {

using networks::FlowForm;
using torch::Tensor;

graph::HostTensor host(const std::string& name, const Tensor& values) {
  graph::HostTensor tensor = graph::HostTensor::float32(name, values.sizes().vec());
  std::copy_n(values.data_ptr<float>(), values.numel(), tensor.floats().begin());
  return tensor;
}

// By the runtime.
std::vector<Tensor> run(const OnnxModel& model, const std::vector<graph::HostTensor>& inputs) {
  std::vector<Tensor> outputs;
  for (const graph::HostTensor& output : graph::Evaluator(model).run(inputs)) {
    outputs.push_back(torch::from_blob(const_cast<float*>(output.floats().data()), output.dims).clone());
  }
  return outputs;
}

TEST(Flow, ModuleAndRuntimeAgree) {
  torch::manual_seed(5);
  const Tensor x = torch::randn({7, 3}), noise = torch::randn({7, 3}).sign();
  for (const FlowForm form : {FlowForm::kDensity, FlowForm::kEstimate, FlowForm::kSampler}) {
    const std::string input = form == FlowForm::kSampler ? "z" : "x";
    const OnnxModel model = networks::build(networks::FlowOptions{.dimensions = 3, .form = form});
    GraphModule module(model, torch::kCPU);
    NamedTensors inputs = {{input, x}};
    std::vector<graph::HostTensor> values = {host(input, x)};
    if (form == FlowForm::kEstimate) {
      inputs["noise"] = noise;
      values.push_back(host("noise", noise));
    }
    const Tensors outputs = module.forward(inputs, GraphModule::Mode::kTrain);
    const std::vector<Tensor> expected = run(model, values);
    ASSERT_EQ(outputs.size(), expected.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      ASSERT_EQ(outputs[i].sizes(), expected[i].sizes());
      EXPECT_LT((outputs[i] - expected[i]).abs().max().item<float>(), 1e-5f);
    }
    outputs[0].sum().backward();
    int64_t parameters = 0;
    for (const auto& [name, tensor] : module.parameters()) {
      parameters += tensor.numel();
      EXPECT_TRUE(tensor.grad().defined()) << name;
    }
    EXPECT_EQ(parameters, (3 * 64 + 2 * 64 * 64 + 64 * 3) + 4 * (3 * 64 + 3)) << "neither axes nor numbers";
  }
}

// One step of Euler's method, z = x - f(1, x): autograd's Jacobian of z, and the part of the log density that is no
// normal's.
TEST(Flow, TraceIsThatOfAutograd) {
  torch::manual_seed(6);
  for (const char* nonlinearity : {"tanh", "softplus"}) {
    constexpr int64_t kDims = 5;
    GraphModule module(networks::build(networks::FlowOptions{
                           .dimensions = kDims, .nonlinearity = nonlinearity, .solver = "euler", .steps = 1}),
                       torch::kCPU);
    for (auto& [name, tensor] : module.parameters()) tensor.set_data(2 * tensor);
    const Tensor x = torch::randn({1, kDims}).set_requires_grad(true);
    const Tensors outputs = module.forward({{"x", x}}, GraphModule::Mode::kTrain);
    double trace = kDims;
    for (int64_t i = 0; i < kDims; ++i) {
      trace -= torch::autograd::grad({outputs[1][0][i]}, {x}, {}, true)[0][0][i].item<double>();
    }
    const double base = -0.5 * (outputs[1].square().sum().item<double>() + kDims * std::log(2 * M_PI));
    EXPECT_NEAR(base - outputs[0].item<double>(), trace, 1e-5) << nonlinearity;
    EXPECT_GT(std::abs(trace), 0.01) << "or nothing was tried";
  }
}

// Of the mean over many noises the gradient is that of the exact trace, up to the spread of so many.
TEST(Flow, EstimatesHaveTheGradientOfTheTraceInTheMean) {
  torch::manual_seed(7);
  networks::FlowOptions options{.dimensions = 4, .hidden = {8}, .steps = 2};
  GraphModule exact(networks::build(options), torch::kCPU);
  options.form = FlowForm::kEstimate;
  GraphModule estimated(networks::build(options), torch::kCPU);
  const Tensor x = torch::randn({1, 4}), noise = torch::randint(2, {16384, 4}).to(torch::kFloat32) * 2 - 1;
  exact.forward({{"x", x}}, GraphModule::Mode::kTrain)[0].sum().backward();
  estimated.forward({{"x", x.expand({16384, 4})}, {"noise", noise}}, GraphModule::Mode::kTrain)[0].mean().backward();
  const Tensor& wanted = exact.parameters().at("layer1.weight").grad();
  const Tensor& had = estimated.parameters().at("layer1.weight").grad();
  EXPECT_LT((wanted - had).abs().max().item<float>(), 0.03f * wanted.abs().max().item<float>());
}

}  // namespace
}  // namespace quench::training
