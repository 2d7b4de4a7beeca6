// ONNX Runtime's own operators on bytes that are computed as real numbers: QLinearAdd and its like are what their names
// say of the numbers that their inputs stand for, by the kernels of those operators. And MatMulNBits.

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

// MatMulNBits: input 0 times the transpose of weights of 2, 4 or 8 bits, packed into bytes from the low bits on. Each row
// of them is split into blocks with a scale, and a zero point that is packed as the weights are, or a real number.

struct PackedState {
  int64_t rows;
  int64_t inner;
  int64_t columns;
  int64_t block;
  int64_t blocks;  // of a row
  int64_t bits;
};

// Input `index`, if it is there, has a type of the set and so many elements.
Status check_elements(const InferContext& context, int index, TypeSet types, int64_t count) {
  if (!context.input(index)) return Status();
  QUENCH_RETURN_IF_ERROR(check_type(context, index, types));
  if (context.input(index)->elements() == count) return Status();
  return Status::error(StatusCode::kShape, "input %d does not have %lld elements", index,
                       static_cast<long long>(count));
}

int64_t packed_bytes(int64_t count, int64_t bits) { return (count * bits + 7) / 8; }

Status infer_packed_matmul(InferContext& context) {
  constexpr int64_t kMost = int64_t{1} << 30;
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 6, kFloatType));
  const Attributes& attributes = context.attributes();
  PackedState& state = context.state<PackedState>();
  state = {0, attributes.get_int("K", 0),   attributes.get_int("N", 0), attributes.get_int("block_size", 0),
           0, attributes.get_int("bits", 4)};
  for (const int64_t size : {state.inner, state.columns, state.block}) {
    if (size < 1 || size > kMost) return Status::error(StatusCode::kInvalidArgument, "K, N or block_size is missing");
  }
  if ((state.bits != 2 && state.bits != 4 && state.bits != 8) || state.block * state.bits % 8 != 0) {
    return Status::error(StatusCode::kUnsupportedFeature, "blocks of %lld weights of %lld bits",
                         static_cast<long long>(state.block), static_cast<long long>(state.bits));
  }
  if (context.input(4)) return Status::error(StatusCode::kUnsupportedFeature, "input 4, an order of the weights");
  state.blocks = (state.inner + state.block - 1) / state.block;
  const int64_t scales = state.columns * state.blocks;
  constexpr TypeSet kPacked = type_set(ElementType::kUint8);
  QUENCH_RETURN_IF_ERROR(check_elements(context, 1, kPacked, scales * packed_bytes(state.block, state.bits)));
  QUENCH_RETURN_IF_ERROR(check_elements(context, 2, kFloatType, scales));
  const bool is_real = context.input(3) && context.input(3)->type == ElementType::kFloat32;
  QUENCH_RETURN_IF_ERROR(check_elements(context, 3, kPacked | kFloatType,
                                        is_real ? scales : state.columns * packed_bytes(state.blocks, state.bits)));
  QUENCH_RETURN_IF_ERROR(check_elements(context, 5, kFloatType, state.columns));
  Shape shape = context.input(0)->shape;
  if (shape.rank < 1 || shape[shape.rank - 1] != state.inner) {
    return Status::error(StatusCode::kShape, "the last axis of input 0 is not K");
  }
  state.rows = shape.elements(0, shape.rank - 1);
  shape[shape.rank - 1] = state.columns;
  context.set_scratch(context.threads() * state.inner * static_cast<int64_t>(sizeof(float)));
  return context.set_output(0, ElementType::kFloat32, shape);
}

// Number `index` of those that are packed from `bytes` on.
int unpack(const uint8_t* bytes, int64_t index, int64_t bits) {
  return bytes[index * bits / 8] >> (index * bits % 8) & ((1 << bits) - 1);
}

void unpack_row(const RunContext& context, int64_t row, float* to) {
  const PackedState& state = context.state<PackedState>();
  const Tensor* zero = context.input(3);
  const uint8_t* from = context.input(1)->as<uint8_t>() + row * state.blocks * packed_bytes(state.block, state.bits);
  for (int64_t block = 0; block < state.blocks; ++block) {
    const float scale = context.input(2)->as<float>()[row * state.blocks + block];
    auto offset = static_cast<float>(1 << (state.bits - 1));
    if (zero && zero->type == ElementType::kFloat32) {
      offset = zero->as<float>()[row * state.blocks + block];
    } else if (zero) {
      const uint8_t* zeros = zero->as<uint8_t>() + row * packed_bytes(state.blocks, state.bits);
      offset = static_cast<float>(unpack(zeros, block, state.bits));
    }
    const int64_t end = (block + 1) * state.block < state.inner ? (block + 1) * state.block : state.inner;
    for (int64_t i = block * state.block; i < end; ++i) {
      to[i] = (static_cast<float>(unpack(from, i, state.bits)) - offset) * scale;
    }
  }
}

Status run_packed_matmul(RunContext& context) {
  const PackedState& state = context.state<PackedState>();
  const Tensor* bias = context.input(5);
  context.parallel_for(state.columns, 1, [&](int64_t begin, int64_t end, int slot) {
    float* weights = static_cast<float*>(context.scratch()) + slot * state.inner;
    for (int64_t column = begin; column < end; ++column) {
      unpack_row(context, column, weights);
      for (int64_t row = 0; row < state.rows; ++row) {
        const float* x = context.input(0)->as<float>() + row * state.inner;
        double sum = bias ? bias->as<float>()[column] : 0;
        for (int64_t i = 0; i < state.inner; ++i) sum += static_cast<double>(x[i]) * weights[i];
        context.output(0)->as<float>()[row * state.columns + column] = static_cast<float>(sum);
      }
    }
  });
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
    {.op = "MatMulNBits",
     .domain = kMicrosoft,
     .infer = infer_packed_matmul,
     .run = run_packed_matmul,
     .state_bytes = sizeof(PackedState)},
};

}  // namespace

std::span<const Kernel> quantized_kernels() { return kKernels; }

}  // namespace quench::rt
