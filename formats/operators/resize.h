// Where Resize and Upsample take an output from, as runtime and training both have it.
//
// Coordinates are computed in float32, as ONNX Runtime does: in double, halves would round differently.
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

// The input coordinate of output coordinate `at`, as a real number.
float original_coordinate(Transformation transformation, const ResizeAxis& axis, int64_t at);

// The whole coordinate that the nearest mode takes for a real one.
float round_coordinate(Rounding rounding, float x, float scale);

}  // namespace quench::operators
