#include "formats/image/index_model.h"

namespace quench::image {

Status check_index_layout(const IndexLayout& layout) {
  if (layout.channels < 1 || layout.channels > kMaxChannels) {
    return Status::error(StatusCode::kInvalidArgument, "%u channels; a codec has 1 to %u", layout.channels,
                         kMaxChannels);
  }
  if (layout.levels < kMinLevels || layout.levels > kMaxLevels) {
    return Status::error(StatusCode::kInvalidArgument, "%u levels; a codec has %u to %u", layout.levels, kMinLevels,
                         kMaxLevels);
  }
  if (layout.zero >= layout.levels) {
    return Status::error(StatusCode::kInvalidArgument, "level %u stands for zero, of %u", layout.zero, layout.levels);
  }
  if (layout.zero > kMaxLevel || layout.levels - 1 - layout.zero > kMaxLevel) {
    return Status::error(StatusCode::kInvalidArgument, "level %u of %u stands for zero; either side has at most %u",
                         layout.zero, layout.levels, kMaxLevel);
  }
  const auto fits = [](uint32_t side) { return side >= 1 && side <= kTileSide; };
  if (!fits(layout.height) || !fits(layout.width)) {
    return Status::error(StatusCode::kInvalidArgument, "a tile of %u x %u latents; its sides are 1 to %u", layout.width,
                         layout.height, kTileSide);
  }
  return Status();
}

Status check_index_call(const IndexLayout& layout, size_t prior, size_t indices, std::span<const uint8_t> scratch) {
  QUENCH_RETURN_IF_ERROR(check_index_layout(layout));
  if (prior != layout.prior_size() || indices != layout.symbols()) {
    return Status::error(StatusCode::kInvalidArgument, "the prior or the indices have a wrong size");
  }
  if (scratch.size() < index_scratch_size(layout.channels) || reinterpret_cast<uintptr_t>(scratch.data()) % 64 != 0) {
    return Status::error(StatusCode::kInvalidArgument, "the scratch memory is too small or not aligned");
  }
  return Status();
}

}  // namespace quench::image
