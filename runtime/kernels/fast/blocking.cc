#include "runtime/kernels/fast/blocking.h"

#include <algorithm>

namespace quench::rt::fast {
namespace {

// Cycles, roughly, of one step of the sum for a row of pixels with blocks of `vectors`: multiplications against their
// latency, and against the loads of weights (slower where they do not fit the first-level cache) and inputs.
double step_cost(const TileSet& tiles, int vectors, int64_t row, bool weights_in_l1) {
  const Pieces pieces(row, tiles.max_pixels[vectors - 1]);
  double cost = 0;
  for (int64_t i = 0; i < pieces.count; ++i) {
    const double pixels = static_cast<double>(pieces.size(i));
    cost += std::max({vectors * pixels, 4.0, vectors + pixels / 2, weights_in_l1 ? 0.0 : 3.0 * vectors}) + 0.5;
  }
  return cost;
}

}  // namespace

int choose_block_vectors(const TileSet& tiles, int64_t vectors, int64_t row, int64_t sum_length) {
  constexpr int64_t kL1Floats = 6 * 1024;
  row = std::clamp<int64_t>(row, 1, 4096);
  vectors = std::clamp<int64_t>(vectors, 1, 4096);
  int best = 1;
  double best_cost = 0;
  for (int v = 1; v <= kMaxTileVectors && v <= vectors; ++v) {
    // Even pieces differ by one vector at most.
    const Pieces blocks(vectors, v);
    const int small = static_cast<int>(vectors / blocks.count);
    const int64_t large_blocks = vectors % blocks.count;
    const auto cost_of = [&](int size) {
      return step_cost(tiles, size, row, sum_length * size * tiles.lanes <= kL1Floats);
    };
    double cost = static_cast<double>(blocks.count - large_blocks) * cost_of(small);
    if (large_blocks > 0) cost += static_cast<double>(large_blocks) * cost_of(small + 1);
    if (v == 1 || cost < best_cost) {
      best = v;
      best_cost = cost;
    }
  }
  return best;
}

}  // namespace quench::rt::fast
