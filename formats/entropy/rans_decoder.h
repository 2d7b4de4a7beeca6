// The decoding end of the rANS coder (see rans_model.h and rans_context.h): a plain reference, and vectors.
#pragma once

#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/entropy/coder.h"
#include "formats/entropy/rans_model.h"

namespace quench::entropy {

struct RansTables {
  // By scale; 4 bits for each trust, the lowest first.
  alignas(64) int32_t packed_tables[kRansScales];
  // By table, then by the lowest kRansPrecision bits of a state: token, then frequency, then the state's distance from
  // the token's first.
  const uint32_t* slots;
  int32_t first_level;

  static constexpr uint32_t kTokenShift = 24;
  static constexpr uint32_t kFrequencyShift = 12;
  static constexpr uint32_t kFieldMask = 4095;
  static_assert(kRansTotal <= kFieldMask);
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
