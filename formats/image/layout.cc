#include "formats/image/layout.h"

#include "formats/base/crc32c.h"

namespace quench::image {

Status check_header(const ImageHeader& header) {
  const auto fits = [](uint32_t side) { return side >= 1 && side <= kMaxSide; };
  if (!fits(header.width) || !fits(header.height) || uint64_t{header.width} * header.height > kMaxPixels) {
    return Status::error(StatusCode::kCorrupt, "an image of %u x %u pixels; sides go to 2^20, pixels to 2^28",
                         header.width, header.height);
  }
  if (header.quality < 1) return Status::error(StatusCode::kCorrupt, "the quality is 0");
  const IndexLayout codec{header.channels, header.levels, header.zero, 1, 1};
  const Status status = check_index_layout(codec);
  return status.ok() ? status : Status::error(StatusCode::kCorrupt, "%s", status.detail());
}

uint32_t codec_identity(uint32_t channels, uint32_t levels, uint32_t zero, std::span<const uint8_t> prior) {
  const uint8_t numbers[] = {static_cast<uint8_t>(channels - 1), static_cast<uint8_t>(levels),
                             static_cast<uint8_t>(zero)};
  return crc32c(std::as_bytes(prior), crc32c(std::as_bytes(std::span(numbers))));
}

}  // namespace quench::image
