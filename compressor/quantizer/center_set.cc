#include "compressor/quantizer/center_set.h"

#include <cmath>

namespace quench::quantizer {

Eigen::ArrayXf CenterSet::penalties(double beta) const {
  return (-beta / std::log(2.0) * (weights / weights.sum()).log()).cast<float>();
}

void CenterSet::select(const std::vector<Eigen::Index>& kept) {
  centers = Eigen::ArrayXXf(centers(kept, Eigen::all));
  weights = Eigen::ArrayXd(weights(kept));
}

// Bounds by the run's bounding box.
void Reach::find(const float* vectors, size_t count, const Eigen::ArrayXXf& all_centers,
                 const Eigen::ArrayXf& all_penalties, float slack) {
  const Eigen::Index width = all_centers.cols();
  const Eigen::Map<const Eigen::ArrayXXf> run(vectors, width, static_cast<Eigen::Index>(count));
  nearest_ = all_penalties;
  farthest_ = all_penalties;
  for (Eigen::Index k = 0; k < width; ++k) {
    const float low = run.row(k).minCoeff(), high = run.row(k).maxCoeff();
    const float middle = 0.5f * (low + high), half = std::max(high - middle, middle - low);
    nearest_ += ((all_centers.col(k) - middle).abs() - half).max(0.0f).square();
    farthest_ += ((all_centers.col(k) - middle).abs() + half).square();
  }
  const float bound = (farthest_.minCoeff() + slack) * (1 + 1e-5f);  // the sums are rounded
  indices.clear();
  for (Eigen::Index j = 0; j < nearest_.size(); ++j) {
    if (nearest_[j] <= bound) indices.push_back(j);
  }
  centers.resize(static_cast<Eigen::Index>(indices.size()), width);
  penalties.resize(static_cast<Eigen::Index>(indices.size()));
  for (Eigen::Index i = 0; i < penalties.size(); ++i) {
    const Eigen::Index j = indices[static_cast<size_t>(i)];
    penalties[i] = all_penalties[j];
    for (Eigen::Index k = 0; k < width; ++k) centers(i, k) = all_centers(j, k);
  }
}

void update_centers(const CenterSums& sums, bool keep_zero, double least, CenterSet& set) {
  std::vector<Eigen::Index> kept;
  for (Eigen::Index j = 0; j < sums.rows(); ++j) {
    if (sums(j, 0) <= least) continue;
    kept.push_back(j);
    set.weights[j] = sums(j, 0);
    if (keep_zero && (set.centers.row(j) == 0).all()) continue;
    set.centers.row(j) = (sums.row(j).segment(1, set.centers.cols()) / sums(j, 0)).cast<float>();
  }
  if (kept.size() < set.size()) set.select(kept);
}

}  // namespace quench::quantizer
