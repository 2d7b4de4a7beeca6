#include "compressor/training/operators/operators_window.h"

#include <torch/torch.h>

#include "compressor/graph/graph_index.h"
#include "formats/error.h"

namespace quench::training {
namespace {

void check(const Status& status) {
  if (!status.ok()) throw Error(status.detail());
}

operators::Window read(const NodeView& node, torch::IntArrayRef input, torch::IntArrayRef kernel) {
  const auto axes = static_cast<int>(input.size());
  if (!kernel.empty() && kernel.size() != input.size()) {
    throw Error::make("the kernel has {} axes, the input {} behind batch and channels", kernel.size(), input.size());
  }
  operators::Window window;
  check(operators::read_window(graph::attributes_of(node.proto), axes, kernel.empty() ? nullptr : kernel.data(),
                               &window));
  window.set_input(input.data(), axes);
  return window;
}

Window without_leading_axes(const operators::Window& window, size_t axes) {
  const auto last = [&](const int64_t* values) {
    return Integers(values + operators::kSpatialAxes - axes, values + operators::kSpatialAxes);
  };
  return {last(window.kernel),    last(window.stride),  last(window.dilation),
          last(window.pad_begin), last(window.pad_end), last(window.output)};
}

}  // namespace

Window read_window(const NodeView& node, torch::IntArrayRef input, torch::IntArrayRef kernel, bool ceil_mode) {
  operators::Window window = read(node, input, kernel);
  check(operators::place_windows(ceil_mode, &window));
  return without_leading_axes(window, input.size());
}

Window read_transposed_window(const NodeView& node, torch::IntArrayRef input, torch::IntArrayRef kernel,
                              const Integers& output_padding) {
  operators::Window window = read(node, input, kernel);
  check(operators::place_transposed_windows(graph::attributes_of(node.proto), static_cast<int>(input.size()), &window));
  Window result = without_leading_axes(window, input.size());
  for (size_t axis = 0; axis < result.axes(); ++axis) {
    const int64_t full = result.strides[axis] * (input[axis] - 1) + output_padding[axis] + result.extent(axis);
    result.end[axis] = full - result.output[axis] - result.begin[axis];
  }
  return result;
}

torch::IntArrayRef spatial_sizes(const torch::Tensor& x) {
  if (x.dim() < 2) throw Error::make("input 0 has rank {}, not 3 to 5", x.dim());
  return x.sizes().slice(2);
}

Integers pads_for_torch(const Integers& begin, const Integers& end) {
  Integers pads;
  for (size_t axis = begin.size(); axis-- > 0;) {
    pads.push_back(begin[axis]);
    pads.push_back(end[axis]);
  }
  return pads;
}

}  // namespace quench::training
