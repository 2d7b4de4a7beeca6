#include <algorithm>

#include "compressor/graph/graph_index.h"
#include "compressor/graph/simplify.h"

namespace quench::graph {
namespace {

using Names = std::unordered_set<std::string>;

struct Removed {
  size_t nodes = 0;
  size_t initializers = 0;
};

// Nodes that some output needs, found from the last to the first since a node comes after those that it uses.
std::unordered_set<const onnx::NodeProto*> needed_nodes(const onnx::GraphProto& graph, Names& needed) {
  std::unordered_set<const onnx::NodeProto*> nodes;
  for (int i = graph.node_size() - 1; i >= 0; --i) {
    const onnx::NodeProto& node = graph.node(i);
    const bool is_needed = std::any_of(node.output().begin(), node.output().end(),
                                       [&](const std::string& output) { return needed.contains(output); });
    if (!is_needed) continue;
    nodes.insert(&node);
    for_each_used_value(node, [&](const std::string& name) {
      if (!name.empty()) needed.insert(name);
    });
  }
  return nodes;
}

// What a graph says about values that are gone.
void remove_stale_notes(onnx::GraphProto& graph) {
  Names defined;
  for (const onnx::ValueInfoProto& value : graph.input()) defined.insert(value.name());
  for (const onnx::TensorProto& tensor : graph.initializer()) defined.insert(tensor.name());
  for (const onnx::NodeProto& node : graph.node()) defined.insert(node.output().begin(), node.output().end());
  erase_if(*graph.mutable_value_info(), [&](const auto& value) { return !defined.contains(value.name()); });
  erase_if(*graph.mutable_quantization_annotation(), [&](const onnx::TensorAnnotation& annotation) {
    const auto& parameters = annotation.quant_parameter_tensor_names();
    return !defined.contains(annotation.tensor_name()) ||
           !std::all_of(parameters.begin(), parameters.end(),
                        [&](const auto& entry) { return defined.contains(entry.value()); });
  });
}

Removed remove_from(onnx::GraphProto& graph) {
  Names needed;
  for (const onnx::ValueInfoProto& value : graph.output()) needed.insert(value.name());
  for_each_annotated_name(graph, [&](const std::string& name) { needed.insert(name); });
  const auto nodes = needed_nodes(graph, needed);
  Removed removed;
  removed.nodes = erase_if(*graph.mutable_node(), [&](const onnx::NodeProto& node) { return !nodes.contains(&node); });
  // An initializer that is an input too is the input's default value, and inputs stay.
  for (const onnx::ValueInfoProto& value : graph.input()) needed.insert(value.name());
  removed.initializers += erase_if(*graph.mutable_initializer(),
                                   [&](const onnx::TensorProto& tensor) { return !needed.contains(tensor.name()); });
  removed.initializers += erase_if(*graph.mutable_sparse_initializer(), [&](const onnx::SparseTensorProto& tensor) {
    return !needed.contains(tensor.values().name());
  });
  remove_stale_notes(graph);
  return removed;
}

}  // namespace

bool remove_unused(OnnxModel& model, Report& report) {
  Removed total;
  for_each_graph(model.proto, [&](onnx::GraphProto& graph) {
    const Removed removed = remove_from(graph);
    total.nodes += removed.nodes;
    total.initializers += removed.initializers;
  });
  report.nodes_removed += total.nodes;
  report.initializers_removed += total.initializers;
  if (total.nodes + total.initializers == 0) return false;
  model.reindex();
  return true;
}

}  // namespace quench::graph
