// Operators that move elements of any type without looking at them: Transpose, Concat, Split, Slice, Pad, Expand, Tile,
// CenterCropPad, DepthToSpace, SpaceToDepth, Trilu, ReverseSequence.

#include <cstring>
#include <limits>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

uint8_t* at_element(const Tensor& tensor, int64_t element) {
  return static_cast<uint8_t*>(tensor.data) + element * size_of(tensor.type);
}

// Strides of a tensor as it lies in memory.
struct Strides {
  int64_t values[kMaxRank] = {};

  explicit Strides(const Tensor& tensor) { compute_strides(tensor.shape, tensor.layout, values); }
  int64_t operator[](int axis) const { return values[axis]; }
};

// A loop over `shape` in the memory order of `ordered`, a tensor of the same rank.
StridedLoop<2> copy_loop(const Shape& shape, const Tensor& ordered, const int64_t* target, const int64_t* source) {
  int order[kMaxRank];
  memory_order(ordered, order);
  StridedLoop<2> loop;
  for (int i = 0; i < shape.rank; ++i) loop.add_axis(shape[order[i]], {target[order[i]], source[order[i]]});
  loop.finish();
  return loop;
}

// Transpose

struct TransposeState {
  int permutation[kMaxRank];
};

Status infer_transpose(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  const Shape& x = context.input(0)->shape;
  IntList perm;
  QUENCH_RETURN_IF_ERROR(read_attribute(context, "perm", &perm));
  if (perm.present && perm.count != x.rank) {
    return Status::error(StatusCode::kShape, "perm has %d axes, input 0 %d", perm.count, x.rank);
  }
  bool used[kMaxRank] = {};
  QUENCH_RETURN_IF_ERROR(mark_axes(perm, x.rank, used));
  Shape shape;
  shape.rank = x.rank;
  for (int axis = 0; axis < x.rank; ++axis) {
    int from = x.rank - 1 - axis;
    if (perm.present) QUENCH_RETURN_IF_ERROR(normalize_axis(perm[axis], x.rank, &from));
    context.state<TransposeState>().permutation[axis] = from;
    shape[axis] = x[from];
  }
  return context.set_output(0, context.input(0)->type, shape);
}

Status run_transpose(RunContext& context) {
  const Tensor& source = *context.input(0);
  const Tensor& target = *context.output(0);
  const Strides from(source);
  int64_t turned[kMaxRank] = {};
  for (int axis = 0; axis < source.shape.rank; ++axis) {
    turned[axis] = from[context.state<TransposeState>().permutation[axis]];
  }
  copy_strided(context, copy_loop(target.shape, target, Strides(target).values, turned), size_of(source.type),
               target.data, source.data);
  return Status();
}

// Concat and Split

struct AxisState {
  int axis;
};

Status infer_concat(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, std::numeric_limits<int>::max(), kAllTypes));
  Shape shape = context.input(0)->shape;
  int& axis = context.state<AxisState>().axis;
  // Before version 4 the axis had a default.
  const int64_t wanted = context.attributes().get_int("axis", 1);
  QUENCH_RETURN_IF_ERROR(normalize_axis(wanted, shape.rank, &axis));
  for (int index = 1; index < context.inputs(); ++index) {
    QUENCH_RETURN_IF_ERROR(check_same_type(context, index));
    Shape other = context.input(index)->shape;
    const int64_t size = axis < other.rank ? other[axis] : 0;
    other[axis] = shape[axis];
    if (!(other == shape)) {
      return Status::error(StatusCode::kShape, "input %d does not have input 0's shape outside axis %d", index, axis);
    }
    if (size > (int64_t{1} << 62) - shape[axis]) return Status::error(StatusCode::kShape, "the output is too large");
    shape[axis] += size;
    if (!shape.valid()) return Status::error(StatusCode::kShape, "the output is too large");
  }
  return context.set_output(0, context.input(0)->type, shape);
}

Status run_concat(RunContext& context) {
  const Tensor& target = *context.output(0);
  const Strides to(target);
  const int axis = context.state<AxisState>().axis;
  int64_t offset = 0;
  for (int index = 0; index < context.inputs(); ++index) {
    const Tensor& source = *context.input(index);
    if (source.elements() == 0) continue;
    copy_strided(context, copy_loop(source.shape, target, to.values, Strides(source).values), size_of(source.type),
                 at_element(target, offset * to[axis]), source.data);
    offset += source.shape[axis];
  }
  return Status();
}

// The lengths of Split's parts: an attribute before version 13, an input since then, or none: equal parts.
std::span<const int64_t> part_lengths(const NodeContext& context, const Tensor* input) {
  if (!input) return context.attributes().get_ints("split");
  return {input->as<int64_t>(), static_cast<size_t>(input->elements())};
}

// The length of part `index` of an axis of `size`. The last of equal parts may be smaller.
int64_t part_length(const NodeContext& context, int64_t size, std::span<const int64_t> lengths, int index) {
  if (!lengths.empty()) return lengths[static_cast<size_t>(index)];
  if (size == 0) return 0;
  const int64_t each = (size - 1) / context.outputs() + 1;
  const int64_t left = size / each < index ? 0 : size - each * index;
  return left < each ? left : each;
}

Status infer_split(InferContext& context) {
  // Unlike elsewhere, the first output may be one that nobody wants.
  if (context.inputs() < 1 || context.inputs() > 2 || context.outputs() < 1) {
    return Status::error(StatusCode::kInvalidArgument, "takes 1 or 2 inputs and has outputs");
  }
  QUENCH_RETURN_IF_ERROR(check_type(context, 0, kAllTypes));
  Shape shape = context.input(0)->shape;
  int& axis = context.state<AxisState>().axis;
  QUENCH_RETURN_IF_ERROR(normalize_axis(context.attributes().get_int("axis", 0), shape.rank, &axis));
  const int64_t size = shape[axis];
  if (context.input(1)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, 1, type_set(ElementType::kInt64)));
    if (!context.value(1)) return context.needs_value(1);
  }
  const std::span<const int64_t> lengths = part_lengths(context, context.input(1) ? context.value(1) : nullptr);
  if (!lengths.empty() && lengths.size() != static_cast<size_t>(context.outputs())) {
    return Status::error(StatusCode::kShape, "%zu parts for %d outputs", lengths.size(), context.outputs());
  }
  if (lengths.empty() && context.opset() < 18 && size % context.outputs() != 0) {
    return Status::error(StatusCode::kShape, "%lld elements do not split into %d equal parts",
                         static_cast<long long>(size), context.outputs());
  }
  int64_t left = size;
  for (int index = 0; index < context.outputs(); ++index) {
    shape[axis] = part_length(context, size, lengths, index);
    if (shape[axis] < 0 || shape[axis] > left) {
      return Status::error(StatusCode::kShape, "part %d has %lld elements", index, static_cast<long long>(shape[axis]));
    }
    left -= shape[axis];
    QUENCH_RETURN_IF_ERROR(context.set_output(index, context.input(0)->type, shape));
  }
  return left == 0 ? Status() : Status::error(StatusCode::kShape, "the parts are shorter than the axis");
}

Status run_split(RunContext& context) {
  const Tensor& source = *context.input(0);
  const Strides from(source);
  const int axis = context.state<AxisState>().axis;
  const std::span<const int64_t> lengths = part_lengths(context, context.input(1));
  int64_t offset = 0;
  for (int index = 0; index < context.outputs(); ++index) {
    const Tensor* target = context.output(index);
    if (target && target->elements() > 0) {
      copy_strided(context, copy_loop(target->shape, *target, Strides(*target).values, from.values),
                   size_of(source.type), target->data, at_element(source, offset * from[axis]));
    }
    offset += part_length(context, source.shape[axis], lengths, index);
  }
  return Status();
}

// Slice

struct SliceState {
  int64_t start[kMaxRank];
  int64_t step[kMaxRank];
};

int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

// Elements of an axis of `size` that start, end and step select, as in Python; sets `start` to the first.
int64_t slice_length(int64_t size, int64_t* start, int64_t end, int64_t step) {
  // The limits of clamping keep the sums below from overflowing.
  const int64_t far = size + 1;
  int64_t first = clamp(*start, -far, far);
  int64_t last = clamp(end, -far, far);
  if (first < 0) first += size;
  if (last < 0) last += size;
  if (step > 0) {
    first = clamp(first, 0, size);
    last = clamp(last, 0, size);
  } else {
    first = clamp(first, -1, size - 1);
    last = clamp(last, -1, size - 1);
  }
  *start = first;
  const int64_t distance = step > 0 ? last - first : first - last;
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
  return distance <= 0 ? 0 : static_cast<int64_t>((static_cast<uint64_t>(distance) - 1) / stride) + 1;
}

struct SliceArguments {
  IntList starts;
  IntList ends;
  IntList axes;
  IntList steps;
};

Status read_slice_arguments(InferContext& context, SliceArguments* arguments) {
  if (context.opset() < 10) {
    QUENCH_RETURN_IF_ERROR(read_attribute(context, "starts", &arguments->starts));
    QUENCH_RETURN_IF_ERROR(read_attribute(context, "ends", &arguments->ends));
    QUENCH_RETURN_IF_ERROR(read_attribute(context, "axes", &arguments->axes));
  } else {
    QUENCH_RETURN_IF_ERROR(read_input(context, 1, &arguments->starts));
    QUENCH_RETURN_IF_ERROR(read_input(context, 2, &arguments->ends));
    QUENCH_RETURN_IF_ERROR(read_input(context, 3, &arguments->axes));
    QUENCH_RETURN_IF_ERROR(read_input(context, 4, &arguments->steps));
  }
  const int count = arguments->starts.count;
  if (!arguments->starts.present || arguments->ends.count != count ||
      (arguments->axes.present && arguments->axes.count != count) ||
      (arguments->steps.present && arguments->steps.count != count)) {
    return Status::error(StatusCode::kShape, "starts, ends, axes and steps are not of one length");
  }
  if (!arguments->axes.present) {
    for (int i = 0; i < count; ++i) arguments->axes.values[i] = i;
    arguments->axes.count = count;
  }
  return Status();
}

Status infer_slice(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 5, kAllTypes));
  Shape shape = context.input(0)->shape;
  SliceArguments arguments;
  QUENCH_RETURN_IF_ERROR(read_slice_arguments(context, &arguments));
  bool cut[kMaxRank] = {};
  QUENCH_RETURN_IF_ERROR(mark_axes(arguments.axes, shape.rank, cut));
  SliceState& state = context.state<SliceState>();
  for (int axis = 0; axis < shape.rank; ++axis) {
    state.start[axis] = 0;
    state.step[axis] = 1;
  }
  for (int i = 0; i < arguments.starts.count; ++i) {
    int axis = 0;
    QUENCH_RETURN_IF_ERROR(normalize_axis(arguments.axes[i], shape.rank, &axis));
    state.start[axis] = arguments.starts[i];
    const int64_t step = arguments.steps.present ? arguments.steps[i] : 1;
    if (step == 0) return Status::error(StatusCode::kInvalidArgument, "a step is 0");
    const int64_t size = shape[axis];
    shape[axis] = slice_length(size, &state.start[axis], arguments.ends[i], step);
    // A step beyond the axis is never taken; cutting it short keeps offsets in range.
    state.step[axis] = clamp(step, -size - 1, size + 1);
  }
  return context.set_output(0, context.input(0)->type, shape);
}

Status run_slice(RunContext& context) {
  const Tensor& source = *context.input(0);
  const Tensor& target = *context.output(0);
  if (target.elements() == 0) return Status();
  const SliceState& state = context.state<SliceState>();
  const Strides from(source);
  int64_t first = 0;
  int64_t steps[kMaxRank] = {};
  for (int axis = 0; axis < source.shape.rank; ++axis) {
    first += state.start[axis] * from[axis];
    steps[axis] = target.shape[axis] > 1 ? state.step[axis] * from[axis] : 0;
  }
  copy_strided(context, copy_loop(target.shape, target, Strides(target).values, steps), size_of(source.type),
               target.data, at_element(source, first));
  return Status();
}

// Pad

enum class PadMode : int32_t { kConstant, kReflect, kEdge, kWrap };

struct PadState {
  PadMode mode;
  float value;              // before version 11
  int64_t begin[kMaxRank];  // elements before the input; negative ones are cut off
};

Status read_pad_mode(const InferContext& context, PadMode* mode) {
  const std::string_view name = context.attributes().get_string("mode", "constant");
  if (name == "constant") {
    *mode = PadMode::kConstant;
  } else if (name == "reflect") {
    *mode = PadMode::kReflect;
  } else if (name == "edge") {
    *mode = PadMode::kEdge;
  } else if (name == "wrap") {
    *mode = PadMode::kWrap;
  } else {
    return Status::error(StatusCode::kInvalidArgument, "mode is '%.*s'", static_cast<int>(name.size()), name.data());
  }
  return Status();
}

Status read_pads(InferContext& context, IntList* pads, IntList* axes) {
  if (context.opset() < 11) {
    // Version 1 had another name for it.
    return read_attribute(context, context.attributes().has("pads") ? "pads" : "paddings", pads);
  }
  QUENCH_RETURN_IF_ERROR(read_input(context, 1, pads));
  return read_input(context, 3, axes);
}

Status infer_pad(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 4, kAllTypes));
  Shape shape = context.input(0)->shape;
  PadState& state = context.state<PadState>();
  QUENCH_RETURN_IF_ERROR(read_pad_mode(context, &state.mode));
  state.value = context.attributes().get_float("value", 0);
  if (context.opset() < 11 && context.input(0)->type != ElementType::kFloat32) {
    return Status::error(StatusCode::kUnsupportedType, "input 0 has type %s", name_of(context.input(0)->type));
  }
  if (context.opset() >= 11 && context.input(2)) {
    QUENCH_RETURN_IF_ERROR(check_same_type(context, 2));
    if (context.input(2)->elements() != 1) return Status::error(StatusCode::kShape, "input 2 is no scalar");
  }
  IntList pads;
  IntList axes;
  QUENCH_RETURN_IF_ERROR(read_pads(context, &pads, &axes));
  const int count = axes.present ? axes.count : shape.rank;
  bool padded[kMaxRank] = {};
  QUENCH_RETURN_IF_ERROR(mark_axes(axes, shape.rank, padded));
  if (!pads.present || pads.count != 2 * count) {
    return Status::error(StatusCode::kShape, "there are %d pads for %d axes", pads.count, count);
  }
  constexpr int64_t kLargest = int64_t{1} << 40;
  for (int i = 0; i < count; ++i) {
    int axis = i;
    if (axes.present) QUENCH_RETURN_IF_ERROR(normalize_axis(axes[i], shape.rank, &axis));
    const int64_t size = shape[axis];
    const int64_t begin = pads[i];
    const int64_t end = pads[count + i];
    if (begin < -kLargest || begin > kLargest || end < -kLargest || end > kLargest || size + begin + end < 0) {
      return Status::error(StatusCode::kShape, "pads %lld and %lld do not fit an axis of %lld elements",
                           static_cast<long long>(begin), static_cast<long long>(end), static_cast<long long>(size));
    }
    state.begin[axis] = begin;
    shape[axis] = size + begin + end;
    if (state.mode != PadMode::kConstant && size == 0 && shape[axis] > 0) {
      return Status::error(StatusCode::kShape, "an axis without elements is padded with its own");
    }
  }
  return context.set_output(0, context.input(0)->type, shape);
}

// CenterCropPad is a Pad: it cuts off or adds as much in front as behind, or one element more behind.
Status infer_center_crop_pad(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  Shape shape = context.input(0)->shape;
  IntList sizes;
  IntList axes;
  QUENCH_RETURN_IF_ERROR(read_input(context, 1, &sizes));
  QUENCH_RETURN_IF_ERROR(read_attribute(context, "axes", &axes));
  const int count = axes.present ? axes.count : shape.rank;
  bool marked[kMaxRank] = {};
  QUENCH_RETURN_IF_ERROR(mark_axes(axes, shape.rank, marked));
  if (sizes.count != count) return Status::error(StatusCode::kShape, "%d sizes for %d axes", sizes.count, count);
  for (int i = 0; i < count; ++i) {
    int axis = i;
    if (axes.present) QUENCH_RETURN_IF_ERROR(normalize_axis(axes[i], shape.rank, &axis));
    if (sizes[i] < 0) return Status::error(StatusCode::kShape, "size %d is negative", i);
    context.state<PadState>().begin[axis] = (sizes[i] - shape[axis]) / 2;
    shape[axis] = sizes[i];
  }
  return context.set_output(0, context.input(0)->type, shape);
}

template <typename T>
void fill_elements(const RunContext& context, void* target, int64_t count, const void* value) {
  T pattern;
  memcpy(&pattern, value, sizeof(T));
  context.parallel_for(count, kParallelGrain, [=](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) static_cast<T*>(target)[i] = pattern;
  });
}

void fill(const RunContext& context, const Tensor& target, const void* value) {
  const int64_t count = target.elements();
  switch (size_of(target.type)) {
    case 1:
      return fill_elements<uint8_t>(context, target.data, count, value);
    case 2:
      return fill_elements<uint16_t>(context, target.data, count, value);
    case 4:
      return fill_elements<uint32_t>(context, target.data, count, value);
    default:
      return fill_elements<uint64_t>(context, target.data, count, value);
  }
}

// Fills the output with the value and copies over it the part of the input that stays.
void pad_constant(const RunContext& context, const PadState& state) {
  const Tensor& source = *context.input(0);
  const Tensor& target = *context.output(0);
  const int64_t zero = 0;
  const void* value = &zero;
  if (context.opset() < 11) {
    value = &state.value;
  } else if (context.input(2)) {
    value = context.input(2)->data;
  }
  fill(context, target, value);
  const Strides from(source);
  const Strides to(target);
  Shape kept = source.shape;
  int64_t source_offset = 0;
  int64_t target_offset = 0;
  for (int axis = 0; axis < kept.rank; ++axis) {
    const int64_t begin = state.begin[axis];
    const int64_t first = begin < 0 ? -begin : 0;
    const int64_t placed = begin > 0 ? begin : 0;
    const int64_t in_source = source.shape[axis] - first;
    const int64_t in_target = target.shape[axis] - placed;
    kept[axis] = in_source < in_target ? in_source : in_target;
    if (kept[axis] <= 0) return;
    source_offset += first * from[axis];
    target_offset += placed * to[axis];
  }
  copy_strided(context, copy_loop(kept, target, to.values, from.values), size_of(source.type),
               at_element(target, target_offset), at_element(source, source_offset));
}

// The input coordinate that output coordinate `at` shows.
int64_t padded_coordinate(PadMode mode, int64_t at, int64_t size) {
  if (mode == PadMode::kEdge) return clamp(at, 0, size - 1);
  const int64_t period = mode == PadMode::kWrap ? size : size > 1 ? 2 * (size - 1) : 1;
  int64_t inside = at % period;
  if (inside < 0) inside += period;
  return inside < size ? inside : period - inside;
}

void pad_with_own(const RunContext& context, const PadState& state) {
  const Tensor& source = *context.input(0);
  const Tensor& target = *context.output(0);
  const Strides from(source);
  const int rank = target.shape.rank;
  const int64_t bytes = size_of(source.type);
  int order[kMaxRank];
  memory_order(target, order);
  context.parallel_for(target.elements(), kParallelGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t element = begin; element < end; ++element) {
      int64_t rest = element;
      int64_t offset = 0;
      for (int i = rank - 1; i >= 0; --i) {
        const int axis = order[i];
        const int64_t at = rest % target.shape[axis] - state.begin[axis];
        rest /= target.shape[axis];
        offset += padded_coordinate(state.mode, at, source.shape[axis]) * from[axis];
      }
      memcpy(at_element(target, element), at_element(source, offset), static_cast<size_t>(bytes));
    }
  });
}

Status run_pad(RunContext& context) {
  const PadState& state = context.state<PadState>();
  if (state.mode == PadMode::kConstant) {
    pad_constant(context, state);
  } else {
    pad_with_own(context, state);
  }
  return Status();
}

// Expand and Tile

Status infer_expand(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  IntList sizes;
  QUENCH_RETURN_IF_ERROR(read_input(context, 1, &sizes));
  if (sizes.count > kMaxRank) return Status::error(StatusCode::kLimit, "a shape of rank %d", sizes.count);
  Shape wanted;
  wanted.rank = sizes.count;
  for (int axis = 0; axis < wanted.rank; ++axis) wanted[axis] = sizes[axis];
  Shape shape;
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(context.input(0)->shape, wanted, &shape));
  return context.set_output(0, context.input(0)->type, shape);
}

Status run_expand(RunContext& context) {
  const Tensor& target = *context.output(0);
  copy_strided(context, broadcast_loop<2>(target, {&target, context.input(0)}), size_of(target.type), target.data,
               context.input(0)->data);
  return Status();
}

Status infer_tile(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  IntList repeats;
  QUENCH_RETURN_IF_ERROR(read_input(context, 1, &repeats));
  Shape shape = context.input(0)->shape;
  if (repeats.count != shape.rank) {
    return Status::error(StatusCode::kShape, "%d repeats for %d axes", repeats.count, shape.rank);
  }
  for (int axis = 0; axis < shape.rank; ++axis) {
    if (repeats[axis] < 0 || (shape[axis] > 0 && repeats[axis] > (int64_t{1} << 62) / shape[axis])) {
      return Status::error(StatusCode::kShape, "repeats along axis %d are %lld", axis,
                           static_cast<long long>(repeats[axis]));
    }
    shape[axis] *= repeats[axis];
  }
  return context.set_output(0, context.input(0)->type, shape);
}

// Each axis becomes two: the repetition, in which the input stands still, and the axis itself.
Status run_tile(RunContext& context) {
  const Tensor& source = *context.input(0);
  const Tensor& target = *context.output(0);
  if (target.elements() == 0) return Status();
  const Strides from(source);
  const Strides to(target);
  StridedLoop<2> loop;
  for (int axis = 0; axis < source.shape.rank; ++axis) {
    loop.add_axis(target.shape[axis] / source.shape[axis], {to[axis] * source.shape[axis], 0});
    loop.add_axis(source.shape[axis], {to[axis], from[axis]});
  }
  loop.finish();
  copy_strided(context, loop, size_of(source.type), target.data, source.data);
  return Status();
}

// DepthToSpace and SpaceToDepth: one large tensor N x C x (H * block) x (W * block) against a deep one
// N x (C * block^2) x H x W, whose channels are (row in block, column in block, C), or (C, row, column) in CRD mode.

struct BlockState {
  int64_t block;
  bool channel_first;
};

Status read_block(const InferContext& context, BlockState* state) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  if (context.input(0)->shape.rank != 4) {
    return Status::error(StatusCode::kShape, "input 0 has rank %d, not 4", context.input(0)->shape.rank);
  }
  state->block = context.attributes().get_int("blocksize", 0);
  if (state->block < 1 || state->block > (int64_t{1} << 20)) {
    return Status::error(StatusCode::kInvalidArgument, "blocksize is %lld", static_cast<long long>(state->block));
  }
  return Status();
}

Status infer_depth_to_space(InferContext& context) {
  BlockState& state = context.state<BlockState>();
  QUENCH_RETURN_IF_ERROR(read_block(context, &state));
  const std::string_view mode = context.attributes().get_string("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") return Status::error(StatusCode::kInvalidArgument, "mode is neither DCR nor CRD");
  state.channel_first = mode == "CRD";
  const Shape& x = context.input(0)->shape;
  if (x[1] % (state.block * state.block) != 0) {
    return Status::error(StatusCode::kShape, "%lld channels do not split into blocks", static_cast<long long>(x[1]));
  }
  constexpr int64_t kLargest = int64_t{1} << 40;
  if (x[2] > kLargest || x[3] > kLargest) return Status::error(StatusCode::kShape, "the image is too large");
  return context.set_output(0, context.input(0)->type,
                            {x[0], x[1] / (state.block * state.block), x[2] * state.block, x[3] * state.block});
}

Status infer_space_to_depth(InferContext& context) {
  BlockState& state = context.state<BlockState>();
  QUENCH_RETURN_IF_ERROR(read_block(context, &state));
  state.channel_first = false;
  const Shape& x = context.input(0)->shape;
  if (x[2] % state.block != 0 || x[3] % state.block != 0) {
    return Status::error(StatusCode::kShape, "an image of %lld x %lld does not split into blocks",
                         static_cast<long long>(x[2]), static_cast<long long>(x[3]));
  }
  if (x[1] > (int64_t{1} << 20)) return Status::error(StatusCode::kShape, "there are too many channels");
  return context.set_output(0, context.input(0)->type,
                            {x[0], x[1] * state.block * state.block, x[2] / state.block, x[3] / state.block});
}

template <bool kToSpace>
Status run_blocks(RunContext& context) {
  const BlockState& state = context.state<BlockState>();
  const Tensor& large = kToSpace ? *context.output(0) : *context.input(0);
  const Tensor& deep = kToSpace ? *context.input(0) : *context.output(0);
  const Strides in_large(large);
  const Strides in_deep(deep);
  const int64_t block = state.block;
  const int64_t channels = large.shape[1];
  const int64_t channel_step = state.channel_first ? block * block : 1;
  const int64_t column_step = state.channel_first ? 1 : channels;
  StridedLoop<2> loop;
  const auto add = [&](int64_t size, int64_t large_step, int64_t deep_step) {
    if (kToSpace) {
      loop.add_axis(size, {large_step, deep_step});
    } else {
      loop.add_axis(size, {deep_step, large_step});
    }
  };
  // The deep one's columns are the innermost loop, as there are many; around it what else makes up a row of the large one.
  add(large.shape[0], in_large[0], in_deep[0]);
  add(deep.shape[2], in_large[2] * block, in_deep[2]);
  add(block, in_large[2], column_step * block * in_deep[1]);
  add(channels, in_large[1], channel_step * in_deep[1]);
  add(block, in_large[3], column_step * in_deep[1]);
  add(deep.shape[3], in_large[3] * block, in_deep[3]);
  loop.finish();
  copy_strided(context, loop, size_of(large.type), context.output(0)->data, context.input(0)->data);
  return Status();
}

// Trilu keeps the elements on one side of a diagonal of each matrix and zeroes the others.

struct TriluState {
  bool upper;
};

Status infer_trilu(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 2, kAllTypes));
  const Shape& x = context.input(0)->shape;
  if (x.rank < 2) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 2 or more", x.rank);
  if (context.input(1)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, 1, type_set(ElementType::kInt64)));
    if (context.input(1)->elements() != 1) return Status::error(StatusCode::kShape, "input 1 is no scalar");
  }
  context.state<TriluState>().upper = context.attributes().get_int("upper", 1) != 0;
  return context.set_output(0, context.input(0)->type, x);
}

Status run_trilu(RunContext& context) {
  const Tensor& source = *context.input(0);
  const bool upper = context.state<TriluState>().upper;
  const int64_t rows = source.shape[source.shape.rank - 2];
  const int64_t columns = source.shape[source.shape.rank - 1];
  const int64_t bytes = size_of(source.type);
  const int64_t diagonal =
      context.input(1) ? clamp(*context.input(1)->as<int64_t>(), -rows - columns, rows + columns) : 0;
  const int64_t lines = source.shape.elements(0, source.shape.rank - 1);
  for (int64_t line = 0; columns > 0 && line < lines; ++line) {
    // The first element of the row on or above the diagonal, or behind it.
    const int64_t split = clamp(line % rows + diagonal + (upper ? 0 : 1), 0, columns);
    const int64_t first = upper ? split : 0;
    const int64_t end = upper ? columns : split;
    uint8_t* to = at_element(*context.output(0), line * columns);
    memset(to, 0, static_cast<size_t>(columns * bytes));
    if (end > first) {
      memcpy(to + first * bytes, at_element(source, line * columns + first),
             static_cast<size_t>((end - first) * bytes));
    }
  }
  return Status();
}

// ReverseSequence turns around the first elements of each sequence of a batch, as many as input 1 says. One of the first
// two axes counts sequences, the other one runs along them.

Status infer_reverse_sequence(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, type_set(ElementType::kInt64)));
  const Shape& x = context.input(0)->shape;
  const Shape& lengths = context.input(1)->shape;
  const int64_t batch_axis = context.attributes().get_int("batch_axis", 1);
  const int64_t time_axis = context.attributes().get_int("time_axis", 0);
  if (x.rank < 2 || batch_axis < 0 || batch_axis > 1 || time_axis != 1 - batch_axis) {
    return Status::error(StatusCode::kShape, "batch_axis and time_axis are not the first two axes");
  }
  if (lengths.rank != 1 || lengths[0] != x[static_cast<int>(batch_axis)]) {
    return Status::error(StatusCode::kShape, "input 1 does not have one length for each sequence");
  }
  context.state<AxisState>().axis = static_cast<int>(time_axis);
  return context.set_output(0, context.input(0)->type, x);
}

Status run_reverse_sequence(RunContext& context) {
  const Tensor& source = *context.input(0);
  const int time_axis = context.state<AxisState>().axis;
  const int64_t steps = source.shape[time_axis];
  const int64_t each = source.shape.elements(2, source.shape.rank);
  const int64_t strides[2] = {source.shape[1] * each, each};
  for (int64_t sequence = 0; sequence < source.shape[1 - time_axis]; ++sequence) {
    const int64_t length = context.input(1)->as<int64_t>()[sequence];
    if (length < 0 || length > steps) {
      return Status::error(StatusCode::kInvalidArgument, "length %lld is not from 0 to %lld",
                           static_cast<long long>(sequence), static_cast<long long>(steps));
    }
    const int64_t first = sequence * strides[1 - time_axis];
    for (int64_t step = 0; each > 0 && step < steps; ++step) {
      const int64_t from = step < length ? length - 1 - step : step;
      memcpy(at_element(*context.output(0), first + step * strides[time_axis]),
             at_element(source, first + from * strides[time_axis]), static_cast<size_t>(each * size_of(source.type)));
    }
  }
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "Transpose", .infer = infer_transpose, .run = run_transpose, .state_bytes = sizeof(TransposeState)},
    {.op = "Concat",
     .infer = infer_concat,
     .run = run_concat,
     .state_bytes = sizeof(AxisState),
     .layout = LayoutRule::kFollows},
    {.op = "Split",
     .infer = infer_split,
     .run = run_split,
     .state_bytes = sizeof(AxisState),
     .layout = LayoutRule::kFollows},
    {.op = "Slice",
     .infer = infer_slice,
     .run = run_slice,
     .state_bytes = sizeof(SliceState),
     .layout = LayoutRule::kFollows},
    {.op = "Pad", .infer = infer_pad, .run = run_pad, .state_bytes = sizeof(PadState), .layout = LayoutRule::kFollows},
    {.op = "CenterCropPad",
     .since_version = 18,
     .infer = infer_center_crop_pad,
     .run = run_pad,
     .state_bytes = sizeof(PadState),
     .layout = LayoutRule::kFollows,
     .layout_inputs = 0b01},
    {.op = "ReverseSequence",
     .infer = infer_reverse_sequence,
     .run = run_reverse_sequence,
     .state_bytes = sizeof(AxisState)},
    {.op = "Expand", .infer = infer_expand, .run = run_expand, .layout = LayoutRule::kFollows},
    {.op = "Tile", .since_version = 6, .infer = infer_tile, .run = run_tile, .layout = LayoutRule::kFollows},
    {.op = "DepthToSpace",
     .infer = infer_depth_to_space,
     .run = run_blocks<true>,
     .state_bytes = sizeof(BlockState),
     .layout = LayoutRule::kFollows},
    {.op = "SpaceToDepth",
     .infer = infer_space_to_depth,
     .run = run_blocks<false>,
     .state_bytes = sizeof(BlockState),
     .layout = LayoutRule::kFollows},
    {.op = "Trilu", .infer = infer_trilu, .run = run_trilu, .state_bytes = sizeof(TriluState)},
};

}  // namespace

std::span<const Kernel> data_movement_kernels() { return kKernels; }

}  // namespace quench::rt
