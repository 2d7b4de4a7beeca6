// Indices for the tests of image files, drawn in integers from a seed: the same on any machine.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "formats/image/index_model.h"
#include "tests/formats/random.h"

namespace quench::image::testing {

using ::quench::testing::Random;

inline std::vector<uint8_t> random_bytes(size_t size, uint32_t bound, uint64_t seed) {
  Random random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.below(bound));
  return bytes;
}

// Any index, all alike.
inline std::vector<uint8_t> noise(const IndexLayout& layout, uint64_t seed) {
  return random_bytes(layout.symbols(), layout.levels, seed);
}

// Mostly zero; magnitudes in halves of halves, larger in patches that all channels share; half of the left neighbour's
// level added.
inline std::vector<uint8_t> picture(const IndexLayout& layout, uint64_t seed) {
  Random random(seed);
  std::vector<uint8_t> indices;
  const int32_t zero = static_cast<int32_t>(layout.zero), last = static_cast<int32_t>(layout.levels) - 1;
  for (uint32_t channel = 0; channel < layout.channels; ++channel) {
    for (uint32_t row = 0; row < layout.height; ++row) {
      int32_t before = 0;
      for (uint32_t column = 0; column < layout.width; ++column) {
        const uint32_t patch = (row / 4 * 7 + column / 4 * 3) % 5;
        const int32_t ones = std::countr_zero(random.next() | uint64_t{1} << 40);
        int32_t level = std::max(0, ones - static_cast<int32_t>(patch));
        if (random.below(2) == 0) level = -level;
        level += before / 2;
        before = level;
        indices.push_back(static_cast<uint8_t>(std::clamp(zero + level, 0, last)));
      }
    }
  }
  return indices;
}

}  // namespace quench::image::testing
