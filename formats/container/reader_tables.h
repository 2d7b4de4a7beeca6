// The decoded tables of an open file: what Reader points to, in the memory that its caller gave. Shared by reader.cc,
// which builds them, and decode.cc, which uses them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/container/reader.h"
#include "formats/entropy/decoder.h"

namespace quench::container {

constexpr uint32_t kKnownSections = 8;  // SectionKind numbers below this one

struct Section {
  uint32_t flags = 0;
  uint64_t offset = 0;
  uint64_t stored = 0;
  uint64_t decoded = 0;
  uint32_t crc = 0;
  bool present = false;

  bool coded() const { return (flags & kSectionCoded) != 0; }
};

struct TensorRecord {
  TensorInfo info;
  std::span<const std::byte> stream;
  entropy::StreamLayout layout;  // quantized tensors only
};

struct Reader::Tables {
  std::span<const std::byte> file;
  Section sections[kKnownSections];
  std::span<TensorRecord> tensors;
  std::span<coded::Codebook> codebooks;
  std::span<entropy::Decoder> decoders;
  std::span<const std::byte> metadata;

  std::span<const std::byte> stored(SectionKind kind) const {
    const Section& section = sections[static_cast<uint32_t>(kind)];
    return file.subspan(section.offset, section.stored);
  }
};

// Chunks of a tensor whose type, encoding, element count and layout are set.
uint64_t chunk_count(const TensorRecord& record);

// Scratch of one decode call for a tensor.
uint64_t scratch_size(const TensorRecord& record);

}  // namespace quench::container
