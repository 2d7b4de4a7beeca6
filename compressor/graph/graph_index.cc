#include "compressor/graph/graph_index.h"

#include <fmt/format.h>

#include <type_traits>
#include <utility>

#include "formats/onnx/node.h"

namespace quench::graph {
namespace {

// Calls visit(graph) for the subgraphs of a node.
template <typename Node, typename Visit>
void for_each_subgraph(Node& node, Visit visit) {
  if constexpr (std::is_const_v<Node>) {
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) visit(attribute.g());
      for (const onnx::GraphProto& graph : attribute.graphs()) visit(graph);
    }
  } else {
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.has_g()) visit(*attribute.mutable_g());
      for (onnx::GraphProto& graph : *attribute.mutable_graphs()) visit(graph);
    }
  }
}

template <typename Visit>
void for_each_definition(const onnx::GraphProto& graph, Visit visit) {
  for (const onnx::ValueInfoProto& value : graph.input()) visit(value.name());
  for (const onnx::TensorProto& tensor : graph.initializer()) visit(tensor.name());
  for (const onnx::SparseTensorProto& tensor : graph.sparse_initializer()) visit(tensor.values().name());
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& output : node.output()) visit(output);
  }
}

}  // namespace

GraphIndex::GraphIndex(onnx::GraphProto& graph) {
  for (const onnx::ValueInfoProto& value : graph.input()) inputs_.insert(value.name());
  for (onnx::TensorProto& tensor : *graph.mutable_initializer()) {
    if (!inputs_.contains(tensor.name())) initializers_[tensor.name()] = &tensor;
  }
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (const std::string& output : node.output()) producers_[output] = &node;
    for_each_used_value(node, [&](const std::string& name) { ++uses_[name]; });
    for_each_subgraph(std::as_const(node), [&](const onnx::GraphProto& inner) { pin_names_of(inner); });
  }
  for (const onnx::ValueInfoProto& value : graph.output()) {
    ++uses_[value.name()];
    outputs_.insert(value.name());
  }
  for_each_annotated_name(graph, [&](const std::string& name) {
    ++uses_[name];
    pinned_.insert(name);
  });
}

void GraphIndex::pin_names_of(const onnx::GraphProto& graph) {
  for_each_definition(graph, [&](const std::string& name) { pinned_.insert(name); });
  for (const onnx::ValueInfoProto& value : graph.output()) pinned_.insert(value.name());
  for_each_annotated_name(graph, [&](const std::string& name) { pinned_.insert(name); });
  for (const onnx::NodeProto& node : graph.node()) {
    for_each_subgraph(node, [&](const onnx::GraphProto& inner) { pin_names_of(inner); });
  }
}

onnx::NodeProto* GraphIndex::producer(const std::string& value) const {
  const auto found = producers_.find(value);
  return found == producers_.end() ? nullptr : found->second;
}

onnx::TensorProto* GraphIndex::initializer(const std::string& value) const {
  const auto found = initializers_.find(value);
  return found == initializers_.end() ? nullptr : found->second;
}

size_t GraphIndex::uses(const std::string& value) const {
  const auto found = uses_.find(value);
  return found == uses_.end() ? 0 : found->second;
}

NameSet::NameSet(onnx::ModelProto& model) {
  for_each_graph(model, [&](onnx::GraphProto& graph) {
    for_each_definition(graph, [&](const std::string& name) { ++definitions_[name]; });
    for (const onnx::NodeProto& node : graph.node()) {
      for (const std::string& input : node.input()) definitions_.try_emplace(input, 0);
    }
  });
}

std::string NameSet::unique(const std::string& wish) {
  std::string name = wish;
  for (size_t number = 2; !definitions_.try_emplace(name, 1).second; ++number) {
    name = fmt::format("{}_{}", wish, number);
  }
  return name;
}

bool NameSet::is_defined_once(const std::string& name) const {
  const auto found = definitions_.find(name);
  return found != definitions_.end() && found->second == 1;
}

void for_each_annotated_name(const onnx::GraphProto& graph, const std::function<void(const std::string&)>& visit) {
  for (const onnx::TensorAnnotation& annotation : graph.quantization_annotation()) {
    visit(annotation.tensor_name());
    for (const auto& entry : annotation.quant_parameter_tensor_names()) visit(entry.value());
  }
}

void replace_uses(onnx::GraphProto& graph, const std::unordered_map<std::string, std::string>& replacements) {
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (std::string& input : *node.mutable_input()) {
      const auto found = replacements.find(input);
      if (found != replacements.end()) input = found->second;
    }
    for_each_subgraph(node, [&](onnx::GraphProto& inner) { replace_uses(inner, replacements); });
  }
}

void for_each_used_value(const onnx::NodeProto& node, const std::function<void(const std::string&)>& visit) {
  for (const std::string& input : node.input()) {
    if (!input.empty()) visit(input);
  }
  for_each_subgraph(node, [&](const onnx::GraphProto& inner) {
    for (const onnx::NodeProto& inner_node : inner.node()) for_each_used_value(inner_node, visit);
    for (const onnx::ValueInfoProto& output : inner.output()) visit(output.name());
  });
}

const onnx::AttributeProto* find_attribute(const onnx::NodeProto& node, std::string_view name) {
  return quench::find_attribute(node, name);
}

int64_t integer_attribute(const onnx::NodeProto& node, std::string_view name, int64_t fallback) {
  return quench::integer_attribute(node, name, fallback);
}

float float_attribute(const onnx::NodeProto& node, std::string_view name, float fallback) {
  return quench::float_attribute(node, name, fallback);
}

operators::AttributeView attributes_of(const onnx::NodeProto& node) {
  static constexpr auto find = [](const void* owner, std::string_view name) {
    return find_attribute(*static_cast<const onnx::NodeProto*>(owner), name);
  };
  static constexpr operators::AttributeFunctions kFunctions = {
      .get_int =
          [](const void* owner, std::string_view name, int64_t otherwise) {
            const onnx::AttributeProto* attribute = find(owner, name);
            return attribute ? attribute->i() : otherwise;
          },
      .get_float =
          [](const void* owner, std::string_view name, float otherwise) {
            const onnx::AttributeProto* attribute = find(owner, name);
            return attribute ? attribute->f() : otherwise;
          },
      .get_string =
          [](const void* owner, std::string_view name, std::string_view otherwise) {
            const onnx::AttributeProto* attribute = find(owner, name);
            return attribute ? std::string_view(attribute->s()) : otherwise;
          },
      .get_ints =
          [](const void* owner, std::string_view name) {
            const onnx::AttributeProto* attribute = find(owner, name);
            return attribute
                       ? std::span<const int64_t>(attribute->ints().data(), static_cast<size_t>(attribute->ints_size()))
                       : std::span<const int64_t>();
          },
      .get_floats =
          [](const void* owner, std::string_view name) {
            const onnx::AttributeProto* attribute = find(owner, name);
            return attribute ? std::span<const float>(attribute->floats().data(),
                                                      static_cast<size_t>(attribute->floats_size()))
                             : std::span<const float>();
          },
      .count_strings =
          [](const void* owner, std::string_view name) {
            const onnx::AttributeProto* attribute = find(owner, name);
            return attribute ? attribute->strings_size() : 0;
          },
      .string_at = [](const void* owner, std::string_view name,
                      int index) { return std::string_view(find(owner, name)->strings(index)); },
  };
  return {&node, kFunctions};
}

void remove_attribute(onnx::NodeProto& node, std::string_view name) {
  erase_if(*node.mutable_attribute(), [&](const onnx::AttributeProto& attribute) { return attribute.name() == name; });
}

int64_t default_opset(const onnx::ModelProto& model) { return quench::default_opset(model); }

bool is_op(const onnx::NodeProto& node, std::string_view op_type) {
  return node.op_type() == op_type && (node.domain().empty() || node.domain() == "ai.onnx");
}

const operators::Operator* operator_of(const onnx::NodeProto& node) {
  return node.domain().empty() || node.domain() == "ai.onnx" ? operators::find(node.op_type()) : nullptr;
}

bool has_output(const onnx::NodeProto& node, int index) { return quench::has_output(node, index); }
bool has_input(const onnx::NodeProto& node, int index) { return quench::has_input(node, index); }

Weight& weight_of(OnnxModel& model, const onnx::TensorProto& tensor) {
  return model.weights.at(static_cast<size_t>(weight_index(tensor)));
}

}  // namespace quench::graph
