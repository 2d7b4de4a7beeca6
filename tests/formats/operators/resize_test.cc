#include "formats/operators/resize.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/formats/operators/attribute_map.h"

namespace quench::operators {
namespace {

std::optional<Resampling> read(const AttributeMap& attributes, int opset = 13) {
  Resampling resampling;
  if (!read_resampling(attributes.view(), opset, &resampling).ok()) return std::nullopt;
  return resampling;
}

// Eight outputs over five inputs, scale 1.6, by ONNX's formulas.
TEST(Resize, CoordinatesAreOnnxs) {
  const ResizeAxis axis{5, 8, 1.6f, 0.25f, 0.75f};
  const auto at = [&](Transformation transformation) { return original_coordinate(transformation, axis, 3); };
  EXPECT_FLOAT_EQ(at(Transformation::kHalfPixel), 3.5f / 1.6f - 0.5f);
  EXPECT_FLOAT_EQ(at(Transformation::kPytorchHalfPixel), 3.5f / 1.6f - 0.5f);
  EXPECT_FLOAT_EQ(at(Transformation::kAlignCorners), 3.0f * 4 / 7);
  EXPECT_FLOAT_EQ(at(Transformation::kAsymmetric), 3 / 1.6f);
  EXPECT_FLOAT_EQ(at(Transformation::kTfHalfPixelForNearest), 3.5f / 1.6f);
  EXPECT_FLOAT_EQ(at(Transformation::kTfCropAndResize), 0.25f * 4 + 3 * 0.5f * 4 / 7);
}

TEST(Resize, ASingleOutputHasNoLength) {
  const ResizeAxis axis{5, 1, 0.2f, 0.25f, 0.75f};
  EXPECT_EQ(original_coordinate(Transformation::kPytorchHalfPixel, axis, 0), 0);
  EXPECT_EQ(original_coordinate(Transformation::kAlignCorners, axis, 0), 0);
  EXPECT_EQ(original_coordinate(Transformation::kTfCropAndResize, axis, 0), 2);
  EXPECT_EQ(original_coordinate(Transformation::kHalfPixel, axis, 0), 2);
}

TEST(Resize, HalvesAreRoundedAsAsked) {
  EXPECT_EQ(round_coordinate(Rounding::kPreferFloor, 2.5f, 2), 2);
  EXPECT_EQ(round_coordinate(Rounding::kPreferFloor, 2.75f, 2), 3);
  EXPECT_EQ(round_coordinate(Rounding::kPreferCeil, 2.5f, 2), 3);
  EXPECT_EQ(round_coordinate(Rounding::kFloor, 2.75f, 2), 2);
  EXPECT_EQ(round_coordinate(Rounding::kCeil, 2.25f, 2), 3);
  EXPECT_EQ(round_coordinate(Rounding::kSimple, 2.25f, 2), 2);
  EXPECT_EQ(round_coordinate(Rounding::kSimple, 2.25f, 0.5f), 3);
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
