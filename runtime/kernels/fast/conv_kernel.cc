// Conv of one or two spatial axes.
#include "runtime/kernels/fast/conv_kernel.h"

#include <algorithm>

#include "runtime/kernels/fast/blocking.h"
#include "runtime/kernels/fast/elementwise.h"
#include "runtime/kernels/fast/tables.h"
#include "runtime/kernels/reference/convolution.h"

namespace quench::rt {
namespace fast {
namespace {

// Products that are worth a thread of their own.
constexpr int64_t kGrain = 200'000;
constexpr int64_t kMaxStrip = int64_t{1} << 24;  // values

}  // namespace

bool fits_strip(int64_t channels, int64_t height, int64_t width, int64_t stride_width) {
  if (height > kMaxStrip || width > kMaxStrip || stride_width > kMaxStrip || channels > kMaxStrip / height)
    return false;
  return width + 48 * stride_width <= kMaxStrip / (channels * height);
}

void run_units(const RunContext& context, const ConvPlan& plan, const ConvData& data, float* slots) {
  if (plan.units == 0) return;
  const ConvShape& shape = plan.shape;
  const double products = static_cast<double>(shape.batch * shape.out_channels * shape.out_height * shape.out_width) *
                          static_cast<double>(shape.in_channels / shape.groups) *
                          static_cast<double>(shape.kernel_height * shape.kernel_width);
  const auto grain = static_cast<int64_t>(kGrain * static_cast<double>(plan.units) / std::max(products, 1.0));
  context.parallel_for(plan.units, std::min(grain, plan.units), [&](int64_t begin, int64_t end, int slot) {
    run_conv(plan, data, begin, end, slots + slot * plan.scratch_floats);
  });
}

void finish_row_major(const RunContext& context, const float* result) {
  float* output = context.output(0)->as<float>();
  const Epilogue& epilogue = context.epilogue();
  const Shape& shape = context.output(0)->shape;
  const int64_t channels = shape[1];
  const int64_t width = shape[2];
  const float* residual = epilogue.residual ? epilogue.residual->as<float>() : nullptr;
  context.parallel_for(shape[0] * channels, 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t line = begin; line < end; ++line) {
      const float* source = result + line / channels * width * channels + line % channels;
      float* target = output + line * width;
      for (int64_t i = 0; i < width; ++i) {
        const float value = source[i * channels];
        target[i] = residual ? value + residual[line * width + i] : value;
      }
      activate_values(epilogue.activation, target, target, width);
    }
  });
}

}  // namespace fast

namespace {

using fast::ConvAlgorithm;
using fast::ConvPlan;
using fast::ConvShape;

struct State {
  ConvolutionState common;
  ConvPlan plan;
  bool converts_input;   // to channels-last, ahead of the convolution
  bool converts_output;  // of rank 3, to row-major
  int64_t weights_at;    // in the scratch memory, in floats: weights that are packed anew in every run
  int64_t input_at;
  int64_t output_at;
  int64_t slots_at;  // one for each thread
};

bool accepts(InferContext& context) {
  const Tensor* x = context.input(0);
  const Tensor* w = context.input(1);
  if (!x || !w || x->type != ElementType::kFloat32 || w->type != ElementType::kFloat32) return false;
  if (x->shape.rank != w->shape.rank || (x->shape.rank != 3 && x->shape.rank != 4)) return false;
  for (int axis = 0; axis < x->shape.rank; ++axis) {
    if (w->shape[axis] == 0 || (axis > 0 && x->shape[axis] == 0)) return false;
  }
  Window window;
  if (!read_window(context, x->shape, w->shape.dims + 2, &window).ok()) return false;
  return fast::fits_strip(x->shape[1], window.extent(1), window.extent(2), window.stride[2]);
}

ConvShape shape_of(const NodeContext& context, const ConvolutionState& common) {
  const Window& window = common.window;
  ConvShape shape;
  shape.batch = context.input(0)->shape[0];
  shape.in_channels = context.input(0)->shape[1];
  shape.out_channels = context.input(1)->shape[0];
  shape.in_height = window.input[1];
  shape.in_width = window.input[2];
  shape.out_height = window.output[1];
  shape.out_width = window.output[2];
  shape.kernel_height = window.kernel[1];
  shape.kernel_width = window.kernel[2];
  shape.stride_height = window.stride[1];
  shape.stride_width = window.stride[2];
  shape.dilation_height = window.dilation[1];
  shape.dilation_width = window.dilation[2];
  shape.pad_top = window.pad_begin[1];
  shape.pad_left = window.pad_begin[2];
  shape.groups = common.groups;
  return shape;
}

int64_t image_values(const ConvShape& shape) { return shape.in_channels * shape.in_height * shape.in_width; }
int64_t result_values(const ConvShape& shape) { return shape.out_channels * shape.out_height * shape.out_width; }

Status infer(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(infer_conv(context));
  context.set_layout(context.input(0)->shape.rank == 4 ? LayoutRule::kChannelsLast : LayoutRule::kRowMajor);
  return Status();
}

Status prepare(PrepareContext& context) {
  State& state = context.state<State>();
  ConvShape shape = shape_of(context, state.common);
  state.converts_output = context.input(0)->shape.rank == 3;
  state.plan = fast::plan_conv(shape, context.threads());
  const bool row_major = context.input(0)->layout == Layout::kRowMajor && !layouts_coincide(context.input(0)->shape);
  // The direct algorithm reads it as it is.
  state.converts_input = (row_major || state.converts_output) && state.plan.algorithm != ConvAlgorithm::kDirect;
  if ((row_major || state.converts_output) && !state.converts_input) {
    shape.input_layout = Layout::kRowMajor;
    state.plan = fast::plan_conv(shape, context.threads(), ConvAlgorithm::kDirect);
  }
  context.set_variant(state.plan.variant());

  int64_t floats = 0;
  const auto take = [&](bool needed, int64_t count) {
    const int64_t at = floats;
    if (needed) floats += fast::round_up(count, kAlignment / sizeof(float));
    return at;
  };
  state.weights_at = take(!context.packs(), fast::packed_floats(state.plan));
  state.input_at = take(state.converts_input, shape.batch * image_values(shape));
  state.output_at = take(state.converts_output, shape.batch * result_values(shape));
  state.plan.scratch_floats = fast::round_up(state.plan.scratch_floats, kAlignment / sizeof(float));
  state.slots_at = take(true, state.plan.scratch_floats * context.threads());
  context.set_scratch(floats * static_cast<int64_t>(sizeof(float)));
  return Status();
}

Status pack(PackContext& context) {
  const State& state = context.state<State>();
  void* packed = context.allocate(fast::packed_floats(state.plan) * static_cast<int64_t>(sizeof(float)));
  if (!packed) return Status(StatusCode::kOutOfMemory);
  const Tensor* bias = context.input(2);
  fast::pack_conv(state.plan, context.input(1)->as<float>(), bias ? bias->as<float>() : nullptr,
                  static_cast<float*>(packed));
  return Status();
}

// rows x columns to columns x rows, for each image.
void transpose_images(const RunContext& context, const float* from, float* to, int64_t images, int64_t rows,
                      int64_t columns) {
  constexpr int64_t kSquare = 16;
  const int64_t bands = fast::divide_up(rows, kSquare);
  context.parallel_for(images * bands, 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t band = begin; band < end; ++band) {
      const float* source = from + band / bands * rows * columns;
      float* target = to + band / bands * rows * columns;
      const int64_t row = band % bands * kSquare;
      const int64_t row_end = std::min(row + kSquare, rows);
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t r = row; r < row_end; ++r) target[c * rows + r] = source[r * columns + c];
      }
    }
  });
}

Status run(RunContext& context) {
  const State& state = context.state<State>();
  const ConvPlan& plan = state.plan;
  const ConvShape& shape = plan.shape;
  float* scratch = static_cast<float*>(context.scratch());
  fast::ConvData data;
  data.packed = static_cast<const float*>(context.packed());
  if (!data.packed) {
    const Tensor* bias = context.input(2);
    fast::pack_conv(plan, context.input(1)->as<float>(), bias ? bias->as<float>() : nullptr,
                    scratch + state.weights_at);
    data.packed = scratch + state.weights_at;
  }
  data.input = context.input(0)->as<float>();
  if (state.converts_input) {
    transpose_images(context, data.input, scratch + state.input_at, shape.batch, shape.in_channels,
                     shape.in_height * shape.in_width);
    data.input = scratch + state.input_at;
  }
  if (state.converts_output) {
    data.output = scratch + state.output_at;
  } else {
    data.output = context.output(0)->as<float>();
    data.residual = context.epilogue().residual ? context.epilogue().residual->as<float>() : nullptr;
    data.activation = context.epilogue().activation;
  }
  fast::run_units(context, plan, data, scratch + state.slots_at);
  if (state.converts_output) fast::finish_row_major(context, data.output);
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "Conv",
     .infer = infer,
     .prepare = prepare,
     .pack = pack,
     .run = run,
     .accepts = accepts,
     .state_bytes = sizeof(State),
     .flags = kFusesResidual | kReadsRowMajor,
     .packed_inputs = 1u << 1 | 1u << 2,
     .activations = fast::kActivatedValues,
     .layout = LayoutRule::kChannelsLast,
     .layout_inputs = 1},
};

}  // namespace

std::span<const Kernel> fast_convolution_kernels() { return kKernels; }

}  // namespace quench::rt
