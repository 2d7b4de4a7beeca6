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

namespace {

// numerator / denominator, the latter above 0.
Coordinate coordinate_of(int64_t numerator, int64_t denominator) {
  Coordinate x;
  x.whole = numerator / denominator;
  int64_t rest = numerator % denominator;
  if (rest < 0) {
    rest += denominator;
    --x.whole;
  }
  x.fraction = static_cast<float>(static_cast<double>(rest) / static_cast<double>(denominator));
  if (x.fraction >= 1) x.fraction = 0x1.fffffep-1f;  // rounded up to 1
  x.is_whole = rest == 0;
  const int64_t other = denominator - rest;
  x.half = static_cast<int8_t>(rest < other ? -1 : rest == other ? 0 : 1);
  return x;
}

// Where a ratio of integers is not to be had. Quotients that are whole or halves are exact in double as long as what is
// divided is.
Coordinate coordinate_of(double value) {
  constexpr double kMost = 1e15;  // beyond any tensor, and NaN
  if (!(value > -kMost && value < kMost)) value = value > 0 ? kMost : -kMost;
  Coordinate x;
  const double whole = std::floor(value);
  const double rest = value - whole;
  x.whole = static_cast<int64_t>(whole);
  x.fraction = rest < 0x1.fffffep-1 ? static_cast<float>(rest) : 0x1.fffffep-1f;
  x.is_whole = rest == 0;
  x.half = static_cast<int8_t>(rest < 0.5 ? -1 : rest == 0.5 ? 0 : 1);
  return x;
}

// Products and sums that fit, or none.
class Exact {
 public:
  Exact(int64_t value) : value_(value) {}  // NOLINT(google-explicit-constructor)

  friend Exact operator*(Exact a, Exact b) {
    Exact result(0);
    result.fits_ = !__builtin_mul_overflow(a.value_, b.value_, &result.value_) && a.fits_ && b.fits_;
    return result;
  }
  friend Exact operator+(Exact a, Exact b) {
    Exact result(0);
    result.fits_ = !__builtin_add_overflow(a.value_, b.value_, &result.value_) && a.fits_ && b.fits_;
    return result;
  }
  friend Exact operator-(Exact a, Exact b) {
    Exact result(0);
    result.fits_ = !__builtin_sub_overflow(a.value_, b.value_, &result.value_) && a.fits_ && b.fits_;
    return result;
  }
  bool fits() const { return fits_; }
  int64_t value() const { return value_; }

 private:
  int64_t value_;
  bool fits_ = true;
};

// The first convergent of the scale's continued fraction that rounds to it.
bool find_ratio(float scale, int64_t* numerator, int64_t* denominator) {
  constexpr double kMost = 1 << 30;
  double rest = static_cast<double>(scale);
  double p = 1, p_before = 0;  // of the convergents
  double q = 0, q_before = 1;
  if (!(rest > 0)) return false;
  for (int term = 0; term < 40; ++term) {
    const double whole = std::floor(rest);
    const double next_p = whole * p + p_before;
    const double next_q = whole * q + q_before;
    if (!(next_p < kMost && next_q < kMost)) return false;
    p_before = p;
    q_before = q;
    p = next_p;
    q = next_q;
    if (p > 0 && static_cast<float>(p / q) == scale) {
      *numerator = static_cast<int64_t>(p);
      *denominator = static_cast<int64_t>(q);
      return true;
    }
    if (rest == whole) return false;
    rest = 1 / (rest - whole);
  }
  return false;
}

// The same by the formulas as they are, for scales and sizes that are no ratio of small integers.
double real_coordinate(Transformation transformation, const ResizeAxis& axis, int64_t at) {
  const auto x = static_cast<double>(at);
  const auto scale = static_cast<double>(axis.scale);
  const auto last = static_cast<double>(axis.in_size - 1);
  switch (transformation) {
    case Transformation::kAlignCorners:
      return x * last / (scale * static_cast<double>(axis.in_size) - 1);
    case Transformation::kAsymmetric:
      return x / scale;
    case Transformation::kTfHalfPixelForNearest:
      return (x + 0.5) / scale;
    case Transformation::kTfCropAndResize: {
      const auto begin = static_cast<double>(axis.crop_begin);
      const auto end = static_cast<double>(axis.crop_end);
      if (axis.out_size <= 1) return 0.5 * (begin + end) * last;
      const auto steps = static_cast<double>(axis.out_size - 1);
      return (begin * steps + x * (end - begin)) * last / steps;
    }
    case Transformation::kHalfPixel:
    case Transformation::kPytorchHalfPixel:
      break;
  }
  return (x + 0.5) / scale - 0.5;
}

}  // namespace

AxisSampling::AxisSampling(Transformation transformation, const ResizeAxis& axis)
    : transformation_(transformation), axis_(axis) {
  if (axis.in_size > 0 && axis.out_size > 0 &&
      static_cast<float>(axis.out_size) / static_cast<float>(axis.in_size) == axis.scale) {
    numerator_ = axis.out_size;
    denominator_ = axis.in_size;
  } else if (!find_ratio(axis.scale, &numerator_, &denominator_)) {
    numerator_ = denominator_ = 0;
  }
}

Coordinate AxisSampling::at(int64_t at) const {
  const bool is_single = axis_.out_size <= 1;
  if (is_single &&
      (transformation_ == Transformation::kPytorchHalfPixel || transformation_ == Transformation::kAlignCorners)) {
    return {};
  }
  // x = top / bottom, with the scale p / q.
  const Exact p = numerator_, q = denominator_;
  Exact top = 0, bottom = 0;
  switch (transformation_) {
    case Transformation::kAlignCorners:
      // The length is in_size * p / q, not rounded, as in ONNX's reference: that matters where it is no whole number.
      top = Exact(at) * (axis_.in_size - 1) * q;
      bottom = p * axis_.in_size - q;
      break;
    case Transformation::kAsymmetric:
      top = Exact(at) * q;
      bottom = p;
      break;
    case Transformation::kTfHalfPixelForNearest:
      top = (Exact(at) * 2 + 1) * q;
      bottom = p * 2;
      break;
    case Transformation::kTfCropAndResize:
      break;
    case Transformation::kHalfPixel:
    case Transformation::kPytorchHalfPixel:
      top = (Exact(at) * 2 + 1) * q - p;
      bottom = p * 2;
      break;
  }
  if (!top.fits() || !bottom.fits() || bottom.value() <= 0) {
    return coordinate_of(real_coordinate(transformation_, axis_, at));
  }
  return coordinate_of(top.value(), bottom.value());
}

int64_t nearest(Rounding rounding, const Coordinate& x, float scale) {
  const int64_t above = x.is_whole ? x.whole : x.whole + 1;
  switch (rounding) {
    case Rounding::kPreferFloor:
      return x.half > 0 ? above : x.whole;
    case Rounding::kPreferCeil:
      return x.half >= 0 ? above : x.whole;
    case Rounding::kFloor:
      return x.whole;
    case Rounding::kCeil:
      return above;
    case Rounding::kSimple:
      break;
  }
  return scale < 1 ? above : x.whole;
}

}  // namespace quench::operators
