// Trellis-coded quantization (Marcellin and Fischer 1990; with entropy coding, Fischer and Wang 1992): a fine codebook
// whose even and odd indices are two coarse ones, which take turns. Which one is next follows from what was chosen
// before, so only half of an index is coded, and of the finer codebook's eight ways to go on the encoder picks the
// path that stays nearest: 1.1 dB nearer than the coarse codebook at the same rate, 1.5 dB being the most of any
// quantizer.
//
// An index i and its coded symbol k:      i = 2 * k + (state & 1)
// The state, of 8, at first 0, goes on:   state = next_state(state, k & 1)
//
// There is one state for each column of a chunk (kDownColumns; a column: the same channel and inner position in all of
// its rows), or for each row (kAlongRows). The coders see the symbols, under symbol_layout() of the chunk's layout.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "formats/entropy/coder.h"

namespace quench::entropy {

inline constexpr uint32_t kTrellisStates = 8;

// [state][parity of the symbol]
inline constexpr uint8_t kNextState[kTrellisStates][2] = {{0, 2}, {5, 7}, {1, 3}, {6, 4},
                                                          {2, 0}, {4, 6}, {3, 1}, {7, 5}};

inline uint32_t next_state(uint32_t state, uint32_t symbol) { return kNextState[state][symbol & 1]; }

// The layout of the coded symbols: half of the alphabet.
inline StreamLayout symbol_layout(StreamLayout layout) {
  if (layout.trellis == Trellis::kNone) return layout;
  layout.alphabet /= 2;
  layout.zero_symbol /= 2;
  layout.trellis = Trellis::kNone;
  return layout;
}

// For how many symbols a state lives, where a row fits into a chunk: down a chunk's columns, or along a row.
inline uint64_t trellis_run(const StreamLayout& layout) {
  const uint64_t row = layout.channels * layout.inner;
  return layout.trellis == Trellis::kAlongRows ? row : kMaxChunkSymbols / row;
}

// Calls visit(position, state) for all positions of a chunk, in an order in which each state is known; visit returns
// the symbol there.
template <typename Visit>
void follow_trellis(const StreamLayout& chunk, Visit visit) {
  const uint64_t width = chunk.channels * chunk.inner;
  if (chunk.trellis == Trellis::kAlongRows) {
    for (uint64_t row = 0; row < chunk.rows; ++row) {
      uint32_t state = 0;
      for (uint64_t i = row * width; i < (row + 1) * width; ++i) state = next_state(state, visit(i, state));
    }
    return;
  }
  constexpr uint64_t kColumns = 64;  // at a time: a cache line of indices in each row
  for (uint64_t first = 0; first < width; first += kColumns) {
    uint8_t states[kColumns] = {};
    const uint64_t columns = std::min(kColumns, width - first);
    for (uint64_t row = 0; row < chunk.rows; ++row) {
      for (uint64_t c = 0; c < columns; ++c) {
        const uint32_t symbol = visit(row * width + first + c, uint32_t{states[c]});
        states[c] = static_cast<uint8_t>(next_state(states[c], symbol));
      }
    }
  }
}

}  // namespace quench::entropy
