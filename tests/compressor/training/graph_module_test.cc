#include "compressor/training/graph_module.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "compressor/graph/columns.h"
#include "compressor/graph/simplify.h"
#include "compressor/networks/integrator.h"
#include "compressor/training/loop/drop_path.h"
#include "formats/error.h"
#include "formats/onnx/columns.h"
#include "tests/compressor/training/small_networks.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::training {
namespace {

using Mode = GraphModule::Mode;
using testing::contains;
using testing::error_of;
using torch::Tensor;

constexpr double kSameDb = 100;  // float32 noise of some layers

void expect_as_runtime(const OnnxModel& model, const Tensor& inputs) {
  GraphModule module(model, torch::kCPU);
  EXPECT_GT(snr_db(run_module(module, inputs, Mode::kEvaluate), run_model(model, inputs)), kSameDb);
}

TEST(GraphModule, RunsConvolutionsAsTheRuntime) {
  expect_as_runtime(convolutional_network(), random_inputs({5, 3, 12, 12}));
}

TEST(GraphModule, RunsResidualNetworksAsTheRuntime) {
  for (const std::string_view integrator : networks::integrator_names()) {
    SCOPED_TRACE(integrator);
    expect_as_runtime(residual_network(std::string(integrator)), random_inputs({2, 3, 32, 32}));
  }
}

TEST(GraphModule, RunsFoldedGraphsAsTheRuntime) {
  OnnxModel model = convolutional_network();
  graph::simplify(model);
  GraphModule module(model, torch::kCPU);
  EXPECT_TRUE(module.buffers().empty()) << "nothing is left to normalize";
  expect_as_runtime(model, random_inputs({5, 3, 12, 12}));
  OnnxModel residual = residual_network("linear-multistep");
  graph::simplify(residual);
  expect_as_runtime(residual, random_inputs({2, 3, 32, 32}));
}

TEST(GraphModule, ParametersAreTheFloatsThatAreNoStatistics) {
  const GraphModule module(convolutional_network(), torch::kCPU);
  EXPECT_EQ(module.parameters().size(), 11u);
  EXPECT_EQ(module.buffers().size(), 4u);
  EXPECT_EQ(module.inputs(), std::vector<std::string>{"x"});
  EXPECT_EQ(module.outputs(), std::vector<std::string>{"y"});
  for (const auto& [name, tensor] : module.parameters()) {
    EXPECT_TRUE(tensor.is_leaf() && tensor.requires_grad()) << name;
  }
}

TEST(GraphModule, EveryParameterGetsAGradient) {
  for (const std::string_view integrator : networks::integrator_names()) {
    GraphModule module(residual_network(std::string(integrator)), torch::kCPU);
    module.forward({{"input", random_inputs({4, 3, 32, 32})}}, Mode::kTrain)[0].square().sum().backward();
    for (const auto& [name, tensor] : module.parameters()) {
      ASSERT_TRUE(tensor.grad().defined()) << integrator << ": " << name;
      EXPECT_GT(tensor.grad().abs().max().item<float>(), 0) << integrator << ": " << name;
    }
  }
}

TEST(GraphModule, TrainingMovesRunningStatisticsTowardsTheBatch) {
  GraphModule module(convolutional_network(), torch::kCPU);
  const Tensor inputs = random_inputs({16, 3, 12, 12});
  const Tensor before = module.buffers().at("m1").clone(), variance = module.buffers().at("v1").clone();
  run_module(module, inputs, Mode::kEvaluate);
  EXPECT_TRUE(module.buffers().at("m1").equal(before));
  run_module(module, inputs, Mode::kTrain);
  const Tensor conv = torch::conv2d(inputs, module.parameters().at("w1"), module.parameters().at("b1"), 1, 1).detach();
  const Tensor mean = conv.mean({0, 2, 3});
  EXPECT_TRUE(torch::allclose(module.buffers().at("m1"), 0.9 * before + 0.1 * mean, 1e-4, 1e-5));
  EXPECT_TRUE(torch::allclose(module.buffers().at("v1"), 0.9 * variance + 0.1 * conv.var({0, 2, 3}), 1e-4, 1e-5));
}

TEST(GraphModule, TrainsWithTheStatisticsOfTheBatch) {
  GraphModule module(network_of(R"(net (float[N,4] x) => (float[N,4] y) <float[4] s, float[4] t, float[4] m, float[4] v>
                                   { y = BatchNormalization(x, s, t, m, v) })"),
                     torch::kCPU);
  const Tensor inputs = random_inputs({64, 4}) * 3 + 5;
  const Tensor normalized = (run_module(module, inputs, Mode::kTrain) - module.parameters().at("t").detach()) /
                            module.parameters().at("s").detach();
  EXPECT_LT(normalized.mean(0).abs().max().item<float>(), 1e-4f);
  EXPECT_LT((normalized.var(0, false) - 1).abs().max().item<float>(), 1e-3f);
}

TEST(GraphModule, EstimatesTheMeanOverBatches) {
  GraphModule module(convolutional_network(), torch::kCPU);
  Tensor mean = torch::zeros({16}), variance = torch::zeros({16});
  run_module(module, random_inputs({8, 3, 12, 12}, 99), Mode::kTrain);
  for (int pass = 0; pass < 2; ++pass) {  // the second begins anew
    module.reset_statistics();
    mean.zero_();
    variance.zero_();
    for (int batch = 0; batch < 3; ++batch) {
      const Tensor inputs = random_inputs({8, 3, 12, 12}, 10 * pass + batch);
      run_module(module, inputs, Mode::kEstimate);
      const Tensor conv =
          torch::conv2d(inputs, module.parameters().at("w1"), module.parameters().at("b1"), 1, 1).detach();
      mean += conv.mean({0, 2, 3}) / 3;
      variance += conv.var({0, 2, 3}) / 3;
    }
    EXPECT_TRUE(torch::allclose(module.buffers().at("m1"), mean, 1e-4, 1e-5));
    EXPECT_TRUE(torch::allclose(module.buffers().at("v1"), variance, 1e-4, 1e-5));
  }
}

TEST(GraphModule, WeightsStandInForParameters) {
  GraphModule module(convolutional_network(), torch::kCPU);
  const Tensor inputs = random_inputs({2, 3, 12, 12});
  const NamedTensors other = {{"fc", module.parameters().at("fc").detach() * 2}};
  const Tensor bias = module.parameters().at("fb").detach();
  const Tensor plain = run_module(module, inputs, Mode::kEvaluate) - bias;
  EXPECT_GT(snr_db(run_module(module, inputs, Mode::kEvaluate, other) - bias, 2 * plain), kSameDb);
  EXPECT_GT(snr_db(run_model(module.to_onnx(other), inputs) - bias, 2 * plain), kSameDb);
}

TEST(GraphModule, ComesBackAsOnnx) {
  const OnnxModel model = residual_network("euler");
  GraphModule module(model, torch::kCPU);
  const auto bytes = [](const OnnxModel& of) {
    return to_graph_bytes(of, {.keep_inline = [](const Weight&) { return true; }}).bytes;
  };
  EXPECT_EQ(bytes(module.to_onnx()), bytes(model));
  const Tensor inputs = random_inputs({2, 3, 32, 32});
  run_module(module, inputs, Mode::kTrain);  // other statistics
  const OnnxModel trained = module.to_onnx();
  EXPECT_NE(bytes(trained), bytes(model));
  check(trained);
  EXPECT_GT(snr_db(run_model(trained, inputs), run_module(module, inputs, Mode::kEvaluate)), kSameDb);
}

TEST(GraphModule, TellsModelsApart) {
  const std::string euler = GraphModule(residual_network("euler"), torch::kCPU).identity();
  EXPECT_EQ(GraphModule(residual_network("euler"), torch::kCPU).identity(), euler);
  EXPECT_NE(GraphModule(residual_network("linear-multistep"), torch::kCPU).identity(), euler);
  GraphModule trained(residual_network("euler"), torch::kCPU);
  run_module(trained, random_inputs({2, 3, 32, 32}), Mode::kTrain);
  EXPECT_EQ(trained.identity(), euler) << "by the weights as they were at first";
  EXPECT_NE(GraphModule(trained.to_onnx(), torch::kCPU).identity(), euler) << "the same graph with other statistics";
}

// Two columns: conv, and conv of conv.
TEST(GraphModule, AJoinIsTheMeanOfThePathsThatAreThere) {
  OnnxModel model = network_of(R"(net (float[N,4] x) => (float[N,4] y) <float[4,4] a, float[4,4] b, float[4,4] c>
                                  { short = MatMul(x, a) h = MatMul(x, b) long = MatMul(h, c) y = Mean(short, long) })");
  set_columns(model.proto, 2);
  GraphModule module(model, torch::kCPU);
  EXPECT_EQ(module.columns(), 2);
  EXPECT_EQ(module.joins(), std::vector<int>{2});
  const Tensor x = random_inputs({3, 4});
  const auto run = [&] { return run_module(module, x, Mode::kTrain); };
  const Tensor all = run();
  module.set_paths({1});
  const Tensor shallow = run();
  EXPECT_TRUE(torch::allclose(shallow, x.matmul(module.parameters().at("a").detach())));
  module.set_paths({2});
  EXPECT_TRUE(torch::allclose(run(), 2 * all - shallow, 1e-4, 1e-5));
  module.forward({{"x", x}}, Mode::kTrain)[0].sum().backward();
  EXPECT_FALSE(module.parameters().at("a").grad().defined());
  EXPECT_TRUE(module.parameters().at("b").grad().defined());
  module.set_paths({});
  EXPECT_TRUE(run().equal(all));
}

TEST(GraphModule, APathThatIsLeftOutKeepsItsStatistics) {
  const OnnxModel model = residual_network("fractal-3");
  GraphModule module(model, torch::kCPU);
  const Tensor images = random_inputs({4, 3, 32, 32});
  for (int column = 1; column <= 3; ++column) {
    module.set_paths(paths_of_column(module.joins(), 3, column));
    EXPECT_GT(
        snr_db(run_module(module, images, Mode::kEvaluate), run_model(graph::column_alone(model, column), images)),
        kSameDb);
    NamedTensors before;
    for (const auto& [name, buffer] : module.buffers()) before[name] = buffer.clone();
    run_module(module, images, Mode::kTrain);
    for (const auto& [name, buffer] : module.buffers()) {
      const bool is_there =
          name.find("column") == std::string::npos || contains(name, "column" + std::to_string(column));
      EXPECT_EQ(buffer.equal(before.at(name)), !is_there) << name;
      buffer.copy_(before.at(name));
    }
  }
}

std::string refusal_of(const std::string& graph) {
  return error_of([&] { GraphModule(network_of(graph), torch::kCPU); });
}

TEST(GraphModule, NamesTheNodeThatItCannotTrain) {
  const std::string strange = refusal_of("g (float[2] x) => (float[2] y) { y = NonMaxSuppression(x, x) }");
  EXPECT_TRUE(contains(strange, "'y' (NonMaxSuppression): this operator cannot be trained")) << strange;
  const OnnxModel branches = testing::load_text(R"(g (float[2] x, bool c) => (float[2] y) {
    chosen = If<then_branch = t () => (float[2] a) { a = Relu(x) }, else_branch = e () => (float[2] b) { b = Neg(x) }>(c)
    y = Relu(chosen) })");
  const std::string subgraph = error_of([&] { GraphModule(branches, torch::kCPU); });
  EXPECT_TRUE(contains(subgraph, "'chosen' (If)")) << subgraph;
}

TEST(GraphModule, NamesTheNodeWhoseShapesDoNotFit) {
  GraphModule module(convolutional_network(), torch::kCPU);
  const std::string error = error_of([&] { run_module(module, random_inputs({2, 5, 12, 12}), Mode::kEvaluate); });
  EXPECT_TRUE(contains(error, "node 'c1' (Conv): ")) << error;
  EXPECT_EQ(error.find('\n'), std::string::npos);
  EXPECT_TRUE(contains(error_of([&] { module.forward({}, Mode::kEvaluate); }), "no value for the input 'x'"));
}

TEST(GraphModule, RefusesWhatIsNoGraphInOrder) {
  EXPECT_TRUE(contains(refusal_of("g (float[2] x) => (float[2] y) { y = Relu(later) later = Relu(y) }"), "'later'"));
  EXPECT_TRUE(contains(refusal_of("g (float[2] x) => (float[2] z) { y = Relu(x) }"), "'z'"));
  EXPECT_TRUE(contains(refusal_of(R"(g (float[N,2] x, float[2] m) => (float[N,2] y) <float[2] s, float[2] t, float[2] v>
                                     { y = BatchNormalization(x, s, t, m, v) })"),
                       "statistics are not initializers"));
}

// A tuned file's runtime would refuse it.
TEST(GraphModule, RefusesNormalizationInTrainingMode) {
  EXPECT_TRUE(contains(refusal_of(R"(g (float[N,2] x) => (float[N,2] y) <float[2] s, float[2] t, float[2] m, float[2] v>
                                     { y, a, b = BatchNormalization<training_mode = 1>(x, s, t, m, v) })"),
                       "is in training mode"));
}

}  // namespace
}  // namespace quench::training
