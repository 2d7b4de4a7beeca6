// Hard entropy-constrained Lloyd iteration in d dimensions (Chou, Lookabaugh and Gray 1989).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace quench::quantizer {

// n vectors of dimension d, row-major; `weights` says how many vectors of the data each stands for, or is empty: one.
struct VectorView {
  size_t dimension;
  std::span<const float> values;
  std::span<const float> weights;

  size_t size() const { return values.size() / dimension; }
  float weight(size_t index) const { return weights.empty() ? 1.0f : weights[index]; }
};

struct VectorState {
  std::vector<float> centers;   // L x d, row-major
  std::vector<double> weights;  // L: of the vectors that each is for

  size_t size() const { return weights.size(); }
};

// -log2 of each center's share.
std::vector<float> code_lengths(const VectorState& state);

// Assigns and updates until the Lagrangian falls by less than `least_gain` of itself, at most `max_steps` times, at
// least once. Centers that lose all their vectors are dropped; one at exactly 0 stays where it is. Returns the
// Lagrangian per vector, an upper bound of that of the state left behind. Does not depend on the number of threads.
double vector_lloyd(const VectorView& data, double beta, int max_steps, double least_gain, int threads,
                    VectorState& state);

}  // namespace quench::quantizer
