// ONNX operators in terms of torch's, so that autograd sees through them. Their meaning is ONNX's, for every opset that
// the runtime accepts, and results agree with the runtime's to rounding.
//
//     const Operator op = find_operator(node.op_type());      // null: none
//     const Tensors outputs = op({node, opset}, inputs);
//
// Integer tensors that describe shapes are read on the CPU wherever they lie. BatchNormalization is missing here: it
// has state, and is GraphModule's own.
#pragma once

#include <onnx/onnx_pb.h>
#include <torch/types.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace quench::training {

// An optional input or output that is absent is an undefined tensor.
using Tensors = std::vector<torch::Tensor>;

struct NodeView {
  const onnx::NodeProto& proto;
  int64_t opset;  // of ONNX's own domain
};

// Throws quench::Error, or c10::Error where torch refuses the shapes; GraphModule adds the node's name to both.
// `inputs` has the length of the node's; the result has at least one tensor for each output that is named.
using Operator = Tensors (*)(const NodeView& node, const Tensors& inputs);

// Null where there is none of this name in ONNX's own domain.
Operator find_operator(std::string_view op_type);

// All that find_operator knows, for listings and tests.
std::vector<std::string_view> operator_names();

// A tensor's values on torch's side, of the same type, dims and bytes, owned. Throws quench::Error for types that torch
// lacks (strings, unsigned integers beyond 8 bits).
torch::Tensor to_torch(const onnx::TensorProto& tensor);

}  // namespace quench::training
