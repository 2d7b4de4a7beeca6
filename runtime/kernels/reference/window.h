// The geometry that convolutions and pools share: a window that moves over one to three spatial axes.
#pragma once

#include <cstdint>

#include "runtime/kernels/reference/checks.h"

namespace quench::rt {

inline constexpr int kSpatialAxes = 3;

// Fewer axes are padded in front with axes of size 1, so that loops always run over depth, height and width.
struct Window {
  int64_t input[kSpatialAxes] = {1, 1, 1};
  int64_t output[kSpatialAxes] = {1, 1, 1};
  int64_t kernel[kSpatialAxes] = {1, 1, 1};
  int64_t stride[kSpatialAxes] = {1, 1, 1};
  int64_t dilation[kSpatialAxes] = {1, 1, 1};
  int64_t pad_begin[kSpatialAxes] = {0, 0, 0};
  int64_t pad_end[kSpatialAxes] = {0, 0, 0};

  // The input coordinate under tap `tap` of the window at output coordinate `at`; may lie in the padding.
  int64_t coordinate(int axis, int64_t at, int64_t tap) const {
    return at * stride[axis] + tap * dilation[axis] - pad_begin[axis];
  }
  int64_t kernel_elements() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t input_elements() const { return input[0] * input[1] * input[2]; }
  int64_t output_elements() const { return output[0] * output[1] * output[2]; }
  // Elements that the dilated kernel spans along an axis.
  int64_t extent(int axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
};

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

// Fills in kernel, stride, dilation and pads from the attributes kernel_shape, strides, dilations and pads, and input
// from the spatial axes of `input` (rank 3 to 5). `kernel` holds the sizes of the weights' spatial axes, which
// kernel_shape must agree with; without it kernel_shape must be there. Pads are 0 under auto_pad.
Status read_window(const InferContext& context, const Shape& input, const int64_t* kernel, Window* window);

enum class AutoPad : uint8_t { kNotSet, kSameUpper, kSameLower, kValid };

Status read_auto_pad(const InferContext& context, AutoPad* result);

// Splits `total` elements of padding over the two ends of an axis; an odd one goes to the end for kSameUpper.
void split_padding(AutoPad auto_pad, int64_t total, int64_t* begin, int64_t* end);

// Sets the output sizes, and the pads where auto_pad asks for it. With `ceil_mode` a window may hang over the far end,
// but none begins behind it. kShape if no window fits.
Status place_windows(AutoPad auto_pad, bool ceil_mode, Window* window);

// The shape {batch, channels, output sizes of the last rank - 2 axes}.
Shape window_output_shape(const Window& window, int rank, int64_t batch, int64_t channels);

}  // namespace quench::rt
