// Elementwise operators against index arithmetic, over shapes that broadcast in every way.

#include <cmath>
#include <limits>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

const std::vector<Shape> kShapes = {{},        {1},          {3},          {2, 3},       {2, 1},         {1, 3},
                                    {4, 2, 3}, {4, 1, 3},    {1, 2, 1},    {4, 1, 1},    {2, 4, 2, 3},   {2, 1, 2, 1},
                                    {0, 3},    {1, 4, 1, 3}, {2, 1, 1, 1}, {1, 1, 1, 1}, {2, 1, 4, 1, 3}};

bool broadcasts(const Shape& a, const Shape& b, Shape* result) {
  result->rank = std::max(a.rank, b.rank);
  for (int axis = 0; axis < result->rank; ++axis) {
    const int64_t x = axis < result->rank - a.rank ? 1 : a[axis - (result->rank - a.rank)];
    const int64_t y = axis < result->rank - b.rank ? 1 : b[axis - (result->rank - b.rank)];
    if (x != y && x != 1 && y != 1) return false;
    (*result)[axis] = x == 1 ? y : x;
  }
  return true;
}

template <typename Function>
void check_binary(const char* op, const Function& function) {
  for (const Shape& a : kShapes) {
    for (const Shape& b : kShapes) {
      const Value x = Value::random(a, 1);
      const Value y = Value::random(b, 2);
      Shape shape;
      if (!broadcasts(a, b, &shape)) {
        EXPECT_EQ(code_of(op, 13, {}, {x, y}), StatusCode::kShape);
        continue;
      }
      const Value result = run_node(op, 13, {}, {x, y});
      ASSERT_TRUE(result.shape == shape) << op;
      const std::vector<float> xs = x.values<float>();
      const std::vector<float> ys = y.values<float>();
      std::vector<float> expected;
      for (int64_t i = 0; i < shape.elements(); ++i) {
        const auto at = coordinates_of(shape, i);
        expected.push_back(function(xs[broadcast_index(a, at)], ys[broadcast_index(b, at)]));
      }
      ASSERT_EQ(result.values<float>(), expected) << op;
    }
  }
}

TEST(Elementwise, BinaryOperatorsBroadcast) {
  check_binary("Add", [](float a, float b) { return a + b; });
  check_binary("Sub", [](float a, float b) { return a - b; });
  check_binary("Mul", [](float a, float b) { return a * b; });
  check_binary("Min", [](float a, float b) { return std::min(a, b); });
  check_binary("Max", [](float a, float b) { return std::max(a, b); });
  check_binary("Sum", [](float a, float b) { return a + b; });
}

TEST(Elementwise, ThreeOperandsBroadcastTogether) {
  const Value a = Value::random({4, 1, 3}, 1);
  const Value b = Value::random({2, 1}, 2);
  const Value c = Value::random({2, 1, 1, 1}, 3);
  const Shape shape = {2, 4, 2, 3};
  std::vector<float> mean;
  std::vector<float> chosen;
  std::vector<bool> flags = {true, false};
  for (int64_t i = 0; i < shape.elements(); ++i) {
    const auto at = coordinates_of(shape, i);
    const float x = a.values<float>()[broadcast_index(a.shape, at)];
    const float y = b.values<float>()[broadcast_index(b.shape, at)];
    const float z = c.values<float>()[broadcast_index(c.shape, at)];
    mean.push_back((x + y + z) / 3);
    chosen.push_back(at[2] == 0 ? x : z);
  }
  expect_near(run_node("Mean", 13, {}, {a, b, c}), mean);
  const Value condition = Value::of<uint8_t>({2, 1}, {7, 0});
  Value boolean = condition;
  boolean.type = ElementType::kBool;
  expect_near(run_node("Where", 16, {}, {boolean, a, c}), chosen);
}

TEST(Elementwise, IntegersWrapAroundAndNeverTrap) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const Value a = Value::indices({7, -7, kLeast, 5, kMost});
  const Value b = Value::indices({2, 2, -1, 0, 1});
  EXPECT_EQ(run_node("Div", 14, {}, {a, b}).values<int64_t>(), (std::vector<int64_t>{3, -3, kLeast, 0, kMost}));
  EXPECT_EQ(run_node("Add", 14, {}, {a, b}).values<int64_t>(), (std::vector<int64_t>{9, -5, kMost, 5, kLeast}));
  EXPECT_EQ(run_node("Mod", 14, {}, {a, b}).values<int64_t>(), (std::vector<int64_t>{1, 1, 0, 0, 0}));
  EXPECT_EQ(run_node("Mod", 14, {int_of("fmod", 1)}, {a, b}).values<int64_t>(), (std::vector<int64_t>{1, -1, 0, 0, 0}));
  EXPECT_EQ(run_node("Abs", 13, {}, {a}).values<int64_t>(), (std::vector<int64_t>{7, 7, kLeast, 5, kMost}));
  EXPECT_EQ(run_node("Neg", 13, {}, {b}).values<int64_t>(), (std::vector<int64_t>{-2, -2, 1, 0, -1}));
}

TEST(Elementwise, PowConvertsTheExponent) {
  const Value base = Value::of<float>({3}, {2, 3, -2});
  EXPECT_EQ(run_node("Pow", 13, {}, {base, Value::indices({3, 2, 3})}).values<float>(), (std::vector<float>{8, 9, -8}));
  EXPECT_EQ(run_node("Pow", 13, {}, {Value::indices({2, 10, -3}), Value::scalar(2)}).values<int64_t>(),
            (std::vector<int64_t>{4, 100, 9}));
  EXPECT_EQ(run_node("Pow", 13, {}, {Value::indices({10}), Value::indices({40})}).values<int64_t>(),
            (std::vector<int64_t>{std::numeric_limits<int64_t>::max()}));
}

TEST(Elementwise, NanPassesThrough) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Value x = Value::of<float>({4}, {nan, 1, -1, nan});
  const Value y = Value::of<float>({4}, {1, nan, -2, nan});
  for (const char* op : {"Min", "Max", "Add"}) {
    const std::vector<float> values = run_node(op, 13, {}, {x, y}).values<float>();
    EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[1]) && std::isnan(values[3])) << op;
    EXPECT_FALSE(std::isnan(values[2])) << op;
  }
  for (const char* op : {"Relu", "Sigmoid", "HardSwish", "Clip", "LeakyRelu", "Elu", "Sign"}) {
    const std::vector<float> values = run_node(op, 14, {}, {x}).values<float>();
    EXPECT_TRUE(std::isnan(values[0])) << op;
    EXPECT_FALSE(std::isnan(values[1])) << op;
  }
}

TEST(Elementwise, ExtremesStayFinite) {
  const Value x = Value::of<float>({4}, {-200, 200, 0, 88});
  EXPECT_EQ(run_node("Sigmoid", 13, {}, {x}).values<float>()[0], 0);
  EXPECT_EQ(run_node("Sigmoid", 13, {}, {x}).values<float>()[1], 1);
  expect_near(run_node("Softplus", 13, {}, {x}), {0, 200, std::log(2.0f), 88});
  expect_near(run_node("Softmax", 13, {}, {x}), {0, 1, 0, 0});
  expect_near(run_node("LogSoftmax", 13, {}, {x}), {-400, 0, -200, -112});
}

TEST(Elementwise, ClipTakesComputedLimits) {
  const Value x = Value::of<float>({4}, {-3, -1, 1, 3});
  EXPECT_EQ(run_node("Clip", 13, {}, {x, std::nullopt, Value::scalar(2)}).values<float>(),
            (std::vector<float>{-3, -1, 1, 2}));
  EXPECT_EQ(run_node("Clip", 13, {}, {x, Value::scalar(1), Value::scalar(-1)}).values<float>(),
            (std::vector<float>{-1, -1, -1, -1}));
  EXPECT_EQ(run_node("Clip", 6, {float_of("max", 0)}, {x}).values<float>(), (std::vector<float>{-3, -1, 0, 0}));
  // No input needs to be a constant.
  DirectNode node("Clip", 13, {}, {x, Value::scalar(0)}, 1, 0);
  ASSERT_TRUE(node.infer().ok());
  ASSERT_TRUE(node.run().ok());
  EXPECT_EQ(node.output(0).values<float>(), (std::vector<float>{0, 0, 1, 3}));
  EXPECT_EQ(code_of("Clip", 13, {}, {x, Value::of<float>({2}, {0, 1})}), StatusCode::kShape);
}

TEST(Elementwise, SoftmaxFlattensBeforeVersion13) {
  const Value x = Value::random({2, 3, 4}, 5);
  const std::vector<float> values = x.values<float>();
  for (const auto& [opset, axis] : {std::pair{11, 1}, {11, 2}, {13, 1}, {13, 2}, {11, -1}, {13, -1}, {11, 0}}) {
    const int positive = axis < 0 ? axis + 3 : axis;
    std::vector<float> expected;
    for (int64_t i = 0; i < 24; ++i) {
      const auto at = coordinates_of(x.shape, i);
      double sum = 0;
      for (int64_t k = 0; k < 24; ++k) {
        const auto other = coordinates_of(x.shape, k);
        bool same_row = true;
        for (int other_axis = 0; other_axis < 3; ++other_axis) {
          const bool reduced = opset < 13 ? other_axis >= positive : other_axis == positive;
          const auto index = static_cast<size_t>(other_axis);
          same_row = same_row && (reduced || at[index] == other[index]);
        }
        if (same_row) sum += std::exp(values[static_cast<size_t>(k)]);
      }
      expected.push_back(static_cast<float>(std::exp(values[static_cast<size_t>(i)]) / sum));
    }
    expect_near(run_node("Softmax", opset, {int_of("axis", axis)}, {x}), expected);
  }
}

TEST(Elementwise, PReluTakesASlopePerChannel) {
  const Value x = Value::of<float>({1, 2, 2}, {-1, 2, -3, 4});
  EXPECT_EQ(run_node("PRelu", 13, {}, {x, Value::of<float>({2, 1}, {0.5f, 2})}).values<float>(),
            (std::vector<float>{-0.5f, 2, -6, 4}));
  // Before version 7 a slope of rank 1 counted along axis 1.
  EXPECT_EQ(run_node("PRelu", 6, {}, {x, Value::of<float>({2}, {0.5f, 2})}).values<float>(),
            (std::vector<float>{-0.5f, 2, -6, 4}));
  EXPECT_EQ(code_of("PRelu", 13, {}, {x, Value::random({3}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("PRelu", 13, {}, {x, Value::random({5, 1, 2, 2}, 1)}), StatusCode::kShape);
}

TEST(Elementwise, TypesThatDoNotFitAreRefused) {
  const Value x = Value::random({2}, 1);
  EXPECT_EQ(code_of("Add", 13, {}, {x, Value::indices({1, 2})}), StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("Relu", 13, {}, {Value::indices({1, 2})}), StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("And", 13, {}, {x, x}), StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("Add", 13, {}, {x}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("Add", 13, {}, {x, std::nullopt}), StatusCode::kInvalidArgument);
}

TEST(Elementwise, CastsBetweenAllTypes) {
  const Value x = Value::of<float>({6}, {-1.9f, 0, 0.4f, 300.7f, 1e20f, std::numeric_limits<float>::quiet_NaN()});
  EXPECT_EQ(run_node("Cast", 13, {int_of("to", 6)}, {x}).values<int32_t>()[0], -1);
  EXPECT_EQ(run_node("Cast", 13, {int_of("to", 7)}, {x}).values<int64_t>(),
            (std::vector<int64_t>{-1, 0, 0, 300, std::numeric_limits<int64_t>::max(), 0}));
  const Value truth = run_node("Cast", 13, {int_of("to", 9)}, {x});
  EXPECT_EQ(truth.type, ElementType::kBool);
  const std::vector<std::byte> expected = {std::byte{1}, std::byte{0}, std::byte{1},
                                           std::byte{1}, std::byte{1}, std::byte{1}};
  EXPECT_EQ(truth.bytes, expected);
  // float16 and double are computed in float32.
  EXPECT_EQ(run_node("Cast", 13, {int_of("to", 10)}, {x}).type, ElementType::kFloat32);
  EXPECT_EQ(code_of("Cast", 13, {int_of("to", 8)}, {x}), StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("Cast", 13, {int_of("to", -5)}, {x}), StatusCode::kUnsupportedType);
}

void check_function(const char* op, const std::vector<TestAttribute>& attributes, double (*function)(double),
                    double low, double high) {
  std::vector<float> values;
  std::vector<float> expected;
  for (int i = 0; i <= 40; ++i) {
    values.push_back(static_cast<float>(low + (high - low) * i / 40));
    expected.push_back(static_cast<float>(function(values.back())));
  }
  expect_near(run_node(op, 20, attributes, {Value::of<float>({41}, values)}), expected);
}

TEST(Elementwise, FunctionsAreWhatTheirDefinitionsSay) {
  check_function("Tan", {}, std::tan, -1.5, 1.5);
  check_function("Asin", {}, std::asin, -1, 1);
  check_function("Acos", {}, std::acos, -1, 1);
  check_function("Atan", {}, std::atan, -9, 9);
  check_function("Sinh", {}, std::sinh, -4, 4);
  check_function("Cosh", {}, std::cosh, -4, 4);
  check_function("Asinh", {}, std::asinh, -9, 9);
  check_function("Acosh", {}, std::acosh, 1, 9);
  check_function("Atanh", {}, std::atanh, -0.9, 0.9);
  check_function(
      "Mish", {}, [](double x) { return x * std::tanh(std::log(1 + std::exp(x))); }, -20, 20);
  check_function(
      "Celu", {float_of("alpha", 2)},
      [](double x) { return std::max(0.0, x) + std::min(0.0, 2 * (std::exp(x / 2) - 1)); }, -5, 5);
  check_function(
      "Shrink", {float_of("lambd", 1.5f), float_of("bias", 0.5f)},
      [](double x) { return x < -1.5  ? x + 0.5
                            : x > 1.5 ? x - 0.5
                                      : 0; }, -3, 3);
  check_function(
      "Gelu", {}, [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); }, -5, 5);
  check_function(
      "Gelu", {string_of("approximate", "tanh")},
      [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x))); }, -5,
      5);
  EXPECT_EQ(code_of("Gelu", 20, {string_of("approximate", "some")}, {Value::scalar(1)}), StatusCode::kInvalidArgument);
}

TEST(Elementwise, BitsOfAllWidths) {
  const Value a = Value::of<uint8_t>({4}, {0x0f, 0xf0, 0xff, 0x81});
  const Value b = Value::of<uint8_t>({4}, {0x3c, 1, 8, 7});
  using Bytes = std::vector<uint8_t>;
  EXPECT_EQ(run_node("BitwiseAnd", 18, {}, {a, b}).values<uint8_t>(), (Bytes{0x0c, 0, 8, 1}));
  EXPECT_EQ(run_node("BitwiseOr", 18, {}, {a, b}).values<uint8_t>(), (Bytes{0x3f, 0xf1, 0xff, 0x87}));
  EXPECT_EQ(run_node("BitwiseXor", 18, {}, {a, b}).values<uint8_t>(), (Bytes{0x33, 0xf1, 0xf7, 0x86}));
  EXPECT_EQ(run_node("BitwiseNot", 18, {}, {a}).values<uint8_t>(), (Bytes{0xf0, 0x0f, 0, 0x7e}));
  EXPECT_EQ(run_node("BitwiseNot", 18, {}, {Value::indices({5, -1})}).values<int64_t>(), (std::vector<int64_t>{-6, 0}));
  EXPECT_EQ(run_node("BitShift", 11, {string_of("direction", "LEFT")}, {a, b}).values<uint8_t>(),
            (Bytes{0, 0xe0, 0, 0x80}));
  EXPECT_EQ(run_node("BitShift", 11, {string_of("direction", "RIGHT")}, {a, b}).values<uint8_t>(),
            (Bytes{0, 0x78, 0, 1}));
  const Value wide = Value::of<uint64_t>({2}, {uint64_t{1} << 63, uint64_t{1} << 63});
  EXPECT_EQ(run_node("BitShift", 11, {string_of("direction", "RIGHT")},
                     {wide, Value::of<uint64_t>({2}, {63, uint64_t{1} << 63})})
                .values<uint64_t>(),
            (std::vector<uint64_t>{1, 0}));
  EXPECT_EQ(code_of("BitShift", 11, {}, {a, b}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("BitShift", 11, {string_of("direction", "LEFT")}, {Value::indices({1}), Value::indices({1})}),
            StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("BitwiseNot", 18, {}, {Value::scalar(1)}), StatusCode::kUnsupportedType);
}

TEST(Elementwise, NanAndInfinityAreTold) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Value x = Value::of<float>({4}, {nan, INFINITY, -INFINITY, 1});
  const auto told = [&](const char* op, const std::vector<TestAttribute>& attributes) {
    Value result = run_node(op, 20, attributes, {x});
    EXPECT_EQ(result.type, ElementType::kBool);
    result.type = ElementType::kUint8;
    return result.values<uint8_t>();
  };
  using Bytes = std::vector<uint8_t>;
  EXPECT_EQ(told("IsNaN", {}), (Bytes{1, 0, 0, 0}));
  EXPECT_EQ(told("IsInf", {}), (Bytes{0, 1, 1, 0}));
  EXPECT_EQ(told("IsInf", {int_of("detect_negative", 0)}), (Bytes{0, 1, 0, 0}));
  EXPECT_EQ(told("IsInf", {int_of("detect_positive", 0)}), (Bytes{0, 0, 1, 0}));
}

}  // namespace
}  // namespace quench::rt
