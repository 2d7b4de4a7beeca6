// The uniform scalar quantizer with rate-distortion-optimised assignment: the baseline of the learned codebooks, and
// the choice for tensors too small to pay for centers.
#pragma once

#include <cstdint>
#include <span>

#include "compressor/quantizer/codebook.h"

namespace quench::quantizer {

struct UniformGridOptions {
  uint32_t max_centers = 75;  // 1 to 65536
  float beta = 0.1f;          // squared distance per bit
  float step = 1;             // spacing of the centers, which are whole multiples of it
};

// values: normalised. Centers are the multiples of the step that the rate-distortion-optimised assignment uses, their
// code lengths iterated until the assignment rests. Where the values need more than max_centers, neighbouring cells of
// least weight share one center, so that far outliers still have a center near them. No values: one center at 0.
// Throws quench::Error on NaN, Inf or options outside their range.
Codebook learn_uniform_grid(std::span<const float> values, const UniformGridOptions& options);

}  // namespace quench::quantizer
