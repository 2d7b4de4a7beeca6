// What the vector code of depthwise convolution works on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/kernels/fast/conv.h"

namespace quench::rt::fast {

// Rows of one image for one vector of channels.
struct DepthwiseRows {
  const ConvPlan* plan;
  const ConvData* data;
  const float* bias;     // of these channels, whole vectors
  const float* weights;  // [kernel row][kernel column][lanes]
  int64_t image, row, row_end;
  int64_t channel;
  size_t lanes;
};

}  // namespace quench::rt::fast
