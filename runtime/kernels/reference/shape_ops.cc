// Operators that only change or report a shape: Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout, Shape, Size.

#include <cstring>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// The first output is the first input's bytes.
Status run_alias(RunContext& context) {
  const Tensor& source = *context.input(0);
  const Tensor& target = *context.output(0);
  if (target.data != source.data && source.bytes() > 0) {
    memcpy(target.data, source.data, static_cast<size_t>(source.bytes()));
  }
  return Status();
}

Status infer_identity(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  return context.set_output(0, context.input(0)->type, context.input(0)->shape);
}

// A 0 in `wanted` stands for the input's dimension (unless allow_zero), one -1 for what is left.
Status resolve_reshape(const Shape& input, const IntList& wanted, bool allow_zero, Shape* result) {
  if (wanted.count > kMaxRank) {
    return Status::error(StatusCode::kLimit, "a shape of rank %d; at most %d", wanted.count, kMaxRank);
  }
  Shape shape;
  shape.rank = wanted.count;
  int open = -1;
  for (int axis = 0; axis < wanted.count; ++axis) {
    int64_t size = wanted[axis];
    if (size == 0 && !allow_zero) {
      if (axis >= input.rank) return Status::error(StatusCode::kShape, "axis %d of the input does not exist", axis);
      size = input[axis];
    } else if (size == -1) {
      if (open >= 0) return Status::error(StatusCode::kShape, "more than one dimension is -1");
      open = axis;
      size = 1;
    } else if (size < 0) {
      return Status::error(StatusCode::kShape, "dimension %d is %lld", axis, static_cast<long long>(size));
    }
    shape[axis] = size;
  }
  if (!shape.valid()) return Status::error(StatusCode::kShape, "the shape is too large");
  if (open >= 0) {
    const int64_t known = shape.elements();
    if (known == 0 || input.elements() % known != 0) {
      return Status::error(StatusCode::kShape, "%lld elements cannot be shaped so that one dimension follows",
                           static_cast<long long>(input.elements()));
    }
    shape[open] = input.elements() / known;
  }
  if (shape.elements() != input.elements()) {
    return Status::error(StatusCode::kShape, "%lld elements do not fit a shape of %lld",
                         static_cast<long long>(input.elements()), static_cast<long long>(shape.elements()));
  }
  *result = shape;
  return Status();
}

Status infer_reshape(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 2, kAllTypes));
  IntList wanted;
  // Before version 5 the shape was an attribute.
  if (context.inputs() == 1) {
    QUENCH_RETURN_IF_ERROR(read_attribute(context, "shape", &wanted));
  } else {
    QUENCH_RETURN_IF_ERROR(read_input(context, 1, &wanted));
  }
  if (!wanted.present) return Status::error(StatusCode::kInvalidArgument, "the shape is missing");
  Shape shape;
  QUENCH_RETURN_IF_ERROR(
      resolve_reshape(context.input(0)->shape, wanted, context.attributes().get_int("allowzero", 0) != 0, &shape));
  return context.set_output(0, context.input(0)->type, shape);
}

Status infer_flatten(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  const Shape& x = context.input(0)->shape;
  int64_t axis = context.attributes().get_int("axis", 1);
  if (axis < -x.rank || axis > x.rank) {
    return Status::error(StatusCode::kShape, "axis %lld is outside a tensor of rank %d", static_cast<long long>(axis),
                         x.rank);
  }
  if (axis < 0) axis += x.rank;
  const int split = static_cast<int>(axis);
  return context.set_output(0, context.input(0)->type, {x.elements(0, split), x.elements(split, x.rank)});
}

// The axes of Squeeze and Unsqueeze: an attribute before version 13, an input since then.
Status read_axes(InferContext& context, IntList* axes) {
  return context.opset() < 13 ? read_attribute(context, "axes", axes) : read_input(context, 1, axes);
}

Status infer_squeeze(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 2, kAllTypes));
  const Shape& x = context.input(0)->shape;
  IntList axes;
  QUENCH_RETURN_IF_ERROR(read_axes(context, &axes));
  bool dropped[kMaxRank] = {};
  QUENCH_RETURN_IF_ERROR(mark_axes(axes, x.rank, dropped));
  Shape shape;
  for (int axis = 0; axis < x.rank; ++axis) {
    if (!axes.present) dropped[axis] = x[axis] == 1;
    if (!dropped[axis]) {
      shape[shape.rank++] = x[axis];
    } else if (x[axis] != 1) {
      return Status::error(StatusCode::kShape, "axis %d has %lld elements, not 1", axis,
                           static_cast<long long>(x[axis]));
    }
  }
  return context.set_output(0, context.input(0)->type, shape);
}

Status infer_unsqueeze(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 2, kAllTypes));
  const Shape& x = context.input(0)->shape;
  IntList axes;
  QUENCH_RETURN_IF_ERROR(read_axes(context, &axes));
  if (!axes.present) return Status::error(StatusCode::kInvalidArgument, "the axes are missing");
  if (x.rank + axes.count > kMaxRank) {
    return Status::error(StatusCode::kLimit, "a shape of rank %d; at most %d", x.rank + axes.count, kMaxRank);
  }
  Shape shape;
  shape.rank = x.rank + axes.count;
  bool added[kMaxRank] = {};
  QUENCH_RETURN_IF_ERROR(mark_axes(axes, shape.rank, added));
  for (int axis = 0, from = 0; axis < shape.rank; ++axis) shape[axis] = added[axis] ? 1 : x[from++];
  return context.set_output(0, context.input(0)->type, shape);
}

// Dropout at inference, or of a ratio of 0, is the identity; its mask says that everything was kept.
Status infer_dropout(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 3, kFloatType));
  bool trains = context.opset() < 7 && context.attributes().get_int("is_test", 0) == 0;
  if (context.opset() >= 12 && context.input(2)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, 2, kBoolType));
    const Tensor* training = context.value(2);
    if (!training) return context.needs_value(2);
    trains = training->elements() > 0 && *training->as<uint8_t>() != 0;
  }
  if (trains && context.opset() >= 12 && context.input(1)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
    const Tensor* ratio = context.value(1);
    if (!ratio) return context.needs_value(1);
    trains = ratio->elements() == 0 || *ratio->as<float>() != 0;
  }
  if (trains) return Status::error(StatusCode::kUnsupportedFeature, "training mode");
  if (context.output(1)) {
    const ElementType mask = context.opset() < 10 ? ElementType::kFloat32 : ElementType::kBool;
    QUENCH_RETURN_IF_ERROR(context.set_output(1, mask, context.input(0)->shape));
  }
  return context.set_output(0, ElementType::kFloat32, context.input(0)->shape);
}

Status run_dropout(RunContext& context) {
  QUENCH_RETURN_IF_ERROR(run_alias(context));
  const Tensor* mask = context.output(1);
  if (!mask) return Status();
  for (int64_t i = 0, count = mask->elements(); i < count; ++i) {
    if (mask->type == ElementType::kFloat32) {
      mask->as<float>()[i] = 1;
    } else {
      mask->as<uint8_t>()[i] = 1;
    }
  }
  return Status();
}

// Shape reports the axes [start, end), both clamped to the rank.
struct ShapeState {
  int begin;
  int end;
};

int clamp_axis(int64_t axis, int rank) {
  if (axis < 0) axis = axis < -rank ? 0 : axis + rank;
  return static_cast<int>(axis > rank ? rank : axis);
}

Status infer_shape(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  const int rank = context.input(0)->shape.rank;
  ShapeState& state = context.state<ShapeState>();
  state.begin = clamp_axis(context.attributes().get_int("start", 0), rank);
  state.end = clamp_axis(context.attributes().get_int("end", rank), rank);
  if (state.end < state.begin) state.end = state.begin;
  return context.set_output(0, ElementType::kInt64, {state.end - state.begin});
}

Status run_shape(RunContext& context) {
  const ShapeState& state = context.state<ShapeState>();
  int64_t* sizes = context.output(0)->as<int64_t>();
  for (int axis = state.begin; axis < state.end; ++axis) *sizes++ = context.input(0)->shape[axis];
  return Status();
}

Status infer_size(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  return context.set_output(0, ElementType::kInt64, {});
}

Status run_size(RunContext& context) {
  *context.output(0)->as<int64_t>() = context.input(0)->elements();
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "Identity", .infer = infer_identity, .run = run_alias, .flags = kAlias, .layout = LayoutRule::kFollows},
    {.op = "Dropout", .infer = infer_dropout, .run = run_dropout, .flags = kAlias, .layout = LayoutRule::kFollows},
    {.op = "Reshape", .infer = infer_reshape, .run = run_alias, .flags = kAlias},
    {.op = "Flatten", .infer = infer_flatten, .run = run_alias, .flags = kAlias},
    {.op = "Squeeze", .infer = infer_squeeze, .run = run_alias, .flags = kAlias},
    {.op = "Unsqueeze", .infer = infer_unsqueeze, .run = run_alias, .flags = kAlias},
    {.op = "Shape",
     .infer = infer_shape,
     .run = run_shape,
     .state_bytes = sizeof(ShapeState),
     .flags = kShapeOnly,
     .layout = LayoutRule::kFollows},
    {.op = "Size", .infer = infer_size, .run = run_size, .flags = kShapeOnly, .layout = LayoutRule::kFollows},
};

}  // namespace

std::span<const Kernel> shape_kernels() { return kKernels; }

}  // namespace quench::rt
