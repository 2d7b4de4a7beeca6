// Gemm and MatMul.

#include <torch/torch.h>

#include "compressor/training/operators/operators_support.h"

namespace quench::training {
namespace {

using torch::Tensor;

Tensors gemm(const NodeView& node, const Tensors& inputs) {
  const Tensor& a = required(inputs, 0);
  const Tensor& b = required(inputs, 1);
  const Tensor left = integer(node, "transA", 0) != 0 ? a.t() : a;
  const Tensor right = integer(node, "transB", 0) != 0 ? b.t() : b;
  const Tensor c = optional(inputs, 2);
  const double alpha = real(node, "alpha", 1);
  if (c.defined()) return {at::addmm(c, left, right, real(node, "beta", 1), alpha)};
  const Tensor y = at::mm(left, right);
  return {alpha == 1 ? y : y * alpha};
}

Tensors matmul(const NodeView&, const Tensors& inputs) {
  return {at::matmul(required(inputs, 0), required(inputs, 1))};
}

constexpr OperatorEntry kMatrixOperators[] = {{"Gemm", gemm}, {"MatMul", matmul}};

}  // namespace

std::span<const OperatorEntry> matrix_operators() { return kMatrixOperators; }

}  // namespace quench::training
