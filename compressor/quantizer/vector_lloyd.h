// Hard entropy-constrained Lloyd iteration in d dimensions (Chou, Lookabaugh and Gray 1989).
#pragma once

#include "compressor/quantizer/center_set.h"
#include "compressor/quantizer/weighted_vectors.h"

namespace quench::quantizer {

// Assigns and updates until the Lagrangian falls by less than `least_gain` of itself, at most `max_steps` times, at
// least once. Centers that lose all their vectors are dropped; one at exactly 0 stays where it is. Returns the
// Lagrangian per vector, an upper bound of that of the centers left behind. Does not depend on the number of threads.
// Fast where neighbours in the data are neighbours in space.
double vector_lloyd(const WeightedVectors& data, double beta, int max_steps, double least_gain, int threads,
                    CenterSet& set);

}  // namespace quench::quantizer
