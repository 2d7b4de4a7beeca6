#include "formats/onnx/normalize.h"

#include <numeric>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "formats/onnx/tensors.h"

namespace quench {
namespace {

using Nodes = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

void rename_domain(std::string& domain) {
  if (domain == "ai.onnx") domain.clear();
}

void rename_domains(Nodes& nodes) {
  for (onnx::NodeProto& node : nodes) rename_domain(*node.mutable_domain());
}

// Adds the names that a node uses, those inside its subgraphs too, whichever graph defines them.
void add_used_names(const onnx::NodeProto& node, std::vector<std::string_view>& names) {
  for (const std::string& input : node.input()) names.emplace_back(input);
  const auto add_graph = [&](const onnx::GraphProto& graph) {
    for (const onnx::NodeProto& inner : graph.node()) add_used_names(inner, names);
    for (const onnx::ValueInfoProto& output : graph.output()) names.emplace_back(output.name());
  };
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.has_g()) add_graph(attribute.g());
    for (const onnx::GraphProto& graph : attribute.graphs()) add_graph(graph);
  }
}

// For each node, the nodes that use what it makes; and how many makers of its own inputs each node waits for.
struct Order {
  std::vector<std::vector<int>> users;
  std::vector<int> waits_for;
  bool is_sorted = true;
};

Order order_of(const Nodes& nodes) {
  std::unordered_map<std::string_view, int> makers;
  for (int n = 0; n < nodes.size(); ++n) {
    for (const std::string& output : nodes[n].output()) {
      if (!output.empty()) makers.emplace(output, n);
    }
  }
  Order order{std::vector<std::vector<int>>(static_cast<size_t>(nodes.size())),
              std::vector<int>(static_cast<size_t>(nodes.size())), true};
  std::vector<std::string_view> names;
  for (int n = 0; n < nodes.size(); ++n) {
    names.clear();
    add_used_names(nodes[n], names);
    for (const std::string_view name : names) {
      const auto maker = makers.find(name);
      if (maker == makers.end()) continue;
      order.users[static_cast<size_t>(maker->second)].push_back(n);
      ++order.waits_for[static_cast<size_t>(n)];
      order.is_sorted &= maker->second < n;
    }
  }
  return order;
}

// Of the nodes that could come next, the one that was first.
void sort(Nodes& nodes) {
  Order order = order_of(nodes);
  if (order.is_sorted) return;
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (int n = 0; n < nodes.size(); ++n) {
    if (order.waits_for[static_cast<size_t>(n)] == 0) ready.push(n);
  }
  std::vector<bool> is_placed(order.users.size());
  Nodes sorted;
  const auto place = [&](int n) {
    is_placed[static_cast<size_t>(n)] = true;
    sorted.Add(std::move(*nodes.Mutable(n)));
  };
  while (!ready.empty()) {
    const int next = ready.top();
    ready.pop();
    for (const int user : order.users[static_cast<size_t>(next)]) {
      if (--order.waits_for[static_cast<size_t>(user)] == 0) ready.push(user);
    }
    place(next);
  }
  for (int n = 0; n < nodes.size(); ++n) {
    if (!is_placed[static_cast<size_t>(n)]) place(n);
  }
  nodes.Swap(&sorted);
}

}  // namespace

void use_one_domain_name(onnx::ModelProto& model) {
  const auto rename_imports = [](auto& imports) {
    for (onnx::OperatorSetIdProto& import : imports) rename_domain(*import.mutable_domain());
  };
  rename_imports(*model.mutable_opset_import());
  for_each_graph(model, [](onnx::GraphProto& graph) { rename_domains(*graph.mutable_node()); });
  for (onnx::FunctionProto& function : *model.mutable_functions()) {
    rename_domain(*function.mutable_domain());
    rename_imports(*function.mutable_opset_import());
    rename_domains(*function.mutable_node());
  }
}

void sort_nodes(onnx::ModelProto& model) {
  for_each_graph(model, [](onnx::GraphProto& graph) { sort(*graph.mutable_node()); });
  for (onnx::FunctionProto& function : *model.mutable_functions()) sort(*function.mutable_node());
}

}  // namespace quench
