// The tensors inside a ModelProto, in the one order that formats/onnx, the container and the runtime number them by.
//
// The order is that of the bytes which protobuf's serializer writes, depth first: the graph's nodes in order, in each
// its attributes in order (t, g, tensors, graphs, sparse_tensor, sparse_tensors), then the graph's initializers, then
// its sparse initializers (values before indices); after the main graph training_info, then functions.
//
// A *stripped* tensor has at least one element and no data in the proto: raw_data and all typed fields are empty. The
// k-th stripped tensor of a .quench file's graph has its values in the k-th tensor of the container.
#pragma once

#include <onnx/onnx_pb.h>

#include <functional>

namespace quench {

// Where a tensor was found. `node` and `attribute` are null for initializers; `graph` is null in functions.
struct TensorPlace {
  const onnx::GraphProto* graph = nullptr;
  const onnx::NodeProto* node = nullptr;
  const onnx::AttributeProto* attribute = nullptr;
  bool is_sparse_part = false;  // the values or the indices of a sparse tensor
};

void for_each_tensor(onnx::ModelProto& model, const std::function<void(onnx::TensorProto&, const TensorPlace&)>& visit);
void for_each_tensor(const onnx::ModelProto& model,
                     const std::function<void(const onnx::TensorProto&, const TensorPlace&)>& visit);

// Every graph of the model, also those of training_info and functions; outer graphs before the inner ones.
void for_each_graph(onnx::ModelProto& model, const std::function<void(onnx::GraphProto&)>& visit);

bool is_stripped(const onnx::TensorProto& tensor);

// Removes raw_data, the typed fields and any reference to external data; name, type, dims and doc_string stay.
void clear_data(onnx::TensorProto& tensor);

}  // namespace quench
