// The lapped cosine transform of Tran, Liang and Tu, "Lapped Transform via Time-Domain Pre- and Post-Filtering", 2003:
// blocks of 8 values become 8 frequencies, each a wave over 16 values, half a block more on each side, so that what is
// rounded there leaves no borders between blocks.
#pragma once

#include <array>
#include <cstddef>

namespace quench::networks {

constexpr size_t kLappedSide = 8, kLappedTaps = 16;

// [frequency][tap], orthonormal: the same there and back.
using LappedWaves = std::array<std::array<double, kLappedTaps>, kLappedSide>;

LappedWaves lapped_waves();

}  // namespace quench::networks
