// The quantized operators against their definitions: integers as wide ones, real numbers in double. Scales are powers of
// two wherever the result must be the same to the bit.

#include <cmath>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

template <typename T>
std::vector<T> random_integers(int64_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(engine());
  return values;
}

template <typename T>
Value random_value(Shape shape, uint32_t seed) {
  return Value::of(shape, random_integers<T>(shape.elements(), seed));
}

template <typename T>
T saturated(double x) {
  return static_cast<T>(
      std::min<double>(std::max<double>(x, std::numeric_limits<T>::min()), std::numeric_limits<T>::max()));
}

// y = saturate(x / scale + zero point), by which scale an element has.
template <typename T, typename ScaleOf>
void expect_quantized(const std::vector<TestAttribute>& attributes, const Value& scale, const Value& zero,
                      const ScaleOf& scale_of) {
  const Shape shape = {2, 3, 4};
  std::vector<float> x(24);
  for (size_t i = 0; i < 24; ++i) x[i] = static_cast<float>((static_cast<int>(i * 7919) % 1000 - 500) * 1.25);
  const Value y = run_node("QuantizeLinear", 21, attributes, {Value::of(shape, x), scale, zero});
  const Value back = run_node("DequantizeLinear", 21, attributes, {y, scale, zero});
  ASSERT_EQ(y.shape, shape);
  for (size_t i = 0; i < 24; ++i) {
    const size_t at = scale_of(coordinates_of(shape, static_cast<int64_t>(i)));
    const double step = static_cast<double>(scale.values<float>()[at]);
    const double offset = zero.values<T>()[at];
    const T expected = saturated<T>(std::nearbyint(static_cast<double>(x[i]) / step) + offset);
    EXPECT_EQ(y.values<T>()[i], expected) << i;
    EXPECT_EQ(back.values<float>()[i], static_cast<float>((expected - offset) * step)) << i;
  }
}

template <typename T>
void expect_all_forms_quantized() {
  const auto zeros = [](Shape shape) { return random_value<T>(shape, 5); };
  const auto scales = [](Shape shape) {
    std::vector<float> values;
    for (int64_t i = 0; i < shape.elements(); ++i) values.push_back(std::ldexp(1.0f, static_cast<int>(i % 4) - 1));
    return Value::of(shape, values);
  };
  using At = std::vector<int64_t>;
  expect_quantized<T>({}, scales({}), zeros({}), [](const At&) { return size_t{0}; });
  expect_quantized<T>({}, scales({3}), zeros({3}), [](const At& at) { return static_cast<size_t>(at[1]); });
  for (const int axis : {0, 1, 2, -1, -2}) {
    const auto place = static_cast<size_t>(axis < 0 ? axis + 3 : axis);
    const int64_t size = 2 + static_cast<int64_t>(place);
    expect_quantized<T>({int_of("axis", axis)}, scales({size}), zeros({size}),
                        [=](const At& at) { return static_cast<size_t>(at[place]); });
    for (const int64_t block : {1, 2, 3, 5}) {
      Shape blocks = {2, 3, 4};
      blocks[static_cast<int>(place)] = (size + block - 1) / block;
      expect_quantized<T>({int_of("axis", axis), int_of("block_size", block)}, scales(blocks), zeros(blocks),
                          [=](At at) {
                            at[place] /= block;
                            return static_cast<size_t>((at[0] * blocks[1] + at[1]) * blocks[2] + at[2]);
                          });
    }
  }
}

TEST(QuantizeLinear, OfATensorAnAxisAndBlocks) {
  expect_all_forms_quantized<uint8_t>();
  expect_all_forms_quantized<int8_t>();
  expect_all_forms_quantized<uint16_t>();
  expect_all_forms_quantized<int16_t>();
}

TEST(QuantizeLinear, RoundsHalvesToEvenAndSaturates) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Value x = Value::of<float>({8}, {0.5f, 1.5f, 2.5f, -2.5f, 1e30f, -infinity, std::nanf(""), infinity});
  const Value y = run_node("QuantizeLinear", 10, {}, {x, Value::scalar(1), Value::of<int8_t>({}, {-3})});
  EXPECT_EQ(y.values<int8_t>(), (std::vector<int8_t>{-3, -1, -1, -5, 127, -128, -3, 127}));
  // A scale of zero divides by it.
  const Value zero = run_node("QuantizeLinear", 10, {}, {x, Value::scalar(0)});
  EXPECT_EQ(zero.values<uint8_t>(), (std::vector<uint8_t>{255, 255, 255, 0, 255, 0, 0, 255}));
}

TEST(QuantizeLinear, TakesItsTypeFromTheZeroPointOrTheAttribute) {
  const Value x = Value::of<int32_t>({3}, {-100000, 7, 100000});
  EXPECT_EQ(run_node("QuantizeLinear", 13, {}, {x, Value::scalar(2)}).values<uint8_t>(),
            (std::vector<uint8_t>{0, 4, 255}));
  EXPECT_EQ(run_node("QuantizeLinear", 21, {int_of("output_dtype", 5)}, {x, Value::scalar(2)}).values<int16_t>(),
            (std::vector<int16_t>{-32768, 4, 32767}));
  EXPECT_EQ(code_of("QuantizeLinear", 21, {int_of("output_dtype", 22)}, {x, Value::scalar(2)}),
            StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("QuantizeLinear", 21, {int_of("output_dtype", int64_t{1} << 40)}, {x, Value::scalar(2)}),
            StatusCode::kOk);
}

TEST(DequantizeLinear, OfSumsOfProducts) {
  const Value x = Value::of<int32_t>({2, 2}, {2147483647, -2147483647 - 1, 3, -5});
  const Value y = run_node("DequantizeLinear", 13, {int_of("axis", 1)}, {x, Value::of<float>({2}, {0.5f, 2})});
  EXPECT_EQ(y.values<float>(), (std::vector<float>{1073741824.0f, -4294967296.0f, 1.5f, -10}));
}

TEST(QuantizeLinear, Refuses) {
  const Value x = Value::random({2, 3}, 1);
  const Value bytes = random_value<uint8_t>({2, 3}, 1);
  const auto quantize = [&](std::vector<TestAttribute> attributes, const Value& scale, std::optional<Value> zero) {
    return code_of("QuantizeLinear", 21, std::move(attributes), {x, scale, std::move(zero)});
  };
  const Value three = Value::of<float>({3}, {1, 1, 1});
  EXPECT_EQ(quantize({int_of("axis", 2)}, three, std::nullopt), StatusCode::kShape);
  EXPECT_EQ(quantize({int_of("axis", 0)}, three, std::nullopt), StatusCode::kShape);
  EXPECT_EQ(quantize({}, three, Value::of<uint8_t>({2}, {1, 1})), StatusCode::kShape);
  EXPECT_EQ(quantize({}, three, Value::of<int32_t>({3}, {1, 1, 1})), StatusCode::kUnsupportedType);
  EXPECT_EQ(quantize({int_of("block_size", -1)}, three, std::nullopt), StatusCode::kInvalidArgument);
  EXPECT_EQ(quantize({int_of("block_size", 2)}, three, std::nullopt), StatusCode::kShape);
  EXPECT_EQ(quantize({}, bytes, std::nullopt), StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("DequantizeLinear", 21, {}, {bytes, three, random_value<int8_t>({3}, 1)}),
            StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("DequantizeLinear", 21, {}, {x, three}), StatusCode::kUnsupportedType);
}

TEST(DynamicQuantizeLinear, CoversZeroAndAllValues) {
  for (const std::vector<float>& x : {std::vector<float>{0, 2, -3, -2.5f, 1.34f, 0.5f},
                                      std::vector<float>{1, 2, 3, 4},
                                      std::vector<float>{-1, -2.1f, -1.3f},
                                      std::vector<float>{0, 0},
                                      {}}) {
    DirectNode node("DynamicQuantizeLinear", 11, {}, {Value::of({static_cast<int64_t>(x.size())}, x)}, 3);
    ASSERT_TRUE(node.infer().ok());
    ASSERT_TRUE(node.run().ok());
    const float scale = node.output(1).values<float>()[0];
    const int zero = node.output(2).values<uint8_t>()[0];
    float least = 0;
    float most = 0;
    for (const float value : x) {
      least = std::min(least, value);
      most = std::max(most, value);
    }
    EXPECT_FLOAT_EQ(scale, most > least ? (most - least) / 255 : 1);
    EXPECT_NEAR(zero, -least / scale, 0.5);
    const std::vector<uint8_t> y = node.output(0).values<uint8_t>();
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(static_cast<float>(y[i] - zero) * scale, x[i], scale * 0.51f) << i;
    }
  }
}

}  // namespace
}  // namespace quench::rt
