#include "formats/image/plane_encoder.h"

#include "formats/entropy/range_encoder.h"
#include "formats/image/plane_model.h"

namespace quench::image {

Status encode_plane(const PlaneView<const uint8_t>& plane, ByteSink& out) {
  PlaneContexts contexts;
  entropy::RangeEncoderTo<SinkString> encoder{SinkString(out)};
  const auto decide = [&](entropy::SteadyBit& context, bool bit) {
    encoder.encode(bit ? 1 : 0, context.probability());
    context.update(bit ? 1 : 0);
    return bit;
  };
  for (uint32_t row = 0; row < plane.height; ++row) {
    const uint8_t* pixel = plane.first + plane.row_bytes * static_cast<ptrdiff_t>(row);
    for (uint32_t column = 0; column < plane.width; ++column, pixel += plane.pixel_bytes) {
      const PlaneNeighbours near(pixel, plane.pixel_bytes, plane.row_bytes, row, column, plane.width);
      walk_plane_pixel(contexts, near, *pixel, decide);
    }
  }
  encoder.finish();
  return out.failed ? Status(StatusCode::kOutOfMemory) : Status();
}

}  // namespace quench::image
