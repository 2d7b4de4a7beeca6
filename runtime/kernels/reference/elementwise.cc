// Functions of two or more tensors, element by element, with broadcasting.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/integers.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// Functions come in two forms: on float32, and on 64-bit integers, which stand for every other type. Integer arithmetic
// wraps around, and a division by zero gives 0, so that no input can trap.

int64_t wrapping(uint64_t x) { return static_cast<int64_t>(x); }

struct AddOf {
  float operator()(float a, float b) const { return a + b; }
  int64_t operator()(int64_t a, int64_t b) const {
    return wrapping(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
};
struct SubOf {
  float operator()(float a, float b) const { return a - b; }
  int64_t operator()(int64_t a, int64_t b) const {
    return wrapping(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
  }
};
struct MulOf {
  float operator()(float a, float b) const { return a * b; }
  int64_t operator()(int64_t a, int64_t b) const {
    return wrapping(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};
struct DivOf {
  float operator()(float a, float b) const { return a / b; }
  int64_t operator()(int64_t a, int64_t b) const {
    // The least integer divided by -1 overflows.
    return b == 0 ? 0 : b == -1 ? SubOf()(int64_t{0}, a) : a / b;
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
// The result has the dividend's sign, as in C.
struct FmodOf {
  float operator()(float a, float b) const { return std::fmod(a, b); }
  int64_t operator()(int64_t a, int64_t b) const { return b == 0 || b == -1 ? 0 : a % b; }
};
// The result has the divisor's sign, as in Python.
struct ModOf {
  int64_t operator()(int64_t a, int64_t b) const {
    const int64_t rest = FmodOf()(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
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
struct AndOf {
  bool operator()(int64_t a, int64_t b) const { return a != 0 && b != 0; }
};
struct OrOf {
  bool operator()(int64_t a, int64_t b) const { return a != 0 || b != 0; }
};
struct XorOf {
  bool operator()(int64_t a, int64_t b) const { return a != b; }
};
struct BitAndOf {
  int64_t operator()(int64_t a, int64_t b) const { return a & b; }
};
struct BitOrOf {
  int64_t operator()(int64_t a, int64_t b) const { return a | b; }
};
struct BitXorOf {
  int64_t operator()(int64_t a, int64_t b) const { return a ^ b; }
};
// Of unsigned numbers, which 64 bits hold without a sign; bits that are shifted out are lost.
struct ShiftLeftOf {
  int64_t operator()(int64_t a, int64_t b) const {
    return b < 0 || b > 63 ? 0 : wrapping(static_cast<uint64_t>(a) << b);
  }
};
struct ShiftRightOf {
  int64_t operator()(int64_t a, int64_t b) const {
    return b < 0 || b > 63 ? 0 : wrapping(static_cast<uint64_t>(a) >> b);
  }
};
struct SlopeOf {
  float operator()(float x, float slope) const { return x < 0 ? slope * x : x; }
};

constexpr TypeSet kArithmeticTypes = kFloatType | kIntegerTypes;
constexpr TypeSet kBitTypes = kIntegerTypes | type_set(ElementType::kUint64);
constexpr TypeSet kUnsignedTypes =
    type_set(ElementType::kUint8, ElementType::kUint16, ElementType::kUint32, ElementType::kUint64);

// The usual cases have loops of their own that a compiler can vectorize.
template <typename Result, typename Function>
void combine_row(const float* a, int64_t step_a, const float* b, int64_t step_b, Result* y, int64_t step_y,
                 int64_t count, const Function& function) {
  if (step_y == 1 && step_a == 1 && step_b == 1) {
    for (int64_t i = 0; i < count; ++i) y[i] = function(a[i], b[i]);
  } else if (step_y == 1 && step_a == 1 && step_b == 0) {
    const float value = *b;
    for (int64_t i = 0; i < count; ++i) y[i] = function(a[i], value);
  } else {
    for (int64_t i = 0; i < count; ++i) y[i * step_y] = function(a[i * step_a], b[i * step_b]);
  }
}

template <typename Result, typename Function>
Status combine_floats(RunContext& context) {
  const Tensor& output = *context.output(0);
  const auto loop = broadcast_loop<3>(output, {&output, context.input(0), context.input(1)});
  const float* a = context.input(0)->as<float>();
  const float* b = context.input(1)->as<float>();
  Result* y = output.as<Result>();
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    combine_row(a + at[1], loop.step(1), b + at[2], loop.step(2), y + at[0], loop.step(0), count, Function());
  });
  return Status();
}

template <typename Function>
Status combine_integers(RunContext& context) {
  const Tensor& output = *context.output(0);
  const Tensor& a = *context.input(0);
  const Tensor& b = *context.input(1);
  const auto loop = broadcast_loop<3>(output, {&output, &a, &b});
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    int64_t left[kBlock];
    int64_t right[kBlock];
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t size = count - begin < kBlock ? count - begin : kBlock;
      load_integers(a, at[1] + begin * loop.step(1), loop.step(1), size, left);
      load_integers(b, at[2] + begin * loop.step(2), loop.step(2), size, right);
      for (int64_t i = 0; i < size; ++i) left[i] = Function()(left[i], right[i]);
      store_integers(left, output, at[0] + begin * loop.step(0), loop.step(0), size);
    }
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

Status infer_binary(InferContext& context, TypeSet types, ElementType result) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, types));
  QUENCH_RETURN_IF_ERROR(check_same_type(context, 1));
  QUENCH_RETURN_IF_ERROR(check_legacy_axis(context));
  Shape shape;
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(context.input(0)->shape, context.input(1)->shape, &shape));
  return context.set_output(0, result == ElementType::kUndefined ? context.input(0)->type : result, shape);
}

Status infer_arithmetic(InferContext& context) {
  return infer_binary(context, kArithmeticTypes, ElementType::kUndefined);
}
Status infer_comparison(InferContext& context) { return infer_binary(context, kArithmeticTypes, ElementType::kBool); }
Status infer_equal(InferContext& context) {
  return infer_binary(context, kArithmeticTypes | kBoolType, ElementType::kBool);
}
Status infer_logic(InferContext& context) { return infer_binary(context, kBoolType, ElementType::kBool); }
Status infer_bits(InferContext& context) { return infer_binary(context, kBitTypes, ElementType::kUndefined); }

template <typename Function>
Status run_arithmetic(RunContext& context) {
  return context.input(0)->type == ElementType::kFloat32 ? combine_floats<float, Function>(context)
                                                         : combine_integers<Function>(context);
}

template <typename Function>
Status run_comparison(RunContext& context) {
  return context.input(0)->type == ElementType::kFloat32 ? combine_floats<uint8_t, Function>(context)
                                                         : combine_integers<Function>(context);
}

Status infer_mod(InferContext& context) {
  if (context.attributes().get_int("fmod", 0) == 0 && context.input(0) &&
      context.input(0)->type == ElementType::kFloat32) {
    return Status::error(StatusCode::kInvalidArgument, "fmod = 0 with float32");
  }
  return infer_arithmetic(context);
}

Status run_mod(RunContext& context) {
  return context.attributes().get_int("fmod", 0) != 0 ? run_arithmetic<FmodOf>(context)
                                                      : combine_integers<ModOf>(context);
}

Status infer_bit_shift(InferContext& context) {
  const std::string_view direction = context.attributes().get_string("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") {
    return Status::error(StatusCode::kInvalidArgument, "direction is neither LEFT nor RIGHT");
  }
  return infer_binary(context, kUnsignedTypes, ElementType::kUndefined);
}

Status run_bit_shift(RunContext& context) {
  return context.attributes().get_string("direction", "") == "LEFT" ? combine_integers<ShiftLeftOf>(context)
                                                                    : combine_integers<ShiftRightOf>(context);
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
          .run = combine_integers<Function>,
          .inplace_inputs = 0b11,
          .layout = LayoutRule::kFollows};
}

template <typename Function>
constexpr Kernel bitwise(const char* op) {
  return {.op = op,
          .since_version = 18,
          .infer = infer_bits,
          .run = combine_integers<Function>,
          .inplace_inputs = 0b11,
          .layout = LayoutRule::kFollows};
}

// Pow: base and exponent may have different types; the result has the base's.

constexpr TypeSet kPowTypes = type_set(ElementType::kFloat32, ElementType::kInt32, ElementType::kInt64);

Status infer_pow(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kPowTypes));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kArithmeticTypes));
  QUENCH_RETURN_IF_ERROR(check_legacy_axis(context));
  Shape shape;
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(context.input(0)->shape, context.input(1)->shape, &shape));
  return context.set_output(0, context.input(0)->type, shape);
}

// The nearest integer of the tensor's type; NaN becomes 0.
void store_saturated(const Tensor& tensor, int64_t offset, double x) {
  const bool narrow = tensor.type == ElementType::kInt32;
  const double most = narrow ? 2147483647.0 : 9223372036854775808.0;
  int64_t value = 0;
  if (x >= most) {
    value = narrow ? INT32_MAX : INT64_MAX;
  } else if (x <= -most) {
    value = narrow ? INT32_MIN : INT64_MIN;
  } else if (x == x) {
    value = static_cast<int64_t>(x);
  }
  store_integers(&value, tensor, offset, 0, 1);
}

struct PowOf {
  // Squares are what models use it for.
  float operator()(float a, float b) const { return b == 2.0f ? a * a : std::pow(a, b); }
};

Status run_pow(RunContext& context) {
  const Tensor& output = *context.output(0);
  const Tensor& base = *context.input(0);
  const Tensor& exponent = *context.input(1);
  if (base.type == ElementType::kFloat32 && exponent.type == ElementType::kFloat32)
    return combine_floats<float, PowOf>(context);
  const auto loop = broadcast_loop<3>(output, {&output, &base, &exponent});
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t offset = at[0] + i * loop.step(0);
      const double power =
          std::pow(number_at(base, at[1] + i * loop.step(1)), number_at(exponent, at[2] + i * loop.step(2)));
      if (output.type == ElementType::kFloat32) {
        output.as<float>()[offset] = static_cast<float>(power);
      } else {
        store_saturated(output, offset, power);
      }
    }
  });
  return Status();
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
  return context.set_output(0, ElementType::kFloat32, shape);
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
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, std::numeric_limits<int>::max(), kArithmeticTypes));
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
  const Tensor& output = *context.output(0);
  T block[kBlock];
  T values[kBlock];
  for (int64_t start = begin; start < end; start += kBlock) {
    const int64_t size = end - start < kBlock ? end - start : kBlock;
    for (int index = 0; index < context.inputs(); ++index) {
      const Tensor& input = *context.input(index);
      const auto loop = broadcast_loop<1>(output, {&input});
      int64_t done = 0;
      walk(loop, start, start + size, [&](const int64_t* at, int64_t count) {
        if constexpr (std::is_same_v<T, float>) {
          for (int64_t i = 0; i < count; ++i) values[done + i] = input.as<float>()[at[0] + i * loop.step(0)];
        } else {
          load_integers(input, at[0], loop.step(0), count, values + done);
        }
        done += count;
      });
      for (int64_t i = 0; i < size; ++i) block[i] = index == 0 ? values[i] : Function()(block[i], values[i]);
    }
    if (divisor != 1) {
      for (int64_t i = 0; i < size; ++i) block[i] = DivOf()(block[i], divisor);
    }
    if constexpr (std::is_same_v<T, float>) {
      memcpy(output.as<float>() + start, block, static_cast<size_t>(size) * sizeof(float));
    } else {
      store_integers(block, output, start, 1, size);
    }
  }
}

template <typename Function, bool kMean>
Status run_variadic(RunContext& context) {
  if (context.inputs() == 2 && !kMean) return run_arithmetic<Function>(context);
  const int divisor = kMean ? context.inputs() : 1;
  context.parallel_for(context.output(0)->elements(), kParallelGrain, [&](int64_t begin, int64_t end, int) {
    if (context.output(0)->type == ElementType::kFloat32) {
      combine_blocks<float, Function>(context, begin, end, static_cast<float>(divisor));
    } else {
      combine_blocks<int64_t, Function>(context, begin, end, divisor);
    }
  });
  return Status();
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
  return context.set_output(0, ElementType::kBool, context.input(0)->shape);
}

Status run_not(RunContext& context) {
  const uint8_t* x = context.input(0)->as<uint8_t>();
  uint8_t* y = context.output(0)->as<uint8_t>();
  for (int64_t i = 0, count = context.output(0)->elements(); i < count; ++i) y[i] = x[i] == 0;
  return Status();
}

Status infer_bitwise_not(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kBitTypes));
  return context.set_output(0, context.input(0)->type, context.input(0)->shape);
}

Status run_bitwise_not(RunContext& context) {
  const uint8_t* x = context.input(0)->as<uint8_t>();
  uint8_t* y = context.output(0)->as<uint8_t>();
  for (int64_t i = 0, bytes = context.output(0)->bytes(); i < bytes; ++i) y[i] = static_cast<uint8_t>(~x[i]);
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
    {.op = "Equal", .infer = infer_equal, .run = run_comparison<EqualOf>, .layout = LayoutRule::kFollows},
    comparison<LessOf>("Less"),
    comparison<GreaterOf>("Greater"),
    comparison<LessOrEqualOf>("LessOrEqual"),
    comparison<GreaterOrEqualOf>("GreaterOrEqual"),
    logic<AndOf>("And"),
    logic<OrOf>("Or"),
    logic<XorOf>("Xor"),
    bitwise<BitAndOf>("BitwiseAnd"),
    bitwise<BitOrOf>("BitwiseOr"),
    bitwise<BitXorOf>("BitwiseXor"),
    {.op = "BitwiseNot",
     .since_version = 18,
     .infer = infer_bitwise_not,
     .run = run_bitwise_not,
     .inplace_inputs = 1,
     .layout = LayoutRule::kFollows},
    {.op = "BitShift",
     .infer = infer_bit_shift,
     .run = run_bit_shift,
     .inplace_inputs = 0b11,
     .layout = LayoutRule::kFollows},
    {.op = "Not", .infer = infer_not, .run = run_not, .inplace_inputs = 1, .layout = LayoutRule::kFollows},
    {.op = "Where", .infer = infer_where, .run = run_where, .layout = LayoutRule::kFollows},
};

}  // namespace

std::span<const Kernel> elementwise_kernels() { return kKernels; }

}  // namespace quench::rt
