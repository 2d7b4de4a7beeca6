// Hard entropy-constrained Lloyd iteration on the line (Chou, Lookabaugh and Gray 1989). The values are sorted once and
// summed up, so that an iteration costs L log n however many values there are, and is exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "compressor/quantizer/codebook.h"

namespace quench::quantizer {

class SortedValues {
 public:
  explicit SortedValues(std::span<const float> values);

  size_t size() const { return values_.size(); }
  std::span<const float> values() const { return values_; }
  // The number of values that are <= bound.
  size_t rank(float bound) const;
  bool has_zeros() const;
  // Of the values with ranks in [begin, end).
  double sum(size_t begin, size_t end) const { return sums_[end] - sums_[begin]; }
  double sum_of_squares(size_t begin, size_t end) const { return squares_[end] - squares_[begin]; }

 private:
  std::vector<float> values_;
  std::vector<double> sums_;     // of the values before each
  std::vector<double> squares_;  // of their squares
};

// Centers in ascending order, each with the number of values that it is for.
struct ScalarState {
  std::vector<float> centers;
  std::vector<uint64_t> counts;
};

// What a Lloyd step may move: nothing but the code lengths; the centers but for one at exactly 0; all centers.
enum class Movable { kNone, kNonzero, kAll };

// The multiples of `step` that are nearest to some value.
ScalarState occupied_cells(const SortedValues& data, double step);

// Assigns and updates until nothing changes, or too little to matter; at most `max_steps` times. Centers that lose all
// their values are dropped.
void scalar_lloyd(const SortedValues& data, double beta, Movable movable, int max_steps, ScalarState& state);

// Joins neighbours, those first that cost least in distortion and rate, until at most max_centers are left. A pair's
// center is the mean, rounded to a multiple of `step` unless that is 0; a center at exactly 0 stays.
void merge_centers(double beta, double step, size_t max_centers, ScalarState& state);

// The uniform grid of this step that serves the values best at this beta, with at most max_centers.
ScalarState grid_state(const SortedValues& data, double step, double beta, size_t max_centers);

// Distortion plus beta times entropy, per value, when the values choose their centers.
double scalar_lagrangian(const SortedValues& data, double beta, const ScalarState& state);

}  // namespace quench::quantizer
