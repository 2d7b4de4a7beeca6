#include "runtime/kernels/fast/conv.h"

#include <cstring>
#include <utility>

#include "runtime/kernels/fast/conv_parts.h"

namespace quench::rt::fast {

bool can_do(ConvAlgorithm algorithm, const ConvShape& shape) {
  switch (algorithm) {
    case ConvAlgorithm::kDirect:
      return true;
    case ConvAlgorithm::kWinograd:
      return shape.kernel_height == 3 && shape.kernel_width == 3 && shape.stride_height == 1 &&
             shape.stride_width == 1 && shape.dilation_height == 1 && shape.dilation_width == 1 && shape.groups == 1 &&
             shape.input_layout == Layout::kChannelsLast;
    case ConvAlgorithm::kDepthwise:
      return shape.groups == shape.in_channels && shape.groups == shape.out_channels &&
             shape.input_layout == Layout::kChannelsLast;
  }
  return false;
}

namespace {

WeightSteps steps_of_conv(const ConvShape& shape) {
  const int64_t taps = shape.kernel_height * shape.kernel_width;
  const int64_t filter = shape.in_channels / shape.groups * taps;
  return {shape.out_channels / shape.groups * filter, filter, taps, shape.kernel_width, 1};
}

// Tiles run along rows, so that an image of one column becomes one row: the same values in the same places.
ConvShape lay_down(const ConvShape& shape) {
  const bool is_column = shape.in_width == 1 && shape.out_width == 1 && shape.kernel_width == 1;
  if (!is_column || shape.output_pixel != 0) return shape;
  ConvShape flat = shape;
  std::swap(flat.in_height, flat.in_width);
  std::swap(flat.out_height, flat.out_width);
  std::swap(flat.kernel_height, flat.kernel_width);
  std::swap(flat.stride_height, flat.stride_width);
  std::swap(flat.dilation_height, flat.dilation_width);
  std::swap(flat.pad_top, flat.pad_left);
  return flat;
}

}  // namespace

ConvPlan plan_conv(const ConvShape& shape, int threads, ConvAlgorithm algorithm) {
  ConvPlan plan;
  plan.shape = lay_down(shape);
  plan.algorithm = algorithm;
  switch (algorithm) {
    case ConvAlgorithm::kDirect:
      plan_direct(plan, threads);
      break;
    case ConvAlgorithm::kWinograd:
      plan_winograd(plan, threads);
      break;
    case ConvAlgorithm::kDepthwise:
      plan_depthwise(plan, threads);
      break;
  }
  return plan;
}

ConvPlan plan_conv(const ConvShape& shape, int threads) {
  if (can_do(ConvAlgorithm::kDepthwise, shape) && shape.in_channels > 1) {
    return plan_conv(shape, threads, ConvAlgorithm::kDepthwise);
  }
  // With fewer channels, or outputs that fill little of a 4 x 4 tile, the transforms cost more than they save.
  const bool worthwhile =
      shape.in_channels >= 8 && shape.out_channels >= 8 && shape.out_height >= 3 && shape.out_width >= 3;
  if (worthwhile && can_do(ConvAlgorithm::kWinograd, shape)) {
    return plan_conv(shape, threads, ConvAlgorithm::kWinograd);
  }
  return plan_conv(shape, threads, ConvAlgorithm::kDirect);
}

int64_t packed_floats(const ConvPlan& plan) {
  switch (plan.algorithm) {
    case ConvAlgorithm::kDirect:
      return packed_floats_direct(plan);
    case ConvAlgorithm::kWinograd:
      return packed_floats_winograd(plan);
    case ConvAlgorithm::kDepthwise:
      return packed_floats_depthwise(plan);
  }
  return 0;
}

void pack_conv(const ConvPlan& plan, const float* weights, const float* bias, float* packed) {
  switch (plan.algorithm) {
    case ConvAlgorithm::kDirect:
      return pack_direct(plan, weights, steps_of_conv(plan.shape), bias, packed);
    case ConvAlgorithm::kWinograd:
      return pack_winograd(plan, weights, bias, packed);
    case ConvAlgorithm::kDepthwise:
      return pack_depthwise(plan, weights, bias, packed);
  }
}

void run_conv(const ConvPlan& plan, const ConvData& data, int64_t begin, int64_t end, float* scratch) {
  switch (plan.algorithm) {
    case ConvAlgorithm::kDirect:
      return run_direct(plan, data, begin, end, scratch);
    case ConvAlgorithm::kWinograd:
      return run_winograd(plan, data, begin, end, scratch);
    case ConvAlgorithm::kDepthwise:
      return run_depthwise(plan, data, begin, end, scratch);
  }
}

void copy_window(const ConvShape& shape, const float* input, int64_t image, int64_t top, int64_t height, int64_t left,
                 int64_t width, float* to, int64_t pixel) {
  const int64_t channels = shape.in_channels;
  const int64_t first = std::clamp<int64_t>(-left, 0, width);
  const int64_t last = std::clamp<int64_t>(shape.in_width - left, first, width);
  for (int64_t y = top; y < top + height; ++y, to += width * pixel) {
    if (y < 0 || y >= shape.in_height || first == last) {
      memset(to, 0, sizeof(float) * width * pixel);
      continue;
    }
    memset(to, 0, sizeof(float) * first * pixel);
    memset(to + last * pixel, 0, sizeof(float) * (width - last) * pixel);
    if (shape.input_layout == Layout::kRowMajor) {
      for (int64_t c = 0; c < channels; ++c) {
        const float* from = input + ((image * channels + c) * shape.in_height + y) * shape.in_width + left;
        for (int64_t x = first; x < last; ++x) to[x * pixel + c] = from[x];
      }
      continue;
    }
    const float* from = input + ((image * shape.in_height + y) * shape.in_width + left) * channels;
    if (pixel == channels) {
      memcpy(to + first * pixel, from + first * channels, sizeof(float) * (last - first) * channels);
      continue;
    }
    for (int64_t x = first; x < last; ++x) memcpy(to + x * pixel, from + x * channels, sizeof(float) * channels);
  }
}

}  // namespace quench::rt::fast
