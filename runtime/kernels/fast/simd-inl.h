// Small helpers for the vector kernels, compiled once per instruction set. Include after <hwy/highway.h>.
#if defined(QUENCH_RUNTIME_KERNELS_FAST_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUENCH_RUNTIME_KERNELS_FAST_SIMD_INL_H_
#undef QUENCH_RUNTIME_KERNELS_FAST_SIMD_INL_H_
#else
#define QUENCH_RUNTIME_KERNELS_FAST_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <limits>

#include "runtime/contract/kernel.h"

// Unrolls the following loop, whose trip count is a small constant, so that arrays of vectors become registers.
#if defined(__clang__)
#define QUENCH_UNROLL _Pragma("clang loop unroll(full)")
#else
#define QUENCH_UNROLL _Pragma("GCC unroll 64")
#endif

HWY_BEFORE_NAMESPACE();
namespace quench::rt::fast {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVector = hn::Vec<FloatTag>;
constexpr size_t kLanes = HWY_LANES(float);

// Only these can leave out lanes without touching their memory.
#undef QUENCH_MASKED_MEMORY
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
#define QUENCH_MASKED_MEMORY 1
#else
#define QUENCH_MASKED_MEMORY 0
#endif

// The first `count` values (1 to kLanes), zeros behind them. Reads nothing past the last.
HWY_INLINE FloatVector load_some(const float* from, size_t count) {
  const FloatTag d;
#if QUENCH_MASKED_MEMORY
  return hn::MaskedLoad(hn::FirstN(d, count), d, from);
#else
  if (count == kLanes) return hn::LoadU(d, from);
  HWY_ALIGN float lanes[kLanes] = {};
  for (size_t i = 0; i < count; ++i) lanes[i] = from[i];
  return hn::Load(d, lanes);
#endif
}

// Writes the first `count` lanes (1 to kLanes) and nothing else.
HWY_INLINE void store_some(FloatVector values, float* to, size_t count) {
  const FloatTag d;
#if QUENCH_MASKED_MEMORY
  hn::BlendedStore(values, hn::FirstN(d, count), d, to);
#else
  if (count == kLanes) return hn::StoreU(values, d, to);
  HWY_ALIGN float lanes[kLanes];
  hn::Store(values, d, lanes);
  for (size_t i = 0; i < count; ++i) to[i] = lanes[i];
#endif
}

// a > b ? a : b and a < b ? a : b, except that Arm gives NaN if either is one.
HWY_INLINE FloatVector maximum(FloatVector a, FloatVector b) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  return hn::IfThenElse(hn::Gt(a, b), a, b);
#else
  return hn::Max(a, b);
#endif
}
HWY_INLINE FloatVector minimum(FloatVector a, FloatVector b) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  return hn::IfThenElse(hn::Lt(a, b), a, b);
#else
  return hn::Min(a, b);
#endif
}

// min(max(x, low), high); a NaN stays one.
HWY_INLINE FloatVector clamp(FloatVector low, FloatVector x, FloatVector high) {
  return minimum(high, maximum(low, x));
}

// Whole numbers that an int32 holds, as such; a NaN is any number.
HWY_INLINE auto to_integers(FloatVector whole) {
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  // There, C++ converts, which leaves NaN undefined.
  whole = hn::IfThenElse(hn::Eq(whole, whole), whole, hn::Zero(FloatTag()));
#endif
  return hn::ConvertTo(hn::RebindToSigned<FloatTag>(), whole);
}

// exp(x) to about 1 ulp, 0 below -87.3 and infinity above 88.7; NaN stays NaN. Cody and Waite's reduction to
// |r| <= ln(2) / 2, then a polynomial with the least largest error.
HWY_INLINE FloatVector vector_exp(FloatVector x) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const FloatVector high = hn::Set(d, 88.7228394f), low = hn::Set(d, -87.3365479f);
  const FloatVector finite = clamp(low, x, high);
  const FloatVector n = hn::Round(hn::Mul(finite, hn::Set(d, 1.44269504f)));
  FloatVector r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), finite);  // ln(2) in two parts, the first short
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  FloatVector p = hn::Set(d, 0.00139517172f);
  p = hn::MulAdd(p, r, hn::Set(d, 0.00836959841f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.0416661873f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.166665129f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.50000001f));
  p = hn::Add(hn::MulAdd(hn::Mul(p, r), r, r), hn::Set(d, 1.0f));
  // 2^n in two factors: for n = 128 there is no float.
  const auto whole = to_integers(n);
  const auto half = hn::ShiftRight<1>(whole);
  const auto bias = hn::Set(di, 127);
  const FloatVector first = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const FloatVector second = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(whole, half), bias)));
  FloatVector result = hn::Mul(hn::Mul(p, first), second);
  result = hn::IfThenElse(hn::Gt(x, high), hn::Set(d, std::numeric_limits<float>::infinity()), result);
  result = hn::IfThenElse(hn::Lt(x, low), hn::Zero(d), result);
  return hn::IfThenElse(hn::Eq(x, x), result, x);
}

HWY_INLINE FloatVector vector_sigmoid(FloatVector x) {
  const FloatTag d;
  const FloatVector one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, vector_exp(hn::Neg(x))));
}

// tanh(x) to about 2 ulp: an odd polynomial where 1 - 2 / (exp(2 x) + 1) would cancel.
HWY_INLINE FloatVector vector_tanh(FloatVector x) {
  const FloatTag d;
  const FloatVector one = hn::Set(d, 1.0f);
  const FloatVector size = hn::Abs(x);
  const FloatVector large = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(vector_exp(hn::Add(size, size)), one)));
  const FloatVector z = hn::Mul(x, x);
  FloatVector p = hn::Set(d, -0.00571703655f);
  p = hn::MulAdd(p, z, hn::Set(d, 0.020650579f));
  p = hn::MulAdd(p, z, hn::Set(d, -0.0537434953f));
  p = hn::MulAdd(p, z, hn::Set(d, 0.133314912f));
  p = hn::MulAdd(p, z, hn::Set(d, -0.333332839f));
  const FloatVector small = hn::MulAdd(hn::Mul(p, z), x, x);
  return hn::IfThenElse(hn::Lt(size, hn::Set(d, 0.625f)), small, hn::CopySign(large, x));
}

// erf(x) to about 2 ulp: an odd polynomial below 1, and 1 - exp(-x^2) times a polynomial in 1 / (1 + x / 2) above.
HWY_INLINE FloatVector vector_erf(FloatVector x) {
  const FloatTag d;
  const FloatVector one = hn::Set(d, 1.0f);
  const FloatVector size = minimum(hn::Set(d, 4.0f), hn::Abs(x));  // erf(4) rounds to 1
  const FloatVector z = hn::Mul(x, x);
  FloatVector p = hn::Set(d, 7.88911954e-5f);
  p = hn::MulAdd(p, z, hn::Set(d, -0.000802084128f));
  p = hn::MulAdd(p, z, hn::Set(d, 0.00518953534f));
  p = hn::MulAdd(p, z, hn::Set(d, -0.0268544446f));
  p = hn::MulAdd(p, z, hn::Set(d, 0.112836002f));
  p = hn::MulAdd(p, z, hn::Set(d, -0.376126271f));
  p = hn::MulAdd(p, z, hn::Set(d, 1.12837917f));
  const FloatVector small = hn::Mul(p, x);
  const FloatVector t = hn::Div(one, hn::MulAdd(size, hn::Set(d, 0.5f), one));
  FloatVector q = hn::Set(d, -0.0534517518f);
  q = hn::MulAdd(q, t, hn::Set(d, -0.0576094897f));
  q = hn::MulAdd(q, t, hn::Set(d, 0.404178319f));
  q = hn::MulAdd(q, t, hn::Set(d, 0.101043202f));
  q = hn::MulAdd(q, t, hn::Set(d, 0.330923481f));
  q = hn::MulAdd(q, t, hn::Set(d, 0.273602104f));
  q = hn::MulAdd(q, t, hn::Set(d, 0.000607688677f));
  const FloatVector large = hn::NegMulAdd(q, vector_exp(hn::Neg(hn::Mul(size, size))), one);
  const FloatVector result = hn::IfThenElse(hn::Lt(size, one), small, hn::CopySign(large, x));
  return hn::IfThenElse(hn::Eq(x, x), result, x);
}

// activate() of kernel.h, except that Sigmoid, Silu and Tanh may differ from it by a few ulp.
HWY_INLINE FloatVector activate_vector(const Activation& activation, FloatVector x) {
  const FloatTag d;
  const FloatVector zero = hn::Zero(d), one = hn::Set(d, 1.0f);
  switch (activation.kind) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return maximum(zero, x);
    case Activation::kClip:
      return clamp(hn::Set(d, activation.a), x, hn::Set(d, activation.b));
    case Activation::kLeakyRelu:
      return hn::IfThenElse(hn::Lt(x, zero), hn::Mul(hn::Set(d, activation.a), x), x);
    case Activation::kSigmoid:
      return vector_sigmoid(x);
    case Activation::kHardSigmoid:
      return clamp(zero, hn::Add(hn::Mul(hn::Set(d, activation.a), x), hn::Set(d, activation.b)), one);
    case Activation::kHardSwish:
      return hn::Mul(x, clamp(zero, hn::Add(hn::Div(x, hn::Set(d, 6.0f)), hn::Set(d, 0.5f)), one));
    case Activation::kSilu:
      return hn::Mul(x, vector_sigmoid(x));
    case Activation::kTanh:
      return vector_tanh(x);
  }
  return x;
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::rt::fast
HWY_AFTER_NAMESPACE();

#endif  // QUENCH_RUNTIME_KERNELS_FAST_SIMD_INL_H_
