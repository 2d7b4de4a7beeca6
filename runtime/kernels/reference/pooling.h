// What the reference and the fast pools have in common.
#pragma once

#include "runtime/kernels/reference/window.h"

namespace quench::rt {

struct PoolState {
  Window window;
  bool includes_padding;
  bool column_major;
};

// Kernel::infer of the pools; those with a window for a state that begins with PoolState.
Status infer_max_pool(InferContext& context);
Status infer_average_pool(InferContext& context);
Status infer_global_pool(InferContext& context);

// Kernel::run of MaxPool, the places of the maxima included if the node has a second output.
Status run_max_pool(RunContext& context);

}  // namespace quench::rt
