// learn_codebook for d = 1.
#pragma once

#include "compressor/quantizer/annealing.h"

namespace quench::quantizer {

// At least one value; everything checked.
Codebook anneal_scalar(std::span<const float> values, const AnnealingOptions& options);

}  // namespace quench::quantizer
