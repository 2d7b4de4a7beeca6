// Matrix multiplication of float32, as free functions of shape, weights and pointers: output = activation(x * w + bias
// + residual).
//
// Weights that are known beforehand are packed once; others are used where they lie, or packed piece by piece as
// needed.
//
//     MatMulPlan plan = plan_matmul({rows, inner, columns}, /*packed=*/true, threads);
//     pack_matmul(plan, {w, columns, 1}, 1.0f, bias, packed.data());   // packed_floats(plan), aligned to kAlignment
//     run_matmul(plan, data, 0, plan.units, scratch);
//
// Units are independent of each other and may be run by several threads, each with its own scratch. An output value
// does not depend on how units were cut: results are the same to the bit for any number of threads.
#pragma once

#include <cstdint>

#include "runtime/contract/kernel.h"

namespace quench::rt::fast {

struct MatMulShape {
  int64_t rows = 0, inner = 0, columns = 0;
};

// A matrix in memory: element (i, j) is data[i * row + j * column].
struct Matrix {
  const float* data = nullptr;
  int64_t row = 0, column = 1;
};

struct MatMulPlan {
  MatMulShape shape;
  bool packed = false;
  int block_vectors = 1;       // columns are computed in blocks of at most so many vectors
  int64_t units = 0;           // pieces of work; 0 if there are no outputs
  int64_t scratch_floats = 0;  // for each thread

  int64_t unit_rows = 1, unit_blocks = 1;

  // Identifies the form of the packed weights: plans with the same number and the same weights can share them.
  uint32_t variant() const { return static_cast<uint32_t>(block_vectors); }
};

MatMulPlan plan_matmul(const MatMulShape& shape, bool packed, int threads);

// Size of the packed weights and bias; depends only on the variant, `inner` and `columns`.
int64_t packed_floats(const MatMulPlan& plan);
// Packs scale * weights. `bias` has a value per column, or is nullptr.
void pack_matmul(const MatMulPlan& plan, const Matrix& weights, float scale, const float* bias, float* packed);

struct MatMulData {
  Matrix x;
  const float* packed = nullptr;    // if the plan is packed
  Matrix weights;                   // if it is not
  float* output = nullptr;          // row-major, contiguous
  bool accumulate = false;          // add what is in the output
  const float* residual = nullptr;  // lies like the output and may be the same memory; not together with accumulate
  Activation activation;
};

// Computes units [begin, end). `scratch` has plan.scratch_floats, aligned to kAlignment.
void run_matmul(const MatMulPlan& plan, const MatMulData& data, int64_t begin, int64_t end, float* scratch);

}  // namespace quench::rt::fast
