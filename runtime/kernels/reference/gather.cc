// Operators that address elements by indices: Gather, GatherElements, GatherND, ScatterElements, ScatterND, OneHot.
// Indices are checked when running.

#include <cmath>
#include <cstring>
#include <type_traits>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/integers.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// The index at `position`, counted from the end if negative; false if it lies outside [0, size).
bool read_index(const Tensor& indices, int64_t position, int64_t size, int64_t* index) {
  int64_t value =
      indices.type == ElementType::kInt32 ? indices.as<int32_t>()[position] : indices.as<int64_t>()[position];
  if (value < 0) value += size;
  *index = value;
  return value >= 0 && value < size;
}

Status out_of_range(int64_t position, int64_t size) {
  return Status::error(StatusCode::kInvalidArgument, "index number %lld is outside an axis of %lld elements",
                       static_cast<long long>(position), static_cast<long long>(size));
}

// What a scattered value does to the one that it meets.
enum class Combination : int32_t { kReplace, kAdd, kMultiply, kMax, kMin };

Status read_combination(const InferContext& context, Combination* combination) {
  constexpr std::string_view kNames[] = {"none", "add", "mul", "max", "min"};
  const std::string_view name = context.attributes().get_string("reduction", kNames[0]);
  for (int i = 0; i < 5; ++i) {
    if (name != kNames[i]) continue;
    *combination = static_cast<Combination>(i);
    return i == 0 ? Status() : check_type(context, 0, kFloatType | kIntegerTypes);
  }
  return Status::error(StatusCode::kInvalidArgument, "reduction is '%.*s'", static_cast<int>(name.size()), name.data());
}

// Of float, or of int64_t, which wraps around.
template <typename T>
T combine(Combination combination, T a, T b) {
  using Wide = std::conditional_t<std::is_same_v<T, float>, float, uint64_t>;
  switch (combination) {
    case Combination::kAdd:
      return static_cast<T>(static_cast<Wide>(a) + static_cast<Wide>(b));
    case Combination::kMultiply:
      return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b));
    case Combination::kMax:
      return b > a ? b : a;
    case Combination::kMin:
      return b < a ? b : a;
    case Combination::kReplace:
      break;
  }
  return b;
}

// Puts `count` updates from element `from` on into the target, from element `to` on.
void scatter(Combination combination, const Tensor& target, int64_t to, const Tensor& updates, int64_t from,
             int64_t count) {
  const int64_t bytes = size_of(target.type);
  if (combination == Combination::kReplace) {
    memcpy(target.as<uint8_t>() + to * bytes, updates.as<uint8_t>() + from * bytes, static_cast<size_t>(count * bytes));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    if (target.type == ElementType::kFloat32) {
      float& value = target.as<float>()[to + i];
      value = combine(combination, value, updates.as<float>()[from + i]);
    } else {
      const int64_t value = combine(combination, load_integer(target, to + i), load_integer(updates, from + i));
      store_integers(&value, target, to + i, 1, 1);
    }
  }
}

struct AxisState {
  int axis;
  Combination combination;  // of ScatterElements
};

Status infer_gather(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kIndexTypes));
  const Shape& x = context.input(0)->shape;
  const Shape& indices = context.input(1)->shape;
  int& axis = context.state<AxisState>().axis;
  QUENCH_RETURN_IF_ERROR(normalize_axis(context.attributes().get_int("axis", 0), x.rank, &axis));
  if (x.rank - 1 + indices.rank > kMaxRank) {
    return Status::error(StatusCode::kLimit, "an output of rank %d", x.rank - 1 + indices.rank);
  }
  Shape shape;
  for (int i = 0; i < axis; ++i) shape[shape.rank++] = x[i];
  for (int i = 0; i < indices.rank; ++i) shape[shape.rank++] = indices[i];
  for (int i = axis + 1; i < x.rank; ++i) shape[shape.rank++] = x[i];
  return context.set_output(0, context.input(0)->type, shape);
}

Status run_gather(RunContext& context) {
  const Tensor& x = *context.input(0);
  const Tensor& indices = *context.input(1);
  const int axis = context.state<AxisState>().axis;
  const int64_t outer = x.shape.elements(0, axis);
  const int64_t size = x.shape[axis];
  const int64_t bytes = x.shape.elements(axis + 1, x.shape.rank) * size_of(x.type);
  const int64_t count = indices.elements();
  if (context.output(0)->elements() == 0) return Status();
  const uint8_t* source = x.as<uint8_t>();
  uint8_t* target = context.output(0)->as<uint8_t>();
  for (int64_t i = 0; i < outer; ++i) {
    for (int64_t k = 0; k < count; ++k) {
      int64_t index = 0;
      if (!read_index(indices, k, size, &index)) return out_of_range(k, size);
      memcpy(target, source + (i * size + index) * bytes, static_cast<size_t>(bytes));
      target += bytes;
    }
  }
  return Status();
}

// GatherElements takes, ScatterElements sets the element that `indices` names along one axis, the other coordinates
// being those of the index itself.

Status check_elements(InferContext& context, int indices_input) {
  QUENCH_RETURN_IF_ERROR(check_type(context, indices_input, kIndexTypes));
  const Shape& x = context.input(0)->shape;
  const Shape& indices = context.input(indices_input)->shape;
  int& axis = context.state<AxisState>().axis;
  QUENCH_RETURN_IF_ERROR(normalize_axis(context.attributes().get_int("axis", 0), x.rank, &axis));
  bool fits = indices.rank == x.rank;
  for (int i = 0; fits && i < x.rank; ++i) fits = i == axis || indices[i] <= x[i];
  if (!fits) return Status::error(StatusCode::kShape, "the indices do not fit input 0 outside axis %d", axis);
  return Status();
}

Status infer_gather_elements(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  QUENCH_RETURN_IF_ERROR(check_elements(context, 1));
  return context.set_output(0, context.input(0)->type, context.input(1)->shape);
}

// Calls function(position of the index, offset of the element that it names); stops at an index out of range.
template <typename Function>
Status for_each_indexed(const Tensor& x, const Tensor& indices, int axis, const Function& function) {
  int64_t strides[kMaxRank] = {};
  compute_strides(x.shape, Layout::kRowMajor, strides);
  const int64_t step = strides[axis];
  strides[axis] = 0;
  StridedLoop<1> loop;
  for (int i = 0; i < x.shape.rank; ++i) loop.add_axis(indices.shape[i], {strides[i]});
  loop.finish();
  Status status;
  int64_t position = 0;
  walk(loop, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count && status.ok(); ++i, ++position) {
      int64_t index = 0;
      if (!read_index(indices, position, x.shape[axis], &index)) {
        status = out_of_range(position, x.shape[axis]);
        return;
      }
      function(position, at[0] + i * loop.step(0) + index * step);
    }
  });
  return status;
}

Status run_gather_elements(RunContext& context) {
  const Tensor& x = *context.input(0);
  const auto bytes = static_cast<size_t>(size_of(x.type));
  uint8_t* target = context.output(0)->as<uint8_t>();
  return for_each_indexed(x, *context.input(1), context.state<AxisState>().axis,
                          [=, &x](int64_t position, int64_t offset) {
                            memcpy(target + position * static_cast<int64_t>(bytes),
                                   x.as<uint8_t>() + offset * static_cast<int64_t>(bytes), bytes);
                          });
}

void copy_all(const Tensor& target, const Tensor& source) {
  if (target.data != source.data && source.bytes() > 0) {
    memcpy(target.data, source.data, static_cast<size_t>(source.bytes()));
  }
}

Status infer_scatter_elements(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 3, kAllTypes));
  QUENCH_RETURN_IF_ERROR(check_same_type(context, 2));
  QUENCH_RETURN_IF_ERROR(check_elements(context, 1));
  QUENCH_RETURN_IF_ERROR(read_combination(context, &context.state<AxisState>().combination));
  if (!(context.input(1)->shape == context.input(2)->shape)) {
    return Status::error(StatusCode::kShape, "indices and updates have different shapes");
  }
  return context.set_output(0, context.input(0)->type, context.input(0)->shape);
}

Status run_scatter_elements(RunContext& context) {
  const Tensor& target = *context.output(0);
  copy_all(target, *context.input(0));
  const AxisState& state = context.state<AxisState>();
  return for_each_indexed(target, *context.input(1), state.axis, [&](int64_t position, int64_t offset) {
    scatter(state.combination, target, offset, *context.input(2), position, 1);
  });
}

// GatherND and ScatterND: each row of the indices' last axis names a slice of the data's leading axes, behind
// `batch_dims` axes that data and indices share.

struct TupleState {
  int batch_axes;
  int tuple;                // indices per slice
  Combination combination;  // of ScatterND
};

Status check_tuples(const InferContext& context, int batch_axes, TupleState* state) {
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kIndexTypes));
  const Shape& x = context.input(0)->shape;
  const Shape& indices = context.input(1)->shape;
  if (indices.rank < 1 || batch_axes < 0 || batch_axes >= indices.rank || batch_axes >= x.rank) {
    return Status::error(StatusCode::kShape, "data of rank %d, indices of rank %d and %d batch axes", x.rank,
                         indices.rank, batch_axes);
  }
  const int64_t tuple = indices[indices.rank - 1];
  if (tuple < 0 || tuple > x.rank - batch_axes) {
    return Status::error(StatusCode::kShape, "%lld indices for data of rank %d", static_cast<long long>(tuple), x.rank);
  }
  for (int axis = 0; axis < batch_axes; ++axis) {
    if (x[axis] != indices[axis]) return Status::error(StatusCode::kShape, "batch axis %d differs", axis);
  }
  state->batch_axes = batch_axes;
  state->tuple = static_cast<int>(tuple);
  return Status();
}

// The shape of all slices that the indices name.
Status slices_shape(const InferContext& context, const TupleState& state, Shape* shape) {
  const Shape& x = context.input(0)->shape;
  const Shape& indices = context.input(1)->shape;
  const int first = state.batch_axes + state.tuple;
  if (indices.rank - 1 + x.rank - first > kMaxRank) {
    return Status::error(StatusCode::kLimit, "an output of rank %d", indices.rank - 1 + x.rank - first);
  }
  *shape = Shape();
  for (int axis = 0; axis < indices.rank - 1; ++axis) (*shape)[shape->rank++] = indices[axis];
  for (int axis = first; axis < x.rank; ++axis) (*shape)[shape->rank++] = x[axis];
  return Status();
}

Status infer_gather_nd(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  const int64_t batch_axes = context.attributes().get_int("batch_dims", 0);
  if (batch_axes < 0 || batch_axes > kMaxRank) {
    return Status::error(StatusCode::kInvalidArgument, "batch_dims is %lld", static_cast<long long>(batch_axes));
  }
  TupleState& state = context.state<TupleState>();
  QUENCH_RETURN_IF_ERROR(check_tuples(context, static_cast<int>(batch_axes), &state));
  Shape shape;
  QUENCH_RETURN_IF_ERROR(slices_shape(context, state, &shape));
  return context.set_output(0, context.input(0)->type, shape);
}

Status infer_scatter_nd(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 3, kAllTypes));
  QUENCH_RETURN_IF_ERROR(check_same_type(context, 2));
  TupleState& state = context.state<TupleState>();
  QUENCH_RETURN_IF_ERROR(read_combination(context, &state.combination));
  QUENCH_RETURN_IF_ERROR(check_tuples(context, 0, &state));
  Shape shape;
  QUENCH_RETURN_IF_ERROR(slices_shape(context, state, &shape));
  if (!(shape == context.input(2)->shape)) {
    return Status::error(StatusCode::kShape, "the updates do not have the shape of what the indices name");
  }
  return context.set_output(0, context.input(0)->type, context.input(0)->shape);
}

// Calls function(first element of the slice among all slices, and in the data, elements) for each slice.
template <typename Function>
Status for_each_slice(const Tensor& x, const Tensor& indices, const TupleState& state, const Function& function) {
  const int first = state.batch_axes + state.tuple;
  const int64_t count = x.shape.elements(first, x.shape.rank);
  const int64_t batches = x.shape.elements(0, state.batch_axes);
  const int64_t slices = indices.shape.elements(0, indices.shape.rank - 1);
  if (count == 0) return Status();
  for (int64_t slice = 0; slice < slices; ++slice) {
    int64_t offset = slice / (slices / batches);
    for (int k = 0; k < state.tuple; ++k) {
      const int64_t size = x.shape[state.batch_axes + k];
      int64_t index = 0;
      if (!read_index(indices, slice * state.tuple + k, size, &index)) return out_of_range(slice, size);
      offset = offset * size + index;
    }
    function(slice * count, offset * count, count);
  }
  return Status();
}

Status run_gather_nd(RunContext& context) {
  const Tensor& source = *context.input(0);
  const Tensor& target = *context.output(0);
  return for_each_slice(source, *context.input(1), context.state<TupleState>(),
                        [&](int64_t to, int64_t from, int64_t count) {
                          scatter(Combination::kReplace, target, to, source, from, count);
                        });
}

Status run_scatter_nd(RunContext& context) {
  const Tensor& target = *context.output(0);
  copy_all(target, *context.input(0));
  const TupleState& state = context.state<TupleState>();
  return for_each_slice(target, *context.input(1), state, [&](int64_t from, int64_t to, int64_t count) {
    scatter(state.combination, target, to, *context.input(2), from, count);
  });
}

// OneHot: an axis of `depth` values is put in, all off but the one that the index names. An index outside names none.

Status infer_one_hot(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 3, kAllTypes & ~kBoolType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 2, kAllTypes));
  const Shape& values = context.input(2)->shape;
  if (values.rank != 1 || values[0] != 2) return Status::error(StatusCode::kShape, "input 2 has not two values");
  int64_t depth = 0;
  QUENCH_RETURN_IF_ERROR(read_integer(context, 1, 0, int64_t{1} << 40, &depth));
  const Shape& x = context.input(0)->shape;
  if (x.rank == kMaxRank) return Status::error(StatusCode::kLimit, "an output of rank %d", x.rank + 1);
  int& axis = context.state<AxisState>().axis;
  QUENCH_RETURN_IF_ERROR(normalize_axis(context.attributes().get_int("axis", -1), x.rank + 1, &axis));
  Shape shape = x;
  shape.rank = x.rank + 1;
  for (int i = x.rank; i > axis; --i) shape[i] = x[i - 1];
  shape[axis] = depth;
  return context.set_output(0, context.input(2)->type, shape);
}

Status run_one_hot(RunContext& context) {
  const Tensor& indices = *context.input(0);
  const Tensor& output = *context.output(0);
  const int axis = context.state<AxisState>().axis;
  const int64_t bytes = size_of(output.type);
  const int64_t depth = output.shape[axis];
  const int64_t inner = output.shape.elements(axis + 1, output.shape.rank);
  if (output.elements() == 0) return Status();
  Tensor off = *context.input(2);
  off.shape = Shape();
  const uint8_t* on = off.as<uint8_t>() + bytes;
  copy_strided(context, broadcast_loop<2>(output, {&output, &off}), bytes, output.data, off.data);
  for (int64_t i = 0, count = indices.elements(); i < count; ++i) {
    double index = std::trunc(number_at(indices, i));
    // Before version 11 negative indices were none.
    if (index < 0 && context.opset() >= 11) index += static_cast<double>(depth);
    if (!(index >= 0 && index < static_cast<double>(depth))) continue;
    const int64_t element = (i / inner * depth + static_cast<int64_t>(index)) * inner + i % inner;
    memcpy(output.as<uint8_t>() + element * bytes, on, static_cast<size_t>(bytes));
  }
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "Gather", .infer = infer_gather, .run = run_gather, .state_bytes = sizeof(AxisState)},
    {.op = "GatherElements",
     .infer = infer_gather_elements,
     .run = run_gather_elements,
     .state_bytes = sizeof(AxisState)},
    {.op = "GatherND", .infer = infer_gather_nd, .run = run_gather_nd, .state_bytes = sizeof(TupleState)},
    {.op = "Scatter",
     .until_version = 10,
     .infer = infer_scatter_elements,
     .run = run_scatter_elements,
     .state_bytes = sizeof(AxisState)},
    {.op = "ScatterElements",
     .infer = infer_scatter_elements,
     .run = run_scatter_elements,
     .state_bytes = sizeof(AxisState)},
    {.op = "OneHot", .infer = infer_one_hot, .run = run_one_hot, .state_bytes = sizeof(AxisState)},
    {.op = "ScatterND", .infer = infer_scatter_nd, .run = run_scatter_nd, .state_bytes = sizeof(TupleState)},
};

}  // namespace

std::span<const Kernel> gather_kernels() { return kKernels; }

}  // namespace quench::rt
