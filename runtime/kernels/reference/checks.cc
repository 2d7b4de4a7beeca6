#include "runtime/kernels/reference/checks.h"

#include "runtime/kernels/reference/element_types.h"

namespace quench::rt {

Status check_node(const InferContext& context, int required, int most, TypeSet types) {
  if (context.inputs() < required || context.inputs() > most) {
    return Status::error(StatusCode::kInvalidArgument, "takes %d to %d inputs, not %d", required, most,
                         context.inputs());
  }
  for (int index = 0; index < required; ++index) {
    if (!context.input(index)) return Status::error(StatusCode::kInvalidArgument, "input %d is missing", index);
  }
  if (!context.output(0)) return Status::error(StatusCode::kInvalidArgument, "output 0 is missing");
  return required > 0 ? check_type(context, 0, types) : Status();
}

Status check_type(const InferContext& context, int index, TypeSet types) {
  const Tensor* input = context.input(index);
  if (!input) return Status::error(StatusCode::kInvalidArgument, "input %d is missing", index);
  if (!contains(types & kAllTypes, input->type)) {
    return Status::error(StatusCode::kUnsupportedType, "input %d has type %s", index, name_of(input->type));
  }
  return Status();
}

Status check_same_type(const InferContext& context, int index) {
  const Tensor* input = context.input(index);
  if (!input) return Status::error(StatusCode::kInvalidArgument, "input %d is missing", index);
  if (input->type != context.input(0)->type) {
    return Status::error(StatusCode::kUnsupportedType, "input %d has type %s, input 0 %s", index, name_of(input->type),
                         name_of(context.input(0)->type));
  }
  return Status();
}

Status normalize_axis(int64_t axis, int rank, int* result) {
  if (axis < -rank || axis >= rank) {
    return Status::error(StatusCode::kShape, "axis %lld is outside a tensor of rank %d", static_cast<long long>(axis),
                         rank);
  }
  *result = static_cast<int>(axis < 0 ? axis + rank : axis);
  return Status();
}

Status broadcast_shapes(const Shape& a, const Shape& b, Shape* result) {
  Shape shape;
  shape.rank = a.rank > b.rank ? a.rank : b.rank;
  for (int axis = 0; axis < shape.rank; ++axis) {
    const int in_a = axis - (shape.rank - a.rank);
    const int in_b = axis - (shape.rank - b.rank);
    const int64_t size_a = in_a < 0 ? 1 : a[in_a];
    const int64_t size_b = in_b < 0 ? 1 : b[in_b];
    if (size_a != size_b && size_a != 1 && size_b != 1) {
      return Status::error(StatusCode::kShape, "dimensions %lld and %lld do not broadcast",
                           static_cast<long long>(size_a), static_cast<long long>(size_b));
    }
    shape[axis] = size_a == 1 ? size_b : size_a;
  }
  *result = shape;
  return Status();
}

Status read_attribute(const InferContext& context, std::string_view name, IntList* list) {
  *list = IntList();
  const Attribute* attribute = context.attributes().find(name, Attribute::kInts);
  if (!attribute) return Status();
  if (attribute->ints.size() > IntList::kCapacity) {
    return Status::error(StatusCode::kLimit, "attribute '%.*s' has %zu values", static_cast<int>(name.size()),
                         name.data(), attribute->ints.size());
  }
  list->present = true;
  for (int64_t value : attribute->ints) list->values[list->count++] = value;
  return Status();
}

Status read_input(InferContext& context, int index, IntList* list) {
  *list = IntList();
  if (!context.input(index)) return Status();
  QUENCH_RETURN_IF_ERROR(check_type(context, index, kIndexTypes));
  const Shape& shape = context.input(index)->shape;
  if (shape.rank > 1) return Status::error(StatusCode::kShape, "input %d is no list of integers", index);
  if (shape.elements() > IntList::kCapacity) {
    return Status::error(StatusCode::kLimit, "input %d has %lld values", index,
                         static_cast<long long>(shape.elements()));
  }
  const Tensor* value = context.value(index);
  if (!value) return context.needs_value(index);
  list->present = true;
  list->count = static_cast<int>(shape.elements());
  for (int i = 0; i < list->count; ++i) {
    list->values[i] = value->type == ElementType::kInt32 ? value->as<int32_t>()[i] : value->as<int64_t>()[i];
  }
  return Status();
}

double number_at(const Tensor& tensor, int64_t index) {
  double number = 0;
  (void)with_any_type(tensor.type, [&](auto t) {
    number = static_cast<double>(tensor.as<typename decltype(t)::type>()[index]);
    return Status();
  });
  return tensor.type == ElementType::kBool ? number != 0 : number;
}

Status read_number(InferContext& context, int index, double* number) {
  QUENCH_RETURN_IF_ERROR(check_type(context, index, kAllTypes));
  if (context.input(index)->elements() != 1) return Status::error(StatusCode::kShape, "input %d is no scalar", index);
  const Tensor* value = context.value(index);
  if (!value) return context.needs_value(index);
  *number = number_at(*value, 0);
  return Status();
}

Status read_integer(InferContext& context, int index, int64_t least, int64_t most, int64_t* number) {
  if (!context.input(index)) return Status();
  double value = 0;
  QUENCH_RETURN_IF_ERROR(read_number(context, index, &value));
  if (!(value >= static_cast<double>(least) && value <= static_cast<double>(most))) {
    return Status::error(StatusCode::kInvalidArgument, "input %d is %g, not a number from %lld to %lld", index, value,
                         static_cast<long long>(least), static_cast<long long>(most));
  }
  *number = static_cast<int64_t>(value);
  return Status();
}

Status read_type(const InferContext& context, std::string_view name, ElementType otherwise, ElementType* type) {
  const int64_t number = context.attributes().get_int(name, static_cast<int64_t>(otherwise));
  const bool is_known = number > 0 && number < 32;
  *type = is_known ? compute_type(static_cast<ElementType>(number)) : ElementType::kUndefined;
  if (contains(kAllTypes, *type)) return Status();
  return Status::error(StatusCode::kUnsupportedType, "attribute '%.*s' asks for type %s", static_cast<int>(name.size()),
                       name.data(), name_of(*type));
}

Status mark_axes(const IntList& axes, int rank, bool marked[kMaxRank]) {
  for (int64_t axis : axes.view()) {
    int normalized = 0;
    QUENCH_RETURN_IF_ERROR(normalize_axis(axis, rank, &normalized));
    if (marked[normalized]) return Status::error(StatusCode::kInvalidArgument, "axis %d is named twice", normalized);
    marked[normalized] = true;
  }
  return Status();
}

}  // namespace quench::rt
