// The decoding end of the plane coder. No heap; every byte may be hostile.
#pragma once

#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/image/plane_view.h"

namespace quench::image {

// Errors: kTruncated, kCorrupt. After an error the plane is unspecified.
Status decode_plane(std::span<const uint8_t> bytes, const PlaneView<uint8_t>& plane);

}  // namespace quench::image
