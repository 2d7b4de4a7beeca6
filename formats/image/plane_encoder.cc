#include "formats/image/plane_encoder.h"

#include "formats/entropy/range_encoder.h"
#include "formats/image/plane_model.h"

namespace quench::image {

Status encode_plane(const PlaneView<const uint8_t>& plane, ByteSink& out) {
  const auto pixel_bytes = static_cast<ptrdiff_t>(plane.pixel_bytes),
             row_bytes = static_cast<ptrdiff_t>(plane.row_bytes);
  PlaneContexts contexts;
  entropy::RangeEncoderTo<SinkString> encoder{SinkString(out)};
  const auto decide = [&](entropy::SteadyBit& context, bool bit) {
    encoder.encode(bit ? 1 : 0, context.probability());
    context.update(bit ? 1 : 0);
    return bit;
  };
  for (uint32_t row = 0; row < plane.height; ++row) {
    const uint8_t* pixel = plane.first + row_bytes * static_cast<ptrdiff_t>(row);
    for (uint32_t column = 0; column < plane.width; ++column, pixel += pixel_bytes) {
      const PlaneNeighbours near(pixel, pixel_bytes, row_bytes, row, column, plane.width);
      walk_plane_pixel(contexts, near, *pixel, decide);
    }
  }
  encoder.finish();
  return out.failed ? Status(StatusCode::kOutOfMemory) : Status();
}

}  // namespace quench::image
