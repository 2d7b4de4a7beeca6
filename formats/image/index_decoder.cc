#include "formats/image/index_decoder.h"

#include <new>

#include "formats/entropy/range_decoder.h"

namespace quench::image {

static_assert(sizeof(IndexState) <= kIndexScratch);

Status decode_indices(const IndexLayout& layout, std::span<const uint8_t> prior, std::span<const uint8_t> bytes,
                      std::span<uint8_t> indices, std::span<uint8_t> scratch) {
  QUENCH_RETURN_IF_ERROR(check_index_layout(layout));
  if (prior.size() != layout.prior_size() || indices.size() != layout.symbols()) {
    return Status::error(StatusCode::kInvalidArgument, "the prior or the indices have a wrong size");
  }
  if (scratch.size() < kIndexScratch || reinterpret_cast<uintptr_t>(scratch.data()) % 64 != 0) {
    return Status::error(StatusCode::kInvalidArgument, "the scratch memory is too small or not aligned");
  }
  auto& state = *new (scratch.data()) IndexState;
  IndexMixer& mixer = state.mixer;
  mixer.begin_tile(layout.levels);
  const IndexTree tree(layout.levels, layout.zero);
  entropy::RangeDecoder decoder(bytes);
  uint32_t channel_now = kMaxChannels;
  const auto decode = [&](uint32_t channel, const IndexContext& context, uint8_t& index) {
    if (channel != channel_now) mixer.begin_channel(prior.data() + layout.channel_prior() * channel);
    channel_now = channel;
    index = tree.walk(0, [&](uint32_t node, bool) {
      const uint32_t bit = decoder.decode(mixer.predict(context, node));
      mixer.update(bit);
      return bit != 0;
    });
  };
  if (!walk_indices(layout, state.planes, indices.data(), decode, [&] { return !decoder.exhausted(); })) {
    return Status(StatusCode::kTruncated);
  }
  return decoder.finish();
}

}  // namespace quench::image
