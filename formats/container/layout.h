// What reader and writer of a .quench file share: constants, enumerations and the arithmetic that both must agree on.
//
// FORMAT.md specifies the file byte by byte; this header is its counterpart in code. Everything is little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/element_type.h"
#include "formats/base/status.h"

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

// formats/entropy speaks uint8_t.
inline std::span<const uint8_t> as_uint8(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}
inline std::span<uint8_t> as_writable_uint8(std::span<std::byte> bytes) {
  return {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace quench::container
