// How outputs are cut into blocks.
#pragma once

#include <cstdint>

#include "runtime/kernels/fast/tile.h"

namespace quench::rt::fast {

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// [0, total) cut into the fewest pieces of at most `most`, as even as possible.
struct Pieces {
  Pieces(int64_t total, int64_t most) : count(divide_up(total, most)), total_(total) {}
  int64_t begin(int64_t piece) const { return total_ * piece / count; }
  int64_t size(int64_t piece) const { return begin(piece + 1) - begin(piece); }

  int64_t count;

 private:
  int64_t total_;
};

// How many vectors of outputs a tile should compute at once: `vectors` are there in all, for each of `row` pixels, and
// each output is a sum of `sum_length` products.
int choose_block_vectors(const TileSet& tiles, int64_t vectors, int64_t row, int64_t sum_length);

}  // namespace quench::rt::fast
