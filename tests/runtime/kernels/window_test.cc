// Convolutions and pools against their definitions, element by element in double, over one to three spatial axes.

#include <cmath>
#include <limits>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

std::vector<int64_t> repeat(int64_t value, int count) {
  return std::vector<int64_t>(static_cast<size_t>(count), value);
}

struct Geometry {
  int spatial;
  int64_t size;
  int64_t kernel;
  int64_t stride;
  int64_t dilation;
  int64_t pad_begin;
  int64_t pad_end;

  int64_t extent() const { return (kernel - 1) * dilation + 1; }
  int64_t output() const { return (size + pad_begin + pad_end - extent()) / stride + 1; }
  std::vector<TestAttribute> attributes() const {
    std::vector<int64_t> pads = repeat(pad_begin, spatial);
    pads.insert(pads.end(), static_cast<size_t>(spatial), pad_end);
    return {ints_of("strides", repeat(stride, spatial)), ints_of("dilations", repeat(dilation, spatial)),
            ints_of("pads", pads), ints_of("kernel_shape", repeat(kernel, spatial))};
  }
};

std::vector<Geometry> geometries() {
  std::vector<Geometry> all;
  for (int spatial : {1, 2, 3}) {
    for (int64_t kernel : {1, 2, 3}) {
      for (int64_t stride : {1, 2, 3}) {
        for (int64_t dilation : {1, 2}) {
          for (const auto& [begin, end] : {std::pair{0, 0}, {1, 0}, {0, 2}, {2, 2}}) {
            if (spatial == 3 && (kernel == 1 || stride == 3)) continue;
            all.push_back({spatial, spatial == 3 ? 5 : 7, kernel, stride, dilation, begin, end});
          }
        }
      }
    }
  }
  return all;
}

Shape shape_of(int64_t batch, int64_t channels, int64_t size, int spatial) {
  Shape shape = {batch, channels};
  for (int i = 0; i < spatial; ++i) shape[shape.rank++] = size;
  return shape;
}

// Calls function(input coordinates or an empty list if in the padding, tap coordinates) for every tap at output `at`.
template <typename Function>
void for_each_tap(const Geometry& geometry, const std::vector<int64_t>& at, const Function& function) {
  const Shape taps = [&] {
    Shape shape;
    for (int i = 0; i < geometry.spatial; ++i) shape[shape.rank++] = geometry.kernel;
    return shape;
  }();
  for (int64_t index = 0; index < taps.elements(); ++index) {
    const std::vector<int64_t> tap = coordinates_of(taps, index);
    std::vector<int64_t> source;
    bool inside = true;
    for (size_t axis = 0; axis < tap.size(); ++axis) {
      source.push_back(at[axis + 2] * geometry.stride + tap[axis] * geometry.dilation - geometry.pad_begin);
      inside = inside && source[axis] >= 0 && source[axis] < geometry.size;
    }
    function(inside ? source : std::vector<int64_t>(), tap);
  }
}

TEST(Window, ConvIsItsDefinition) {
  uint32_t seed = 0;
  for (const Geometry& geometry : geometries()) {
    for (int64_t groups : {1, 2}) {
      const Value x = Value::random(shape_of(2, 4, geometry.size, geometry.spatial), ++seed);
      const Value w = Value::random(shape_of(6, 4 / groups, geometry.kernel, geometry.spatial), ++seed);
      const Value bias = Value::random({6}, ++seed);
      const Shape shape = shape_of(2, 6, geometry.output(), geometry.spatial);
      std::vector<TestAttribute> attributes = geometry.attributes();
      attributes.push_back(int_of("group", groups));
      const Value result = run_node("Conv", 11, attributes, {x, w, bias});
      ASSERT_TRUE(result.shape == shape);
      const std::vector<float> xs = x.values<float>();
      const std::vector<float> ws = w.values<float>();
      const std::vector<float> biases = bias.values<float>();
      std::vector<float> expected;
      for (int64_t i = 0; i < shape.elements(); ++i) {
        const auto at = coordinates_of(shape, i);
        double sum = biases[static_cast<size_t>(at[1])];
        for_each_tap(geometry, at, [&](std::vector<int64_t> source, std::vector<int64_t> tap) {
          if (source.empty()) return;
          for (int64_t c = 0; c < 4 / groups; ++c) {
            source.insert(source.begin(), {at[0], at[1] / (6 / groups) * (4 / groups) + c});
            tap.insert(tap.begin(), {at[1], c});
            sum += static_cast<double>(xs[broadcast_index(x.shape, source)]) * ws[broadcast_index(w.shape, tap)];
            source.erase(source.begin(), source.begin() + 2);
            tap.erase(tap.begin(), tap.begin() + 2);
          }
        });
        expected.push_back(static_cast<float>(sum));
      }
      expect_near(result, expected);
    }
  }
}

// x, y of the input plane by the four values around; zeros outside.
double sample(const std::vector<float>& plane, int64_t size, double y, double x) {
  double sum = 0;
  for (int64_t row = 0; row < size; ++row) {
    for (int64_t in_row = 0; in_row < size; ++in_row) {
      const double share = std::max(0.0, 1 - std::abs(y - static_cast<double>(row))) *
                           std::max(0.0, 1 - std::abs(x - static_cast<double>(in_row)));
      sum += share * plane[static_cast<size_t>(row * size + in_row)];
    }
  }
  return sum;
}

TEST(Window, DeformConvIsItsDefinition) {
  uint32_t seed = 50;
  for (const Geometry& geometry : geometries()) {
    for (const auto& [groups, offset_groups] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 4}}) {
      if (geometry.spatial != 2) continue;
      const int64_t out = geometry.output();
      const int64_t taps = geometry.kernel * geometry.kernel;
      const Value x = Value::random(shape_of(2, 4, geometry.size, 2), ++seed);
      const Value w = Value::random(shape_of(6, 4 / groups, geometry.kernel, 2), ++seed);
      const Value offset = Value::random({2, offset_groups * taps * 2, out, out}, ++seed);
      const Value bias = Value::random({6}, ++seed);
      const Value mask = Value::random({2, offset_groups * taps, out, out}, ++seed);
      std::vector<TestAttribute> attributes = geometry.attributes();
      attributes.push_back(int_of("group", groups));
      attributes.push_back(int_of("offset_group", offset_groups));
      const Value result = run_node("DeformConv", 19, attributes, {x, w, offset, bias, mask});
      const Shape shape = {2, 6, out, out};
      ASSERT_TRUE(result.shape == shape);
      const std::vector<float> xs = x.values<float>();
      const auto values_of = [](const Value& tensor) {
        return [values = tensor.values<float>(), shape = tensor.shape](const std::vector<int64_t>& at) {
          return static_cast<double>(values[broadcast_index(shape, at)]);
        };
      };
      const auto ws = values_of(w), offsets = values_of(offset), biases = values_of(bias), masks = values_of(mask);
      std::vector<float> expected;
      for (int64_t i = 0; i < shape.elements(); ++i) {
        const auto at = coordinates_of(shape, i);
        double sum = biases({at[1]});
        for (int64_t c = 0; c < 4 / groups; ++c) {
          const int64_t channel = at[1] / (6 / groups) * (4 / groups) + c;
          const auto plane = xs.begin() + (at[0] * 4 + channel) * geometry.size * geometry.size;
          for (int64_t tap = 0; tap < taps; ++tap) {
            const int64_t number = channel / (4 / offset_groups) * taps + tap;
            const int64_t row = tap / geometry.kernel, in_row = tap % geometry.kernel;
            const double y =
                static_cast<double>(at[2] * geometry.stride + row * geometry.dilation - geometry.pad_begin);
            const double left =
                static_cast<double>(at[3] * geometry.stride + in_row * geometry.dilation - geometry.pad_begin);
            sum += ws({at[1], c, row, in_row}) * masks({at[0], number, at[2], at[3]}) *
                   sample({plane, plane + geometry.size * geometry.size}, geometry.size,
                          y + offsets({at[0], 2 * number, at[2], at[3]}),
                          left + offsets({at[0], 2 * number + 1, at[2], at[3]}));
          }
        }
        expected.push_back(static_cast<float>(sum));
      }
      expect_near(result, expected);
    }
  }
}

// ONNX's official cases, by their numbers: those of libonnx-testdata may be older than the operator.
TEST(Window, DeformConvGivesWhatOnnxCasesSay) {
  const Value x = Value::of<float>({1, 1, 3, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8});
  const Value w = Value::of<float>({1, 1, 2, 2}, {1, 1, 1, 1});
  const auto ones = [](const Shape& shape, float value) {
    return std::vector<float>(static_cast<size_t>(shape.elements()), value);
  };
  std::vector<float> padded = ones({1, 8, 4, 4}, 0);
  padded[0] = 0.5f;
  padded[5 * 16 + 6] = -0.1f;
  expect_near(run_node("DeformConv", 19, {ints_of("kernel_shape", {2, 2}), ints_of("pads", {1, 1, 1, 1})},
                       {x, w, Value::of<float>({1, 8, 4, 4}, padded)}),
              {0, 1, 3, 2, 3, 8, 11.9f, 7, 9, 20, 24, 13, 6, 13, 15, 8});
  std::vector<float> offset = ones({1, 8, 2, 2}, 0);
  offset[0] = 0.5f;
  offset[5 * 4 + 1] = -0.1f;
  const Value offsets = Value::of<float>({1, 8, 2, 2}, offset);
  expect_near(run_node("DeformConv", 19, {}, {x, w, offsets}), {9.5f, 11.9f, 20, 24});
  std::vector<float> mask = ones({1, 4, 2, 2}, 1);
  mask[2 * 4 + 3] = 0.2f;
  expect_near(
      run_node("DeformConv", 22, {}, {x, w, offsets, Value::of<float>({1}, {1}), Value::of<float>({1, 4, 2, 2}, mask)}),
      {10.5f, 12.9f, 21, 19.4f});
  std::vector<float> grouped = ones({1, 16, 2, 2}, 0);
  grouped[0] = 0.5f;
  grouped[13 * 4 + 1] = -0.1f;
  const Value two = Value::of<float>({1, 2, 3, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2, 1, 0});
  expect_near(run_node("DeformConv", 19, {int_of("offset_group", 2)},
                       {two, Value::of<float>({1, 2, 2, 2}, ones({8}, 1)), Value::of<float>({1, 16, 2, 2}, grouped)}),
              {33.5f, 32.1f, 32, 32});
}

TEST(Window, DeformConvReadsNothingOutsideWhateverTheOffsets) {
  const Value x = Value::random({1, 1, 3, 3}, 1);
  const Value w = Value::of<float>({1, 1, 1, 1}, {1});
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float far : {-1e30f, 1e30f, kInfinity, -kInfinity, std::nanf(""), 3.0f, -3.0f}) {
    const Value offset = Value::of<float>({1, 2, 3, 3}, std::vector<float>(18, far));
    EXPECT_EQ(run_node("DeformConv", 19, {}, {x, w, offset}).values<float>(), std::vector<float>(9, 0)) << far;
  }
}

TEST(Window, DeformConvOfOtherShapesIsRefused) {
  const Value x = Value::random({1, 4, 5, 5}, 1);
  const Value w = Value::random({6, 4, 3, 3}, 2);
  const Value offset = Value::random({1, 18, 3, 3}, 3);
  const auto code = [&](std::vector<TestAttribute> attributes, std::vector<std::optional<Value>> inputs) {
    return code_of("DeformConv", 19, std::move(attributes), std::move(inputs));
  };
  EXPECT_EQ(code({}, {x, w, offset}), StatusCode::kOk);
  EXPECT_EQ(code_of("DeformConv", 18, {}, {x, w, offset}), StatusCode::kUnsupportedOperator);
  EXPECT_EQ(code({}, {x, w, Value::random({1, 18, 3, 4}, 3)}), StatusCode::kShape);
  EXPECT_EQ(code({}, {x, w, Value::random({1, 9, 3, 3}, 3)}), StatusCode::kShape);
  EXPECT_EQ(code({}, {x, w, Value::random({2, 18, 3, 3}, 3)}), StatusCode::kShape);
  EXPECT_EQ(code({}, {x, w, offset, Value::random({5}, 3)}), StatusCode::kShape);
  EXPECT_EQ(code({}, {x, w, offset, std::nullopt, offset}), StatusCode::kShape);
  EXPECT_EQ(code({}, {x, w, offset, std::nullopt, Value::random({1, 9, 3, 3}, 3)}), StatusCode::kOk);
  for (const int64_t groups : {int64_t{0}, int64_t{-1}, int64_t{3}, int64_t{8}, int64_t{1} << 62}) {
    EXPECT_EQ(code({int_of("offset_group", groups)}, {x, w, offset}), StatusCode::kShape) << groups;
  }
  EXPECT_NE(code({}, {x, w}), StatusCode::kOk);
  EXPECT_EQ(code({}, {Value::random({1, 4, 5}, 1), Value::random({6, 4, 3}, 2), Value::random({1, 3, 3}, 3)}),
            StatusCode::kShape);
}

double dot(const Value& a, const Value& b) {
  const std::vector<float> xs = a.values<float>();
  const std::vector<float> ys = b.values<float>();
  EXPECT_EQ(xs.size(), ys.size());
  double sum = 0;
  for (size_t i = 0; i < xs.size() && i < ys.size(); ++i) sum += static_cast<double>(xs[i]) * ys[i];
  return sum;
}

// <conv(x), y> = <x, conv_transpose(y)> for the same weights: one is the other's transpose.
TEST(Window, ConvTransposeIsTheTransposeOfConv) {
  uint32_t seed = 100;
  for (const Geometry& geometry : geometries()) {
    for (int64_t groups : {1, 2}) {
      const Value x = Value::random(shape_of(2, 4, geometry.size, geometry.spatial), ++seed);
      const Value w = Value::random(shape_of(6, 4 / groups, geometry.kernel, geometry.spatial), ++seed);
      const Value y = Value::random(shape_of(2, 6, geometry.output(), geometry.spatial), ++seed);
      std::vector<TestAttribute> attributes = geometry.attributes();
      attributes.push_back(int_of("group", groups));
      const Value forward = run_node("Conv", 11, attributes, {x, w});
      const int64_t left = geometry.size + geometry.pad_begin + geometry.pad_end - geometry.extent() -
                           (geometry.output() - 1) * geometry.stride;
      attributes.push_back(ints_of("output_padding", repeat(left, geometry.spatial)));
      const Value back = run_node("ConvTranspose", 11, attributes, {y, w});
      ASSERT_TRUE(back.shape == x.shape);
      EXPECT_NEAR(dot(forward, y), dot(x, back), 1e-3);
    }
  }
}

TEST(Window, AutoPadKeepsTheSize) {
  const Value w = Value::random({1, 1, 3, 3}, 1);
  for (int64_t size : {5, 6}) {
    for (int64_t stride : {1, 2, 3}) {
      const Value x = Value::random({1, 1, size, size}, 2);
      const std::vector<int64_t> strides = {stride, stride};
      const int64_t output = (size + stride - 1) / stride;
      const int64_t total = std::max<int64_t>(0, (output - 1) * stride + 3 - size);
      for (const bool upper : {true, false}) {
        const int64_t begin = upper ? total / 2 : total - total / 2;
        const Value padded =
            run_node("Conv", 11,
                     {string_of("auto_pad", upper ? "SAME_UPPER" : "SAME_LOWER"), ints_of("strides", strides)}, {x, w});
        const Value expected = run_node(
            "Conv", 11, {ints_of("pads", {begin, begin, total - begin, total - begin}), ints_of("strides", strides)},
            {x, w});
        EXPECT_TRUE(padded == expected);
        EXPECT_EQ(padded.shape[2], output);
      }
      const Value valid = run_node("Conv", 11, {string_of("auto_pad", "VALID"), ints_of("strides", strides)}, {x, w});
      EXPECT_TRUE(valid == run_node("Conv", 11, {ints_of("strides", strides)}, {x, w}));
    }
  }
}

TEST(Window, ConvTransposeReachesAWantedShape) {
  const Value x = Value::of<float>({1, 1, 2}, {1, 2});
  const Value w = Value::of<float>({1, 1, 3}, {1, 10, 100});
  // Full: 1 10 102 20 200; one element too many comes off in front unless SAME_UPPER.
  EXPECT_EQ(run_node("ConvTranspose", 11, {ints_of("strides", {2})}, {x, w}).values<float>(),
            (std::vector<float>{1, 10, 102, 20, 200}));
  EXPECT_EQ(
      run_node("ConvTranspose", 11, {ints_of("strides", {2}), ints_of("output_shape", {4})}, {x, w}).values<float>(),
      (std::vector<float>{10, 102, 20, 200}));
  EXPECT_EQ(
      run_node("ConvTranspose", 11,
               {ints_of("strides", {2}), ints_of("output_shape", {4}), string_of("auto_pad", "SAME_UPPER")}, {x, w})
          .values<float>(),
      (std::vector<float>{1, 10, 102, 20}));
  EXPECT_EQ(
      run_node("ConvTranspose", 11, {ints_of("strides", {2}), ints_of("output_shape", {7})}, {x, w}).values<float>(),
      (std::vector<float>{1, 10, 102, 20, 200, 0, 0}));
}

TEST(Window, PoolsAreTheirDefinitions) {
  uint32_t seed = 500;
  for (const Geometry& geometry : geometries()) {
    if (geometry.pad_begin >= geometry.kernel || geometry.pad_end >= geometry.kernel) continue;
    const Value x = Value::random(shape_of(2, 3, geometry.size, geometry.spatial), ++seed);
    const std::vector<float> xs = x.values<float>();
    const Shape shape = shape_of(2, 3, geometry.output(), geometry.spatial);
    std::vector<float> largest;
    std::vector<float> average;
    std::vector<float> padded_average;
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < shape.elements(); ++i) {
      const auto at = coordinates_of(shape, i);
      float best = -std::numeric_limits<float>::infinity();
      size_t best_index = 0;
      double sum = 0;
      int count = 0;
      int taps = 0;
      for_each_tap(geometry, at, [&](std::vector<int64_t> source, const std::vector<int64_t>&) {
        ++taps;
        if (source.empty()) return;
        source.insert(source.begin(), {at[0], at[1]});
        const size_t index = broadcast_index(x.shape, source);
        const float value = xs[index];
        if (value > best) best_index = index;
        best = std::max(best, value);
        sum += value;
        ++count;
      });
      largest.push_back(best);
      indices.push_back(static_cast<int64_t>(best_index));
      average.push_back(static_cast<float>(sum / count));
      padded_average.push_back(static_cast<float>(sum / taps));
    }
    DirectNode max_pool("MaxPool", 12, geometry.attributes(), {x}, 2);
    ASSERT_TRUE(max_pool.infer().ok());
    ASSERT_TRUE(max_pool.run().ok());
    expect_near(max_pool.output(0), largest);
    EXPECT_EQ(max_pool.output(1).values<int64_t>(), indices);
    expect_near(run_node("AveragePool", 19, geometry.attributes(), {x}), average);
    std::vector<TestAttribute> attributes = geometry.attributes();
    attributes.push_back(int_of("count_include_pad", 1));
    expect_near(run_node("AveragePool", 19, attributes, {x}), padded_average);
  }
}

TEST(Window, CeilModeLetsTheLastWindowHangOver) {
  const Value x = Value::of<float>({1, 1, 6}, {1, 2, 3, 4, 5, 6});
  const std::vector<TestAttribute> attributes = {ints_of("kernel_shape", {3}), ints_of("strides", {2}),
                                                 int_of("ceil_mode", 1)};
  EXPECT_EQ(run_node("MaxPool", 12, attributes, {x}).values<float>(), (std::vector<float>{3, 5, 6}));
  EXPECT_EQ(run_node("AveragePool", 12, attributes, {x}).values<float>(), (std::vector<float>{2, 4, 5.5f}));
  // A window that would begin behind the input and its padding is none.
  const Value y = Value::of<float>({1, 1, 4}, {1, 2, 3, 4});
  EXPECT_EQ(
      run_node("MaxPool", 12,
               {ints_of("kernel_shape", {1}), ints_of("strides", {3}), int_of("ceil_mode", 1), ints_of("pads", {0, 0})},
               {y})
          .values<float>(),
      (std::vector<float>{1, 4}));
  EXPECT_EQ(
      run_node("MaxPool", 12,
               {ints_of("kernel_shape", {2}), ints_of("strides", {3}), int_of("ceil_mode", 1), ints_of("pads", {0, 1})},
               {Value::of<float>({1, 1, 3}, {1, 2, 3})})
          .values<float>(),
      (std::vector<float>{2}));
}

// A padded floor-mode convolution may well end in a window over nothing but padding.
TEST(Window, ConvKeepsAWindowInThePadding) {
  const Value x = Value::of<float>({1, 1, 2}, {1, 2});
  const Value w = Value::of<float>({1, 1, 1}, {3});
  EXPECT_EQ(run_node("Conv", 11, {ints_of("pads", {0, 2})}, {x, w}).values<float>(), (std::vector<float>{3, 6, 0, 0}));
}

TEST(Window, GeometryThatDoesNotFitIsRefused) {
  const Value x = Value::random({1, 4, 5, 5}, 1);
  const Value w = Value::random({4, 4, 3, 3}, 2);
  const auto conv = [&](std::vector<TestAttribute> attributes) {
    return code_of("Conv", 11, std::move(attributes), {x, w});
  };
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(conv({}), StatusCode::kOk);
  EXPECT_EQ(conv({int_of("group", 0)}), StatusCode::kShape);
  EXPECT_EQ(conv({int_of("group", -4)}), StatusCode::kShape);
  EXPECT_EQ(conv({int_of("group", 3)}), StatusCode::kShape);
  EXPECT_EQ(conv({int_of("group", 2)}), StatusCode::kShape);
  EXPECT_EQ(conv({ints_of("strides", {0, 1})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(conv({ints_of("strides", {1})}), StatusCode::kShape);
  EXPECT_EQ(conv({ints_of("strides", {kHuge, kHuge})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(conv({ints_of("pads", {-1, 0, 0, 0})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(conv({ints_of("pads", {kHuge, 0, 0, 0})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(conv({ints_of("pads", {0, 0})}), StatusCode::kShape);
  EXPECT_EQ(conv({ints_of("dilations", {3, 1})}), StatusCode::kShape);
  EXPECT_EQ(conv({ints_of("kernel_shape", {5, 3})}), StatusCode::kShape);
  EXPECT_EQ(conv({string_of("auto_pad", "SOMETIMES")}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("Conv", 11, {}, {x, w, Value::random({3}, 3)}), StatusCode::kShape);
  EXPECT_EQ(code_of("Conv", 11, {}, {x, Value::random({4, 4, 3}, 3)}), StatusCode::kShape);
  EXPECT_EQ(code_of("Conv", 11, {}, {Value::random({4, 4}, 3), Value::random({4, 4}, 3)}), StatusCode::kShape);
  EXPECT_EQ(code_of("MaxPool", 11, {}, {x}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("MaxPool", 11, {ints_of("kernel_shape", {6, 6})}, {x}), StatusCode::kShape);
  EXPECT_EQ(code_of("ConvTranspose", 11, {ints_of("output_shape", {-3, 4})}, {x, w}), StatusCode::kShape);
  EXPECT_EQ(code_of("ConvTranspose", 11, {ints_of("pads", {3, 3, 4, 4})}, {x, w}), StatusCode::kShape);
  // A kernel as large as its padding allows finishes at once: only taps inside the input count.
  const int64_t big = int64_t{1} << 29;
  EXPECT_EQ(code_of("AveragePool", 11, {ints_of("kernel_shape", {big, big}), ints_of("pads", {big, big, 0, 0})}, {x}),
            StatusCode::kOk);
}

TEST(Window, LpPoolIsTheNormOfItsWindow) {
  const Value x = Value::of<float>({1, 1, 4}, {3, -4, 12, 0});
  const auto pooled = [&](int64_t p, std::vector<int64_t> pads) {
    return run_node("LpPool", 11, {ints_of("kernel_shape", {2}), ints_of("pads", std::move(pads)), int_of("p", p)},
                    {x});
  };
  expect_near(pooled(1, {0, 0}), {7, 16, 12});
  expect_near(pooled(2, {1, 0}), {3, 5, std::sqrt(160.0f), 12});
  expect_near(pooled(3, {0, 1}), {std::cbrt(91.0f), std::cbrt(1792.0f), 12, 0});
  expect_near(run_node("GlobalLpPool", 2, {}, {x}), {13});
  expect_near(run_node("GlobalLpPool", 2, {int_of("p", 1)}, {x}), {19});
  expect_near(run_node("GlobalLpPool", 1, {float_of("p", 1)}, {x}), {19});
  EXPECT_EQ(code_of("GlobalLpPool", 2, {int_of("p", 0)}, {x}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("LpPool", 11, {ints_of("kernel_shape", {2}), int_of("p", -1)}, {x}), StatusCode::kInvalidArgument);
}

TEST(Window, MaxUnpoolPutsBackWhatMaxPoolTook) {
  const Value x = Value::random({2, 3, 6, 4}, 1);
  const std::vector<TestAttribute> window = {ints_of("kernel_shape", {3, 2}), ints_of("strides", {3, 2})};
  DirectNode pool("MaxPool", 12, window, {x}, 2);
  ASSERT_TRUE(pool.infer().ok());
  ASSERT_TRUE(pool.run().ok());
  std::vector<float> expected(static_cast<size_t>(x.shape.elements()));
  for (size_t i = 0; i < 24; ++i) {
    expected[static_cast<size_t>(pool.output(1).values<int64_t>()[i])] = pool.output(0).values<float>()[i];
  }
  const Value y = run_node("MaxUnpool", 11, window, {pool.output(0), pool.output(1)});
  EXPECT_TRUE(y.shape == x.shape);
  EXPECT_EQ(y.values<float>(), expected);
  const Value larger =
      run_node("MaxUnpool", 11, window, {pool.output(0), pool.output(1), Value::indices({2, 3, 7, 5})});
  for (int64_t i = 0; i < larger.shape.elements(); ++i) {
    const std::vector<int64_t> at = coordinates_of(larger.shape, i);
    const bool is_new = at[2] == 6 || at[3] == 4;
    EXPECT_EQ(larger.values<float>()[static_cast<size_t>(i)], is_new ? 0 : expected[broadcast_index(x.shape, at)]);
  }
  const Value one = Value::random({1, 1, 1}, 1);
  const auto code = [&](int64_t place, std::optional<Value> shape, std::vector<int64_t> pads = {0, 0}) {
    return code_of("MaxUnpool", 11, {ints_of("kernel_shape", {2}), ints_of("pads", std::move(pads))},
                   {one, Value::of<int64_t>({1, 1, 1}, {place}), shape});
  };
  EXPECT_EQ(code(1, std::nullopt), StatusCode::kOk);
  EXPECT_EQ(code(2, std::nullopt), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(-1, std::nullopt), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(0, Value::indices({1, 1, 1})), StatusCode::kShape);
  EXPECT_EQ(code(0, Value::indices({1, 2, 2})), StatusCode::kShape);
  EXPECT_EQ(code(0, std::nullopt, {2, 2}), StatusCode::kShape);
}

// Each column's values are added where a Conv's window would read them.
TEST(Window, Col2ImAddsWindowsUp) {
  const std::vector<TestAttribute> attributes = {ints_of("strides", {2, 1}), ints_of("dilations", {1, 2}),
                                                 ints_of("pads", {1, 0, 0, 2})};
  // Of 5 x 6 elements, padded to 6 x 8; windows of 2 x 3, dilated 2 x 5: 3 x 4 of them.
  const Value x = Value::random({2, 3 * 6, 12}, 1);
  const std::vector<float> values = x.values<float>();
  std::vector<float> expected(static_cast<size_t>(2 * 3 * 30));
  for (int64_t i = 0; i < x.shape.elements(); ++i) {
    const int64_t window = i % 12;
    const int64_t tap = i / 12 % 6;
    const int64_t row = window / 4 * 2 + tap / 3 - 1;
    const int64_t column = window % 4 + tap % 3 * 2;
    if (row < 0 || row >= 5 || column >= 6) continue;
    expected[static_cast<size_t>(i / 72 * 30 + row * 6 + column)] += values[static_cast<size_t>(i)];
  }
  const Value y = run_node("Col2Im", 18, attributes, {x, Value::indices({5, 6}), Value::indices({2, 3})});
  EXPECT_TRUE((y.shape == Shape{2, 3, 5, 6}));
  expect_near(y, expected);
  const auto code = [&](std::vector<int64_t> image, std::vector<int64_t> block) {
    return code_of("Col2Im", 18, attributes, {x, Value::indices(image), Value::indices(block)});
  };
  EXPECT_EQ(code({5, 7}, {2, 3}), StatusCode::kShape);
  EXPECT_EQ(code({5, 6}, {2, 4}), StatusCode::kShape);
  EXPECT_EQ(code({5}, {2, 3}), StatusCode::kShape);
  EXPECT_EQ(code({5, 0}, {2, 3}), StatusCode::kShape);
  EXPECT_EQ(code({5, INT64_MAX}, {2, 3}), StatusCode::kShape);
  EXPECT_EQ(code({5, 6}, {0, 3}), StatusCode::kShape);
  EXPECT_EQ(code_of("Col2Im", 18, attributes, {x, Value::indices({5, 6}), Value::indices({2, 3})}, 0b001),
            StatusCode::kNotReady);
}

}  // namespace
}  // namespace quench::rt
