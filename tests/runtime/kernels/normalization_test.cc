// Normalizations: shapes that broadcast, and what is training and not inference.
#include <cmath>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

TEST(Normalization, LayerNormalizationBroadcastsScaleAndBias) {
  const Shape shape = {2, 3, 4};
  const Value x = Value::random(shape, 1);
  const std::vector<float> plain =
      run_node("LayerNormalization", 17, {int_of("axis", 1)}, {x, Value::of<float>({3, 4}, std::vector<float>(12, 1))})
          .values<float>();
  const std::vector<Shape> smaller = {{},        {1},       {4},       {1, 4},    {3, 1},   {3, 4},
                                      {1, 1, 4}, {1, 3, 4}, {1, 3, 1}, {2, 1, 1}, {2, 3, 4}};
  for (const Shape& of_scale : smaller) {
    for (const Shape& of_bias : smaller) {
      const Value scale = Value::random(of_scale, 2);
      const Value bias = Value::random(of_bias, 3);
      const std::vector<float> scales = scale.values<float>();
      const std::vector<float> biases = bias.values<float>();
      std::vector<float> expected;
      for (int64_t i = 0; i < shape.elements(); ++i) {
        const std::vector<int64_t> at = coordinates_of(shape, i);
        expected.push_back(plain[static_cast<size_t>(i)] * scales[broadcast_index(of_scale, at)] +
                           biases[broadcast_index(of_bias, at)]);
      }
      expect_near(run_node("LayerNormalization", 17, {int_of("axis", 1)}, {x, scale, bias}), expected);
    }
  }
  for (const Shape& wrong : {Shape{3}, Shape{4, 3}, Shape{2, 4}, Shape{1, 1, 3, 4}}) {
    EXPECT_EQ(code_of("LayerNormalization", 17, {int_of("axis", 1)}, {x, Value::random(wrong, 2)}), StatusCode::kShape);
  }
}

TEST(Normalization, BatchNormalizationWithFiveOutputsIsTraining) {
  const Value one = Value::of<float>({3}, {1, 1, 1});
  for (const int opset : {7, 8, 9, 13, 14}) {
    for (const int outputs : {1, 5}) {
      DirectNode node("BatchNormalization", opset, {}, {Value::random({2, 3, 4}, 1), one, one, one, one}, outputs);
      EXPECT_EQ(node.infer().ok(), outputs == 1) << opset;
    }
  }
}

TEST(Normalization, GroupsHaveOneMeanAndDeviation) {
  const Shape shape = {2, 6, 3, 2};
  const Value x = Value::random(shape, 1);
  const std::vector<float> values = x.values<float>();
  for (const int opset : {18, 21}) {
    for (const int64_t groups : {1, 2, 3, 6}) {
      const int64_t parameters = opset == 18 ? groups : 6;
      const Value scale = Value::random({parameters}, 2);
      const Value bias = Value::random({parameters}, 3);
      std::vector<float> expected;
      for (int64_t i = 0; i < shape.elements(); ++i) {
        const int64_t channel = coordinates_of(shape, i)[1];
        double sum = 0;
        double squares = 0;
        double count = 0;
        for (int64_t k = 0; k < shape.elements(); ++k) {
          if (coordinates_of(shape, k)[0] != coordinates_of(shape, i)[0]) continue;
          if (coordinates_of(shape, k)[1] * groups / 6 != channel * groups / 6) continue;
          const double value = values[static_cast<size_t>(k)];
          sum += value;
          squares += value * value;
          ++count;
        }
        const double mean = sum / count;
        const double deviation = std::sqrt(squares / count - mean * mean + 0.01);
        const auto parameter = static_cast<size_t>(opset == 18 ? channel * groups / 6 : channel);
        expected.push_back(
            static_cast<float>((values[static_cast<size_t>(i)] - mean) / deviation * scale.values<float>()[parameter] +
                               bias.values<float>()[parameter]));
      }
      expect_near(run_node("GroupNormalization", opset, {int_of("num_groups", groups), float_of("epsilon", 0.01f)},
                           {x, scale, bias}),
                  expected, 1e-4f);
    }
  }
  const Value six = Value::random({6}, 1);
  for (const int64_t groups : {0, -1, 4, 7}) {
    EXPECT_EQ(code_of("GroupNormalization", 21, {int_of("num_groups", groups)}, {x, six, six}), StatusCode::kShape);
  }
  EXPECT_EQ(code_of("GroupNormalization", 18, {int_of("num_groups", 3)}, {x, six, six}), StatusCode::kShape);
}

TEST(Normalization, RootMeanSquare) {
  const Shape shape = {2, 3, 4};
  const Value x = Value::random(shape, 1);
  const std::vector<float> values = x.values<float>();
  for (const int axis : {1, 2}) {
    const int64_t count = axis == 1 ? 12 : 4;
    const Value scale = axis == 1 ? Value::random({3, 4}, 2) : Value::random({4}, 2);
    std::vector<float> expected;
    for (int64_t i = 0; i < 24; ++i) {
      double squares = 0;
      for (int64_t k = i / count * count; k < i / count * count + count; ++k) {
        squares += std::pow(static_cast<double>(values[static_cast<size_t>(k)]), 2);
      }
      const double root = std::sqrt(squares / static_cast<double>(count) + 1e-5);
      expected.push_back(static_cast<float>(values[static_cast<size_t>(i)] / root *
                                            scale.values<float>()[static_cast<size_t>(i % count)]));
    }
    expect_near(run_node("RMSNormalization", 23, {int_of("axis", axis)}, {x, scale}), expected);
    expect_near(run_node("SimplifiedLayerNormalization", 17, {int_of("axis", axis)}, {x, scale}), expected);
  }
  EXPECT_EQ(code_of("RMSNormalization", 23, {}, {x, Value::random({4}, 1), Value::random({4}, 1)}),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("RMSNormalization", 23, {}, {x, Value::random({3}, 1)}), StatusCode::kShape);
}

TEST(Normalization, LinesOfUnitLength) {
  const Value x = Value::of<float>({2, 2}, {3, 0, -4, 0});
  expect_near(run_node("LpNormalization", 13, {int_of("axis", 0)}, {x}), {0.6f, 0, -0.8f, 0});
  expect_near(run_node("LpNormalization", 13, {int_of("axis", 0), int_of("p", 1)}, {x}), {3 / 7.0f, 0, -4 / 7.0f, 0});
  expect_near(run_node("LpNormalization", 13, {}, {x}), {1, 0, -1, 0});
  EXPECT_EQ(code_of("LpNormalization", 13, {int_of("p", 3)}, {x}), StatusCode::kInvalidArgument);
}

TEST(Normalization, HardmaxMarksTheFirstOfTheLargest) {
  const Value x = Value::of<float>({2, 3}, {1, 5, 5, 2, 0, 1});
  EXPECT_EQ(run_node("Hardmax", 13, {}, {x}).values<float>(), (std::vector<float>{0, 1, 0, 1, 0, 0}));
  EXPECT_EQ(run_node("Hardmax", 13, {int_of("axis", 0)}, {x}).values<float>(), (std::vector<float>{0, 1, 1, 1, 0, 0}));
  EXPECT_EQ(run_node("Hardmax", 11, {int_of("axis", 0)}, {x}).values<float>(), (std::vector<float>{0, 1, 0, 0, 0, 0}));
}

TEST(Normalization, MeanAndVarianceOfAnyAxes) {
  const Shape shape = {2, 3, 2, 4};
  const Value x = Value::random(shape, 1);
  const std::vector<float> values = x.values<float>();
  for (const std::vector<int64_t>& axes : std::vector<std::vector<int64_t>>{{0, 2, 3}, {1}, {-1, 0}, {}}) {
    std::vector<float> expected;
    for (int64_t i = 0; i < shape.elements(); ++i) {
      double sum = 0;
      double squares = 0;
      double count = 0;
      for (int64_t k = 0; k < shape.elements(); ++k) {
        bool together = true;
        for (int64_t axis = 0; axis < 4; ++axis) {
          bool reduced = false;
          for (const int64_t named : axes) reduced = reduced || (named + 4) % 4 == axis;
          const auto at = static_cast<size_t>(axis);
          together = together && (reduced || coordinates_of(shape, k)[at] == coordinates_of(shape, i)[at]);
        }
        if (!together) continue;
        const double value = values[static_cast<size_t>(k)];
        sum += value;
        squares += value * value;
        ++count;
      }
      const double mean = sum / count;
      const double deviation = std::sqrt(std::max(squares / count - mean * mean, 0.0)) + 1e-9;
      expected.push_back(static_cast<float>((values[static_cast<size_t>(i)] - mean) / deviation));
    }
    if (axes.empty()) expected.assign(expected.size(), 0);
    expect_near(run_node("MeanVarianceNormalization", 13, {ints_of("axes", axes)}, {x}), expected, 1e-4f);
  }
  EXPECT_EQ(code_of("MeanVarianceNormalization", 13, {ints_of("axes", {0, 0})}, {x}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("MeanVarianceNormalization", 13, {}, {Value::random({2, 3}, 1)}), StatusCode::kShape);
}

TEST(Normalization, CumSumForthAndBack) {
  const Value x = Value::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto sums = [&](int exclusive, int reverse, int64_t axis) {
    return run_node("CumSum", 14, {int_of("exclusive", exclusive), int_of("reverse", reverse)},
                    {x, Value::of<int64_t>({}, {axis})})
        .values<float>();
  };
  using Floats = std::vector<float>;
  EXPECT_EQ(sums(0, 0, 1), (Floats{1, 3, 6, 4, 9, 15}));
  EXPECT_EQ(sums(1, 0, 1), (Floats{0, 1, 3, 0, 4, 9}));
  EXPECT_EQ(sums(0, 1, -1), (Floats{6, 5, 3, 15, 11, 6}));
  EXPECT_EQ(sums(1, 1, 1), (Floats{5, 3, 0, 11, 6, 0}));
  EXPECT_EQ(sums(0, 0, 0), (Floats{1, 2, 3, 5, 7, 9}));
  EXPECT_EQ(
      run_node("CumSum", 14, {}, {Value::of<int32_t>({2}, {INT32_MAX, 1}), Value::indices({0})}).values<int32_t>(),
      (std::vector<int32_t>{INT32_MAX, INT32_MIN}));
  EXPECT_EQ(code_of("CumSum", 14, {}, {x, Value::indices({2})}, 0), StatusCode::kShape);
  EXPECT_EQ(code_of("CumSum", 14, {}, {x, Value::indices({INT64_MAX})}, 0), StatusCode::kShape);
}

}  // namespace
}  // namespace quench::rt
