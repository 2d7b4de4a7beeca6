#include "compressor/networks/flow.h"

#include <array>
#include <cmath>
#include <map>
#include <numbers>

#include "compressor/graph/evaluator.h"
#include "compressor/solver/tableau.h"
#include "tests/compressor/networks/evaluate.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::networks {
namespace {

using ::quench::testing::error_of;
using ::quench::testing::evaluator_of;
using ::quench::testing::expect_near;

using Matrix = std::array<std::array<double, 2>, 2>;
using Vector = std::array<double, 2>;

graph::HostTensor rows(const std::string& name, int64_t width, const std::vector<float>& values) {
  return graph::HostTensor::float32(name, {static_cast<int64_t>(values.size()) / width, width}, values);
}

std::vector<float> random_values(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<float> floats(const graph::HostTensor& tensor) { return {tensor.floats().begin(), tensor.floats().end()}; }

// What an inner value or an output is for these inputs.
std::vector<float> value_of(const OnnxModel& model, const std::string& value,
                            const std::vector<graph::HostTensor>& inputs) {
  return floats(evaluator_of(model, {value}).run(inputs).back());
}

std::vector<float> output_of(const OnnxModel& model, const std::vector<graph::HostTensor>& inputs) {
  return floats(graph::Evaluator(model).run(inputs).at(0));
}

// In place of the weights of the model with these names.
OnnxModel with_weights(OnnxModel model, const std::map<std::string, std::vector<float>>& values) {
  for (onnx::TensorProto& tensor : *model.proto.mutable_graph()->mutable_initializer()) {
    const auto found = values.find(tensor.name());
    if (found == values.end()) continue;
    const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    set_weight(model, tensor, onnx::TensorProto::FLOAT, dims,
               owned_source(from_float(onnx::TensorProto::FLOAT, found->second)));
  }
  model.reindex();
  return model;
}

// The weights that a flow starts from, larger, so that it bends.
OnnxModel bent(const FlowOptions& options) {
  OnnxModel model = build(options);
  std::map<std::string, std::vector<float>> values;
  for (const Weight& weight : model.weights) {
    if (!weight.name.starts_with("layer") || weight.name.find(".gate") != std::string::npos) continue;
    std::vector<float>& scaled = values[weight.name] = read_float(weight);
    for (float& value : scaled) value *= 1.7f;
  }
  return with_weights(std::move(model), values);
}

TEST(Flow, HasTheWeightsOfItsLayers) {
  for (const FlowForm form : {FlowForm::kSampler, FlowForm::kDensity, FlowForm::kEstimate}) {
    const OnnxModel model = build(FlowOptions{.form = form});
    EXPECT_EQ(check(model), std::vector<std::string>());
    uint64_t parameters = 0;
    for (const Weight& weight : model.weights) {
      if (weight.name.starts_with("layer")) parameters += weight.elements();
    }
    // Weights and biases of four layers; of each output three more for the time.
    EXPECT_EQ(parameters, (2 * 64 + 2 * 64 * 64 + 64 * 2) + 4 * (3 * 64 + 2));
  }
}

TEST(Flow, TraceIsThatOfFiniteDifferences) {
  constexpr int64_t kDims = 3;
  constexpr double kStep = 1e-2;
  const std::vector<float> points = random_values(4 * kDims, 3), noise = random_values(4 * kDims, 4);
  for (const char* nonlinearity : {"tanh", "softplus"}) {
    FlowOptions options{
        .dimensions = kDims, .hidden = {16, 8}, .nonlinearity = nonlinearity, .solver = "euler", .steps = 1};
    const OnnxModel density = bent(options);
    options.form = FlowForm::kEstimate;
    const OnnxModel estimate = bent(options);
    const auto velocity = [&](const std::vector<float>& x) {
      return value_of(density, "layer3.add.out", {rows("x", kDims, x)});
    };
    std::vector<float> exact(4), along(4);
    for (int64_t j = 0; j < kDims; ++j) {
      std::vector<float> right = points, left = points;
      for (size_t i = 0; i < 4; ++i) {
        right[i * kDims + static_cast<size_t>(j)] += static_cast<float>(kStep);
        left[i * kDims + static_cast<size_t>(j)] -= static_cast<float>(kStep);
      }
      const std::vector<float> after = velocity(right), before = velocity(left);
      for (size_t i = 0; i < 4; ++i) {
        const size_t row = i * kDims;
        for (size_t k = 0; k < kDims; ++k) {
          const double slope = (after[row + k] - before[row + k]) / (2 * kStep);
          if (k == static_cast<size_t>(j)) exact[i] += static_cast<float>(slope);
          along[i] += static_cast<float>(noise[row + static_cast<size_t>(j)] * slope * noise[row + k]);
        }
      }
    }
    expect_near(value_of(density, "trace.out", {rows("x", kDims, points)}), exact, 1e-3f);
    expect_near(value_of(estimate, "trace.out", {rows("x", kDims, points), rows("noise", kDims, noise)}), along, 1e-3f);
  }
}

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c{};
  for (size_t i = 0; i < 2; ++i) {
    for (size_t j = 0; j < 2; ++j) c[i][j] = a[i][0] * b[0][j] + a[i][1] * b[1][j];
  }
  return c;
}

// exp(-A) and the integral of exp(-s A) over s from 0 to 1, by their series.
void exponentials(const Matrix& a, Matrix& exponential, Matrix& integral) {
  Matrix term = {{{1, 0}, {0, 1}}};
  exponential = integral = term;
  for (int n = 1; n < 30; ++n) {
    term = product(term, a);
    for (Vector& row : term) {
      for (double& value : row) value /= -n;
    }
    for (size_t i = 0; i < 2; ++i) {
      for (size_t j = 0; j < 2; ++j) {
        exponential[i][j] += term[i][j];
        integral[i][j] += term[i][j] / (n + 1);
      }
    }
  }
}

// z' = A z + b takes z to exp(A) z + c; a tanh of small numbers is linear.
TEST(Flow, DensityOfAnAffineFieldIsItsClosedForm) {
  const Matrix a = {{{0.7, -1.1}, {0.9, -0.2}}};
  const Vector b = {0.4, -0.3};
  constexpr double kSmall = 1e-3;
  std::map<std::string, std::vector<float>> values;
  for (const char* layer : {"layer1", "layer2"}) {  // gates are a half
    for (const char* part : {".bias", ".gate.weight", ".gate.bias", ".shift.weight"})
      values[std::string(layer) + part] = {0, 0};
  }
  values["layer1.weight"] = {2 * kSmall, 0, 0, 2 * kSmall};
  for (size_t from = 0; from < 2; ++from) {
    for (size_t to = 0; to < 2; ++to) values["layer2.weight"].push_back(static_cast<float>(2 * a[to][from] / kSmall));
    values["layer2.bias"][from] = static_cast<float>(2 * b[from]);
  }
  const OnnxModel model = with_weights(build(FlowOptions{.hidden = {2}}), values);
  Matrix back{}, integral{};
  exponentials(a, back, integral);
  const std::vector<float> points = random_values(20, 5);
  const std::vector<float> logs = output_of(model, {rows("x", 2, points)});
  ASSERT_EQ(logs.size(), 10u);
  for (size_t i = 0; i < logs.size(); ++i) {
    double squares = 0;
    for (size_t k = 0; k < 2; ++k) {
      double z = 0;
      for (size_t j = 0; j < 2; ++j) z += back[k][j] * points[2 * i + j] - integral[k][j] * b[j];
      squares += z * z;
    }
    EXPECT_NEAR(logs[i], -0.5 * squares - std::log(2 * std::numbers::pi) - (a[0][0] + a[1][1]), 2e-4) << i;
  }
}

TEST(Flow, DensityIntegratesToOne) {
  for (const char* nonlinearity : {"tanh", "softplus"}) {
    constexpr int kSide = 120;
    constexpr double kReach = 9, kCell = 2 * kReach / kSide;
    const OnnxModel model = bent({.hidden = {32, 32}, .nonlinearity = nonlinearity});
    std::vector<float> grid;
    for (int i = 0; i < kSide * kSide; ++i) {
      grid.push_back(static_cast<float>(-kReach + kCell * (i % kSide + 0.5)));
      grid.push_back(static_cast<float>(-kReach + kCell * (i / kSide + 0.5)));
    }
    double mass = 0;
    for (const float log : output_of(model, {rows("x", 2, grid)})) mass += std::exp(double{log}) * kCell * kCell;
    EXPECT_NEAR(mass, 1, 1e-3) << nonlinearity;
  }
}

TEST(Flow, SamplerUndoesTheDensitysWayBack) {
  for (const std::string_view solver : {"rk4", "dopri5"}) {
    FlowOptions options{.dimensions = 5, .solver = std::string(solver), .seed = 7};
    const std::vector<float> points = random_values(60, 6);
    const std::vector<float> z = floats(graph::Evaluator(bent(options)).run({{rows("x", 5, points)}}).at(1));
    options.form = FlowForm::kSampler;
    const std::vector<float> x = output_of(bent(options), {rows("z", 5, z)});
    float moved = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(x[i], points[i], 1e-4) << solver;
      moved = std::max(moved, std::abs(z[i] - points[i]));
    }
    EXPECT_GT(moved, 0.3f) << "or nothing was tried";
  }
}

// The estimate with +-1 in two dimensions, whose mean over the four noises is exact for one step of Euler's method.
TEST(Flow, EstimatesAreRightInTheMean) {
  FlowOptions options{.solver = "euler", .steps = 1};
  const std::vector<float> point = {0.3f, -0.8f};
  const float exact = output_of(bent(options), {rows("x", 2, point)})[0];
  options.form = FlowForm::kEstimate;
  const OnnxModel model = bent(options);
  std::vector<float> points, noise;
  for (int i = 0; i < 4; ++i) {
    points.insert(points.end(), point.begin(), point.end());
    noise.insert(noise.end(), {i & 1 ? 1.0f : -1.0f, i & 2 ? 1.0f : -1.0f});
  }
  const std::vector<float> estimates = output_of(model, {rows("x", 2, points), rows("noise", 2, noise)});
  EXPECT_NEAR((estimates[0] + estimates[1] + estimates[2] + estimates[3]) / 4, exact, 1e-5);
  EXPECT_GT(std::abs(estimates[0] - estimates[1]), 1e-3f);
}

// Each noise of -1 and 1 has the trace of a diagonal Jacobian. The field is w2 tanh(w1 x / 2) / 2 in each dimension.
TEST(Flow, ManyDimensionsHaveEstimates) {
  constexpr int64_t kDims = kMostExactDimensions + 9;
  std::map<std::string, std::vector<float>> values;
  for (const std::string layer : {"layer1", "layer2"}) {
    for (const char* part : {".bias", ".gate.weight", ".gate.bias", ".shift.weight"}) {
      values[layer + part] = std::vector<float>(kDims, 0.0f);
    }
    values[layer + ".weight"].resize(kDims * kDims);
    for (int64_t i = 0; i < kDims * kDims; i += kDims + 1) values[layer + ".weight"][static_cast<size_t>(i)] = 1.5f;
  }
  const OnnxModel model =
      with_weights(build(FlowOptions{.dimensions = kDims, .hidden = {kDims}, .solver = "euler", .steps = 1}), values);
  const std::vector<float> points = random_values(3 * kDims, 8);
  std::vector<float> traces(3);
  for (size_t i = 0; i < points.size(); ++i) {
    const float bend = std::tanh(0.75f * points[i]);
    traces[i / kDims] += 0.75f * 0.75f * (1 - bend * bend);
  }
  expect_near(value_of(model, "trace.out", {rows("x", kDims, points)}), traces, 1e-5f);
}

TEST(Flow, Refusals) {
  const auto refusal = [](const FlowOptions& options) { return error_of([&] { build(options); }); };
  EXPECT_EQ(refusal({.dimensions = 4097}), "a flow of 4097 dimensions cannot be built: give 1 to 4096");
  EXPECT_EQ(refusal({.dimensions = 0}), "a flow of 0 dimensions cannot be built: give 1 to 4096");
  EXPECT_EQ(refusal({.hidden = {}}), "a flow without a hidden layer cannot be built: give the width of one");
  EXPECT_EQ(refusal({.hidden = {64, 0}}), "a flow with a layer of 0 cannot be built: widths are 1 to 4096");
  EXPECT_EQ(refusal({.nonlinearity = "relu"}), "nonlinearity 'relu' is not known: choose tanh or softplus");
  EXPECT_EQ(refusal({.steps = 0}), "a flow of 0 steps cannot be built: give 1 to 1000");
  EXPECT_NE(refusal({.solver = "rk5"}).find("choose one of"), std::string::npos);
}

TEST(Flow, CountsEvaluations) {
  EXPECT_EQ(evaluations_of(FlowOptions{}), 32);
  EXPECT_EQ(evaluations_of(FlowOptions{.solver = "dopri5", .steps = 2}), 12);
}

}  // namespace
}  // namespace quench::networks
