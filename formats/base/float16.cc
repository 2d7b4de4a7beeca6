#include "formats/base/float16.h"

#include <bit>
#include <cstring>

namespace quench {
namespace {

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
void store(T value, std::byte* to) {
  std::memcpy(to, &value, sizeof value);
}

static_assert(std::endian::native == std::endian::little, "the reader borrows little-endian values as they lie");

}  // namespace

uint16_t float16_from_float32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00 | ((magnitude >> 13) & 0x3FF));
  if (magnitude >= 0x47800000) return static_cast<uint16_t>(sign | 0x7C00);  // 2^16 and above, infinity
  if (magnitude >= 0x38800000) {                                             // normal: 2^-14 and above
    const uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
  }
  if (magnitude < 0x33000000) return static_cast<uint16_t>(sign);  // below half of the smallest subnormal
  const uint32_t shift = 126 - (magnitude >> 23);                  // subnormal: 14 to 24
  const uint32_t mantissa = (magnitude & 0x7FFFFF) | 0x800000;
  const uint32_t half = 1u << (shift - 1);
  const uint32_t rounded = (mantissa + half - 1 + ((mantissa >> shift) & 1)) >> shift;
  return static_cast<uint16_t>(sign | rounded);
}

float float32_from_float16(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 0x1F;
  const uint32_t mantissa = half & 0x3FF;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000 | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float value = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -value : value;
}

uint16_t bfloat16_from_float32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float float32_from_bfloat16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

Status convert_from_float32(std::span<const float> values, ElementType type, std::span<std::byte> out) {
  if (!is_float(type)) return Status(StatusCode::kUnsupportedType);
  if (out.size() != element_bytes(type, values.size())) return Status(StatusCode::kInvalidArgument);
  if (values.empty()) return {};
  if (type == ElementType::kFloat32) {
    std::memcpy(out.data(), values.data(), out.size());
    return {};
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == ElementType::kFloat64) {
      store(static_cast<double>(values[i]), out.data() + 8 * i);
    } else {
      const bool half = type == ElementType::kFloat16;
      store(half ? float16_from_float32(values[i]) : bfloat16_from_float32(values[i]), out.data() + 2 * i);
    }
  }
  return {};
}

Status convert_to_float32(std::span<const std::byte> bytes, ElementType type, std::span<float> out) {
  if (!is_float(type)) return Status(StatusCode::kUnsupportedType);
  if (bytes.size() != element_bytes(type, out.size())) return Status(StatusCode::kInvalidArgument);
  if (out.empty()) return {};
  if (type == ElementType::kFloat32) {
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return {};
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (type == ElementType::kFloat64) {
      out[i] = static_cast<float>(load<double>(bytes.data() + 8 * i));
    } else {
      const uint16_t bits = load<uint16_t>(bytes.data() + 2 * i);
      out[i] = type == ElementType::kFloat16 ? float32_from_float16(bits) : float32_from_bfloat16(bits);
    }
  }
  return {};
}

}  // namespace quench
