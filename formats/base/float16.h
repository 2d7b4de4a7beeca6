// The 16-bit floating-point types, and float types of any width, to and from float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/element_type.h"
#include "formats/base/status.h"

namespace quench {

// float32 <-> the 16-bit types. Narrowing rounds to nearest even, keeps infinities, and makes every NaN quiet.
uint16_t float16_from_float32(float value);
float float32_from_float16(uint16_t bits);
uint16_t bfloat16_from_float32(float value);
float float32_from_bfloat16(uint16_t bits);

// Writes `values` as the bytes of a float `type` (see is_float), rounding to nearest even. `out` must have
// element_bytes(type, values.size()) bytes; kInvalidArgument otherwise, kUnsupportedType for a type that is no float.
Status convert_from_float32(std::span<const float> values, ElementType type, std::span<std::byte> out);

// The converse: element bytes of a float type as float32, rounding float64 to nearest even.
Status convert_to_float32(std::span<const std::byte> bytes, ElementType type, std::span<float> out);

}  // namespace quench
