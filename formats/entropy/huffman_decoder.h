// The decoding end of the canonical, length-limited Huffman coder (see huffman_model.h).
#pragma once

#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/entropy/coder.h"
#include "formats/entropy/huffman_model.h"

namespace quench::entropy {

struct HuffmanTables {
  // By the next kMaxCodeLength bits: a level in the upper 12 bits (offset by kLevelOffset), its code's length in the
  // lower 4. The escape has length 0 here.
  uint16_t entries[1 << kMaxCodeLength];
  // The canonical code, for decoding bit by bit.
  uint16_t codes_of_length[kMaxCodeLength + 1];
  uint16_t tokens[kMaxTokens];  // in the order of their codes
  uint32_t token_count;
  uint32_t escape_length;
  int32_t first_level;

  static constexpr int32_t kLevelOffset = 2048;
};

void build_huffman_tables(const HuffmanModel& model, HuffmanTables& tables);

// One chunk, checked by the caller. The reference walks the canonical code bit by bit.
template <typename Index>
Status decode_huffman(const HuffmanTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                      Index* out);
template <typename Index>
Status decode_huffman_reference(const HuffmanTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                                Index* out);

}  // namespace quench::entropy
