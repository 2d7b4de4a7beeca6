#include "formats/image/index_encoder.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "formats/entropy/range_encoder.h"
#include "formats/image/tiles.h"

namespace quench::image {

namespace {

// The byte whose logit, (byte - 128) / 16, is nearest to that of a probability.
uint8_t prior_byte(double probability) {
  const double logit = std::log(probability / (1 - probability));
  return static_cast<uint8_t>(std::clamp(std::lround(128 + 16 * logit), 0L, 255L));
}

}  // namespace

std::vector<uint8_t> encode_indices(const IndexLayout& layout, std::span<const uint8_t> prior,
                                    std::span<const uint8_t> indices) {
  const auto state = std::make_unique<IndexState>();
  IndexMixer& mixer = state->mixer;
  mixer.begin_tile(layout.levels);
  const IndexTree tree(layout.levels, layout.zero);
  entropy::RangeEncoder encoder;
  uint32_t channel_now = kMaxChannels;
  const auto encode = [&](uint32_t channel, const IndexContext& context, uint8_t index) {
    if (channel != channel_now) mixer.begin_channel(prior.data() + layout.channel_prior() * channel);
    channel_now = channel;
    tree.walk(index, [&](uint32_t node, bool bit) {
      encoder.encode(bit ? 1 : 0, mixer.predict(context, node));
      mixer.update(bit ? 1 : 0);
      return bit;
    });
  };
  walk_indices(layout, state->planes, indices.data(), encode, [] { return true; });
  return encoder.finish();
}

PriorFitter::PriorFitter(uint32_t channels, uint32_t levels, uint32_t zero)
    : layout_{channels, levels, zero, 0, 0}, counts_(layout_.prior_size()) {}

void PriorFitter::add(uint32_t height, uint32_t width, std::span<const uint8_t> indices) {
  const auto planes = std::make_unique<LevelPlanes>();
  const IndexTree tree(layout_.levels, layout_.zero);
  const uint32_t nodes = layout_.levels - 1;
  for (uint32_t number = 0; number < tile_count(height, width); ++number) {
    const TileArea area = tile_area(height, width, number);
    const std::vector<uint8_t> tile = cut_tile(area, layout_.channels, height, width, indices);
    IndexLayout layout = layout_;
    layout.height = area.height;
    layout.width = area.width;
    const auto count = [&](uint32_t channel, const IndexContext& context, uint8_t index) {
      Count* counts = &counts_[layout.channel_prior() * channel + size_t{context.activity} * nodes];
      tree.walk(index, [&](uint32_t node, bool bit) {
        ++counts[node].of[bit ? 1 : 0];
        return bit;
      });
    };
    walk_indices(layout, *planes, tile.data(), count, [] { return true; });
  }
}

std::vector<uint8_t> PriorFitter::finish() const {
  // A decision's mean over all activities counts for kTrust decisions under each of them, and half an unknown one.
  constexpr double kTrust = 4, kUnknown = 0.4;
  const uint32_t nodes = layout_.levels - 1;
  std::vector<uint8_t> prior(counts_.size());
  for (size_t channel = 0; channel < layout_.channels; ++channel) {
    const size_t first = channel * layout_.channel_prior();
    for (uint32_t node = 0; node < nodes; ++node) {
      double all[2] = {kUnknown, kUnknown};
      for (uint32_t i = 0; i < kPriorContexts; ++i) {
        for (int bit = 0; bit < 2; ++bit) all[bit] += static_cast<double>(counts_[first + i * nodes + node].of[bit]);
      }
      const double mean = all[1] / (all[0] + all[1]);
      for (uint32_t i = 0; i < kPriorContexts; ++i) {
        const Count& count = counts_[first + i * nodes + node];
        const auto ones = static_cast<double>(count.of[1]), zeros = static_cast<double>(count.of[0]);
        prior[first + i * nodes + node] = prior_byte((ones + kTrust * mean) / (ones + zeros + kTrust));
      }
    }
  }
  return prior;
}

}  // namespace quench::image
