// What the transforms of Winograd's F(4 x 4, 3 x 3) work on.
#pragma once

#include <cstdint>

#include "runtime/kernels/fast/conv.h"

namespace quench::rt::fast {

// Tiles are numbered by image, row of tiles, column of tiles. A unit transforms `count` of them from `first` on.
// Transformed inputs lie as [36 frequencies][tile][channel], the frequencies `input_step` floats apart, the tiles
// `input_tile` (a multiple of the lanes); transformed outputs likewise.
struct WinogradUnit {
  const ConvShape* shape;
  const ConvData* data;
  const float* bias;  // padded to whole vectors
  int64_t first_tile, count;
  float* inputs;
  int64_t input_step, input_tile;
  float* outputs;
  int64_t output_step, output_tile;
  int64_t first_channel, end_channel;  // of the output; the first is a multiple of the lanes
  float* columns;                      // for the tiles of a segment: kWinogradColumns x 6 vectors
};

inline constexpr int64_t kWinogradSegment = 8;  // tiles of a row that are transformed together
inline constexpr int64_t kWinogradColumns = 4 * kWinogradSegment + 2;

}  // namespace quench::rt::fast
