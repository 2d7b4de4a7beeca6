// Reductions along axes, in either layout: the Reduce family, ArgMax and ArgMin, MeanVarianceNormalization; and CumSum.

#include <cmath>
#include <limits>
#include <type_traits>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/element_types.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

struct ReduceState {
  bool reduced[kMaxRank];
  bool keeps_axes;
};

Shape reduced_shape(const Shape& x, const ReduceState& state) {
  Shape shape;
  for (int axis = 0; axis < x.rank; ++axis) {
    if (!state.reduced[axis]) {
      shape[shape.rank++] = x[axis];
    } else if (state.keeps_axes) {
      shape[shape.rank++] = 1;
    }
  }
  return shape;
}

// Strides of the output along the input's axes, 0 along reduced ones.
void output_strides(const Tensor& output, int rank, const ReduceState& state, int64_t strides[kMaxRank]) {
  int64_t own[kMaxRank] = {};
  compute_strides(output.shape, output.layout, own);
  for (int axis = 0, to = 0; axis < rank; ++axis) {
    strides[axis] = state.reduced[axis] ? 0 : own[to];
    if (!state.reduced[axis] || state.keeps_axes) ++to;
  }
}

// Goes over the outputs, and within each over the inputs that it is reduced from.
struct ReduceLoops {
  StridedLoop<2> kept;     // output, first input
  StridedLoop<1> reduced;  // input

  ReduceLoops(const Tensor& input, const Tensor& output, const ReduceState& state) {
    const int rank = input.shape.rank;
    int64_t from[kMaxRank] = {};
    int64_t to[kMaxRank] = {};
    compute_strides(input.shape, input.layout, from);
    output_strides(output, rank, state, to);
    int order[kMaxRank] = {};
    memory_order(input, order);
    for (int i = 0; i < rank; ++i) {
      const int axis = order[i];
      if (state.reduced[axis]) {
        reduced.add_axis(input.shape[axis], {from[axis]});
      } else {
        kept.add_axis(input.shape[axis], {to[axis], from[axis]});
      }
    }
    kept.finish();
    reduced.finish();
  }
};

// The axes are an attribute, and since version `input_since` an input.
Status read_reduce_axes(InferContext& context, int input_since, IntList* axes) {
  return context.opset() < input_since ? read_attribute(context, "axes", axes) : read_input(context, 1, axes);
}

Status infer_reduce(InferContext& context, int input_since, TypeSet types) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 2, types));
  const Shape& x = context.input(0)->shape;
  IntList axes;
  QUENCH_RETURN_IF_ERROR(read_reduce_axes(context, input_since, &axes));
  ReduceState& state = context.state<ReduceState>();
  state.keeps_axes = context.attributes().get_int("keepdims", 1) != 0;
  QUENCH_RETURN_IF_ERROR(mark_axes(axes, x.rank, state.reduced));
  const bool reduces_all = axes.count == 0 && context.attributes().get_int("noop_with_empty_axes", 0) == 0;
  for (int axis = 0; axis < x.rank; ++axis) state.reduced[axis] |= reduces_all;
  return context.set_output(0, context.input(0)->type, reduced_shape(x, state));
}

constexpr TypeSet kReduceTypes = type_set(ElementType::kFloat32, ElementType::kInt32, ElementType::kInt64);

template <int kInputSince>
Status infer_reduce_numbers(InferContext& context) {
  return infer_reduce(context, kInputSince, kReduceTypes);
}
template <int kInputSince>
Status infer_reduce_order(InferContext& context) {
  return infer_reduce(context, kInputSince, kNumberTypes);
}
template <int kInputSince>
Status infer_reduce_floats(InferContext& context) {
  return infer_reduce(context, kInputSince, kFloatType);
}

// Sums are kept in double or in wrapping 64-bit integers.
template <typename T>
using Accumulator = std::conditional_t<std::is_same_v<T, float>, double, uint64_t>;

template <typename T>
Accumulator<T> widen(T x) {
  return static_cast<Accumulator<T>>(x);
}

// A reduction: first value, one step, and what becomes of the accumulator of `count` values.
struct SumOf {
  template <typename A>
  A step(A sum, A x) const {
    return sum + x;
  }
  double finish(double sum, int64_t) const { return sum; }
  uint64_t finish(uint64_t sum, int64_t) const { return sum; }
  static constexpr int kFirst = 0;
};
struct MeanOf : SumOf {
  double finish(double sum, int64_t count) const { return sum / static_cast<double>(count); }
  uint64_t finish(uint64_t sum, int64_t count) const {
    return count == 0 ? 0 : static_cast<uint64_t>(static_cast<int64_t>(sum) / count);
  }
};
struct ProductOf : SumOf {
  template <typename A>
  A step(A product, A x) const {
    return product * x;
  }
  static constexpr int kFirst = 1;
};
struct SumSquareOf : SumOf {
  template <typename A>
  A step(A sum, A x) const {
    return sum + x * x;
  }
};
struct L1Of : SumOf {
  double step(double sum, double x) const { return sum + std::fabs(x); }
  uint64_t step(uint64_t sum, uint64_t x) const { return sum + (static_cast<int64_t>(x) < 0 ? 0 - x : x); }
};
struct L2Of : SumSquareOf {
  double finish(double sum, int64_t) const { return std::sqrt(sum); }
};
struct LogSumOf : SumOf {
  double finish(double sum, int64_t) const { return std::log(sum); }
};

template <typename T, typename Reduction>
void reduce(RunContext& context) {
  const Reduction reduction;
  const ReduceLoops loops(*context.input(0), *context.output(0), context.state<ReduceState>());
  const T* x = context.input(0)->as<T>();
  T* y = context.output(0)->as<T>();
  const int64_t each = loops.reduced.elements();
  const int64_t step = loops.reduced.step(0);
  const int64_t grain = kParallelGrain / (each + 1) + 1;
  context.parallel_for(loops.kept.elements(), grain, [&](int64_t begin, int64_t end, int) {
    walk(loops.kept, begin, end, [&](const int64_t* at, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t first = at[1] + i * loops.kept.step(1);
        Accumulator<T> result = Reduction::kFirst;
        walk(loops.reduced, 0, each, [&](const int64_t* offset, int64_t values) {
          for (int64_t k = 0; k < values; ++k) result = reduction.step(result, widen(x[first + *offset + k * step]));
        });
        y[at[0] + i * loops.kept.step(0)] = static_cast<T>(reduction.finish(result, each));
      }
    });
  });
}

template <typename Reduction>
Status run_reduce(RunContext& context) {
  switch (context.input(0)->type) {
    case ElementType::kInt32:
      reduce<int32_t, Reduction>(context);
      break;
    case ElementType::kInt64:
      reduce<int64_t, Reduction>(context);
      break;
    default:
      reduce<float, Reduction>(context);
  }
  return Status();
}

template <typename Reduction>
Status run_reduce_floats(RunContext& context) {
  reduce<float, Reduction>(context);
  return Status();
}

// log(sum(exp(x))), the largest value taken out so that nothing overflows.
Status run_log_sum_exp(RunContext& context) {
  const ReduceLoops loops(*context.input(0), *context.output(0), context.state<ReduceState>());
  const float* x = context.input(0)->as<float>();
  float* y = context.output(0)->as<float>();
  const int64_t step = loops.reduced.step(0);
  walk(loops.kept, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const float* first = x + at[1] + i * loops.kept.step(1);
      float largest = -std::numeric_limits<float>::infinity();
      walk(loops.reduced, [&](const int64_t* offset, int64_t values) {
        for (int64_t k = 0; k < values; ++k) {
          const float value = first[*offset + k * step];
          largest = value > largest ? value : largest;
        }
      });
      const double shift = std::isfinite(largest) ? largest : 0;
      double sum = 0;
      walk(loops.reduced, [&](const int64_t* offset, int64_t values) {
        for (int64_t k = 0; k < values; ++k) sum += std::exp(first[*offset + k * step] - shift);
      });
      y[at[0] + i * loops.kept.step(0)] = static_cast<float>(std::log(sum) + shift);
    }
  });
  return Status();
}

// The least or the largest value; of no values at all the one that every other beats.
template <typename T, bool kMax>
void reduce_order(RunContext& context) {
  using Limits = std::numeric_limits<T>;
  const T low = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  const T high = Limits::has_infinity ? Limits::infinity() : Limits::max();
  const ReduceLoops loops(*context.input(0), *context.output(0), context.state<ReduceState>());
  const T* x = context.input(0)->as<T>();
  T* y = context.output(0)->as<T>();
  const int64_t step = loops.reduced.step(0);
  walk(loops.kept, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t first = at[1] + i * loops.kept.step(1);
      T best = kMax ? low : high;
      walk(loops.reduced, [&](const int64_t* offset, int64_t values) {
        for (int64_t k = 0; k < values; ++k) {
          const T value = x[first + *offset + k * step];
          if ((kMax ? value > best : value < best) || value != value) best = value;
        }
      });
      y[at[0] + i * loops.kept.step(0)] = best;
    }
  });
}

template <bool kMax>
Status run_reduce_order(RunContext& context) {
  return with_number_type(context.input(0)->type, [&](auto t) {
    reduce_order<typename decltype(t)::type, kMax>(context);
    return Status();
  });
}

// ArgMax and ArgMin

struct ArgumentState {
  ReduceState reduce;
  int axis;
  bool takes_last;
};

Status infer_argument(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kNumberTypes));
  const Shape& x = context.input(0)->shape;
  ArgumentState& state = context.state<ArgumentState>();
  QUENCH_RETURN_IF_ERROR(normalize_axis(context.attributes().get_int("axis", 0), x.rank, &state.axis));
  state.reduce = ReduceState();
  state.reduce.reduced[state.axis] = true;
  state.reduce.keeps_axes = context.attributes().get_int("keepdims", 1) != 0;
  state.takes_last = context.attributes().get_int("select_last_index", 0) != 0;
  if (x[state.axis] == 0) return Status::error(StatusCode::kShape, "axis %d has no elements", state.axis);
  return context.set_output(0, ElementType::kInt64, reduced_shape(x, state.reduce));
}

template <typename T, bool kMax>
void find_argument(RunContext& context) {
  const ArgumentState& state = context.state<ArgumentState>();
  const ReduceLoops loops(*context.input(0), *context.output(0), state.reduce);
  const T* x = context.input(0)->as<T>();
  int64_t* y = context.output(0)->as<int64_t>();
  const int64_t size = context.input(0)->shape[state.axis];
  const int64_t step = loops.reduced.step(0);
  walk(loops.kept, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const T* first = x + at[1] + i * loops.kept.step(1);
      int64_t best = 0;
      for (int64_t k = 1; k < size; ++k) {
        const T value = first[k * step];
        const T leader = first[best * step];
        if ((kMax ? value > leader : value < leader) || (state.takes_last && value == leader)) best = k;
      }
      y[at[0] + i * loops.kept.step(0)] = best;
    }
  });
}

template <bool kMax>
Status run_argument(RunContext& context) {
  return with_number_type(context.input(0)->type, [&](auto t) {
    find_argument<typename decltype(t)::type, kMax>(context);
    return Status();
  });
}

// MeanVarianceNormalization: of all values that have their place along the other axes in common.

Status infer_mean_variance(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  const Shape& x = context.input(0)->shape;
  IntList axes;
  QUENCH_RETURN_IF_ERROR(read_attribute(context, "axes", &axes));
  if (!axes.present) axes = {true, 3, {0, 2, 3}};
  ReduceState& state = context.state<ReduceState>();
  state.keeps_axes = true;
  QUENCH_RETURN_IF_ERROR(mark_axes(axes, x.rank, state.reduced));
  return context.set_output(0, ElementType::kFloat32, x);
}

Status run_mean_variance(RunContext& context) {
  const ReduceState& state = context.state<ReduceState>();
  Tensor means = *context.input(0);
  means.shape = reduced_shape(means.shape, state);
  const ReduceLoops loops(*context.input(0), means, state);
  const int64_t step = loops.reduced.step(0);
  const auto each = static_cast<double>(loops.reduced.elements());
  walk(loops.kept, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const float* x = context.input(0)->as<float>() + at[1] + i * loops.kept.step(1);
      float* y = context.output(0)->as<float>() + at[1] + i * loops.kept.step(1);
      const auto for_each = [&](const auto& function) {
        walk(loops.reduced, [&](const int64_t* offset, int64_t values) {
          for (int64_t k = 0; k < values; ++k) function(*offset + k * step);
        });
      };
      double sum = 0;
      for_each([&](int64_t offset) { sum += x[offset]; });
      const double mean = sum / each;
      double squares = 0;
      for_each([&](int64_t offset) { squares += (x[offset] - mean) * (x[offset] - mean); });
      const double deviation = std::sqrt(squares / each) + 1e-9;
      for_each([&](int64_t offset) { y[offset] = static_cast<float>((x[offset] - mean) / deviation); });
    }
  });
  return Status();
}

// CumSum: of all values up to here along an axis, which may be known only when running.

Status infer_cum_sum(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(
      check_node(context, 2, 2, kReduceTypes | type_set(ElementType::kUint32, ElementType::kUint64)));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kIndexTypes));
  if (context.input(1)->elements() != 1) return Status::error(StatusCode::kShape, "input 1 is no scalar");
  return context.set_output(0, context.input(0)->type, context.input(0)->shape);
}

template <typename T>
void accumulate(RunContext& context, int axis) {
  const Shape& shape = context.input(0)->shape;
  const int64_t size = shape[axis];
  const int64_t inner = shape.elements(axis + 1, shape.rank);
  const bool exclusive = context.attributes().get_int("exclusive", 0) != 0;
  const bool reverse = context.attributes().get_int("reverse", 0) != 0;
  for (int64_t line = 0, lines = shape.elements(0, axis) * inner; line < lines; ++line) {
    const int64_t first = line / inner * inner * size + line % inner;
    const T* x = context.input(0)->as<T>() + first;
    T* y = context.output(0)->as<T>() + first;
    Accumulator<T> sum = 0;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t offset = (reverse ? size - 1 - i : i) * inner;
      const Accumulator<T> before = sum;
      sum += widen(x[offset]);
      y[offset] = static_cast<T>(exclusive ? before : sum);
    }
  }
}

Status run_cum_sum(RunContext& context) {
  int axis = 0;
  const Tensor& axes = *context.input(1);
  const int64_t wanted = axes.type == ElementType::kInt32 ? *axes.as<int32_t>() : *axes.as<int64_t>();
  QUENCH_RETURN_IF_ERROR(normalize_axis(wanted, context.input(0)->shape.rank, &axis));
  if (context.input(0)->type == ElementType::kFloat32) {
    accumulate<float>(context, axis);
  } else if (size_of(context.input(0)->type) == 4) {
    accumulate<uint32_t>(context, axis);
  } else {
    accumulate<uint64_t>(context, axis);
  }
  return Status();
}

constexpr Kernel reduction(const char* op, Status (*infer)(InferContext&), Status (*run)(RunContext&)) {
  return {.op = op, .infer = infer, .run = run, .state_bytes = sizeof(ReduceState), .layout = LayoutRule::kFollows};
}

constexpr Kernel argument(const char* op, Status (*run)(RunContext&)) {
  return {.op = op,
          .infer = infer_argument,
          .run = run,
          .state_bytes = sizeof(ArgumentState),
          .layout = LayoutRule::kFollows};
}

// ReduceSum took its axes as an input five versions before the others did.
constexpr Kernel kKernels[] = {
    reduction("ReduceSum", infer_reduce_numbers<13>, run_reduce<SumOf>),
    reduction("ReduceMean", infer_reduce_numbers<18>, run_reduce<MeanOf>),
    reduction("ReduceProd", infer_reduce_numbers<18>, run_reduce<ProductOf>),
    reduction("ReduceSumSquare", infer_reduce_numbers<18>, run_reduce<SumSquareOf>),
    reduction("ReduceL1", infer_reduce_numbers<18>, run_reduce<L1Of>),
    reduction("ReduceL2", infer_reduce_floats<18>, run_reduce_floats<L2Of>),
    reduction("ReduceLogSum", infer_reduce_floats<18>, run_reduce_floats<LogSumOf>),
    reduction("ReduceLogSumExp", infer_reduce_floats<18>, run_log_sum_exp),
    reduction("ReduceMax", infer_reduce_order<18>, run_reduce_order<true>),
    reduction("ReduceMin", infer_reduce_order<18>, run_reduce_order<false>),
    argument("ArgMax", run_argument<true>),
    argument("ArgMin", run_argument<false>),
    reduction("MeanVarianceNormalization", infer_mean_variance, run_mean_variance),
    {.op = "CumSum", .infer = infer_cum_sum, .run = run_cum_sum, .inplace_inputs = 1},
};

}  // namespace

std::span<const Kernel> reduction_kernels() { return kKernels; }

}  // namespace quench::rt
