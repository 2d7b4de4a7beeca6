// Operators that choose elements by their values: TopK, and NonZero, Compress, Unique and NonMaxSuppression, whose outputs
// have a shape only when the values that they choose by are known: behind a stage (runtime/plan/stages.cc).

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/element_types.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// A number for each value, so that of two values of one type the larger one has the larger number. NaN is the largest.
int64_t order_key(float x) {
  if (x != x) return std::numeric_limits<int64_t>::max();
  const auto bits = std::bit_cast<int32_t>(x);
  return bits < 0 ? -static_cast<int64_t>(bits & 0x7fffffff) : bits;
}
int64_t order_key(uint64_t x) { return static_cast<int64_t>(x ^ (uint64_t{1} << 63)); }
int64_t order_key(int64_t x) { return x; }

int64_t order_key_at(const Tensor& tensor, int64_t index) {
  int64_t key = 0;
  (void)with_any_type(tensor.type, [&](auto t) {
    using T = typename decltype(t)::type;
    const T value = tensor.as<T>()[index];
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, uint64_t>) {
      key = order_key(value);
    } else {
      key = order_key(static_cast<int64_t>(value));
    }
    return Status();
  });
  return key;
}

void copy_element(const Tensor& target, int64_t to, const Tensor& source, int64_t from, int64_t count = 1) {
  const int64_t bytes = size_of(source.type);
  memcpy(target.as<uint8_t>() + to * bytes, source.as<uint8_t>() + from * bytes, static_cast<size_t>(count * bytes));
}

// An axis seen from outside: `outer` times `size` elements that are `inner` apart.
struct Axis {
  int64_t outer;
  int64_t size;
  int64_t inner;

  Axis(const Shape& shape, int axis)
      : outer(shape.elements(0, axis)), size(shape[axis]), inner(shape.elements(axis + 1, shape.rank)) {}
  // All elements in a row.
  explicit Axis(const Shape& shape) : outer(1), size(shape.elements()), inner(1) {}
  int64_t slice() const { return outer * inner; }
  // Element number `element` of the slice at `at`.
  int64_t offset(int64_t at, int64_t element) const { return (element / inner * size + at) * inner + element % inner; }
};

// TopK: the k largest or smallest values along an axis and their places, the first ones of equal values.

struct Candidate {
  int64_t key;
  int64_t index;
};

struct TopState {
  int axis;
};

// k is an attribute before version 10 and an input since then.
Status read_k(InferContext& context, int64_t size, int64_t* k) {
  if (context.opset() < 10) {
    *k = context.attributes().get_int("k", -1);
  } else {
    IntList list;
    QUENCH_RETURN_IF_ERROR(read_input(context, 1, &list));
    *k = list.count == 1 ? list[0] : -1;
  }
  if (*k >= 0 && *k <= size) return Status();
  return Status::error(StatusCode::kShape, "k is not from 0 to %lld", static_cast<long long>(size));
}

Status infer_top_k(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 2, kAllTypes & ~kBoolType));
  Shape shape = context.input(0)->shape;
  int& axis = context.state<TopState>().axis;
  QUENCH_RETURN_IF_ERROR(normalize_axis(context.attributes().get_int("axis", -1), shape.rank, &axis));
  const int64_t size = shape[axis];
  QUENCH_RETURN_IF_ERROR(read_k(context, size, &shape[axis]));
  if (size > (int64_t{1} << 40)) return Status::error(StatusCode::kLimit, "the axis is too long");
  context.set_scratch(size * static_cast<int64_t>(sizeof(Candidate)) * context.threads());
  QUENCH_RETURN_IF_ERROR(context.set_output(1, ElementType::kInt64, shape));
  return context.set_output(0, context.input(0)->type, shape);
}

Status run_top_k(RunContext& context) {
  const Tensor& x = *context.input(0);
  const Axis from(x.shape, context.state<TopState>().axis);
  const Axis to(context.output(0)->shape, context.state<TopState>().axis);
  const bool largest = context.attributes().get_int("largest", 1) != 0;
  const auto comes_first = [=](const Candidate& a, const Candidate& b) {
    return a.key != b.key ? (largest ? a.key > b.key : a.key < b.key) : a.index < b.index;
  };
  context.parallel_for(from.slice(), 1, [&](int64_t begin, int64_t end, int slot) {
    Candidate* candidates = static_cast<Candidate*>(context.scratch()) + slot * from.size;
    for (int64_t line = begin; line < end; ++line) {
      for (int64_t i = 0; i < from.size; ++i) candidates[i] = {order_key_at(x, from.offset(i, line)), i};
      std::partial_sort(candidates, candidates + to.size, candidates + from.size, comes_first);
      for (int64_t i = 0; i < to.size; ++i) {
        const int64_t target = to.offset(i, line);
        copy_element(*context.output(0), target, x, from.offset(candidates[i].index, line));
        if (context.output(1)) context.output(1)->as<int64_t>()[target] = candidates[i].index;
      }
    }
  });
  return Status();
}

// NonZero: the coordinates of all values that are not 0.

Status infer_non_zero(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  const Tensor* x = context.value(0);
  if (!x) return context.needs_value(0);
  QUENCH_RETURN_IF_ERROR(context.spend(x->elements()));
  int64_t found = 0;
  for (int64_t i = 0, count = x->elements(); i < count; ++i) found += number_at(*x, i) != 0;
  return context.set_output(0, ElementType::kInt64, {x->shape.rank, found});
}

Status run_non_zero(RunContext& context) {
  const Tensor& x = *context.input(0);
  const int64_t columns = context.output(0)->shape[1];
  int64_t strides[kMaxRank] = {};
  compute_strides(x.shape, Layout::kRowMajor, strides);
  int64_t column = 0;
  for (int64_t i = 0, count = x.elements(); i < count; ++i) {
    if (number_at(x, i) == 0) continue;
    for (int axis = 0; axis < x.shape.rank; ++axis) {
      context.output(0)->as<int64_t>()[axis * columns + column] = i / strides[axis] % x.shape[axis];
    }
    ++column;
  }
  return Status();
}

// Compress keeps the slices along an axis, or without one the elements, for which input 1 is true.

Axis axis_of(const NodeContext& context) {
  const Shape& shape = context.input(0)->shape;
  const Attribute* axis = context.attributes().find("axis", Attribute::kInt);
  return axis ? Axis(shape, static_cast<int>(axis->i < 0 ? axis->i + shape.rank : axis->i)) : Axis(shape);
}

// Checks what axis_of then takes for granted; *axis is -1 if there is none.
Status check_axis(const InferContext& context, int* axis) {
  *axis = -1;
  const Attribute* given = context.attributes().find("axis", Attribute::kInt);
  return given ? normalize_axis(given->i, context.input(0)->shape.rank, axis) : Status();
}

// The output's shape: `count` of the slices or elements.
Shape chosen_shape(const NodeContext& context, int axis, int64_t count) {
  if (axis < 0) return {count};
  Shape shape = context.input(0)->shape;
  shape[axis] = count;
  return shape;
}

// Slice `to` of output 0 is slice `from` of input 0.
void copy_slice(const RunContext& context, const Axis& axis, int64_t slices, int64_t to, int64_t from) {
  for (int64_t outer = 0; axis.inner > 0 && outer < axis.outer; ++outer) {
    copy_element(*context.output(0), (outer * slices + to) * axis.inner, *context.input(0),
                 (outer * axis.size + from) * axis.inner, axis.inner);
  }
}

int64_t count_true(const Tensor& condition) {
  int64_t count = 0;
  for (int64_t i = 0; i < condition.elements(); ++i) count += condition.as<uint8_t>()[i] != 0;
  return count;
}

Status infer_compress(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kBoolType));
  int axis = 0;
  QUENCH_RETURN_IF_ERROR(check_axis(context, &axis));
  const Shape& condition = context.input(1)->shape;
  if (condition.rank != 1 || condition[0] > axis_of(context).size) {
    return Status::error(StatusCode::kShape, "input 1 is no list, or has more values than there are to choose from");
  }
  const Tensor* value = context.value(1);
  if (!value) return context.needs_value(1);
  QUENCH_RETURN_IF_ERROR(context.spend(condition[0]));
  return context.set_output(0, context.input(0)->type, chosen_shape(context, axis, count_true(*value)));
}

Status run_compress(RunContext& context) {
  const Axis axis = axis_of(context);
  const Tensor& condition = *context.input(1);
  const int64_t slices = count_true(condition);
  int64_t to = 0;
  for (int64_t from = 0; from < condition.elements(); ++from) {
    if (condition.as<uint8_t>()[from] != 0) copy_slice(context, axis, slices, to++, from);
  }
  return Status();
}

// Unique: each slice along an axis, or without one each element, once; where it is first, which one each is equal to, and
// how many are equal. infer has no memory to sort in, so all pairs are compared, and few constants are all that it is for.

// Less than, equal to or greater than 0, as slice a is before, equal to or behind b.
int compare_slices(const Tensor& x, const Axis& axis, int64_t a, int64_t b) {
  for (int64_t element = 0; element < axis.slice(); ++element) {
    const int64_t left = order_key_at(x, axis.offset(a, element));
    const int64_t right = order_key_at(x, axis.offset(b, element));
    if (left != right) return left < right ? -1 : 1;
  }
  return 0;
}

int64_t first_equal(const Tensor& x, const Axis& axis, int64_t slice) {
  int64_t first = 0;
  while (first < slice && compare_slices(x, axis, first, slice) != 0) ++first;
  return first;
}

Status infer_unique(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  int axis = 0;
  QUENCH_RETURN_IF_ERROR(check_axis(context, &axis));
  const Axis slices = axis_of(context);
  const Tensor* x = context.value(0);
  if (!x) return context.needs_value(0);
  QUENCH_RETURN_IF_ERROR(context.spend(x->elements(), slices.size));
  int64_t count = 0;
  for (int64_t i = 0; i < slices.size; ++i) count += first_equal(*x, slices, i) == i;
  context.set_scratch(2 * slices.size * static_cast<int64_t>(sizeof(int64_t)));
  QUENCH_RETURN_IF_ERROR(context.set_output(1, ElementType::kInt64, {count}));
  QUENCH_RETURN_IF_ERROR(context.set_output(2, ElementType::kInt64, {slices.size}));
  QUENCH_RETURN_IF_ERROR(context.set_output(3, ElementType::kInt64, {count}));
  return context.set_output(0, context.input(0)->type, chosen_shape(context, axis, count));
}

Status run_unique(RunContext& context) {
  const Tensor& x = *context.input(0);
  const Axis axis = axis_of(context);
  const bool sorted = context.attributes().get_int("sorted", 1) != 0;
  int64_t* first = static_cast<int64_t*>(context.scratch());  // the first slice that is equal to each
  int64_t* place = first + axis.size;                         // in the output, of those that are first
  int64_t slices = 0;
  for (int64_t i = 0; i < axis.size; ++i) {
    first[i] = first_equal(x, axis, i);
    slices += first[i] == i;
  }
  const auto element = [&](int output, int64_t index) -> int64_t* {
    return context.output(output) ? context.output(output)->as<int64_t>() + index : nullptr;
  };
  for (int64_t i = 0; i < axis.size; ++i) {
    if (first[i] != i) continue;
    place[i] = 0;
    for (int64_t k = 0; k < axis.size; ++k) {
      place[i] += first[k] == k && (sorted ? compare_slices(x, axis, k, i) < 0 : k < i);
    }
    copy_slice(context, axis, slices, place[i], i);
    if (int64_t* index = element(1, place[i])) *index = i;
    if (int64_t* count = element(3, place[i])) *count = 0;
  }
  for (int64_t i = 0; i < axis.size; ++i) {
    if (int64_t* inverse = element(2, i)) *inverse = place[first[i]];
    if (int64_t* count = element(3, place[first[i]])) ++*count;
  }
  return Status();
}

// NonMaxSuppression: of the boxes of each image and class, from the highest score down, those that overlap none of the
// chosen ones by too much. infer has no memory to sort in, so each choice looks at all boxes that are left.

struct SuppressionState {
  int64_t most;  // to choose of a class
  float overlap, score;
  bool has_score;
  bool has_centers;
};

constexpr int64_t kMostBoxes = 1 << 17;

struct Box {
  float low[2], high[2];
  float area() const { return (high[0] - low[0]) * (high[1] - low[1]); }
};

// Two opposite corners, or center and size.
Box box_at(const float* values, bool has_centers) {
  Box box;
  for (int i = 0; i < 2; ++i) {
    const float half = values[2 + i] / 2;
    const float a = has_centers ? values[i] - half : values[i];
    const float b = has_centers ? values[i] + half : values[2 + i];
    box.low[i] = std::min(a, b);
    box.high[i] = std::max(a, b);
  }
  return box;
}

bool overlap(const Box& a, const Box& b, float limit) {
  float common = 1;
  for (int i = 0; i < 2; ++i) {
    common *= std::max(0.0f, std::min(a.high[i], b.high[i]) - std::max(a.low[i], b.low[i]));
  }
  if (!(a.area() > 0) || !(b.area() > 0)) return false;
  return common / (a.area() + b.area() - common) > limit;
}

// The boxes of a class that may still be chosen.
class BoxSet {
 public:
  explicit BoxSet(int64_t boxes) : words_((boxes + 63) / 64) { std::fill_n(bits_, words_, 0); }
  int64_t words() const { return words_; }
  int64_t count() const { return count_; }
  void add(int64_t box) {
    bits_[box / 64] |= uint64_t{1} << (box % 64);
    ++count_;
  }
  void remove(int64_t box) {
    bits_[box / 64] &= ~(uint64_t{1} << (box % 64));
    --count_;
  }
  template <typename Function>
  void for_each(const Function& function) {
    for (int64_t word = 0; word < words_; ++word) {
      for (uint64_t left = bits_[word]; left != 0; left &= left - 1) function(word * 64 + std::countr_zero(left));
    }
  }

 private:
  int64_t words_, count_ = 0;
  uint64_t bits_[kMostBoxes / 64];
};

// `found` takes image, class and box of each one that is chosen; `spend` how many boxes are about to be looked at.
template <typename Spend, typename Found>
Status suppress(const SuppressionState& state, const Tensor& boxes, const Tensor& scores, Spend spend, Found found) {
  const int64_t count = boxes.shape[1];
  const int64_t classes = scores.shape[1];
  for (int64_t line = 0; line < scores.shape[0] * classes; ++line) {
    const float* of_image = boxes.as<const float>() + line / classes * count * 4;
    const float* score = scores.as<const float>() + line * count;
    QUENCH_RETURN_IF_ERROR(spend(count + 1));
    BoxSet left(count);
    for (int64_t i = 0; i < count; ++i) {
      if (state.has_score ? score[i] > state.score : score[i] == score[i]) left.add(i);
    }
    for (int64_t chosen = 0; chosen < state.most && left.count() > 0; ++chosen) {
      QUENCH_RETURN_IF_ERROR(spend(left.words() + left.count()));
      int64_t best = -1;
      left.for_each([&](int64_t i) {
        if (best < 0 || score[i] > score[best]) best = i;
      });
      found(line / classes, line % classes, best);
      const Box box = box_at(of_image + best * 4, state.has_centers);
      left.for_each([&](int64_t i) {
        if (i == best || overlap(box, box_at(of_image + i * 4, state.has_centers), state.overlap)) left.remove(i);
      });
    }
  }
  return Status();
}

Status infer_non_max_suppression(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 5, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  const Shape& boxes = context.input(0)->shape;
  const Shape& scores = context.input(1)->shape;
  if (boxes.rank != 3 || scores.rank != 3 || boxes[2] != 4 || boxes[0] != scores[0] || boxes[1] != scores[2]) {
    return Status::error(StatusCode::kShape, "boxes are not images x N x 4, or scores not images x classes x N");
  }
  auto& state = context.state<SuppressionState>();
  IntList most;
  QUENCH_RETURN_IF_ERROR(read_input(context, 2, &most));
  if (most.present && most.count != 1) return Status::error(StatusCode::kShape, "input 2 is not one number");
  state.most = std::clamp<int64_t>(most[0], 0, boxes[1]);
  const auto number = [&](int index, float* to) {
    if (!context.input(index)) return Status();
    double value = 0;
    QUENCH_RETURN_IF_ERROR(read_number(context, index, &value));
    *to = static_cast<float>(value);
    return Status();
  };
  QUENCH_RETURN_IF_ERROR(number(3, &state.overlap));
  QUENCH_RETURN_IF_ERROR(number(4, &state.score));
  state.has_score = context.input(4) != nullptr;
  state.has_centers = context.attributes().get_int("center_point_box", 0) != 0;
  if (boxes[1] > kMostBoxes) {
    return Status::error(StatusCode::kLimit, "more than %lld boxes", static_cast<long long>(kMostBoxes));
  }
  const Tensor* box_values = context.value(0);
  const Tensor* score_values = context.value(1);
  if (!box_values || !score_values) return context.needs_value(box_values ? 1 : 0);
  int64_t found = 0;
  QUENCH_RETURN_IF_ERROR(suppress(
      state, *box_values, *score_values, [&](int64_t looks) { return context.spend(looks); },
      [&](int64_t, int64_t, int64_t) { ++found; }));
  return context.set_output(0, ElementType::kInt64, {found, 3});
}

Status run_non_max_suppression(RunContext& context) {
  int64_t* out = context.output(0)->as<int64_t>();
  return suppress(
      context.state<SuppressionState>(), *context.input(0), *context.input(1), [](int64_t) { return Status(); },
      [&](int64_t image, int64_t class_, int64_t box) {
        for (const int64_t number : {image, class_, box}) *out++ = number;
      });
}

constexpr Kernel kKernels[] = {
    {.op = "TopK", .infer = infer_top_k, .run = run_top_k, .state_bytes = sizeof(TopState)},
    {.op = "NonZero", .infer = infer_non_zero, .run = run_non_zero},
    {.op = "Compress", .infer = infer_compress, .run = run_compress},
    {.op = "Unique", .infer = infer_unique, .run = run_unique},
    {.op = "NonMaxSuppression",
     .infer = infer_non_max_suppression,
     .run = run_non_max_suppression,
     .state_bytes = sizeof(SuppressionState)},
};

}  // namespace

std::span<const Kernel> selection_kernels() { return kKernels; }

}  // namespace quench::rt
