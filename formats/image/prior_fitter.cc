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

// Sums of squares and products, for the weights that are nearest to a target.
class LeastSquares {
 public:
  explicit LeastSquares(size_t size) : size_(size), products_(size * size), target_(size) {}

  void add(const std::vector<double>& features, double target) {
    for (size_t i = 0; i < size_; ++i) {
      if (features[i] == 0) continue;
      for (size_t j = 0; j <= i; ++j) products_[i * size_ + j] += features[i] * features[j];
      target_[i] += features[i] * target;
    }
  }

  // By Cholesky's decomposition. A little of a ridge keeps what was never seen at 0.
  std::vector<double> solve() {
    constexpr double kRidge = 20;
    for (size_t i = 0; i < size_; ++i) products_[i * size_ + i] += kRidge;
    for (size_t i = 0; i < size_; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double sum = products_[i * size_ + j];
        for (size_t k = 0; k < j; ++k) sum -= products_[i * size_ + k] * products_[j * size_ + k];
        products_[i * size_ + j] = i == j ? std::sqrt(sum) : sum / products_[j * size_ + j];
      }
    }
    std::vector<double> x = target_;
    for (size_t i = 0; i < size_; ++i) {
      for (size_t k = 0; k < i; ++k) x[i] -= products_[i * size_ + k] * x[k];
      x[i] /= products_[i * size_ + i];
    }
    for (size_t i = size_; i-- > 0;) {
      for (size_t k = i + 1; k < size_; ++k) x[i] -= products_[k * size_ + i] * x[k];
      x[i] /= products_[i * size_ + i];
    }
    return x;
  }

 private:
  size_t size_;
  std::vector<double> products_, target_;  // products: the lower triangle
};

// The largest shift with which all weights fit their bytes.
int shift_of(const std::vector<double>& weights) {
  double most = 0;
  for (const double weight : weights) most = std::max(most, std::abs(weight));
  int shift = kMaxShift;
  while (shift > 0 && std::ldexp(most, shift) > 127) --shift;
  return shift;
}

uint8_t weight_byte(double weight, int shift) {
  return static_cast<uint8_t>(128 + std::clamp(std::lround(std::ldexp(weight, shift)), -127L, 127L));
}

}  // namespace

PriorFitter::PriorFitter(uint32_t channels, uint32_t levels, uint32_t zero) : layout_{channels, levels, zero, 0, 0} {}

void PriorFitter::add(uint32_t height, uint32_t width, std::span<const uint8_t> indices) {
  for (uint32_t number = 0; number < tile_count(height, width); ++number) {
    const TileArea area = tile_area(height, width, number);
    IndexLayout layout = layout_;
    layout.height = area.height;
    layout.width = area.width;
    tiles_.push_back({layout, cut_tile(area, layout.channels, height, width, indices)});
  }
}

void PriorFitter::fit_weights(std::vector<uint8_t>& prior) const {
  constexpr uint32_t kOneIn = 4;  // symbols
  for (uint32_t channel = 0; channel < layout_.channels; ++channel) {
    LeastSquares magnitudes(1 + kNeighbours + 2 * channel), levels(kNeighbours + 3 * channel);
    std::vector<double> magnitude_features(1 + kNeighbours + 2 * channel), level_features(kNeighbours + 3 * channel);
    uint32_t count = 0;
    for (const Tile& tile : tiles_) {
      const auto level = [&](uint32_t of, int64_t row, int64_t column) {
        const int64_t height = tile.layout.height, width = tile.layout.width;
        if (row < 0 || column < 0 || row >= height || column >= width) return 0.0;
        return static_cast<double>(tile.indices[static_cast<size_t>((of * height + row) * width + column)]) -
               layout_.zero;
      };
      for (int64_t row = 0; row < tile.layout.height; ++row) {
        for (int64_t column = 0; column < tile.layout.width; ++column) {
          if (count++ % kOneIn != 0) continue;
          const double own[] = {level(channel, row, column - 1),     level(channel, row - 1, column),
                                level(channel, row - 1, column - 1), level(channel, row - 1, column + 1),
                                level(channel, row, column - 2),     level(channel, row - 2, column)};
          magnitude_features[0] = 1;
          for (size_t i = 0; i < kNeighbours; ++i) {
            magnitude_features[1 + i] = std::abs(own[i]);
            level_features[i] = own[i];
          }
          double* m = magnitude_features.data() + 1 + kNeighbours;
          double* l = level_features.data() + kNeighbours;
          for (uint32_t before = 0; before < channel; ++before) {
            const double left = level(before, row, column - 1), right = level(before, row, column + 1);
            const double above = level(before, row - 1, column), below = level(before, row + 1, column);
            const double same = level(before, row, column);
            *m++ = std::abs(same);
            *m++ = std::abs(left) + std::abs(right) + std::abs(above) + std::abs(below);
            *l++ = same;
            *l++ = right - left;
            *l++ = below - above;
          }
          const double target = level(channel, row, column);
          magnitudes.add(magnitude_features, std::abs(target));
          levels.add(level_features, target);
        }
      }
    }
    const std::vector<double> m = magnitudes.solve(), l = levels.solve();
    uint8_t* out = prior.data() + layout_.channel_prior() * channel + kActivities * (layout_.levels - 1);
    const int magnitude_shift = shift_of(m), level_shift = shift_of(l);
    *out++ = static_cast<uint8_t>(magnitude_shift);
    *out++ = static_cast<uint8_t>(level_shift);
    for (uint32_t i = 0; i <= kNeighbours; ++i) *out++ = weight_byte(m[i], magnitude_shift);
    for (uint32_t i = 0; i < kNeighbours; ++i) *out++ = weight_byte(l[i], level_shift);
    for (uint32_t before = 0; before < channel; ++before) {
      for (uint32_t i = 0; i < 2; ++i) *out++ = weight_byte(m[1 + kNeighbours + 2 * before + i], magnitude_shift);
      for (uint32_t i = 0; i < 3; ++i) *out++ = weight_byte(l[kNeighbours + 3 * before + i], level_shift);
    }
  }
}

void PriorFitter::count_decisions(std::vector<uint8_t>& prior) const {
  struct Count {
    double of[2] = {0, 0};
  };
  const uint32_t nodes = layout_.levels - 1;
  std::vector<Count> counts(size_t{layout_.channels} * kActivities * nodes);
  const IndexTree tree(layout_.levels, layout_.zero);
  const auto planes = std::make_unique<LevelPlanes>();
  std::vector<int8_t> levels(layout_.channels * LevelPlanes::kPlane);
  for (const Tile& tile : tiles_) {
    Count* channel_counts = nullptr;
    const auto begin_channel = [&](uint32_t channel) {
      channel_counts = &counts[size_t{channel} * kActivities * nodes];
    };
    const auto count = [&](const IndexContext& context, uint8_t index) {
      Count* count_of = channel_counts + size_t{context.activity} * nodes;
      tree.walk(index, [&](uint32_t node, bool bit) {
        count_of[node].of[bit ? 1 : 0] += 1;
        return bit;
      });
    };
    walk_indices(tile.layout, *planes, levels.data(), prior.data(), tile.indices.data(), begin_channel, count,
                 [] { return true; });
  }
  // A decision's mean over all activities counts for kTrust decisions under each of them, and half an unknown one.
  constexpr double kTrust = 4, kUnknown = 0.4;
  for (size_t channel = 0; channel < layout_.channels; ++channel) {
    const Count* first = &counts[channel * kActivities * nodes];
    uint8_t* out = prior.data() + layout_.channel_prior() * channel;
    for (uint32_t node = 0; node < nodes; ++node) {
      double all[2] = {kUnknown, kUnknown};
      for (uint32_t i = 0; i < kActivities; ++i) {
        for (int bit = 0; bit < 2; ++bit) all[bit] += first[i * nodes + node].of[bit];
      }
      const double mean = all[1] / (all[0] + all[1]);
      for (uint32_t i = 0; i < kActivities; ++i) {
        const Count& count = first[i * nodes + node];
        out[i * nodes + node] = prior_byte((count.of[1] + kTrust * mean) / (count.of[0] + count.of[1] + kTrust));
      }
    }
  }
}

std::vector<uint8_t> PriorFitter::finish() const {
  std::vector<uint8_t> prior(layout_.prior_size(), 128);
  fit_weights(prior);
  count_decisions(prior);
  return prior;
}

}  // namespace quench::image
