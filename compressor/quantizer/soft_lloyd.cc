#include "compressor/quantizer/soft_lloyd.h"

#include <algorithm>
#include <cmath>

#include "compressor/quantizer/soft_assignment.h"

namespace quench::quantizer {
namespace {

constexpr float kReach = 25;          // exp(-25): what a center farther away would get is below a float's precision
constexpr double kLeastShare = 0.05;  // of one vector
constexpr float kMet = 1e-3f;         // centers of a scalar codebook closer than this are one

void share_out(const WeightedVectors& data, size_t begin, size_t end, const CenterSet& set,
               const Eigen::ArrayXf& penalties, float sigma, CenterSums& sums) {
  const Eigen::Index width = set.centers.cols();
  Reach reach;
  Eigen::ArrayXf phi;
  Eigen::ArrayXXf shares;
  for (size_t first = begin; first < end; first += kNeighborhood) {
    const size_t last = std::min(first + kNeighborhood, end);
    reach.find(data.vector(first), last - first, set.centers, penalties, kReach / sigma);
    phi.resize(reach.penalties.size());
    shares.setZero(reach.penalties.size(), width + 1);
    for (size_t i = first; i < last; ++i) {
      const float* z = data.vector(i);
      soft_assign(z, reach.centers, reach.penalties, sigma, phi);
      phi *= data.weights[i];
      shares.col(0) += phi;
      for (Eigen::Index k = 0; k < width; ++k) shares.col(k + 1) += phi * z[k];
    }
    for (Eigen::Index j = 0; j < phi.size(); ++j) {
      for (Eigen::Index k = 0; k <= width; ++k) sums(reach.indices[static_cast<size_t>(j)], k) += shares(j, k);
    }
  }
}

// Joins ascending centers that have met.
void join_met(CenterSet& set) {
  std::vector<Eigen::Index> kept;
  for (Eigen::Index j = 0; j < set.centers.rows(); ++j) {
    const bool met = !kept.empty() && set.centers(j, 0) - set.centers(kept.back(), 0) < kMet;
    if (!met) {
      kept.push_back(j);
      continue;
    }
    if (set.centers(j, 0) == 0) set.centers(kept.back(), 0) = 0;
    set.weights[kept.back()] += set.weights[j];
  }
  set.select(kept);
}

}  // namespace

void soft_step(const WeightedVectors& data, float sigma, float beta, int threads, CenterSet& set) {
  const Eigen::ArrayXf penalties = set.penalties(beta);
  const CenterSums sums = sum_blocks(data.size(), set, threads, [&](size_t begin, size_t end, CenterSums& block) {
    share_out(data, begin, end, set, penalties, sigma, block);
  });
  update_centers(sums, true, kLeastShare, set);
  if (data.dimension == 1) join_met(set);
}

void anneal(const WeightedVectors& data, const AnnealingOptions& options, CenterSet& set) {
  constexpr int kStepsPerSigma = 2;
  const double range = std::log(options.sigma_end / options.sigma_start);
  for (float sigma = options.sigma_start; sigma <= options.sigma_end; sigma *= options.sigma_growth) {
    for (int step = 0; step < kStepsPerSigma; ++step) soft_step(data, sigma, options.beta, options.threads, set);
    if (options.progress && range > 0) options.progress(std::log(sigma / options.sigma_start) / range);
  }
}

}  // namespace quench::quantizer
