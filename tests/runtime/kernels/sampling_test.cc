// GridSample and RoiAlign: of images that are linear in their coordinates, and at elements, the values are known.
#include <cmath>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

// 2 * row - column + 10, of a 5 x 6 image.
Value slope() {
  std::vector<float> values;
  for (int row = 0; row < 5; ++row) {
    for (int column = 0; column < 6; ++column) values.push_back(static_cast<float>(2 * row - column + 10));
  }
  return Value::of<float>({1, 1, 5, 6}, values);
}

// Where element `at` of `size` lies in a grid.
float grid_place(double at, double size, bool align) {
  return static_cast<float>(align ? 2 * at / (size - 1) - 1 : (2 * at + 1) / size - 1);
}

float sampled(const Value& image, double row, double column, bool align, const char* mode, const char* padding) {
  const Value grid = Value::of<float>({1, 1, 1, 2}, {grid_place(column, 6, align), grid_place(row, 5, align)});
  return run_node("GridSample", 16,
                  {int_of("align_corners", align), string_of("mode", mode), string_of("padding_mode", padding)},
                  {image, grid})
      .values<float>()[0];
}

TEST(GridSample, AffineImagesStayAffine) {
  for (const bool align : {false, true}) {
    for (double row = 0; row <= 4; row += 0.4) {
      for (double column = 0; column <= 5; column += 0.7) {
        EXPECT_NEAR(sampled(slope(), row, column, align, "bilinear", "zeros"), 2 * row - column + 10, 1e-4);
        // Cubic interpolation keeps to a slope where all of its 4 x 4 elements are inside.
        if (row >= 1 && row < 3 && column >= 1 && column < 4) {
          EXPECT_NEAR(sampled(slope(), row, column, align, "bicubic", "zeros"), 2 * row - column + 10, 0.2);
        }
        EXPECT_NEAR(sampled(slope(), row, column, align, "nearest", "zeros"),
                    2 * std::nearbyint(row) - std::nearbyint(column) + 10, 1e-4);
      }
    }
  }
}

TEST(GridSample, EveryModeGivesTheElementsThemselves) {
  const Value image = Value::random({1, 1, 5, 6}, 1);
  for (const char* mode : {"nearest", "bilinear", "bicubic"}) {
    for (int row = 0; row < 5; ++row) {
      for (int column = 0; column < 6; ++column) {
        EXPECT_NEAR(sampled(image, row, column, false, mode, "reflection"),
                    image.values<float>()[static_cast<size_t>(row * 6 + column)], 1e-4);
      }
    }
  }
}

TEST(GridSample, OutsideIsZeroOrTheBorderOrMirrored) {
  const double inside = 2 * 1 - 2 + 10;
  for (const char* mode : {"nearest", "bilinear", "bicubic"}) {
    EXPECT_NEAR(sampled(slope(), 1, 2, true, mode, "zeros"), inside, 1e-4);
    EXPECT_EQ(sampled(slope(), 1, 12, true, mode, "zeros"), 0);
    EXPECT_EQ(sampled(slope(), NAN, 1, true, mode, "zeros"), 0);
    EXPECT_EQ(sampled(slope(), 1, INFINITY, false, mode, "zeros"), 0);
    // Beyond the last column, and before the first row.
    EXPECT_NEAR(sampled(slope(), 1, 12, true, mode, "border"), 2 * 1 - 5 + 10, 1e-4);
    EXPECT_NEAR(sampled(slope(), -3, 2, true, mode, "border"), 2 * 0 - 2 + 10, 1e-4);
    // With aligned corners the image is mirrored at its elements, otherwise at their edges.
    EXPECT_NEAR(sampled(slope(), 1, 5 + 3, true, mode, "reflection"), 2 * 1 - 2 + 10, 1e-4);
    EXPECT_NEAR(sampled(slope(), -1, 2, true, mode, "reflection"), 2 * 1 - 2 + 10, 1e-4);
    EXPECT_NEAR(sampled(slope(), 1 + 16, 2, true, mode, "reflection"), inside, 1e-3);
    EXPECT_NEAR(sampled(slope(), 1, 5 + 3, false, mode, "reflection"), 2 * 1 - 3 + 10, 1e-4);
    EXPECT_TRUE(std::isfinite(sampled(slope(), 1e30, -INFINITY, false, mode, "reflection")));
  }
  EXPECT_NEAR(sampled(slope(), 0, -0.5, true, "bilinear", "zeros"), 5, 1e-4);
}

TEST(GridSample, ThreeAxesAndOne) {
  // 4 * z + 2 * y + x of a 2 x 2 x 2 volume; the grid names x first.
  const Value volume = Value::of<float>({1, 1, 2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  const Value place = Value::of<float>({1, 1, 1, 1, 3}, {-1, 0.5f, 1});
  EXPECT_NEAR(run_node("GridSample", 20, {int_of("align_corners", 1)}, {volume, place}).values<float>()[0],
              0 + 2 * 0.75 + 4, 1e-5);
  const Value line = Value::of<float>({1, 2, 3}, {0, 10, 20, 1, 2, 3});
  const Value y =
      run_node("GridSample", 20, {int_of("align_corners", 1)}, {line, Value::of<float>({1, 2, 1}, {-0.5f, 0})});
  expect_near(y, {5, 10, 1.5f, 2});
}

TEST(GridSample, WhatDoesNotFitIsRefused) {
  const Value grid = Value::random({1, 2, 2, 2}, 1);
  EXPECT_EQ(code_of("GridSample", 16, {}, {Value::random({2, 1, 5, 6}, 1), grid}), StatusCode::kShape);
  EXPECT_EQ(code_of("GridSample", 16, {}, {Value::random({1, 1, 5, 0}, 1), grid}), StatusCode::kShape);
  EXPECT_EQ(code_of("GridSample", 16, {}, {Value::random({1, 1, 5}, 1), grid}), StatusCode::kShape);
  EXPECT_EQ(code_of("GridSample", 16, {}, {slope(), Value::random({1, 2, 2, 3}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("GridSample", 16, {string_of("mode", "best")}, {slope(), grid}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("GridSample", 16, {string_of("padding_mode", "ones")}, {slope(), grid}),
            StatusCode::kInvalidArgument);
}

// Of the image above, whose average over a region is its value in the middle.
TEST(RoiAlign, AveragesOfASlopeAreItsMiddle) {
  for (const int64_t sampling : {0, 1, 2, 3}) {
    const Value rois = Value::of<float>({2, 4}, {2, 2, 8, 6, 4, 2, 6, 4});
    const Value y =
        run_node("RoiAlign", 16,
                 {int_of("output_height", 2), int_of("output_width", 2), float_of("spatial_scale", 0.5f),
                  int_of("sampling_ratio", sampling), string_of("coordinate_transformation_mode", "output_half_pixel")},
                 {slope(), rois, Value::indices({0, 0})});
    ASSERT_TRUE((y.shape == Shape{2, 1, 2, 2}));
    std::vector<float> expected;
    for (int roi = 0; roi < 2; ++roi) {
      const double left = roi == 0 ? 1 : 2;
      const double width = roi == 0 ? 3 : 1;
      const double height = roi == 0 ? 2 : 1;
      for (double i = 0.25; i < 1; i += 0.5) {
        for (double k = 0.25; k < 1; k += 0.5) {
          expected.push_back(static_cast<float>(2 * (1 + height * i) - (left + width * k) + 10));
        }
      }
    }
    expect_near(y, expected);
  }
}

TEST(RoiAlign, HalfPixelsAndMaxima) {
  const Value roi = Value::of<float>({1, 4}, {1, 1, 3, 3});
  // One sample in the middle of the region, half an element before it.
  expect_near(run_node("RoiAlign", 16, {int_of("sampling_ratio", 1)}, {slope(), roi, Value::indices({0})}),
              {2 * 1.5f - 1.5f + 10});
  const Value ones = Value::of<float>({1, 1, 4, 4}, std::vector<float>(16, 1));
  // Four samples, each between four elements that weigh a quarter.
  expect_near(run_node("RoiAlign", 16, {string_of("mode", "max"), int_of("sampling_ratio", 1)},
                       {ones, Value::of<float>({1, 4}, {1, 1, 3, 3}), Value::indices({0})}),
              {0.25f});
}

TEST(RoiAlign, RegionsOutsideAreRefused) {
  const auto code = [](std::vector<float> roi, int64_t batch, std::vector<TestAttribute> attributes = {}) {
    return code_of("RoiAlign", 16, std::move(attributes),
                   {slope(), Value::of<float>({1, 4}, roi), Value::indices({batch})});
  };
  EXPECT_EQ(code({0, 0, 3, 3}, 0), StatusCode::kOk);
  EXPECT_EQ(code({3, 3, 0, 0}, 0), StatusCode::kOk);
  EXPECT_EQ(code({0, 0, 3, 3}, 1), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({0, 0, 3, 3}, -1), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({0, 0, 1e30f, 3}, 0), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({0, NAN, 1, 3}, 0), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({0, 0, 3, 3}, 0, {int_of("output_height", 0)}), StatusCode::kShape);
  EXPECT_EQ(code({0, 0, 3, 3}, 0, {int_of("sampling_ratio", INT64_MAX)}), StatusCode::kLimit);
  EXPECT_EQ(code({0, 0, 3, 3}, 0, {string_of("mode", "sum")}), StatusCode::kInvalidArgument);
}

// Of the slope above the largest value of a part is that of its last row and its first column.
TEST(MaxRoiPool, TakesTheLargestOfEachPart) {
  const std::vector<TestAttribute> attributes = {ints_of("pooled_shape", {2, 2}), float_of("spatial_scale", 0.5f)};
  // Columns 1 to 4 and rows 0 to 3; a single element; one that lies outside.
  const Value rois = Value::of<float>({3, 5}, {0, 2, 0.4f, 8, 6, 0, 4, 4, 4, 4, 0, 20, 20, 22, 22});
  const Value y = run_node("MaxRoiPool", 1, attributes, {slope(), rois});
  ASSERT_TRUE((y.shape == Shape{3, 1, 2, 2}));
  const auto at = [](int row, int column) { return static_cast<float>(2 * row - column + 10); };
  EXPECT_EQ(y.values<float>(), (std::vector<float>{at(1, 1), at(1, 3), at(3, 1), at(3, 3), at(2, 2), at(2, 2), at(2, 2),
                                                   at(2, 2), 0, 0, 0, 0}));
  const auto code = [&](const std::vector<float>& roi) {
    return code_of("MaxRoiPool", 1, attributes, {slope(), Value::of<float>({1, 5}, roi)});
  };
  EXPECT_EQ(code({0, 3, 3, 1, 1}), StatusCode::kOk);
  EXPECT_EQ(code({1, 0, 0, 1, 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({-1, 0, 0, 1, 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({0, 0, NAN, 1, 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({0, 0, 0, 1e30f, 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("MaxRoiPool", 1, {ints_of("pooled_shape", {2, 0})}, {slope(), rois}), StatusCode::kShape);
  EXPECT_EQ(code_of("MaxRoiPool", 1, {}, {slope(), rois}), StatusCode::kShape);
}

}  // namespace
}  // namespace quench::rt
