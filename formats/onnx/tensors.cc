#include "formats/onnx/tensors.h"

#include "formats/onnx/weight.h"

namespace quench {
namespace {

// Walks a model in the order of its serialized bytes.
struct Walk {
  std::function<void(const onnx::TensorProto&, const TensorPlace&)> on_tensor = [](const auto&, const auto&) {};
  std::function<void(const onnx::GraphProto&)> on_graph = [](const auto&) {};

  void model(const onnx::ModelProto& model) const {
    if (model.has_graph()) graph(model.graph());
    for (const onnx::TrainingInfoProto& training : model.training_info()) {
      if (training.has_initialization()) graph(training.initialization());
      if (training.has_algorithm()) graph(training.algorithm());
    }
    for (const onnx::FunctionProto& function : model.functions()) {
      for (const onnx::NodeProto& function_node : function.node()) node(function_node, nullptr);
    }
  }

  void graph(const onnx::GraphProto& graph) const {
    on_graph(graph);
    for (const onnx::NodeProto& graph_node : graph.node()) node(graph_node, &graph);
    const TensorPlace place{&graph};
    for (const onnx::TensorProto& tensor : graph.initializer()) on_tensor(tensor, place);
    for (const onnx::SparseTensorProto& tensor : graph.sparse_initializer()) sparse(tensor, place);
  }

  void node(const onnx::NodeProto& node, const onnx::GraphProto* graph_of_node) const {
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      const TensorPlace place{graph_of_node, &node, &attribute};
      if (attribute.has_t()) on_tensor(attribute.t(), place);
      if (attribute.has_g()) graph(attribute.g());
      for (const onnx::TensorProto& tensor : attribute.tensors()) on_tensor(tensor, place);
      for (const onnx::GraphProto& inner : attribute.graphs()) graph(inner);
      if (attribute.has_sparse_tensor()) sparse(attribute.sparse_tensor(), place);
      for (const onnx::SparseTensorProto& tensor : attribute.sparse_tensors()) sparse(tensor, place);
    }
  }

  void sparse(const onnx::SparseTensorProto& tensor, TensorPlace place) const {
    place.is_sparse_part = true;
    if (tensor.has_values()) on_tensor(tensor.values(), place);
    if (tensor.has_indices()) on_tensor(tensor.indices(), place);
  }
};

bool has_data(const onnx::TensorProto& tensor) {
  return !tensor.raw_data().empty() || tensor.float_data_size() != 0 || tensor.int32_data_size() != 0 ||
         tensor.string_data_size() != 0 || tensor.int64_data_size() != 0 || tensor.double_data_size() != 0 ||
         tensor.uint64_data_size() != 0;
}

}  // namespace

void for_each_tensor(const onnx::ModelProto& model,
                     const std::function<void(const onnx::TensorProto&, const TensorPlace&)>& visit) {
  Walk walk;
  walk.on_tensor = visit;
  walk.model(model);
}

void for_each_tensor(onnx::ModelProto& model,
                     const std::function<void(onnx::TensorProto&, const TensorPlace&)>& visit) {
  Walk walk;
  // The model is not const, so neither is what the walk finds in it.
  walk.on_tensor = [&](const onnx::TensorProto& tensor, const TensorPlace& place) {
    visit(const_cast<onnx::TensorProto&>(tensor), place);
  };
  walk.model(model);
}

void for_each_graph(onnx::ModelProto& model, const std::function<void(onnx::GraphProto&)>& visit) {
  Walk walk;
  walk.on_graph = [&](const onnx::GraphProto& graph) { visit(const_cast<onnx::GraphProto&>(graph)); };
  walk.model(model);
}

bool is_stripped(const onnx::TensorProto& tensor) {
  uint64_t count = 0;
  return element_count(tensor, count) && count != 0 && !has_data(tensor);
}

void clear_data(onnx::TensorProto& tensor) {
  tensor.clear_raw_data();
  tensor.clear_float_data();
  tensor.clear_int32_data();
  tensor.clear_string_data();
  tensor.clear_int64_data();
  tensor.clear_double_data();
  tensor.clear_uint64_data();
  tensor.clear_external_data();
  tensor.clear_data_location();
}

}  // namespace quench
