// The exact search behind HardAssigner for d > 1: SIMD over the centers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quench::quantizer {

class NearestCenter {
 public:
  NearestCenter() = default;
  // coordinates: d x L, the first coordinate of all centers, then the second; penalties: L, in squared distance.
  NearestCenter(std::span<const float> coordinates, std::span<const float> penalties);

  // For each of `count` vectors (row-major) the index of least ||z - c||^2 + penalty, ties to the lower index, and that
  // cost where `costs` is not null. The result is the same on every processor.
  void search(const float* vectors, size_t count, uint32_t* indices, float* costs) const;

 private:
  size_t dimension_ = 0;
  size_t stride_ = 0;               // centers, padded to whole SIMD vectors with centers that never win
  std::vector<float> coordinates_;  // d x stride_
  std::vector<float> penalties_;    // stride_
};

}  // namespace quench::quantizer
