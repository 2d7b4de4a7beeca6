// Resize and Upsample, in either layout. Each axis is resampled on its own: an output coordinate becomes a handful of
// taps, input coordinates with weights, and an output is the sum over the products of its taps.

#include "formats/operators/resize.h"

#include <cmath>
#include <cstring>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

using operators::AxisSampling;
using operators::Coordinate;
using operators::Resampling;
using operators::Transformation;
using Mode = operators::ResizeMode;

struct ResizeState {
  Resampling how;
  float scale[kMaxRank];
  float crop_begin[kMaxRank];
  float crop_end[kMaxRank];
};

constexpr int kMaxTaps = 4;

// What one output coordinate takes along an axis.
struct Taps {
  int64_t coordinate[kMaxTaps];
  float weight[kMaxTaps];
  bool outside;  // only for tf_crop_and_resize: the output is the extrapolation value
};

int taps_of(Mode mode) { return mode == Mode::kNearest ? 1 : mode == Mode::kLinear ? 2 : 4; }

// Values for each axis out of a constant float32 input of one value per listed axis.
Status read_floats(InferContext& context, int index, int count, float* values) {
  QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
  const Shape& shape = context.input(index)->shape;
  if (shape.rank != 1 || shape[0] != count) {
    return Status::error(StatusCode::kShape, "input %d does not have %d values", index, count);
  }
  const Tensor* value = context.value(index);
  if (!value) return context.needs_value(index);
  for (int i = 0; i < count; ++i) values[i] = value->as<float>()[i];
  return Status();
}

bool has_elements(const InferContext& context, int index) {
  return context.input(index) && context.input(index)->elements() > 0;
}

// Output size by a scale.
Status scale_axis(int64_t size, float scale, int64_t* result) {
  const float scaled = std::floor(static_cast<float>(size) * scale);
  if (!(scale > 0) || !(scaled < 1e12f)) {
    return Status::error(StatusCode::kShape, "an axis of %lld elements is scaled by %g", static_cast<long long>(size),
                         static_cast<double>(scale));
  }
  *result = static_cast<int64_t>(scaled);
  return Status();
}

// The axes that scales, sizes and the region of interest speak of, in their order.
struct ResizedAxes {
  int count = 0;
  int axes[kMaxRank] = {};
};

Status read_resized_axes(const InferContext& context, int rank, ResizedAxes* resized) {
  IntList list;
  QUENCH_RETURN_IF_ERROR(read_attribute(context, "axes", &list));
  bool marked[kMaxRank] = {};
  QUENCH_RETURN_IF_ERROR(mark_axes(list, rank, marked));
  resized->count = list.present ? list.count : rank;
  for (int i = 0; i < resized->count; ++i) {
    resized->axes[i] = i;
    if (list.present) QUENCH_RETURN_IF_ERROR(normalize_axis(list[i], rank, &resized->axes[i]));
  }
  return Status();
}

Status resize_by_scales(const ResizedAxes& resized, const float* scales, Shape* shape, ResizeState* state) {
  for (int i = 0; i < resized.count; ++i) {
    const int axis = resized.axes[i];
    state->scale[axis] = scales[i];
    QUENCH_RETURN_IF_ERROR(scale_axis((*shape)[axis], scales[i], &(*shape)[axis]));
  }
  return Status();
}

Status resize_by_sizes(const ResizedAxes& resized, const IntList& sizes, Shape* shape, ResizeState* state) {
  if (sizes.count != resized.count) {
    return Status::error(StatusCode::kShape, "there are %d sizes for %d axes", sizes.count, resized.count);
  }
  for (int i = 0; i < resized.count; ++i) {
    const int axis = resized.axes[i];
    if (sizes[i] < 0) return Status::error(StatusCode::kShape, "size %d is negative", i);
    state->scale[axis] = static_cast<float>(sizes[i]) / static_cast<float>((*shape)[axis]);
    (*shape)[axis] = sizes[i];
  }
  return Status();
}

Status read_region(InferContext& context, const ResizedAxes& resized, ResizeState* state) {
  float region[2 * kMaxRank] = {};
  if (state->how.transformation != Transformation::kTfCropAndResize) return Status();
  QUENCH_RETURN_IF_ERROR(read_floats(context, 1, 2 * resized.count, region));
  for (int i = 0; i < resized.count; ++i) {
    state->crop_begin[resized.axes[i]] = region[i];
    state->crop_end[resized.axes[i]] = region[resized.count + i];
  }
  return Status();
}

Status finish_resize(InferContext& context, const Shape& shape, const ResizeState& state) {
  const Shape& x = context.input(0)->shape;
  if (state.how.mode != Mode::kNearest && context.input(0)->type != ElementType::kFloat32) {
    return Status::error(StatusCode::kUnsupportedType, "input 0 has type %s", name_of(context.input(0)->type));
  }
  QUENCH_RETURN_IF_ERROR(context.set_output(0, context.input(0)->type, shape));
  int64_t coordinates = 0;
  for (int axis = 0; axis < shape.rank; ++axis) {
    if (x[axis] == 0 && shape[axis] > 0) return Status::error(StatusCode::kShape, "axis %d has no elements", axis);
    // set_output allows 2^62 bytes in all, except along axes beside an empty one.
    if (shape[axis] > (int64_t{1} << 40)) return Status::error(StatusCode::kShape, "axis %d is too long", axis);
    coordinates += shape[axis];
  }
  context.set_scratch(coordinates * static_cast<int64_t>(sizeof(Taps)));
  return Status();
}

// Upsample before version 9, scales as an attribute.
Status infer_upsample_attribute(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  Shape shape = context.input(0)->shape;
  ResizeState& state = context.state<ResizeState>();
  QUENCH_RETURN_IF_ERROR(operators::read_resampling(context.attributes().view(), context.opset(), &state.how));
  const std::span<const float> scales = context.attributes().get_floats("scales");
  ResizedAxes resized;
  QUENCH_RETURN_IF_ERROR(read_resized_axes(context, shape.rank, &resized));
  if (scales.size() != static_cast<size_t>(resized.count)) {
    return Status::error(StatusCode::kShape, "there are %zu scales for %d axes", scales.size(), resized.count);
  }
  QUENCH_RETURN_IF_ERROR(resize_by_scales(resized, scales.data(), &shape, &state));
  return finish_resize(context, shape, state);
}

// X, scales
Status infer_resize_10(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  Shape shape = context.input(0)->shape;
  ResizeState& state = context.state<ResizeState>();
  QUENCH_RETURN_IF_ERROR(operators::read_resampling(context.attributes().view(), context.opset(), &state.how));
  ResizedAxes resized;
  QUENCH_RETURN_IF_ERROR(read_resized_axes(context, shape.rank, &resized));
  float scales[kMaxRank] = {};
  QUENCH_RETURN_IF_ERROR(read_floats(context, 1, resized.count, scales));
  QUENCH_RETURN_IF_ERROR(resize_by_scales(resized, scales, &shape, &state));
  return finish_resize(context, shape, state);
}

// X, roi, scales, sizes; of scales and sizes one has elements.
Status infer_resize(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 4, kAllTypes));
  Shape shape = context.input(0)->shape;
  ResizeState& state = context.state<ResizeState>();
  QUENCH_RETURN_IF_ERROR(operators::read_resampling(context.attributes().view(), context.opset(), &state.how));
  ResizedAxes resized;
  QUENCH_RETURN_IF_ERROR(read_resized_axes(context, shape.rank, &resized));
  for (int axis = 0; axis < shape.rank; ++axis) {
    state.scale[axis] = 1;
    state.crop_begin[axis] = 0;
    state.crop_end[axis] = 1;
  }
  QUENCH_RETURN_IF_ERROR(read_region(context, resized, &state));
  if (has_elements(context, 3)) {
    IntList sizes;
    QUENCH_RETURN_IF_ERROR(read_input(context, 3, &sizes));
    QUENCH_RETURN_IF_ERROR(resize_by_sizes(resized, sizes, &shape, &state));
  } else if (has_elements(context, 2)) {
    float scales[kMaxRank] = {};
    QUENCH_RETURN_IF_ERROR(read_floats(context, 2, resized.count, scales));
    QUENCH_RETURN_IF_ERROR(resize_by_scales(resized, scales, &shape, &state));
  } else if (shape.rank > 0) {
    return Status::error(StatusCode::kInvalidArgument, "neither scales nor sizes are given");
  }
  return finish_resize(context, shape, state);
}

int64_t clamp_coordinate(int64_t x, int64_t size) { return x < 0 ? 0 : x >= size ? size - 1 : x; }

Taps linear_taps(const Coordinate& x, int64_t size) {
  Taps taps = {};
  taps.coordinate[0] = clamp_coordinate(x.whole, size);
  taps.coordinate[1] = clamp_coordinate(taps.coordinate[0] + 1, size);
  taps.weight[1] = x.whole == taps.coordinate[0] && x.whole + 1 < size ? x.fraction : 0;
  taps.weight[0] = 1 - taps.weight[1];
  return taps;
}

// Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981.
Taps cubic_taps(const ResizeState& state, const Coordinate& x, int64_t size) {
  const float t = x.fraction;
  const float a = state.how.cubic_a;
  const auto near = [a](float s) { return ((a + 2) * s - (a + 3)) * s * s + 1; };
  const auto far = [a](float s) { return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a; };
  Taps taps = {};
  taps.weight[0] = far(1 + t);
  taps.weight[1] = near(t);
  taps.weight[2] = near(1 - t);
  taps.weight[3] = far(2 - t);
  float sum = 0;
  for (int k = 0; k < 4; ++k) {
    const int64_t coordinate = x.whole + k - 1;
    if (state.how.excludes_outside && (coordinate < 0 || coordinate >= size)) taps.weight[k] = 0;
    taps.coordinate[k] = clamp_coordinate(coordinate, size);
    sum += taps.weight[k];
  }
  for (int k = 0; state.how.excludes_outside && k < 4; ++k) taps.weight[k] /= sum;
  return taps;
}

Taps make_taps(const ResizeState& state, const AxisSampling& sampling, int axis, int64_t at, int64_t in_size,
               int64_t out_size) {
  // An axis that stays as it is takes no part, whatever the transformation.
  const bool stays =
      in_size == out_size && state.scale[axis] == 1 && state.how.transformation != Transformation::kTfCropAndResize;
  Taps taps = {};
  if (stays) {
    taps.coordinate[0] = at;
    taps.weight[0] = 1;
    return taps;
  }
  const Coordinate x = sampling.at(at);
  switch (state.how.mode) {
    case Mode::kNearest:
      taps.coordinate[0] = clamp_coordinate(operators::nearest(state.how.rounding, x, state.scale[axis]), in_size);
      taps.weight[0] = 1;
      break;
    case Mode::kLinear:
      taps = linear_taps(x, in_size);
      break;
    case Mode::kCubic:
      taps = cubic_taps(state, x, in_size);
      break;
  }
  taps.outside = state.how.transformation == Transformation::kTfCropAndResize &&
                 (x.whole < 0 || x.whole >= in_size || (x.whole == in_size - 1 && !x.is_whole));
  return taps;
}

// One axis during the run, outermost in memory first.
struct Axis {
  int64_t size;
  int64_t step;  // in the input
  const Taps* taps;
  int count;   // taps per coordinate; 1 for an axis that stays
  bool stays;  // every coordinate takes itself, with a step of 1
};

struct Axes {
  int rank;
  Axis axes[kMaxRank];
};

Axes prepare_axes(RunContext& context, const ResizeState& state) {
  const Tensor& source = *context.input(0);
  const Tensor& target = *context.output(0);
  int64_t strides[kMaxRank] = {};
  compute_strides(source.shape, source.layout, strides);
  int order[kMaxRank] = {};
  memory_order(target, order);
  Taps* taps = static_cast<Taps*>(context.scratch());
  Axes axes = {};
  axes.rank = source.shape.rank;
  for (int i = 0; i < axes.rank; ++i) {
    const int axis = order[i];
    const int64_t in_size = source.shape[axis];
    const int64_t out_size = target.shape[axis];
    bool one_tap = true;
    bool stays = strides[axis] == 1;
    const AxisSampling sampling(state.how.transformation,
                                {in_size, out_size, state.scale[axis], state.crop_begin[axis], state.crop_end[axis]});
    for (int64_t at = 0; at < out_size; ++at) {
      taps[at] = make_taps(state, sampling, axis, at, in_size, out_size);
      one_tap = one_tap && taps[at].weight[0] == 1;
      stays = stays && one_tap && taps[at].coordinate[0] == at && !taps[at].outside;
    }
    axes.axes[i] = {out_size, strides[axis], taps, one_tap ? 1 : taps_of(state.how.mode), stays};
    taps += out_size;
  }
  return axes;
}

// y[i] += weight * what output i of the innermost axis takes from the row at x.
void add_row(const Axis& axis, const float* x, float weight, float* y) {
  if (axis.stays) {
    for (int64_t i = 0; i < axis.size; ++i) y[i] += weight * x[i];
    return;
  }
  for (int64_t i = 0; i < axis.size; ++i) {
    const Taps& taps = axis.taps[i];
    for (int k = 0; k < axis.count; ++k) {
      // Not 0 * x, which is no 0 for an infinite x. One product after the other, so that both layouts round alike.
      if (taps.weight[k] != 0) y[i] += weight * taps.weight[k] * x[taps.coordinate[k] * axis.step];
    }
  }
}

// Adds the rows that row `at` of the outputs takes, weighted; from `axis` on.
void add_rows(const Axes& axes, int axis, const int64_t* at, const float* x, float weight, float* y) {
  const Axis& here = axes.axes[axis];
  if (axis == axes.rank - 1) return add_row(here, x, weight, y);
  const Taps& taps = here.taps[at[axis]];
  for (int k = 0; k < here.count; ++k) {
    if (taps.weight[k] == 0) continue;
    add_rows(axes, axis + 1, at, x + taps.coordinate[k] * here.step, weight * taps.weight[k], y);
  }
}

void resize_float_row(const Axes& axes, int64_t row, float outside_value, const float* x, float* y) {
  const Axis& inner = axes.axes[axes.rank - 1];
  int64_t at[kMaxRank];
  bool outside = false;
  for (int i = axes.rank - 2; i >= 0; --i) {
    at[i] = row % axes.axes[i].size;
    row /= axes.axes[i].size;
    outside = outside || axes.axes[i].taps[at[i]].outside;
  }
  for (int64_t i = 0; i < inner.size; ++i) y[i] = outside ? outside_value : 0;
  if (outside) return;
  add_rows(axes, 0, at, x, 1, y);
  for (int64_t i = 0; i < inner.size; ++i) {
    if (inner.taps[i].outside) y[i] = outside_value;
  }
}

template <typename T>
void gather_nearest_row(const Axes& axes, int64_t row, const T* x, T* y) {
  const Axis& inner = axes.axes[axes.rank - 1];
  for (int i = axes.rank - 2; i >= 0; --i) {
    const Axis& axis = axes.axes[i];
    x += axis.taps[row % axis.size].coordinate[0] * axis.step;
    row /= axis.size;
  }
  if (inner.stays) {
    std::memcpy(y, x, static_cast<size_t>(inner.size) * sizeof(T));
    return;
  }
  for (int64_t i = 0; i < inner.size; ++i) y[i] = x[inner.taps[i].coordinate[0] * inner.step];
}

// Calls function(row, input, row of outputs) for every row along the innermost axis.
template <typename T, typename Function>
void for_each_row(const RunContext& context, const Axes& axes, const Function& function) {
  const T* x = context.input(0)->as<T>();
  T* y = context.output(0)->as<T>();
  if (context.output(0)->elements() == 0) return;
  const int64_t size = axes.axes[axes.rank - 1].size;
  context.parallel_for(context.output(0)->elements() / size, kParallelGrain / 4 / size + 1,
                       [&](int64_t begin, int64_t end, int) {
                         for (int64_t row = begin; row < end; ++row) function(row, x, y + row * size);
                       });
}

// Of any type.
template <typename T>
void gather_nearest(const RunContext& context, const Axes& axes) {
  for_each_row<T>(context, axes, [&](int64_t row, const T* x, T* y) { gather_nearest_row(axes, row, x, y); });
}

Status run_resize(RunContext& context) {
  const ResizeState& state = context.state<ResizeState>();
  const ElementType type = context.input(0)->type;
  if (context.input(0)->shape.rank == 0) {
    std::memcpy(context.output(0)->data, context.input(0)->data, size_of(type));
    return Status();
  }
  const Axes axes = prepare_axes(context, state);
  const bool crops = state.how.transformation == Transformation::kTfCropAndResize;
  if (state.how.mode != Mode::kNearest || (crops && type == ElementType::kFloat32)) {
    for_each_row<float>(context, axes, [&](int64_t row, const float* x, float* y) {
      resize_float_row(axes, row, state.how.outside_value, x, y);
    });
    return Status();
  }
  switch (size_of(type)) {
    case 1:
      gather_nearest<uint8_t>(context, axes);
      break;
    case 2:
      gather_nearest<uint16_t>(context, axes);
      break;
    case 4:
      gather_nearest<uint32_t>(context, axes);
      break;
    default:
      gather_nearest<uint64_t>(context, axes);
  }
  return Status();
}

constexpr Kernel resizing(const char* op, int since, int until, Status (*infer)(InferContext&)) {
  return {.op = op,
          .since_version = since,
          .until_version = until,
          .infer = infer,
          .run = run_resize,
          .state_bytes = sizeof(ResizeState),
          .layout = LayoutRule::kFollows,
          .layout_inputs = 0b1};
}

constexpr Kernel kKernels[] = {
    resizing("Upsample", 7, 8, infer_upsample_attribute),
    resizing("Upsample", 9, 9, infer_resize_10),
    resizing("Resize", 10, 10, infer_resize_10),
    resizing("Resize", 11, 1 << 30, infer_resize),
};

}  // namespace

std::span<const Kernel> resize_kernels() { return kKernels; }

}  // namespace quench::rt
