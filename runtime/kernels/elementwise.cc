// Functions of two or more tensors, element by element, with broadcasting.

#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "runtime/kernels/checks.h"
#include "runtime/kernels/element_types.h"
#include "runtime/kernels/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// Integer arithmetic wraps around, and a division by zero gives 0, so that no input can trap.
template <typename T>
using Wrapping = std::make_unsigned_t<T>;

struct AddOf {
  float operator()(float a, float b) const { return a + b; }
  template <typename T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
  }
};
struct SubOf {
  float operator()(float a, float b) const { return a - b; }
  template <typename T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
  }
};
struct MulOf {
  float operator()(float a, float b) const { return a * b; }
  template <typename T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
  }
};
struct DivOf {
  float operator()(float a, float b) const { return a / b; }
  template <typename T>
  T operator()(T a, T b) const {
    if (b == 0) return 0;
    // The least integer divided by -1 overflows.
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return SubOf()(T{0}, a);
    return static_cast<T>(a / b);
  }
};
// A NaN on either side gives NaN, as in NumPy.
struct MinOf {
  template <typename T>
  T operator()(T a, T b) const {
    return b < a || b != b ? b : a;
  }
};
struct MaxOf {
  template <typename T>
  T operator()(T a, T b) const {
    return b > a || b != b ? b : a;
  }
};
// With fmod = 0 an integer result has the divisor's sign (Python), with fmod = 1 the dividend's (C).
struct ModOf {
  template <typename T>
  T operator()(T a, T b) const {
    if (b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1))) return 0;
    const T rest = static_cast<T>(a % b);
    return rest != 0 && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
  }
};
struct FmodOf {
  float operator()(float a, float b) const { return std::fmod(a, b); }
  template <typename T>
  T operator()(T a, T b) const {
    if (b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1))) return 0;
    return static_cast<T>(a % b);
  }
};
struct EqualOf {
  template <typename T>
  bool operator()(T a, T b) const {
    return a == b;
  }
};
struct LessOf {
  template <typename T>
  bool operator()(T a, T b) const {
    return a < b;
  }
};
struct GreaterOf {
  template <typename T>
  bool operator()(T a, T b) const {
    return a > b;
  }
};
struct LessOrEqualOf {
  template <typename T>
  bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct GreaterOrEqualOf {
  template <typename T>
  bool operator()(T a, T b) const {
    return a >= b;
  }
};
// Any byte but 0 is true.
struct AndOf {
  bool operator()(uint8_t a, uint8_t b) const { return a != 0 && b != 0; }
};
struct OrOf {
  bool operator()(uint8_t a, uint8_t b) const { return a != 0 || b != 0; }
};
struct XorOf {
  bool operator()(uint8_t a, uint8_t b) const { return (a != 0) != (b != 0); }
};
struct SameTruth {
  bool operator()(uint8_t a, uint8_t b) const { return (a != 0) == (b != 0); }
};
struct SlopeOf {
  float operator()(float x, float slope) const { return x < 0 ? slope * x : x; }
};

// The usual cases have loops of their own that a compiler can vectorize.
template <typename T, typename R, typename Function>
void combine_row(const T* a, int64_t step_a, const T* b, int64_t step_b, R* y, int64_t step_y, int64_t count,
                 const Function& function) {
  if (std::is_same_v<T, float> && step_y == 1 && step_a == 1 && step_b == 1) {
    for (int64_t i = 0; i < count; ++i) y[i] = function(a[i], b[i]);
  } else if (std::is_same_v<T, float> && step_y == 1 && step_a == 1 && step_b == 0) {
    const T value = *b;
    for (int64_t i = 0; i < count; ++i) y[i] = function(a[i], value);
  } else {
    for (int64_t i = 0; i < count; ++i) y[i * step_y] = function(a[i * step_a], b[i * step_b]);
  }
}

template <typename T, typename R, typename Function>
Status combine(RunContext& context, const Function& function) {
  const Tensor* output = context.output(0);
  const auto loop = broadcast_loop<3>(*output, {output, context.input(0), context.input(1)});
  const T* a = context.input(0)->as<T>();
  const T* b = context.input(1)->as<T>();
  R* y = output->as<R>();
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    combine_row(a + at[1], loop.step(1), b + at[2], loop.step(2), y + at[0], loop.step(0), count, function);
  });
  return Status();
}

// Before version 7 an attribute placed the second input's axes; where it means something else than NumPy's rules do,
// the node is refused.
Status check_legacy_axis(const InferContext& context) {
  const int64_t axis = context.attributes().get_int("axis", -1);
  if (context.opset() >= 7 || axis < 0) return Status();
  const int rank = context.input(0)->shape.rank;
  const Shape& small = context.input(1)->shape;
  if (axis + small.rank == rank || small.elements() == 1) return Status();
  return Status::error(StatusCode::kUnsupportedFeature, "attribute 'axis' of operator set 6 and before");
}

Status infer_binary(InferContext& context, TypeSet types, DType result) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, types));
  QUENCH_RETURN_IF_ERROR(check_same_type(context, 1));
  QUENCH_RETURN_IF_ERROR(check_legacy_axis(context));
  Shape shape;
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(context.input(0)->shape, context.input(1)->shape, &shape));
  return context.set_output(0, result == DType::kUndefined ? context.input(0)->type : result, shape);
}

Status infer_arithmetic(InferContext& context) { return infer_binary(context, kNumberTypes, DType::kUndefined); }
Status infer_comparison(InferContext& context) { return infer_binary(context, kNumberTypes, DType::kBool); }
Status infer_equal(InferContext& context) { return infer_binary(context, kNumberTypes | kBoolType, DType::kBool); }
Status infer_logic(InferContext& context) { return infer_binary(context, kBoolType, DType::kBool); }

template <typename Function>
Status run_arithmetic(RunContext& context) {
  return with_number_type(context.input(0)->type, [&](auto t) {
    using T = typename decltype(t)::type;
    return combine<T, T>(context, Function());
  });
}

template <typename Function>
Status run_comparison(RunContext& context) {
  return with_number_type(context.input(0)->type,
                          [&](auto t) { return combine<typename decltype(t)::type, uint8_t>(context, Function()); });
}

template <typename Function>
Status run_logic(RunContext& context) {
  return combine<uint8_t, uint8_t>(context, Function());
}

Status run_equal(RunContext& context) {
  return context.input(0)->type == DType::kBool ? run_logic<SameTruth>(context) : run_comparison<EqualOf>(context);
}

Status infer_mod(InferContext& context) {
  if (context.attributes().get_int("fmod", 0) == 0 && context.input(0) && context.input(0)->type == DType::kFloat) {
    return Status::error(StatusCode::kInvalidArgument, "fmod = 0 with float32");
  }
  return infer_arithmetic(context);
}

Status run_mod(RunContext& context) {
  if (context.attributes().get_int("fmod", 0) != 0) return run_arithmetic<FmodOf>(context);
  switch (context.input(0)->type) {
    case DType::kUint8:
      return combine<uint8_t, uint8_t>(context, ModOf());
    case DType::kInt32:
      return combine<int32_t, int32_t>(context, ModOf());
    default:
      return combine<int64_t, int64_t>(context, ModOf());
  }
}

template <typename Function>
constexpr Kernel arithmetic(const char* op) {
  return {.op = op,
          .infer = infer_arithmetic,
          .run = run_arithmetic<Function>,
          .inplace_inputs = 0b11,
          .layout = LayoutRule::kFollows};
}

template <typename Function>
constexpr Kernel comparison(const char* op) {
  return {.op = op, .infer = infer_comparison, .run = run_comparison<Function>, .layout = LayoutRule::kFollows};
}

template <typename Function>
constexpr Kernel logic(const char* op) {
  return {.op = op,
          .infer = infer_logic,
          .run = run_logic<Function>,
          .inplace_inputs = 0b11,
          .layout = LayoutRule::kFollows};
}

// Pow: base and exponent may have different types; the result has the base's.

constexpr TypeSet kPowTypes = type_set(DType::kFloat, DType::kInt32, DType::kInt64);

Status infer_pow(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kPowTypes));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kPowTypes));
  QUENCH_RETURN_IF_ERROR(check_legacy_axis(context));
  Shape shape;
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(context.input(0)->shape, context.input(1)->shape, &shape));
  return context.set_output(0, context.input(0)->type, shape);
}

template <typename T>
T saturate(double x) {
  if (std::is_same_v<T, float>) return static_cast<T>(x);
  if (x != x) return 0;
  if (x >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  if (x <= static_cast<double>(std::numeric_limits<T>::lowest())) return std::numeric_limits<T>::lowest();
  return static_cast<T>(x);
}

template <typename Base, typename Exponent>
Base power(Base base, Exponent exponent) {
  if constexpr (std::is_same_v<Base, float> && std::is_same_v<Exponent, float>) {
    // Squares are what models use it for.
    return exponent == 2.0f ? base * base : std::pow(base, exponent);
  } else {
    return saturate<Base>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
}

template <typename Base, typename Exponent>
Status raise(RunContext& context) {
  const Tensor* output = context.output(0);
  const auto loop = broadcast_loop<3>(*output, {output, context.input(0), context.input(1)});
  const Base* base = context.input(0)->as<Base>();
  const Exponent* exponent = context.input(1)->as<Exponent>();
  Base* y = output->as<Base>();
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      y[at[0] + i * loop.step(0)] = power(base[at[1] + i * loop.step(1)], exponent[at[2] + i * loop.step(2)]);
    }
  });
  return Status();
}

template <typename Base>
Status raise_base(RunContext& context) {
  switch (context.input(1)->type) {
    case DType::kInt32:
      return raise<Base, int32_t>(context);
    case DType::kInt64:
      return raise<Base, int64_t>(context);
    default:
      return raise<Base, float>(context);
  }
}

Status run_pow(RunContext& context) {
  switch (context.input(0)->type) {
    case DType::kInt32:
      return raise_base<int32_t>(context);
    case DType::kInt64:
      return raise_base<int64_t>(context);
    default:
      return raise_base<float>(context);
  }
}

// PRelu: the slope broadcasts to X; before version 7 a slope per channel had rank 1.

bool has_legacy_slope(const NodeContext& context) {
  return context.opset() < 7 && context.input(1)->shape.rank == 1 && context.input(0)->shape.rank > 1;
}

Tensor slope_of(const NodeContext& context) {
  Tensor slope = *context.input(1);
  if (!has_legacy_slope(context)) return slope;
  const int64_t channels = slope.shape[0];
  slope.shape.rank = context.input(0)->shape.rank - 1;
  slope.shape[0] = channels;
  for (int axis = 1; axis < slope.shape.rank; ++axis) slope.shape[axis] = 1;
  return slope;
}

Status infer_prelu(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_same_type(context, 1));
  const Shape& shape = context.input(0)->shape;
  Shape together;
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(shape, slope_of(context).shape, &together));
  if (!(together == shape)) return Status::error(StatusCode::kShape, "the slope does not broadcast to the input");
  return context.set_output(0, DType::kFloat, shape);
}

Status run_prelu(RunContext& context) {
  const Tensor slope = slope_of(context);
  const Tensor* output = context.output(0);
  const auto loop = broadcast_loop<3>(*output, {output, context.input(0), &slope});
  const float* x = context.input(0)->as<float>();
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    combine_row(x + at[1], loop.step(1), slope.as<float>() + at[2], loop.step(2), output->as<float>() + at[0],
                loop.step(0), count, SlopeOf());
  });
  return Status();
}

// Sum, Mean, Min, Max of any number of tensors.

Status infer_variadic(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, std::numeric_limits<int>::max(), kNumberTypes));
  Shape shape = context.input(0)->shape;
  for (int index = 1; index < context.inputs(); ++index) {
    QUENCH_RETURN_IF_ERROR(check_same_type(context, index));
    QUENCH_RETURN_IF_ERROR(broadcast_shapes(shape, context.input(index)->shape, &shape));
  }
  return context.set_output(0, context.input(0)->type, shape);
}

// Goes through the output in blocks that are combined on the stack: all inputs of a block are read before it is
// written, which makes it safe to write over one of them.
template <typename T, typename Function>
void combine_blocks(const RunContext& context, int64_t begin, int64_t end, T divisor) {
  constexpr int64_t kBlock = 512;
  const Tensor* output = context.output(0);
  T block[kBlock];
  for (int64_t start = begin; start < end; start += kBlock) {
    const int64_t size = end - start < kBlock ? end - start : kBlock;
    for (int index = 0; index < context.inputs(); ++index) {
      const auto loop = broadcast_loop<1>(*output, {context.input(index)});
      const T* x = context.input(index)->as<T>();
      int64_t done = 0;
      walk(loop, start, start + size, [&](const int64_t* at, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
          const T value = x[at[0] + i * loop.step(0)];
          block[done + i] = index == 0 ? value : Function()(block[done + i], value);
        }
        done += count;
      });
    }
    T* y = output->as<T>() + start;
    for (int64_t i = 0; i < size; ++i) y[i] = divisor == 1 ? block[i] : DivOf()(block[i], divisor);
  }
}

template <typename Function, bool kMean>
Status run_variadic(RunContext& context) {
  if (context.inputs() == 2 && !kMean) return run_arithmetic<Function>(context);
  return with_number_type(context.input(0)->type, [&](auto t) {
    using T = typename decltype(t)::type;
    const T divisor = kMean ? static_cast<T>(context.inputs()) : T{1};
    context.parallel_for(context.output(0)->elements(), kParallelGrain, [&](int64_t begin, int64_t end, int) {
      combine_blocks<T, Function>(context, begin, end, divisor);
    });
    return Status();
  });
}

template <typename Function, bool kMean = false>
constexpr Kernel variadic(const char* op) {
  return {.op = op,
          .infer = infer_variadic,
          .run = run_variadic<Function, kMean>,
          .inplace_inputs = 0b11,
          .layout = LayoutRule::kFollows};
}

Status infer_not(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kBoolType));
  return context.set_output(0, DType::kBool, context.input(0)->shape);
}

Status run_not(RunContext& context) {
  const uint8_t* x = context.input(0)->as<uint8_t>();
  uint8_t* y = context.output(0)->as<uint8_t>();
  for (int64_t i = 0, count = context.output(0)->elements(); i < count; ++i) y[i] = x[i] == 0;
  return Status();
}

Status infer_where(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 3, kBoolType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kAllTypes));
  if (context.input(2)->type != context.input(1)->type) {
    return Status::error(StatusCode::kUnsupportedType, "inputs 1 and 2 have different types");
  }
  Shape shape;
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(context.input(0)->shape, context.input(1)->shape, &shape));
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(shape, context.input(2)->shape, &shape));
  return context.set_output(0, context.input(1)->type, shape);
}

template <typename T>
Status choose(RunContext& context) {
  const Tensor* output = context.output(0);
  const auto loop = broadcast_loop<4>(*output, {output, context.input(0), context.input(1), context.input(2)});
  const uint8_t* condition = context.input(0)->as<uint8_t>();
  const T* a = context.input(1)->as<T>();
  const T* b = context.input(2)->as<T>();
  T* y = output->as<T>();
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      y[at[0] + i * loop.step(0)] =
          condition[at[1] + i * loop.step(1)] != 0 ? a[at[2] + i * loop.step(2)] : b[at[3] + i * loop.step(3)];
    }
  });
  return Status();
}

Status run_where(RunContext& context) {
  switch (size_of(context.output(0)->type)) {
    case 1:
      return choose<uint8_t>(context);
    case 2:
      return choose<uint16_t>(context);
    case 4:
      return choose<uint32_t>(context);
    default:
      return choose<uint64_t>(context);
  }
}

constexpr Kernel kKernels[] = {
    arithmetic<AddOf>("Add"),
    arithmetic<SubOf>("Sub"),
    arithmetic<MulOf>("Mul"),
    arithmetic<DivOf>("Div"),
    {.op = "Mod", .infer = infer_mod, .run = run_mod, .inplace_inputs = 0b11, .layout = LayoutRule::kFollows},
    {.op = "Pow", .infer = infer_pow, .run = run_pow, .inplace_inputs = 0b01, .layout = LayoutRule::kFollows},
    {.op = "PRelu", .infer = infer_prelu, .run = run_prelu, .inplace_inputs = 0b01, .layout = LayoutRule::kFollows},
    variadic<AddOf>("Sum"),
    variadic<AddOf, true>("Mean"),
    variadic<MinOf>("Min"),
    variadic<MaxOf>("Max"),
    {.op = "Equal", .infer = infer_equal, .run = run_equal, .layout = LayoutRule::kFollows},
    comparison<LessOf>("Less"),
    comparison<GreaterOf>("Greater"),
    comparison<LessOrEqualOf>("LessOrEqual"),
    comparison<GreaterOrEqualOf>("GreaterOrEqual"),
    logic<AndOf>("And"),
    logic<OrOf>("Or"),
    logic<XorOf>("Xor"),
    {.op = "Not", .infer = infer_not, .run = run_not, .inplace_inputs = 1, .layout = LayoutRule::kFollows},
    {.op = "Where", .infer = infer_where, .run = run_where, .layout = LayoutRule::kFollows},
};

}  // namespace

std::span<const Kernel> elementwise_kernels() { return kKernels; }

}  // namespace quench::rt
