// The decoding end of the adaptive arithmetic coder (binary decisions in contexts, as in CABAC; see
// arithmetic_model.h).
#pragma once

#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/entropy/arithmetic_model.h"
#include "formats/entropy/coder.h"

namespace quench::entropy {

struct ArithmeticTables {
  LevelContexts<uint16_t> initial;  // probabilities of a 1 that every chunk starts with
};

// One chunk, checked by the caller; `scratch` holds kDecodeScratch bytes, aligned to 64. The reference does the
// arithmetic in its own, plain way.
template <typename Index>
Status decode_arithmetic(const ArithmeticTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                         Index* out, std::span<uint8_t> scratch);
template <typename Index>
Status decode_arithmetic_reference(const ArithmeticTables& tables, std::span<const uint8_t> bytes,
                                   const StreamLayout& chunk, Index* out, std::span<uint8_t> scratch);

}  // namespace quench::entropy
