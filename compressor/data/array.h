// An array in memory, as it comes from a .npy file or goes into one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/base/element_type.h"

namespace quench::data {

// Little-endian, row-major.
struct Array {
  ElementType type = ElementType::kFloat32;
  std::vector<int64_t> dims;  // empty: a scalar
  std::vector<std::byte> bytes;

  uint64_t elements() const;

  // Every type but the complex and sub-byte ones; integers beyond 2^24 are rounded.
  std::vector<float> to_float() const;
  // Integer and boolean types only; throws quench::Error for others.
  std::vector<int64_t> to_int64() const;

  static Array float32(std::vector<int64_t> dims, std::span<const float> values);
  static Array int64(std::vector<int64_t> dims, std::span<const int64_t> values);
};

// "1x3x32x32"; -1 prints as N; a scalar as "scalar".
std::string dims_text(std::span<const int64_t> dims);

}  // namespace quench::data
