#include "compressor/networks/integrator.h"

#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "compressor/graph/columns.h"
#include "compressor/graph/evaluator.h"
#include "compressor/networks/network.h"
#include "formats/onnx/columns.h"
#include "tests/compressor/networks/evaluate.h"

namespace quench::networks {
namespace {

using ::quench::testing::evaluator_of;
using ::quench::testing::expect_near;
using ::quench::testing::random_images;

using Values = std::vector<float>;

Values values_of(const graph::HostTensor& tensor) { return {tensor.floats().begin(), tensor.floats().end()}; }

// f(u) = w * u with one number w per name, all drawn by `next`.
RightHandSide linear_rhs(GraphBuilder& graph, Values& next) {
  return [&graph, &next](const std::string& name, const std::string& u) {
    const std::string w = graph.floats(name + ".w", {1}, [&] {
      const float value = next.back();
      next.pop_back();
      return Values{value};
    });
    return graph.node("Mul", name + ".f", {u, w});
  };
}

// As many steps as there are weights, unless `steps` says. A pair begins as (older) 2 u and (newer) u.
Values run_steps(const Integrator& integrator, const Values& weights, Values* ks, size_t steps = 0) {
  GraphBuilder graph("steps", 13);
  graph.input("input", {-1, 3});
  History history{"input"};
  if (integrator.values() == 2) history.push_back(graph.node("Add", "twice", {"input", "input"}));
  Values next(weights.rbegin(), weights.rend());
  const RightHandSide f = linear_rhs(graph, next);
  for (size_t i = 0; i < (steps > 0 ? steps : weights.size()); ++i) {
    history.insert(history.begin(), integrator.step(graph, "step" + std::to_string(i), 4, history, f));
  }
  graph.output(history[0], {-1, 3});
  const OnnxModel model = graph.finish();
  check(model);
  for (const Weight& weight : model.weights) {
    if (ks != nullptr && weight.name.ends_with(".k")) ks->push_back(read_float(weight).at(0));
  }
  const Values input{1, -2, 0.5f};
  return values_of(graph::Evaluator(model).run({{graph::HostTensor::float32("input", {1, 3}, input)}})[0]);
}

TEST(Euler, FollowsItsFormula) {
  const Values result = run_steps(euler(), {0.5f, -0.25f, 2}, nullptr);
  const float growth = 1.5f * 0.75f * 3;
  expect_near(result, Values{growth, -2 * growth, 0.5f * growth}, 1e-6f);
}

TEST(LinearMultistep, FollowsItsFormula) {
  Values ks;
  const Values weights{0.5f, -0.25f, 2};
  const Values result = run_steps(linear_multistep(), weights, &ks);
  ASSERT_EQ(ks.size(), 2u);
  double before = 1, u = 1 + weights[0];
  for (size_t n = 1; n < weights.size(); ++n) {
    const double k = ks[n - 1];
    EXPECT_GE(k, -0.1);
    EXPECT_LT(k, 0);
    const double next = (1 - k) * u + k * before + weights[n] * u;
    before = std::exchange(u, next);
  }
  const float growth = static_cast<float>(u);
  expect_near(result, Values{growth, -2 * growth, 0.5f * growth}, 1e-6f);
}

// Of a step of u' = w u for w and, where there are more functions than one, v and t.
double growth(std::string_view integrator, double w, double v = 0, double t = 0) {
  if (integrator == "poly-2") return 1 + w + w * w;
  if (integrator == "poly-3") return 1 + w + w * w + w * w * w;
  if (integrator == "mpoly-2") return 1 + w + v * w;
  if (integrator == "mpoly-3") return 1 + w + v * w + t * v * w;
  if (integrator == "2-way") return 1 + w + v;
  if (integrator == "3-way") return 1 + w + v + t;
  if (integrator == "midpoint") return 1 + w + w * w / 2;
  return 1 + w + w * w / 2 + w * w * w / 6 + w * w * w * w / 24;  // rk4
}

TEST(OneStepMethods, FollowTheirFormulas) {
  for (const char* name : {"poly-2", "poly-3", "midpoint", "rk4"}) {
    const Values result = run_steps(find_integrator(name), {0.5f, -0.25f}, nullptr);
    const auto all = static_cast<float>(growth(name, 0.5) * growth(name, -0.25));
    expect_near(result, Values{all, -2 * all, 0.5f * all}, 1e-6f);
  }
  for (const std::string name : {"mpoly-2", "mpoly-3", "2-way", "3-way"}) {
    const bool three = name.find('3') != std::string::npos;
    const Values result = three ? run_steps(find_integrator(name), {0.5f, -0.25f, 3, 2, 0.125f, -1}, nullptr, 2)
                                : run_steps(find_integrator(name), {0.5f, -0.25f, 2, 0.125f}, nullptr, 2);
    const double first = three ? growth(name, 0.5, -0.25, 3) : growth(name, 0.5, -0.25);
    const auto all = static_cast<float>(first * (three ? growth(name, 2, 0.125, -1) : growth(name, 2, 0.125)));
    expect_near(result, Values{all, -2 * all, 0.5f * all}, 1e-5f);
  }
}

// Weights in the order in which a step asks for them: the shallowest column first, each column from its beginning.
TEST(Fractal, FollowsItsFormula) {
  const float two = (0.5f + 2 * -3) / 2;
  const float both = two * (1.5f + 4 * 0.25f) / 2;
  expect_near(run_steps(find_integrator("fractal-2"), {0.5f, 2, -3, 1.5f, 4, 0.25f}, nullptr, 2),
              Values{both, -2 * both, 0.5f * both}, 1e-6f);
  const float inner = (2 + 3 * -1) / 2.0f;
  const float three = (0.5f + 4 * inner + 1.5f * 0.25f * inner) / 3;  // columns that end together count alike
  expect_near(run_steps(find_integrator("fractal-3"), {0.5f, 2, 3, -1, 4, 1.5f, 0.25f}, nullptr, 1),
              Values{three, -2 * three, 0.5f * three}, 1e-6f);
}

TEST(Reversible, FollowsItsFormula) {
  const Values weights{0.5f, -0.25f, 2};
  const Values result = run_steps(reversible(), weights, nullptr);
  double before = 2, u = 1;
  for (const double w : weights) before = std::exchange(u, before + w * u);
  const auto all = static_cast<float>(u);
  expect_near(result, Values{all, -2 * all, 0.5f * all}, 1e-6f);
}

// f several times in a step, with shared weights and with fresh ones.
TEST(GraphBuilder, RightHandSidesShareWeightsByName) {
  GraphBuilder graph("shared", 13);
  graph.input("input", {-1, 3});
  Values next{7, 3};
  const RightHandSide f = linear_rhs(graph, next);
  const std::string twice = f("a", f("a", "input"));
  graph.output(f("b", twice), {-1, 3});
  const OnnxModel model = graph.finish();
  EXPECT_EQ(check(model), std::vector<std::string>());
  EXPECT_EQ(model.weights.size(), 2u);
  const Values input{1, 2, 3};
  const Values result =
      values_of(graph::Evaluator(model).run({{graph::HostTensor::float32("input", {1, 3}, input)}})[0]);
  EXPECT_EQ(result, (Values{3 * 3 * 7, 2 * 3 * 3 * 7, 3 * 3 * 3 * 7}));
}

TEST(GraphBuilder, RefusesNamesForTwoThings) {
  GraphBuilder graph("clash", 13);
  graph.input("input", {-1, 3});
  graph.floats("w", {2}, [] { return Values{1, 2}; });
  EXPECT_THROW(graph.floats("w", {1, 2}, [] { return Values{1, 2}; }), Error);
  EXPECT_THROW(graph.integers("w", {1}), Error);
  EXPECT_THROW(graph.floats("input", {1}, [] { return Values{1}; }), Error);
  EXPECT_THROW(graph.node("Relu", "relu", {"nothing"}), Error);
}

struct Step {
  Values u, u_previous, f, result, k;
};

// The values around one step of a network, and its k.
Step evaluate_step(const OnnxModel& model, const std::vector<std::string>& names, const std::string& k) {
  graph::Evaluator evaluator = evaluator_of(model, names);
  const std::vector<graph::HostTensor> outputs = evaluator.run({{random_images({2, 3, 8, 8})}});
  Step step{values_of(outputs[1]), values_of(outputs[2]), values_of(outputs[3]), values_of(outputs[4]), {}};
  for (const Weight& weight : model.weights) {
    if (weight.name == k) step.k = read_float(weight);
  }
  return step;
}

OnnxModel small_network(const std::string& integrator) {
  return quench::testing::with_random_normalization(build({.depth = 20, .integrator = integrator, .input = {3, 8, 8}}));
}

// The first step of a stage halves the image in every column that begins at u, and there alone.
TEST(Network, FractalsHalveTheImageInTheirFirstStep) {
  const OnnxModel model = small_network("fractal-3");
  std::vector<std::string> strided;
  for (const onnx::NodeProto& node : model.proto.graph().node()) {
    if (node.op_type() != "Conv") continue;
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.name() == "strides" && attribute.ints(0) == 2) strided.push_back(node.name());
    }
  }
  EXPECT_EQ(strided, (std::vector<std::string>{"layer2.0.column1.0.conv", "layer2.0.column2.0.conv",
                                               "layer2.0.column3.0.conv", "layer3.0.column1.0.conv",
                                               "layer3.0.column2.0.conv", "layer3.0.column3.0.conv"}));
}

int count_of(const OnnxModel& model, std::string_view op_type) {
  int count = 0;
  for (const onnx::NodeProto& node : model.proto.graph().node()) count += node.op_type() == op_type ? 1 : 0;
  return count;
}

TEST(Network, AColumnOfAFractalStandsAlone) {
  const OnnxModel model = small_network("fractal-3");
  EXPECT_EQ(columns_of(model.proto), 3);
  for (int column = 1; column <= 3; ++column) {
    const OnnxModel alone = graph::column_alone(model, column);
    EXPECT_EQ(check(alone), std::vector<std::string>());
    EXPECT_EQ(count_of(alone, "Conv"), 1 + 9 * (1 << (column - 1)));
    EXPECT_EQ(count_of(alone, "Mean"), 0);
    EXPECT_EQ(columns_of(alone.proto), 0);
    for (const Weight& weight : alone.weights) {
      if (!weight.name.starts_with("layer")) continue;
      EXPECT_NE(weight.name.find("column" + std::to_string(column)), std::string::npos) << weight.name;
    }
    EXPECT_EQ(graph::Evaluator(alone).run({{random_images({2, 3, 8, 8})}})[0].dims, (std::vector<int64_t>{2, 10}));
  }
  EXPECT_THROW(graph::column_alone(model, 4), Error);
  EXPECT_THROW(graph::column_alone(small_network("euler"), 1), Error);
}

TEST(Network, EulerStepsAddAndActivate) {
  const Step step =
      evaluate_step(small_network("euler"),
                    {"layer2.1.relu2.out", "layer2.0.relu2.out", "layer2.2.bn2.out", "layer2.2.relu2.out"}, "");
  Values expected(step.u.size());
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = std::max(0.0f, step.u[i] + step.f[i]);
  expect_near(step.result, expected, 1e-6f);
}

// The second F has the convolutions of the first and normalization of its own.
TEST(Network, PolynomialStepsAddBothTerms) {
  const OnnxModel model = small_network("poly-2");
  const Step step =
      evaluate_step(model, {"layer2.1.relu2.out", "layer2.2.bn2.out", "layer2.2.bn2_2.out", "layer2.2.relu2.out"}, "");
  Values expected(step.u.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    expected[i] = std::max(0.0f, step.u[i] + step.u_previous[i] + step.f[i]);
  }
  expect_near(step.result, expected, 1e-6f);
  int convolutions = 0, own = 0;
  for (const onnx::NodeProto& node : model.proto.graph().node()) {
    if (node.op_type() == "Conv" && node.input(1) == "layer2.2.conv1.weight") ++convolutions;
    if (node.op_type() == "BatchNormalization" && node.input(3).starts_with("layer2.2.bn1_2.")) ++own;
  }
  EXPECT_EQ(convolutions, 2);
  EXPECT_EQ(own, 1);
}

// y1 = x1 + F(x2), y2 = x2 + G(y1) on the halves of the first convolution's channels.
TEST(Network, ReversibleStepsComeInPairs) {
  const OnnxModel model = small_network("reversible");
  graph::Evaluator evaluator = evaluator_of(
      model, {"split.0", "split.1", "layer1.0.conv2.out", "layer1.1.conv2.out", "layer1.0.sum", "layer1.1.sum"});
  const std::vector<graph::HostTensor> outputs = evaluator.run({{random_images({2, 3, 8, 8})}});
  const auto sum_of = [&](size_t a, size_t b) {
    Values sum = values_of(outputs[a]);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += outputs[b].floats()[i];
    return sum;
  };
  EXPECT_EQ(outputs[1].dims, (std::vector<int64_t>{2, 16, 8, 8}));
  expect_near(values_of(outputs[5]), sum_of(1, 3), 1e-6f);
  expect_near(values_of(outputs[6]), sum_of(2, 4), 1e-6f);
}

// Both values come to the new size, and the classifier sees both.
TEST(Network, ReversibleKeepsBothValues) {
  const OnnxModel model = small_network("reversible");
  const Step step =
      evaluate_step(model, {"layer2.0.older.pad.out", "layer2.0.conv2.out", "layer2.0.pad.out", "layer2.0.sum"}, "");
  Values expected(step.u.size());
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = step.u[i] + step.u_previous[i];
  expect_near(step.result, expected, 1e-6f);
  for (const onnx::NodeProto& node : model.proto.graph().node()) {
    if (node.name() == "layer2.1.add") {
      EXPECT_EQ(node.input(1), "layer2.0.pad.out");
    } else if (node.op_type() == "Concat") {
      EXPECT_EQ(node.input(0) + " " + node.input(1), "layer3.1.sum layer3.2.sum");
    }
  }
}

void expect_multistep(const Step& step) {
  ASSERT_EQ(step.k.size(), 1u);
  Values expected(step.u.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    expected[i] = (1 - step.k[0]) * step.u[i] + step.k[0] * step.u_previous[i] + step.f[i];
  }
  expect_near(step.result, expected, 1e-6f);
}

TEST(Network, MultistepLooksBackOneStep) {
  const OnnxModel model = small_network("linear-multistep");
  expect_multistep(
      evaluate_step(model, {"layer1.0.sum", "conv1.out", "layer1.1.conv2.out", "layer1.1.sum"}, "layer1.1.k"));
  expect_multistep(
      evaluate_step(model, {"layer2.1.sum", "layer2.0.sum", "layer2.2.conv2.out", "layer2.2.sum"}, "layer2.2.k"));
}

TEST(Network, MultistepLooksBackOnTheShortcutAfterDownsampling) {
  expect_multistep(evaluate_step(small_network("linear-multistep"),
                                 {"layer3.0.sum", "layer3.0.pad.out", "layer3.1.conv2.out", "layer3.1.sum"},
                                 "layer3.1.k"));
}

// Rewires every step with a k to the plain sum of u and f(u).
OnnxModel without_multistep(const OnnxModel& model) {
  OnnxModel plain = model.clone();
  std::map<std::string, std::string> u_of_mix;
  for (onnx::NodeProto& node : *plain.proto.mutable_graph()->mutable_node()) {
    if (node.name().ends_with(".mix")) u_of_mix[node.output(0)] = node.input(0);
    const auto found = node.input_size() == 2 ? u_of_mix.find(node.input(1)) : u_of_mix.end();
    if (found != u_of_mix.end()) node.set_input(1, found->second);
  }
  graph::Report report;
  EXPECT_TRUE(graph::remove_unused(plain, report));
  EXPECT_EQ(report.initializers_removed, 6u);
  return plain;
}

TEST(Network, MultistepWithoutKIsThePlainResidualNetwork) {
  const OnnxModel model = small_network("linear-multistep");
  graph::EvaluatorOptions no_k;
  no_k.values = [&](size_t weight) -> std::shared_ptr<const Values> {
    if (!model.weights[weight].name.ends_with(".k")) return nullptr;
    return std::make_shared<const Values>(Values{0});
  };
  const std::vector<graph::HostTensor> images{random_images({2, 3, 8, 8})};
  const Values plain = values_of(graph::Evaluator(without_multistep(model)).run(images)[0]);
  expect_near(values_of(graph::Evaluator(model, no_k).run(images)[0]), plain, 1e-6f);
  EXPECT_NE(values_of(graph::Evaluator(model).run(images)[0]), plain);
}

}  // namespace
}  // namespace quench::networks
