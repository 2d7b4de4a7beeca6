// Conv and ConvTranspose of float32, one to three spatial axes, row-major: the plain definition with hoisted bounds.

#include "runtime/kernels/reference/convolution.h"

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

Status check_bias(const InferContext& context, int64_t channels) {
  if (!context.input(2)) return Status();
  QUENCH_RETURN_IF_ERROR(check_type(context, 2, kFloatType));
  const Shape& shape = context.input(2)->shape;
  if (shape.rank != 1 || shape[0] != channels) {
    return Status::error(StatusCode::kShape, "the bias does not have one value per output channel");
  }
  return Status();
}

// Inputs X {batch, channels, ...} and W of the same rank; the number of groups divides the channels.
Status check_operands(InferContext& context, int64_t* groups) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 3, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  const Shape& x = context.input(0)->shape;
  const Shape& w = context.input(1)->shape;
  if (x.rank < 3 || x.rank > 2 + kSpatialAxes || w.rank != x.rank) {
    return Status::error(StatusCode::kShape, "input has rank %d and weights rank %d; they must be equal, and 3 to 5",
                         x.rank, w.rank);
  }
  *groups = context.attributes().get_int("group", 1);
  if (*groups < 1 || x[1] % *groups != 0) {
    return Status::error(StatusCode::kShape, "%lld groups do not divide %lld input channels",
                         static_cast<long long>(*groups), static_cast<long long>(x[1]));
  }
  return Status();
}

}  // namespace

Status infer_conv(InferContext& context) {
  auto& [window, groups] = context.state<ConvolutionState>();
  QUENCH_RETURN_IF_ERROR(check_operands(context, &groups));
  const Shape& x = context.input(0)->shape;
  const Shape& w = context.input(1)->shape;
  if (w[1] != x[1] / groups || w[0] % groups != 0) {
    return Status::error(StatusCode::kShape,
                         "weights for %lld input channels per group and %lld output channels do not fit %lld groups of "
                         "an input with %lld channels",
                         static_cast<long long>(w[1]), static_cast<long long>(w[0]), static_cast<long long>(groups),
                         static_cast<long long>(x[1]));
  }
  QUENCH_RETURN_IF_ERROR(check_bias(context, w[0]));
  QUENCH_RETURN_IF_ERROR(read_window(context, x, w.dims + 2, &window));
  QUENCH_RETURN_IF_ERROR(place_windows(false, &window));
  return context.set_output(0, ElementType::kFloat32, window_output_shape(window, x.rank, x[0], w[0]));
}

namespace {

// Calls function(depth, height, width) for every tap of the kernel.
template <typename Function>
void for_each_tap(const Window& window, const Function& function) {
  for (int64_t z = 0; z < window.kernel[0]; ++z) {
    for (int64_t y = 0; y < window.kernel[1]; ++y) {
      for (int64_t x = 0; x < window.kernel[2]; ++x) function(z, y, x);
    }
  }
}

// y += w * x over all windows, for one input and one output channel.
void accumulate_conv(const Window& window, const float* x, const float* w, float* y) {
  for_each_tap(window, [&](int64_t tap_z, int64_t tap_y, int64_t tap_x) {
    const float weight = *w++;
    const int64_t taps[kSpatialAxes] = {tap_z, tap_y, tap_x};
    Range inside[kSpatialAxes];
    for (int axis = 0; axis < kSpatialAxes; ++axis) {
      inside[axis] = positions_inside(window.output[axis], window.stride[axis], window.coordinate(axis, 0, taps[axis]),
                                      window.input[axis]);
    }
    const int64_t step = window.stride[2];
    for (int64_t z = inside[0].begin; z < inside[0].end; ++z) {
      for (int64_t row = inside[1].begin; row < inside[1].end; ++row) {
        const int64_t in_row = window.coordinate(0, z, tap_z) * window.input[1] + window.coordinate(1, row, tap_y);
        const int64_t from = in_row * window.input[2] + window.coordinate(2, 0, tap_x);
        const int64_t to = (z * window.output[1] + row) * window.output[2];
        for (int64_t i = inside[2].begin; i < inside[2].end; ++i) y[to + i] += weight * x[from + i * step];
      }
    }
  });
}

void fill_plane(float* y, int64_t count, const Tensor* bias, int64_t channel) {
  const float value = bias ? bias->as<float>()[channel] : 0;
  for (int64_t i = 0; i < count; ++i) y[i] = value;
}

Status run_conv(RunContext& context) {
  const Window& window = context.state<ConvolutionState>().window;
  const int64_t groups = context.state<ConvolutionState>().groups;
  const Tensor& w = *context.input(1);
  const int64_t in_channels = context.input(0)->shape[1];
  const int64_t out_channels = w.shape[0];
  const int64_t group_in = w.shape[1];
  if (out_channels == 0) return Status();
  const int64_t group_out = out_channels / groups;
  context.parallel_for(context.input(0)->shape[0] * out_channels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t batch = plane / out_channels;
      const int64_t channel = plane % out_channels;
      const int64_t first_in = batch * in_channels + channel / group_out * group_in;
      float* y = context.output(0)->as<float>() + plane * window.output_elements();
      fill_plane(y, window.output_elements(), context.input(2), channel);
      for (int64_t c = 0; c < group_in; ++c) {
        accumulate_conv(window, context.input(0)->as<float>() + (first_in + c) * window.input_elements(),
                        w.as<float>() + (channel * group_in + c) * window.kernel_elements(), y);
      }
    }
  });
  return Status();
}

Status infer_conv_transpose(InferContext& context) {
  auto& [window, groups] = context.state<ConvolutionState>();
  QUENCH_RETURN_IF_ERROR(check_operands(context, &groups));
  const Shape& x = context.input(0)->shape;
  const Shape& w = context.input(1)->shape;
  if (w[0] != x[1]) {
    return Status::error(StatusCode::kShape, "weights for %lld input channels, input with %lld",
                         static_cast<long long>(w[0]), static_cast<long long>(x[1]));
  }
  if (w[1] > (int64_t{1} << 62) / groups) return Status::error(StatusCode::kShape, "too many output channels");
  QUENCH_RETURN_IF_ERROR(check_bias(context, w[1] * groups));
  QUENCH_RETURN_IF_ERROR(read_window(context, x, w.dims + 2, &window));
  QUENCH_RETURN_IF_ERROR(place_transposed_windows(context.attributes().view(), x.rank - 2, &window));
  if (x.elements(2, x.rank) > (int64_t{1} << 40)) return Status::error(StatusCode::kShape, "the input is too large");
  context.set_scratch(context.threads() * window.input_elements() * static_cast<int64_t>(sizeof(float)));
  return context.set_output(0, ElementType::kFloat32, window_output_shape(window, x.rank, x[0], w[1] * groups));
}

// Adds each value of `sums`, one per input position, to the output that the tap leads to.
void scatter_tap(const Window& window, const int64_t taps[kSpatialAxes], const float* sums, float* y) {
  Range inside[kSpatialAxes];
  for (int axis = 0; axis < kSpatialAxes; ++axis) {
    inside[axis] = positions_inside(window.input[axis], window.stride[axis], window.coordinate(axis, 0, taps[axis]),
                                    window.output[axis]);
  }
  const int64_t step = window.stride[2];
  for (int64_t z = inside[0].begin; z < inside[0].end; ++z) {
    for (int64_t row = inside[1].begin; row < inside[1].end; ++row) {
      const int64_t from = (z * window.input[1] + row) * window.input[2];
      const int64_t out_row = window.coordinate(0, z, taps[0]) * window.output[1] + window.coordinate(1, row, taps[1]);
      const int64_t to = out_row * window.output[2] + window.coordinate(2, 0, taps[2]);
      for (int64_t i = inside[2].begin; i < inside[2].end; ++i) y[to + i * step] += sums[from + i];
    }
  }
}

// One output channel of one image: for each tap the channels are summed up first, side by side in memory, and scattered
// once. `w` points at the weights of the first input channel; those of the next follow `w_step` later.
void transpose_plane(const Window& window, int64_t channels, const float* x, const float* w, int64_t w_step,
                     float* sums, float* y) {
  const int64_t count = window.input_elements();
  for_each_tap(window, [&](int64_t tap_z, int64_t tap_y, int64_t tap_x) {
    for (int64_t i = 0; i < count; ++i) sums[i] = 0;
    for (int64_t c = 0; c < channels; ++c) {
      const float weight = w[c * w_step];
      const float* plane = x + c * count;
      for (int64_t i = 0; i < count; ++i) sums[i] += weight * plane[i];
    }
    const int64_t taps[kSpatialAxes] = {tap_z, tap_y, tap_x};
    scatter_tap(window, taps, sums, y);
    ++w;
  });
}

Status run_conv_transpose(RunContext& context) {
  const Window& window = context.state<ConvolutionState>().window;
  const int64_t groups = context.state<ConvolutionState>().groups;
  const Tensor& w = *context.input(1);
  const int64_t in_channels = w.shape[0];
  const int64_t group_in = in_channels / groups;
  const int64_t group_out = w.shape[1];
  const int64_t out_channels = group_out * groups;
  const int64_t w_step = group_out * window.kernel_elements();
  if (out_channels == 0) return Status();
  context.parallel_for(context.input(0)->shape[0] * out_channels, 1, [&](int64_t begin, int64_t end, int slot) {
    float* sums = static_cast<float*>(context.scratch()) + slot * window.input_elements();
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t channel = plane % out_channels;
      const int64_t first_in = channel / group_out * group_in;
      const int64_t first_plane = plane / out_channels * in_channels + first_in;
      float* y = context.output(0)->as<float>() + plane * window.output_elements();
      fill_plane(y, window.output_elements(), context.input(2), channel);
      transpose_plane(window, group_in, context.input(0)->as<float>() + first_plane * window.input_elements(),
                      w.as<float>() + first_in * w_step + channel % group_out * window.kernel_elements(), w_step, sums,
                      y);
    }
  });
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "Conv", .infer = infer_conv, .run = run_conv, .state_bytes = sizeof(ConvolutionState)},
    {.op = "ConvTranspose",
     .infer = infer_conv_transpose,
     .run = run_conv_transpose,
     .state_bytes = sizeof(ConvolutionState)},
};

}  // namespace

std::span<const Kernel> convolution_kernels() { return kKernels; }

}  // namespace quench::rt
