#include "formats/image/prior_fitter.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "formats/image/tiles.h"

namespace quench::image {

namespace {

// The byte whose logit, (byte - 128) / 16, is nearest to that of a probability.
uint8_t prior_byte(double probability) {
  const double logit = std::log(probability / (1 - probability));
  return static_cast<uint8_t>(std::clamp(std::lround(128 + 16 * logit), 0L, 255L));
}

}  // namespace

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
    Count* channel_counts = nullptr;
    const auto begin_channel = [&](uint32_t channel) { channel_counts = &counts_[layout.channel_prior() * channel]; };
    const auto count = [&](const IndexContext& context, uint8_t index) {
      Count* counts = channel_counts + size_t{context.activity} * nodes;
      tree.walk(index, [&](uint32_t node, bool bit) {
        ++counts[node].of[bit ? 1 : 0];
        return bit;
      });
    };
    walk_indices(layout, *planes, tile.data(), begin_channel, count, [] { return true; });
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
