// Elementwise functions and softmax of contiguous float32 values. exp, tanh, erf and what is made of them are accurate
// to a few ulp.
#pragma once

#include <cstdint>

#include "runtime/contract/kernel.h"

namespace quench::rt::fast {

// to[i] = activate(activation, from[i]) for i < count; both may be the same memory.
void activate_values(const Activation& activation, const float* from, float* to, int64_t count);

// Kernel::activations of a kernel that ends with activate_values: all there are.
inline constexpr uint32_t kActivatedValues =
    Activation::bit(Activation::kRelu) | Activation::bit(Activation::kClip) | Activation::bit(Activation::kLeakyRelu) |
    Activation::bit(Activation::kSigmoid) | Activation::bit(Activation::kHardSigmoid) |
    Activation::bit(Activation::kHardSwish) | Activation::bit(Activation::kSilu) | Activation::bit(Activation::kTanh);

enum class Unary : uint8_t { kExp, kErf, kSqrt };

// to[i] = function(from[i]) for i < count; both may be the same memory.
void map_values(Unary function, const float* from, float* to, int64_t count);

// A NaN on either side of kMin and kMax gives NaN.
enum class Binary : uint8_t { kAdd, kSub, kMul, kDiv, kMin, kMax };

// to[i] = function(a[i * a_step], b[i * b_step]) for i < count, the steps being 0 or 1; `to` may be `a` or `b` where
// that one's step is 1.
void combine_values(Binary function, const float* a, int64_t a_step, const float* b, int64_t b_step, float* to,
                    int64_t count);

// to[i] = exp(from[i] - largest) / sum of all `count` of these, `count` at least 1; both may be the same memory.
void softmax_values(const float* from, float* to, int64_t count);

}  // namespace quench::rt::fast
