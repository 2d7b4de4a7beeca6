// The windows of formats/operators, read from a node that is being inferred.
#pragma once

#include "formats/operators/window.h"
#include "runtime/contract/kernel.h"

namespace quench::rt {

using operators::kSpatialAxes;
using operators::Window;

// A half-open range of coordinates.
struct Range {
  int64_t begin;
  int64_t end;
};

// The `at` in [0, count) for which `at * stride + offset` lies in [0, size).
inline Range positions_inside(int64_t count, int64_t stride, int64_t offset, int64_t size) {
  int64_t begin = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
  int64_t end = offset >= size ? 0 : (size - 1 - offset) / stride + 1;
  if (end > count) end = count;
  if (begin > end) begin = end;
  return {begin, end};
}

// operators::read_window of the node, and the input sizes from the spatial axes of `input` (rank 3 to 5).
Status read_window(const InferContext& context, const Shape& input, const int64_t* kernel, Window* window);

// The shape {batch, channels, output sizes of the last rank - 2 axes}.
Shape window_output_shape(const Window& window, int rank, int64_t batch, int64_t channels);

}  // namespace quench::rt
