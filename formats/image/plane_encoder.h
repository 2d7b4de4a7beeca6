// The encoding end of the plane coder.
#pragma once

#include <cstdint>

#include "formats/base/status.h"
#include "formats/image/byte_sink.h"
#include "formats/image/plane_view.h"

namespace quench::image {

// Appends the bytes of a plane: the same plane gives the same ones. Errors: kOutOfMemory (the sink cannot grow).
Status encode_plane(const PlaneView<const uint8_t>& plane, ByteSink& out);

}  // namespace quench::image
