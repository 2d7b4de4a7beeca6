// The geometry that convolutions and pools share: a window that moves over one to three spatial axes.
//
//     Window window;
//     QUENCH_RETURN_IF_ERROR(read_window(attributes, spatial, kernel, &window));
//     window.set_input(sizes, spatial);
//     QUENCH_RETURN_IF_ERROR(place_windows(ceil_mode, &window));          // or place_transposed_windows
//     window.output, window.pad_begin, window.coordinate(axis, at, tap)
//
// Errors: kShape where sizes do not fit together, kInvalidArgument for attributes that ONNX does not have.
#pragma once

#include <cstdint>

#include "formats/base/status.h"
#include "formats/operators/attributes.h"

namespace quench::operators {

inline constexpr int kSpatialAxes = 3;

// What the attribute auto_pad says: pads as given; so that output = ceil(input / stride), an odd element of padding at
// the end or at the begin; none.
enum class AutoPad : uint8_t { kNotSet, kSameUpper, kSameLower, kValid };

// Fewer axes are padded in front with axes of size 1, so that loops always run over depth, height and width.
struct Window {
  int64_t input[kSpatialAxes] = {1, 1, 1};
  int64_t output[kSpatialAxes] = {1, 1, 1};
  int64_t kernel[kSpatialAxes] = {1, 1, 1};
  int64_t stride[kSpatialAxes] = {1, 1, 1};
  int64_t dilation[kSpatialAxes] = {1, 1, 1};
  int64_t pad_begin[kSpatialAxes] = {0, 0, 0};
  int64_t pad_end[kSpatialAxes] = {0, 0, 0};
  AutoPad auto_pad = AutoPad::kNotSet;

  void set_input(const int64_t* sizes, int spatial) {
    for (int i = 0; i < spatial; ++i) input[kSpatialAxes - spatial + i] = sizes[i];
  }
  bool pads_to_same() const { return auto_pad == AutoPad::kSameUpper || auto_pad == AutoPad::kSameLower; }

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

// Fills in kernel, stride, dilation, pads and auto_pad from the attributes kernel_shape, strides, dilations, pads and
// auto_pad, for `spatial` axes (1 to 3). `kernel` holds the sizes of the weights' spatial axes, which kernel_shape must
// agree with; without it kernel_shape must be there. Pads are 0 under auto_pad.
Status read_window(const AttributeView& attributes, int spatial, const int64_t* kernel, Window* window);

// Sets the output sizes from those of the input, and the pads where auto_pad asks for it. With `ceil_mode` a window may
// hang over the far end, but none begins behind it. kShape if no window fits.
Status place_windows(bool ceil_mode, Window* window);

// The same for ConvTranspose, whose windows lie on the output; reads output_padding and output_shape too.
Status place_transposed_windows(const AttributeView& attributes, int spatial, Window* window);

}  // namespace quench::operators
