// What the kernels of Conv and ConvTranspose share.
#pragma once

#include "runtime/kernels/fast/conv.h"

namespace quench::rt::fast {

// A strip of the padded input with one row of outputs, under a kernel that spans height x width, is not too large.
bool fits_strip(int64_t channels, int64_t height, int64_t width, int64_t stride_width);

// Computes all units, on several threads; `slots` has plan.scratch_floats for each of them.
void run_units(const RunContext& context, const ConvPlan& plan, const ConvData& data, float* slots);

// For outputs of rank 3: turns `result`, which is {batch, width, channels}, around, and does what the epilogue asks for.
void finish_row_major(const RunContext& context, const float* result);

}  // namespace quench::rt::fast
