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
  // Columns are taken in blocks of at most `largest_block`; H is block-diagonal, so its cost stays bounded.
  static constexpr int64_t kMaxBlock = 1152;

  explicit Moments(const WeightUse& use, int64_t largest_block = kMaxBlock);

  // Bytes that it takes, about, before it is made.
  static uint64_t bytes(const WeightUse& use, int64_t largest_block);

  // Multiply-accumulate operations of the node for this activation. Shapes that do not fit the use throw quench::Error,
  // here and in add.
  double operations(const graph::HostTensor& activation) const;

  // Takes about `samples` vectors x of an activation, at positions spread evenly over its batch and places.
  void add(const graph::HostTensor& activation, int64_t samples);

  // How many vectors x are enough, all calls of add together.
  int64_t enough_samples() const;

  int64_t blocks_per_group() const { return static_cast<int64_t>(starts_.size()) - 1; }
  int64_t block_begin(int64_t block) const { return starts_[static_cast<size_t>(block)]; }
  int64_t block_size(int64_t block) const { return block_begin(block + 1) - block_begin(block); }
  // Block `block` of H: symmetric, block_size x block_size.
  Eigen::MatrixXd second_moment(int64_t group, int64_t block) const;
  Eigen::VectorXd mean(int64_t group) const;
  bool empty() const { return count_ == 0; }

 private:
  int64_t positions(const graph::HostTensor& activation) const;
  void add_vectors(const float* vectors, int64_t count, int64_t group);
  void add_convolution(const graph::HostTensor& activation, int64_t samples);
  void add_rows(const graph::HostTensor& activation, int64_t samples);

  WeightUse use_;
  std::vector<int64_t> starts_;
  std::vector<std::vector<float>> sums_;  // group x block: the upper triangle of the sum of x x^T, row-major
  std::vector<Eigen::VectorXd> totals_;   // group
  int64_t count_ = 0;                     // vectors added, per group
};

}  // namespace quench::quantizer
