// The centers while they are learned, and which of them matter to a neighbourhood of vectors.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "compressor/quantizer/weighted_vectors.h"
#include "formats/base/parallel.h"

namespace quench::quantizer {

struct CenterSet {
  Eigen::ArrayXXf centers;  // L x d, column-major; for d = 1 they ascend
  Eigen::ArrayXd weights;   // L: of the vectors that each is for

  size_t size() const { return static_cast<size_t>(weights.size()); }
  // beta times the code length -log2(weight / all weights).
  Eigen::ArrayXf penalties(double beta) const;
  // Keeps the centers of these indices.
  void select(const std::vector<Eigen::Index>& kept);
};

// The centers whose cost (squared distance plus penalty) is within `slack` of the least one for some vector of a run.
struct Reach {
  std::vector<Eigen::Index> indices;  // ascending
  Eigen::ArrayXXf centers;
  Eigen::ArrayXf penalties;

  // vectors: `count` of them, row-major.
  void find(const float* vectors, size_t count, const Eigen::ArrayXXf& all_centers, const Eigen::ArrayXf& all_penalties,
            float slack);

 private:
  Eigen::ArrayXf nearest_, farthest_;  // bounds of each center's cost over the run
};

// Sums over vectors that are shared out over centers, L x (d + 2): the weight, weight times vector, weight times cost.
using CenterSums = Eigen::ArrayXXd;

// Calls add(begin, end, sums) over parts of [0, count) that are whole neighbourhoods, and adds up their sums in order,
// so that the result does not depend on the number of threads.
template <typename Add>
CenterSums sum_blocks(size_t count, const CenterSet& set, int threads, const Add& add) {
  constexpr size_t kMaxBlocks = 32;  // each holds its sums
  constexpr size_t kMinNeighborhoods = 16;
  const size_t neighborhoods = (count + kNeighborhood - 1) / kNeighborhood;
  const size_t block = std::max(kMinNeighborhoods, (neighborhoods + kMaxBlocks - 1) / kMaxBlocks) * kNeighborhood;
  std::vector<CenterSums> parts((count + block - 1) / block);
  parallel_blocks(count, block, threads, [&](size_t index, size_t begin, size_t end) {
    parts[index] = CenterSums::Zero(set.centers.rows(), set.centers.cols() + 2);
    add(begin, end, parts[index]);
  });
  for (size_t i = 1; i < parts.size(); ++i) parts[0] += parts[i];
  return std::move(parts[0]);
}

// Moves the centers to their means (a center at exactly 0 excepted where `keep_zero`) and gives them their weights.
// Those with a weight below `least` are dropped.
void update_centers(const CenterSums& sums, bool keep_zero, double least, CenterSet& set);

}  // namespace quench::quantizer
