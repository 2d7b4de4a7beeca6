// One soft step of the annealing: every vector is shared out over the centers, then the centers and their code lengths
// follow (Agustsson et al. 2017; Rose 1998).
#pragma once

#include "compressor/quantizer/annealing.h"
#include "compressor/quantizer/center_set.h"
#include "compressor/quantizer/weighted_vectors.h"

namespace quench::quantizer {

// Moves the centers to the mean of their share of the vectors, a center at exactly 0 excepted, and their weights to
// that share. Centers whose share is far below one vector are dropped; for d = 1 those that have met are joined. The
// result does not depend on the number of threads. Fast where neighbours in the data are neighbours in space.
void soft_step(const WeightedVectors& data, float sigma, float beta, int threads, CenterSet& set);

// Soft steps while sigma rises from the options' start to their end.
void anneal(const WeightedVectors& data, const AnnealingOptions& options, CenterSet& set);

}  // namespace quench::quantizer
