// Reads a .qim file that lies in memory: a borrowed span, no heap. The file may be hostile: whatever its bytes say, no call
// reads or writes out of bounds or runs without end, and what is decoded fits the header.
//
//     Result<Reader> reader = Reader::open(file);
//     if (!reader.ok()) return reader.status();
//     for (uint32_t i = 0; i < reader->header().tiles(); ++i) {
//       QUENCH_RETURN_IF_ERROR(reader->decode_indices(i, prior, indices, scratch));
//     }
#pragma once

#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/image/layout.h"
#include "formats/image/plane_view.h"

namespace quench::image {

class Reader {
 public:
  Reader() = default;

  // Checks the header, the tiles' lengths and the checksum of the whole file. Errors: kBadMagic, kUnsupportedVersion,
  // kUnsupportedFeature (an unknown flag), kTruncated, kCorrupt, kChecksum.
  static Result<Reader> open(std::span<const uint8_t> file);

  const ImageHeader& header() const { return header_; }

  // Indices of a tile below header().tiles(): see index_decoder.h.
  Status decode_indices(uint32_t tile, std::span<const uint8_t> prior, std::span<uint8_t> indices,
                        std::span<uint8_t> scratch) const;

  // Opacity of a tile's pixels, of an image that has it; `plane` is of the tile, whose size is header().tile_pixels().
  Status decode_alpha(uint32_t tile, const PlaneView<uint8_t>& plane) const;

  // Bytes of a stream, in all: for a report.
  uint64_t index_bytes() const;
  uint64_t alpha_bytes() const;

 private:
  std::span<const uint8_t> stream(uint32_t number) const;
  uint64_t length_of(uint32_t first, uint32_t count) const;

  ImageHeader header_;
  std::span<const uint8_t> lengths_;  // a varint for each stream
  std::span<const uint8_t> streams_;
};

}  // namespace quench::image
