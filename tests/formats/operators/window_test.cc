// Windows against a naive search for the places where they fit.

#include "formats/operators/window.h"

#include <gtest/gtest.h>

#include "tests/formats/operators/attribute_map.h"

namespace quench::operators {
namespace {

struct Geometry {
  int64_t input, kernel, stride, dilation, begin, end;
};

template <typename Visit>
void for_each_geometry(Visit visit) {
  for (int64_t input = 1; input <= 9; ++input) {
    for (int64_t kernel = 1; kernel <= 4; ++kernel) {
      for (int64_t stride = 1; stride <= 3; ++stride) {
        for (int64_t dilation = 1; dilation <= 2; ++dilation) {
          for (int64_t begin = 0; begin <= 2; ++begin) {
            for (int64_t end = 0; end <= 2; ++end) visit(Geometry{input, kernel, stride, dilation, begin, end});
          }
        }
      }
    }
  }
}

AttributeMap attributes_of(const Geometry& g, const std::string& auto_pad = "NOTSET") {
  AttributeMap attributes;
  attributes.lists = {{"kernel_shape", {g.kernel}}, {"strides", {g.stride}}, {"dilations", {g.dilation}}};
  if (auto_pad == "NOTSET") attributes.lists["pads"] = {g.begin, g.end};
  attributes.texts = {{"auto_pad", auto_pad}};
  return attributes;
}

std::string text(const Geometry& g) {
  std::string line;
  for (const int64_t value : {g.input, g.kernel, g.stride, g.dilation, g.begin, g.end}) {
    line += std::to_string(value) + " ";
  }
  return line;
}

Status place(const AttributeMap& attributes, int64_t input, bool ceil_mode, Window* window) {
  QUENCH_RETURN_IF_ERROR(read_window(attributes.view(), 1, nullptr, window));
  window->set_input(&input, 1);
  return place_windows(ceil_mode, window);
}

// Begins of windows one stride apart from the first padded place on, as long as `fits` says so.
template <typename Fits>
int64_t count_places(const Geometry& g, Fits fits) {
  int64_t count = 0;
  while (fits(count * g.stride - g.begin)) ++count;
  return count;
}

TEST(Window, HasAsManyOutputsAsWindowsFit) {
  for_each_geometry([](const Geometry& g) {
    const int64_t last = (g.kernel - 1) * g.dilation;  // tap, from the first on
    const int64_t fitting = count_places(g, [&](int64_t at) { return at + last < g.input + g.end; });
    Window window;
    const Status status = place(attributes_of(g), g.input, false, &window);
    ASSERT_EQ(status.ok(), fitting > 0) << text(g);
    if (!status.ok()) return;
    EXPECT_EQ(window.output[2], fitting) << text(g);
    EXPECT_EQ(window.output[0] * window.output[1], 1);
    EXPECT_EQ(window.coordinate(2, 0, 0), -g.begin);
    EXPECT_EQ(window.coordinate(2, fitting - 1, g.kernel - 1), (fitting - 1) * g.stride - g.begin + last);
  });
}

TEST(Window, CeilModeAddsAWindowForWhatIsLeftOver) {
  for_each_geometry([](const Geometry& g) {
    const int64_t last = (g.kernel - 1) * g.dilation;
    Window window;
    if (!place(attributes_of(g), g.input, true, &window).ok()) return;
    // A window more than fit, where values are left over behind the last one. If the last then begins behind the
    // input, it goes: the one, as in ONNX and torch, even if the one before does, too.
    const int64_t fitting = count_places(g, [&](int64_t at) { return at + last < g.input + g.end; });
    const bool is_left_over = (fitting - 1) * g.stride - g.begin + last < g.input + g.end - 1;
    int64_t expected = fitting + (is_left_over ? 1 : 0);
    if (expected > 1 && (expected - 1) * g.stride - g.begin >= g.input) --expected;
    EXPECT_EQ(window.output[2], expected) << text(g);
  });
}

TEST(Window, SameCoversTheInputOncePerStride) {
  for_each_geometry([](const Geometry& g) {
    if (g.begin != 0 || g.end != 0) return;
    const int64_t output = (g.input + g.stride - 1) / g.stride;
    int64_t total = 0;  // the least padding with which that many windows fit
    while ((output - 1) * g.stride + (g.kernel - 1) * g.dilation + 1 > g.input + total) ++total;
    for (const std::string name : {"SAME_UPPER", "SAME_LOWER"}) {
      Window window;
      ASSERT_TRUE(place(attributes_of(g, name), g.input, false, &window).ok()) << text(g);
      EXPECT_EQ(window.output[2], output) << name << text(g);
      EXPECT_EQ(window.pad_begin[2] + window.pad_end[2], total) << name << text(g);
      EXPECT_EQ(
          name == "SAME_UPPER" ? window.pad_end[2] - window.pad_begin[2] : window.pad_begin[2] - window.pad_end[2],
          total % 2)
          << name << text(g);
    }
    Window valid;
    Window plain;
    const bool fits = place(attributes_of(g, "VALID"), g.input, false, &valid).ok();
    ASSERT_EQ(place(attributes_of(g), g.input, false, &plain).ok(), fits);
    if (fits) {
      EXPECT_EQ(valid.output[2], plain.output[2]) << text(g);
    }
  });
}

// Windows of ConvTranspose lie on the output: input i reaches i * stride + tap * dilation - begin.
TEST(Window, TransposedOutputsReachFromTheFirstToTheLastTap) {
  for_each_geometry([](const Geometry& g) {
    for (int64_t added = 0; added < g.stride; ++added) {
      AttributeMap attributes = attributes_of(g);
      attributes.lists["output_padding"] = {added};
      Window window;
      ASSERT_TRUE(read_window(attributes.view(), 1, nullptr, &window).ok());
      window.set_input(&g.input, 1);
      const int64_t reached = window.coordinate(2, g.input - 1, g.kernel - 1) + 1;  // one behind the last place
      const Status status = place_transposed_windows(attributes.view(), 1, &window);
      ASSERT_EQ(status.ok(), reached - g.end + added >= 1) << text(g);
      if (status.ok()) {
        EXPECT_EQ(window.output[2], reached - g.end + added) << text(g);
      }
    }
  });
}

TEST(Window, TransposedOutputShapeDecidesThePads) {
  const Geometry g = {4, 3, 2, 1, 0, 0};
  for (const std::vector<int64_t>& wanted : {std::vector<int64_t>{8}, {1, 5, 8}}) {
    AttributeMap attributes = attributes_of(g, "SAME_UPPER");
    attributes.lists["output_shape"] = wanted;
    Window window;
    ASSERT_TRUE(read_window(attributes.view(), 1, nullptr, &window).ok());
    window.set_input(&g.input, 1);
    ASSERT_TRUE(place_transposed_windows(attributes.view(), 1, &window).ok());
    EXPECT_EQ(window.output[2], 8);
    EXPECT_EQ(window.pad_begin[2], 0);  // 9 are reached; the odd element goes to the end
    EXPECT_EQ(window.pad_end[2], 1);
  }
}

TEST(Window, FewerAxesAreTheLastOnes) {
  AttributeMap attributes;
  attributes.lists = {{"kernel_shape", {2, 3}}, {"strides", {1, 2}}, {"pads", {4, 5, 6, 7}}};
  Window window;
  ASSERT_TRUE(read_window(attributes.view(), 2, nullptr, &window).ok());
  EXPECT_EQ(window.kernel[0], 1);
  EXPECT_EQ(window.kernel[1], 2);
  EXPECT_EQ(window.kernel[2], 3);
  EXPECT_EQ(window.stride[2], 2);
  EXPECT_EQ(window.pad_begin[1], 4);
  EXPECT_EQ(window.pad_end[2], 7);
  EXPECT_EQ(window.kernel_elements(), 6);
}

TEST(Window, RefusesWhatOnnxDoesNotHave) {
  const auto code = [](const AttributeMap& attributes, int spatial = 1) {
    Window window;
    return read_window(attributes.view(), spatial, nullptr, &window).code();
  };
  const AttributeMap good{.lists = {{"kernel_shape", {3}}}};
  EXPECT_EQ(code(good), StatusCode::kOk);
  EXPECT_EQ(code(AttributeMap()), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(good, 0), StatusCode::kShape);
  EXPECT_EQ(code(good, 4), StatusCode::kShape);
  for (const auto& [name, values] : std::map<std::string, std::vector<int64_t>>{
           {"strides", {1, 1}}, {"dilations", {1, 1}}, {"pads", {1}}, {"kernel_shape", {1, 1, 1, 1}}}) {
    AttributeMap bad = good;
    bad.lists[name] = values;
    EXPECT_EQ(code(bad), StatusCode::kShape) << name;
  }
  for (const char* name : {"strides", "dilations", "pads", "kernel_shape"}) {
    AttributeMap bad = good;
    bad.lists[name] = std::vector<int64_t>(std::string(name) == "pads" ? 2 : 1, -1);
    EXPECT_EQ(code(bad), StatusCode::kInvalidArgument) << name;
  }
  AttributeMap bad = good;
  bad.texts["auto_pad"] = "SAME";
  EXPECT_EQ(code(bad), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quench::operators
