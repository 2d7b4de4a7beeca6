// Operators that make tensors or change their element type: Constant, ConstantOfShape, Range, EyeLike, Cast, CastLike.

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/element_types.h"
#include "runtime/kernels/reference/integers.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

Status check_storable(ElementType type) {
  if (contains(kAllTypes, type)) return Status();
  return Status::error(StatusCode::kUnsupportedType, "the output would have type %s", name_of(type));
}

Status infer_constant(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 0, 0, kAllTypes));
  const Attributes& attributes = context.attributes();
  if (const Tensor* value = attributes.get_tensor("value")) {
    QUENCH_RETURN_IF_ERROR(check_storable(value->type));
    return context.set_output(0, value->type, value->shape);
  }
  if (attributes.find("value_float", Attribute::kFloat)) return context.set_output(0, ElementType::kFloat32, {});
  if (attributes.find("value_int", Attribute::kInt)) return context.set_output(0, ElementType::kInt64, {});
  if (const Attribute* floats = attributes.find("value_floats", Attribute::kFloats)) {
    return context.set_output(0, ElementType::kFloat32, {static_cast<int64_t>(floats->floats.size())});
  }
  if (const Attribute* ints = attributes.find("value_ints", Attribute::kInts)) {
    return context.set_output(0, ElementType::kInt64, {static_cast<int64_t>(ints->ints.size())});
  }
  return Status::error(StatusCode::kUnsupportedFeature, "the value is neither a dense tensor nor numbers");
}

Status run_constant(RunContext& context) {
  const Attributes& attributes = context.attributes();
  const Tensor& output = *context.output(0);
  const float number = attributes.get_float("value_float", 0);
  const int64_t integer = attributes.get_int("value_int", 0);
  const void* source = nullptr;
  if (const Tensor* value = attributes.get_tensor("value")) {
    source = value->data;
  } else if (attributes.find("value_float", Attribute::kFloat)) {
    source = &number;
  } else if (attributes.find("value_int", Attribute::kInt)) {
    source = &integer;
  } else if (output.type == ElementType::kFloat32) {
    source = attributes.get_floats("value_floats").data();
  } else {
    source = attributes.get_ints("value_ints").data();
  }
  if (output.bytes() > 0) memcpy(output.data, source, static_cast<size_t>(output.bytes()));
  return Status();
}

Status infer_constant_of_shape(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kIndexTypes));
  IntList sizes;
  QUENCH_RETURN_IF_ERROR(read_input(context, 0, &sizes));
  if (sizes.count > kMaxRank) return Status::error(StatusCode::kLimit, "a shape of rank %d", sizes.count);
  const Tensor* value = context.attributes().get_tensor("value");
  if (value && value->elements() != 1) return Status::error(StatusCode::kShape, "attribute 'value' is no scalar");
  const ElementType type = value ? value->type : ElementType::kFloat32;
  QUENCH_RETURN_IF_ERROR(check_storable(type));
  Shape shape;
  shape.rank = sizes.count;
  for (int axis = 0; axis < shape.rank; ++axis) shape[axis] = sizes[axis];
  return context.set_output(0, type, shape);
}

Status run_constant_of_shape(RunContext& context) {
  const Tensor& output = *context.output(0);
  const Tensor* value = context.attributes().get_tensor("value");
  if (output.elements() == 0) return Status();
  if (!value) {
    memset(output.data, 0, static_cast<size_t>(output.bytes()));
    return Status();
  }
  Tensor scalar = *value;
  scalar.shape = Shape();
  copy_strided(context, broadcast_loop<2>(output, {&output, &scalar}), size_of(output.type), output.data, scalar.data);
  return Status();
}

// Range: start, start + delta, ... up to but not including limit.

constexpr TypeSet kRangeTypes =
    type_set(ElementType::kFloat32, ElementType::kInt16, ElementType::kInt32, ElementType::kInt64);

Status infer_range(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 3, kRangeTypes));
  double values[3] = {};
  for (int index = 0; index < 3; ++index) {
    QUENCH_RETURN_IF_ERROR(check_same_type(context, index));
    QUENCH_RETURN_IF_ERROR(read_number(context, index, &values[index]));
  }
  // Integers beyond 2^53 are not told apart here, but a tensor of as many elements does not exist either.
  const double count = std::ceil((values[1] - values[0]) / values[2]);
  if (!(count < 1e15)) return Status::error(StatusCode::kInvalidArgument, "the range has no end");
  return context.set_output(0, context.input(0)->type, {count > 0 ? static_cast<int64_t>(count) : 0});
}

template <typename T>
Status fill_range(RunContext& context) {
  const T start = *context.input(0)->as<T>();
  const T delta = *context.input(2)->as<T>();
  T* y = context.output(0)->as<T>();
  for (int64_t i = 0, count = context.output(0)->elements(); i < count; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      y[i] = static_cast<T>(start + static_cast<double>(i) * delta);
    } else {
      // Wraps around where rounding in the count let it run over.
      y[i] = static_cast<T>(static_cast<uint64_t>(start) + static_cast<uint64_t>(i) * static_cast<uint64_t>(delta));
    }
  }
  return Status();
}

Status run_range(RunContext& context) {
  switch (context.output(0)->type) {
    case ElementType::kInt16:
      return fill_range<int16_t>(context);
    case ElementType::kInt32:
      return fill_range<int32_t>(context);
    case ElementType::kInt64:
      return fill_range<int64_t>(context);
    default:
      return fill_range<float>(context);
  }
}

// EyeLike: ones on a diagonal of a matrix of zeros, of the input's shape.

Status infer_eye_like(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  const Tensor& x = *context.input(0);
  if (x.shape.rank != 2) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 2", x.shape.rank);
  ElementType type = ElementType::kUndefined;
  QUENCH_RETURN_IF_ERROR(read_type(context, "dtype", x.type, &type));
  return context.set_output(0, type, x.shape);
}

Status run_eye_like(RunContext& context) {
  const Tensor& output = *context.output(0);
  const int64_t k = context.attributes().get_int("k", 0);
  const int64_t bytes = size_of(output.type);
  const int64_t one = 1;
  const float one_as_float = 1;
  const void* pattern = output.type == ElementType::kFloat32 ? static_cast<const void*>(&one_as_float) : &one;
  const int64_t columns = output.shape[1];
  if (output.bytes() > 0) memset(output.data, 0, output.size_bytes());
  for (int64_t row = 0; row < output.shape[0]; ++row) {
    // row + k, which may be too large for 64 bits, lies in [0, columns).
    if (k < -row || k >= columns - row) continue;
    memcpy(output.as<uint8_t>() + (row * columns + row + k) * bytes, pattern, static_cast<size_t>(bytes));
  }
  return Status();
}

// Cast. float16, bfloat16 and double are computed in float32, so casts among the four change nothing.

Status infer_cast(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  ElementType type = ElementType::kUndefined;
  QUENCH_RETURN_IF_ERROR(read_type(context, "to", ElementType::kUndefined, &type));
  return context.set_output(0, type, context.input(0)->shape);
}

Status infer_cast_like(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kAllTypes));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kAllTypes));
  return context.set_output(0, context.input(1)->type, context.input(0)->shape);
}

// Towards zero; what does not fit 64 bits becomes the nearest that does, NaN becomes 0, and narrower integers wrap.
template <typename To>
To from_float(float x) {
  if (x != x) return 0;
  if constexpr (std::is_same_v<To, uint64_t>) {
    if (x >= 18446744073709551616.0f) return std::numeric_limits<uint64_t>::max();
    if (x >= 0) return static_cast<uint64_t>(x);
  }
  if (x >= 9223372036854775808.0f) return static_cast<To>(std::numeric_limits<int64_t>::max());
  if (x <= -9223372036854775808.0f) return static_cast<To>(std::numeric_limits<int64_t>::min());
  return static_cast<To>(static_cast<int64_t>(x));
}

void narrow(const int64_t* block, bool is_unsigned, int64_t begin, int64_t count, const Tensor& target) {
  const bool is_bool = target.type == ElementType::kBool;
  (void)with_any_type(target.type, [&](auto t) {
    using T = typename decltype(t)::type;
    T* y = target.as<T>() + begin;
    for (int64_t i = 0; i < count; ++i) {
      if (is_bool) {
        y[i] = static_cast<T>(block[i] != 0);
      } else {
        y[i] = is_unsigned ? static_cast<T>(static_cast<uint64_t>(block[i])) : static_cast<T>(block[i]);
      }
    }
    return Status();
  });
}

void convert_floats(const Tensor& source, int64_t begin, int64_t count, const Tensor& target) {
  const float* x = source.as<float>() + begin;
  const bool is_bool = target.type == ElementType::kBool;
  (void)with_any_type(target.type, [&](auto t) {
    using T = typename decltype(t)::type;
    T* y = target.as<T>() + begin;
    for (int64_t i = 0; i < count; ++i) {
      if constexpr (std::is_same_v<T, float>) {
        y[i] = x[i];
      } else {
        y[i] = is_bool ? static_cast<T>(x[i] != 0) : from_float<T>(x[i]);
      }
    }
    return Status();
  });
}

Status run_cast(RunContext& context) {
  const Tensor& source = *context.input(0);
  const Tensor& target = *context.output(0);
  context.parallel_for(target.elements(), kParallelGrain, [&](int64_t begin, int64_t end, int) {
    if (source.type == ElementType::kFloat32) {
      convert_floats(source, begin, end - begin, target);
      return;
    }
    int64_t block[kBlock];
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t count = end - at < kBlock ? end - at : kBlock;
      load_integers(source, at, 1, count, block);
      narrow(block, source.type == ElementType::kUint64, at, count, target);
    }
  });
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "Constant", .infer = infer_constant, .run = run_constant},
    {.op = "ConstantOfShape", .infer = infer_constant_of_shape, .run = run_constant_of_shape},
    {.op = "EyeLike", .infer = infer_eye_like, .run = run_eye_like},
    {.op = "Range", .infer = infer_range, .run = run_range},
    {.op = "Cast", .since_version = 6, .infer = infer_cast, .run = run_cast, .layout = LayoutRule::kFollows},
    {.op = "CastLike",
     .infer = infer_cast_like,
     .run = run_cast,
     .layout = LayoutRule::kFollows,
     .layout_inputs = 0b01},
};

}  // namespace

std::span<const Kernel> creation_kernels() { return kKernels; }

}  // namespace quench::rt
