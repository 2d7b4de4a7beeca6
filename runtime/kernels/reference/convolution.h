// What the reference and the fast convolution have in common.
#pragma once

#include "runtime/kernels/reference/window.h"

namespace quench::rt {

struct ConvolutionState {
  Window window;
  int64_t groups;
};

// Checks the shapes of X {batch, channels, ...} and W {output channels, channels of a group, ...} and the attributes of
// the node; `y` is the shape of the output.
Status place_convolution(const InferContext& context, const Shape& x, const Shape& w, ConvolutionState* state,
                         Shape* y);

// Kernel::infer of Conv, for a state that begins with ConvolutionState. Refuses what the kernels could not do safely.
Status infer_conv(InferContext& context);
// Of ConvTranspose.
Status infer_conv_transpose(InferContext& context);

}  // namespace quench::rt
