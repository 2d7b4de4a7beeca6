// What the reference and the fast matrix products have in common.
#pragma once

#include "runtime/kernels/reference/strided.h"

namespace quench::rt {

// One matrix product y = x * w of strided operands; y is row-major.
struct Product {
  int64_t rows;
  int64_t inner;
  int64_t columns;
  int64_t x_row;
  int64_t x_inner;
  int64_t w_inner;
  int64_t w_column;
};

struct GemmState {
  Product product;
  float alpha;
  float beta;
};

struct MatMulState {
  Product product;
  // Over the leading axes of the output, in units of whole matrices: output, left, right.
  StridedLoop<3> batches;
};

// What numpy.matmul of a and b computes, each with its last two axes turned around if so said: leading axes broadcast, a
// vector counts as a row on the left and as a column on the right. `y` is the shape of the output.
Status place_product(const Shape& a, const Shape& b, bool turn_a, bool turn_b, MatMulState* state, Shape* y);

// Kernel::infer of Gemm and MatMul, for states that begin with GemmState and MatMulState.
Status infer_gemm(InferContext& context);
Status infer_matmul(InferContext& context);

}  // namespace quench::rt
