// Operators that make tensors or change their element type.

#include <torch/torch.h>

#include "compressor/graph/graph_index.h"
#include "compressor/training/operators/operators_support.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

Tensors constant(const NodeView& node, const Tensors&) {
  if (const onnx::AttributeProto* value = graph::find_attribute(node.proto, "value")) return {to_torch(value->t())};
  if (has(node, "value_float")) return {at::scalar_tensor(real(node, "value_float", 0), torch::kFloat)};
  if (has(node, "value_int")) return {at::scalar_tensor(integer(node, "value_int", 0), torch::kLong)};
  if (has(node, "value_floats")) return {at::tensor(reals(node, "value_floats"), torch::kFloat)};
  if (has(node, "value_ints")) return {at::tensor(integers(node, "value_ints"), torch::kLong)};
  throw Error::make("the value is neither a dense tensor nor numbers");
}

Tensors constant_of_shape(const NodeView& node, const Tensors& inputs) {
  const Integers sizes = integers(required(inputs, 0));
  const onnx::AttributeProto* value = graph::find_attribute(node.proto, "value");
  if (!value) return {at::zeros(sizes, torch::kFloat)};
  const Tensor scalar = to_torch(value->t());
  return {at::full(sizes, scalar.item(), scalar.scalar_type())};
}

Tensors range(const NodeView&, const Tensors& inputs) {
  const at::Scalar start = required(inputs, 0).item();
  const at::Scalar limit = required(inputs, 1).item();
  const at::Scalar delta = required(inputs, 2).item();
  const torch::ScalarType type = inputs[0].scalar_type();
  const double step = delta.toDouble();
  if (step == 0) throw Error::make("the range has no end: delta is 0");
  // Torch calls it an error when the limit lies behind.
  if ((limit.toDouble() - start.toDouble()) / step <= 0) return {at::empty({0}, type)};
  return {at::arange(start, limit, delta, type)};
}

Tensors cast(const NodeView& node, const Tensors& inputs) {
  return {required(inputs, 0).to(torch_type(static_cast<int32_t>(integer(node, "to", 0))))};
}

Tensors cast_like(const NodeView&, const Tensors& inputs) {
  return {required(inputs, 0).to(required(inputs, 1).scalar_type())};
}

constexpr OperatorEntry kCreationOperators[] = {
    {"Cast", cast},   {"CastLike", cast_like}, {"Constant", constant}, {"ConstantOfShape", constant_of_shape},
    {"Range", range},
};

}  // namespace

std::span<const OperatorEntry> creation_operators() { return kCreationOperators; }

}  // namespace quench::training
