// What the two ends of the plane coder share: one byte a pixel (how opaque it is), without loss. Planes of masks are equal
// over wide areas, mostly 0 or 255, with soft edges; a pixel is first compared with its neighbours, and only then coded by
// itself. QIM.md says the same in words.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "formats/entropy/bytes_model.h"

namespace quench::image {

inline constexpr uint32_t kPlaneShapes = 2 * 2 * 2 * 3;  // which neighbours are alike, and whether the left is 0 or 255
inline constexpr uint32_t kPlaneSlopes = 4;

struct PlaneContexts {
  entropy::SteadyBit is_left[kPlaneShapes];
  entropy::SteadyBit is_above[kPlaneShapes];
  entropy::SteadyBit difference[kPlaneSlopes][256];  // a tree
};

// A pixel's neighbours, which are 255 outside the plane.
struct PlaneNeighbours {
  uint8_t left, above, above_left, above_right;

  PlaneNeighbours(const uint8_t* pixel, ptrdiff_t pixel_bytes, ptrdiff_t row_bytes, uint32_t row, uint32_t column,
                  uint32_t width) {
    const auto at = [&](bool is_inside, ptrdiff_t offset) { return is_inside ? pixel[offset] : uint8_t{255}; };
    left = at(column > 0, -pixel_bytes);
    above = at(row > 0, -row_bytes);
    above_left = at(row > 0 && column > 0, -row_bytes - pixel_bytes);
    above_right = at(row > 0 && column + 1 < width, -row_bytes + pixel_bytes);
  }

  uint32_t shape() const {
    const uint32_t kind = left == 0 ? 0 : left == 255 ? 1 : 2;
    return ((left == above ? 4u : 0) + (above == above_left ? 2u : 0) + (above == above_right ? 1u : 0)) * 3 + kind;
  }
  // Where a plane through the neighbours is here.
  uint8_t predicted() const { return static_cast<uint8_t>(std::clamp(left + above - above_left, 0, 255)); }
  uint32_t slope() const {
    const int steep = std::abs(left - above_left) + std::abs(above - above_left);
    return steep < 4 ? 0 : steep < 16 ? 1 : steep < 64 ? 2 : 3;
  }
};

// Calls decide(context, bit) for each decision of a pixel until its value is known, and returns that; as
// IndexTree::walk().
template <typename Decide>
uint8_t walk_plane_pixel(PlaneContexts& contexts, const PlaneNeighbours& near, uint8_t value, Decide&& decide) {
  const uint32_t shape = near.shape();
  if (decide(contexts.is_left[shape], value == near.left)) return near.left;
  if (near.above != near.left && decide(contexts.is_above[shape], value == near.above)) return near.above;
  const auto difference = static_cast<uint8_t>(value - near.predicted());
  uint32_t node = 1;
  for (int bit = 7; bit >= 0; --bit) {
    node = node << 1 | (decide(contexts.difference[near.slope()][node], (difference >> bit & 1) != 0) ? 1 : 0);
  }
  return static_cast<uint8_t>(near.predicted() + node);
}

}  // namespace quench::image
