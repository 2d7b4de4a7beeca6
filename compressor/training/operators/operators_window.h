// The geometry that convolutions and pools share.
#pragma once

#include "compressor/training/operators/operators_support.h"

namespace quench::training {

// A window that moves over the spatial axes, one value each.
struct Window {
  Integers kernel;
  Integers strides;
  Integers dilations;
  Integers begin;  // padding
  Integers end;

  size_t axes() const { return kernel.size(); }
  bool is_symmetric() const { return begin == end; }
  // Elements that the dilated kernel spans along an axis.
  int64_t extent(size_t axis) const { return (kernel[axis] - 1) * dilations[axis] + 1; }
};

enum class AutoPad { kNotSet, kSameUpper, kSameLower, kValid };

AutoPad auto_pad_of(const NodeView& node);

// Of a node with an input of the spatial sizes `input`, with padding as auto_pad or pads say. `kernel` is the weights'
// size; it is that of kernel_shape where it is empty. Throws for other than one to three axes, or when lists differ in
// length.
Window read_window(const NodeView& node, torch::IntArrayRef input, torch::IntArrayRef kernel);

// Sets the padding of an axis to `total` elements, an odd one at the end for kSameUpper.
void split_padding(AutoPad auto_pad, int64_t total, size_t axis, Window& window);

// The spatial sizes of a tensor of batch x channels x sizes.
torch::IntArrayRef spatial_sizes(const torch::Tensor& x);

// For constant_pad_nd: the last axis comes first there, each with begin and end.
Integers pads_for_torch(const Integers& begin, const Integers& end);

}  // namespace quench::training
