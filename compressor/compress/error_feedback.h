// Rounding with error feedback: the columns of a weight are assigned to centers one after the other, and the error of
// each is spread over those still to come so that the output changes least (Hassibi and Stork 1993; Frantar et al.
// 2023, "GPTQ"), with the rate in the choice of the center.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "compressor/compress/moments.h"
#include "compressor/quantizer/codebook.h"

namespace quench::quantizer {

// How far the moments of an activation are believed: all the way where the inputs were real.
struct MomentTrust {
  double products = 1;    // share of the products of two columns, which say where errors cancel
  double damping = 0.01;  // share of the mean diagonal that is added to all, so that no column is taken to be idle
};

// What the moments of a weight's activation say about the order of its columns and where each column's error goes. It is
// worked out once, and serves any number of assignments.
class ErrorFeedback {
 public:
  // vectors_span_columns: the codebooks to come have d > 1 and the columns of a row lie together, so columns must keep
  // their order; otherwise those with the strongest activations come first.
  ErrorFeedback(const MatrixView& view, const Moments& moments, MomentTrust trust, bool vectors_span_columns);

  // values: the weight's elements divided by their scales, in memory order. indices: one for each vector of d elements
  // in memory order. beta: squared distance per bit. False, and nothing done, where the view's rows or columns cannot be
  // cut into whole vectors.
  bool assign(const Codebook& codebook, float beta, std::span<const float> values, std::span<uint32_t> indices) const;
  // The same along a trellis (trellis_assignment.h) that goes down the view's rows, in each column for itself, and begins
  // anew every `run` rows.
  void assign_trellis(const Codebook& symbols, float beta, uint64_t run, std::span<const float> values,
                      std::span<uint32_t> indices) const;

 private:
  struct Block {
    int64_t first_row, first_column;
    std::vector<int64_t> order;  // of the block's columns
    // Upper triangular U with U^T U = H^-1, its rows contiguous.
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> spread;
    std::vector<double> weights;  // of the squared error of each column that is left after spreading, geometric mean 1
  };
  class Assignment;

  MatrixView view_;
  std::vector<Block> blocks_;
};

}  // namespace quench::quantizer
