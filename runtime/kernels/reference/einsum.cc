// Einsum: sums of products, as an equation says whose letters are axes ("bij,bjk->bik").

#include <algorithm>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

constexpr int kMaxOperands = 6;

struct EinsumState {
  // Over the output's axes, and over those that are summed: the output, and each operand. One that is not there stands
  // still.
  StridedLoop<kMaxOperands + 1> kept;
  StridedLoop<kMaxOperands + 1> summed;
};

// An axis for each letter, in alphabetical order, and for those that an ellipsis stands for, the last one last.
constexpr int kLetters = 52;
constexpr int kSlots = kLetters + kMaxRank;

int slot_of(char letter) {
  if (letter >= 'A' && letter <= 'Z') return letter - 'A';
  return letter >= 'a' && letter <= 'z' ? letter - 'a' + 26 : -1;
}

struct EinsumAxes {
  int uses[kSlots] = {};
  int64_t size[kSlots] = {};
  int64_t stride[kMaxOperands][kSlots] = {};

  Status add(int operand, int slot, int64_t dim, int64_t step) {
    if (uses[slot]++ == 0) size[slot] = 1;
    if (dim == 1) return Status();
    if (size[slot] != 1 && size[slot] != dim) {
      return Status::error(StatusCode::kShape, "one axis has %lld and %lld elements",
                           static_cast<long long>(size[slot]), static_cast<long long>(dim));
    }
    size[slot] = dim;
    stride[operand][slot] += step;
    return Status();
  }
};

// How far the output, and each operand, go along a slot.
std::array<int64_t, kMaxOperands + 1> steps_of(const EinsumAxes& axes, int slot, int64_t of_output) {
  std::array<int64_t, kMaxOperands + 1> steps = {of_output};
  for (size_t k = 0; k < kMaxOperands; ++k) steps[k + 1] = axes.stride[k][slot];
  return steps;
}

Status bad_equation() { return Status::error(StatusCode::kInvalidArgument, "the equation cannot be read"); }

// Without the check, and the exception, of substr.
std::string_view part(std::string_view text, size_t begin, size_t end) { return {text.data() + begin, end - begin}; }

// The slots that a term names, an ellipsis as kSlots; false if it holds anything else, or too much.
bool read_term(std::string_view term, IntList* slots) {
  for (size_t i = 0; i < term.size(); ++i) {
    if (term[i] == ' ') continue;
    const bool is_ellipsis = part(term, i, term.size()).starts_with("...");
    const int slot = is_ellipsis ? kSlots : slot_of(term[i]);
    if (slot < 0 || slots->count == IntList::kCapacity) return false;
    slots->values[slots->count++] = slot;
    if (is_ellipsis) i += 2;
  }
  return true;
}

Status add_operand(std::string_view term, const Tensor& x, int operand, EinsumAxes* axes) {
  IntList slots;
  if (!read_term(term, &slots)) return bad_equation();
  int ellipses = 0;
  for (const int64_t slot : slots.view()) ellipses += slot == kSlots;
  const int others = x.shape.rank - (slots.count - ellipses);
  if (ellipses > 1 || others < 0 || (ellipses == 0 && others > 0)) {
    return Status::error(StatusCode::kShape, "the equation does not fit input %d of rank %d", operand, x.shape.rank);
  }
  int64_t strides[kMaxRank] = {};
  compute_strides(x.shape, Layout::kRowMajor, strides);
  int axis = 0;
  for (const int64_t slot : slots.view()) {
    for (int i = 0; slot == kSlots && i < others; ++i, ++axis) {
      QUENCH_RETURN_IF_ERROR(axes->add(operand, kSlots - others + i, x.shape[axis], strides[axis]));
    }
    if (slot == kSlots) continue;
    QUENCH_RETURN_IF_ERROR(axes->add(operand, static_cast<int>(slot), x.shape[axis], strides[axis]));
    ++axis;
  }
  return Status();
}

// The slots of the output's axes: those that the equation names, or all of an ellipsis and the letters that occur once.
Status read_output(std::string_view equation, const EinsumAxes& axes, IntList* slots) {
  const size_t arrow = equation.find("->");
  IntList named;
  named.values[named.count++] = kSlots;
  if (arrow != std::string_view::npos) {
    named.count = 0;
    if (!read_term(part(equation, arrow + 2, equation.size()), &named)) return bad_equation();
  }
  bool taken[kSlots + 1] = {};
  const auto take = [&](int slot) {
    if (axes.uses[slot] == 0 || taken[slot] || slots->count == kMaxRank) return false;
    taken[slot] = true;
    slots->values[slots->count++] = slot;
    return true;
  };
  for (const int64_t slot : named.view()) {
    if (slot < kSlots && !take(static_cast<int>(slot))) return bad_equation();
    if (slot == kSlots && taken[kSlots]) return bad_equation();
    taken[slot] = true;
    for (int i = kLetters; slot == kSlots && i < kSlots; ++i) {
      if (axes.uses[i] > 0 && !take(i)) return bad_equation();
    }
  }
  for (int i = 0; arrow == std::string_view::npos && i < kLetters; ++i) {
    if (axes.uses[i] == 1 && !take(i)) return bad_equation();
  }
  return Status();
}

Status make_loops(const EinsumAxes& axes, const IntList& kept, const Shape& shape, EinsumState* state) {
  *state = EinsumState();
  int64_t to[kMaxRank] = {};
  compute_strides(shape, Layout::kRowMajor, to);
  bool is_kept[kSlots] = {};
  for (int i = 0; i < kept.count; ++i) {
    const auto slot = static_cast<int>(kept[i]);
    is_kept[slot] = true;
    state->kept.add_axis(shape[i], steps_of(axes, slot, to[i]));
  }
  int64_t products = 1;
  int summed = 0;
  for (int slot = 0; slot < kSlots; ++slot) {
    if (axes.uses[slot] == 0 || is_kept[slot]) continue;
    const int64_t size = axes.size[slot];
    if (++summed > kMaxAxes || __builtin_mul_overflow(products, size > 0 ? size : 1, &products)) {
      return Status::error(StatusCode::kLimit, "there are too many products to sum");
    }
    state->summed.add_axis(size, steps_of(axes, slot, 0));
  }
  state->kept.finish();
  state->summed.finish();
  return Status();
}

Status infer_einsum(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, context.inputs(), kFloatType));
  if (context.inputs() > kMaxOperands) {
    return Status::error(StatusCode::kUnsupportedFeature, "more than %d operands", kMaxOperands);
  }
  const std::string_view equation = context.attributes().get_string("equation", "");
  std::string_view left = part(equation, 0, std::min(equation.find("->"), equation.size()));
  EinsumAxes axes;
  for (int operand = 0; operand < context.inputs(); ++operand) {
    QUENCH_RETURN_IF_ERROR(check_type(context, operand, kFloatType));
    const size_t comma = std::min(left.find(','), left.size());
    if ((comma == left.size()) != (operand == context.inputs() - 1)) return bad_equation();
    QUENCH_RETURN_IF_ERROR(add_operand(part(left, 0, comma), *context.input(operand), operand, &axes));
    left.remove_prefix(std::min(comma + 1, left.size()));
  }
  IntList kept;
  QUENCH_RETURN_IF_ERROR(read_output(equation, axes, &kept));
  Shape shape;
  for (const int64_t slot : kept.view()) shape[shape.rank++] = axes.size[slot];
  QUENCH_RETURN_IF_ERROR(context.set_output(0, ElementType::kFloat32, shape));
  return make_loops(axes, kept, shape, &context.state<EinsumState>());
}

Status run_einsum(RunContext& context) {
  const EinsumState& state = context.state<EinsumState>();
  const float one = 1;
  const int operands = context.inputs();
  const float* x[kMaxOperands];
  for (int i = 0; i < kMaxOperands; ++i) x[i] = i < operands ? context.input(i)->as<float>() : &one;
  float* y = context.output(0)->as<float>();
  parallel_walk(context, state.kept, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const float* first[kMaxOperands];
      for (int k = 0; k < kMaxOperands; ++k) first[k] = x[k] + at[k + 1] + i * state.kept.step(k + 1);
      double sum = 0;
      walk(state.summed, [&](const int64_t* offset, int64_t values) {
        const float* a = first[0] + offset[1];
        const float* b = first[1] + offset[2];
        for (int64_t k = 0; k < values; ++k) {
          double product = static_cast<double>(a[k * state.summed.step(1)]) * b[k * state.summed.step(2)];
          for (int m = 2; m < operands; ++m) product *= first[m][offset[m + 1] + k * state.summed.step(m + 1)];
          sum += product;
        }
      });
      y[at[0] + i * state.kept.step(0)] = static_cast<float>(sum);
    }
  });
  return Status();
}

// Not folded: what it costs is the product of all axes, which no sum of bytes bounds.
constexpr Kernel kKernels[] = {{.op = "Einsum",
                                .infer = infer_einsum,
                                .run = run_einsum,
                                .state_bytes = sizeof(EinsumState),
                                .flags = kNotFolded}};

}  // namespace

std::span<const Kernel> einsum_kernels() { return kKernels; }

}  // namespace quench::rt
