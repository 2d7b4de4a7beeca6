// One byte of each pixel of an image in memory.
#pragma once

#include <cstdint>

namespace quench::image {

// Pixels that lie `pixel_bytes` apart, in rows that lie `row_bytes` apart.
template <typename Byte>
struct PlaneView {
  Byte* first = nullptr;
  uint32_t height = 0, width = 0;
  int64_t pixel_bytes = 1, row_bytes = 0;
};

}  // namespace quench::image
