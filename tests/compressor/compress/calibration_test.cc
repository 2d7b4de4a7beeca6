#include "compressor/compress/calibration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <set>

#include "compressor/compress/error_feedback.h"
#include "compressor/quantizer/hard_assignment.h"
#include "compressor/quantizer/trellis_assignment.h"
#include "compressor/quantizer/uniform_grid.h"
#include "tests/compressor/compress/small_model.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::quantizer {
namespace {

using graph::HostTensor;

HostTensor random_tensor(std::vector<int64_t> dims, unsigned seed) {
  HostTensor tensor = HostTensor::float32("x", std::move(dims));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.3f, 1.0f);
  for (float& value : tensor.floats()) value = normal(random);
  return tensor;
}

// y = sum over the window, by definition; rows x places.
std::vector<double> convolve(const WeightUse& use, const std::vector<float>& w, const HostTensor& x, int64_t group) {
  const operators::Window& window = *use.window;
  const int64_t channels = x.dims[1] / use.view.groups, height = x.dims[2], width = x.dims[3];
  std::vector<double> y;
  for (int64_t row = 0; row < use.view.rows / use.view.groups; ++row) {
    for (int64_t oy = 0; oy * window.stride[1] + window.kernel[1] <= height + 2; ++oy) {
      for (int64_t ox = 0; ox * window.stride[2] + window.kernel[2] <= width + 2; ++ox) {
        double sum = 0;
        for (int64_t c = 0; c < channels; ++c) {
          for (int64_t i = 0; i < 9; ++i) {
            const int64_t yy = oy * window.stride[1] + i / 3 - 1, xx = ox * window.stride[2] + i % 3 - 1;
            if (yy < 0 || yy >= height || xx < 0 || xx >= width) continue;
            const int64_t full_row = group * use.view.rows / use.view.groups + row;
            sum += w[static_cast<size_t>(full_row * use.view.columns + c * 9 + i)] *
                   x.floats()[static_cast<size_t>(((group * channels + c) * height + yy) * width + xx)];
          }
        }
        y.push_back(sum);
      }
    }
  }
  return y;
}

TEST(Moments, GiveTheSquaredOutputOfAConvolution) {
  for (const int64_t groups : {1, 2}) {
    for (const int64_t stride : {1, 2}) {
      WeightUse use;
      use.view = {4, 6 / groups * 9, 6 / groups * 9, 1, groups};
      use.window = operators::Window{
          .kernel = {1, 3, 3}, .stride = {1, stride, stride}, .pad_begin = {0, 1, 1}, .pad_end = {0, 1, 1}};
      const HostTensor x = random_tensor({1, 6, 7, 5}, 3);
      Moments moments(use);
      moments.add(x, 1 << 20);  // all places
      const HostTensor w = random_tensor({4, 6 / groups, 3, 3}, 5);
      const std::vector<float> values(w.floats().begin(), w.floats().end());
      for (int64_t g = 0; g < groups; ++g) {
        const std::vector<double> y = convolve(use, values, x, g);
        const double direct = std::inner_product(y.begin(), y.end(), y.begin(), 0.0) / static_cast<double>(y.size());
        const Eigen::MatrixXd h = moments.second_moment(g, 0);
        const Eigen::VectorXd mean = moments.mean(g);
        double by_moments = 0, mean_by_moments = 0;
        const int64_t rows = 4 / groups;
        for (int64_t r = g * rows; r < (g + 1) * rows; ++r) {
          const Eigen::VectorXd row =
              Eigen::Map<const Eigen::VectorXf>(values.data() + r * use.view.columns, use.view.columns).cast<double>();
          by_moments += row.dot(h * row) / static_cast<double>(rows);
          mean_by_moments += row.dot(mean) / static_cast<double>(rows);
        }
        EXPECT_NEAR(by_moments, direct, 1e-4 * direct);
        EXPECT_NEAR(mean_by_moments, std::accumulate(y.begin(), y.end(), 0.0) / static_cast<double>(y.size()), 1e-4);
      }
    }
  }
}

TEST(Moments, OfNarrowBlocksAreTheDiagonalOnesOfTheWhole) {
  WeightUse use;
  use.activation = "x";
  use.view = {4, 96, 96, 1, 1};
  const HostTensor x = random_tensor({50, 96}, 3);
  Moments whole(use), cut(use, 64);
  whole.add(x, 50);
  cut.add(x, 50);
  EXPECT_LT(Moments::bytes(use, 64), Moments::bytes(use, 96));
  ASSERT_EQ(cut.blocks_per_group(), 2);
  EXPECT_EQ(cut.block_begin(1), 48);
  for (const int64_t block : {0, 1}) {
    const Eigen::MatrixXd part = whole.second_moment(0, 0).block(48 * block, 48 * block, 48, 48);
    EXPECT_LT((cut.second_moment(0, block) - part).norm(), 1e-5 * part.norm());
  }
}

// Its weight has channels, and thus scales; but what it multiplies is where the offsets say, not where a window is.
TEST(WeightUse, ADeformConvMultipliesNoWindowOfItsInput) {
  onnx::ModelProto proto = testing::parse_text(
      "g (float[1,4,6,6] x, float[1,18,4,4] offset) => (float[A,B,C,D] y) { y = DeformConv(x, w, offset) }", 19);
  onnx::TensorProto& w = *proto.mutable_graph()->add_initializer();
  w.set_name("w");
  w.set_data_type(onnx::TensorProto::FLOAT);
  for (const int64_t dim : {8, 4, 3, 3}) w.add_dims(dim);
  w.set_raw_data(std::string(size_t{8} * 4 * 3 * 3 * 4, 'a'));
  const OnnxModel model = testing::load_proto(proto);
  EXPECT_TRUE(find_weight_uses(model).empty());
  EXPECT_EQ(channels_of_weights(model)[0].channels, 8);
}

// A recurrent layer of 6 inputs and 5 hidden units in `directions` directions, with weights w and r.
OnnxModel recurrent_model(const std::string& call, int64_t gates, int64_t directions) {
  onnx::ModelProto proto = testing::parse_text("g (float[7,2,6] x) => (float[A,B,C] out) { " + call + " }", 14);
  for (std::string& output : *proto.mutable_graph()->mutable_node(0)->mutable_output()) {
    if (output == "unused") output.clear();
  }
  for (const auto& [name, columns] : {std::pair("w", 6), std::pair("r", 5)}) {
    const HostTensor values = random_tensor({directions, gates * 5, columns}, 21);
    onnx::TensorProto& tensor = *proto.mutable_graph()->add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t dim : values.dims) tensor.add_dims(dim);
    tensor.set_raw_data(values.floats().data(), values.floats().size() * sizeof(float));
  }
  return testing::load_proto(proto);
}

std::vector<std::pair<std::string, std::string>> activations_of(const OnnxModel& model) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const WeightUse& use : find_weight_uses(model)) {
    found.emplace_back(model.weights[use.weight].name, use.activation);
    EXPECT_EQ(use.view.rows * use.view.columns, static_cast<int64_t>(model.weights[use.weight].elements()));
  }
  return found;
}

TEST(WeightUse, ARecurrentLayerMultipliesItsInputAndItsLastOutput) {
  using Found = std::vector<std::pair<std::string, std::string>>;
  const OnnxModel lstm = recurrent_model("y, h, c = LSTM <hidden_size = 5> (x, w, r) out = Add(y, c)", 4, 1);
  EXPECT_EQ(activations_of(lstm), (Found{{"w", "x"}, {"r", "y"}}));
  // Without Y, the last of its steps; of two directions each sees its half of Y.
  EXPECT_EQ(activations_of(recurrent_model("unused, out = GRU <hidden_size = 5> (x, w, r)", 3, 1)),
            (Found{{"w", "x"}, {"r", "out"}}));
  EXPECT_EQ(activations_of(
                recurrent_model("unused, out = RNN <hidden_size = 5, direction = \"bidirectional\"> (x, w, r)", 1, 2)),
            (Found{{"w", "x"}}));

  const ResidentWeights weights(lstm);
  const Calibration calibration(lstm, weights, [](OnnxModel&) {}, {0, 1}, {});
  for (const WeightUse& use : find_weight_uses(lstm)) {
    ASSERT_TRUE(calibration.use(use.weight)) << use.activation;
    EXPECT_EQ(calibration.use(use.weight)->mean.front().size(), use.view.columns);
  }
}

TEST(ErrorFeedback, MovesTheOutputLessThanRoundingEachWeightAlone) {
  WeightUse use;
  use.activation = "x";
  for (const bool by_columns : {true, false}) {
    use.view = by_columns ? MatrixView{8, 64, 64, 1, 1} : MatrixView{8, 64, 1, 8, 1};
    // Correlated activations: a few directions hold most of the power.
    HostTensor x = random_tensor({512, 64}, 11);
    const HostTensor mix = random_tensor({64, 6}, 12);
    for (int64_t n = 0; n < 512; ++n) {
      float* row = x.floats().data() + n * 64;
      const std::vector<float> sources(row, row + 6);
      for (int64_t c = 0; c < 64; ++c) {
        row[c] *= 0.2f;
        for (int64_t k = 0; k < 6; ++k)
          row[c] += sources[static_cast<size_t>(k)] * mix.floats()[static_cast<size_t>(c * 6 + k)];
      }
    }
    Moments moments(use);
    moments.add(x, 512);
    const HostTensor w = random_tensor({8, 64}, 13);
    const std::vector<float> values(w.floats().begin(), w.floats().end());
    const Codebook grid = learn_uniform_grid(values, {.max_centers = 75, .beta = 0.05f, .step = 0.5f});
    std::vector<uint32_t> plain(values.size()), fed(values.size());
    HardAssigner(grid, 0.05f).assign_all(values, plain);
    std::vector<float> scratch = values;
    ASSERT_TRUE(ErrorFeedback(use.view, moments, {}, false).assign(grid, 0.05f, scratch, fed));
    const auto output_error = [&](const std::vector<uint32_t>& indices) {
      const Eigen::MatrixXd h = moments.second_moment(0, 0);
      double sum = 0;
      for (int64_t r = 0; r < 8; ++r) {
        Eigen::VectorXd error(64);
        for (int64_t c = 0; c < 64; ++c) {
          const auto e = static_cast<size_t>(r * use.view.row_stride + c * use.view.column_stride);
          error[c] = static_cast<double>(values[e]) - grid.centers[indices[e]];
        }
        sum += error.dot(h * error);
      }
      return sum;
    };
    EXPECT_LT(output_error(fed), 0.5 * output_error(plain)) << by_columns;
    // The less the moments are trusted, the less is spread: at last nothing.
    std::vector<uint32_t> half(values.size()), none(values.size());
    ASSERT_TRUE(ErrorFeedback(use.view, moments, {.products = 0.5}, false).assign(grid, 0.05f, values, half));
    EXPECT_LT(output_error(fed), output_error(half));
    EXPECT_LT(output_error(half), output_error(plain));
    ASSERT_TRUE(ErrorFeedback(use.view, moments, {.products = 0}, false).assign(grid, 0, values, none));
    HardAssigner(grid, 0).assign_all(values, plain);
    EXPECT_EQ(none, plain);
    ASSERT_TRUE(ErrorFeedback(use.view, moments, {.damping = 1e9}, false).assign(grid, 0, values, none));
    EXPECT_EQ(none, plain);
  }
}

// Down 40 rows in parts of 24, and in two groups; errors are fed back as without a trellis.
TEST(ErrorFeedback, GoesAlongATrellis) {
  for (const int64_t groups : {1, 2}) {
    for (const bool by_columns : {true, false}) {
      WeightUse use;
      use.activation = "x";
      use.view = by_columns ? MatrixView{40, 16, 16, 1, groups} : MatrixView{40, 16, 1, 40, groups};
      use.window.emplace();
      HostTensor x = random_tensor({1, 16 * groups, 512}, 11);  // neighbouring channels are alike
      for (int64_t c = 0; c < 16 * groups; ++c) {
        float* const row = x.floats().data() + c * 512;
        for (int64_t i = 0; c % 16 != 0 && i < 512; ++i) row[i] += (row - 512)[i];
      }
      Moments moments(use);
      moments.add(x, 512);
      const HostTensor w = random_tensor({40, 16}, 13);
      const std::vector<float> values(w.floats().begin(), w.floats().end());
      const Codebook symbols = trellis_codebook(8);
      std::vector<uint32_t> fed(values.size()), alone(values.size()), scalar(values.size());
      const ErrorFeedback feedback(use.view, moments, {}, false);
      feedback.assign_trellis(symbols, 0, 24, values, fed);
      ErrorFeedback(use.view, moments, {.products = 0}, false).assign_trellis(symbols, 0, 24, values, alone);
      ASSERT_TRUE(feedback.assign(symbols, 0, values, scalar));
      const TrellisAssigner assigner(symbols, 0);
      for (int64_t column = 0; column < 16; ++column) {
        uint32_t state = 0;
        for (int64_t row = 0; row < 40; ++row) {
          if (row % 24 == 0) state = 0;
          const uint32_t index = fed[static_cast<size_t>(row * use.view.row_stride + column * use.view.column_stride)];
          ASSERT_EQ(index & 1, state & 1) << row << " " << column;
          state = entropy::next_state(state, index / 2);
        }
      }
      double errors[3] = {};
      for (int64_t row = 0; row < 40; ++row) {
        Eigen::MatrixXd error(16, 3);
        for (int64_t c = 0; c < 16; ++c) {
          const auto e = static_cast<size_t>(row * use.view.row_stride + c * use.view.column_stride);
          error(c, 0) = static_cast<double>(values[e]) - assigner.center(fed[e]);
          error(c, 1) = static_cast<double>(values[e]) - assigner.center(alone[e]);
          error(c, 2) = static_cast<double>(values[e]) - symbols.centers[scalar[e]];
        }
        const Eigen::MatrixXd h = moments.second_moment(row / (40 / groups), 0);
        for (int i = 0; i < 3; ++i) errors[i] += error.col(i).dot(h * error.col(i));
      }
      EXPECT_LT(errors[0], 0.8 * errors[1]) << groups << " " << by_columns;
      // Parts of 20, 4 and 16 rows in groups leave less to choose from than parts of 24 and 16.
      EXPECT_LT(errors[0], (groups == 1 ? 0.9 : 1.1) * errors[2]) << by_columns;
    }
  }
}

TEST(ErrorFeedback, RefusesWhatCannotBeCutIntoVectors) {
  WeightUse use;
  use.view = {4, 27, 27, 1, 1};
  Moments moments(use);
  moments.add(random_tensor({64, 27}, 1), 64);
  const Codebook pair{2, {0, 0, 1, 1}, {1, 1}, 0};
  std::vector<float> values(4 * 27, 0.4f);
  std::vector<uint32_t> indices(54);
  EXPECT_FALSE(ErrorFeedback(use.view, moments, {}, true).assign(pair, 0.1f, values, indices));
}

// Whatever the scale of the seeded inputs, the statistics of batch normalization bring activations to their real size:
// a model whose statistics say that its inputs are 3 times larger has the same sensitivities.
TEST(Calibration, FollowsTheStatisticsOfBatchNormalization) {
  TemporaryFolder folder;
  onnx::ModelProto proto = make_small_model();
  write_model(folder / "a.onnx", proto);
  for (onnx::TensorProto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    if (tensor.name() != "stem.mean" && tensor.name() != "stem.variance") continue;
    const float factor = tensor.name() == "stem.mean" ? 3.0f : 9.0f;
    std::vector<float> values(32);
    std::memcpy(values.data(), tensor.raw_data().data(), 128);
    for (float& value : values) value *= factor;
    tensor.set_raw_data(values.data(), 128);
  }
  write_model(folder / "b.onnx", proto);
  const auto relative_sensitivity = [](const std::filesystem::path& path) {
    const OnnxModel model = load(path);
    std::vector<size_t> candidates;
    for (size_t w = 0; w < model.weights.size(); ++w) {
      if (model.weights[w].name == "first.weight" || model.weights[w].name == "second.weight") candidates.push_back(w);
    }
    const ResidentWeights weights(model);
    const Calibration calibration(model, weights, [](OnnxModel&) {}, candidates, {});
    EXPECT_TRUE(calibration.is_classifier());
    return std::pair(calibration.sensitivity(candidates[0]), calibration.sensitivity(candidates[1]));
  };
  const auto [first_a, second_a] = relative_sensitivity(folder / "a.onnx");
  const auto [first_b, second_b] = relative_sensitivity(folder / "b.onnx");
  EXPECT_GT(first_a, 0);
  EXPECT_NEAR(first_b / first_a, 1, 0.15);
  EXPECT_NEAR(second_b / second_a, 1, 0.15);
}

// Convolutions of 8 x 8 in a row.
OnnxModel chain_of_convolutions() {
  onnx::ModelProto proto = testing::parse_text(
      "g (float[1,8,32,32] x) => (float[1,8,32,32] y) { a = Conv(x, w0) b = Conv(a, w1) c = Conv(b, w2) "
      "d = Conv(c, w3) e = Conv(d, w4) y = Conv(e, w5) }",
      17);
  for (unsigned w = 0; w < 6; ++w) {
    onnx::TensorProto& tensor = *proto.mutable_graph()->add_initializer();
    tensor.set_name("w" + std::to_string(w));
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t dim : {8, 8, 1, 1}) tensor.add_dims(dim);
    const HostTensor values = random_tensor({64}, w);
    tensor.set_raw_data(values.floats().data(), 256);
  }
  return testing::load_proto(proto);
}

// Memory for one of the activations at a time is enough for the second moments of all.
// A detector whose map stays at `bias` but for what the data move.
OnnxModel detector(const std::string& bias) {
  return quench::testing::load_text(
      "g (float[N, 4] x) => (float[N, 2] map) <float[4, 2] w = {1, 2, -1, 0.5, 0.3, -2, 1, 1}," +
      std::string(" float[2] bias = {") + bias + ", " + bias +
      "}> { a = MatMul(x, w)\n b = Add(a, bias)\n map = Sigmoid(b) }");
}

TEST(Calibration, LooksInFrontOfASigmoidThatRealDataLeaveAtItsEnd) {
  CalibrationOptions options;
  options.data = [](uint64_t index, int64_t batch) {
    return index < 8 ? std::vector{random_tensor({batch, 4}, static_cast<unsigned>(index))} : std::vector<HostTensor>();
  };
  for (const bool moves : {false, true}) {
    const OnnxModel model = detector(moves ? "0" : "-40");
    const ResidentWeights weights(model);
    const Calibration calibration(
        model, weights, [](OnnxModel&) {}, {0}, options);
    // Half of the weights: behind the Sigmoid of a map at its end, all of it would be an error.
    const double error = calibration.output_error([&](size_t w) -> SharedValues {
      if (w != 0) return nullptr;
      std::vector<float> halves = *weights.values(0);
      for (float& value : halves) value /= 2;
      return std::make_shared<const std::vector<float>>(halves);
    });
    EXPECT_EQ(calibration.batches().front().outputs.size(), moves ? 1u : 2u);
    if (!moves) {
      EXPECT_NEAR(error, 0.25, 0.02);
    }
  }
}

TEST(Calibration, SeesActivationsInSeveralRunsWhereTheyDoNotFitTogether) {
  const OnnxModel model = chain_of_convolutions();
  const auto fits = [&](std::vector<std::string> watched, uint64_t memory) {
    graph::EvaluatorOptions options;
    options.watched = std::move(watched);
    options.max_memory_bytes = memory;
    try {
      graph::Evaluator evaluator(model, options);
      evaluator.run({{HostTensor::float32("x", {1, 8, 32, 32})}});
      return true;
    } catch (const graph::BeyondLimits&) {
      return false;
    }
  };
  uint64_t memory = 1 << 16;
  const auto each_fits = [&] {
    return std::ranges::all_of(std::array{"a", "b", "c", "d", "e"},
                               [&](const char* name) { return fits({name}, memory); });
  };
  while (!each_fits()) memory += 1 << 12;
  ASSERT_FALSE(fits({"a", "b", "c", "d", "e"}, memory));
  CalibrationOptions options;
  options.budget.memory = memory;
  const ResidentWeights weights(model);
  const Calibration narrow(
      model, weights, [](OnnxModel&) {}, {0, 1, 2, 3, 4, 5}, options);
  const Calibration wide(model, weights, [](OnnxModel&) {}, {0, 1, 2, 3, 4, 5}, {});
  graph::Evaluator evaluator(model, {.extra_outputs = {"a", "b", "c", "d", "e"}});
  const std::vector<HostTensor> seen = evaluator.run(measure::SeededInputs(model, {}, 1).draw(0));
  for (size_t w = 0; w < 6; ++w) {
    ASSERT_TRUE(narrow.use(w)) << w;
    EXPECT_NEAR(narrow.sensitivity(w) / wide.sensitivity(w), 1, 0.5) << w;
    if (w == 0) continue;  // multiplies the input
    const std::span<const float> plane = seen[w].floats().first(32 * 32);
    EXPECT_NEAR(narrow.use(w)->mean[0][0], std::accumulate(plane.begin(), plane.end(), 0.0) / (32 * 32), 1e-3) << w;
  }
}

// With few operations to spend, neighbours are perturbed together, and share what comes of it.
TEST(Calibration, MeasuresNeighboursTogetherWhereRunsAreDear) {
  TemporaryFolder folder;
  write_model(folder / "a.onnx", make_small_model());
  const OnnxModel model = load(folder / "a.onnx");
  std::vector<size_t> candidates;
  for (size_t w = 0; w < model.weights.size(); ++w) candidates.push_back(w);
  const ResidentWeights weights(model);
  CalibrationOptions few;
  few.budget.sensitivity_operations = 1;
  const Calibration alone(model, weights, [](OnnxModel&) {}, candidates, {});
  const Calibration together(
      model, weights, [](OnnxModel&) {}, candidates, few);
  std::set<double> alone_differs, together_differs;
  for (const size_t w : candidates) {
    const SharedValues values = weights.values(w);
    double power = 0;
    for (const float value : *values) power += static_cast<double>(value) * value / static_cast<double>(values->size());
    EXPECT_LT(together.sensitivity(w) * power, 30 * (alone.sensitivity(w) * power + 1)) << model.weights[w].name;
    alone_differs.insert(std::round(1e6 * std::log(alone.sensitivity(w) * power)));
    together_differs.insert(std::round(1e6 * std::log(together.sensitivity(w) * power)));
  }
  EXPECT_EQ(alone_differs.size(), candidates.size());
  EXPECT_EQ(together_differs.size(), 4 + 2);  // the matrices, and two groups of vectors
}

}  // namespace
}  // namespace quench::quantizer
