// The decoding end of the rANS coder (see rans_model.h and rans_context.h): a plain reference, and vectors.
#pragma once

#include <cstdint>
#include <span>

#include "formats/entropy/coder.h"
#include "formats/entropy/rans_model.h"
#include "formats/status.h"

namespace quench::entropy {

struct RansTables {
  // By slot_base[context] plus the lowest 12 bits of a state: token, then frequency - 1, then the state's distance from
  // the token's first.
  const uint32_t* slots;
  uint32_t slot_base[kRansContexts];
  int32_t first_level;

  static constexpr uint32_t kTokenShift = 24;
  static constexpr uint32_t kFrequencyShift = 12;
};

// How many numbers `slots` of build_rans_tables() holds.
inline size_t rans_slots(uint32_t tables) { return size_t{tables} * kRansTotal; }
void build_rans_tables(const RansModel& model, uint32_t* slots, RansTables& tables);

// One chunk, checked by the caller; `scratch` holds kDecodeScratch bytes, aligned to 64.
template <typename Index>
Status decode_rans(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                   std::span<uint8_t> scratch);
template <typename Index>
Status decode_rans_reference(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                             Index* out, std::span<uint8_t> scratch);

}  // namespace quench::entropy
