// MaxPool, AveragePool and their global forms.

#include <torch/torch.h>

#include <algorithm>
#include <limits>

#include "compressor/training/operators/operators_window.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

bool is_dilated(const Window& window) {
  return std::any_of(window.dilations.begin(), window.dilations.end(), [](int64_t dilation) { return dilation != 1; });
}

bool torch_can_pad(const Window& window) {
  bool can = window.is_symmetric();
  for (size_t axis = 0; axis < window.axes(); ++axis) can = can && 2 * window.begin[axis] <= window.kernel[axis];
  return can;
}

// Padding at the end that lets the last windows fit, at least what there is.
Integers end_of_windows(const Window& window, torch::IntArrayRef input) {
  Integers end = window.end;
  for (size_t axis = 0; axis < window.axes(); ++axis) {
    const int64_t reached = (window.output[axis] - 1) * window.strides[axis] + window.extent(axis);
    end[axis] = std::max(end[axis], reached - input[axis] - window.begin[axis]);
  }
  return end;
}

Tensor max_pool_values(const Tensor& x, const Window& window, const Integers& padding, bool ceil_mode) {
  switch (window.axes()) {
    case 1:
      return at::max_pool1d(x, window.kernel, window.strides, padding, window.dilations, ceil_mode);
    case 2:
      return at::max_pool2d(x, window.kernel, window.strides, padding, window.dilations, ceil_mode);
    default:
      return at::max_pool3d(x, window.kernel, window.strides, padding, window.dilations, ceil_mode);
  }
}

// Indices count within a plane.
std::tuple<Tensor, Tensor> max_pool_indices(const Tensor& x, const Window& window, const Integers& padding,
                                            bool ceil_mode) {
  switch (window.axes()) {
    case 1:
      return at::max_pool1d_with_indices(x, window.kernel, window.strides, padding, window.dilations, ceil_mode);
    case 2:
      return at::max_pool2d_with_indices(x, window.kernel, window.strides, padding, window.dilations, ceil_mode);
    default:
      return at::max_pool3d_with_indices(x, window.kernel, window.strides, padding, window.dilations, ceil_mode);
  }
}

// ONNX's indices count through the whole input, or one with its spatial axes turned around, from torch's, which count
// within a plane of the sizes `padded`, its padding `begin` included.
Tensor global_indices(Tensor indices, const Tensor& x, torch::IntArrayRef padded, const Integers& begin,
                      bool column_major) {
  const torch::IntArrayRef input = spatial_sizes(x);
  const auto axes = static_cast<int64_t>(input.size());
  Integers strides(input.size(), 1);
  int64_t plane = 1;
  for (int64_t i = 0; i < axes; ++i) {
    const auto axis = static_cast<size_t>(column_major ? i : axes - 1 - i);
    strides[axis] = plane;
    plane *= input[axis];
  }
  Integers sizes(static_cast<size_t>(x.dim()), 1);
  sizes[0] = x.size(0);
  sizes[1] = x.size(1);
  Tensor result = at::arange(x.size(0) * x.size(1), indices.options()).reshape(sizes) * plane;
  for (size_t axis = input.size(); axis-- > 0;) {
    result = result + (at::remainder(indices, padded[axis]) - begin[axis]) * strides[axis];
    indices = at::div(indices, padded[axis], "floor");
  }
  return result;
}

Tensors max_pool(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const torch::IntArrayRef input = spatial_sizes(x);
  bool ceil_mode = integer(node, "ceil_mode", 0) != 0;
  const Window window = read_window(node, input, {}, ceil_mode);
  const bool is_floating = at::isFloatingType(x.scalar_type());
  Tensor values = is_floating ? x : x.to(torch::kFloat);  // 8-bit integers, which float32 holds
  Integers padding = window.begin;
  Integers offset(window.axes(), 0);
  if (!torch_can_pad(window)) {
    offset = window.begin;
    const Integers end = end_of_windows(window, input);
    values = at::constant_pad_nd(values, pads_for_torch(window.begin, end), -std::numeric_limits<double>::infinity());
    padding.assign(window.axes(), 0);
    ceil_mode = false;
  }
  if (node.proto.output_size() < 2) {
    return {max_pool_values(values, window, padding, ceil_mode).to(x.scalar_type())};
  }
  const auto [y, indices] = max_pool_indices(values, window, padding, ceil_mode);
  return {y.to(x.scalar_type()),
          global_indices(indices, x, spatial_sizes(values), offset, integer(node, "storage_order", 0) != 0)};
}

// The sum over each window of an input that all windows fit: a term for each place in the window.
Tensor window_sums(const Tensor& x, const Window& window) {
  int64_t places = 1;
  for (const int64_t size : window.kernel) places *= size;
  Tensor sum;
  for (int64_t place = 0; place < places; ++place) {
    Tensor term = x;
    int64_t rest = place;
    for (size_t axis = window.axes(); axis-- > 0;) {
      const int64_t first = rest % window.kernel[axis] * window.dilations[axis];
      const int64_t stride = window.strides[axis];
      term = term.slice(static_cast<int64_t>(axis) + 2, first, first + (window.output[axis] - 1) * stride + 1, stride);
      rest /= window.kernel[axis];
    }
    sum = sum.defined() ? sum + term : term;
  }
  return sum;
}

// What torch has no function for: padding that differs between the sides, or is wide, and dilation.
Tensor average_by_sums(const Tensor& x, const Window& window, bool includes_padding) {
  const torch::IntArrayRef input = spatial_sizes(x);
  const Integers end = end_of_windows(window, input);
  Integers ones_sizes(2, 1);
  ones_sizes.insert(ones_sizes.end(), input.begin(), input.end());
  Tensor counted = at::ones(ones_sizes, x.options().requires_grad(false));
  if (includes_padding) counted = at::constant_pad_nd(counted, pads_for_torch(window.begin, window.end), 1);
  Integers begin = window.begin;
  Integers rest = end;
  if (includes_padding) {
    begin.assign(window.axes(), 0);
    for (size_t axis = 0; axis < window.axes(); ++axis) rest[axis] -= window.end[axis];
  }
  counted = at::constant_pad_nd(counted, pads_for_torch(begin, rest));
  const Tensor padded = at::constant_pad_nd(x, pads_for_torch(window.begin, end));
  return window_sums(padded, window) / window_sums(counted, window);
}

Tensors average_pool(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const bool ceil_mode = integer(node, "ceil_mode", 0) != 0;
  const Window window = read_window(node, spatial_sizes(x), {}, ceil_mode);
  const bool includes_padding = integer(node, "count_include_pad", 0) != 0;
  if (!torch_can_pad(window) || is_dilated(window)) {
    return {average_by_sums(x, window, includes_padding)};
  }
  switch (window.axes()) {
    case 1:
      return {at::avg_pool1d(x, window.kernel, window.strides, window.begin, ceil_mode, includes_padding)};
    case 2:
      return {at::avg_pool2d(x, window.kernel, window.strides, window.begin, ceil_mode, includes_padding)};
    default:
      return {at::avg_pool3d(x, window.kernel, window.strides, window.begin, ceil_mode, includes_padding)};
  }
}

Integers spatial_axes(const Tensor& x) {
  Integers axes;
  for (int64_t axis = 2; axis < x.dim(); ++axis) axes.push_back(axis);
  if (axes.empty()) throw Error::make("input 0 has rank {}, not 3 or more", x.dim());
  return axes;
}

Tensors global_average_pool(const NodeView&, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  return {at::mean(x, spatial_axes(x), /*keepdim=*/true)};
}

Tensors global_max_pool(const NodeView&, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  return {at::amax(x, spatial_axes(x), /*keepdim=*/true)};
}

constexpr OperatorEntry kPoolingOperators[] = {
    {"AveragePool", average_pool},
    {"GlobalAveragePool", global_average_pool},
    {"GlobalMaxPool", global_max_pool},
    {"MaxPool", max_pool},
};

}  // namespace

std::span<const OperatorEntry> pooling_operators() { return kPoolingOperators; }

}  // namespace quench::training
