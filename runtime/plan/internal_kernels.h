// Steps that the plan puts in by itself: conversions of type and layout, and copies. One input, one output.
#pragma once

#include "runtime/contract/kernel.h"

namespace quench::rt {

extern const Kernel kConvertType;    // between float32 and float16, bfloat16, double
extern const Kernel kConvertLayout;  // rank 4, between row-major and channels-last
extern const Kernel kCopy;

// What kConvertLayout runs: `to` has the shape and type of `from` and another layout. Takes the planes [begin, end) of
// N.
void convert_layout(const Tensor& from, const Tensor& to, int64_t begin, int64_t end);

}  // namespace quench::rt
