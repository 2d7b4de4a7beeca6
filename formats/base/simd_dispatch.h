// Compiles a source file for several instruction sets with Highway and picks the best one at run time.
//
// Highway is used as headers only: nothing here or in the example refers to a symbol of libhwy, so a program that links
// Quench needs no shared library for it. Include this header before any header of Highway. It also settles which
// targets are compiled: on x86 the plain baseline, SSE4, AVX2 and AVX3 (AVX-512 F, VL, DQ, BW); elsewhere what the
// compiler's flags promise (NEON on 64-bit Arm). Define HWY_COMPILE_ONLY_STATIC for a device that needs exactly one.
//
//     // scale.cc
//     // The order of these lines matters.
//     // clang-format off
//     #undef HWY_TARGET_INCLUDE
//     #define HWY_TARGET_INCLUDE "runtime/kernels/scale.cc"  // this file, relative to the include root
//     #include "formats/base/simd_dispatch.h"
//     #include <hwy/foreach_target.h>
//     #include <hwy/highway.h>
//     // clang-format on
//
//     HWY_BEFORE_NAMESPACE();
//     namespace quench::rt {
//     namespace HWY_NAMESPACE {
//     namespace hn = hwy::HWY_NAMESPACE;
//     void scale(float* values, size_t count, float factor) {  // compiled once per target
//       const hn::ScalableTag<float> tag;
//       const size_t lanes = hn::Lanes(tag);
//       size_t i = 0;
//       for (; i + lanes <= count; i += lanes) {
//         hn::StoreU(hn::Mul(hn::LoadU(tag, values + i), hn::Set(tag, factor)), tag, values + i);
//       }
//       for (; i < count; ++i) values[i] *= factor;
//     }
//     }  // namespace HWY_NAMESPACE
//     }  // namespace quench::rt
//     HWY_AFTER_NAMESPACE();
//
//     #if HWY_ONCE
//     namespace quench::rt {
//     QUENCH_SIMD_EXPORT(scale);  // same namespace as the function, once per function
//     void scale(float* values, size_t count, float factor) { QUENCH_SIMD_CALL(scale)(values, count, factor); }
//     }  // namespace quench::rt
//     #endif
//
// The baseline of plain x86-64 is HWY_SCALAR with older compilers: vectors of one lane without shuffles or compression.
// A file that needs those guards them with `#if HWY_TARGET != HWY_SCALAR` and falls back to plain code.
//
// A test runs every compiled target that the processor supports:
//
//     for (int64_t target : {HWY_SCALAR, HWY_EMU128, HWY_SSE4, HWY_AVX2, HWY_AVX3, HWY_NEON}) {
//       const quench::simd::RestrictTargets only(target);
//       if (!only.possible()) continue;
//       ... compare with the reference ...
//     }
#pragma once

#include <atomic>
#include <cstdint>

#if defined(HIGHWAY_HWY_DETECT_TARGETS_H_)
#error "include formats/base/simd_dispatch.h before any header of Highway"
#endif

// Neither AES nor carry-less multiplication is used, so a target must not require them. The baseline checks of Highway
// in debug and sanitizer builds call into libhwy.
#define HWY_DISABLE_PCLMUL_AES
#define HWY_IS_DEBUG_BUILD 0
#ifndef HWY_DISABLED_TARGETS
#if defined(__arm__) && !defined(__ARM_NEON)
// On 32-bit Arm only the targets that the compiler's flags promise are used (see detect_targets), and GCC cannot compile
// NEON beside a baseline without it.
#define QUENCH_NO_NEON HWY_NEON
#else
#define QUENCH_NO_NEON 0
#endif
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | QUENCH_NO_NEON)
#endif

#include <hwy/detect_targets.h>
#if HWY_ARCH_X86
#include <cpuid.h>
#endif

namespace quench::simd {

#if HWY_ARCH_X86
// The registers that the operating system saves on a task switch (XCR0); 0 where it does not say.
inline uint64_t saved_registers() {
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & bit_OSXSAVE) == 0) return 0;
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

inline int64_t detect_targets() {
  int64_t targets = HWY_SCALAR | HWY_EMU128 | HWY_STATIC_TARGET;
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return targets;
  const auto has = [](uint32_t value, uint32_t bits) { return (value & bits) == bits; };
  const uint32_t leaf1 = ecx;
  if (!has(leaf1, bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2)) return targets;
  targets |= HWY_SSE4;

  const uint64_t saved = saved_registers();
  const uint64_t ymm = 0x06, zmm = 0xE6;
  uint32_t leaf7_b;
  if (!__get_cpuid_count(7, 0, &eax, &leaf7_b, &ecx, &edx)) return targets;
  if ((saved & ymm) != ymm || !has(leaf1, bit_AVX | bit_FMA | bit_F16C)) return targets;
  if (!has(leaf7_b, bit_AVX2 | bit_BMI | bit_BMI2)) return targets;
  targets |= HWY_AVX2;
  if ((saved & zmm) != zmm || !has(leaf7_b, bit_AVX512F | bit_AVX512VL | bit_AVX512DQ | bit_AVX512BW)) return targets;
  return targets | HWY_AVX3;
}
#else
inline int64_t detect_targets() { return HWY_SCALAR | HWY_EMU128 | HWY_STATIC_TARGET; }
#endif

// Bits of the targets (HWY_AVX2, ...) that this processor and its operating system can run. Thread-safe.
inline int64_t supported_targets() {
  static std::atomic<int64_t> known{0};  // not a const with an initializer: that needs the C++ library for its guard
  int64_t targets = known.load(std::memory_order_relaxed);
  if (targets == 0) known.store(targets = detect_targets(), std::memory_order_relaxed);
  return targets;
}

inline std::atomic<int64_t>& allowed_targets() {
  static std::atomic<int64_t> allowed{~int64_t{0}};
  return allowed;
}

// While it lives, calls in all threads use the best of `targets` only (and the baseline where none of them is there).
// For tests and measurements; must not be nested.
class RestrictTargets {
 public:
  explicit RestrictTargets(int64_t targets) : targets_(targets) { allowed_targets() = targets; }
  ~RestrictTargets() { allowed_targets() = ~int64_t{0}; }
  RestrictTargets(const RestrictTargets&) = delete;
  RestrictTargets& operator=(const RestrictTargets&) = delete;
  // Whether one of the targets is both compiled in and supported by the processor.
  bool possible() const { return (targets_ & supported_targets() & (HWY_TARGETS)) != 0; }

 private:
  int64_t targets_;
};

template <typename Function>
struct Candidate {
  int64_t target;
  Function function;
};

// The first of `candidates` (best first) that is compiled in, supported and allowed.
template <typename Function, int kCount>
Function choose(const Candidate<Function> (&candidates)[kCount], Function fallback) {
  const int64_t targets = supported_targets() & allowed_targets().load(std::memory_order_relaxed);
  for (const Candidate<Function>& candidate : candidates) {
    if (candidate.function != nullptr && (candidate.target & targets) != 0) return candidate.function;
  }
  return fallback;
}

}  // namespace quench::simd

// Makes `function`, defined in HWY_NAMESPACE of the enclosing namespace, known to QUENCH_SIMD_CALL in this file.
#define QUENCH_SIMD_EXPORT(function)                                                                              \
  static decltype(&HWY_STATIC_DISPATCH(function)) function##_for_this_processor() {                               \
    using Function = decltype(&HWY_STATIC_DISPATCH(function));                                                    \
    static constexpr ::quench::simd::Candidate<Function> kCandidates[] = {{HWY_AVX3, HWY_CHOOSE_AVX3(function)},  \
                                                                          {HWY_AVX2, HWY_CHOOSE_AVX2(function)},  \
                                                                          {HWY_SSE4, HWY_CHOOSE_SSE4(function)},  \
                                                                          {HWY_NEON, HWY_CHOOSE_NEON(function)}}; \
    return ::quench::simd::choose<Function>(kCandidates, HWY_CHOOSE_FALLBACK(function));                          \
  }                                                                                                               \
  static_assert(true)

// The function pointer of the best target. Choosing costs a few loads: do it per tensor, not per element.
#define QUENCH_SIMD_CALL(function) (*function##_for_this_processor())
