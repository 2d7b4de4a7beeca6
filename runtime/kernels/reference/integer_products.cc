// Convolutions and matrix products of bytes: ConvInteger, QLinearConv, MatMulInteger, QLinearMatMul, and of ONNX
// Runtime's own QGemm, MatMulIntegerToFloat and DynamicQuantizeMatMul.
//
// Both operands become wider integers without their zero points, so that padding is zero: of 32 bits for matrices, whose
// loops are those of float, of 16 bits for convolutions. Sums wrap around, as unsigned ones do. What the operator makes of
// them (real numbers, or bytes again) comes last.

#include <cstddef>
#include <cstring>

#include "runtime/kernels/reference/convolution.h"
#include "runtime/kernels/reference/integers.h"
#include "runtime/kernels/reference/matrix.h"
#include "runtime/kernels/reference/quantized.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// Which input is what; -1: the operator has none. Without scales the sums are the output, and without a zero point of
// the output real numbers are.
struct Operands {
  int required;  // inputs up front
  int count;     // of inputs, at most
  int a;
  int a_scale;
  int a_zero;
  int b;
  int b_scale;
  int b_zero;
  int addend = -1;  // int32 in the scale of the sums, or real numbers
  int y_scale = -1;
  int y_zero = -1;
  ElementType addend_type = ElementType::kInt32;
  bool is_gemm = false;     // with the attributes of Gemm
  bool is_dynamic = false;  // `a` are real numbers, which are quantized first
};
constexpr Operands kIntegers = {2, 4, 0, -1, 2, 1, -1, 3};
constexpr Operands kQLinearConv = {8, 9, 0, 1, 2, 3, 4, 5, 8, 6, 7};
constexpr Operands kQLinearMatMul = {8, 8, 0, 1, 2, 3, 4, 5, -1, 6, 7};
constexpr Operands kQGemm = {6, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, ElementType::kInt32, true};
constexpr Operands kToFloat = {4, 7, 0, 2, 4, 1, 3, 5, 6, -1, -1, ElementType::kFloat32};
constexpr Operands kDynamic = {3, 5, 0, -1, -1, 1, 2, 3, 4, -1, -1, ElementType::kFloat32, false, true};

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
  QUENCH_RETURN_IF_ERROR(
      check_node(context, operands.required, operands.count, operands.is_dynamic ? kFloatType : kByteTypes));
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
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.addend, type_set(operands.addend_type), axes.y_b, y));
  auto type = operands.b_scale < 0 ? ElementType::kInt32 : ElementType::kFloat32;
  if (context.input(operands.y_zero)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, operands.y_zero, kByteTypes));
    type = context.input(operands.y_zero)->type;
    QUENCH_RETURN_IF_ERROR(check_quantization(context, operands.y_scale, operands.y_zero, type));
  }
  constexpr int64_t kLargest = int64_t{1} << 40;
  if (a.elements() > kLargest || b.elements() > kLargest || y.elements() > kLargest) {
    return Status::error(StatusCode::kShape, "an operand is too large");
  }
  const int64_t words = a.elements() + b.elements() + (operands.b_scale < 0 ? 0 : y.elements());
  context.set_scratch(words * static_cast<int64_t>(sizeof(uint32_t)));
  return context.set_output(0, type, y);
}

// The integers without their zero points.
template <typename T>
void widen(const RunContext& context, const Tensor& from, const Tensor* zero, int axis, T* to) {
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
      for (int64_t i = 0; i < size; ++i) to[at[0] + begin + i] = static_cast<T>(values[i] - offsets[i]);
    }
  });
}

// From the sums to real numbers, or bytes that stand for them.
void finish(const RunContext& context, const Operands& operands, const Axes& axes, const float* dynamic_scale,
            const uint32_t* sums) {
  const Tensor& y = *context.output(0);
  const int32_t none = 0;
  const auto parameter = [&](int index, int axis, ElementType type, const void* otherwise) {
    const Tensor* given = context.input(index);
    return given ? spread(*given, axis, y.shape.rank) : one_number(type, otherwise);
  };
  const Tensor a_scale = parameter(operands.a_scale, axes.y_a, ElementType::kFloat32, dynamic_scale);
  const Tensor b_scale = parameter(operands.b_scale, axes.y_b, ElementType::kFloat32, nullptr);
  const Tensor addend = parameter(operands.addend, axes.y_b, ElementType::kInt32, &none);
  const bool is_real = y.type == ElementType::kFloat32;
  const bool adds_real = addend.type == ElementType::kFloat32;
  const float alpha = operands.is_gemm ? context.attributes().get_float("alpha", 1) : 1;
  const Quantization quantization =
      is_real ? Quantization() : read_quantization(context, operands.y_scale, operands.y_zero);
  const Limits limits = limits_of(y.type);
  const auto loop = broadcast_loop<4>(y, {&y, &a_scale, &b_scale, &addend});
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t to = at[0] + i;
      const int64_t from = at[3] + i * loop.step(3);
      const float scale = alpha * a_scale.as<float>()[at[1] + i * loop.step(1)] *
                          b_scale.as<float>()[at[2] + i * loop.step(2)] / quantization.scale;
      const uint32_t sum = sums[to] + (adds_real ? 0 : addend.as<uint32_t>()[from]);
      const float real = static_cast<float>(static_cast<int32_t>(sum)) * scale;
      if (is_real) {
        y.as<float>()[to] = real + (adds_real ? addend.as<float>()[from] : 0);
      } else {
        y.as<uint8_t>()[to] = static_cast<uint8_t>(quantize(real, quantization.zero_point, limits));
      }
    }
  });
}

// The nearest integers without their zero point; the scale of them.
float widen_reals(const Tensor& from, uint32_t* to) {
  const float* x = from.as<float>();
  const Quantization quantization = measure_quantization(x, from.elements());
  const Limits limits = limits_of(ElementType::kUint8);
  for (int64_t i = 0; i < from.elements(); ++i) {
    const int64_t integer = quantize(x[i] / quantization.scale, quantization.zero_point, limits);
    to[i] = static_cast<uint32_t>(integer - quantization.zero_point);
  }
  return quantization.scale;
}

// Widens both operands, has product(a, b, sums) multiply them, and finishes.
template <typename Multiply>
Status run_product(RunContext& context, const Operands& operands, const Axes& axes, const Multiply& product) {
  const Tensor& a = *context.input(operands.a);
  const Tensor& b = *context.input(operands.b);
  auto* wide_a = static_cast<uint32_t*>(context.scratch());
  uint32_t* wide_b = wide_a + a.elements();
  const bool is_done = operands.b_scale < 0;
  uint32_t* sums = is_done ? context.output(0)->as<uint32_t>() : wide_b + b.elements();
  float dynamic_scale = 1;
  if (operands.is_dynamic) {
    dynamic_scale = widen_reals(a, wide_a);
  } else {
    widen(context, a, context.input(operands.a_zero), axes.a, wide_a);
  }
  widen(context, b, context.input(operands.b_zero), axes.b, wide_b);
  product(wide_a, wide_b, sums);
  if (!is_done) finish(context, operands, axes, &dynamic_scale, sums);
  return Status();
}

// Parameters of the weights are for each output channel.
constexpr Axes kConvolutionAxes = {.a = -1, .b = 0, .y_a = -1, .y_b = 1};

// A convolution is made of products of rows: a kernel's weights by the input under the window of an output, for a tile of
// outputs at a time, both filled up with zeros to whole lanes. Compilers make of such a sum the instructions for products
// of 16-bit integers that nearly all processors have. By loops over planes, as floats are convolved, all of
// shufflenet_v2_12_int8 took 260 ms, and takes 94 ms so (quench bench, one thread, dev preset).
constexpr int64_t kLanes = 16;
constexpr int64_t kTile = 32;  // outputs; their rows should stay in the nearest cache

int64_t padded(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// Of integers of 9 bits and a sign.
uint32_t multiply_rows(const int16_t* a, const int16_t* b, int64_t count) {
  uint32_t sum = 0;
  for (int64_t k = 0; k < count; k += kLanes) {
    int32_t part = 0;
    for (int64_t i = 0; i < kLanes; ++i) part += static_cast<int32_t>(a[k + i]) * b[k + i];
    sum += static_cast<uint32_t>(part);
  }
  return sum;
}

bool is_within(int64_t place, int64_t size) { return place >= 0 && place < size; }

// The rows for the outputs [begin, end) of a group with `channels` input channels, whose planes `x` are.
void gather_rows(const Window& window, int64_t channels, const int16_t* x, int64_t begin, int64_t end, int16_t* rows) {
  const int64_t taps = window.kernel_elements();
  const int64_t row = padded(channels * taps);
  memset(rows, 0, static_cast<size_t>((end - begin) * row) * sizeof(int16_t));
  for (int64_t output = begin; output < end; ++output, rows += row) {
    const int64_t at[kSpatialAxes] = {output / (window.output[1] * window.output[2]),
                                      output / window.output[2] % window.output[1], output % window.output[2]};
    int64_t tap = 0;
    for (int64_t z = 0; z < window.kernel[0]; ++z) {
      const int64_t plane = window.coordinate(0, at[0], z);
      for (int64_t y = 0; y < window.kernel[1]; ++y) {
        const int64_t line = window.coordinate(1, at[1], y);
        const bool is_line = is_within(plane, window.input[0]) && is_within(line, window.input[1]);
        const int64_t from = (plane * window.input[1] + line) * window.input[2];
        for (int64_t i = 0; i < window.kernel[2]; ++i, ++tap) {
          const int64_t place = window.coordinate(2, at[2], i);
          if (!is_line || !is_within(place, window.input[2])) continue;
          for (int64_t c = 0; c < channels; ++c) rows[c * taps + tap] = x[c * window.input_elements() + from + place];
        }
      }
    }
  }
}

// Where everything lies in the scratch memory.
struct ConvolutionScratch {
  int64_t weights, rows, sums, end;  // in bytes; the input is first

  ConvolutionScratch(const NodeContext& context, const Operands& operands, int64_t outputs) {
    const Shape& w = context.input(operands.b)->shape;
    const int64_t row = padded(w.elements(1, w.rank)) * 2;
    weights = padded(context.input(operands.a)->elements()) * 2;
    rows = weights + w[0] * row;
    sums = rows + context.threads() * kTile * row;
    end = sums + (operands.b_scale < 0 ? 0 : outputs * 4);
  }
};

template <const Operands& kOperands>
Status infer_convolution(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_types(context, kOperands));
  Shape y;
  QUENCH_RETURN_IF_ERROR(place_convolution(context, context.input(kOperands.a)->shape,
                                           context.input(kOperands.b)->shape, &context.state<ConvolutionState>(), &y));
  QUENCH_RETURN_IF_ERROR(check_rest(context, kOperands, kConvolutionAxes, y));
  context.set_scratch(ConvolutionScratch(context, kOperands, y.elements()).end);
  return Status();
}

void convolve_bytes(const RunContext& context, const ConvolutionState& state, const Shape& x, const Shape& w,
                    const int16_t* input, const int16_t* weights, int16_t* all_rows, uint32_t* sums) {
  const Window& window = state.window;
  const int64_t channels = w[1];
  const int64_t row = padded(channels * window.kernel_elements());
  const int64_t of_group = w[0] / state.groups;
  const int64_t outputs = window.output_elements();
  const int64_t tiles = (outputs + kTile - 1) / kTile;
  context.parallel_for(x[0] * state.groups * tiles, 1, [&](int64_t first, int64_t last, int slot) {
    int16_t* rows = all_rows + slot * kTile * row;
    for (int64_t item = first; item < last; ++item) {
      const int64_t group = item / tiles;  // of all samples, one after the other
      const int64_t begin = item % tiles * kTile;
      const int64_t end = begin + kTile < outputs ? begin + kTile : outputs;
      gather_rows(window, channels, input + group * channels * window.input_elements(), begin, end, rows);
      const int16_t* kernels = weights + group % state.groups * of_group * row;
      for (int64_t channel = 0; channel < of_group; ++channel) {
        uint32_t* to = sums + (group * of_group + channel) * outputs;
        for (int64_t i = begin; i < end; ++i) {
          to[i] = multiply_rows(kernels + channel * row, rows + (i - begin) * row, row);
        }
      }
    }
  });
}

template <const Operands& kOperands>
Status run_convolution(RunContext& context) {
  const Tensor& a = *context.input(kOperands.a);
  const Tensor& b = *context.input(kOperands.b);
  const ConvolutionScratch places(context, kOperands, context.output(0)->elements());
  auto* scratch = static_cast<std::byte*>(context.scratch());
  auto* input = reinterpret_cast<int16_t*>(scratch);
  auto* weights = reinterpret_cast<int16_t*>(scratch + places.weights);
  const bool is_done = kOperands.b_scale < 0;
  uint32_t* sums = is_done ? context.output(0)->as<uint32_t>() : reinterpret_cast<uint32_t*>(scratch + places.sums);
  widen(context, a, context.input(kOperands.a_zero), kConvolutionAxes.a, input);
  widen(context, b, context.input(kOperands.b_zero), kConvolutionAxes.b, weights);
  // Rows of whole lanes, from the last one on, as they only move up.
  const int64_t values = b.shape.elements(1, b.shape.rank);
  const int64_t row = padded(values);
  for (int64_t channel = b.shape[0]; row != values && channel-- > 0;) {
    memmove(weights + channel * row, weights + channel * values, static_cast<size_t>(values) * sizeof(int16_t));
    memset(weights + channel * row + values, 0, static_cast<size_t>(row - values) * sizeof(int16_t));
  }
  convolve_bytes(context, context.state<ConvolutionState>(), a.shape, b.shape, input, weights,
                 reinterpret_cast<int16_t*>(scratch + places.rows), sums);
  if (!is_done) finish(context, kOperands, kConvolutionAxes, nullptr, sums);
  return Status();
}

struct MatrixState {
  MatMulState product;
  Axes axes;
};

// Parameters of the left matrix are for each row, of the right one for each column.
Status infer_matrices(InferContext& context, const Operands& operands) {
  QUENCH_RETURN_IF_ERROR(check_types(context, operands));
  const Shape& a = context.input(operands.a)->shape;
  const Shape& b = context.input(operands.b)->shape;
  const bool turn_a = operands.is_gemm && context.attributes().get_int("transA", 0) != 0;
  const bool turn_b = operands.is_gemm && context.attributes().get_int("transB", 0) != 0;
  if (operands.is_gemm && (a.rank != 2 || b.rank != 2)) {
    return Status::error(StatusCode::kShape, "operands have rank %d and %d, not 2", a.rank, b.rank);
  }
  auto& [product, axes] = context.state<MatrixState>();
  Shape y;
  QUENCH_RETURN_IF_ERROR(place_product(a, b, turn_a, turn_b, &product, &y));
  axes = {};
  if (a.rank > 1) {
    axes.a = a.rank - (turn_a ? 1 : 2);
    axes.y_a = y.rank - (b.rank > 1 ? 2 : 1);
  }
  if (b.rank > 1) {
    axes.b = b.rank - (turn_b ? 2 : 1);
    axes.y_b = y.rank - 1;
  }
  return check_rest(context, operands, axes, y);
}

template <const Operands& kOperands>
Status infer_matrices(InferContext& context) {
  return infer_matrices(context, kOperands);
}

template <const Operands& kOperands>
Status run_matrices(RunContext& context) {
  const MatrixState& state = context.state<MatrixState>();
  return run_product(context, kOperands, state.axes, [&](const uint32_t* a, const uint32_t* b, uint32_t* sums) {
    multiply(context, state.product, a, b, sums);
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
constexpr Kernel matrices(const char* op, const char* domain = "") {
  return {.op = op,
          .domain = domain,
          .since_version = *domain == '\0' ? 10 : 1,
          .infer = infer_matrices<kOperands>,
          .run = run_matrices<kOperands>,
          .state_bytes = sizeof(MatrixState)};
}

constexpr Kernel kKernels[] = {
    convolution<kIntegers>("ConvInteger"),
    convolution<kQLinearConv>("QLinearConv"),
    matrices<kIntegers>("MatMulInteger"),
    matrices<kQLinearMatMul>("QLinearMatMul"),
    matrices<kQGemm>("QGemm", kMicrosoft),
    matrices<kToFloat>("MatMulIntegerToFloat", kMicrosoft),
    matrices<kDynamic>("DynamicQuantizeMatMul", kMicrosoft),
};

}  // namespace

std::span<const Kernel> integer_product_kernels() { return kKernels; }

}  // namespace quench::rt
