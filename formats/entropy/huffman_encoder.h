// The encoding end of the Huffman coder, and the fit of its code.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "formats/entropy/coder.h"
#include "formats/entropy/huffman_model.h"

namespace quench::entropy {

struct HuffmanCode {
  int32_t first_level = 0;
  std::vector<uint16_t> codes;   // lowest bit first; by token, the escape last
  std::vector<uint8_t> lengths;  // 0: no code
};

// Lengths of at most `max_length` that code `counts` in the fewest bits (package-merge, Larmore and Hirschberg 1990).
// Symbols with count 0 get length 0; at least two counts are not 0.
std::vector<uint8_t> limited_code_lengths(std::span<const uint64_t> counts, uint32_t max_length);

// `level_counts[i]` says how often level i - kMaxAlphabet occurs.
std::vector<uint8_t> write_huffman_model(std::span<const uint64_t> level_counts);

HuffmanCode make_huffman_code(const HuffmanModel& model);

template <typename Index>
std::vector<uint8_t> encode_huffman(const HuffmanCode& code, const StreamLayout& chunk, const Index* indices);

}  // namespace quench::entropy
