// The sum of outer products x x^T over many vectors x, which second moments are made of: the rank-k update of BLAS
// (ssyrk), for the many vectors and few hundred columns of a calibration.
#pragma once

#include <cstddef>

namespace quench::quantizer {

// Vectors that one call of add_outer_products takes at most, so that what it packs stays in the cache.
inline constexpr size_t kOuterProductBatch = 256;

// sums(i, j) += sum over vectors of x_i x_j for j >= i; below the diagonal, sums may get values or not.
// vectors: `count` <= kOuterProductBatch rows of `columns` values, `stride` apart; sums: columns x columns, row-major.
void add_outer_products(const float* vectors, size_t count, size_t stride, size_t columns, float* sums);

}  // namespace quench::quantizer
