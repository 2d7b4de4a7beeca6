#include "compressor/quantizer/soft_lloyd.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compressor/quantizer/parallel.h"
#include "compressor/quantizer/soft_assignment.h"

namespace quench::quantizer {
namespace {

constexpr size_t kMaxBlocks = 32;     // each holds a sum per center
constexpr size_t kMinBlock = 1024;    // vectors
constexpr float kReach = 25;          // exp(-25): what a center farther away would get is below a float's precision
constexpr float kLeastShare = 0.05f;  // of one vector
constexpr float kMet = 1e-3f;         // centers of a scalar codebook closer than this are one

// Per center the sum of the shares, then the sum of share times vector for each coordinate.
using Sums = Eigen::ArrayXXd;

// The range of ascending centers that get a share of z worth counting.
std::pair<Eigen::Index, Eigen::Index> within_reach(float z, const SoftState& state, const Eigen::ArrayXf& penalties,
                                                   float least_penalty, float sigma) {
  const float* begin = state.centers.data();
  const float* end = begin + state.centers.rows();
  const float* above = std::lower_bound(begin, end, z);
  const float* nearest = above == end || (above > begin && z - above[-1] < *above - z) ? above - 1 : above;
  const float cost = (z - *nearest) * (z - *nearest) + penalties[nearest - begin];
  const float radius = std::sqrt(cost - least_penalty + kReach / sigma);
  return {std::lower_bound(begin, end, z - radius) - begin, std::upper_bound(begin, end, z + radius) - begin};
}

void add_block(const WeightedVectors& data, size_t begin, size_t end, const SoftState& state,
               const Eigen::ArrayXf& penalties, float sigma, Sums& sums) {
  const Eigen::Index count = state.centers.rows();
  const Eigen::Index width = state.centers.cols();
  const float least_penalty = penalties.minCoeff();
  Eigen::ArrayXf phi(count);
  Eigen::ArrayXXf shares = Eigen::ArrayXXf::Zero(count, width + 1);
  for (size_t i = begin; i < end; ++i) {
    const float* z = data.vector(i);
    const auto [first, last] = width == 1 ? within_reach(z[0], state, penalties, least_penalty, sigma)
                                          : std::pair<Eigen::Index, Eigen::Index>{0, count};
    const Eigen::Index reach = last - first;
    auto part = phi.head(reach);
    soft_assign(z, state.centers.middleRows(first, reach), penalties.segment(first, reach), sigma, part);
    part *= data.weights[i];
    shares.col(0).segment(first, reach) += part;
    for (Eigen::Index k = 0; k < width; ++k) shares.col(k + 1).segment(first, reach) += part * z[k];
  }
  sums = shares.cast<double>();
}

// Keeps the listed centers.
void select(const std::vector<Eigen::Index>& kept, SoftState& state) {
  state.centers = Eigen::ArrayXXf(state.centers(kept, Eigen::all));
  state.bits = Eigen::ArrayXf(state.bits(kept));
}

// Joins ascending centers that have met; the shares add up.
void join_met(Sums& sums, SoftState& state) {
  std::vector<Eigen::Index> kept;
  for (Eigen::Index j = 0; j < state.centers.rows(); ++j) {
    const bool met = !kept.empty() && state.centers(j, 0) - state.centers(kept.back(), 0) < kMet;
    if (!met) {
      kept.push_back(j);
      continue;
    }
    const Eigen::Index one = kept.back();
    if (state.centers(j, 0) == 0) state.centers(one, 0) = 0;
    sums.row(one) += sums.row(j);
  }
  sums = Sums(sums(kept, Eigen::all));
  select(kept, state);
}

}  // namespace

void soft_step(const WeightedVectors& data, float sigma, float beta, bool keep_zero, int threads, SoftState& state) {
  const Eigen::ArrayXf penalties = state.bits * beta;
  const size_t block = std::max(kMinBlock, (data.size() + kMaxBlocks - 1) / kMaxBlocks);
  std::vector<Sums> parts((data.size() + block - 1) / block);
  parallel_blocks(data.size(), block, threads, [&](size_t index, size_t begin, size_t end) {
    add_block(data, begin, end, state, penalties, sigma, parts[index]);
  });
  Sums sums = std::move(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) sums += parts[i];

  std::vector<Eigen::Index> kept;
  for (Eigen::Index j = 0; j < sums.rows(); ++j) {
    if (sums(j, 0) < kLeastShare) continue;
    kept.push_back(j);
    if (keep_zero && (state.centers.row(j) == 0).all()) continue;
    state.centers.row(j) = (sums.row(j).tail(state.centers.cols()) / sums(j, 0)).cast<float>();
  }
  sums = Sums(sums(kept, Eigen::all));
  select(kept, state);
  if (data.dimension == 1) join_met(sums, state);
  const double total = sums.col(0).sum();
  state.bits = (-(sums.col(0) / total).log() / std::log(2.0)).cast<float>();
}

void anneal(const WeightedVectors& data, const AnnealingOptions& options, bool keep_zero, SoftState& state) {
  constexpr int kStepsPerSigma = 2;
  const double range = std::log(options.sigma_end / options.sigma_start);
  for (float sigma = options.sigma_start; sigma <= options.sigma_end; sigma *= options.sigma_growth) {
    for (int step = 0; step < kStepsPerSigma; ++step) {
      soft_step(data, sigma, options.beta, keep_zero, options.threads, state);
    }
    if (options.progress && range > 0) options.progress(std::log(sigma / options.sigma_start) / range);
  }
}

}  // namespace quench::quantizer
