#include "formats/image/plane_decoder.h"

#include "formats/entropy/range_decoder.h"
#include "formats/image/plane_model.h"

namespace quench::image {

Status decode_plane(std::span<const uint8_t> bytes, const PlaneView<uint8_t>& plane) {
  const auto pixel_bytes = static_cast<ptrdiff_t>(plane.pixel_bytes),
             row_bytes = static_cast<ptrdiff_t>(plane.row_bytes);
  PlaneContexts contexts;
  entropy::RangeDecoder decoder(bytes);
  const auto decide = [&](entropy::SteadyBit& context, bool) {
    const uint32_t bit = decoder.decode(context.probability());
    context.update(bit);
    return bit != 0;
  };
  for (uint32_t row = 0; row < plane.height; ++row) {
    uint8_t* pixel = plane.first + row_bytes * static_cast<ptrdiff_t>(row);
    for (uint32_t column = 0; column < plane.width; ++column, pixel += pixel_bytes) {
      const PlaneNeighbours near(pixel, pixel_bytes, row_bytes, row, column, plane.width);
      *pixel = walk_plane_pixel(contexts, near, 0, decide);
    }
    if (decoder.exhausted()) return Status(StatusCode::kTruncated);
  }
  return decoder.finish();
}

}  // namespace quench::image
