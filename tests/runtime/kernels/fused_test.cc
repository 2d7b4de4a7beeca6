// ONNX Runtime's operators that are several of ONNX's in one: against those, one after the other, and in double.

#include <cmath>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double fast_gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

template <typename Function>
std::vector<float> mapped(const std::vector<float>& x, const std::vector<float>& bias, const Function& function) {
  std::vector<float> y;
  for (size_t i = 0; i < x.size(); ++i) {
    const float sum = x[i] + (bias.empty() ? 0 : bias[i % bias.size()]);
    y.push_back(static_cast<float>(function(static_cast<double>(sum))));
  }
  return y;
}

TEST(Fused, GelusOfASum) {
  const Value x = Value::random({2, 3, 4}, 1);
  const Value bias = Value::random({4}, 2);
  const std::vector<float> values = x.values<float>();
  const std::vector<float> terms = bias.values<float>();
  expect_near(run_node("com.microsoft.Gelu", 1, {}, {x}), mapped(values, {}, gelu));
  expect_near(run_node("com.microsoft.BiasGelu", 1, {}, {x, bias}), mapped(values, terms, gelu));
  expect_near(run_node("com.microsoft.FastGelu", 1, {}, {x}), mapped(values, {}, fast_gelu));
  expect_near(run_node("com.microsoft.FastGelu", 1, {}, {x, bias}), mapped(values, terms, fast_gelu));
  for (const float alpha : {1.702f, 0.5f}) {
    std::vector<TestAttribute> attributes;
    if (alpha == 0.5f) attributes.push_back(float_of("alpha", alpha));
    expect_near(run_node("com.microsoft.QuickGelu", 1, attributes, {x}),
                mapped(values, {}, [&](double v) { return v / (1 + std::exp(-static_cast<double>(alpha) * v)); }));
  }
  EXPECT_EQ(code_of("com.microsoft.BiasGelu", 1, {}, {x}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("com.microsoft.BiasGelu", 1, {}, {x, Value::random({3}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("com.microsoft.FastGelu", 1, {}, {Value::scalar(1), bias}), StatusCode::kShape);
}

TEST(Fused, MatMulTurnsItsOperands) {
  const Value a = Value::random({2, 1, 3, 5}, 1);
  const Value b = Value::random({4, 5, 2}, 2);
  const auto turned = [](const Value& value) {
    std::vector<int64_t> order;
    for (int64_t axis = 0; axis < value.shape.rank; ++axis) order.push_back(axis);
    std::swap(order[order.size() - 1], order[order.size() - 2]);
    return run_node("Transpose", 13, {ints_of("perm", order)}, {value});
  };
  const Value product = run_node("MatMul", 13, {}, {a, b});
  std::vector<float> expected = product.values<float>();
  for (float& value : expected) value *= 0.5f;
  for (const int64_t turns : {0, 1, 2, 3}) {
    const Value y = run_node("com.microsoft.FusedMatMul", 1,
                             {int_of("transA", turns & 1), int_of("transB", turns >> 1), float_of("alpha", 0.5f)},
                             {(turns & 1) != 0 ? turned(a) : a, turns >> 1 != 0 ? turned(b) : b});
    EXPECT_EQ(y.shape, product.shape) << turns;
    expect_near(y, expected);
  }
  // There is nothing to turn in a vector.
  const Value row = Value::random({5}, 3);
  EXPECT_EQ(run_node("com.microsoft.FusedMatMul", 1, {int_of("transA", 1)}, {row, b}),
            run_node("MatMul", 13, {}, {row, b}));
  EXPECT_EQ(code_of("com.microsoft.FusedMatMul", 1, {int_of("transA", 1)}, {a, b}), StatusCode::kShape);
  EXPECT_EQ(code_of("com.microsoft.FusedMatMul", 1, {int_of("transBatchA", 1)}, {a, b}),
            StatusCode::kUnsupportedFeature);
}

TEST(Fused, ConvAddsAndActivates) {
  const Value x = Value::random({2, 4, 5, 5}, 1);
  const Value w = Value::random({6, 2, 3, 3}, 2);
  const Value bias = Value::random({6}, 3);
  const std::vector<TestAttribute> attributes = {int_of("group", 2), ints_of("pads", {1, 0, 1, 0})};
  const Value plain = run_node("Conv", 13, attributes, {x, w, bias});
  const Value added = Value::random(plain.shape, 4);
  struct Case {
    const char* name;
    std::vector<float> parameters;
    std::vector<TestAttribute> attributes;  // of ONNX's operator
  };
  const std::vector<Case> cases = {{"Relu", {}, {}},
                                   {"Sigmoid", {}, {}},
                                   {"Tanh", {}, {}},
                                   {"LeakyRelu", {0.25f}, {float_of("alpha", 0.25f)}},
                                   {"HardSigmoid", {0.25f, 0.75f}, {float_of("alpha", 0.25f), float_of("beta", 0.75f)}},
                                   {"Clip", {-0.5f, 2}, {float_of("min", -0.5f), float_of("max", 2)}}};
  for (const Case& each : cases) {
    std::vector<TestAttribute> fused = attributes;
    fused.push_back(string_of("activation", each.name));
    if (!each.parameters.empty()) fused.push_back(floats_of("activation_params", each.parameters));
    EXPECT_EQ(run_node("com.microsoft.FusedConv", 1, fused, {x, w, bias}),
              run_node(each.name, 6, each.attributes, {plain}))
        << each.name;
    EXPECT_EQ(run_node("com.microsoft.FusedConv", 1, fused, {x, w, bias, added}),
              run_node(each.name, 6, each.attributes, {run_node("Add", 13, {}, {plain, added})}))
        << each.name;
  }
  EXPECT_EQ(run_node("com.microsoft.FusedConv", 1, attributes, {x, w, bias}), plain);
  const auto refused = [&](std::vector<TestAttribute> more, std::vector<std::optional<Value>> inputs) {
    more.insert(more.end(), attributes.begin(), attributes.end());
    return code_of("com.microsoft.FusedConv", 1, more, std::move(inputs));
  };
  EXPECT_EQ(refused({string_of("activation", "Clip")}, {x, w}), StatusCode::kInvalidArgument);
  EXPECT_EQ(refused({string_of("activation", "Softmax")}, {x, w}), StatusCode::kUnsupportedFeature);
  EXPECT_EQ(refused({}, {x, w, bias, x}), StatusCode::kShape);
}

// Each row of x + skip + bias, brought to mean 0 (if it is centered) and deviation 1.
void expect_normalized(bool centered, const Shape& skip_shape, bool has_bias) {
  const Value x = Value::random({2, 3, 4}, 1);
  const Value skip = Value::random(skip_shape, 2);
  const Value scale = Value::random({4}, 3);
  const Value shift = Value::random({4}, 4);
  const Value bias = Value::random({4}, 5);
  std::vector<std::optional<Value>> inputs = {x, skip, scale};
  if (centered) inputs.emplace_back(shift);
  if (has_bias) inputs.emplace_back(bias);
  const char* op = centered ? "com.microsoft.SkipLayerNormalization" : "com.microsoft.SkipSimplifiedLayerNormalization";
  DirectNode node(op, 1, {float_of("epsilon", 0.125f)}, inputs, 4);
  ASSERT_TRUE(node.infer().ok());
  ASSERT_TRUE(node.run().ok());
  std::vector<float> sums;
  std::vector<float> expected;
  for (size_t row = 0; row < 6; ++row) {
    double mean = 0;
    for (size_t i = row * 4; i < row * 4 + 4; ++i) {
      const float term = has_bias ? bias.values<float>()[i % 4] : 0;
      const std::vector<float> skips = skip.values<float>();
      sums.push_back(x.values<float>()[i] + skips[i % skips.size()] + term);
      if (centered) mean += static_cast<double>(sums[i]) / 4;
    }
    double variance = 0;
    for (size_t i = row * 4; i < row * 4 + 4; ++i) variance += std::pow(static_cast<double>(sums[i]) - mean, 2) / 4;
    for (size_t i = row * 4; i < row * 4 + 4; ++i) {
      const double normal = (static_cast<double>(sums[i]) - mean) / std::sqrt(variance + 0.125);
      expected.push_back(static_cast<float>(normal * static_cast<double>(scale.values<float>()[i % 4]) +
                                            (centered ? static_cast<double>(shift.values<float>()[i % 4]) : 0)));
    }
    EXPECT_NEAR(node.output(1).values<float>()[row], mean, 1e-6);
    EXPECT_NEAR(node.output(2).values<float>()[row], 1 / std::sqrt(variance + 0.125), 1e-6);
  }
  expect_near(node.output(3), sums);
  expect_near(node.output(0), expected);
  EXPECT_EQ(run_node(op, 1, {float_of("epsilon", 0.125f)}, inputs), node.output(0));
}

TEST(Fused, SkipLayerNormalization) {
  for (const bool centered : {true, false}) {
    for (const bool has_bias : {true, false}) {
      for (const Shape& skip : {Shape{2, 3, 4}, Shape{1, 3, 4}, Shape{3, 4}, Shape{4}}) {
        expect_normalized(centered, skip, has_bias);
      }
    }
  }
  const Value x = Value::random({2, 3, 4}, 1);
  const Value four = Value::random({4}, 1);
  const auto skip = [&](const Value& second, const Value& scale) {
    return code_of("com.microsoft.SkipLayerNormalization", 1, {}, {x, second, scale});
  };
  EXPECT_EQ(skip(x, four), StatusCode::kOk);
  EXPECT_EQ(skip(Value::random({2, 1, 4}, 1), four), StatusCode::kShape);
  EXPECT_EQ(skip(Value::random({3}, 1), four), StatusCode::kShape);
  EXPECT_EQ(skip(Value::random({1, 1}, 1), four), StatusCode::kShape);
  EXPECT_EQ(skip(x, Value::random({3}, 1)), StatusCode::kShape);
  EXPECT_EQ(skip(Value::indices({1}), four), StatusCode::kUnsupportedType);
}

TEST(Fused, EmbedLayerNormalization) {
  const Value words = Value::of<int32_t>({2, 3}, {4, 0, 1, 2, 3, 3});
  const Value segments = Value::of<int32_t>({2, 3}, {0, 0, 1, 1, 1, 0});
  const Value places = Value::of<int32_t>({1, 3}, {3, 1, 0});
  const Value mask = Value::of<int32_t>({2, 3}, {1, 1, 0, 1, 0, 0});
  const Value word_table = Value::random({5, 4}, 1);
  const Value place_table = Value::random({4, 4}, 2);
  const Value segment_table = Value::random({2, 4}, 3);
  const Value scale = Value::random({4}, 4);
  const Value shift = Value::random({4}, 5);
  const char* op = "com.microsoft.EmbedLayerNormalization";
  const auto row = [](const Value& table, const Value& numbers) {
    std::vector<int64_t> indices;
    for (const int32_t number : numbers.values<int32_t>()) indices.push_back(number);
    return run_node("Gather", 13, {}, {table, Value::of(numbers.shape, indices)});
  };
  for (const bool has_segments : {false, true}) {
    for (const bool has_places : {false, true}) {
      std::vector<std::optional<Value>> inputs = {words, std::nullopt, word_table, place_table, std::nullopt,
                                                  scale, shift,        mask,       std::nullopt};
      Value sum = run_node(
          "Add", 13, {},
          {row(word_table, words), row(place_table, has_places ? places : Value::of<int32_t>({1, 3}, {0, 1, 2}))});
      if (has_places) inputs[8] = places;
      if (has_segments) {
        inputs[1] = segments;
        inputs[4] = segment_table;
        sum = run_node("Add", 13, {}, {sum, row(segment_table, segments)});
      }
      DirectNode node(op, 1, {float_of("epsilon", 0.125f)}, inputs, 3);
      ASSERT_TRUE(node.infer().ok());
      ASSERT_TRUE(node.run().ok());
      EXPECT_EQ(node.output(0), run_node("LayerNormalization", 17, {float_of("epsilon", 0.125f)}, {sum, scale, shift}));
      EXPECT_EQ(node.output(1).values<int32_t>(), (std::vector<int32_t>{2, 1}));
      EXPECT_EQ(node.output(2), sum);
    }
  }
  const auto embed = [&](std::vector<std::optional<Value>> inputs) { return code_of(op, 1, {}, std::move(inputs)); };
  const std::optional<Value> none;
  EXPECT_EQ(embed({words, none, word_table, place_table, none, scale, shift}), StatusCode::kOk);
  EXPECT_EQ(embed({words, none, place_table, place_table, none, scale, shift}), StatusCode::kInvalidArgument);
  EXPECT_EQ(embed({words, none, word_table, segment_table, none, scale, shift}), StatusCode::kShape);
  EXPECT_EQ(embed({words, segments, word_table, place_table, none, scale, shift}), StatusCode::kInvalidArgument);
  EXPECT_EQ(embed({words, none, word_table, place_table, segment_table, scale, shift}), StatusCode::kInvalidArgument);
  EXPECT_EQ(embed({words, none, word_table, place_table, none, scale}), StatusCode::kInvalidArgument);
  EXPECT_EQ(embed({words, none, word_table, place_table, none, scale, shift, places}), StatusCode::kShape);
  EXPECT_EQ(embed({words, none, scale, place_table, none, scale, shift}), StatusCode::kShape);
}

}  // namespace
}  // namespace quench::rt
