// What reader and writer of a .quench file share: constants, enumerations and the arithmetic that both must agree on.
//
// FORMAT.md specifies the file byte by byte; this header is its counterpart in code. Everything is little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/element_type.h"
#include "formats/base/status.h"
#include "formats/coded/tensor.h"

namespace quench::container {

using coded::CodebookKind;
using coded::Encoding;
using coded::ScaleKind;

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
  kScales = 7,  // scale codes; without it they end the tensor table
};

// Bits of a section's flags.
constexpr uint32_t kSectionMandatory = 1;  // a reader that does not know the kind must refuse the file
constexpr uint32_t kSectionCoded = 2;      // the stored bytes are coded in the byte mode of formats/entropy
constexpr uint32_t kSectionTerse = 4;      // of the graph alone: its names are terse (FORMAT.md, "Terse names")

// Fields of a tensor's form byte: encoding in bits 0-1, ScaleKind in bits 2-3, and:
constexpr uint8_t kScalesFollowRows =
    1 << 4;                            // a scale per row of the index layout; its channels and inner are not stored
constexpr uint32_t kTrellisShift = 5;  // of entropy::Trellis in the form

// Elements of a raw or plane-coded tensor are cut into chunks of this many units (see planes.h).
constexpr uint64_t kChunkUnits = uint64_t{1} << 17;

// formats/entropy speaks uint8_t.
inline std::span<const uint8_t> as_uint8(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}
inline std::span<uint8_t> as_writable_uint8(std::span<std::byte> bytes) {
  return {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace quench::container
