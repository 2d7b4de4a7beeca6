#include "runtime/kernels/fast/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/fast/elementwise.cc"
// clang-format off
#include "formats/base/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "runtime/kernels/fast/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quench::rt::fast {
namespace HWY_NAMESPACE {

constexpr int64_t kStep = kLanes;

template <typename Function>
HWY_INLINE void map_all(const float* from, float* to, int64_t count, const Function& function) {
  const FloatTag d;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) hn::StoreU(function(hn::LoadU(d, from + i)), d, to + i);
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    store_some(function(load_some(from + i, rest)), to + i, rest);
  }
}

template <Activation::Kind kKind>
void activate_all(Activation activation, const float* from, float* to, int64_t count) {
  activation.kind = kKind;
  map_all(from, to, count, [=](FloatVector x) HWY_ATTR { return activate_vector(activation, x); });
}

void activate_span(const Activation& activation, const float* from, float* to, int64_t count) {
  switch (activation.kind) {
    case Activation::kNone:
      if (from == to) return;
      return activate_all<Activation::kNone>(activation, from, to, count);
    case Activation::kRelu:
      return activate_all<Activation::kRelu>(activation, from, to, count);
    case Activation::kClip:
      return activate_all<Activation::kClip>(activation, from, to, count);
    case Activation::kLeakyRelu:
      return activate_all<Activation::kLeakyRelu>(activation, from, to, count);
    case Activation::kSigmoid:
      return activate_all<Activation::kSigmoid>(activation, from, to, count);
    case Activation::kHardSigmoid:
      return activate_all<Activation::kHardSigmoid>(activation, from, to, count);
    case Activation::kHardSwish:
      return activate_all<Activation::kHardSwish>(activation, from, to, count);
    case Activation::kSilu:
      return activate_all<Activation::kSilu>(activation, from, to, count);
    case Activation::kTanh:
      return activate_all<Activation::kTanh>(activation, from, to, count);
  }
}

void map_span(Unary function, const float* from, float* to, int64_t count) {
  switch (function) {
    case Unary::kExp:
      return map_all(from, to, count, [](FloatVector x) HWY_ATTR { return vector_exp(x); });
    case Unary::kErf:
      return map_all(from, to, count, [](FloatVector x) HWY_ATTR { return vector_erf(x); });
    case Unary::kSqrt:
      return map_all(from, to, count, [](FloatVector x) HWY_ATTR { return hn::Sqrt(x); });
  }
}

template <Binary kFunction>
HWY_INLINE FloatVector combine(FloatVector a, FloatVector b) {
  switch (kFunction) {
    case Binary::kAdd:
      return hn::Add(a, b);
    case Binary::kSub:
      return hn::Sub(a, b);
    case Binary::kMul:
      return hn::Mul(a, b);
    case Binary::kDiv:
      return hn::Div(a, b);
    // maximum and minimum give b if a is a NaN.
    case Binary::kMin:
      return hn::IfThenElse(hn::Eq(a, a), minimum(a, b), a);
    case Binary::kMax:
      return hn::IfThenElse(hn::Eq(a, a), maximum(a, b), a);
  }
  return a;
}

template <Binary kFunction>
void combine_all(const float* a, int64_t a_step, const float* b, int64_t b_step, float* to, int64_t count) {
  const FloatTag d;
  if (count < 1) return;
  const FloatVector a_value = hn::Set(d, *a), b_value = hn::Set(d, *b);
  if (a_step == 1 && b_step == 1) {
    int64_t i = 0;
    for (; i + kStep <= count; i += kStep) {
      hn::StoreU(combine<kFunction>(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, to + i);
    }
    if (i == count) return;
    const size_t rest = static_cast<size_t>(count - i);
    store_some(combine<kFunction>(load_some(a + i, rest), load_some(b + i, rest)), to + i, rest);
  } else if (a_step == 1) {
    map_all(a, to, count, [=](FloatVector x) HWY_ATTR { return combine<kFunction>(x, b_value); });
  } else if (b_step == 1) {
    map_all(b, to, count, [=](FloatVector x) HWY_ATTR { return combine<kFunction>(a_value, x); });
  } else {
    const FloatVector value = combine<kFunction>(a_value, b_value);
    int64_t i = 0;
    for (; i + kStep <= count; i += kStep) hn::StoreU(value, d, to + i);
    if (i < count) store_some(value, to + i, static_cast<size_t>(count - i));
  }
}

void combine_span(Binary function, const float* a, int64_t a_step, const float* b, int64_t b_step, float* to,
                  int64_t count) {
  switch (function) {
    case Binary::kAdd:
      return combine_all<Binary::kAdd>(a, a_step, b, b_step, to, count);
    case Binary::kSub:
      return combine_all<Binary::kSub>(a, a_step, b, b_step, to, count);
    case Binary::kMul:
      return combine_all<Binary::kMul>(a, a_step, b, b_step, to, count);
    case Binary::kDiv:
      return combine_all<Binary::kDiv>(a, a_step, b, b_step, to, count);
    case Binary::kMin:
      return combine_all<Binary::kMin>(a, a_step, b, b_step, to, count);
    case Binary::kMax:
      return combine_all<Binary::kMax>(a, a_step, b, b_step, to, count);
  }
}

void softmax_span(const float* from, float* to, int64_t count) {
  const FloatTag d;
  const size_t rest = static_cast<size_t>(count % kStep);
  const int64_t whole = count - count % kStep;
  const FloatVector lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  FloatVector largest = lowest;
  for (int64_t i = 0; i < whole; i += kStep) largest = maximum(hn::LoadU(d, from + i), largest);
  if (rest > 0) {
    const FloatVector last = load_some(from + whole, rest);
    largest = hn::IfThenElse(hn::FirstN(d, rest), maximum(last, largest), largest);
  }
  const FloatVector peak = hn::MaxOfLanes(d, largest);
  FloatVector sum = hn::Zero(d);
  for (int64_t i = 0; i < whole; i += kStep) {
    const FloatVector power = vector_exp(hn::Sub(hn::LoadU(d, from + i), peak));
    hn::StoreU(power, d, to + i);
    sum = hn::Add(sum, power);
  }
  if (rest > 0) {
    const FloatVector power = vector_exp(hn::Sub(load_some(from + whole, rest), peak));
    store_some(power, to + whole, rest);
    sum = hn::Add(sum, hn::IfThenElseZero(hn::FirstN(d, rest), power));
  }
  const FloatVector scale = hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, sum));
  for (int64_t i = 0; i < whole; i += kStep) hn::StoreU(hn::Mul(hn::LoadU(d, to + i), scale), d, to + i);
  if (rest > 0) store_some(hn::Mul(load_some(to + whole, rest), scale), to + whole, rest);
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::rt::fast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::rt::fast {

QUENCH_SIMD_EXPORT(activate_span);
QUENCH_SIMD_EXPORT(map_span);
QUENCH_SIMD_EXPORT(combine_span);
QUENCH_SIMD_EXPORT(softmax_span);

void activate_values(const Activation& activation, const float* from, float* to, int64_t count) {
  QUENCH_SIMD_CALL(activate_span)(activation, from, to, count);
}

void map_values(Unary function, const float* from, float* to, int64_t count) {
  QUENCH_SIMD_CALL(map_span)(function, from, to, count);
}

void combine_values(Binary function, const float* a, int64_t a_step, const float* b, int64_t b_step, float* to,
                    int64_t count) {
  QUENCH_SIMD_CALL(combine_span)(function, a, a_step, b, b_step, to, count);
}

void softmax_values(const float* from, float* to, int64_t count) {
  if (count > 0) QUENCH_SIMD_CALL(softmax_span)(from, to, count);
}

}  // namespace quench::rt::fast
#endif
