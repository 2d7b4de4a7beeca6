#include "formats/container/layout.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace quench::container {
namespace {

// 2^(-k / 16), each rounded to the nearest float32.
constexpr float kScaleSteps[16] = {0x1p0f,         0x1.ea4afap-1f, 0x1.d5818ep-1f, 0x1.c199bep-1f,
                                   0x1.ae89fap-1f, 0x1.9c4918p-1f, 0x1.8ace54p-1f, 0x1.7a1148p-1f,
                                   0x1.6a09e6p-1f, 0x1.5ab07ep-1f, 0x1.4bfdaep-1f, 0x1.3dea64p-1f,
                                   0x1.306fep-1f,  0x1.2387a6p-1f, 0x1.172b84p-1f, 0x1.0b5586p-1f};

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

uint32_t element_bits(ElementType type) {
  switch (type) {
    case ElementType::kUint4:
    case ElementType::kInt4:
      return 4;
    case ElementType::kUint8:
    case ElementType::kInt8:
    case ElementType::kBool:
    case ElementType::kFloat8E4M3FN:
    case ElementType::kFloat8E4M3FNUZ:
    case ElementType::kFloat8E5M2:
    case ElementType::kFloat8E5M2FNUZ:
      return 8;
    case ElementType::kUint16:
    case ElementType::kInt16:
    case ElementType::kFloat16:
    case ElementType::kBfloat16:
      return 16;
    case ElementType::kFloat32:
    case ElementType::kInt32:
    case ElementType::kUint32:
      return 32;
    case ElementType::kFloat64:
    case ElementType::kInt64:
    case ElementType::kUint64:
    case ElementType::kComplex64:
      return 64;
    case ElementType::kComplex128:
      return 128;
  }
  return 0;
}

bool is_float(ElementType type) {
  return type == ElementType::kFloat32 || type == ElementType::kFloat16 || type == ElementType::kBfloat16 ||
         type == ElementType::kFloat64;
}

uint64_t element_bytes(ElementType type, uint64_t count) {
  const uint64_t bits = element_bits(type);
  return bits >= 8 ? count * (bits / 8) : (count * bits + 7) / 8;
}

float scale_from_code(float largest, uint8_t code) {
  const float power = std::bit_cast<float>(uint32_t{127u - code / 16u} << 23);
  return largest * kScaleSteps[code % 16] * power;
}

uint8_t code_from_scale(float largest, float scale) {
  if (!(scale > 0)) return 255;
  const double code = std::nearbyint(16 * std::log2(static_cast<double>(largest) / static_cast<double>(scale)));
  if (!(code > 0)) return 0;
  return code < 255 ? static_cast<uint8_t>(code) : 255;
}

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

}  // namespace quench::container
