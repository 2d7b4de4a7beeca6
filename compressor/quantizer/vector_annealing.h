// learn_codebook for d > 1.
#pragma once

#include "compressor/quantizer/annealing.h"

namespace quench::quantizer {

// At least one vector; everything checked.
Codebook anneal_vectors(std::span<const float> vectors, const AnnealingOptions& options);

}  // namespace quench::quantizer
