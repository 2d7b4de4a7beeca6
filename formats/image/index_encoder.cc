#include "formats/image/index_encoder.h"

#include <algorithm>
#include <new>

#include "formats/entropy/range_encoder.h"

namespace quench::image {

Status encode_indices(const IndexLayout& layout, std::span<const uint8_t> prior, std::span<const uint8_t> indices,
                      std::span<uint8_t> scratch, ByteSink& out) {
  QUENCH_RETURN_IF_ERROR(check_index_call(layout, prior.size(), indices.size(), scratch));
  if (std::any_of(indices.begin(), indices.end(), [&](uint8_t index) { return index >= layout.levels; })) {
    return Status::error(StatusCode::kInvalidArgument, "an index is beyond the codec's %u levels", layout.levels);
  }
  auto& state = *new (scratch.data()) IndexState;
  auto* levels = reinterpret_cast<int8_t*>(scratch.data() + sizeof(IndexState));
  IndexMixer& mixer = state.mixer;
  mixer.begin_tile(layout.levels);
  const IndexTree tree(layout.levels, layout.zero);
  entropy::RangeEncoderTo<SinkString> encoder{SinkString(out)};
  const auto begin_channel = [&](uint32_t channel) {
    mixer.begin_channel(prior.data() + layout.channel_prior() * channel);
  };
  const auto encode = [&](const IndexContext& context, uint8_t index) {
    tree.walk(index, context.center, [&](uint32_t node, bool bit) {
      encoder.encode(bit ? 1 : 0, mixer.predict(context, node));
      mixer.update(bit ? 1 : 0);
      return bit;
    });
  };
  walk_indices(layout, state.planes, levels, prior.data(), indices.data(), begin_channel, encode, [] { return true; });
  encoder.finish();
  return out.failed ? Status(StatusCode::kOutOfMemory) : Status();
}

}  // namespace quench::image
