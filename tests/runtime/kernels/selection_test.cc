// TopK, NonZero, Compress, Unique and OneHot against their definitions.
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Selection, TopKSortsEveryLineOfEveryAxis) {
  const Value x = Value::random({3, 5, 4}, 1);
  const std::vector<float> values = x.values<float>();
  for (int axis = -3; axis < 3; ++axis) {
    for (const bool largest : {false, true}) {
      for (int64_t k = 0; k <= 3; ++k) {
        DirectNode node("TopK", 11, {int_of("axis", axis), int_of("largest", largest)}, {x, Value::indices({k})}, 2);
        ASSERT_TRUE(node.infer().ok());
        ASSERT_TRUE(node.run().ok());
        const int positive = axis < 0 ? axis + 3 : axis;
        Shape shape = x.shape;
        shape[positive] = k;
        ASSERT_TRUE(node.output(0).shape == shape && node.output(1).shape == shape);
        for (int64_t i = 0; i < shape.elements(); ++i) {
          std::vector<int64_t> at = coordinates_of(shape, i);
          const auto axis_at = static_cast<size_t>(positive);
          const auto place = static_cast<size_t>(at[axis_at]);
          // All values of the line, sorted by value and then by place.
          std::vector<std::pair<float, int64_t>> line;
          for (int64_t place_in_line = 0; place_in_line < x.shape[positive]; ++place_in_line) {
            at[axis_at] = place_in_line;
            const float value = values[broadcast_index(x.shape, at)];
            line.emplace_back(largest ? -value : value, place_in_line);
          }
          std::sort(line.begin(), line.end());
          const auto element = static_cast<size_t>(i);
          ASSERT_EQ(node.output(1).values<int64_t>()[element], line[place].second);
          ASSERT_EQ(node.output(0).values<float>()[element], largest ? -line[place].first : line[place].first);
        }
      }
    }
  }
}

TEST(Selection, TopKOfAllTypesAndBeforeItsKWasAnInput) {
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(run_node("TopK", 11, {}, {Value::of<uint64_t>({3}, {1, kMost, 2}), Value::indices({2})}).values<uint64_t>(),
            (std::vector<uint64_t>{kMost, 2}));
  EXPECT_EQ(run_node("TopK", 11, {}, {Value::of<int8_t>({3}, {-1, -128, 2}), Value::indices({2})}).values<int8_t>(),
            (std::vector<int8_t>{2, -1}));
  const Value x = Value::of<float>({5}, {-0.0f, kNan, 0, -INFINITY, INFINITY});
  DirectNode node("TopK", 1, {int_of("k", 5)}, {x}, 2);
  ASSERT_TRUE(node.infer().ok());
  ASSERT_TRUE(node.run().ok());
  EXPECT_EQ(node.output(1).values<int64_t>(), (std::vector<int64_t>{1, 4, 0, 2, 3}));
  EXPECT_EQ(code_of("TopK", 11, {}, {x, Value::indices({6})}), StatusCode::kShape);
  EXPECT_EQ(code_of("TopK", 11, {}, {x, Value::indices({-1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("TopK", 11, {}, {x, Value::indices({1, 1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("TopK", 1, {}, {x}), StatusCode::kShape);
  EXPECT_EQ(code_of("TopK", 11, {}, {x, Value::indices({1})}, 0b01), StatusCode::kNotReady);
}

TEST(Selection, NonZeroGivesCoordinates) {
  const Value x = Value::of<float>({2, 3}, {0, 1, kNan, -0.0f, 0, -2});
  const Value found = run_node("NonZero", 13, {}, {x});
  EXPECT_TRUE((found.shape == Shape{2, 3}));
  EXPECT_EQ(found.values<int64_t>(), (std::vector<int64_t>{0, 0, 1, 1, 2, 2}));
  EXPECT_TRUE((run_node("NonZero", 13, {}, {Value::truths({3}, {0, 0, 0})}).shape == Shape{1, 0}));
  EXPECT_EQ(code_of("NonZero", 13, {}, {x}, 0), StatusCode::kNotReady);
}

TEST(Selection, CompressKeepsWhatIsTrue) {
  const Value x = Value::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const Value flags = Value::truths({3}, {1, 0, 7});
  EXPECT_EQ(run_node("Compress", 11, {int_of("axis", 1)}, {x, flags}).values<float>(),
            (std::vector<float>{1, 3, 4, 6}));
  EXPECT_EQ(run_node("Compress", 11, {int_of("axis", -2)}, {x, Value::truths({1}, {1})}).values<float>(),
            (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(run_node("Compress", 11, {}, {x, flags}).values<float>(), (std::vector<float>{1, 3}));
  EXPECT_EQ(code_of("Compress", 11, {int_of("axis", 0)}, {x, flags}), StatusCode::kShape);
  EXPECT_EQ(code_of("Compress", 11, {int_of("axis", 2)}, {x, flags}), StatusCode::kShape);
  EXPECT_EQ(code_of("Compress", 11, {}, {x, flags}, 0b01), StatusCode::kNotReady);
}

// By the definition: all boxes in the order of their scores, each against all that were chosen before it.
std::vector<int64_t> suppressed(const Value& boxes, const Value& scores, size_t most, double limit, double least) {
  const auto images = static_cast<size_t>(scores.shape[0]);
  const auto classes = static_cast<size_t>(scores.shape[1]);
  const auto count = static_cast<size_t>(scores.shape[2]);
  const std::vector<float> corners = boxes.values<float>(), of_all = scores.values<float>();
  std::vector<int64_t> found;
  for (size_t line = 0; line < images * classes; ++line) {
    const float* score = of_all.data() + line * count;
    const float* box = corners.data() + line / classes * count * 4;
    std::vector<size_t> order(count), chosen;
    for (size_t i = 0; i < count; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return score[a] > score[b]; });
    for (const size_t i : order) {
      if (chosen.size() == most || !(static_cast<double>(score[i]) > least)) break;
      bool fits = true;
      for (const size_t k : chosen) {
        const float *a = box + 4 * i, *b = box + 4 * k;
        const double height = std::min(a[2], b[2]) - std::max(a[0], b[0]);
        const double width = std::min(a[3], b[3]) - std::max(a[1], b[1]);
        const double common = std::max(height, 0.0) * std::max(width, 0.0);
        const double all = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - static_cast<float>(common);
        fits = fits && common / all <= limit;
      }
      if (!fits) continue;
      chosen.push_back(i);
      for (const size_t number : {line / classes, line % classes, i}) found.push_back(static_cast<int64_t>(number));
    }
  }
  return found;
}

TEST(Selection, NonMaxSuppressionKeepsTheBestOfWhatOverlaps) {
  Value boxes = Value::random({2, 40, 4}, 3);
  const Value scores = Value::random({2, 3, 40}, 4);
  std::vector<float> corners = boxes.values<float>(), centers = corners, turned = corners;
  for (size_t i = 0; i < corners.size(); i += 4) {
    for (size_t axis = 0; axis < 2; ++axis) {
      corners[i + 2 + axis] = corners[i + axis] + 0.25f + std::abs(corners[i + 2 + axis]);
      centers[i + axis] = (corners[i + axis] + corners[i + 2 + axis]) / 2;
      centers[i + 2 + axis] = corners[i + 2 + axis] - corners[i + axis];
      turned[i + axis] = corners[i + 2 + axis];
      turned[i + 2 + axis] = corners[i + axis];
    }
  }
  boxes = Value::of<float>({2, 40, 4}, corners);
  const auto scalar = [](float x) { return Value::of<float>({1}, {x}); };
  for (const int64_t most : {1, 5, 100}) {
    for (const float limit : {0.1f, 0.3f, 0.7f}) {
      const auto expected = suppressed(boxes, scores, static_cast<size_t>(most), static_cast<double>(limit), 0.0);
      for (const bool has_centers : {false, true}) {
        const Value given = Value::of<float>({2, 40, 4}, has_centers ? centers : most == 5 ? turned : corners);
        const Value found = run_node("NonMaxSuppression", 11, {int_of("center_point_box", has_centers)},
                                     {given, scores, Value::indices({most}), scalar(limit), scalar(0)});
        EXPECT_TRUE((found.shape == Shape{static_cast<int64_t>(expected.size() / 3), 3}));
        EXPECT_EQ(found.values<int64_t>(), expected) << most << " " << limit << " " << has_centers;
      }
    }
  }
  EXPECT_TRUE((run_node("NonMaxSuppression", 11, {}, {boxes, scores}).shape == Shape{0, 3}));
  EXPECT_TRUE((run_node("NonMaxSuppression", 11, {}, {boxes, scores, Value::indices({-1})}).shape == Shape{0, 3}));
  EXPECT_EQ(code_of("NonMaxSuppression", 11, {}, {boxes, scores, Value::indices({1, 2})}), StatusCode::kShape);
  EXPECT_EQ(code_of("NonMaxSuppression", 11, {}, {boxes, Value::random({2, 3, 41}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("NonMaxSuppression", 11, {}, {boxes, scores, Value::indices({1})}, 0b110), StatusCode::kNotReady);
  const Value many = Value::of<float>({1, (1 << 17) + 1, 4}, std::vector<float>(((1 << 17) + 1) * 4));
  EXPECT_EQ(code_of("NonMaxSuppression", 11, {}, {many, Value::random({1, 1, (1 << 17) + 1}, 1)}), StatusCode::kLimit);
}

TEST(Selection, UniqueElementsAndSlices) {
  const Value x = Value::of<float>({6}, {2, 1, 1, 3, 4, 3});
  for (const int sorted : {0, 1}) {
    DirectNode node("Unique", 11, {int_of("sorted", sorted)}, {x}, 4);
    ASSERT_TRUE(node.infer().ok());
    ASSERT_TRUE(node.run().ok());
    EXPECT_EQ(node.output(0).values<float>(),
              sorted != 0 ? std::vector<float>({1, 2, 3, 4}) : std::vector<float>({2, 1, 3, 4}));
    EXPECT_EQ(node.output(1).values<int64_t>(),
              sorted != 0 ? std::vector<int64_t>({1, 0, 3, 4}) : std::vector<int64_t>({0, 1, 3, 4}));
    EXPECT_EQ(node.output(2).values<int64_t>(),
              sorted != 0 ? std::vector<int64_t>({1, 0, 0, 2, 3, 2}) : std::vector<int64_t>({0, 1, 1, 2, 3, 2}));
    EXPECT_EQ(node.output(3).values<int64_t>(),
              sorted != 0 ? std::vector<int64_t>({2, 1, 2, 1}) : std::vector<int64_t>({1, 2, 2, 1}));
  }
  const Value columns = Value::of<float>({2, 3}, {5, 1, 5, 0, 2, 0});
  const Value found = run_node("Unique", 11, {int_of("axis", 1)}, {columns});
  EXPECT_TRUE((found.shape == Shape{2, 2}));
  EXPECT_EQ(found.values<float>(), (std::vector<float>{1, 5, 2, 0}));
  EXPECT_EQ(code_of("Unique", 11, {}, {x}, 0), StatusCode::kNotReady);
}

TEST(Selection, OneHotPutsItsAxisAnywhere) {
  const Value indices = Value::of<int64_t>({2, 2}, {0, 3, -1, 4});
  const std::vector<int64_t> numbers = indices.values<int64_t>();
  for (const int opset : {9, 11}) {
    for (int axis = -3; axis < 3; ++axis) {
      const int at_axis = axis < 0 ? axis + 3 : axis;
      const Value y = run_node("OneHot", opset, {int_of("axis", axis)},
                               {indices, Value::scalar(4), Value::of<float>({2}, {-1, 5})});
      Shape shape = {2, 2, 2};
      shape[at_axis] = 4;
      ASSERT_TRUE(y.shape == shape);
      for (int64_t i = 0; i < shape.elements(); ++i) {
        std::vector<int64_t> at = coordinates_of(shape, i);
        const int64_t depth = at[static_cast<size_t>(at_axis)];
        at.erase(at.begin() + at_axis);
        int64_t index = numbers[broadcast_index(indices.shape, at)];
        if (index < 0 && opset >= 11) index += 4;
        ASSERT_EQ(y.values<float>()[static_cast<size_t>(i)], index == depth ? 5 : -1) << axis;
      }
    }
  }
  const Value values = Value::of<float>({2}, {0, 1});
  EXPECT_EQ(code_of("OneHot", 11, {}, {indices, Value::scalar(-1), values}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("OneHot", 11, {}, {indices, Value::scalar(kNan), values}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("OneHot", 11, {}, {indices, Value::random({2}, 1), values}), StatusCode::kShape);
  EXPECT_EQ(code_of("OneHot", 11, {}, {indices, Value::scalar(4), Value::scalar(4)}), StatusCode::kShape);
  EXPECT_EQ(code_of("OneHot", 11, {int_of("axis", 3)}, {indices, Value::scalar(4), values}), StatusCode::kShape);
  EXPECT_EQ(code_of("OneHot", 11, {}, {indices, Value::scalar(4), values}, 0b101), StatusCode::kNotReady);
}

}  // namespace
}  // namespace quench::rt
