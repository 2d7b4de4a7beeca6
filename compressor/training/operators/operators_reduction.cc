// Reductions along axes, ArgMax and ArgMin, Softmax.

#include <torch/torch.h>

#include "compressor/training/operators/operators_support.h"

namespace quench::training {
namespace {

using torch::Tensor;

using Reduction = Tensor (*)(const Tensor& x, const Integers& axes, bool keeps_axes);

// `kInputSince` is the version that made the axes an input.
template <Reduction kReduction, int64_t kInputSince>
Tensors reduce(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  Integers axes = node.opset < kInputSince ? integers(node, "axes") : integer_input(inputs, 1);
  if (axes.empty() && integer(node, "noop_with_empty_axes", 0) != 0) return {x};
  const bool all_axes = axes.empty();
  for (int64_t axis = 0; axis < x.dim() && all_axes; ++axis) axes.push_back(axis);
  return {kReduction(x, axes, integer(node, "keepdims", 1) != 0)};
}

// Torch would make 64-bit integers of shorter ones.
Tensor sum(const Tensor& x, const Integers& axes, bool keeps_axes) {
  return at::sum(x, axes, keeps_axes, x.scalar_type());
}

Tensor mean(const Tensor& x, const Integers& axes, bool keeps_axes) {
  if (at::isFloatingType(x.scalar_type())) return at::mean(x, axes, keeps_axes);
  int64_t count = 1;
  for (const int64_t axis : axes) count *= x.size(axis);
  return at::div(sum(x, axes, keeps_axes), count, "trunc");
}

// In float32 for the short types, which torch has no products of on a CPU.
Tensor product(const Tensor& x, const Integers& axes, bool keeps_axes) {
  const bool is_short = x.scalar_type() == torch::kHalf || x.scalar_type() == torch::kBFloat16;
  Tensor y = is_short ? x.to(torch::kFloat) : x;
  for (const int64_t axis : axes) y = at::prod(y, axis, /*keepdim=*/true, y.scalar_type());
  y = y.to(x.scalar_type());
  // Sums of one element each, which drop the axes.
  return keeps_axes ? y : sum(y, axes, false);
}

Tensor sum_square(const Tensor& x, const Integers& axes, bool keeps_axes) { return sum(x * x, axes, keeps_axes); }
Tensor l1(const Tensor& x, const Integers& axes, bool keeps_axes) { return sum(at::abs(x), axes, keeps_axes); }
// Unlike the root of a sum it has a derivative at 0.
Tensor l2(const Tensor& x, const Integers& axes, bool keeps_axes) { return at::norm(x, 2, axes, keeps_axes); }
Tensor log_sum(const Tensor& x, const Integers& axes, bool keeps_axes) { return at::log(sum(x, axes, keeps_axes)); }
Tensor log_sum_exp(const Tensor& x, const Integers& axes, bool keeps_axes) {
  return at::logsumexp(x, axes, keeps_axes);
}
Tensor largest(const Tensor& x, const Integers& axes, bool keeps_axes) { return at::amax(x, axes, keeps_axes); }
Tensor least(const Tensor& x, const Integers& axes, bool keeps_axes) { return at::amin(x, axes, keeps_axes); }

template <bool kMax>
Tensors argument(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const int64_t axis = axis_of(node, 0, x.dim());
  const bool keeps_axes = integer(node, "keepdims", 1) != 0;
  const auto find = [&](const Tensor& values) {
    return kMax ? at::argmax(values, axis, keeps_axes) : at::argmin(values, axis, keeps_axes);
  };
  if (integer(node, "select_last_index", 0) == 0) return {find(x)};
  return {x.size(axis) - 1 - find(x.flip(axis))};
}

// Before version 13 along the axis and all behind it.
template <Tensor (*kFunction)(const Tensor&, int64_t)>
Tensors normalize(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  if (node.opset >= 13) return {kFunction(x, axis_of(node, -1, x.dim()))};
  const int64_t axis = axis_of(node, 1, x.dim());
  if (axis == x.dim() - 1) return {kFunction(x, axis)};
  return {kFunction(x.flatten(axis), axis).reshape(x.sizes())};
}

Tensor softmax(const Tensor& x, int64_t axis) { return at::softmax(x, axis); }
Tensor log_softmax(const Tensor& x, int64_t axis) { return at::log_softmax(x, axis); }

constexpr OperatorEntry kReductionOperators[] = {
    {"ArgMax", argument<true>},
    {"ArgMin", argument<false>},
    {"LogSoftmax", normalize<log_softmax>},
    {"ReduceL1", reduce<l1, 18>},
    {"ReduceL2", reduce<l2, 18>},
    {"ReduceLogSum", reduce<log_sum, 18>},
    {"ReduceLogSumExp", reduce<log_sum_exp, 18>},
    {"ReduceMax", reduce<largest, 18>},
    {"ReduceMean", reduce<mean, 18>},
    {"ReduceMin", reduce<least, 18>},
    {"ReduceProd", reduce<product, 18>},
    {"ReduceSum", reduce<sum, 13>},  // five versions before the others
    {"ReduceSumSquare", reduce<sum_square, 18>},
    {"Softmax", normalize<softmax>},
};

}  // namespace

std::span<const OperatorEntry> reduction_operators() { return kReductionOperators; }

}  // namespace quench::training
