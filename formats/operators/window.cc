#include "formats/operators/window.h"

namespace quench::operators {
namespace {

// Large enough for anything real, small enough that products of two such numbers and sums of them cannot overflow.
constexpr int64_t kLargest = int64_t{1} << 30;

Status wrong_count(std::string_view name, size_t count, int needed) {
  return Status::error(StatusCode::kShape, "attribute '%.*s' has %zu values where %d are needed",
                       static_cast<int>(name.size()), name.data(), count, needed);
}

// Copies an attribute of `count` integers in [least, kLargest] to `target`, which stays as it is without one.
Status read_sizes(const AttributeView& attributes, std::string_view name, int count, int64_t least, int64_t* target) {
  const std::span<const int64_t> values = attributes.get_ints(name);
  if (values.empty()) return Status();
  if (values.size() != static_cast<size_t>(count)) return wrong_count(name, values.size(), count);
  for (const int64_t value : values) {
    if (value < least || value > kLargest) {
      return Status::error(StatusCode::kInvalidArgument, "attribute '%.*s' holds %lld", static_cast<int>(name.size()),
                           name.data(), static_cast<long long>(value));
    }
    *target++ = value;
  }
  return Status();
}

Status read_auto_pad(const AttributeView& attributes, AutoPad* result) {
  const std::string_view name = attributes.get_string("auto_pad", "NOTSET");
  if (name == "NOTSET" || name.empty()) {
    *result = AutoPad::kNotSet;
  } else if (name == "SAME_UPPER") {
    *result = AutoPad::kSameUpper;
  } else if (name == "SAME_LOWER") {
    *result = AutoPad::kSameLower;
  } else if (name == "VALID") {
    *result = AutoPad::kValid;
  } else {
    return Status::error(StatusCode::kInvalidArgument, "auto_pad is '%.*s', which ONNX does not have",
                         static_cast<int>(name.size() < 40 ? name.size() : 40), name.data());
  }
  return Status();
}

// Splits `total` elements of padding over the two ends of an axis.
void split_padding(int64_t total, int axis, Window* window) {
  if (total < 0) total = 0;
  window->pad_begin[axis] = window->auto_pad == AutoPad::kSameUpper ? total / 2 : total - total / 2;
  window->pad_end[axis] = total - window->pad_begin[axis];
}

}  // namespace

Status read_window(const AttributeView& attributes, int spatial, const int64_t* kernel, Window* window) {
  if (spatial < 1 || spatial > kSpatialAxes) {
    return Status::error(StatusCode::kShape, "input 0 has rank %d, not 3 to 5", spatial + 2);
  }
  *window = Window();
  const int first = kSpatialAxes - spatial;
  int64_t named[kSpatialAxes] = {};
  QUENCH_RETURN_IF_ERROR(read_sizes(attributes, "kernel_shape", spatial, 1, named));
  if (!kernel && named[0] == 0) {
    return Status::error(StatusCode::kInvalidArgument, "attribute 'kernel_shape' is missing");
  }
  for (int i = 0; i < spatial; ++i) {
    const int64_t size = kernel ? kernel[i] : named[i];
    if (named[0] != 0 && named[i] != size) {
      return Status::error(StatusCode::kShape, "kernel_shape does not agree with the weights");
    }
    if (size < 1 || size > kLargest) return Status::error(StatusCode::kShape, "the kernel has an axis of no elements");
    window->kernel[first + i] = size;
  }
  QUENCH_RETURN_IF_ERROR(read_sizes(attributes, "strides", spatial, 1, window->stride + first));
  QUENCH_RETURN_IF_ERROR(read_sizes(attributes, "dilations", spatial, 1, window->dilation + first));
  QUENCH_RETURN_IF_ERROR(read_auto_pad(attributes, &window->auto_pad));
  if (window->auto_pad != AutoPad::kNotSet) return Status();
  int64_t pads[2 * kSpatialAxes] = {};
  QUENCH_RETURN_IF_ERROR(read_sizes(attributes, "pads", 2 * spatial, 0, pads));
  for (int i = 0; i < spatial; ++i) {
    window->pad_begin[first + i] = pads[i];
    window->pad_end[first + i] = pads[spatial + i];
  }
  return Status();
}

Status place_windows(bool ceil_mode, Window* window) {
  for (int axis = 0; axis < kSpatialAxes; ++axis) {
    const int64_t input = window->input[axis];
    const int64_t stride = window->stride[axis];
    if (window->pads_to_same()) {
      window->output[axis] = (input + stride - 1) / stride;
      split_padding((window->output[axis] - 1) * stride + window->extent(axis) - input, axis, window);
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

Status place_transposed_windows(const AttributeView& attributes, int spatial, Window* window) {
  const int first = kSpatialAxes - spatial;
  int64_t added[kSpatialAxes] = {};
  QUENCH_RETURN_IF_ERROR(read_sizes(attributes, "output_padding", spatial, 0, added));
  std::span<const int64_t> wanted = attributes.get_ints("output_shape");
  const auto axes = static_cast<size_t>(spatial);
  // A full shape with batch and channels occurs too.
  if (wanted.size() == axes + 2) wanted = wanted.subspan(2);
  if (!wanted.empty() && wanted.size() != axes) return wrong_count("output_shape", wanted.size(), spatial);
  // With strides and kernels of at most kLargest no product below overflows.
  constexpr int64_t kLargestSize = 2 * kLargest;
  for (int axis = first; axis < kSpatialAxes; ++axis) {
    const auto i = static_cast<size_t>(axis - first);
    if (window->input[axis] > kLargestSize) return Status::error(StatusCode::kShape, "the input is too large");
    const int64_t full = window->stride[axis] * (window->input[axis] - 1) + added[i] + window->extent(axis);
    int64_t size = full - window->pad_begin[axis] - window->pad_end[axis];
    if (!wanted.empty()) {
      size = wanted[i];
    } else if (window->pads_to_same()) {
      size = window->input[axis] * window->stride[axis];
    }
    if (size < 1 || size > kLargestSize) {
      return Status::error(StatusCode::kShape, "the output would have %lld elements along an axis",
                           static_cast<long long>(size));
    }
    if (!wanted.empty() || window->pads_to_same()) split_padding(full - size, axis, window);
    window->output[axis] = size;
  }
  return Status();
}

}  // namespace quench::operators
