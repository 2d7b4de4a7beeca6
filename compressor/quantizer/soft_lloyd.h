// One soft step of the annealing: every vector is shared out over the centers, then the centers and their code lengths
// follow (Agustsson et al. 2017; Rose 1998).
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <span>
#include <vector>

#include "compressor/quantizer/annealing.h"

namespace quench::quantizer {

// n vectors of dimension d, row-major, each standing for `weight` vectors of the data.
struct WeightedVectors {
  size_t dimension = 1;
  std::vector<float> values;
  std::vector<float> weights;

  size_t size() const { return weights.size(); }
  const float* vector(size_t index) const { return values.data() + index * dimension; }
};

struct SoftState {
  Eigen::ArrayXXf centers;  // L x d; for d = 1 they ascend
  Eigen::ArrayXf bits;      // L

  size_t size() const { return static_cast<size_t>(bits.size()); }
};

// Moves the centers to the mean of their share of the vectors, a center at exactly 0 excepted where `keep_zero`, and
// the code lengths to -log2 of that share. Centers whose share is far below one vector are dropped; for d = 1 those
// that have met are joined. The result does not depend on the number of threads.
void soft_step(const WeightedVectors& data, float sigma, float beta, bool keep_zero, int threads, SoftState& state);

// Soft steps while sigma rises from the options' start to their end.
void anneal(const WeightedVectors& data, const AnnealingOptions& options, bool keep_zero, SoftState& state);

}  // namespace quench::quantizer
