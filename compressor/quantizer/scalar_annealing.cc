#include "compressor/quantizer/scalar_annealing.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "compressor/quantizer/scalar_lloyd.h"
#include "compressor/quantizer/soft_lloyd.h"

namespace quench::quantizer {
namespace {

constexpr int kMaxSteps = 200;          // of a Lloyd iteration
constexpr double kBinsPerUnit = 64;     // of the histogram that is annealed
constexpr double kHighRateStep = 8.66;  // 6 / ln 2: squared spacing over beta of the best uniform grid at high rate
// Spacings of the grids from which the search starts, over the best one at high rate.
constexpr std::array kStarts = {0.7, 0.85, 1.0, 1.2, 1.45};
// The share of the Lagrangian that is paid to have a center at exactly 0.
constexpr double kZeroIsWorth = 0.01;

struct Solution {
  ScalarState state;
  double cost;
};

void take_better(Solution candidate, Solution& best) {
  if (candidate.cost < best.cost) best = std::move(candidate);
}

Solution settle(const SortedValues& data, const AnnealingOptions& options, Movable movable, ScalarState state) {
  scalar_lloyd(data, options.beta, movable, kMaxSteps, state);
  if (state.centers.size() > options.max_centers) {
    merge_centers(options.beta, 0, options.max_centers, state);
    scalar_lloyd(data, options.beta, movable, kMaxSteps, state);
  }
  const double cost = scalar_lagrangian(data, options.beta, state);
  return {std::move(state), cost};
}

// Begins with the grid that learn_uniform_grid returns, so that nothing worse is ever taken.
Solution best_grid(const SortedValues& data, const AnnealingOptions& options) {
  const auto from_grid = [&](double step) {
    return settle(data, options, Movable::kNonzero, grid_state(data, step, options.beta, options.max_centers));
  };
  Solution best = from_grid(1);
  const double natural = std::sqrt(kHighRateStep * options.beta);
  for (const double start : kStarts) {
    if (natural > 0) take_better(from_grid(start * natural), best);
  }
  return best;
}

// Neighbouring values joined to their mean: annealing needs no more.
WeightedVectors histogram(const SortedValues& data) {
  WeightedVectors bins;
  for (size_t begin = 0; begin < data.size();) {
    const double bin = std::floor(data.values()[begin] * kBinsPerUnit);
    const size_t end = std::max(begin + 1, data.rank(static_cast<float>((bin + 1) / kBinsPerUnit)));
    const double count = static_cast<double>(end - begin);
    bins.values.push_back(static_cast<float>(data.sum(begin, end) / count));
    bins.weights.push_back(static_cast<float>(count));
    begin = end;
  }
  return bins;
}

CenterSet soften(const ScalarState& state) {
  const Eigen::Index count = static_cast<Eigen::Index>(state.centers.size());
  return {Eigen::Map<const Eigen::ArrayXf>(state.centers.data(), count),
          Eigen::Map<const Eigen::Array<uint64_t, Eigen::Dynamic, 1>>(state.counts.data(), count).cast<double>()};
}

ScalarState harden(const CenterSet& set) {
  ScalarState state;
  for (Eigen::Index j = 0; j < set.weights.size(); ++j) {
    state.centers.push_back(set.centers(j, 0));
    state.counts.push_back(std::max<uint64_t>(1, static_cast<uint64_t>(std::llround(set.weights[j]))));
  }
  return state;
}

// Every value that occurs is a center.
ScalarState distinct_values(const SortedValues& data, size_t at_most) {
  ScalarState state;
  for (size_t begin = 0; begin < data.size() && state.centers.size() <= at_most;) {
    const float value = data.values()[begin];
    const size_t end = data.rank(value);
    state.centers.push_back(value + 0.0f);
    state.counts.push_back(end - begin);
    begin = end;
  }
  return state;
}

}  // namespace

Codebook anneal_scalar(std::span<const float> values, const AnnealingOptions& options) {
  const SortedValues data(values);
  Solution best = best_grid(data, options);

  CenterSet soft = soften(best.state);
  anneal(histogram(data), options, soft);
  take_better(settle(data, options, Movable::kNonzero, harden(soft)), best);

  const ScalarState distinct = distinct_values(data, options.max_centers);
  if (distinct.centers.size() <= options.max_centers) {
    take_better(settle(data, options, Movable::kNonzero, distinct), best);
  }
  if (!data.has_zeros()) {
    Solution free = settle(data, options, Movable::kAll, best.state);
    if (free.cost < best.cost * (1 - kZeroIsWorth)) best = std::move(free);
  }
  return make_codebook(1, best.state.centers, best.state.counts);
}

}  // namespace quench::quantizer
