// Conv of one or two spatial axes.
#include <algorithm>

#include "runtime/kernels/fast/blocking.h"
#include "runtime/kernels/fast/conv.h"
#include "runtime/kernels/fast/elementwise.h"
#include "runtime/kernels/fast/tables.h"
#include "runtime/kernels/reference/convolution.h"

namespace quench::rt {
namespace {

using fast::ConvAlgorithm;
using fast::ConvPlan;
using fast::ConvShape;

// Products that are worth a thread of their own.
constexpr int64_t kGrain = 200'000;
// A strip of the padded input with one row of outputs has at most so many values.
constexpr int64_t kMaxStrip = int64_t{1} << 24;

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
  int64_t strip = 1;
  for (int axis = 0; axis < x->shape.rank; ++axis) {
    if (w->shape[axis] == 0 || (axis > 0 && x->shape[axis] == 0)) return false;
  }
  Window window;
  if (!read_window(context, x->shape, w->shape.dims + 2, &window).ok()) return false;
  for (int axis = 1; axis < kSpatialAxes; ++axis) {
    if (window.extent(axis) > kMaxStrip || window.stride[axis] > kMaxStrip) return false;
  }
  strip = x->shape[1];
  if (strip > kMaxStrip / window.extent(1)) return false;
  strip *= window.extent(1);
  return window.extent(2) + 48 * window.stride[2] <= kMaxStrip / strip;
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

// Turns the result of rank 3 around and does what the epilogue asks for.
void finish_row_major(const RunContext& context, const ConvShape& shape, const float* result) {
  float* output = context.output(0)->as<float>();
  const Epilogue& epilogue = context.epilogue();
  const int64_t lines = shape.batch * shape.out_channels;
  const int64_t width = shape.out_height * shape.out_width;
  const float* residual = epilogue.residual ? epilogue.residual->as<float>() : nullptr;
  context.parallel_for(lines, 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t channel = line % shape.out_channels;
      const float* source = result + line / shape.out_channels * width * shape.out_channels + channel;
      float* target = output + line * width;
      for (int64_t i = 0; i < width; ++i) {
        const float value = source[i * shape.out_channels];
        target[i] = residual ? value + residual[line * width + i] : value;
      }
      fast::activate_values(epilogue.activation, target, target, width);
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
  if (plan.units > 0) {
    const int64_t channels = shape.in_channels / shape.groups;
    const double products = static_cast<double>(shape.batch * result_values(shape)) * static_cast<double>(channels) *
                            static_cast<double>(shape.kernel_height * shape.kernel_width);
    const auto grain = static_cast<int64_t>(kGrain * static_cast<double>(plan.units) / std::max(products, 1.0));
    context.parallel_for(plan.units, std::min(grain, plan.units), [&](int64_t begin, int64_t end, int slot) {
      fast::run_conv(plan, data, begin, end, scratch + state.slots_at + slot * plan.scratch_floats);
    });
  }
  if (state.converts_output) finish_row_major(context, shape, data.output);
  return Status();
}

constexpr uint32_t kActivations = Activation::bit(Activation::kRelu) | Activation::bit(Activation::kClip) |
                                  Activation::bit(Activation::kLeakyRelu) | Activation::bit(Activation::kSigmoid) |
                                  Activation::bit(Activation::kHardSigmoid) | Activation::bit(Activation::kHardSwish) |
                                  Activation::bit(Activation::kSilu) | Activation::bit(Activation::kTanh);

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
     .activations = kActivations,
     .layout = LayoutRule::kChannelsLast,
     .layout_inputs = 1},
};

}  // namespace

std::span<const Kernel> fast_convolution_kernels() { return kKernels; }

}  // namespace quench::rt
