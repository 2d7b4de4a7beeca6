// The windows of formats/operators in the form that torch's functions take.
#pragma once

#include "compressor/training/operators/operators_support.h"
#include "formats/operators/window.h"

namespace quench::training {

// A window that moves over the spatial axes, one value each.
struct Window {
  Integers kernel;
  Integers strides;
  Integers dilations;
  Integers begin;  // padding
  Integers end;
  Integers output;  // sizes

  size_t axes() const { return kernel.size(); }
  bool is_symmetric() const { return begin == end; }
  // Elements that the dilated kernel spans along an axis.
  int64_t extent(size_t axis) const { return (kernel[axis] - 1) * dilations[axis] + 1; }
};

// Of a node with an input of the spatial sizes `input`. `kernel` is the weights' size; it is that of kernel_shape where
// it is empty. Throws what the runtime refuses: other than one to three axes, lists that differ in length, windows that
// do not fit.
Window read_window(const NodeView& node, torch::IntArrayRef input, torch::IntArrayRef kernel, bool ceil_mode = false);

// The same for ConvTranspose. `end` is what makes the output of its size, and may be negative.
Window read_transposed_window(const NodeView& node, torch::IntArrayRef input, torch::IntArrayRef kernel,
                              const Integers& output_padding);

// The spatial sizes of a tensor of batch x channels x sizes.
torch::IntArrayRef spatial_sizes(const torch::Tensor& x);

// For constant_pad_nd: the last axis comes first there, each with begin and end.
Integers pads_for_torch(const Integers& begin, const Integers& end);

}  // namespace quench::training
