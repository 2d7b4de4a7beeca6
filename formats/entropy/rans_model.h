// What the two ends of the rANS coder share (asymmetric numeral systems: Duda 2013; interleaved: Giesen 2014).
//
// A model has up to kRansTables tables of 256 frequencies that sum to 2^11, and a map from the contexts of
// rans_context.h to tables. Tokens 0 .. 254 are levels from first_level on; where the context predicts a negative
// level, levels are negated first. The last token is the escape: the index itself follows as a 16-bit word.
//
// A chunk has up to kRansLanes lanes, each with a 32-bit state of at least 2^16 that takes in 16 bits at a time. Every
// lane decodes its own rows, all lanes the same column at a time. A chunk's bytes are the lanes' first states, then the
// words in the order in which they are needed: per column, first by the states of the lanes in order, then by their
// escapes. All states end at 2^16.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/status.h"

namespace quench::entropy {

inline constexpr uint32_t kRansLanes = 32;
inline constexpr uint32_t kRansTables = 16;
inline constexpr uint32_t kRansPrecision = 11;  // a bit more saves 0.05 % and doubles the tables
inline constexpr uint32_t kRansTotal = 1u << kRansPrecision;
inline constexpr uint32_t kRansLowest = 1u << 16;
inline constexpr uint32_t kRansTokens = 256;
inline constexpr uint32_t kRansEscape = kRansTokens - 1;
inline constexpr int32_t kRansSignedFirst = -127;
inline constexpr uint32_t kRansScales = 16;
inline constexpr uint32_t kRansTrusts = 8;
inline constexpr uint32_t kRansContexts = kRansScales * kRansTrusts;

struct RansModel {
  bool is_signed;  // first_level is kRansSignedFirst, otherwise 0
  uint32_t tables;
  uint8_t table_of_context[kRansContexts];
  uint16_t frequencies[kRansTables][kRansTokens];

  int32_t first_level() const { return is_signed ? kRansSignedFirst : 0; }
};

// How a model is stored: each context's table as the nodes of a tree, in contexts of the table of the context before;
// each frequency as its width in bits, in contexts of the width before, and its bits below the highest.
template <typename Bit>
struct RansModelContexts {
  Bit table[kRansTables][kRansTables];
  Bit width[kRansPrecision + 2][16];
};
inline constexpr uint32_t kWidthBits = 4;

// Of a model, by its first byte behind the coder's.
inline uint32_t rans_table_count(uint8_t head) { return (head >> 1) + 1u; }

// Reads a model without its coder byte. Every table sums to kRansTotal and has an escape.
Status parse_rans_model(std::span<const uint8_t> body, RansModel& model);

}  // namespace quench::entropy
