// Where Resize and Upsample take an output from, as runtime and training both have it.
//
// Coordinates are exact: a scale is a ratio of whole numbers, so that halves and whole coordinates are found whatever
// the sizes are.
//
//     const AxisSampling sampling(how.transformation, axis);
//     const Coordinate x = sampling.at(3);                   // where output 3 lies in the input
//     input[nearest(how.rounding, x, axis.scale)]            // not yet within the input's bounds
#pragma once

#include <cstdint>

#include "formats/base/status.h"
#include "formats/operators/attributes.h"

namespace quench::operators {

enum class ResizeMode : uint8_t { kNearest, kLinear, kCubic };

enum class Transformation : uint8_t {
  kHalfPixel,
  kPytorchHalfPixel,
  kAlignCorners,
  kAsymmetric,
  kTfHalfPixelForNearest,
  kTfCropAndResize,
};

enum class Rounding : uint8_t {
  kPreferFloor,
  kPreferCeil,
  kFloor,
  kCeil,
  kSimple,  // before version 11: down when enlarging, up when shrinking
};

struct Resampling {
  ResizeMode mode = ResizeMode::kNearest;
  Transformation transformation = Transformation::kAsymmetric;
  Rounding rounding = Rounding::kSimple;
  bool excludes_outside = false;
  float cubic_a = -0.75f;
  float outside_value = 0;  // of kTfCropAndResize
};

// kUnsupportedFeature for `antialias`, for a `keep_aspect_ratio_policy` other than "stretch", and for a name that no mode
// has.
Status read_resampling(const AttributeView& attributes, int opset, Resampling* resampling);

struct ResizeAxis {
  int64_t in_size = 0;
  int64_t out_size = 0;
  float scale = 1;  // as given, or out_size / in_size
  float crop_begin = 0;
  float crop_end = 1;
};

// A real number: the whole one at or below it, and the rest.
struct Coordinate {
  int64_t whole = 0;
  float fraction = 0;  // in [0, 1)
  // Exactly, where `fraction` is rounded: whether it is 0, and how it compares with 1/2 (-1, 0 or 1).
  bool is_whole = true;
  int8_t half = -1;

  float value() const { return static_cast<float>(whole) + fraction; }
};

// The input coordinates of an axis's outputs.
class AxisSampling {
 public:
  AxisSampling(Transformation transformation, const ResizeAxis& axis);

  // Of output `at`, in [0, out_size).
  Coordinate at(int64_t at) const;

 private:
  Transformation transformation_;
  ResizeAxis axis_;
  // The scale: the simplest ratio that rounds to axis.scale, which is out_size / in_size where that does. 0 / 0 where
  // there is none within the integers' range.
  int64_t numerator_ = 0;
  int64_t denominator_ = 0;
};

// The whole coordinate that the nearest mode takes for a real one.
int64_t nearest(Rounding rounding, const Coordinate& x, float scale);

}  // namespace quench::operators
