// The types of tensors' elements: ONNX's numbers (TensorProto.DataType), one list for the file, the runtime and the compressor.
#pragma once

#include <cstdint>

namespace quench {

// A number that is none of these may be cast to it; the functions below then say so.
enum class ElementType : int32_t {
  kUndefined = 0,
  kFloat32 = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kFloat64 = 11,
  kUint32 = 12,
  kUint64 = 13,
  kComplex64 = 14,
  kComplex128 = 15,
  kBfloat16 = 16,
  kFloat8E4M3FN = 17,
  kFloat8E4M3FNUZ = 18,
  kFloat8E5M2 = 19,
  kFloat8E5M2FNUZ = 20,
  kUint4 = 21,
  kInt4 = 22,
  kFloat4E2M1 = 23,
  kFloat8E8M0 = 24,
  kUint2 = 25,
  kInt2 = 26,
};

// Bits per element, 2 to 128; 0 for a string and for a number that is no type of fixed size.
constexpr uint32_t element_bits(ElementType type) {
  switch (type) {
    case ElementType::kUint2:
    case ElementType::kInt2:
      return 2;
    case ElementType::kUint4:
    case ElementType::kInt4:
    case ElementType::kFloat4E2M1:
      return 4;
    case ElementType::kUint8:
    case ElementType::kInt8:
    case ElementType::kBool:
    case ElementType::kFloat8E4M3FN:
    case ElementType::kFloat8E4M3FNUZ:
    case ElementType::kFloat8E5M2:
    case ElementType::kFloat8E5M2FNUZ:
    case ElementType::kFloat8E8M0:
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
    case ElementType::kUndefined:
    case ElementType::kString:
      break;
  }
  return 0;
}

// Bytes that `count` elements take in a TensorProto's raw_data (of 4 and 2 bits, two and four lie in a byte).
// The caller has capped `count` below 2^56.
constexpr uint64_t element_bytes(ElementType type, uint64_t count) {
  const uint64_t bits = element_bits(type);
  return bits >= 8 ? count * (bits / 8) : (count * bits + 7) / 8;
}

// True for the types that weights are quantized and computed in: float32, float16, bfloat16, float64.
constexpr bool is_float(ElementType type) {
  return type == ElementType::kFloat32 || type == ElementType::kFloat16 || type == ElementType::kBfloat16 ||
         type == ElementType::kFloat64;
}

// As NumPy spells it: "float32", "int8", "bool"; "unknown" for a number that is none.
constexpr const char* name_of(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return "float32";
    case ElementType::kUint8:
      return "uint8";
    case ElementType::kInt8:
      return "int8";
    case ElementType::kUint16:
      return "uint16";
    case ElementType::kInt16:
      return "int16";
    case ElementType::kInt32:
      return "int32";
    case ElementType::kInt64:
      return "int64";
    case ElementType::kString:
      return "string";
    case ElementType::kBool:
      return "bool";
    case ElementType::kFloat16:
      return "float16";
    case ElementType::kFloat64:
      return "float64";
    case ElementType::kUint32:
      return "uint32";
    case ElementType::kUint64:
      return "uint64";
    case ElementType::kComplex64:
      return "complex64";
    case ElementType::kComplex128:
      return "complex128";
    case ElementType::kBfloat16:
      return "bfloat16";
    case ElementType::kFloat8E4M3FN:
      return "float8e4m3fn";
    case ElementType::kFloat8E4M3FNUZ:
      return "float8e4m3fnuz";
    case ElementType::kFloat8E5M2:
      return "float8e5m2";
    case ElementType::kFloat8E5M2FNUZ:
      return "float8e5m2fnuz";
    case ElementType::kUint4:
      return "uint4";
    case ElementType::kInt4:
      return "int4";
    case ElementType::kFloat4E2M1:
      return "float4e2m1";
    case ElementType::kFloat8E8M0:
      return "float8e8m0";
    case ElementType::kUint2:
      return "uint2";
    case ElementType::kInt2:
      return "int2";
    case ElementType::kUndefined:
      break;
  }
  return "unknown";
}

}  // namespace quench
