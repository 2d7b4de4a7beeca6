// The hard, rate-distortion-optimised assignment: argmin_j ||z - c_j||^2 + beta * bits_j, ties to the lower index.
//
//     HardAssigner assigner(codebook, beta);
//     uint32_t index = assigner.assign(w / step);             // d = 1; a few ns, for sequential error feedback
//     assigner.assign_all(values, indices, threads);          // all at once
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "compressor/quantizer/codebook.h"
#include "compressor/quantizer/nearest_center.h"

namespace quench::quantizer {

class HardAssigner {
 public:
  // Keeps no reference to the codebook. beta: squared distance per bit, at least 0. Throws quench::Error where the
  // codebook has no center or its parts do not fit together.
  HardAssigner(const Codebook& codebook, float beta);

  // d = 1. NaN gives some valid index.
  uint32_t assign(float value) const {
    uint32_t slot = table_[cell_of(value)];
    while (value > thresholds_[slot]) ++slot;
    return winners_[slot];
  }

  // Any d; `vector` holds d values.
  uint32_t assign(const float* vector) const { return dimension_ == 1 ? assign(vector[0]) : search(vector); }

  // values: n x d; indices: n.
  void assign_all(std::span<const float> values, std::span<uint32_t> indices, int threads = 1) const;

 private:
  size_t cell_of(float value) const {
    const float position = (value - table_origin_) * table_scale_;
    const float last = static_cast<float>(table_.size() - 1);
    return static_cast<size_t>(position > 0 ? (position < last ? position : last) : 0.0f);  // NaN: 0
  }
  void build_table();
  uint32_t search(const float* vector) const;

  int dimension_;
  // d = 1: winners_[i] wins for values in (thresholds_[i - 1], thresholds_[i]]; the last threshold is infinite.
  // table_ maps a value's cell to the slot where the scan begins.
  std::vector<float> thresholds_;
  std::vector<uint32_t> winners_;
  std::vector<uint32_t> table_;
  float table_origin_ = 0;
  float table_scale_ = 0;
  NearestCenter nearest_;  // d > 1
};

}  // namespace quench::quantizer
