// What the two ends of the Huffman coder share: tokens, and how code lengths are stored.
//
// A token is a level of the model's range [first_level, first_level + tokens - 2], or the escape (the last token).
// Every other level follows an escape as 5 bits of width w and w bits of its zigzag value; so does a level within the
// range that has no code.
//
// Codes are canonical (shorter codes first, equal lengths in the order of tokens), sent lowest bit first. A chunk of at
// least kHuffmanLaneSymbols is cut into kHuffmanLanes runs with a bitstream each, which are decoded side by side; their
// lengths but the last's come first, as LEB128 numbers. Each bitstream ends at the next byte, filled with zero bits.
#pragma once

#include <cstdint>
#include <span>

#include "formats/base/status.h"

namespace quench::entropy {

inline constexpr uint32_t kMaxCodeLength = 12;
inline constexpr uint32_t kMaxTokens = 1024;    // with the escape
inline constexpr int32_t kMaxFirstLevel = 512;  // its magnitude
inline constexpr uint32_t kEscapeWidthBits = 5;
inline constexpr uint32_t kMaxEscapeWidth = 17;
inline constexpr uint32_t kHuffmanLanes = 4;
inline constexpr uint64_t kHuffmanLaneSymbols = 512;

// Code lengths are stored as nodes of a binary tree of depth 4, in contexts of the length before.
template <typename Bit>
struct LengthContexts {
  Bit node[kMaxCodeLength + 1][16];
};
inline constexpr uint32_t kLengthBits = 4;

struct HuffmanModel {
  int32_t first_level;
  uint32_t tokens;
  uint8_t lengths[kMaxTokens];  // 0: no code
};

// Reads a model without its coder byte. Its code lengths make up a complete prefix code in which the escape has a code.
Status parse_huffman_model(std::span<const uint8_t> body, HuffmanModel& model);

inline uint32_t huffman_lanes(uint64_t symbols) { return symbols >= kHuffmanLaneSymbols ? kHuffmanLanes : 1; }

// The first symbol of run `lane`; that of run `lanes` is the end.
inline uint64_t huffman_run(uint64_t symbols, uint32_t lanes, uint32_t lane) {
  return (symbols * lane + lanes - 1) / lanes;
}

inline uint32_t zigzag(int32_t level) {
  return (static_cast<uint32_t>(level) << 1) ^ static_cast<uint32_t>(level >> 31);
}
inline int32_t unzigzag(uint32_t value) { return static_cast<int32_t>(value >> 1) ^ -static_cast<int32_t>(value & 1); }

}  // namespace quench::entropy
