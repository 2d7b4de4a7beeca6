// The decoding end of the index coder. No heap; every byte may be hostile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/image/index_model.h"

namespace quench::image {

// Decodes one tile into `indices`, layout.symbols() of them. `prior`: the codec's, layout.prior_size() bytes; `scratch`:
// index_scratch_size() bytes, aligned to 64. Errors: kTruncated, kCorrupt (the bytes are not what the encoder writes),
// kInvalidArgument. Afterwards all indices are below layout.levels, or unspecified after an error.
Status decode_indices(const IndexLayout& layout, std::span<const uint8_t> prior, std::span<const uint8_t> bytes,
                      std::span<uint8_t> indices, std::span<uint8_t> scratch);

}  // namespace quench::image
