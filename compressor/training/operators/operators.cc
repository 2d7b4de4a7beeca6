#include "compressor/training/operators/operators.h"

#include <c10/core/WrapDimMinimal.h>
#include <torch/torch.h>

#include <cstring>
#include <unordered_map>

#include "compressor/graph/graph_index.h"
#include "compressor/training/operators/operators_support.h"
#include "formats/error.h"
#include "formats/onnx/weight.h"

namespace quench::training {
namespace {

using onnx::TensorProto;

std::unordered_map<std::string_view, Operator> all_operators() {
  std::unordered_map<std::string_view, Operator> operators;
  for (const auto table : {convolution_operators(), creation_operators(), elementwise_operators(), gather_operators(),
                           matrix_operators(), movement_operators(), normalization_operators(), pooling_operators(),
                           recurrent_operators(), reduction_operators(), resize_operators()}) {
    for (const OperatorEntry& entry : table) operators.emplace(entry.name, entry.run);
  }
  return operators;
}

template <typename T, typename Values>
void copy_values(const Values& values, const TensorProto& source, torch::Tensor& target) {
  if (values.size() != target.numel()) {
    throw Error::make("tensor '{}' has {} values in the graph where its dimensions ask for {}",
                      printable(source.name()), values.size(), target.numel());
  }
  T* to = static_cast<T*>(target.data_ptr());
  for (const auto value : values) *to++ = static_cast<T>(value);
}

// From the field that the type has in the proto.
void copy_typed(const TensorProto& source, torch::Tensor& target) {
  switch (source.data_type()) {
    case TensorProto::FLOAT:
      return copy_values<float>(source.float_data(), source, target);
    case TensorProto::DOUBLE:
      return copy_values<double>(source.double_data(), source, target);
    case TensorProto::INT64:
      return copy_values<int64_t>(source.int64_data(), source, target);
    case TensorProto::INT32:
      return copy_values<int32_t>(source.int32_data(), source, target);
    case TensorProto::INT16:
    case TensorProto::FLOAT16:  // 16 bits, whatever they mean
    case TensorProto::BFLOAT16:
      return copy_values<int16_t>(source.int32_data(), source, target);
    default:
      return copy_values<int8_t>(source.int32_data(), source, target);
  }
}

}  // namespace

Operator find_operator(std::string_view op_type) {
  static const std::unordered_map<std::string_view, Operator> known = all_operators();
  const auto found = known.find(op_type);
  return found == known.end() ? nullptr : found->second;
}

std::vector<std::string_view> operator_names() {
  std::vector<std::string_view> names;
  for (const auto& [name, run] : all_operators()) names.push_back(name);
  return names;
}

torch::Tensor to_torch(const TensorProto& tensor) {
  const Integers dims(tensor.dims().begin(), tensor.dims().end());
  torch::Tensor result = torch::empty(dims, torch_type(tensor.data_type()));
  if (tensor.data_location() == TensorProto::EXTERNAL) {
    throw Error::make("tensor '{}' has its values in another file; load the model as a whole",
                      printable(tensor.name()));
  }
  if (!tensor.has_raw_data()) {
    copy_typed(tensor, result);
    return result;
  }
  if (tensor.raw_data().size() != result.nbytes()) {
    throw Error::make("tensor '{}' has {} bytes where its dimensions ask for {}", printable(tensor.name()),
                      tensor.raw_data().size(), result.nbytes());
  }
  if (result.numel() > 0) std::memcpy(result.data_ptr(), tensor.raw_data().data(), result.nbytes());
  return result;
}

torch::ScalarType torch_type(int32_t type) {
  switch (type) {
    case TensorProto::FLOAT:
      return torch::kFloat;
    case TensorProto::DOUBLE:
      return torch::kDouble;
    case TensorProto::FLOAT16:
      return torch::kHalf;
    case TensorProto::BFLOAT16:
      return torch::kBFloat16;
    case TensorProto::INT64:
      return torch::kLong;
    case TensorProto::INT32:
      return torch::kInt;
    case TensorProto::INT16:
      return torch::kShort;
    case TensorProto::INT8:
      return torch::kChar;
    case TensorProto::UINT8:
      return torch::kByte;
    case TensorProto::BOOL:
      return torch::kBool;
    default:
      throw Error::make("type {} cannot be trained; it would have to be converted before", type_name(type));
  }
}

int64_t integer(const NodeView& node, std::string_view name, int64_t fallback) {
  return graph::integer_attribute(node.proto, name, fallback);
}

double real(const NodeView& node, std::string_view name, double fallback) {
  const onnx::AttributeProto* attribute = graph::find_attribute(node.proto, name);
  return attribute ? attribute->f() : fallback;
}

std::string_view text(const NodeView& node, std::string_view name, std::string_view fallback) {
  const onnx::AttributeProto* attribute = graph::find_attribute(node.proto, name);
  return attribute ? std::string_view(attribute->s()) : fallback;
}

bool has(const NodeView& node, std::string_view name) { return graph::find_attribute(node.proto, name) != nullptr; }

Integers integers(const NodeView& node, std::string_view name) {
  const onnx::AttributeProto* attribute = graph::find_attribute(node.proto, name);
  return attribute ? Integers(attribute->ints().begin(), attribute->ints().end()) : Integers();
}

std::vector<float> reals(const NodeView& node, std::string_view name) {
  const onnx::AttributeProto* attribute = graph::find_attribute(node.proto, name);
  return attribute ? std::vector<float>(attribute->floats().begin(), attribute->floats().end()) : std::vector<float>();
}

int64_t axis_of(const NodeView& node, int64_t fallback, int64_t rank) {
  return c10::maybe_wrap_dim(integer(node, "axis", fallback), rank);
}

const torch::Tensor& required(const Tensors& inputs, size_t index) {
  if (index >= inputs.size() || !inputs[index].defined()) throw Error::make("input {} is missing", index);
  return inputs[index];
}

torch::Tensor optional(const Tensors& inputs, size_t index) {
  return index < inputs.size() ? inputs[index] : torch::Tensor();
}

Integers integers(const torch::Tensor& tensor) {
  const torch::Tensor values = tensor.to(torch::kCPU, torch::kLong).contiguous();
  const int64_t* first = values.data_ptr<int64_t>();
  return Integers(first, first + values.numel());
}

Integers integer_input(const Tensors& inputs, size_t index) {
  const torch::Tensor tensor = optional(inputs, index);
  return tensor.defined() ? integers(tensor) : Integers();
}

void to_one_device(Tensors& tensors) {
  torch::Device device = torch::kCPU;
  for (const torch::Tensor& tensor : tensors) {
    if (tensor.defined() && !tensor.is_cpu()) device = tensor.device();
  }
  if (device.is_cpu()) return;
  for (torch::Tensor& tensor : tensors) {
    if (tensor.defined()) tensor = tensor.to(device);
  }
}

}  // namespace quench::training
