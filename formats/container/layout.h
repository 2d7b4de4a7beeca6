// What reader and writer of a .quench file share: constants, enumerations and the arithmetic that both must agree on.
//
// FORMAT.md specifies the file byte by byte; this header is its counterpart in code. Everything is little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/status.h"

namespace quench::container {

constexpr uint8_t kMagic[8] = {0x89, 'Q', 'N', 'C', '\r', '\n', 0x1A, '\n'};
constexpr uint16_t kMajorVersion = 0;
constexpr uint16_t kMinorVersion = 1;
constexpr size_t kHeaderSize = 64;
constexpr uint32_t kMaxSections = 64;
constexpr uint32_t kMaxCodebookEntries = 65536;

// No count of elements in a file goes beyond this, whatever the caller's limits: products of it with element sizes and
// vector dimensions stay far below 2^64.
constexpr uint64_t kMaxElements = uint64_t{1} << 40;

enum class SectionKind : uint32_t {
  kGraph = 1,
  kCodebooks = 2,
  kEntropyModels = 3,
  kTensors = 4,
  kStreams = 5,
  kMeta = 6,
};

// Bits of a section's flags.
constexpr uint32_t kSectionMandatory = 1;  // a reader that does not know the kind must refuse the file
constexpr uint32_t kSectionCoded = 2;      // the stored bytes are coded in the byte mode of formats/entropy

// Element types by ONNX's numbers (TensorProto.DataType).
enum class ElementType : uint8_t {
  kFloat32 = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
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
};

enum class Encoding : uint8_t {
  kRaw = 0,          // the element bytes as they are
  kPlanes = 1,       // bit-exact: bytes of equal significance together, each such plane entropy coded
  kDeltaPlanes = 2,  // as kPlanes, of the wrapping differences of neighbouring integers
  kQuantized = 3,    // indices into a codebook, with scales
};

// Fields of a tensor's form byte: encoding in bits 0-1, ScaleKind in bits 2-3, and:
constexpr uint8_t kScalesFollowRows =
    1 << 4;  // a scale per row of the index layout; its channels and inner are not stored

// Elements of a raw or plane-coded tensor are cut into chunks of this many units (see planes.h).
constexpr uint64_t kChunkUnits = uint64_t{1} << 17;

enum class ScaleKind : uint8_t { kNone = 0, kTensor = 1, kChannel = 2 };

enum class CodebookKind : uint8_t {
  kUniform = 0,       // center j = step * (j - zero)
  kTableFloat32 = 1,  // centers as float32
  kTableFloat16 = 2,  // centers as float16, widened exactly
};

// Bits per element, 4 to 128; 0 for a number that is no fixed-size element type.
uint32_t element_bits(ElementType type);

// True for the types whose values quantization and decode_float32 apply to: float32, float16, bfloat16, float64.
bool is_float(ElementType type);

// Bytes that `count` elements take in a TensorProto's raw_data (4-bit elements lie two in a byte).
// The caller has capped `count` below 2^56.
uint64_t element_bytes(ElementType type, uint64_t count);

// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as iSCSI and ext4 use it. `crc` continues an earlier sum.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

// The scale of a channel from its 8-bit code: largest * 2^(-code / 16). The result is the same to the bit on any
// machine: one float32 product of `largest` with a literal, then an exact power of two.
float scale_from_code(float largest, uint8_t code);

// The code whose scale is nearest to `scale` on the logarithmic grid; 0 where scale >= largest, 255 where it is tiny or
// not positive. `largest` must be positive and finite.
uint8_t code_from_scale(float largest, float scale);

// Center j of a uniform codebook: one float32 product.
inline float uniform_center(float step, uint32_t zero, uint32_t j) {
  return step * static_cast<float>(static_cast<int32_t>(j) - static_cast<int32_t>(zero));
}

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

// formats/entropy speaks uint8_t.
inline std::span<const uint8_t> as_uint8(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}
inline std::span<uint8_t> as_writable_uint8(std::span<std::byte> bytes) {
  return {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace quench::container
