// Integers of any width as 64-bit ones, a block at a time on the stack: with a loop for each type that is read or
// written, there is none for each function and type.
#pragma once

#include <cstdint>

#include "runtime/contract/tensor.h"
#include "runtime/kernels/reference/checks.h"

namespace quench::rt {

// All integers that 64 signed bits hold.
inline constexpr TypeSet kIntegerTypes =
    type_set(ElementType::kInt8, ElementType::kUint8, ElementType::kInt16, ElementType::kUint16, ElementType::kInt32,
             ElementType::kUint32, ElementType::kInt64);

inline constexpr int64_t kBlock = 256;

// `count` elements from `offset` on, `step` apart. A truth value is 0 or 1; of uint64 the bits are kept.
void load_integers(const Tensor& tensor, int64_t offset, int64_t step, int64_t count, int64_t* block);
int64_t load_integer(const Tensor& tensor, int64_t offset);

// The low bits of each, as many as the tensor's type has.
void store_integers(const int64_t* block, const Tensor& tensor, int64_t offset, int64_t step, int64_t count);

}  // namespace quench::rt
