// What reader and writer of a .qim file share. QIM.md specifies the file byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/image/index_model.h"
#include "formats/image/tiles.h"

namespace quench::image {

inline constexpr uint8_t kMagic[4] = {0x89, 'Q', 'I', 'M'};
inline constexpr uint8_t kVersion = 1;
inline constexpr uint8_t kGreyFlag = 1;
inline constexpr uint8_t kAlphaFlag = 2;
inline constexpr uint32_t kLatentPixels = 8;    // along each side of a latent
inline constexpr uint32_t kMaxSide = 1u << 20;  // pixels
inline constexpr uint64_t kMaxPixels = uint64_t{1} << 28;
inline constexpr size_t kChecksumSize = 4;
inline constexpr uint16_t kQualityUnit = 256;

struct ImageHeader {
  uint32_t width = 0, height = 0;  // pixels
  uint16_t quality = 0;            // in 1/kQualityUnit, at least 1
  bool is_grey = false;
  bool has_alpha = false;
  // The codec: its channels, levels and zero, and codec_identity().
  uint32_t channels = 0, levels = 0, zero = 0;
  uint32_t codec = 0;

  uint32_t latent_width() const { return (width + kLatentPixels - 1) / kLatentPixels; }
  uint32_t latent_height() const { return (height + kLatentPixels - 1) / kLatentPixels; }
  uint32_t tiles() const { return tile_count(latent_height(), latent_width()); }
  TileArea tile(uint32_t number) const { return tile_area(latent_height(), latent_width(), number); }
  IndexLayout tile_layout(uint32_t number) const {
    const TileArea area = tile(number);
    return {channels, levels, zero, area.height, area.width};
  }
  // The part of the image that a tile covers, in pixels.
  TileArea tile_pixels(uint32_t number) const {
    const TileArea area = tile(number);
    const uint32_t top = area.top * kLatentPixels, left = area.left * kLatentPixels;
    return {top, left, std::min(area.height * kLatentPixels, height - top),
            std::min(area.width * kLatentPixels, width - left)};
  }
};

// Sizes, quality and the codec's numbers are within their ranges; kCorrupt otherwise.
Status check_header(const ImageHeader& header);

// What tells codecs apart: CRC-32C of channels - 1, levels, zero (a byte each) and the prior.
uint32_t codec_identity(uint32_t channels, uint32_t levels, uint32_t zero, std::span<const uint8_t> prior);

}  // namespace quench::image
