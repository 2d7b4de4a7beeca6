#include "runtime/kernels/reference/window.h"

namespace quench::rt {
namespace {

// Large enough for anything real, small enough that products of two such numbers and sums of them cannot overflow.
constexpr int64_t kLargest = int64_t{1} << 30;

// Copies an attribute of `count` integers in [least, kLargest] to the last `count` entries of `target`.
Status read_sizes(const InferContext& context, std::string_view name, int count, int64_t least, int64_t* target) {
  IntList list;
  QUENCH_RETURN_IF_ERROR(read_attribute(context, name, &list));
  if (!list.present) return Status();
  if (list.count != count) {
    return Status::error(StatusCode::kShape, "attribute '%.*s' has %d values where %d are needed",
                         static_cast<int>(name.size()), name.data(), list.count, count);
  }
  for (int i = 0; i < count; ++i) {
    if (list[i] < least || list[i] > kLargest) {
      return Status::error(StatusCode::kInvalidArgument, "attribute '%.*s' holds %lld", static_cast<int>(name.size()),
                           name.data(), static_cast<long long>(list[i]));
    }
    target[i] = list[i];
  }
  return Status();
}

}  // namespace

Status read_auto_pad(const InferContext& context, AutoPad* result) {
  const std::string_view name = context.attributes().get_string("auto_pad", "NOTSET");
  if (name == "NOTSET" || name.empty()) {
    *result = AutoPad::kNotSet;
  } else if (name == "SAME_UPPER") {
    *result = AutoPad::kSameUpper;
  } else if (name == "SAME_LOWER") {
    *result = AutoPad::kSameLower;
  } else if (name == "VALID") {
    *result = AutoPad::kValid;
  } else {
    return Status::error(StatusCode::kInvalidArgument, "auto_pad is '%.*s'", static_cast<int>(name.size()),
                         name.data());
  }
  return Status();
}

Status read_window(const InferContext& context, const Shape& input, const int64_t* kernel, Window* window) {
  const int spatial = input.rank - 2;
  if (spatial < 1 || spatial > kSpatialAxes) {
    return Status::error(StatusCode::kShape, "input 0 has rank %d, not 3 to 5", input.rank);
  }
  *window = Window();
  const int first = kSpatialAxes - spatial;
  for (int i = 0; i < spatial; ++i) window->input[first + i] = input[2 + i];
  int64_t named[kSpatialAxes] = {};
  QUENCH_RETURN_IF_ERROR(read_sizes(context, "kernel_shape", spatial, 1, named));
  if (!kernel && named[0] == 0)
    return Status::error(StatusCode::kInvalidArgument, "attribute 'kernel_shape' is missing");
  for (int i = 0; i < spatial; ++i) {
    const int64_t size = kernel ? kernel[i] : named[i];
    if (named[0] != 0 && named[i] != size) {
      return Status::error(StatusCode::kShape, "kernel_shape does not agree with the weights");
    }
    if (size < 1 || size > kLargest) return Status::error(StatusCode::kShape, "the kernel has an axis of no elements");
    window->kernel[first + i] = size;
  }
  QUENCH_RETURN_IF_ERROR(read_sizes(context, "strides", spatial, 1, window->stride + first));
  QUENCH_RETURN_IF_ERROR(read_sizes(context, "dilations", spatial, 1, window->dilation + first));
  AutoPad auto_pad;
  QUENCH_RETURN_IF_ERROR(read_auto_pad(context, &auto_pad));
  if (auto_pad != AutoPad::kNotSet) return Status();
  int64_t pads[2 * kSpatialAxes] = {};
  QUENCH_RETURN_IF_ERROR(read_sizes(context, "pads", 2 * spatial, 0, pads));
  for (int i = 0; i < spatial; ++i) {
    window->pad_begin[first + i] = pads[i];
    window->pad_end[first + i] = pads[spatial + i];
  }
  return Status();
}

void split_padding(AutoPad auto_pad, int64_t total, int64_t* begin, int64_t* end) {
  if (total < 0) total = 0;
  *begin = auto_pad == AutoPad::kSameUpper ? total / 2 : total - total / 2;
  *end = total - *begin;
}

Status place_windows(AutoPad auto_pad, bool ceil_mode, Window* window) {
  for (int axis = 0; axis < kSpatialAxes; ++axis) {
    const int64_t input = window->input[axis];
    const int64_t stride = window->stride[axis];
    if (auto_pad == AutoPad::kSameUpper || auto_pad == AutoPad::kSameLower) {
      window->output[axis] = (input + stride - 1) / stride;
      split_padding(auto_pad, (window->output[axis] - 1) * stride + window->extent(axis) - input,
                    &window->pad_begin[axis], &window->pad_end[axis]);
    } else {
      const int64_t room = input + window->pad_begin[axis] + window->pad_end[axis] - window->extent(axis);
      if (room < 0) {
        return Status::error(StatusCode::kShape, "a window of %lld elements does not fit an input of %lld",
                             static_cast<long long>(window->extent(axis)), static_cast<long long>(input));
      }
      window->output[axis] = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
      if (ceil_mode && (window->output[axis] - 1) * stride >= input + window->pad_begin[axis] &&
          window->output[axis] > 1) {
        --window->output[axis];
      }
    }
  }
  return Status();
}

Shape window_output_shape(const Window& window, int rank, int64_t batch, int64_t channels) {
  Shape shape;
  shape.rank = rank;
  shape[0] = batch;
  shape[1] = channels;
  for (int axis = 2; axis < rank; ++axis) shape[axis] = window.output[kSpatialAxes - rank + axis];
  return shape;
}

}  // namespace quench::rt
