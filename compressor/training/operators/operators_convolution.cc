// Conv and ConvTranspose over one to three axes.

#include <torch/torch.h>

#include <algorithm>

#include "compressor/training/operators/operators_window.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

Tensors conv(const NodeView& node, const Tensors& inputs) {
  Tensor x = required(inputs, 0);
  const Tensor& w = required(inputs, 1);
  const Tensor bias = optional(inputs, 2);
  Window window = read_window(node, spatial_sizes(x), spatial_sizes(w));
  if (!window.is_symmetric()) {
    x = at::constant_pad_nd(x, pads_for_torch(window.begin, window.end));
    window.begin.assign(window.axes(), 0);
  }
  const int64_t groups = integer(node, "group", 1);
  // Not at::convolution, which autocast does not see.
  switch (window.axes()) {
    case 1:
      return {at::conv1d(x, w, bias, window.strides, window.begin, window.dilations, groups)};
    case 2:
      return {at::conv2d(x, w, bias, window.strides, window.begin, window.dilations, groups)};
    default:
      return {at::conv3d(x, w, bias, window.strides, window.begin, window.dilations, groups)};
  }
}

Tensor transposed(const Tensor& x, const Tensor& w, const Tensor& bias, const Window& window, const Integers& padding,
                  const Integers& output_padding, int64_t groups) {
  switch (window.axes()) {
    case 1:
      return at::conv_transpose1d(x, w, bias, window.strides, padding, output_padding, groups, window.dilations);
    case 2:
      return at::conv_transpose2d(x, w, bias, window.strides, padding, output_padding, groups, window.dilations);
    default:
      return at::conv_transpose3d(x, w, bias, window.strides, padding, output_padding, groups, window.dilations);
  }
}

// Whether output_padding, or a negative padding in its place, adds no more than torch allows, and other padding is the
// same on both sides.
bool torch_can_place(const Window& window, const Integers& output_padding) {
  bool can = true;
  for (size_t axis = 0; axis < window.axes(); ++axis) {
    can = can && window.begin[axis] == window.end[axis] &&
          output_padding[axis] < std::max(window.strides[axis], window.dilations[axis]);
  }
  return can;
}

Tensors conv_transpose(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  // Autocast leaves this one alone.
  const Tensor w = required(inputs, 1).to(x.scalar_type());
  Tensor bias = optional(inputs, 2);
  if (bias.defined()) bias = bias.to(x.scalar_type());
  const torch::IntArrayRef sizes = spatial_sizes(x);
  const size_t count = sizes.size();
  Integers output_padding = integers(node, "output_padding");
  if (output_padding.empty()) output_padding.assign(count, 0);
  if (output_padding.size() != count) {
    throw Error::make("output_padding has {} values for {} axes", output_padding.size(), count);
  }
  const Window window = read_transposed_window(node, sizes, spatial_sizes(w), output_padding);
  const int64_t groups = integer(node, "group", 1);
  if (torch_can_place(window, output_padding)) {
    return {transposed(x, w, bias, window, window.begin, output_padding, groups)};
  }
  // All that the windows reach, cut to size; where they do not reach is 0, and the bias.
  const Integers none(count, 0);
  Tensor y = transposed(x, w, Tensor(), window, none, none, groups);
  Integers begin(count);
  Integers end(count);
  for (size_t axis = 0; axis < count; ++axis) {
    begin[axis] = -window.begin[axis];
    end[axis] = output_padding[axis] - window.end[axis];
  }
  y = at::constant_pad_nd(y, pads_for_torch(begin, end));
  if (!bias.defined()) return {y};
  Integers per_channel(count + 1, 1);
  per_channel[0] = bias.numel();
  return {y + bias.reshape(per_channel)};
}

constexpr OperatorEntry kConvolutionOperators[] = {{"Conv", conv}, {"ConvTranspose", conv_transpose}};

}  // namespace

std::span<const OperatorEntry> convolution_operators() { return kConvolutionOperators; }

}  // namespace quench::training
