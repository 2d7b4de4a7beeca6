// Writes a .qim file into memory: the tiles' streams in their order, then finish().
//
//     Writer writer(header, streams);                         // `streams`, `lengths`: sinks of the caller's
//     for each tile: writer.add_indices(tile, prior, indices, scratch);
//     for each tile: writer.add_alpha(tile, plane);            // of an image that has it
//     writer.finish(file);
#pragma once

#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/image/byte_sink.h"
#include "formats/image/layout.h"
#include "formats/image/plane_view.h"

namespace quench::image {

class Writer {
 public:
  // `streams` and `lengths` are empty, and hold the file's parts until finish().
  Writer(const ImageHeader& header, ByteSink& streams, ByteSink& lengths)
      : header_(header), streams_(&streams), lengths_(&lengths) {}

  // The next tile, numbered from 0: see index_encoder.h.
  Status add_indices(uint32_t tile, std::span<const uint8_t> prior, std::span<const uint8_t> indices,
                     std::span<uint8_t> scratch);
  // Behind the indices of all tiles; the plane's size is header.tile_pixels(tile).
  Status add_alpha(uint32_t tile, const PlaneView<const uint8_t>& plane);

  // Appends the file. Errors: kInvalidArgument (the header, or tiles that are missing), kOutOfMemory.
  Status finish(ByteSink& file) const;

 private:
  Status end_stream(size_t begin);

  ImageHeader header_;
  ByteSink* streams_;
  ByteSink* lengths_;
  uint32_t count_ = 0;  // streams so far
};

}  // namespace quench::image
