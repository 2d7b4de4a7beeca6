// Second moments of the activations that a weight multiplies: H = E[x x^T] and the mean E[x], over positions and
// samples.
//
// With them, the error that quantizing a row w to q makes in its output is (w - q)^T H (w - q) on average, and the
// shift of its mean (w - q)^T E[x].
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "compressor/compress/weight_use.h"
#include "compressor/graph/evaluator.h"

namespace quench::quantizer {

class Moments {
 public:
  // Columns are taken in blocks of at most this many; H is block-diagonal, so its cost stays bounded.
  static constexpr int64_t kMaxBlock = 1152;

  // `samples`: about how many columns x to take from each call of add.
  Moments(const WeightUse& use, int64_t samples);

  // Takes patches of an activation at positions spread evenly over samples and places. Shapes that do not fit the use
  // throw quench::Error.
  void add(const graph::HostTensor& activation);

  // Multiply-accumulate operations of the node per call of add, on average.
  double operations() const { return calls_ == 0 ? 0 : operations_ / calls_; }

  int64_t blocks_per_group() const { return static_cast<int64_t>(starts_.size()) - 1; }
  int64_t block_begin(int64_t block) const { return starts_[static_cast<size_t>(block)]; }
  int64_t block_size(int64_t block) const { return block_begin(block + 1) - block_begin(block); }
  Eigen::MatrixXd second_moment(int64_t group, int64_t block) const;
  Eigen::VectorXd mean(int64_t group) const;
  bool empty() const { return count_ == 0; }

 private:
  void add_patches(const Eigen::MatrixXf& patches, int64_t group);
  void add_convolution(const graph::HostTensor& activation);
  void add_rows(const graph::HostTensor& activation);

  WeightUse use_;
  int64_t samples_;
  std::vector<int64_t> starts_;
  std::vector<Eigen::MatrixXd> sums_;    // group x block
  std::vector<Eigen::VectorXd> totals_;  // group
  int64_t count_ = 0;                    // patches added, per group
  double operations_ = 0;
  int calls_ = 0;
};

}  // namespace quench::quantizer
