#include "compressor/quantizer/scalar_lloyd.h"

#include <algorithm>
#include <cmath>
#include <queue>

#include "compressor/quantizer/envelope.h"

namespace quench::quantizer {
namespace {

// The part of the values that one center wins.
struct Cell {
  uint32_t center;
  size_t begin;
  size_t end;
};

std::vector<float> code_lengths(const ScalarState& state, size_t total) {
  std::vector<float> bits;
  for (const uint64_t count : state.counts) {
    bits.push_back(static_cast<float>(std::log2(static_cast<double>(total) / static_cast<double>(count))));
  }
  return bits;
}

std::vector<Cell> assign(const SortedValues& data, double beta, const ScalarState& state) {
  const Envelope envelope = lower_envelope(state.centers, code_lengths(state, data.size()), static_cast<float>(beta));
  std::vector<Cell> cells;
  size_t begin = 0;
  for (size_t i = 0; i < envelope.winners.size(); ++i) {
    const size_t end = data.rank(envelope.thresholds[i]);
    if (end > begin) cells.push_back({envelope.winners[i], begin, end});
    begin = end;
  }
  return cells;
}

double distortion(const SortedValues& data, size_t begin, size_t end, double center) {
  const double count = static_cast<double>(end - begin);
  return data.sum_of_squares(begin, end) - 2 * center * data.sum(begin, end) + count * center * center;
}

// Two neighbouring centers that may become one.
struct Pair {
  double cost;
  size_t left;
  size_t right;
  uint64_t count;  // of both together when the cost was computed: an older pair of either is then known by it
  bool operator<(const Pair& other) const { return cost != other.cost ? cost > other.cost : left > other.left; }
};

}  // namespace

SortedValues::SortedValues(std::span<const float> values) : values_(values.begin(), values.end()) {
  std::sort(values_.begin(), values_.end());
  sums_.resize(values_.size() + 1);
  squares_.resize(values_.size() + 1);
  for (size_t i = 0; i < values_.size(); ++i) {
    sums_[i + 1] = sums_[i] + values_[i];
    squares_[i + 1] = squares_[i] + static_cast<double>(values_[i]) * values_[i];
  }
}

size_t SortedValues::rank(float bound) const {
  return static_cast<size_t>(std::upper_bound(values_.begin(), values_.end(), bound) - values_.begin());
}

bool SortedValues::has_zeros() const { return std::binary_search(values_.begin(), values_.end(), 0.0f); }

ScalarState occupied_cells(const SortedValues& data, double step) {
  ScalarState state;
  for (size_t begin = 0; begin < data.size();) {
    const double cell = std::nearbyint(data.values()[begin] / step);
    const size_t end = std::max(data.rank(static_cast<float>((cell + 0.5) * step)), begin + 1);
    const float center = static_cast<float>(cell * step) + 0.0f;  // no -0
    if (!state.centers.empty() && state.centers.back() == center) {
      state.counts.back() += end - begin;
    } else {
      state.centers.push_back(center);
      state.counts.push_back(end - begin);
    }
    begin = end;
  }
  return state;
}

void scalar_lloyd(const SortedValues& data, double beta, Movable movable, int max_steps, ScalarState& state) {
  for (int step = 0; step < max_steps; ++step) {
    ScalarState next;
    double moved = 0;  // largest change of a center
    for (const Cell& cell : assign(data, beta, state)) {
      const float old = state.centers[cell.center];
      const bool fixed = movable == Movable::kNone || (movable == Movable::kNonzero && old == 0);
      const double mean = data.sum(cell.begin, cell.end) / static_cast<double>(cell.end - cell.begin);
      const float center = fixed ? old : static_cast<float>(mean);
      moved = std::max(moved, std::fabs(static_cast<double>(center) - old));
      next.centers.push_back(center);
      next.counts.push_back(cell.end - cell.begin);
    }
    const bool settled = next.counts == state.counts || (movable != Movable::kNone && moved < 1e-5);
    state = std::move(next);
    if (settled) return;
  }
}

void merge_centers(double beta, double step, size_t max_centers, ScalarState& state) {
  const size_t size = state.centers.size();
  if (size <= max_centers) return;
  double total = 0;
  for (const uint64_t count : state.counts) total += static_cast<double>(count);
  std::vector<size_t> before(size), after(size);
  for (size_t j = 0; j < size; ++j) {
    before[j] = j - 1;
    after[j] = j + 1;
  }
  const auto joint_center = [&](size_t a, size_t b) {
    if (state.centers[a] == 0 || state.centers[b] == 0) return 0.0;
    const double weight_a = static_cast<double>(state.counts[a]), weight_b = static_cast<double>(state.counts[b]);
    const double mean = (weight_a * state.centers[a] + weight_b * state.centers[b]) / (weight_a + weight_b);
    return step > 0 ? std::nearbyint(mean / step) * step : mean;
  };
  const auto pair = [&](size_t a, size_t b) {
    const double center = joint_center(a, b);
    const auto part = [&](size_t j) {
      const double count = static_cast<double>(state.counts[j]), gap = state.centers[j] - center;
      return count * gap * gap - beta * count * std::log2(total / count);
    };
    const uint64_t count = state.counts[a] + state.counts[b];
    const double both = static_cast<double>(count);
    return Pair{part(a) + part(b) + beta * both * std::log2(total / both), a, b, count};
  };
  std::priority_queue<Pair> pairs;
  for (size_t j = 0; j + 1 < size; ++j) pairs.push(pair(j, j + 1));
  size_t left = size;
  while (left > max_centers) {
    const Pair best = pairs.top();
    pairs.pop();
    const size_t a = best.left, b = best.right;
    if (state.counts[a] == 0 || after[a] != b || state.counts[a] + state.counts[b] != best.count) continue;
    state.centers[a] = static_cast<float>(joint_center(a, b));
    state.counts[a] = best.count;
    state.counts[b] = 0;
    after[a] = after[b];
    if (after[a] < size) {
      before[after[a]] = a;
      pairs.push(pair(a, after[a]));
    }
    if (before[a] < size) pairs.push(pair(before[a], a));
    --left;
  }
  ScalarState merged;
  for (size_t j = 0; j < size; j = after[j]) {
    merged.centers.push_back(state.centers[j]);
    merged.counts.push_back(state.counts[j]);
  }
  state = std::move(merged);
}

ScalarState grid_state(const SortedValues& data, double step, double beta, size_t max_centers) {
  constexpr int kMaxSteps = 200;
  ScalarState state = occupied_cells(data, step);
  scalar_lloyd(data, beta, Movable::kNone, kMaxSteps, state);
  if (state.centers.size() > max_centers) {
    merge_centers(beta, step, max_centers, state);
    scalar_lloyd(data, beta, Movable::kNone, kMaxSteps, state);
  }
  return state;
}

double scalar_lagrangian(const SortedValues& data, double beta, const ScalarState& state) {
  double sum = 0;
  const double total = static_cast<double>(data.size());
  for (const Cell& cell : assign(data, beta, state)) {
    const double count = static_cast<double>(cell.end - cell.begin);
    sum += distortion(data, cell.begin, cell.end, state.centers[cell.center]) + beta * count * std::log2(total / count);
  }
  return sum / total;
}

}  // namespace quench::quantizer
