// How latents are cut into tiles that are coded by themselves: from the top left, in rows; the last of a row or column
// may be smaller.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/image/index_model.h"

namespace quench::image {

struct TileArea {
  uint32_t top, left, height, width;  // in latents
};

inline uint32_t tile_count(uint32_t height, uint32_t width) {
  return ((height - 1) / kTileSide + 1) * ((width - 1) / kTileSide + 1);
}

// The tile of a number below tile_count(height, width).
inline TileArea tile_area(uint32_t height, uint32_t width, uint32_t number) {
  const uint32_t columns = (width - 1) / kTileSide + 1;
  const uint32_t top = number / columns * kTileSide, left = number % columns * kTileSide;
  return {top, left, std::min(kTileSide, height - top), std::min(kTileSide, width - left)};
}

// A tile's indices out of all channels x height x width.
inline std::vector<uint8_t> cut_tile(const TileArea& area, uint32_t channels, uint32_t height, uint32_t width,
                                     std::span<const uint8_t> indices) {
  std::vector<uint8_t> tile;
  for (uint32_t channel = 0; channel < channels; ++channel) {
    for (uint32_t row = area.top; row < area.top + area.height; ++row) {
      const auto line = indices.subspan((size_t{channel} * height + row) * width + area.left, area.width);
      tile.insert(tile.end(), line.begin(), line.end());
    }
  }
  return tile;
}

}  // namespace quench::image
