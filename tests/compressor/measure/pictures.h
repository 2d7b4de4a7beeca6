// Pictures for tests of what compares pictures.
#pragma once

#include <algorithm>
#include <cstdint>

#include "compressor/data/image.h"

namespace quench::measure {

// A ramp with noise of up to `noise` levels each way.
inline data::Picture noisy_ramp(int width, int height, int channels, uint64_t seed, int noise) {
  data::Picture picture;
  picture.width = width;
  picture.height = height;
  picture.samples = channels;
  uint64_t i = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int k = 0; k < channels; ++k, ++i) {
        uint64_t hash = (i * 2654435761u + seed * 40503u) & 0xFFFFFFFFu;
        hash = ((hash ^ (hash >> 15)) * 2246822519u) & 0xFFFFFFFFu;
        const int ramp = (x * 3 + y * 2 + k * 40) / 4 % 256;
        const int added = static_cast<int>((hash >> 16) % static_cast<uint64_t>(2 * noise + 1)) - noise;
        picture.pixels.push_back(static_cast<uint8_t>(std::clamp(ramp + added, 0, 255)));
      }
    }
  }
  return picture;
}

}  // namespace quench::measure
