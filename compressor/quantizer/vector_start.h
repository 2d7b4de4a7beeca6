// Where the search for a vector codebook begins: products of scalar codebooks, and lattices.
#pragma once

#include <cstddef>
#include <span>

#include "compressor/quantizer/center_set.h"
#include "compressor/quantizer/weighted_vectors.h"

namespace quench::quantizer {

// Each coordinate at its scalar center (ascending, with code lengths), at this beta: one center for each combination
// that occurs, at most max_centers.
CenterSet product_start(const WeightedVectors& data, std::span<const float> centers, std::span<const float> bits,
                        float beta, size_t max_centers);

// The points of the densest known lattice (hexagonal, D4, E8; Conway and Sloane) nearest to some vector, at most
// max_centers. `mse`: the mean squared error per value that the lattice has where the density is flat.
CenterSet lattice_start(const WeightedVectors& data, double mse, size_t max_centers);

}  // namespace quench::quantizer
