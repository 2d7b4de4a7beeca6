// The encoding end of the index coder.
#pragma once

#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/image/byte_sink.h"
#include "formats/image/index_model.h"

namespace quench::image {

// Appends the bytes of one tile: the same indices give the same ones. `indices`: layout.symbols(); `prior`:
// layout.prior_size() bytes, from PriorFitter; `scratch`: index_scratch_size() bytes, aligned to 64. Errors: kInvalidArgument
// (sizes, an index that is not below layout.levels), kOutOfMemory (the sink cannot grow).
Status encode_indices(const IndexLayout& layout, std::span<const uint8_t> prior, std::span<const uint8_t> indices,
                      std::span<uint8_t> scratch, ByteSink& out);

}  // namespace quench::image
