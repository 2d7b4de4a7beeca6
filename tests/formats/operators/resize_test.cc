#include "formats/operators/resize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include "tests/formats/operators/attribute_map.h"

namespace quench::operators {
namespace {

std::optional<Resampling> read(const AttributeMap& attributes, int opset = 13) {
  Resampling resampling;
  if (!read_resampling(attributes.view(), opset, &resampling).ok()) return std::nullopt;
  return resampling;
}

Coordinate at(Transformation transformation, const ResizeAxis& axis, int64_t output) {
  return AxisSampling(transformation, axis).at(output);
}

// Eight outputs over five inputs, scale 1.6, by ONNX's formulas.
TEST(Resize, CoordinatesAreOnnxs) {
  const ResizeAxis axis{5, 8, 1.6f, 0.25f, 0.75f};
  const auto value = [&](Transformation transformation) { return at(transformation, axis, 3).value(); };
  EXPECT_FLOAT_EQ(value(Transformation::kHalfPixel), 3.5f / 1.6f - 0.5f);
  EXPECT_FLOAT_EQ(value(Transformation::kPytorchHalfPixel), 3.5f / 1.6f - 0.5f);
  EXPECT_FLOAT_EQ(value(Transformation::kAlignCorners), 3.0f * 4 / 7);
  EXPECT_FLOAT_EQ(value(Transformation::kAsymmetric), 3 / 1.6f);
  EXPECT_FLOAT_EQ(value(Transformation::kTfHalfPixelForNearest), 3.5f / 1.6f);
  EXPECT_FLOAT_EQ(value(Transformation::kTfCropAndResize), 0.25f * 4 + 3 * 0.5f * 4 / 7);
}

TEST(Resize, ASingleOutputHasNoLength) {
  const ResizeAxis axis{5, 1, 0.2f, 0.25f, 0.75f};
  EXPECT_EQ(at(Transformation::kPytorchHalfPixel, axis, 0).value(), 0);
  EXPECT_EQ(at(Transformation::kAlignCorners, axis, 0).value(), 0);
  EXPECT_EQ(at(Transformation::kTfCropAndResize, axis, 0).value(), 2);
  EXPECT_EQ(at(Transformation::kHalfPixel, axis, 0).value(), 2);
}

// The length in ONNX's formula is that of the scale, not rounded: 4 * 0.6 = 2.4.
TEST(Resize, CornersOfALengthThatIsNotWhole) {
  EXPECT_FLOAT_EQ(at(Transformation::kAlignCorners, {4, 2, 0.6f}, 1).value(), 3 / 1.4f);
}

// What rounding makes of top / bottom, by comparing whole numbers only.
int64_t rounded(Rounding rounding, int64_t top, int64_t bottom) {
  int64_t below = -1000;
  while ((below + 1) * bottom <= top) ++below;
  const int64_t twice_rest = 2 * (top - below * bottom);
  switch (rounding) {
    case Rounding::kFloor:
      return below;
    case Rounding::kCeil:
      return twice_rest == 0 ? below : below + 1;
    case Rounding::kPreferFloor:
      return twice_rest > bottom ? below + 1 : below;
    default:
      return twice_rest >= bottom ? below + 1 : below;
  }
}

TEST(Resize, TiesAndWholeCoordinatesAreExactForEverySize) {
  constexpr Rounding kRoundings[] = {Rounding::kPreferFloor, Rounding::kPreferCeil, Rounding::kFloor, Rounding::kCeil};
  for (int64_t in = 1; in <= 60; ++in) {
    for (int64_t out = 1; out <= 60; ++out) {
      const ResizeAxis axis{in, out, static_cast<float>(out) / static_cast<float>(in)};
      for (int64_t x = 0; x < out; ++x) {
        for (const Rounding rounding : kRoundings) {
          const auto expect = [&](Transformation transformation, int64_t top, int64_t bottom) {
            ASSERT_EQ(nearest(rounding, at(transformation, axis, x), axis.scale), rounded(rounding, top, bottom))
                << in << " -> " << out << ", output " << x << ", transformation " << static_cast<int>(transformation)
                << ", rounding " << static_cast<int>(rounding);
          };
          expect(Transformation::kHalfPixel, (2 * x + 1) * in - out, 2 * out);
          expect(Transformation::kPytorchHalfPixel, out > 1 ? (2 * x + 1) * in - out : 0, 2 * out);
          expect(Transformation::kAlignCorners, out > 1 ? x * (in - 1) : 0, std::max<int64_t>(out - 1, 1));
          expect(Transformation::kAsymmetric, x * in, out);
          expect(Transformation::kTfHalfPixelForNearest, (2 * x + 1) * in, 2 * out);
          expect(Transformation::kTfCropAndResize, out > 1 ? 2 * x * (in - 1) : in - 1,
                 2 * std::max<int64_t>(out - 1, 1));
        }
      }
    }
  }
}

// A scale is rounded to float32, what it stands for is not: 0.6 is 3 / 5, and output 3 lies at 5.
TEST(Resize, AScaleIsTheRatioThatItStandsFor) {
  for (const auto& [scale, top, bottom] : {std::tuple(0.6f, 3, 5), std::tuple(2.6f, 13, 5), std::tuple(1 / 3.0f, 1, 3),
                                           std::tuple(1.1f, 11, 10), std::tuple(29 / 11.0f, 29, 11)}) {
    for (int64_t in = 1; in <= 40; ++in) {
      const ResizeAxis axis{in, in * top / bottom, scale};
      for (int64_t x = 0; x < axis.out_size; ++x) {
        EXPECT_EQ(nearest(Rounding::kFloor, at(Transformation::kAsymmetric, axis, x), scale), x * bottom / top)
            << scale << ", " << in << ", " << x;
      }
    }
  }
}

TEST(Resize, ExtremeScalesAndSizesAreClampedNotUndefined) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float scale : {1e-38f, 1e-10f, 1e10f, 3e38f, kInfinity, std::nanf("")}) {
    for (const int64_t size : {int64_t{1}, int64_t{1} << 40}) {
      for (int transformation = 0; transformation < 6; ++transformation) {
        const ResizeAxis axis{size, size, scale, -kInfinity, kInfinity};
        for (const int64_t x : {int64_t{0}, size - 1}) {
          const Coordinate found = at(static_cast<Transformation>(transformation), axis, x);
          EXPECT_GE(found.fraction, 0);
          EXPECT_LT(found.fraction, 1);
        }
      }
    }
  }
}

TEST(Resize, HalvesAreRoundedAsAsked) {
  const Coordinate half{2, 0.5f, false, 0}, above{2, 0.75f, false, 1}, below{2, 0.25f, false, -1};
  EXPECT_EQ(nearest(Rounding::kPreferFloor, half, 2), 2);
  EXPECT_EQ(nearest(Rounding::kPreferFloor, above, 2), 3);
  EXPECT_EQ(nearest(Rounding::kPreferCeil, half, 2), 3);
  EXPECT_EQ(nearest(Rounding::kFloor, above, 2), 2);
  EXPECT_EQ(nearest(Rounding::kCeil, below, 2), 3);
  EXPECT_EQ(nearest(Rounding::kSimple, below, 2), 2);
  EXPECT_EQ(nearest(Rounding::kSimple, below, 0.5f), 3);
}

TEST(Resize, AttributesCountFromVersion11) {
  const AttributeMap attributes{.floats = {{"extrapolation_value", 7.0f}},
                                .texts = {{"mode", "linear"}, {"coordinate_transformation_mode", "align_corners"}}};
  EXPECT_EQ(read(attributes)->mode, ResizeMode::kLinear);
  EXPECT_EQ(read(attributes)->transformation, Transformation::kAlignCorners);
  EXPECT_EQ(read(attributes)->rounding, Rounding::kPreferFloor);
  EXPECT_EQ(read(attributes)->outside_value, 7);
  EXPECT_EQ(read(attributes, 10)->transformation, Transformation::kAsymmetric);
  EXPECT_EQ(read(attributes, 10)->rounding, Rounding::kSimple);
  EXPECT_EQ(read({.texts = {{"mode", "bilinear"}}}, 1)->mode, ResizeMode::kLinear);
}

TEST(Resize, RefusesWhatItDoesNotKnow) {
  EXPECT_FALSE(read({.integers = {{"antialias", 1}}}));
  EXPECT_FALSE(read({.texts = {{"mode", "lanczos"}}}));
  EXPECT_FALSE(read({.texts = {{"nearest_mode", "up"}}}));
  EXPECT_FALSE(read({.texts = {{"keep_aspect_ratio_policy", "not_larger"}}}));
}

}  // namespace
}  // namespace quench::operators
