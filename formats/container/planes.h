// Bit-exact storage of tensors: elements as units, units as planes of bytes of equal significance.
//
// A unit is what is split: the element itself, one of the two floats of a complex number, or the byte that holds two
// 4-bit elements. Plane 0 holds the units' most significant bytes. Units of float32, bfloat16 and float64 are rotated
// left by one bit first, so that plane 0 holds the exponent alone and the sign joins the last mantissa bits, which do
// not compress anyway; in float16 sign and exponent share a byte as they are. With delta, a unit is the wrapping
// difference to the one before it (the first of a chunk, to zero).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/container/layout.h"

namespace quench::container {

struct UnitLayout {
  uint32_t width = 1;    // bytes: 1, 2, 4 or 8
  bool rotated = false;  // left by one bit before splitting
  bool delta = false;
};

// For a type with element_bits() > 0.
UnitLayout unit_layout(ElementType type, bool delta);

// `units` holds n * width bytes, `planes` as many: plane p at [p * n, (p + 1) * n).
void split_planes(std::span<const std::byte> units, UnitLayout layout, std::span<std::byte> planes);
void merge_planes(std::span<const std::byte> planes, UnitLayout layout, std::span<std::byte> units);

// How a plane of a chunk is stored: two bits each in the chunk's 16-bit mask, plane 0 lowest.
enum class PlaneForm : uint8_t {
  kStored = 0,    // n bytes
  kCoded = 1,     // in the byte mode of formats/entropy
  kConstant = 2,  // one byte, repeated
};

}  // namespace quench::container
