// ONNX Runtime's own operators on bytes that are computed as real numbers: QLinearAdd and its like are what their names
// say of the numbers that their inputs stand for, by the kernels of those operators.

#include <string_view>

#include "runtime/kernels/reference/quantized.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// Scratch beyond this is refused: no product of such a number with the size of an element overflows.
constexpr int64_t kLargest = int64_t{1} << 40;

// The operator of ONNX, and how many inputs it has.
struct RealOperator {
  std::span<const Kernel> (*table)();
  std::string_view name;
  int count;

  const Kernel* kernel() const {
    for (const Kernel& kernel : table()) {
      if (kernel.op == name) return &kernel;
    }
    return nullptr;
  }
};

// The real operator's own state.
struct RealState {
  alignas(16) std::byte bytes[256];
};

// Its inputs and its output, which have no memory before the run.
struct RealTensors {
  Tensor tensors[3];
  const Tensor* inputs[2] = {&tensors[0], &tensors[1]};
  Tensor* output = &tensors[2];

  RealTensors(const NodeContext& context, int count) {
    for (Tensor& tensor : tensors) tensor.type = ElementType::kFloat32;
    for (int i = 0; i < count; ++i) tensors[i].shape = context.input(3 * i)->shape;
  }
  void connect(const RealOperator& op, const NodeContext& from, NodeContext& to) {
    to.attributes_ = from.attributes_;
    // QLinearSoftmax says so of which version it is.
    const int64_t opset = from.attributes().get_int("opset", 13);
    to.opset_ = opset >= 1 && opset < 1000 ? static_cast<int>(opset) : 13;
    to.threads_ = from.threads_;
    to.inputs_ = std::span(inputs).first(static_cast<size_t>(op.count));
    to.outputs_ = std::span(&output, 1);
    to.state_ = from.state<RealState>().bytes;
  }
};

// Inputs: each tensor with its scale and zero point, then scale and zero point of the output.
Status infer_real(InferContext& context, const RealOperator& op) {
  const Kernel* kernel = op.kernel();
  if (!kernel || kernel->state_bytes > static_cast<int>(sizeof(RealState)))
    return Status(StatusCode::kUnsupportedOperator);
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 3 * op.count + 2, kByteTypes));
  const ElementType type = context.input(0)->type;
  for (int i = 0; i < op.count; ++i) QUENCH_RETURN_IF_ERROR(check_same_type(context, 3 * i));
  for (int i = 0; i <= op.count; ++i) {
    const int scale = i < op.count ? 3 * i + 1 : 3 * i;
    QUENCH_RETURN_IF_ERROR(check_quantization(context, scale, scale + 1, type));
  }
  if (context.attributes().get_int("channels_last", 0) != 0) {
    return Status::error(StatusCode::kUnsupportedFeature, "attribute 'channels_last'");
  }
  RealTensors reals(context, op.count);
  InferContext real;
  reals.connect(op, context, real);
  QUENCH_RETURN_IF_ERROR(kernel->infer(real));
  int64_t elements = 0;
  for (const Tensor& tensor : reals.tensors) {
    if (tensor.elements() > kLargest) return Status::error(StatusCode::kShape, "a tensor is too large");
    elements += tensor.elements();
  }
  context.set_scratch(elements * static_cast<int64_t>(sizeof(float)));
  return context.set_output(0, type, reals.output->shape);
}

Status run_real(RunContext& context, const RealOperator& op) {
  RealTensors reals(context, op.count);
  reals.output->shape = context.output(0)->shape;
  auto* memory = static_cast<float*>(context.scratch());
  for (Tensor& tensor : reals.tensors) {
    tensor.data = memory;
    memory += tensor.elements();
  }
  for (int i = 0; i < op.count; ++i) {
    dequantize(context, *context.input(3 * i), read_quantization(context, 3 * i + 1, 3 * i + 2),
               reals.tensors[i].as<float>());
  }
  RunContext real = context;
  reals.connect(op, context, real);
  QUENCH_RETURN_IF_ERROR(op.kernel()->run(real));
  quantize(context, reals.output->as<float>(), read_quantization(context, 3 * op.count, 3 * op.count + 1),
           *context.output(0));
  return Status();
}

constexpr RealOperator kAdd = {elementwise_kernels, "Add", 2};
constexpr RealOperator kMul = {elementwise_kernels, "Mul", 2};
constexpr RealOperator kLeakyRelu = {activation_kernels, "LeakyRelu", 1};
constexpr RealOperator kSigmoid = {activation_kernels, "Sigmoid", 1};
constexpr RealOperator kSoftmax = {activation_kernels, "Softmax", 1};
constexpr RealOperator kAveragePool = {pooling_kernels, "AveragePool", 1};
constexpr RealOperator kGlobalAveragePool = {pooling_kernels, "GlobalAveragePool", 1};

template <const RealOperator& kOperator>
constexpr Kernel real(const char* op) {
  return {.op = op,
          .domain = kMicrosoft,
          .infer = [](InferContext& context) { return infer_real(context, kOperator); },
          .run = [](RunContext& context) { return run_real(context, kOperator); },
          .state_bytes = sizeof(RealState)};
}

// QLinearConcat: scale and zero point of the output, then each tensor with its own.

struct ConcatState {
  int64_t outer;
  int64_t inner;  // elements behind the axis
  int axis;
};

Status infer_concat(InferContext& context) {
  const int count = (context.inputs() - 2) / 3;
  if (count < 1 || context.inputs() != 2 + 3 * count) {
    return Status::error(StatusCode::kInvalidArgument, "has %d inputs", context.inputs());
  }
  if (!context.output(0)) return Status::error(StatusCode::kInvalidArgument, "output 0 is missing");
  QUENCH_RETURN_IF_ERROR(check_type(context, 2, kByteTypes));
  const ElementType type = context.input(2)->type;
  QUENCH_RETURN_IF_ERROR(check_quantization(context, 0, 1, type));
  Shape shape = context.input(2)->shape;
  auto& [outer, inner, axis] = context.state<ConcatState>();
  QUENCH_RETURN_IF_ERROR(normalize_axis(context.attributes().get_int("axis", 0), shape.rank, &axis));
  int64_t size = 0;
  int64_t largest = 0;
  for (int index = 2; index < context.inputs(); index += 3) {
    QUENCH_RETURN_IF_ERROR(check_type(context, index, type_set(type)));
    QUENCH_RETURN_IF_ERROR(check_quantization(context, index + 1, index + 2, type));
    const Shape& other = context.input(index)->shape;
    shape[axis] = axis < other.rank ? other[axis] : 0;
    if (shape != other || shape[axis] > kLargest || shape.elements() > kLargest || size > kLargest) {
      return Status::error(StatusCode::kShape, "input %d does not fit the first, or is too large", index);
    }
    size += shape[axis];
    const int64_t part = shape.elements(axis, shape.rank);
    if (part > largest) largest = part;
  }
  outer = shape.elements(0, axis);
  inner = shape.elements(axis + 1, shape.rank);
  shape[axis] = size;
  context.set_scratch(largest * static_cast<int64_t>(sizeof(float)));
  return context.set_output(0, type, shape);
}

// The elements of a tensor of bytes from `offset` on.
Tensor part_of(const Tensor& tensor, int64_t offset, int64_t count) {
  return {tensor.type, Layout::kRowMajor, {count}, tensor.as<uint8_t>() + offset};
}

Status run_concat(RunContext& context) {
  const auto& [outer, inner, axis] = context.state<ConcatState>();
  const Tensor& y = *context.output(0);
  if (y.elements() == 0) return Status();
  const Quantization to = read_quantization(context, 0, 1);
  auto* reals = static_cast<float*>(context.scratch());
  int64_t offset = 0;
  for (int index = 2; index < context.inputs(); index += 3) {
    const Tensor& x = *context.input(index);
    const Quantization from = read_quantization(context, index + 1, index + 2);
    const int64_t count = x.shape[axis] * inner;
    for (int64_t i = 0; i < outer; ++i) {
      dequantize(context, part_of(x, i * count, count), from, reals);
      quantize(context, reals, to, part_of(y, i * y.shape[axis] * inner + offset, count));
    }
    offset += count;
  }
  return Status();
}

constexpr Kernel kKernels[] = {
    real<kAdd>("QLinearAdd"),
    real<kMul>("QLinearMul"),
    real<kLeakyRelu>("QLinearLeakyRelu"),
    real<kSigmoid>("QLinearSigmoid"),
    real<kSoftmax>("QLinearSoftmax"),
    real<kAveragePool>("QLinearAveragePool"),
    real<kGlobalAveragePool>("QLinearGlobalAveragePool"),
    {.op = "QLinearConcat",
     .domain = kMicrosoft,
     .infer = infer_concat,
     .run = run_concat,
     .state_bytes = sizeof(ConcatState)},
};

}  // namespace

std::span<const Kernel> quantized_kernels() { return kKernels; }

}  // namespace quench::rt
