#include "formats/image/index_decoder.h"

#include <new>

#include "formats/entropy/range_decoder.h"

namespace quench::image {

Status decode_indices(const IndexLayout& layout, std::span<const uint8_t> prior, std::span<const uint8_t> bytes,
                      std::span<uint8_t> indices, std::span<uint8_t> scratch) {
  QUENCH_RETURN_IF_ERROR(check_index_call(layout, prior.size(), indices.size(), scratch));
  auto& state = *new (scratch.data()) IndexState;
  auto* levels = reinterpret_cast<int8_t*>(scratch.data() + sizeof(IndexState));
  IndexMixer& mixer = state.mixer;
  mixer.begin_tile(layout.levels);
  const IndexTree tree(layout.levels, layout.zero);
  entropy::RangeDecoder decoder(bytes);
  const auto begin_channel = [&](uint32_t channel) {
    mixer.begin_channel(prior.data() + layout.channel_prior() * channel);
  };
  const auto decode = [&](const IndexContext& context, uint8_t& index) {
    index = tree.walk(0, context.center, [&](uint32_t node, bool) {
      const uint32_t bit = decoder.decode(mixer.predict(context, node));
      mixer.update(bit);
      return bit != 0;
    });
  };
  if (!walk_indices(layout, state.planes, levels, prior.data(), indices.data(), begin_channel, decode,
                    [&] { return !decoder.exhausted(); })) {
    return Status(StatusCode::kTruncated);
  }
  return decoder.finish();
}

}  // namespace quench::image
