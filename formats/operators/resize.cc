#include "formats/operators/resize.h"

#include <cmath>
#include <cstddef>

namespace quench::operators {
namespace {

constexpr std::string_view kModes[] = {"nearest", "linear", "cubic"};
constexpr std::string_view kTransformations[] = {"half_pixel", "pytorch_half_pixel",   "align_corners",
                                                 "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
constexpr std::string_view kRoundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};

Status unsupported(std::string_view attribute, std::string_view value) {
  return Status::error(StatusCode::kUnsupportedFeature, "attribute '%.*s' is '%.*s'",
                       static_cast<int>(attribute.size()), attribute.data(),
                       static_cast<int>(value.size() < 40 ? value.size() : 40), value.data());
}

// `names[i]` stands for the enumerator of number i; the first is the default.
template <typename Enum, size_t N>
Status read_enum(const AttributeView& attributes, std::string_view attribute, const std::string_view (&names)[N],
                 Enum* result) {
  const std::string_view name = attributes.get_string(attribute, names[0]);
  for (size_t i = 0; i < N; ++i) {
    if (name != names[i]) continue;
    *result = static_cast<Enum>(i);
    return Status();
  }
  return unsupported(attribute, name);
}

}  // namespace

Status read_resampling(const AttributeView& attributes, int opset, Resampling* resampling) {
  *resampling = {};
  if (attributes.get_int("antialias", 0) != 0) {
    return Status::error(StatusCode::kUnsupportedFeature, "attribute 'antialias' is 1");
  }
  const std::string_view policy = attributes.get_string("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch") return unsupported("keep_aspect_ratio_policy", policy);
  if (attributes.get_string("mode", "nearest") == "bilinear") {
    resampling->mode = ResizeMode::kLinear;  // of Upsample before version 7
  } else {
    QUENCH_RETURN_IF_ERROR(read_enum(attributes, "mode", kModes, &resampling->mode));
  }
  if (opset < 11) return Status();
  QUENCH_RETURN_IF_ERROR(
      read_enum(attributes, "coordinate_transformation_mode", kTransformations, &resampling->transformation));
  QUENCH_RETURN_IF_ERROR(read_enum(attributes, "nearest_mode", kRoundings, &resampling->rounding));
  resampling->excludes_outside = attributes.get_int("exclude_outside", 0) != 0;
  resampling->cubic_a = attributes.get_float("cubic_coeff_a", -0.75f);
  resampling->outside_value = attributes.get_float("extrapolation_value", 0);
  return Status();
}

float original_coordinate(Transformation transformation, const ResizeAxis& axis, int64_t at) {
  const auto x = static_cast<float>(at);
  const auto last = static_cast<float>(axis.in_size - 1);
  switch (transformation) {
    case Transformation::kPytorchHalfPixel:
      return axis.out_size > 1 ? (x + 0.5f) / axis.scale - 0.5f : 0;
    case Transformation::kAlignCorners: {
      // The length is not rounded, as in ONNX's reference: it matters where the scale does not give a whole number.
      const float length = axis.scale * static_cast<float>(axis.in_size);
      return axis.out_size > 1 ? x * last / (length - 1) : 0;
    }
    case Transformation::kAsymmetric:
      return x / axis.scale;
    case Transformation::kTfHalfPixelForNearest:
      return (x + 0.5f) / axis.scale;
    case Transformation::kTfCropAndResize:
      return axis.out_size > 1 ? axis.crop_begin * last + x * (axis.crop_end - axis.crop_begin) * last /
                                                              static_cast<float>(axis.out_size - 1)
                               : 0.5f * (axis.crop_begin + axis.crop_end) * last;
    case Transformation::kHalfPixel:
      break;
  }
  return (x + 0.5f) / axis.scale - 0.5f;
}

float round_coordinate(Rounding rounding, float x, float scale) {
  switch (rounding) {
    case Rounding::kPreferFloor:
      return x == std::floor(x) + 0.5f ? std::floor(x) : std::round(x);
    case Rounding::kPreferCeil:
      return std::round(x);
    case Rounding::kFloor:
      return std::floor(x);
    case Rounding::kCeil:
      return std::ceil(x);
    case Rounding::kSimple:
      break;
  }
  return scale < 1 ? std::ceil(x) : std::floor(x);
}

}  // namespace quench::operators
