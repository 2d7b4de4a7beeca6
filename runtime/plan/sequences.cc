// Sequences and optional values are lists of values that the walk keeps; no step knows of them. So places in a sequence,
// and lengths of what is cut out of a tensor, become known (stages.cc), and a loop that carries a sequence is unrolled.
#include <algorithm>

#include "runtime/plan/walker.h"

namespace quench::rt {

Status Walker::add_list(std::span<const int> items, int* number) {
  DraftValue list;
  list.kind = DraftValue::kSequence;
  list.items = items;
  return draft_.add_value(list, number);
}

Status Walker::add_list(const Node& node, std::span<const int> items) {
  int number = -1;
  QUENCH_RETURN_IF_ERROR(add_list(items, &number));
  set_number(node.outputs[0], number, true);
  return Status();
}

Status Walker::add_nothing(int* number) {
  DraftValue nothing;
  nothing.kind = DraftValue::kNothing;
  return draft_.add_value(nothing, number);
}

Status Walker::add_input_list(const ValueInfo& info, int64_t count, int first_shape, int* number) {
  std::span<int> items;
  if (!draft_.pool.make(static_cast<size_t>(count), &items)) return out_of_memory();
  for (int i = 0; i < static_cast<int>(count); ++i) {
    QUENCH_RETURN_IF_ERROR(add_input(info, first_shape + i, &at(items, i)));
  }
  return add_list(items, number);
}

Status Walker::find_list(const Node& node, std::span<const int>* items) {
  const int number = node.inputs.empty() ? -1 : number_of(node.inputs[0]);
  if (number < 0 || draft_.value(number).kind != DraftValue::kSequence) {
    return Status::error(StatusCode::kUnsupportedType, "input 0 is not a sequence");
  }
  *items = draft_.value(number).items;
  return Status();
}

// The integers of input `index`, of any number; false in `given` where it is omitted.
Status Walker::read_integers(const Node& node, size_t index, Tensor* tensor, bool* given) {
  const int number = index < node.inputs.size() ? number_of(node.inputs[index]) : -1;
  *given = number >= 0;
  if (!*given) return Status();
  const ElementType type = draft_.value(number).tensor.type;
  if (!is_tensor(number) || (type != ElementType::kInt32 && type != ElementType::kInt64)) {
    return Status::error(StatusCode::kUnsupportedType, "input %zu does not have integers", index);
  }
  if (draft_.value(number).kind != DraftValue::kConstant) {
    if (draft_.region != 0) {
      return Status::error(StatusCode::kNotReady, "input %zu must be a constant", index);
    }
    QUENCH_RETURN_IF_ERROR(know(number));
  }
  QUENCH_RETURN_IF_ERROR(draft_.materialize(number));
  *tensor = draft_.value(number).tensor;
  return Status();
}

namespace {

int64_t integer(const Tensor& tensor, int64_t index) {
  return tensor.type == ElementType::kInt32 ? tensor.as<const int32_t>()[index] : tensor.as<const int64_t>()[index];
}

}  // namespace

// Input `index`, one number; `otherwise` where it is omitted.
Status Walker::read_place(const Node& node, size_t index, int64_t otherwise, int64_t* place) {
  Tensor tensor;
  bool given = false;
  QUENCH_RETURN_IF_ERROR(read_integers(node, index, &tensor, &given));
  *place = otherwise;
  if (given && tensor.elements() != 1) return Status::error(StatusCode::kShape, "input %zu is not one number", index);
  if (given) *place = integer(tensor, 0);
  return Status();
}

Status Walker::add_sequence(const Node& node) {
  if (node.op == "SequenceMap") return map_sequence(node);
  if (node.outputs.size() != 1) return Status::error(StatusCode::kCorrupt, "does not have one output");
  if (node.op == "SequenceEmpty") return add_list(node, {});
  if (node.op == "SequenceConstruct") return construct_sequence(node);
  if (node.op == "SplitToSequence") return split_to_sequence(node);
  if (node.op.starts_with("Optional")) return add_optional(node);
  std::span<const int> items;
  QUENCH_RETURN_IF_ERROR(find_list(node, &items));
  if (node.op == "ConcatFromSequence") return concat_from_sequence(node, items);
  const auto count = static_cast<int64_t>(items.size());
  if (node.op == "SequenceLength") {
    int number = -1;
    QUENCH_RETURN_IF_ERROR(add_scalar(ElementType::kInt64, count, &number));
    set_number(node.outputs[0], number, true);
    return Status();
  }
  const bool inserts = node.op == "SequenceInsert";
  int64_t place = 0;
  QUENCH_RETURN_IF_ERROR(read_place(node, inserts ? 2 : 1, inserts ? count : count - 1, &place));
  if (place < -count || place >= count + inserts) {
    return Status::error(StatusCode::kShape, "the sequence of %lld values has no place %lld",
                         static_cast<long long>(count), static_cast<long long>(place));
  }
  const auto at_place = static_cast<size_t>(place < 0 ? place + count : place);
  if (node.op == "SequenceAt") {
    set_number(node.outputs[0], items[at_place], true);
    return Status();
  }
  std::span<int> changed;
  if (!draft_.pool.make(inserts ? items.size() + 1 : items.size() - 1, &changed)) return out_of_memory();
  std::copy(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(at_place), changed.begin());
  const auto rest = items.subspan(inserts ? at_place : at_place + 1);
  std::copy(rest.begin(), rest.end(), changed.end() - static_cast<std::ptrdiff_t>(rest.size()));
  if (inserts) {
    changed[at_place] = node.inputs.size() > 1 ? number_of(node.inputs[1]) : -1;
    if (!is_tensor(changed[at_place])) return Status::error(StatusCode::kUnsupportedType, "input 1 is not a tensor");
  }
  return add_list(node, changed);
}

// The body once for each value of input 0. Other inputs that are sequences give it the value of the same place.
Status Walker::map_sequence(const Node& node) {
  const Subgraph* body = nullptr;
  QUENCH_RETURN_IF_ERROR(find_body(node, "body", &body));
  if (body->inputs.size() != node.inputs.size() || body->outputs.size() != node.outputs.size()) {
    return Status::error(StatusCode::kCorrupt, "has another number of inputs or outputs than its subgraph");
  }
  std::span<const int> first;
  QUENCH_RETURN_IF_ERROR(find_list(node, &first));
  const auto items_of = [&](int number) {
    return number < 0 || is_tensor(number) ? std::span<const int>() : draft_.value(number).items;
  };
  const size_t count = first.size();
  List<int> made(draft_.pool);  // of each output, one after the other
  const Hold hold(*this, {.list = &made});
  if (!hold.fits()) return out_of_memory();
  if (count > 0 && node.outputs.size() > SIZE_MAX / count) return out_of_memory();
  if (!made.reserve(node.outputs.size() * count)) return out_of_memory();
  for (size_t i = 0; i < node.outputs.size() * count; ++i) static_cast<void>(made.push(-1));
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const int number = number_of(node.inputs[k]);
      const std::span<const int> items = items_of(number);
      if (!is_tensor(number) && items.size() != count) {
        return Status::error(StatusCode::kShape, "input %zu is not of the length of input 0", k);
      }
      set_number(body->inputs[k], is_tensor(number) ? number : items[i], true);
    }
    if (visits_left_ == 0) return too_long();  // an empty body has no nodes to count
    --visits_left_;
    ++round_;
    QUENCH_RETURN_IF_ERROR(walk(*body));
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const int output = number_of(body->outputs[k]);
      if (!is_tensor(output)) return Status::error(StatusCode::kUnsupportedType, "output %zu is not of tensors", k);
      made[k * count + i] = output;
    }
  }
  for (size_t k = 0; k < node.outputs.size(); ++k) {
    int number = -1;
    QUENCH_RETURN_IF_ERROR(add_list(made.span().subspan(k * count, count), &number));
    set_number(node.outputs[k], number, true);
  }
  return keep(made);
}

Status Walker::construct_sequence(const Node& node) {
  std::span<int> items;
  if (!draft_.pool.make(node.inputs.size(), &items)) return out_of_memory();
  for (size_t i = 0; i < items.size(); ++i) {
    items[i] = number_of(node.inputs[i]);
    if (!is_tensor(items[i])) return Status::error(StatusCode::kUnsupportedType, "input %zu is not a tensor", i);
  }
  return add_list(node, items);
}

Status Walker::add_optional(const Node& node) {
  const int number = node.inputs.empty() ? -1 : number_of(node.inputs[0]);
  const bool has_element = number >= 0 && draft_.value(number).kind != DraftValue::kNothing;
  if (node.op == "OptionalHasElement") {
    int result = -1;
    QUENCH_RETURN_IF_ERROR(add_scalar(ElementType::kBool, has_element, &result));
    set_number(node.outputs[0], result, true);
    return Status();
  }
  if (!has_element && node.op == "OptionalGetElement") return Status::error(StatusCode::kShape, "there is no element");
  if (has_element) {
    set_number(node.outputs[0], number, true);
    return Status();
  }
  int result = -1;
  QUENCH_RETURN_IF_ERROR(add_nothing(&result));
  set_number(node.outputs[0], result, true);
  return Status();
}

// Pieces of a length, or of the lengths, that input 1 says; without it, of one each, of which the axis may go.
Status Walker::split_to_sequence(const Node& node) {
  const Attributes attributes(node.attributes);
  const int source = node.inputs.empty() ? -1 : number_of(node.inputs[0]);
  if (!is_tensor(source)) return Status::error(StatusCode::kUnsupportedType, "input 0 is not a tensor");
  const Tensor whole = draft_.value(source).tensor;
  int64_t axis = attributes.get_int("axis", 0);
  if (axis < -whole.shape.rank || axis >= whole.shape.rank) {
    return Status::error(StatusCode::kShape, "input 0 does not have the axis");
  }
  if (axis < 0) axis += whole.shape.rank;
  const int64_t length = whole.shape[static_cast<int>(axis)];
  Tensor lengths;
  bool given = false;
  QUENCH_RETURN_IF_ERROR(read_integers(node, 1, &lengths, &given));
  const bool equal = !given || lengths.shape.rank == 0;
  const int64_t each = given && equal ? integer(lengths, 0) : 1;
  if (each < 1 || lengths.shape.rank > 1) return Status::error(StatusCode::kShape, "input 1 cannot be a length");
  const int64_t count = equal ? length / each + (length % each != 0) : lengths.elements();
  if (static_cast<uint64_t>(count) > visits_left_) return too_long();
  visits_left_ -= static_cast<uint64_t>(count);
  std::span<int> items;
  if (!draft_.pool.make(static_cast<size_t>(count), &items)) return out_of_memory();
  const bool keeps_axis = given || attributes.get_int("keepdims", 1) != 0;
  int64_t begin = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    SliceState state = slice_state(whole, static_cast<int>(axis), false);
    state.round = begin;
    state.count = equal ? std::min(each, length - begin) : integer(lengths, static_cast<int64_t>(i));
    if (state.count < 0 || state.count > length - begin) {
      return Status::error(StatusCode::kShape, "the lengths do not fit the axis");
    }
    begin += state.count;
    Shape shape = whole.shape;
    shape[static_cast<int>(axis)] = state.count;
    if (!keeps_axis) shape = without_axis(shape, static_cast<int>(axis));
    QUENCH_RETURN_IF_ERROR(add_variable(whole.type, shape, draft_.region, &items[i]));
    QUENCH_RETURN_IF_ERROR(add_internal(kTakeSlice, {source, -1}, {items[i]}, &state));
  }
  if (begin != length) return Status::error(StatusCode::kShape, "the lengths do not fit the axis");
  return add_list(node, items);
}

Status Walker::concat_from_sequence(const Node& node, std::span<const int> items) {
  const Attributes attributes(node.attributes);
  if (items.empty()) return Status::error(StatusCode::kShape, "the sequence is empty");
  const bool new_axis = attributes.get_int("new_axis", 0) != 0;
  const Tensor first = draft_.value(items[0]).tensor;
  const int rank = first.shape.rank + new_axis;
  int64_t axis = attributes.get_int("axis", 0);
  if (axis < -rank || axis >= rank || rank > kMaxRank) {
    return Status::error(StatusCode::kShape, "the values do not have the axis");
  }
  if (axis < 0) axis += rank;
  const auto along = static_cast<int>(axis);
  int64_t length = 0;
  for (const int item : items) {
    Tensor other = draft_.value(item).tensor;
    const int64_t own = new_axis ? 1 : other.shape.rank > along ? other.shape[along] : 0;
    if (!new_axis && other.shape.rank > along) other.shape[along] = first.shape[along];
    if (other.type != first.type || !(other.shape == first.shape) || own > INT64_MAX / 2 - length) {
      return Status::error(StatusCode::kShape, "the values have other types or shapes than the first");
    }
    length += own;
  }
  Shape whole_shape = first.shape;
  if (new_axis) {
    whole_shape.rank = rank;
    for (int i = 0; i < rank; ++i) {
      whole_shape[i] = i == along ? length : first.shape[i < along ? i : i - 1];
    }
  } else {
    whole_shape[along] = length;
  }
  int whole = -1;
  QUENCH_RETURN_IF_ERROR(add_variable(first.type, whole_shape, draft_.region, &whole));
  SliceState state = slice_state(draft_.value(whole).tensor, along, false);
  for (const int item : items) {
    state.count = new_axis ? 1 : draft_.value(item).tensor.shape[along];
    QUENCH_RETURN_IF_ERROR(add_internal(kPutSlice, {item, -1}, {whole}, &state));
    state.round += state.count;
  }
  set_number(node.outputs[0], whole, true);
  return Status();
}

}  // namespace quench::rt
