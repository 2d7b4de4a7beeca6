#include "formats/image/prior_fitter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>

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

// The largest shift with which all weights fit their bytes, and the sum of their products with `extremes` is below 2^15.
int shift_of(const std::vector<double>& weights, const std::vector<double>& extremes) {
  double most = 0, sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    most = std::max(most, std::abs(weights[i]));
    sum += std::abs(weights[i]) * extremes[i];
  }
  int shift = kMaxShift;
  while (shift > 0 && (std::ldexp(most, shift) > 127 || std::ldexp(sum, shift) >= 32767)) --shift;
  return shift;
}

uint8_t weight_byte(double weight, int shift) {
  return static_cast<uint8_t>(128 + std::clamp(std::lround(std::ldexp(weight, shift)), -127L, 127L));
}

// Values of a tile, channels x height x width, and 0 outside.
class Plane {
 public:
  Plane(const IndexLayout& layout, const std::vector<int16_t>& values) : layout_(layout), values_(values) {}

  double operator()(uint32_t channel, int64_t row, int64_t column) const {
    const int64_t height = layout_.height, width = layout_.width;
    if (row < 0 || column < 0 || row >= height || column >= width) return 0;
    return values_[static_cast<size_t>((channel * height + row) * width + column)];
  }
  // Those that the coder knows, in its order.
  std::array<double, kNeighbours> neighbours(uint32_t channel, int64_t row, int64_t column) const {
    const Plane& at = *this;
    return {at(channel, row, column - 1),     at(channel, row - 1, column), at(channel, row - 1, column - 1),
            at(channel, row - 1, column + 1), at(channel, row, column - 2), at(channel, row - 2, column)};
  }

 private:
  const IndexLayout& layout_;
  const std::vector<int16_t>& values_;
};

}  // namespace

// What is fitted to: levels as they are, and their distances to the centers, in which channels follow each other.
struct PriorFitter::Sample {
  const IndexLayout& layout;
  std::vector<int16_t> levels, distances;

  explicit Sample(const Tile& tile) : layout(tile.layout) {
    for (const uint8_t index : tile.indices)
      levels.push_back(static_cast<int16_t>(index - static_cast<int>(layout.zero)));
    distances = levels;
  }
  template <typename Visit>
  void for_each_place(Visit&& visit) const {
    for (int64_t row = 0; row < layout.height; ++row) {
      for (int64_t column = 0; column < layout.width; ++column) visit(row, column);
    }
  }
  // What the level of a place is predicted from.
  void level_features(uint32_t channel, int64_t row, int64_t column, std::vector<double>& features) const {
    const Plane level(layout, levels);
    features.clear();
    for (const double neighbour : level.neighbours(channel, row, column)) features.push_back(neighbour);
    for (uint32_t before = 0; before < channel; ++before) {
      features.push_back(level(before, row, column));
      features.push_back(level(before, row, column + 1) - level(before, row, column - 1));
      features.push_back(level(before, row + 1, column) - level(before, row - 1, column));
    }
  }
  // Likewise its distance from the center.
  void distance_features(uint32_t channel, int64_t row, int64_t column, std::vector<double>& features) const {
    const Plane distance(layout, distances);
    features.assign(1, 1);
    for (const double neighbour : distance.neighbours(channel, row, column)) features.push_back(std::abs(neighbour));
    for (uint32_t before = 0; before < channel; ++before) {
      features.push_back(std::abs(distance(before, row, column)));
      features.push_back(std::abs(distance(before, row, column - 1)) + std::abs(distance(before, row, column + 1)) +
                         std::abs(distance(before, row - 1, column)) + std::abs(distance(before, row + 1, column)));
    }
  }
};

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
  std::vector<Sample> samples(tiles_.begin(), tiles_.end());
  for (uint32_t channel = 0; channel < layout_.channels; ++channel) {
    const Fit levels = fit_levels(samples, channel);
    const bool is_moved = IndexTree(layout_.levels, layout_.zero).can_move() && move_centers(samples, channel, levels);
    const Fit distances = fit_distances(samples, channel);
    uint8_t* out = prior.data() + layout_.channel_prior() * channel + kActivities * (layout_.levels - 1);
    *out++ = static_cast<uint8_t>(distances.shift);
    *out++ = static_cast<uint8_t>(levels.shift);
    *out++ = is_moved ? 129 : 128;
    const auto put = [&out](const Fit& fit, size_t first, size_t count) {
      for (size_t i = first; i < first + count; ++i) *out++ = weight_byte(fit.weights[i], fit.shift);
    };
    put(distances, 0, 1 + kNeighbours);
    put(levels, 0, kNeighbours);
    for (uint32_t before = 0; before < channel; ++before) {
      put(distances, 1 + kNeighbours + 2 * before, 2);
      put(levels, kNeighbours + 3 * before, 3);
    }
  }
}

// Of every fourth symbol.
template <typename Features, typename Target>
PriorFitter::Fit PriorFitter::fit(const std::vector<Sample>& samples, size_t size, Features&& find_features,
                                  Target&& target) {
  constexpr uint32_t kOneIn = 4;
  LeastSquares squares(size);
  std::vector<double> features, extremes(size);
  uint32_t count = 0;
  for (const Sample& sample : samples) {
    sample.for_each_place([&](int64_t row, int64_t column) {
      if (count++ % kOneIn != 0) return;
      find_features(sample, row, column, features);
      squares.add(features, target(sample, row, column));
      for (size_t i = 0; i < size; ++i) extremes[i] = std::max(extremes[i], std::abs(features[i]));
    });
  }
  Fit fit{squares.solve(), 0};
  fit.shift = shift_of(fit.weights, extremes);
  return fit;
}

PriorFitter::Fit PriorFitter::fit_levels(const std::vector<Sample>& samples, uint32_t channel) {
  return fit(
      samples, kNeighbours + 3 * channel,
      [channel](const Sample& sample, int64_t row, int64_t column, std::vector<double>& features) {
        sample.level_features(channel, row, column, features);
      },
      [channel](const Sample& sample, int64_t row, int64_t column) {
        return Plane(sample.layout, sample.levels)(channel, row, column);
      });
}

PriorFitter::Fit PriorFitter::fit_distances(const std::vector<Sample>& samples, uint32_t channel) {
  return fit(
      samples, 1 + kNeighbours + 2 * channel,
      [channel](const Sample& sample, int64_t row, int64_t column, std::vector<double>& features) {
        sample.distance_features(channel, row, column, features);
      },
      [channel](const Sample& sample, int64_t row, int64_t column) {
        return std::abs(Plane(sample.layout, sample.distances)(channel, row, column));
      });
}

// Counts a channel's levels from their predictions where that makes them small enough.
bool PriorFitter::move_centers(std::vector<Sample>& samples, uint32_t channel, const Fit& levels) {
  constexpr double kSmallEnough = 0.7;  // of what they are without; no other was tried
  double still = 0, moved = 0;
  std::vector<std::vector<int16_t>> distances;
  std::vector<double> features;
  for (const Sample& sample : samples) {
    std::vector<int16_t>& of_sample = distances.emplace_back();
    const Plane level(sample.layout, sample.levels);
    sample.for_each_place([&](int64_t row, int64_t column) {
      sample.level_features(channel, row, column, features);
      const double predicted = std::inner_product(features.begin(), features.end(), levels.weights.begin(), 0.0);
      of_sample.push_back(static_cast<int16_t>(level(channel, row, column) - std::round(predicted)));
      still += std::abs(level(channel, row, column));
      moved += std::abs(of_sample.back());
    });
  }
  if (moved >= kSmallEnough * still) return false;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto plane = static_cast<ptrdiff_t>(distances[i].size());
    std::copy(distances[i].begin(), distances[i].end(), samples[i].distances.begin() + plane * channel);
  }
  return true;
}

void PriorFitter::count_decisions(std::vector<uint8_t>& prior) const {
  struct Count {
    double of[2] = {0, 0};
  };
  const uint32_t nodes = layout_.levels - 1;
  std::vector<Count> counts(size_t{layout_.channels} * kActivities * nodes);
  const IndexTree tree(layout_.levels, layout_.zero);
  const auto planes = std::make_unique<LevelPlanes>();
  std::vector<int8_t> levels(LevelPlanes::planes_size(layout_.channels));
  for (const Tile& tile : tiles_) {
    Count* channel_counts = nullptr;
    const auto begin_channel = [&](uint32_t channel) {
      channel_counts = &counts[size_t{channel} * kActivities * nodes];
    };
    const auto count = [&](const IndexContext& context, uint8_t index) {
      Count* count_of = channel_counts + size_t{context.activity} * nodes;
      tree.walk(index, context.center, [&](uint32_t node, bool bit) {
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
