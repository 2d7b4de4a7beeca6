// ConvTranspose of one or two spatial axes.
//
// Outputs that lie a stride apart are of one phase: the same taps of the kernel meet them. Each phase is a convolution
// of its own, with stride 1 and with those taps, turned around, whose outputs are written a stride apart.
#include <algorithm>

#include "runtime/kernels/fast/blocking.h"
#include "runtime/kernels/fast/conv_kernel.h"
#include "runtime/kernels/fast/elementwise.h"
#include "runtime/kernels/fast/tables.h"
#include "runtime/kernels/reference/convolution.h"

namespace quench::rt {
namespace {

using fast::ConvPlan;
using fast::ConvShape;

constexpr int kMostPhases = 16;     // 2 bits of the variant each
constexpr int64_t kFewOutputs = 4;  // of a group: with fewer, most lanes of a vector would be idle

struct State {
  ConvolutionState common;
  bool reads_row_major;
  bool converts_output;  // of rank 3, to row-major
  int64_t output_at;     // in the scratch memory, in floats
  int64_t weights_at;    // weights of a phase, which are packed anew in every run
  int64_t slots_at;
};

struct Phase {
  ConvPlan plan;
  fast::WeightSteps weights;
  int64_t weights_at = 0;  // first weight
  int64_t output_at = 0;   // first output
};

// One axis of a phase. The outputs are `phase`, `phase` + stride, ...; output j of them is the sum over taps i of
// input[j - pad + i] * weight[last_tap - i * stride].
struct PhaseAxis {
  int64_t outputs;
  int64_t taps;
  int64_t last_tap;
  int64_t pad;

  PhaseAxis(const Window& window, int axis, int64_t phase) {
    const int64_t stride = window.stride[axis];
    const int64_t shifted = phase + window.pad_begin[axis];
    const int64_t first_tap = shifted % stride;
    outputs = window.output[axis] > phase ? (window.output[axis] - 1 - phase) / stride + 1 : 0;
    taps = (window.kernel[axis] - 1 - first_tap) / stride + 1;
    last_tap = first_tap + (taps - 1) * stride;
    pad = taps - 1 - shifted / stride;
  }
};

int64_t phases_of(const Window& window) { return window.stride[1] * window.stride[2]; }

Phase phase_of(const NodeContext& context, const State& state, int64_t phase) {
  const auto& [window, groups] = state.common;
  const Shape& x = context.input(0)->shape;
  const Shape& w = context.input(1)->shape;
  const PhaseAxis rows(window, 1, phase / window.stride[2]);
  const PhaseAxis columns(window, 2, phase % window.stride[2]);
  ConvShape shape;
  shape.batch = x[0];
  shape.in_channels = x[1];
  shape.in_height = window.input[1];
  shape.in_width = window.input[2];
  shape.out_channels = w[1] * groups;
  shape.out_height = rows.outputs;
  shape.out_width = columns.outputs;
  shape.kernel_height = rows.taps;
  shape.kernel_width = columns.taps;
  shape.pad_top = rows.pad;
  shape.pad_left = columns.pad;
  shape.groups = groups;
  if (state.reads_row_major) shape.input_layout = Layout::kRowMajor;
  const int64_t line = window.output[2] * shape.out_channels;
  shape.output_pixel = window.stride[2] * shape.out_channels;
  shape.output_line = window.stride[1] * line;
  shape.output_image = window.output[1] * line;

  Phase result;
  result.plan = fast::plan_conv(shape, context.threads(), fast::ConvAlgorithm::kDirect);
  result.plan.scratch_floats = fast::round_up(result.plan.scratch_floats, kAlignment / sizeof(float));
  const int64_t taps = window.kernel_elements();
  result.weights = {x[1] / groups * w[1] * taps, taps, w[1] * taps, -window.stride[1] * window.kernel[2],
                    -window.stride[2]};
  result.weights_at = rows.last_tap * window.kernel[2] + columns.last_tap;
  result.output_at = phase / window.stride[2] * line + phase % window.stride[2] * shape.out_channels;
  return result;
}

// Each phase has taps, none has outputs that begin behind the first input's, and tiles of outputs fill vectors.
bool accepts(InferContext& context) {
  const Tensor* x = context.input(0);
  const Tensor* w = context.input(1);
  if (!x || !w || x->type != ElementType::kFloat32 || w->type != ElementType::kFloat32) return false;
  if (x->shape.rank != w->shape.rank || (x->shape.rank != 3 && x->shape.rank != 4)) return false;
  for (int axis = 0; axis < x->shape.rank; ++axis) {
    if (w->shape[axis] == 0 || (axis > 0 && x->shape[axis] == 0)) return false;
  }
  Window window;
  if (w->shape[1] < kFewOutputs || !read_window(context, x->shape, w->shape.dims + 2, &window).ok()) return false;
  if (!place_transposed_windows(context.attributes().view(), x->shape.rank - 2, &window).ok()) return false;
  for (int axis = 1; axis < kSpatialAxes; ++axis) {
    if (window.dilation[axis] != 1 || window.stride[axis] > std::min<int64_t>(window.kernel[axis], kMostPhases) ||
        window.pad_begin[axis] >= window.kernel[axis]) {
      return false;
    }
    for (int64_t phase = 0; phase < window.stride[axis]; ++phase) {
      if (PhaseAxis(window, axis, phase).pad < 0) return false;
    }
  }
  return phases_of(window) <= kMostPhases && fast::fits_strip(x->shape[1], window.kernel[1], window.kernel[2], 1);
}

Status infer(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(infer_conv_transpose(context));
  context.set_layout(context.input(0)->shape.rank == 4 ? LayoutRule::kChannelsLast : LayoutRule::kRowMajor);
  return Status();
}

Status prepare(PrepareContext& context) {
  State& state = context.state<State>();
  const Tensor& x = *context.input(0);
  state.converts_output = x.shape.rank == 3;
  state.reads_row_major = state.converts_output || (x.layout == Layout::kRowMajor && !layouts_coincide(x.shape));
  uint32_t variant = 0;
  int64_t weights = 0;
  int64_t slot = 0;
  for (int64_t i = 0; i < phases_of(state.common.window); ++i) {
    const ConvPlan plan = phase_of(context, state, i).plan;
    variant |= static_cast<uint32_t>(plan.block_vectors - 1) << (2 * i);
    weights = std::max(weights, fast::packed_floats(plan));
    slot = std::max(slot, plan.scratch_floats);
  }
  context.set_variant(variant);
  int64_t floats = 0;
  const auto take = [&](int64_t count) {
    const int64_t at = floats;
    floats += fast::round_up(count, kAlignment / sizeof(float));
    return at;
  };
  state.output_at = take(state.converts_output ? context.output(0)->elements() : 0);
  state.weights_at = take(context.packs() ? 0 : weights);
  state.slots_at = take(slot * context.threads());
  context.set_scratch(floats * static_cast<int64_t>(sizeof(float)));
  return Status();
}

void pack_phase(const NodeContext& context, const Phase& phase, float* packed) {
  const Tensor* bias = context.input(2);
  fast::pack_direct(phase.plan, context.input(1)->as<float>() + phase.weights_at, phase.weights,
                    bias ? bias->as<float>() : nullptr, packed);
}

Status pack(PackContext& context) {
  const State& state = context.state<State>();
  const int64_t phases = phases_of(state.common.window);
  int64_t floats = 0;
  for (int64_t i = 0; i < phases; ++i) floats += fast::packed_floats(phase_of(context, state, i).plan);
  auto* packed = static_cast<float*>(context.allocate(floats * static_cast<int64_t>(sizeof(float))));
  if (!packed) return Status(StatusCode::kOutOfMemory);
  for (int64_t i = 0; i < phases; ++i) {
    const Phase phase = phase_of(context, state, i);
    pack_phase(context, phase, packed);
    packed += fast::packed_floats(phase.plan);
  }
  return Status();
}

Status run(RunContext& context) {
  const State& state = context.state<State>();
  auto* scratch = static_cast<float*>(context.scratch());
  const auto* packed = static_cast<const float*>(context.packed());
  const float* residual = context.epilogue().residual ? context.epilogue().residual->as<float>() : nullptr;
  float* output = state.converts_output ? scratch + state.output_at : context.output(0)->as<float>();
  for (int64_t i = 0; i < phases_of(state.common.window); ++i) {
    const Phase phase = phase_of(context, state, i);
    fast::ConvData data;
    data.packed = packed;
    if (packed) {
      packed += fast::packed_floats(phase.plan);
    } else {
      pack_phase(context, phase, scratch + state.weights_at);
      data.packed = scratch + state.weights_at;
    }
    data.input = context.input(0)->as<float>();
    data.output = output + phase.output_at;
    if (!state.converts_output) {
      data.residual = residual ? residual + phase.output_at : nullptr;
      data.activation = context.epilogue().activation;
    }
    fast::run_units(context, phase.plan, data, scratch + state.slots_at);
  }
  if (state.converts_output) fast::finish_row_major(context, output);
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "ConvTranspose",
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

std::span<const Kernel> fast_transposed_convolution_kernels() { return kKernels; }

}  // namespace quench::rt
