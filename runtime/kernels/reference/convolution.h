// What the reference and the fast convolution have in common.
#pragma once

#include "runtime/kernels/reference/window.h"

namespace quench::rt {

struct ConvolutionState {
  Window window;
  int64_t groups;
};

// Kernel::infer of Conv, for a state that begins with ConvolutionState. Refuses what the kernels could not do safely.
Status infer_conv(InferContext& context);

}  // namespace quench::rt
