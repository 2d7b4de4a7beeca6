// InstanceNormalization, LayerNormalization and LRN. BatchNormalization is GraphModule's.

#include <torch/torch.h>

#include "compressor/training/operators/operators_support.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

Tensors instance_normalization(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  if (x.dim() < 3) throw Error::make("input 0 has rank {}, not 3 or more", x.dim());
  const Tensor& scale = required(inputs, 1);
  // A channel is a group of its own: one fused kernel each way. In the type of the parameters, which autocast does not
  // lower.
  return {at::group_norm(x.to(scale.scalar_type()), x.size(1), scale.reshape({-1}), required(inputs, 2).reshape({-1}),
                         real(node, "epsilon", 1e-5), /*cudnn_enabled=*/false)};
}

Tensors layer_normalization(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const torch::IntArrayRef sizes = x.sizes().slice(static_cast<size_t>(axis_of(node, -1, x.dim())));
  const Tensor& scale = required(inputs, 1);
  const Tensor bias = optional(inputs, 2);
  const double epsilon = real(node, "epsilon", 1e-5);
  // In the type of the parameters, which autocast does not lower.
  const Tensor values = x.to(scale.scalar_type());
  Tensor y;
  const auto rank = static_cast<int64_t>(sizes.size());
  if (scale.dim() <= rank && (!bias.defined() || bias.dim() <= rank)) {
    y = at::layer_norm(values, sizes, scale.expand(sizes), bias.defined() ? bias.expand(sizes) : bias, epsilon);
  } else {  // they broadcast to the other axes, too
    y = at::layer_norm(values, sizes, {}, {}, epsilon) * scale;
    if (bias.defined()) y = y + bias;
  }
  Tensors outputs = {y};
  if (node.proto.output_size() > 1) {
    Integers axes;
    for (int64_t axis = x.dim() - static_cast<int64_t>(sizes.size()); axis < x.dim(); ++axis) axes.push_back(axis);
    const auto [variance, mean] = at::var_mean(values, axes, /*unbiased=*/false, /*keepdim=*/true);
    outputs.insert(outputs.end(), {mean, at::rsqrt(variance + epsilon)});
  }
  return outputs;
}

// The channels from floor((size - 1) / 2) before to ceil((size - 1) / 2) behind.
Tensors local_response_normalization(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const int64_t size = integer(node, "size", 0);
  if (size < 1 || x.dim() < 2) throw Error::make("size {} for an input of rank {}", size, x.dim());
  Integers pads(2 * static_cast<size_t>(x.dim() - 1), 0);
  pads[pads.size() - 2] = (size - 1) / 2;
  pads[pads.size() - 1] = size / 2;
  const Tensor squares = at::constant_pad_nd(x * x, pads);
  Tensor sum = squares.narrow(1, 0, x.size(1));
  for (int64_t i = 1; i < size; ++i) sum = sum + squares.narrow(1, i, x.size(1));
  const double factor = real(node, "alpha", 1e-4) / static_cast<double>(size);
  return {x / at::pow(sum * factor + real(node, "bias", 1), real(node, "beta", 0.75))};
}

constexpr OperatorEntry kNormalizationOperators[] = {
    {"InstanceNormalization", instance_normalization},
    {"LRN", local_response_normalization},
    {"LayerNormalization", layer_normalization},
};

}  // namespace

std::span<const OperatorEntry> normalization_operators() { return kNormalizationOperators; }

}  // namespace quench::training
