// The vectors that a codebook is learned on, in an order that keeps neighbours together.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace quench::quantizer {

// n vectors of dimension d, row-major, each standing for `weight` vectors of the data.
struct WeightedVectors {
  size_t dimension = 1;
  std::vector<float> values;
  std::vector<float> weights;

  size_t size() const { return weights.size(); }
  const float* vector(size_t index) const { return values.data() + index * dimension; }
};

// Each with a weight of 1.
WeightedVectors all_vectors(std::span<const float> vectors, size_t dimension);

// A run of this many vectors is searched together: only centers near one of them are looked at.
inline constexpr size_t kNeighborhood = 64;

// Permutes the vectors to the order of a k-d tree's leaves.
void order_spatially(WeightedVectors& data);

}  // namespace quench::quantizer
