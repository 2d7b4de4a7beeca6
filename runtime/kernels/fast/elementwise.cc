#include "runtime/kernels/fast/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/fast/elementwise.cc"
// clang-format off
#include "formats/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "runtime/kernels/fast/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quench::rt::fast {
namespace HWY_NAMESPACE {

template <Activation::Kind kKind>
void activate_all(Activation activation, const float* from, float* to, int64_t count) {
  const FloatTag d;
  activation.kind = kKind;
  constexpr int64_t kStep = kLanes;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) hn::StoreU(activate_vector(activation, hn::LoadU(d, from + i)), d, to + i);
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    store_some(activate_vector(activation, load_some(from + i, rest)), to + i, rest);
  }
}

void activate_span(const Activation& activation, const float* from, float* to, int64_t count) {
  switch (activation.kind) {
    case Activation::kNone:
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

}  // namespace HWY_NAMESPACE
}  // namespace quench::rt::fast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::rt::fast {

QUENCH_SIMD_EXPORT(activate_span);

void activate_values(const Activation& activation, const float* from, float* to, int64_t count) {
  QUENCH_SIMD_CALL(activate_span)(activation, from, to, count);
}

}  // namespace quench::rt::fast
#endif
