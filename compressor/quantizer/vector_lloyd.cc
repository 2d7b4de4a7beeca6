#include "compressor/quantizer/vector_lloyd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "compressor/quantizer/nearest_center.h"

namespace quench::quantizer {
namespace {

void assign(const WeightedVectors& data, size_t begin, size_t end, const CenterSet& set,
            const Eigen::ArrayXf& penalties, CenterSums& sums) {
  const Eigen::Index width = set.centers.cols();
  Reach reach;
  uint32_t indices[kNeighborhood];
  float costs[kNeighborhood];
  for (size_t first = begin; first < end; first += kNeighborhood) {
    const size_t count = std::min(kNeighborhood, end - first);
    reach.find(data.vector(first), count, set.centers, penalties, 0);
    const NearestCenter nearest({reach.centers.data(), static_cast<size_t>(reach.centers.size())},
                                {reach.penalties.data(), reach.indices.size()});
    nearest.search(data.vector(first), count, indices, costs);
    for (size_t i = 0; i < count; ++i) {
      const Eigen::Index j = reach.indices[indices[i]];
      const double weight = data.weights[first + i];
      const float* z = data.vector(first + i);
      sums(j, 0) += weight;
      for (Eigen::Index k = 0; k < width; ++k) sums(j, k + 1) += weight * z[k];
      sums(j, width + 1) += weight * costs[i];
    }
  }
}

}  // namespace

double vector_lloyd(const WeightedVectors& data, double beta, int max_steps, double least_gain, int threads,
                    CenterSet& set) {
  const double total = std::accumulate(data.weights.begin(), data.weights.end(), 0.0);
  double cost = INFINITY;
  for (int step = 0; step < max_steps; ++step) {
    const Eigen::ArrayXf penalties = set.penalties(beta);
    const CenterSums sums = sum_blocks(data.size(), set, threads, [&](size_t begin, size_t end, CenterSums& block) {
      assign(data, begin, end, set, penalties, block);
    });
    const double before = cost;
    cost = sums.col(sums.cols() - 1).sum() / total;
    update_centers(sums, true, 0, set);
    if (before - cost <= least_gain * cost) break;
  }
  return cost;
}

}  // namespace quench::quantizer
