#include "compressor/quantizer/weighted_vectors.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace quench::quantizer {
namespace {

size_t widest_coordinate(const WeightedVectors& data, std::span<const uint32_t> order) {
  size_t widest = 0;
  float width = -1;
  for (size_t k = 0; k < data.dimension; ++k) {
    float low = data.vector(order[0])[k], high = low;
    for (const uint32_t index : order) {
      low = std::min(low, data.vector(index)[k]);
      high = std::max(high, data.vector(index)[k]);
    }
    if (high - low > width) {
      width = high - low;
      widest = k;
    }
  }
  return widest;
}

// Splits at a whole number of neighbourhoods, so that the runs are the leaves.
void split(const WeightedVectors& data, std::span<uint32_t> order) {
  if (order.size() <= kNeighborhood) return;
  const size_t middle = (order.size() / kNeighborhood + 1) / 2 * kNeighborhood;
  const size_t k = widest_coordinate(data, order);
  std::nth_element(order.begin(), order.begin() + static_cast<ptrdiff_t>(middle), order.end(),
                   [&](uint32_t a, uint32_t b) {
                     const float left = data.vector(a)[k], right = data.vector(b)[k];
                     return left != right ? left < right : a < b;
                   });
  split(data, order.first(middle));
  split(data, order.subspan(middle));
}

}  // namespace

WeightedVectors all_vectors(std::span<const float> vectors, size_t dimension) {
  return {dimension, {vectors.begin(), vectors.end()}, std::vector<float>(vectors.size() / dimension, 1.0f)};
}

void order_spatially(WeightedVectors& data) {
  std::vector<uint32_t> order(data.size());
  std::iota(order.begin(), order.end(), 0u);
  split(data, order);
  WeightedVectors ordered{data.dimension, {}, {}};
  ordered.values.reserve(data.values.size());
  ordered.weights.reserve(data.weights.size());
  for (const uint32_t index : order) {
    ordered.values.insert(ordered.values.end(), data.vector(index), data.vector(index) + data.dimension);
    ordered.weights.push_back(data.weights[index]);
  }
  data = std::move(ordered);
}

}  // namespace quench::quantizer
