#include "compressor/networks/ode_network.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "compressor/graph/evaluator.h"
#include "compressor/networks/ode_block.h"
#include "compressor/solver/tableau.h"
#include "tests/compressor/networks/evaluate.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::networks {
namespace {

using ::quench::testing::error_of;
using ::quench::testing::evaluator_of;
using ::quench::testing::expect_near;
using ::quench::testing::random_images;

// Scalars are the solver's numbers, not parameters, and statistics are measured.
int64_t parameters_of(const OnnxModel& model, const std::string& prefix = "") {
  int64_t count = 0;
  for (const Weight& weight : model.weights) {
    if (is_float_type(weight.dtype) && !weight.dims.empty() && weight.name.starts_with(prefix) &&
        weight.name.find(".running_") == std::string::npos) {
      count += weight.elements();
    }
  }
  return count;
}

std::vector<float> values_of(const OnnxModel& model, const std::string& name) {
  for (const Weight& weight : model.weights) {
    if (weight.name == name) return read_float(weight);
  }
  throw Error::make("no weight '{}'", name);
}

TEST(OdeNetwork, HasTheParametersOfThePaper) {
  for (const int steps : {1, 3}) {  // the weights are there once
    const OnnxModel model = build(OdeNetworkOptions{.steps = steps});
    EXPECT_EQ(parameters_of(model), 208266);
    EXPECT_EQ(parameters_of(model, "ode."), 75392);
  }
  EXPECT_EQ(parameters_of(build(OdeNetworkOptions{.network = "odenet-twin"})), 576778);
  EXPECT_EQ(parameters_of(build(OdeNetworkOptions{.network = "odenet-cifar"})), 170298);
}

TEST(OdeNetwork, PassesTheCheckerAndRuns) {
  const auto expect_runs = [](const OdeNetworkOptions& options, const std::vector<int64_t>& dims) {
    const OnnxModel model = build(options);
    EXPECT_EQ(check(model), std::vector<std::string>());
    const std::vector<graph::HostTensor> outputs = graph::Evaluator(model).run({{random_images(dims)}});
    ASSERT_EQ(outputs.size(), 1u);
    EXPECT_EQ(outputs[0].name, "logits");
    EXPECT_EQ(outputs[0].dims, (std::vector<int64_t>{dims[0], options.classes}));
    for (const float value : outputs[0].floats()) EXPECT_LT(std::abs(value), 100) << options.network;
  };
  for (const std::string_view solver : solver::tableau_names()) {
    expect_runs({.solver = std::string(solver), .steps = 1}, {2, 1, 28, 28});
  }
  expect_runs({.network = "odenet-twin"}, {2, 1, 28, 28});
  for (const std::string network : {"odenet", "odenet-cifar"}) {
    expect_runs({.network = network, .form = OdeForm::kForTraining},
                network == "odenet" ? std::vector<int64_t>{2, 1, 28, 28} : std::vector<int64_t>{2, 3, 32, 32});
  }
  expect_runs({.network = "odenet-cifar", .extra_channels = 8, .classes = 7}, {2, 3, 32, 32});
  expect_runs({.network = "odenet-cifar", .solver = "euler", .input = {3, 13, 10}}, {3, 3, 13, 10});
}

// u' = u - t u^2 over [0.5, 2] by the method's definition, in double.
double integrated(const solver::Tableau& tableau, int steps, double u) {
  const double h = 1.5 / steps;
  for (int step = 0; step < steps; ++step) {
    std::vector<double> k;
    for (size_t i = 0; i < tableau.stages(); ++i) {
      const double t = 0.5 + step * h + tableau.c[i] * h;
      const double at = u + h * std::inner_product(k.begin(), k.end(), tableau.a[i].begin(), 0.0);
      k.push_back(at - t * at * at);
    }
    u += h * std::inner_product(k.begin(), k.end(), tableau.b.begin(), 0.0);
  }
  return u;
}

TEST(OdeBlock, UnrollsTheStepsOfEachMethod) {
  for (const std::string_view name : solver::tableau_names()) {
    const solver::Tableau& tableau = solver::find_tableau(name);
    GraphBuilder graph("g", 13);
    graph.input("u", {-1});
    int64_t evaluations = 0;
    const TimedRightHandSide f = [&](GraphBuilder& g, const std::string& t, const std::string& u) {
      ++evaluations;
      const std::string square = g.node("Mul", "square", {u, u});
      return g.node("Sub", "f", {u, g.node("Mul", "timed", {square, t})});
    };
    graph.output(unroll(graph, "ode", tableau, 3, 0.5, 2, f, "u"), {-1});
    const OnnxModel model = graph.finish();
    EXPECT_EQ(check(model), std::vector<std::string>());
    EXPECT_EQ(evaluations, evaluations_of({.solver = std::string(name), .steps = 3})) << name;
    graph::HostTensor u = graph::HostTensor::float32("u", {3});
    const std::vector<float> starts = {0.2f, 1, -0.1f};
    std::copy(starts.begin(), starts.end(), u.floats().begin());
    const std::vector<graph::HostTensor> outputs = graph::Evaluator(model).run({{u}});
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(outputs[0].floats()[i], integrated(tableau, 3, starts[i]), 2e-6) << name;
  }
}

// u' = -2 t u over [0.5, 2] in a Loop; the outputs are u(2) and the tries.
std::vector<graph::HostTensor> looped(std::string_view method, const Tolerance& tolerance) {
  GraphBuilder graph("g", 13);
  graph.input("u", {-1});
  const TimedRightHandSide f = [](GraphBuilder& g, const std::string& t, const std::string& u) {
    return g.node("Mul", "f", {g.node("Mul", "timed", {u, t}), constant_of(g, -2)});
  };
  graph.output(integrate_in_loop(graph, "ode", solver::find_tableau(method), tolerance, 0.5, 2, f, "u"), {-1});
  const OnnxModel model = graph.finish();
  EXPECT_EQ(check(model), std::vector<std::string>());
  graph::HostTensor u = graph::HostTensor::float32("u", {3});
  const std::vector<float> starts = {0.2f, 1, -0.1f};
  std::copy(starts.begin(), starts.end(), u.floats().begin());
  return evaluator_of(model, {"ode.tries"}).run({{u}});
}

TEST(OdeBlock, LoopsKeepToTheirTolerance) {
  const double decay = std::exp(0.25 - 4);
  for (const std::string_view method : solver::adaptive_names()) {
    float tries = 0;
    for (const double tolerance : {1e-2, 1e-3, 1e-4}) {
      const std::vector<graph::HostTensor> outputs = looped(method, {tolerance, tolerance});
      EXPECT_NEAR(outputs[0].floats()[1], decay, 20 * tolerance) << method;
      EXPECT_NEAR(outputs[0].floats()[2], -0.1 * decay, 20 * tolerance) << method;
      EXPECT_GT(outputs[1].floats()[0], tries) << method << " " << tolerance;
      tries = outputs[1].floats()[0];
    }
    const std::vector<graph::HostTensor> stopped = looped(method, {1e-4, 1e-4, static_cast<int64_t>(tries) - 1});
    for (const float value : stopped[0].floats()) EXPECT_TRUE(std::isnan(value)) << method;
    EXPECT_EQ(stopped[1].floats()[0], tries - 1);
  }
}

TEST(OdeNetwork, LoopsWithTheWeightsOfATrainedNetworkAgreeWithItsSteps) {
  for (const std::string network : {"odenet", "odenet-cifar"}) {
    const OnnxModel steps = build(OdeNetworkOptions{.network = network, .steps = 32, .extra_channels = 8, .seed = 8});
    const OdeNetworkOptions options{.network = network,
                                    .form = OdeForm::kLoop,
                                    .solver = "tsit5",
                                    .extra_channels = 8,
                                    .rtol = 1e-5,
                                    .atol = 1e-5,
                                    .seed = 3};
    const OnnxModel loop = with_weights_of(build(options), steps);
    EXPECT_EQ(check(loop), std::vector<std::string>());
    EXPECT_EQ(parameters_of(loop), parameters_of(steps));
    const graph::HostTensor images =
        network == "odenet" ? random_images({2, 1, 28, 28}) : random_images({2, 3, 32, 32});
    const std::vector<graph::HostTensor> expected = graph::Evaluator(steps).run({{images}});
    const std::vector<graph::HostTensor> outputs = graph::Evaluator(loop).run({{images}});
    expect_near(outputs[0].floats(), expected[0].floats(), 5e-3f);  // f has kinks: few steps are not that exact
    OnnxModel simplified = loop.clone();
    graph::simplify(simplified);
    expect_near(graph::Evaluator(simplified).run({{images}})[0].floats(), outputs[0].floats(), 1e-4f);
  }
}

TEST(OdeNetwork, TimeIsAChannelOfTheConvolutions) {
  const OnnxModel model = build(OdeNetworkOptions{.solver = "midpoint", .steps = 2});
  const std::vector<float> times = {0, 0.25f, 0.5f, 0.75f};
  std::vector<std::string> names = {"ode.conv1.concat.out"};
  for (int i = 2; i <= 4; ++i) names.push_back("ode.conv1.concat_" + std::to_string(i) + ".out");
  const std::vector<graph::HostTensor> outputs = evaluator_of(model, names).run({{random_images({1, 1, 28, 28})}});
  for (size_t i = 0; i < times.size(); ++i) {
    EXPECT_EQ(outputs[i + 1].dims, (std::vector<int64_t>{1, 65, 6, 6}));
    for (size_t pixel = 0; pixel < 36; ++pixel) EXPECT_EQ(outputs[i + 1].floats()[pixel], times[i]);
  }
}

TEST(OdeNetwork, NormalizesGroupsOfTwoChannels) {
  OnnxModel model = build(OdeNetworkOptions{});
  // Scales and shifts that training might have left.
  for (const std::string suffix : {"weight", "bias"}) {
    const std::string name = "norm1." + suffix;
    std::vector<float> values(64);
    for (size_t c = 0; c < 64; ++c)
      values[c] = suffix == "bias" ? 0.1f * static_cast<float>(c) : 2 - 0.05f * static_cast<float>(c);
    for (const Weight& weight : model.weights) {
      if (weight.name != name) continue;
      set_weight(model, *weight.tensor, onnx::TensorProto::FLOAT, std::vector<int64_t>{64},
                 owned_source(from_float(onnx::TensorProto::FLOAT, values)));
      break;
    }
  }
  model.reindex();
  const std::vector<graph::HostTensor> outputs =
      evaluator_of(model, {"conv1.out", "norm1.shift.out"}).run({{random_images({2, 1, 28, 28})}});
  const std::span<const float> before = outputs[1].floats();
  const std::vector<float> weight = values_of(model, "norm1.weight"), bias = values_of(model, "norm1.bias");
  const size_t pixels = 26 * 26;
  std::vector<float> expected;
  for (size_t group = 0; group < 2 * 32; ++group) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < 2 * pixels; ++i) {
      const double value = before[group * 2 * pixels + i];
      sum += value;
      squares += value * value;
    }
    const double mean = sum / (2 * pixels), variance = squares / (2 * pixels) - mean * mean;
    for (size_t i = 0; i < 2 * pixels; ++i) {
      const size_t channel = (group * 2 + i / pixels) % 64;
      const double value = before[group * 2 * pixels + i];
      expected.push_back(
          static_cast<float>((value - mean) / std::sqrt(variance + 1e-5) * weight[channel] + bias[channel]));
    }
  }
  expect_near(outputs[2].floats(), expected, 1e-5f);
}

TEST(OdeNetwork, ExtraChannelsBeginAtZero) {
  const OnnxModel model = build(OdeNetworkOptions{.extra_channels = 6});
  const std::vector<graph::HostTensor> outputs =
      evaluator_of(model, {"conv3.out", "ode.extra.pad.out"}).run({{random_images({1, 1, 28, 28})}});
  const std::span<const float> before = outputs[1].floats(), after = outputs[2].floats();
  ASSERT_EQ(outputs[2].dims, (std::vector<int64_t>{1, 70, 6, 6}));
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
  for (size_t i = before.size(); i < after.size(); ++i) EXPECT_EQ(after[i], 0);
}

TEST(OdeNetwork, RefusesWhatItCannotBuild) {
  const auto refusal = [](const OdeNetworkOptions& options) { return error_of([&] { build(options); }); };
  EXPECT_EQ(refusal({.network = "odenet\n"}),
            "network 'odenet?' is not known: choose one of odenet, odenet-twin, odenet-cifar");
  EXPECT_NE(refusal({.solver = "ode45"}).find("choose one of euler"), std::string::npos);
  EXPECT_EQ(refusal({.form = OdeForm::kLoop, .solver = "rk4"}),
            "solver 'rk4' has no estimate of its error, which a loop needs: choose one of heun, bosh3, tsit5, dopri5");
  EXPECT_EQ(refusal({.rtol = 0}), "a tolerance of 0 cannot be: give numbers above 0 and below 1");
  EXPECT_EQ(refusal({.atol = 1}), "a tolerance of 1 cannot be: give numbers above 0 and below 1");
  EXPECT_EQ(refusal({.steps = 0}), "an ODE block of 0 steps cannot be built: give 1 to 1000");
  EXPECT_NE(refusal({.steps = 1001}).find("1001 steps"), std::string::npos);
  EXPECT_EQ(refusal({.extra_channels = 3}),
            "3 extra channels cannot be added to an ODE block: give a multiple of 2 up to 1024");
  EXPECT_EQ(refusal({.network = "odenet-cifar", .extra_channels = 2}),
            "2 extra channels cannot be added to an ODE block: give a multiple of 8 up to 1024");
  EXPECT_NE(refusal({.extra_channels = -2}).find("-2 extra"), std::string::npos);
  EXPECT_NE(refusal({.classes = 0}).find("0 classes"), std::string::npos);
  EXPECT_EQ(refusal({.input = {1, 9, 28}}),
            "odenet for inputs of 1 x 9 x 28 cannot be built: height and width are 10 to 4096");
  EXPECT_NE(refusal({.network = "odenet-cifar", .input = {3, 32, int64_t{1} << 40}}).find("4 to 4096"),
            std::string::npos);
}

}  // namespace
}  // namespace quench::networks
