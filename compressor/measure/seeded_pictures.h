// Made-up pictures, for models of which no photograph is at hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "compressor/measure/seeded_random.h"

namespace quench::measure {

// How pictures are given to a model: mean + deviation * v between low and high, where v is drawn with about zero mean
// and unit variance.
struct PictureScale {
  double mean, deviation, low, high;
};
inline constexpr PictureScale kNormalizedPictures = {0, 1, -2.2, 2.5};
inline constexpr PictureScale kBytePictures = {115, 64, 0, 255};

// Pictures and sounds of one input; then they come again. A batch may be a million.
inline constexpr size_t kDifferentSeeded = 256;

// Pictures of `dims`, N x C x H x W with the channels along `axis` 1 or N x H x W x C with axis 3, of the "dead leaves"
// kind (Lee, Mumford and Huang 2001): overlapping shaded and textured discs and boxes of all sizes, whose edges and
// spectra resemble those of photographs.
std::vector<float> draw_pictures(std::span<const int64_t> dims, int axis, const PictureScale& scale, Random& random);

}  // namespace quench::measure
