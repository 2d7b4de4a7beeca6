// Conv and ConvTranspose of float32, one to three spatial axes, row-major: the plain definition with hoisted bounds.
// DeformConv, two spatial axes: Zhu et al., "Deformable ConvNets v2", 2019, equation 1.

#include "runtime/kernels/reference/convolution.h"

#include <cmath>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

Status check_bias(const InferContext& context, int index, int64_t channels) {
  if (!context.input(index)) return Status();
  QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
  const Shape& shape = context.input(index)->shape;
  if (shape.rank != 1 || shape[0] != channels) {
    return Status::error(StatusCode::kShape, "the bias does not have one value per output channel");
  }
  return Status();
}

// X {batch, channels, ...} and W of the same rank; the number of groups divides the channels.
Status check_operands(const InferContext& context, const Shape& x, const Shape& w, int64_t* groups) {
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

Status place_convolution(const InferContext& context, const Shape& x, const Shape& w, ConvolutionState* state,
                         Shape* y) {
  auto& [window, groups] = *state;
  QUENCH_RETURN_IF_ERROR(check_operands(context, x, w, &groups));
  if (w[1] != x[1] / groups || w[0] % groups != 0) {
    return Status::error(StatusCode::kShape,
                         "weights for %lld input channels per group and %lld output channels do not fit %lld groups of "
                         "an input with %lld channels",
                         static_cast<long long>(w[1]), static_cast<long long>(w[0]), static_cast<long long>(groups),
                         static_cast<long long>(x[1]));
  }
  QUENCH_RETURN_IF_ERROR(read_window(context, x, w.dims + 2, &window));
  QUENCH_RETURN_IF_ERROR(place_windows(false, &window));
  *y = window_output_shape(window, x.rank, x[0], w[0]);
  return Status();
}

namespace {

// Of inputs 0 and 1, and the bias.
Status check_conv(InferContext& context, int bias, ConvolutionState* state) {
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  const Shape& w = context.input(1)->shape;
  Shape y;
  QUENCH_RETURN_IF_ERROR(place_convolution(context, context.input(0)->shape, w, state, &y));
  QUENCH_RETURN_IF_ERROR(check_bias(context, bias, w[0]));
  return context.set_output(0, ElementType::kFloat32, y);
}

}  // namespace

Status infer_conv(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 3, kFloatType));
  return check_conv(context, 2, &context.state<ConvolutionState>());
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
template <typename T>
void accumulate_conv(const Window& window, const T* x, const T* w, T* y) {
  for_each_tap(window, [&](int64_t tap_z, int64_t tap_y, int64_t tap_x) {
    const T weight = *w++;
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

template <typename T>
void fill_plane(T* y, int64_t count, const T* bias, int64_t channel) {
  const T value = bias ? bias[channel] : 0;
  for (int64_t i = 0; i < count; ++i) y[i] = value;
}

// Input `index`, or null.
const float* floats_of(const RunContext& context, int index) {
  return context.input(index) ? context.input(index)->as<float>() : nullptr;
}

// Row-major; the bias, one value per output channel, may be null.
void convolve(const RunContext& context, const ConvolutionState& state, const Shape& x_shape, const Shape& w_shape,
              const float* x, const float* w, const float* bias, float* y) {
  const Window& window = state.window;
  const int64_t out_channels = w_shape[0];
  const int64_t group_in = w_shape[1];
  if (out_channels == 0) return;
  const int64_t group_out = out_channels / state.groups;
  context.parallel_for(x_shape[0] * out_channels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t channel = plane % out_channels;
      const int64_t first_in = plane / out_channels * x_shape[1] + channel / group_out * group_in;
      float* sums = y + plane * window.output_elements();
      fill_plane(sums, window.output_elements(), bias, channel);
      for (int64_t c = 0; c < group_in; ++c) {
        accumulate_conv(window, x + (first_in + c) * window.input_elements(),
                        w + (channel * group_in + c) * window.kernel_elements(), sums);
      }
    }
  });
}

Status run_conv(RunContext& context) {
  convolve(context, context.state<ConvolutionState>(), context.input(0)->shape, context.input(1)->shape,
           context.input(0)->as<float>(), context.input(1)->as<float>(), floats_of(context, 2),
           context.output(0)->as<float>());
  return Status();
}

// FusedConv: what is added, if there is an input 3, and an activation come behind the convolution.

struct FusedState {
  ConvolutionState conv;  // first, for run_conv
  Activation activation;
};

Status read_activation(const InferContext& context, Activation* activation) {
  struct Named {
    std::string_view name;
    Activation::Kind kind;
    size_t parameters;
  };
  static constexpr Named kNames[] = {{"", Activation::kNone, 0},
                                     {"Relu", Activation::kRelu, 0},
                                     {"Sigmoid", Activation::kSigmoid, 0},
                                     {"Tanh", Activation::kTanh, 0},
                                     {"LeakyRelu", Activation::kLeakyRelu, 1},
                                     {"Clip", Activation::kClip, 2},
                                     {"HardSigmoid", Activation::kHardSigmoid, 2}};
  const std::string_view wanted = context.attributes().get_string("activation", "");
  const std::span<const float> parameters = context.attributes().get_floats("activation_params");
  for (const auto& [name, kind, count] : kNames) {
    if (name != wanted) continue;
    if (parameters.size() < count) {
      return Status::error(StatusCode::kInvalidArgument, "the activation lacks its parameters");
    }
    *activation = {kind, count > 0 ? parameters[0] : 0, count > 1 ? parameters[1] : 0};
    return Status();
  }
  return Status::error(StatusCode::kUnsupportedFeature, "the activation is none that the runtime has");
}

Status infer_fused_conv(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 4, kFloatType));
  FusedState& state = context.state<FusedState>();
  QUENCH_RETURN_IF_ERROR(check_conv(context, 2, &state.conv));
  QUENCH_RETURN_IF_ERROR(read_activation(context, &state.activation));
  if (!context.input(3)) return Status();
  QUENCH_RETURN_IF_ERROR(check_same_type(context, 3));
  if (context.input(3)->shape == context.output(0)->shape) return Status();
  return Status::error(StatusCode::kShape, "input 3 does not have the shape of the output");
}

Status run_fused_conv(RunContext& context) {
  const Activation& activation = context.state<FusedState>().activation;
  const float* added = floats_of(context, 3);
  float* y = context.output(0)->as<float>();
  QUENCH_RETURN_IF_ERROR(run_conv(context));
  for (int64_t i = 0, count = context.output(0)->elements(); i < count; ++i) {
    y[i] = activate(activation, added ? y[i] + added[i] : y[i]);
  }
  return Status();
}

}  // namespace

Status infer_conv_transpose(InferContext& context) {
  auto& [window, groups] = context.state<ConvolutionState>();
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 3, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  const Shape& x = context.input(0)->shape;
  const Shape& w = context.input(1)->shape;
  QUENCH_RETURN_IF_ERROR(check_operands(context, x, w, &groups));
  if (w[0] != x[1]) {
    return Status::error(StatusCode::kShape, "weights for %lld input channels, input with %lld",
                         static_cast<long long>(w[0]), static_cast<long long>(x[1]));
  }
  if (w[1] > (int64_t{1} << 62) / groups) return Status::error(StatusCode::kShape, "too many output channels");
  QUENCH_RETURN_IF_ERROR(check_bias(context, 2, w[1] * groups));
  QUENCH_RETURN_IF_ERROR(read_window(context, x, w.dims + 2, &window));
  QUENCH_RETURN_IF_ERROR(place_transposed_windows(context.attributes().view(), x.rank - 2, &window));
  if (x.elements(2, x.rank) > (int64_t{1} << 40)) return Status::error(StatusCode::kShape, "the input is too large");
  context.set_scratch(context.threads() * window.input[2] * static_cast<int64_t>(sizeof(float)));
  return context.set_output(0, ElementType::kFloat32, window_output_shape(window, x.rank, x[0], w[1] * groups));
}

namespace {

// One row of inputs of one image, for one output channel: for each tap the channels are summed up first, side by side in
// memory, and scattered once. The rows of all channels stay in the cache meanwhile. `w` points at the weights of the
// first input channel; those of the next follow `w_step` later.
void transpose_row(const Window& window, int64_t z, int64_t row, int64_t channels, const float* x, const float* w,
                   int64_t w_step, float* sums, float* y) {
  const int64_t width = window.input[2];
  const int64_t step = window.stride[2];
  for_each_tap(window, [&](int64_t tap_z, int64_t tap_y, int64_t tap_x) {
    const float* weight = w++;
    const int64_t out_z = window.coordinate(0, z, tap_z);
    const int64_t out_row = window.coordinate(1, row, tap_y);
    if (out_z < 0 || out_z >= window.output[0] || out_row < 0 || out_row >= window.output[1]) return;
    for (int64_t i = 0; i < width; ++i) sums[i] = 0;
    for (int64_t c = 0; c < channels; ++c) {
      const float factor = weight[c * w_step];
      const float* values = x + c * window.input_elements();
      for (int64_t i = 0; i < width; ++i) sums[i] += factor * values[i];
    }
    const int64_t first = window.coordinate(2, 0, tap_x);
    const Range inside = positions_inside(width, step, first, window.output[2]);
    float* to = y + (out_z * window.output[1] + out_row) * window.output[2];
    for (int64_t i = inside.begin; i < inside.end; ++i) to[first + i * step] += sums[i];
  });
}

// One output channel of one image; see transpose_row.
void transpose_plane(const Window& window, int64_t channels, const float* x, const float* w, int64_t w_step,
                     float* sums, float* y) {
  for (int64_t z = 0; z < window.input[0]; ++z) {
    for (int64_t row = 0; row < window.input[1]; ++row) {
      const float* first = x + (z * window.input[1] + row) * window.input[2];
      transpose_row(window, z, row, channels, first, w, w_step, sums, y);
    }
  }
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
    float* sums = static_cast<float*>(context.scratch()) + slot * window.input[2];
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t channel = plane % out_channels;
      const int64_t first_in = channel / group_out * group_in;
      const int64_t first_plane = plane / out_channels * in_channels + first_in;
      float* y = context.output(0)->as<float>() + plane * window.output_elements();
      fill_plane(y, window.output_elements(), floats_of(context, 2), channel);
      transpose_plane(window, group_in, context.input(0)->as<float>() + first_plane * window.input_elements(),
                      w.as<float>() + first_in * w_step + channel % group_out * window.kernel_elements(), w_step, sums,
                      y);
    }
  });
  return Status();
}

struct DeformableState {
  ConvolutionState conv;
  int64_t offset_groups;
  int64_t column;  // values that the weights of all groups multiply, for one output position
};

// Input `index`, if it is there: `per_tap` values for each tap of each offset group, at each output position.
Status check_taps(const InferContext& context, int index, int64_t per_tap) {
  if (!context.input(index)) return Status();
  QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
  const auto& [conv, offset_groups, column] = context.state<DeformableState>();
  const int64_t channels = offset_groups * conv.window.kernel_elements() * per_tap;
  if (!(context.input(index)->shape == window_output_shape(conv.window, 4, context.input(0)->shape[0], channels))) {
    return Status::error(StatusCode::kShape, "input %d does not have %lld values for each tap, offset group and output",
                         index, static_cast<long long>(per_tap));
  }
  return Status();
}

// Inputs X, W, offset {batch, offset groups x taps x 2, output}, the bias, mask {batch, offset groups x taps, output}.
Status infer_deform_conv(InferContext& context) {
  auto& [conv, offset_groups, column] = context.state<DeformableState>();
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 5, kFloatType));
  const Shape& x = context.input(0)->shape;
  if (x.rank != 4) return Status::error(StatusCode::kShape, "input has rank %d, not 4", x.rank);
  QUENCH_RETURN_IF_ERROR(check_conv(context, 3, &conv));
  offset_groups = context.attributes().get_int("offset_group", 1);
  if (offset_groups < 1 || offset_groups > x[1] || x[1] % offset_groups != 0) {
    return Status::error(StatusCode::kShape, "%lld offset groups do not divide %lld input channels",
                         static_cast<long long>(offset_groups), static_cast<long long>(x[1]));
  }
  constexpr int64_t kLargest = int64_t{1} << 40;
  if (conv.window.kernel_elements() > kLargest / x[1]) {
    return Status::error(StatusCode::kShape, "the weights are too large");
  }
  column = x[1] * conv.window.kernel_elements();
  QUENCH_RETURN_IF_ERROR(check_taps(context, 2, 2));
  QUENCH_RETURN_IF_ERROR(check_taps(context, 4, 1));
  context.set_scratch(context.threads() * column * static_cast<int64_t>(sizeof(float)));
  return Status();
}

// Where a tap lies on the input: the four values around it, by number in their plane, and what each of them counts.
// Outside of the input there are zeros; so there are at a place that is no number.
struct Sample {
  int64_t at[4] = {};
  float share[4] = {};

  Sample(double y, double x, int64_t height, int64_t width, float factor) {
    if (!(y > -1 && y < static_cast<double>(height) && x > -1 && x < static_cast<double>(width))) return;
    const double top = std::floor(y);
    const double left = std::floor(x);
    for (int corner = 0; corner < 4; ++corner) {
      const int64_t row = static_cast<int64_t>(top) + corner / 2;
      const int64_t in_row = static_cast<int64_t>(left) + corner % 2;
      if (row < 0 || row >= height || in_row < 0 || in_row >= width) continue;
      const double down = corner / 2 == 0 ? top + 1 - y : y - top;
      const double right = corner % 2 == 0 ? left + 1 - x : x - left;
      at[corner] = row * width + in_row;
      share[corner] = static_cast<float>(down * right) * factor;
    }
  }
  float of(const float* plane) const {
    float sum = 0;
    for (int corner = 0; corner < 4; ++corner) {
      if (share[corner] != 0) sum += share[corner] * plane[at[corner]];
    }
    return sum;
  }
};

// What the weights multiply for output `position` of image `batch`: for each input channel the value under each tap.
void sample_column(const RunContext& context, int64_t batch, int64_t position, float* column) {
  const auto& [conv, offset_groups, size] = context.state<DeformableState>();
  const Window& window = conv.window;
  const int64_t positions = window.output_elements();
  const int64_t taps = window.kernel_elements();
  const int64_t group_channels = context.input(0)->shape[1] / offset_groups;
  const float* mask = context.input(4) ? context.input(4)->as<float>() : nullptr;
  const float* x = context.input(0)->as<float>() + batch * context.input(0)->shape[1] * window.input_elements();
  for (int64_t group = 0; group < offset_groups; ++group) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t number = (batch * offset_groups + group) * taps + tap;
      const float* offset = context.input(2)->as<float>() + number * 2 * positions + position;
      const int64_t row = window.coordinate(1, position / window.output[2], tap / window.kernel[2]);
      const int64_t in_row = window.coordinate(2, position % window.output[2], tap % window.kernel[2]);
      const Sample sample(static_cast<double>(row) + static_cast<double>(offset[0]),
                          static_cast<double>(in_row) + static_cast<double>(offset[positions]), window.input[1],
                          window.input[2], mask ? mask[number * positions + position] : 1.0f);
      for (int64_t c = group * group_channels; c < (group + 1) * group_channels; ++c) {
        column[c * taps + tap] = sample.of(x + c * window.input_elements());
      }
    }
  }
}

Status run_deform_conv(RunContext& context) {
  const auto& state = context.state<DeformableState>();
  const int64_t groups = state.conv.groups;
  const int64_t positions = state.conv.window.output_elements();
  const int64_t size = state.column;
  const int64_t group_size = size / groups;
  const int64_t out_channels = context.input(1)->shape[0];
  context.parallel_for(context.input(0)->shape[0] * positions, 1, [&](int64_t begin, int64_t end, int slot) {
    float* column = static_cast<float*>(context.scratch()) + slot * size;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t batch = i / positions;
      sample_column(context, batch, i % positions, column);
      float* y = context.output(0)->as<float>() + batch * out_channels * positions + i % positions;
      for (int64_t channel = 0; channel < out_channels; ++channel) {
        const float* w = context.input(1)->as<float>() + channel * group_size;
        const float* values = column + channel / (out_channels / groups) * group_size;
        float sum = context.input(3) ? context.input(3)->as<float>()[channel] : 0;
        for (int64_t e = 0; e < group_size; ++e) sum += w[e] * values[e];
        y[channel * positions] = sum;
      }
    }
  });
  return Status();
}

// Col2Im: the sum of all windows of an image, whose columns input 0 has; the places of the windows are those of a Conv.

Status infer_col2im(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 3, kFloatType));
  const Shape& x = context.input(0)->shape;
  IntList image;
  IntList block;
  QUENCH_RETURN_IF_ERROR(read_input(context, 1, &image));
  QUENCH_RETURN_IF_ERROR(read_input(context, 2, &block));
  const int spatial = image.count;
  if (x.rank != 3 || block.count != spatial) return Status::error(StatusCode::kShape, "the inputs do not fit");
  Window& window = context.state<Window>();
  QUENCH_RETURN_IF_ERROR(operators::read_window(context.attributes().view(), spatial, block.values, &window));
  Shape shape = {x[0], x[1]};
  for (const int64_t size : image.view()) {
    if (size < 1 || size > (int64_t{1} << 30)) return Status::error(StatusCode::kShape, "the image has no such size");
    shape[shape.rank++] = size;
  }
  window.set_input(image.values, spatial);
  QUENCH_RETURN_IF_ERROR(operators::place_windows(false, &window));
  // Divided axis by axis, since the products need not fit 64 bits.
  int64_t windows = x[2];
  bool fits = true;
  for (int axis = 0; axis < kSpatialAxes; ++axis) {
    fits = fits && shape[1] % window.kernel[axis] == 0 && windows % window.output[axis] == 0;
    shape[1] /= window.kernel[axis];
    windows /= window.output[axis];
  }
  if (!fits || windows != 1) return Status::error(StatusCode::kShape, "input 0 has not one column for each window");
  return context.set_output(0, ElementType::kFloat32, shape);
}

Status run_col2im(RunContext& context) {
  const Window& window = context.state<Window>();
  const Shape& x = context.input(0)->shape;
  const int64_t taps = window.kernel_elements();
  const int64_t planes = context.output(0)->shape.elements(0, 2);
  const int64_t pixels = window.input_elements();
  context.parallel_for(planes, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      float* y = context.output(0)->as<float>() + plane * pixels;
      for (int64_t i = 0; i < pixels; ++i) y[i] = 0;
      for (int64_t i = 0; i < taps * x[2]; ++i) {
        int64_t tap = i / x[2];
        int64_t at = i % x[2];
        int64_t offset = 0;
        int64_t step = 1;
        bool is_inside = true;
        for (int axis = kSpatialAxes - 1; axis >= 0; --axis) {
          const int64_t place = window.coordinate(axis, at % window.output[axis], tap % window.kernel[axis]);
          is_inside = is_inside && place >= 0 && place < window.input[axis];
          offset += place * step;
          step *= window.input[axis];
          tap /= window.kernel[axis];
          at /= window.output[axis];
        }
        if (is_inside) y[offset] += context.input(0)->as<float>()[plane * taps * x[2] + i];
      }
    }
  });
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "Col2Im", .since_version = 18, .infer = infer_col2im, .run = run_col2im, .state_bytes = sizeof(Window)},
    {.op = "Conv", .infer = infer_conv, .run = run_conv, .state_bytes = sizeof(ConvolutionState)},
    {.op = "FusedConv",
     .domain = kMicrosoft,
     .infer = infer_fused_conv,
     .run = run_fused_conv,
     .state_bytes = sizeof(FusedState)},
    {.op = "ConvTranspose",
     .infer = infer_conv_transpose,
     .run = run_conv_transpose,
     .state_bytes = sizeof(ConvolutionState)},
    {.op = "DeformConv",
     .since_version = 19,
     .infer = infer_deform_conv,
     .run = run_deform_conv,
     .state_bytes = sizeof(DeformableState)},
};

}  // namespace

std::span<const Kernel> convolution_kernels() { return kKernels; }

}  // namespace quench::rt
