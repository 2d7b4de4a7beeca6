// Elementwise functions on contiguous float32 values.
#pragma once

#include <cstdint>

#include "runtime/kernels/kernel.h"

namespace quench::rt::fast {

// to[i] = activate(activation, from[i]) for i < count; both may be the same memory. Sigmoid, Silu and Tanh are accurate
// to a few ulp.
void activate_values(const Activation& activation, const float* from, float* to, int64_t count);

}  // namespace quench::rt::fast
