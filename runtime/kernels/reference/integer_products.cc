// Convolutions and matrix products of bytes: ConvInteger, QLinearConv, MatMulInteger, QLinearMatMul.
//
// Both operands become 32-bit integers without their zero points, so that padding is zero and the loops are those of
// float. Sums wrap around, as unsigned ones do. What the operator makes of them (real numbers, or bytes again) comes last.

#include "runtime/kernels/reference/convolution.h"
#include "runtime/kernels/reference/integers.h"
#include "runtime/kernels/reference/matrix.h"
#include "runtime/kernels/reference/quantized.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// Which input is what; -1: the operator has none. Without scales the sums are the output.
struct Operands {
  int a = 0;
  int b = 1;
  int a_zero = 2;
  int b_zero = 3;
  int a_scale = -1;
  int b_scale = -1;
  int addend = -1;  // int32 in the scale of the sums
  int y_scale = -1;
  int y_zero = -1;
  int count = 4;     // of inputs, at most
  int required = 2;  // up front
};
constexpr Operands q_linear(int addend) {
  return {.a = 0,
          .b = 3,
          .a_zero = 2,
          .b_zero = 5,
          .a_scale = 1,
          .b_scale = 4,
          .addend = addend,
          .y_scale = 6,
          .y_zero = 7,
          .count = addend < 0 ? 8 : 9,
          .required = 8};
}
constexpr Operands kIntegers;
constexpr Operands kQLinearConv = q_linear(8);
constexpr Operands kQLinearMatMul = q_linear(-1);

// The axes along which a list of parameters lies, in an operand and in the output; -1: only one number may be there.
struct Axes {
  int a = -1;
  int b = -1;
  int y_a = -1;
  int y_b = -1;
};

// A parameter of a tensor of `rank` axes, as something that broadcasts to it: a list lies along `axis`.
Tensor spread(const Tensor& parameter, int axis, int rank) {
  Tensor spread = parameter;
  if (parameter.shape.elements() == 1) spread.shape = {};
  if (parameter.shape.elements() == 1 || parameter.shape.rank != 1 || axis < 0) return spread;
  spread.shape.rank = rank;
  for (int i = 0; i < rank; ++i) spread.shape[i] = i == axis ? parameter.shape[0] : 1;
  return spread;
}

Tensor one_number(ElementType type, const void* value) {
  return {type, Layout::kRowMajor, {}, const_cast<void*>(value)};
}

// Input `index`, if it is there, has the type, and is one number or broadcasts as `spread` says.
Status check_parameter(const InferContext& context, int index, TypeSet types, int axis, const Shape& to) {
  if (!context.input(index)) return Status();
  QUENCH_RETURN_IF_ERROR(check_type(context, index, types));
  Shape together;
  const Shape from = spread(*context.input(index), axis, to.rank).shape;
  if (from.rank > 0 && axis < 0) return Status::error(StatusCode::kShape, "input %d is not one number", index);
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(from, to, &together));
  if (together == to) return Status();
  return Status::error(StatusCode::kShape, "input %d does not broadcast to what it describes", index);
}

Status check_types(const InferContext& context, const Operands& operands) {
  QUENCH_RETURN_IF_ERROR(check_node(context, operands.required, operands.count, kByteTypes));
  return check_type(context, operands.b, kByteTypes);
}

// Everything but the operands themselves, and the output `y`. Scratch: both operands, widened, and the sums.
Status check_rest(InferContext& context, const Operands& operands, const Axes& axes, const Shape& y) {
  const Tensor& a = *context.input(operands.a);
  const Tensor& b = *context.input(operands.b);
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.a_zero, type_set(a.type), axes.a, a.shape));
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.b_zero, type_set(b.type), axes.b, b.shape));
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.a_scale, kFloatType, axes.y_a, y));
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.b_scale, kFloatType, axes.y_b, y));
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.addend, type_set(ElementType::kInt32), axes.y_b, y));
  auto type = ElementType::kInt32;
  int64_t words = a.elements() + b.elements();
  if (operands.y_scale >= 0) {
    QUENCH_RETURN_IF_ERROR(check_type(context, operands.y_zero, kByteTypes));
    type = context.input(operands.y_zero)->type;
    QUENCH_RETURN_IF_ERROR(check_quantization(context, operands.y_scale, operands.y_zero, type));
    words += y.elements();
  }
  constexpr int64_t kLargest = int64_t{1} << 40;
  if (a.elements() > kLargest || b.elements() > kLargest || y.elements() > kLargest) {
    return Status::error(StatusCode::kShape, "an operand is too large");
  }
  context.set_scratch(words * static_cast<int64_t>(sizeof(uint32_t)));
  return context.set_output(0, type, y);
}

// The integers without their zero points.
void widen(const RunContext& context, const Tensor& from, const Tensor* zero, int axis, uint32_t* to) {
  const int32_t none = 0;
  const Tensor zeros = zero ? spread(*zero, axis, from.shape.rank) : one_number(ElementType::kInt32, &none);
  const auto loop = broadcast_loop<2>(from, {&from, &zeros});
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    int64_t values[kBlock];
    int64_t offsets[kBlock];
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t size = count - begin < kBlock ? count - begin : kBlock;
      load_integers(from, at[0] + begin, 1, size, values);
      load_integers(zeros, at[1] + begin * loop.step(1), loop.step(1), size, offsets);
      for (int64_t i = 0; i < size; ++i) to[at[0] + begin + i] = static_cast<uint32_t>(values[i] - offsets[i]);
    }
  });
}

// From the sums to the output, if they are not that already.
void finish(const RunContext& context, const Operands& operands, const Axes& axes, const uint32_t* sums) {
  if (operands.y_scale < 0) return;
  const Tensor& y = *context.output(0);
  const int32_t none = 0;
  const Tensor* given = context.input(operands.addend);
  const Tensor addend = given ? spread(*given, axes.y_b, y.shape.rank) : one_number(ElementType::kInt32, &none);
  const Tensor a_scale = spread(*context.input(operands.a_scale), axes.y_a, y.shape.rank);
  const Tensor b_scale = spread(*context.input(operands.b_scale), axes.y_b, y.shape.rank);
  const Quantization quantization = read_quantization(context, operands.y_scale, operands.y_zero);
  const Limits limits = limits_of(y.type);
  const auto loop = broadcast_loop<4>(y, {&y, &a_scale, &b_scale, &addend});
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t to = at[0] + i;
      const float scale = a_scale.as<float>()[at[1] + i * loop.step(1)] *
                          b_scale.as<float>()[at[2] + i * loop.step(2)] / quantization.scale;
      const auto sum = static_cast<int32_t>(sums[to] + addend.as<uint32_t>()[at[3] + i * loop.step(3)]);
      y.as<uint8_t>()[to] =
          static_cast<uint8_t>(quantize(static_cast<float>(sum) * scale, quantization.zero_point, limits));
    }
  });
}

// Widens both operands, has product(a, b, sums) multiply them, and finishes.
template <typename Multiply>
Status run_product(RunContext& context, const Operands& operands, const Axes& axes, const Multiply& product) {
  const Tensor& a = *context.input(operands.a);
  const Tensor& b = *context.input(operands.b);
  auto* wide_a = static_cast<uint32_t*>(context.scratch());
  uint32_t* wide_b = wide_a + a.elements();
  uint32_t* sums = operands.y_scale < 0 ? context.output(0)->as<uint32_t>() : wide_b + b.elements();
  widen(context, a, context.input(operands.a_zero), axes.a, wide_a);
  widen(context, b, context.input(operands.b_zero), axes.b, wide_b);
  product(wide_a, wide_b, sums);
  finish(context, operands, axes, sums);
  return Status();
}

// Parameters of the weights are for each output channel.
constexpr Axes kConvolutionAxes = {.a = -1, .b = 0, .y_a = -1, .y_b = 1};

template <const Operands& kOperands>
Status infer_convolution(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_types(context, kOperands));
  Shape y;
  QUENCH_RETURN_IF_ERROR(place_convolution(context, context.input(kOperands.a)->shape,
                                           context.input(kOperands.b)->shape, &context.state<ConvolutionState>(), &y));
  return check_rest(context, kOperands, kConvolutionAxes, y);
}

template <const Operands& kOperands>
Status run_convolution(RunContext& context) {
  const Shape& x = context.input(kOperands.a)->shape;
  const Shape& w = context.input(kOperands.b)->shape;
  return run_product(context, kOperands, kConvolutionAxes, [&](const uint32_t* a, const uint32_t* b, uint32_t* sums) {
    convolve<uint32_t>(context, context.state<ConvolutionState>(), x, w, a, b, nullptr, sums);
  });
}

// Parameters of the left matrix are for each row, of the right one for each column.
Axes matrix_axes(const Shape& a, const Shape& b) {
  Axes axes;
  const int lead = a.rank > b.rank ? a.rank : b.rank;
  const int rank = a.rank == 1 || b.rank == 1 ? lead - 1 : lead;  // of the output; not that of two vectors
  if (a.rank > 1) {
    axes.a = a.rank - 2;
    axes.y_a = b.rank > 1 ? rank - 2 : rank - 1;
  }
  if (b.rank > 1) {
    axes.b = b.rank - 1;
    axes.y_b = rank - 1;
  }
  return axes;
}

template <const Operands& kOperands>
Status infer_matrices(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_types(context, kOperands));
  const Shape& a = context.input(kOperands.a)->shape;
  const Shape& b = context.input(kOperands.b)->shape;
  Shape y;
  QUENCH_RETURN_IF_ERROR(place_product(a, b, false, false, &context.state<MatMulState>(), &y));
  return check_rest(context, kOperands, matrix_axes(a, b), y);
}

template <const Operands& kOperands>
Status run_matrices(RunContext& context) {
  const Axes axes = matrix_axes(context.input(kOperands.a)->shape, context.input(kOperands.b)->shape);
  return run_product(context, kOperands, axes, [&](const uint32_t* a, const uint32_t* b, uint32_t* sums) {
    multiply(context, context.state<MatMulState>(), a, b, sums);
  });
}

template <const Operands& kOperands>
constexpr Kernel convolution(const char* op) {
  return {.op = op,
          .since_version = 10,
          .infer = infer_convolution<kOperands>,
          .run = run_convolution<kOperands>,
          .state_bytes = sizeof(ConvolutionState)};
}

template <const Operands& kOperands>
constexpr Kernel matrices(const char* op) {
  return {.op = op,
          .since_version = 10,
          .infer = infer_matrices<kOperands>,
          .run = run_matrices<kOperands>,
          .state_bytes = sizeof(MatMulState)};
}

constexpr Kernel kKernels[] = {
    convolution<kIntegers>("ConvInteger"),
    convolution<kQLinearConv>("QLinearConv"),
    matrices<kIntegers>("MatMulInteger"),
    matrices<kQLinearMatMul>("QLinearMatMul"),
};

}  // namespace

std::span<const Kernel> integer_product_kernels() { return kKernels; }

}  // namespace quench::rt
