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

Value scales_of(int64_t count) {
  std::vector<float> scales;
  for (int64_t i = 0; i < count; ++i) scales.push_back(std::ldexp(1.0f, static_cast<int>(i % 3) - 6));
  return Value::of<float>({count}, scales);
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

TEST(QuantizeLinear, IsOnnxRuntimesToo) {
  const std::vector<std::optional<Value>> inputs = {Value::random({2, 3}, 1), scales_of(3),
                                                    Value::of<int16_t>({3}, {1, -2, 300})};
  const Value y = run_node("QuantizeLinear", 21, {}, inputs);
  EXPECT_EQ(run_node("com.microsoft.QuantizeLinear", 1, {}, inputs), y);
  EXPECT_EQ(run_node("com.microsoft.DequantizeLinear", 1, {}, {y, inputs[1], inputs[2]}),
            run_node("DequantizeLinear", 21, {}, {y, inputs[1], inputs[2]}));
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

// Element `at` of a tensor of bytes, less the zero point.
struct Wide {
  Value value;
  std::vector<int64_t> zeros;  // one, or one for each place along `axis`
  size_t axis = 0;

  int64_t operator()(const std::vector<int64_t>& at) const {
    const auto byte = static_cast<uint8_t>(value.bytes[broadcast_index(value.shape, at)]);
    const int64_t wide = value.type == ElementType::kInt8 ? static_cast<int8_t>(byte) : byte;
    return wide - (zeros.size() == 1 ? zeros[0] : zeros[static_cast<size_t>(at[axis])]);
  }
};

struct Convolution {
  Shape x;
  Shape w;
  int64_t group = 1;
  std::vector<int64_t> strides = {1, 1};
  std::vector<int64_t> pads = {0, 0, 0, 0};
  std::vector<int64_t> dilations = {1, 1};

  std::vector<TestAttribute> attributes() const {
    return {int_of("group", group), ints_of("strides", strides), ints_of("pads", pads),
            ints_of("dilations", dilations)};
  }
  Shape output() const {
    Shape y = {x[0], w[0], 0, 0};
    for (size_t i = 0; i < 2; ++i) {
      const int axis = static_cast<int>(i) + 2;
      y[axis] = (x[axis] + pads[i] + pads[i + 2] - (w[axis] - 1) * dilations[i] - 1) / strides[i] + 1;
    }
    return y;
  }
  int64_t sum(const Wide& x_of, const Wide& w_of, const std::vector<int64_t>& at) const {
    int64_t sum = 0;
    for (int64_t c = 0; c < w[1]; ++c) {
      for (int64_t i = 0; i < w[2]; ++i) {
        for (int64_t j = 0; j < w[3]; ++j) {
          const int64_t row = at[2] * strides[0] - pads[0] + i * dilations[0];
          const int64_t column = at[3] * strides[1] - pads[1] + j * dilations[1];
          if (row < 0 || row >= x[2] || column < 0 || column >= x[3]) continue;
          sum += x_of({at[0], at[1] / (w[0] / group) * w[1] + c, row, column}) * w_of({at[1], c, i, j});
        }
      }
    }
    return sum;
  }
};

const std::vector<Convolution> kConvolutions = {
    {{1, 1, 3, 3}, {1, 1, 2, 2}},
    {{2, 3, 5, 4}, {4, 3, 3, 2}, 1, {2, 1}, {1, 0, 2, 1}, {1, 2}},
    {{1, 4, 6, 5}, {8, 2, 3, 3}, 2, {1, 2}, {1, 1, 1, 1}, {1, 1}},
    {{1, 3, 4, 4}, {3, 1, 3, 3}, 3, {1, 1}, {2, 2, 2, 2}, {1, 1}},
};

template <typename X, typename W>
void expect_convolved(const Convolution& each, bool per_channel) {
  const Value x = random_value<X>(each.x, 1);
  const Value w = random_value<W>(each.w, 2);
  const int64_t channels = per_channel ? each.w[0] : 1;
  const Value x_zero = random_value<X>({}, 3);
  const Value w_zero = random_value<W>({channels}, 4);
  const Wide x_of = {x, {x_zero.values<X>()[0]}};
  Wide w_of = {w, {}};
  for (const W zero : w_zero.values<W>()) w_of.zeros.push_back(zero);
  const Shape shape = each.output();

  const Value sums = run_node("ConvInteger", 10, each.attributes(), {x, w, x_zero, w_zero});
  const Value scales = scales_of(channels);
  const Value y_zero = Value::of<uint8_t>({}, {77});
  std::vector<int32_t> bias(static_cast<size_t>(each.w[0]));
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<int32_t>(i * 3001) - 4000;
  const Value y = run_node("QLinearConv", 10, each.attributes(),
                           {x, Value::scalar(0.25f), x_zero, w, scales, w_zero, Value::scalar(2), y_zero,
                            Value::of<int32_t>({each.w[0]}, bias)});
  ASSERT_EQ(sums.shape, shape);
  ASSERT_EQ(y.shape, shape);
  for (int64_t i = 0; i < shape.elements(); ++i) {
    const std::vector<int64_t> at = coordinates_of(shape, i);
    const auto element = static_cast<size_t>(i);
    const auto channel = static_cast<size_t>(at[1]);
    const int64_t sum = each.sum(x_of, w_of, at);
    EXPECT_EQ(sums.values<int32_t>()[element], sum);
    const double scale = 0.25 * static_cast<double>(scales.values<float>()[per_channel ? channel : 0]) / 2;
    const double real = std::nearbyint(static_cast<double>(sum + bias[channel]) * scale);
    EXPECT_EQ(y.values<uint8_t>()[element], saturated<uint8_t>(real + 77));
  }
}

TEST(IntegerProducts, Convolutions) {
  for (const Convolution& each : kConvolutions) {
    for (const bool per_channel : {false, true}) {
      expect_convolved<uint8_t, int8_t>(each, per_channel);
      expect_convolved<uint8_t, uint8_t>(each, per_channel);
      expect_convolved<int8_t, int8_t>(each, per_channel);
      expect_convolved<int8_t, uint8_t>(each, per_channel);
    }
  }
}

TEST(IntegerProducts, ZeroPointsMayBeLeftOutAndKernelsHaveOneToThreeAxes) {
  const Value x = Value::of<uint8_t>({1, 1, 4}, {1, 2, 3, 4});
  EXPECT_EQ(run_node("ConvInteger", 10, {}, {x, Value::of<int8_t>({1, 1, 2}, {-1, 2})}).values<int32_t>(),
            (std::vector<int32_t>{3, 4, 5}));
  const Value cube = Value::of<uint8_t>({1, 1, 1, 2, 2}, {1, 2, 3, 4});
  EXPECT_EQ(run_node("ConvInteger", 10, {}, {cube, cube}).values<int32_t>(), (std::vector<int32_t>{30}));
}

// Rows of `a` times columns of `b`, with leading axes that broadcast.
template <typename A, typename B>
void expect_multiplied(const Shape& a_shape, const Shape& b_shape, const Shape& shape, bool per_line) {
  const Value a = random_value<A>(a_shape, 1);
  const Value b = random_value<B>(b_shape, 2);
  const auto a_row = static_cast<size_t>(a_shape.rank - 2);
  const auto b_column = static_cast<size_t>(b_shape.rank - 1);
  const int64_t rows = per_line ? a_shape[a_shape.rank - 2] : 1;
  const int64_t columns = per_line ? b_shape[b_shape.rank - 1] : 1;
  const Value a_zero = random_value<A>({rows}, 3);
  const Value b_zero = random_value<B>({columns}, 4);
  Wide a_of = {a, {}, a_row};
  Wide b_of = {b, {}, b_column};
  for (const A zero : a_zero.values<A>()) a_of.zeros.push_back(zero);
  for (const B zero : b_zero.values<B>()) b_of.zeros.push_back(zero);
  const Value sums = run_node("MatMulInteger", 10, {}, {a, b, a_zero, b_zero});
  const Value a_scales = scales_of(rows);
  const Value b_scales = scales_of(columns);
  const Value y =
      run_node("QLinearMatMul", 10, {},
               {a, a_scales, a_zero, b, b_scales, b_zero, Value::scalar(0.0625f), Value::of<int8_t>({1}, {-5})});
  ASSERT_EQ(sums.shape, shape);
  ASSERT_EQ(y.shape, shape);
  const auto row = static_cast<size_t>(shape.rank - 2);
  for (int64_t i = 0; i < shape.elements(); ++i) {
    const std::vector<int64_t> at = coordinates_of(shape, i);
    const auto operand = [&](const Shape& of, int64_t y_row, int64_t y_column) {
      std::vector<int64_t> there(at.end() - of.rank, at.end());
      for (int axis = 0; axis < of.rank - 2; ++axis) there[static_cast<size_t>(axis)] %= of[axis];
      there[static_cast<size_t>(of.rank - 2)] = y_row;
      there[static_cast<size_t>(of.rank - 1)] = y_column;
      return there;
    };
    int64_t sum = 0;
    for (int64_t k = 0; k < a_shape[a_shape.rank - 1]; ++k) {
      sum += a_of(operand(a_shape, at[row], k)) * b_of(operand(b_shape, k, at[row + 1]));
    }
    const auto element = static_cast<size_t>(i);
    EXPECT_EQ(sums.values<int32_t>()[element], sum);
    const auto scale_at = [&](const Value& scales, int64_t place) {
      return static_cast<double>(scales.values<float>()[per_line ? static_cast<size_t>(place) : 0]);
    };
    const double scale = scale_at(a_scales, at[row]) * scale_at(b_scales, at[row + 1]) / 0.0625;
    EXPECT_EQ(y.values<int8_t>()[element], saturated<int8_t>(std::nearbyint(static_cast<double>(sum) * scale) - 5));
  }
}

TEST(IntegerProducts, Matrices) {
  for (const bool per_line : {false, true}) {
    expect_multiplied<uint8_t, int8_t>({3, 5}, {5, 4}, {3, 4}, per_line);
    expect_multiplied<int8_t, int8_t>({2, 1, 3, 5}, {4, 5, 2}, {2, 4, 3, 2}, per_line);
    expect_multiplied<uint8_t, uint8_t>({2, 3, 300}, {300, 2}, {2, 3, 2}, per_line);
    expect_multiplied<int8_t, uint8_t>({1, 7}, {7, 1}, {1, 1}, per_line);
  }
}

TEST(IntegerProducts, VectorsAreARowAndAColumn) {
  const Value row = Value::of<uint8_t>({2}, {3, 4});
  const Value square = Value::of<int8_t>({2, 2}, {1, 2, -3, 4});
  EXPECT_EQ(run_node("MatMulInteger", 10, {}, {row, square}).values<int32_t>(), (std::vector<int32_t>{-9, 22}));
  EXPECT_EQ(run_node("MatMulInteger", 10, {}, {square, row}).values<int32_t>(), (std::vector<int32_t>{11, 7}));
  EXPECT_EQ(run_node("MatMulInteger", 10, {}, {row, row}).shape, Shape());
  const Value by_column = Value::of<int8_t>({2}, {1, -1});
  EXPECT_EQ(run_node("MatMulInteger", 10, {}, {row, square, std::nullopt, by_column}).values<int32_t>(),
            (std::vector<int32_t>{-16, 29}));
}

TEST(IntegerProducts, SumsWrapAround) {
  const int64_t count = 40000;  // 255 * 255 of them are more than 2^31
  const Value a = Value::of<uint8_t>({1, count}, std::vector<uint8_t>(count, 255));
  const Value b = Value::of<uint8_t>({count, 1}, std::vector<uint8_t>(count, 255));
  EXPECT_EQ(run_node("MatMulInteger", 10, {}, {a, b}).values<int32_t>(),
            (std::vector<int32_t>{static_cast<int32_t>(static_cast<uint32_t>(count * 255 * 255))}));
}

TEST(IntegerProducts, Refuse) {
  const Value x = random_value<uint8_t>({1, 2, 3, 3}, 1);
  const Value w = random_value<int8_t>({4, 2, 2, 2}, 2);
  const Value zero = Value::of<uint8_t>({}, {3});
  const Value zeros = Value::of<int8_t>({4}, {1, 2, 3, 4});
  const auto convolve = [](std::vector<std::optional<Value>> inputs) {
    return code_of("ConvInteger", 10, {}, std::move(inputs));
  };
  EXPECT_EQ(convolve({x, w, zero, zeros}), StatusCode::kOk);
  EXPECT_EQ(convolve({x, w, zeros}), StatusCode::kUnsupportedType);
  EXPECT_EQ(convolve({x, w, Value::of<uint8_t>({2}, {1, 1})}), StatusCode::kShape);
  EXPECT_EQ(convolve({x, w, zero, Value::of<int8_t>({3}, {1, 1, 1})}), StatusCode::kShape);
  EXPECT_EQ(convolve({x, Value::random({4, 2, 2, 2}, 1)}), StatusCode::kUnsupportedType);
  EXPECT_EQ(convolve({x, random_value<int8_t>({4, 3, 2, 2}, 2)}), StatusCode::kShape);
  EXPECT_EQ(convolve({x}), StatusCode::kInvalidArgument);
  const Value scale = Value::scalar(1);
  const auto q_linear = [&](const Value& x_scale, const Value& w_scale, const Value& y_zero, const Value& bias) {
    return code_of("QLinearConv", 10, {}, {x, x_scale, zero, w, w_scale, zeros, scale, y_zero, bias});
  };
  const Value bias = Value::of<int32_t>({4}, {1, 2, 3, 4});
  EXPECT_EQ(q_linear(scale, scale, zero, bias), StatusCode::kOk);
  EXPECT_EQ(q_linear(scales_of(2), scale, zero, bias), StatusCode::kShape);
  EXPECT_EQ(q_linear(scale, scales_of(3), zero, bias), StatusCode::kShape);
  EXPECT_EQ(q_linear(scale, zero, zero, bias), StatusCode::kUnsupportedType);
  EXPECT_EQ(q_linear(scale, scale, bias, bias), StatusCode::kUnsupportedType);
  EXPECT_EQ(q_linear(scale, scale, zero, Value::of<int32_t>({2}, {1, 2})), StatusCode::kShape);
  EXPECT_EQ(code_of("QLinearConv", 10, {}, {x, scale, zero, w, scale, zeros, scale}), StatusCode::kInvalidArgument);
  const Value a = random_value<uint8_t>({2, 3}, 1);
  EXPECT_EQ(code_of("MatMulInteger", 10, {}, {a, a}), StatusCode::kShape);
  // No element at all, but sums whose scratch memory nobody can have.
  const int64_t huge = int64_t{1} << 58;
  EXPECT_EQ(code_of("MatMulInteger", 10, {}, {Value::of<uint8_t>({0, huge}, {}), Value::of<uint8_t>({huge, 0}, {})}),
            StatusCode::kShape);
  EXPECT_EQ(code_of("MatMulInteger", 10, {}, {a, zero}), StatusCode::kShape);
  const Value b = random_value<uint8_t>({3, 2}, 1);
  EXPECT_EQ(code_of("MatMulInteger", 10, {}, {a, b, Value::of<uint8_t>({3}, {1, 1, 1})}), StatusCode::kShape);
}

std::vector<double> reals_of(const Value& bytes, double scale, double zero) {
  std::vector<double> reals;
  for (const std::byte byte : bytes.bytes) {
    const auto value = static_cast<uint8_t>(byte);
    reals.push_back(((bytes.type == ElementType::kInt8 ? static_cast<int8_t>(value) : value) - zero) * scale);
  }
  return reals;
}

template <typename T>
T byte_of(double real, double scale, double zero) {
  return saturated<T>(std::nearbyint(real / scale) + zero);
}

TEST(QLinear, AddAndMulBroadcast) {
  const Value a = random_value<uint8_t>({2, 3, 4}, 1);
  const Value b = random_value<uint8_t>({3, 1}, 2);
  const std::vector<double> reals_a = reals_of(a, 0.25, 100);
  const std::vector<double> reals_b = reals_of(b, 0.5, 30);
  const Value zero_a = Value::of<uint8_t>({}, {100});
  const Value zero_b = Value::of<uint8_t>({1}, {30});
  const std::vector<std::optional<Value>> inputs = {a,      Value::scalar(0.25f), zero_a, b, Value::scalar(0.5f),
                                                    zero_b, Value::scalar(0.5f),  zero_a};
  const std::vector<uint8_t> sums = run_node("com.microsoft.QLinearAdd", 1, {}, inputs).values<uint8_t>();
  const std::vector<uint8_t> products = run_node("com.microsoft.QLinearMul", 1, {}, inputs).values<uint8_t>();
  for (size_t i = 0; i < 24; ++i) {
    const double other = reals_b[i / 4 % 3];
    EXPECT_EQ(sums[i], byte_of<uint8_t>(reals_a[i] + other, 0.5, 100)) << i;
    EXPECT_EQ(products[i], byte_of<uint8_t>(reals_a[i] * other, 0.5, 100)) << i;
  }
}

TEST(QLinear, ActivationsAndSoftmax) {
  const Value x = random_value<int8_t>({3, 7}, 1);
  const std::vector<double> reals = reals_of(x, 0.0625, -20);
  const Value zero = Value::of<int8_t>({}, {-20});
  const auto run = [&](const char* op, std::vector<TestAttribute> attributes, float y_scale) {
    return run_node(op, 1, std::move(attributes), {x, Value::scalar(0.0625f), zero, Value::scalar(y_scale), zero})
        .values<int8_t>();
  };
  const std::vector<int8_t> leaky = run("com.microsoft.QLinearLeakyRelu", {float_of("alpha", 0.25f)}, 0.125f);
  const std::vector<int8_t> sigmoid = run("com.microsoft.QLinearSigmoid", {}, 0.0078125f);
  const std::vector<int8_t> softmax =
      run("com.microsoft.QLinearSoftmax", {int_of("axis", -1), int_of("opset", 13)}, 0.0078125f);
  for (size_t i = 0; i < reals.size(); ++i) {
    const double value = reals[i];
    EXPECT_EQ(leaky[i], byte_of<int8_t>(value < 0 ? value / 4 : value, 0.125, -20)) << i;
    EXPECT_NEAR(sigmoid[i], byte_of<int8_t>(1 / (1 + std::exp(-value)), 0.0078125, -20), 1) << i;
    double sum = 0;
    for (size_t k = i / 7 * 7; k < i / 7 * 7 + 7; ++k) sum += std::exp(reals[k]);
    EXPECT_NEAR(softmax[i], byte_of<int8_t>(std::exp(value) / sum, 0.0078125, -20), 1) << i;
  }
}

TEST(QLinear, Pools) {
  const Value x = random_value<uint8_t>({1, 2, 4, 4}, 1);
  const std::vector<double> reals = reals_of(x, 0.5, 128);
  // Without zero points they are 0.
  const Value y =
      run_node("com.microsoft.QLinearAveragePool", 1, {ints_of("kernel_shape", {2, 2}), ints_of("strides", {2, 2})},
               {x, Value::scalar(0.5f), Value::of<uint8_t>({}, {128}), Value::scalar(0.25f)});
  const Value all = run_node(
      "com.microsoft.QLinearGlobalAveragePool", 1, {},
      {x, Value::scalar(0.5f), Value::of<uint8_t>({}, {128}), Value::scalar(0.25f), Value::of<uint8_t>({}, {128})});
  ASSERT_EQ(y.shape, Shape({1, 2, 2, 2}));
  for (size_t i = 0; i < 8; ++i) {
    const size_t first = i / 4 * 16 + i / 2 % 2 * 8 + i % 2 * 2;
    const double sum = reals[first] + reals[first + 1] + reals[first + 4] + reals[first + 5];
    EXPECT_EQ(y.values<uint8_t>()[i], byte_of<uint8_t>(sum / 4, 0.25, 0)) << i;
  }
  for (size_t c = 0; c < 2; ++c) {
    double sum = 0;
    for (size_t i = 0; i < 16; ++i) sum += reals[c * 16 + i];
    EXPECT_EQ(all.values<uint8_t>()[c], byte_of<uint8_t>(sum / 16, 0.25, 128)) << c;
  }
}

// Weights of N rows and K columns, each row in blocks; a row's zero points are packed as the weights are.
void expect_packed(int bits, int64_t block, int64_t inner, bool has_zeros) {
  const int64_t columns = 3;
  const int64_t blocks = (inner + block - 1) / block;
  const int64_t packed_zeros = (blocks * bits + 7) / 8;
  const Value x = Value::random({2, inner}, 1);
  const Value packed = random_value<uint8_t>({columns, blocks, block * bits / 8}, 2);
  const Value scales = Value::random({columns * blocks}, 3);
  const Value zeros = random_value<uint8_t>({columns * packed_zeros}, 4);
  const Value bias = Value::random({columns}, 5);
  // Bit by bit.
  const auto unpacked = [bits](const Value& value, int64_t first_byte, int64_t index) {
    int number = 0;
    for (int64_t bit = 0; bit < bits; ++bit) {
      const int64_t at = index * bits + bit;
      const auto byte = static_cast<int>(value.bytes[static_cast<size_t>(first_byte + at / 8)]);
      number += (byte >> (at % 8) & 1) << bit;
    }
    return number;
  };
  std::vector<float> expected;
  for (size_t row = 0; row < 2; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      double sum = static_cast<double>(bias.values<float>()[static_cast<size_t>(column)]);
      for (int64_t k = 0; k < inner; ++k) {
        const int weight = unpacked(packed, column * blocks * block * bits / 8, k);
        const int zero = has_zeros ? unpacked(zeros, column * packed_zeros, k / block) : 1 << (bits - 1);
        const float scale = scales.values<float>()[static_cast<size_t>(column * blocks + k / block)];
        sum += static_cast<double>(x.values<float>()[row * static_cast<size_t>(inner) + static_cast<size_t>(k)]) *
               (weight - zero) * static_cast<double>(scale);
      }
      expected.push_back(static_cast<float>(sum));
    }
  }
  std::optional<Value> given;
  if (has_zeros) given = zeros;
  const Value y =
      run_node("com.microsoft.MatMulNBits", 1,
               {int_of("K", inner), int_of("N", columns), int_of("block_size", block), int_of("bits", bits)},
               {x, packed, scales, given, std::nullopt, bias});
  EXPECT_EQ(y.shape, Shape({2, columns}));
  expect_near(y, expected, 1e-4f);
}

TEST(QLinear, PackedWeights) {
  for (const int bits : {2, 4, 8}) {
    for (const int64_t inner : {16, 20, 70}) {
      expect_packed(bits, 16, inner, false);
      expect_packed(bits, 16, inner, true);
    }
  }
  const Value x = Value::random({2, 4}, 1);
  const Value packed = random_value<uint8_t>({2, 1, 4}, 2);
  const Value scales = Value::random({2}, 3);
  const auto refused = [&](int64_t inner, int64_t columns, int64_t block, int64_t bits, std::optional<Value> zeros) {
    return code_of("com.microsoft.MatMulNBits", 1,
                   {int_of("K", inner), int_of("N", columns), int_of("block_size", block), int_of("bits", bits)},
                   {x, packed, scales, std::move(zeros)});
  };
  EXPECT_EQ(refused(4, 2, 8, 4, std::nullopt), StatusCode::kOk);
  EXPECT_EQ(refused(4, 2, 8, 4, Value::random({2}, 1)), StatusCode::kOk);
  EXPECT_EQ(refused(4, 2, 8, 4, Value::random({1}, 1)), StatusCode::kShape);
  EXPECT_EQ(refused(5, 2, 8, 4, std::nullopt), StatusCode::kShape);
  EXPECT_EQ(refused(4, 3, 8, 4, std::nullopt), StatusCode::kShape);
  EXPECT_EQ(refused(4, 2, 8, 3, std::nullopt), StatusCode::kUnsupportedFeature);
  EXPECT_EQ(refused(4, 2, 0, 4, std::nullopt), StatusCode::kInvalidArgument);
  EXPECT_EQ(refused(int64_t{1} << 40, 2, 8, 4, std::nullopt), StatusCode::kInvalidArgument);
}

TEST(QLinear, ConcatBringsAllToOneScale) {
  const Value a = random_value<int8_t>({2, 2, 3}, 1);
  const Value b = random_value<int8_t>({2, 1, 3}, 2);
  const Value zero = Value::of<int8_t>({}, {5});
  const Value none = Value::of<int8_t>({}, {0});
  const Value y = run_node("com.microsoft.QLinearConcat", 1, {int_of("axis", 1)},
                           {Value::scalar(0.5f), zero, a, Value::scalar(0.25f), none, b, Value::scalar(2), zero});
  ASSERT_EQ(y.shape, Shape({2, 3, 3}));
  const std::vector<double> reals_a = reals_of(a, 0.25, 0);
  const std::vector<double> reals_b = reals_of(b, 2, 5);
  for (size_t i = 0; i < 18; ++i) {
    const double real = i % 9 < 6 ? reals_a[i / 9 * 6 + i % 9] : reals_b[i / 9 * 3 + i % 9 - 6];
    EXPECT_EQ(y.values<int8_t>()[i], byte_of<int8_t>(real, 0.5, 5)) << i;
  }
}

TEST(QLinear, Refuse) {
  const Value x = random_value<uint8_t>({2, 3}, 1);
  const Value scale = Value::scalar(1);
  const Value zero = Value::of<uint8_t>({}, {1});
  const auto add = [](std::vector<std::optional<Value>> inputs) {
    return code_of("com.microsoft.QLinearAdd", 1, {}, std::move(inputs));
  };
  EXPECT_EQ(add({x, scale, zero, x, scale, zero, scale, zero}), StatusCode::kOk);
  EXPECT_EQ(add({x, scale, std::nullopt, x, scale, std::nullopt, scale}), StatusCode::kOk);
  EXPECT_EQ(add({x, scale, zero, x, scale, zero}), StatusCode::kInvalidArgument);
  EXPECT_EQ(add({x, scale, zero, random_value<int8_t>({2, 3}, 1), scale, zero, scale, zero}),
            StatusCode::kUnsupportedType);
  EXPECT_EQ(add({x, scale, zero, random_value<uint8_t>({2}, 1), scale, zero, scale, zero}), StatusCode::kShape);
  EXPECT_EQ(add({x, scales_of(3), zero, x, scale, zero, scale, zero}), StatusCode::kShape);
  EXPECT_EQ(code_of("com.microsoft.QLinearGlobalAveragePool", 1, {int_of("channels_last", 1)},
                    {random_value<uint8_t>({1, 1, 2, 2}, 1), scale, zero, scale, zero}),
            StatusCode::kUnsupportedFeature);
  const auto concat = [&](std::vector<std::optional<Value>> inputs, int64_t axis) {
    return code_of("com.microsoft.QLinearConcat", 1, {int_of("axis", axis)}, std::move(inputs));
  };
  EXPECT_EQ(concat({scale, zero, x, scale, zero}, 1), StatusCode::kOk);
  EXPECT_EQ(concat({scale, zero, x, scale, zero}, 2), StatusCode::kShape);
  EXPECT_EQ(concat({scale, zero, x, scale}, 1), StatusCode::kInvalidArgument);
  EXPECT_EQ(concat({scale, zero}, 1), StatusCode::kInvalidArgument);
  EXPECT_EQ(concat({scale, zero, x, scale, zero, random_value<uint8_t>({3, 3}, 1), scale, zero}, 1),
            StatusCode::kShape);
}

TEST(IntegerProducts, GemmTurnsItsOperandsAndAddsSums) {
  const Value a = random_value<uint8_t>({3, 5}, 1);
  const Value b = random_value<int8_t>({5, 4}, 2);
  const Value turned_a = run_node("Transpose", 13, {}, {a});
  const Value turned_b = run_node("Transpose", 13, {}, {b});
  const Value a_zero = Value::of<uint8_t>({}, {100});
  const Value b_zeros = Value::of<int8_t>({4}, {1, -2, 3, 0});
  const Value c = Value::of<int32_t>({4}, {1000, -2000, 3000, 0});
  const Value a_scale = Value::scalar(0.5f);
  const Value b_scales = scales_of(4);
  const std::vector<int32_t> sums = run_node("MatMulInteger", 10, {}, {a, b, a_zero, b_zeros}).values<int32_t>();
  for (const int64_t turns : {0, 1, 2, 3}) {
    const std::vector<TestAttribute> attributes = {int_of("transA", turns & 1), int_of("transB", turns >> 1),
                                                   float_of("alpha", 2)};
    std::vector<std::optional<Value>> inputs = {
        (turns & 1) != 0 ? turned_a : a, a_scale, a_zero, turns >> 1 != 0 ? turned_b : b, b_scales, b_zeros, c};
    const std::vector<float> reals = run_node("com.microsoft.QGemm", 1, attributes, inputs).values<float>();
    inputs.emplace_back(Value::scalar(4));
    inputs.emplace_back(Value::of<int8_t>({}, {-7}));
    const std::vector<int8_t> bytes = run_node("com.microsoft.QGemm", 1, attributes, inputs).values<int8_t>();
    for (size_t i = 0; i < 12; ++i) {
      const double sum = sums[i] + c.values<int32_t>()[i % 4];
      const double real = 2 * sum * 0.5 * static_cast<double>(b_scales.values<float>()[i % 4]);
      EXPECT_EQ(reals[i], static_cast<float>(real)) << turns << " " << i;
      EXPECT_EQ(bytes[i], byte_of<int8_t>(real, 4, -7)) << turns << " " << i;
    }
  }
  EXPECT_EQ(code_of("com.microsoft.QGemm", 1, {}, {a, a_scale, a_zero, turned_b, b_scales, b_zeros}),
            StatusCode::kShape);
}

TEST(IntegerProducts, ToRealNumbers) {
  const Value a = random_value<int8_t>({2, 3, 5}, 1);
  const Value b = random_value<uint8_t>({5, 4}, 2);
  const Value b_zeros = random_value<uint8_t>({4}, 3);
  const std::vector<int32_t> sums = run_node("MatMulInteger", 10, {}, {a, b, std::nullopt, b_zeros}).values<int32_t>();
  const Value b_scales = scales_of(4);
  const Value bias = Value::random({4}, 4);
  const Value y = run_node("com.microsoft.MatMulIntegerToFloat", 1, {},
                           {a, b, Value::scalar(0.5f), b_scales, std::nullopt, b_zeros, bias});
  for (size_t i = 0; i < 24; ++i) {
    const float real = static_cast<float>(sums[i]) * 0.5f * b_scales.values<float>()[i % 4];
    EXPECT_EQ(y.values<float>()[i], real + bias.values<float>()[i % 4]) << i;
  }
}

TEST(IntegerProducts, RealNumbersAreQuantizedFirst) {
  const Value a = Value::random({3, 5}, 1);
  const Value b = random_value<int8_t>({5, 4}, 2);
  const Value b_scales = scales_of(4);
  const Value y = run_node("com.microsoft.DynamicQuantizeMatMul", 1, {}, {a, b, b_scales});
  DirectNode quantize("DynamicQuantizeLinear", 11, {}, {a}, 3);
  ASSERT_TRUE(quantize.infer().ok() && quantize.run().ok());
  const Value expected = run_node("com.microsoft.MatMulIntegerToFloat", 1, {},
                                  {quantize.output(0), b, quantize.output(1), b_scales, quantize.output(2)});
  EXPECT_EQ(y, expected);
}

}  // namespace
}  // namespace quench::rt
