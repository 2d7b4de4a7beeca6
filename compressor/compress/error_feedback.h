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

// values: the weight's elements divided by their scales, in memory order; they are overwritten. indices: one for each
// vector of d elements in memory order. beta: squared distance per bit. False, and nothing done, where the view's rows
// or columns cannot be cut into whole vectors.
bool assign_with_feedback(const MatrixView& view, const Moments& moments, const Codebook& codebook, float beta,
                          std::span<float> values, std::span<uint32_t> indices);

}  // namespace quench::quantizer
