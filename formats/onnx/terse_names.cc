#include "formats/onnx/terse_names.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "formats/error.h"

namespace quench {
namespace {

using NameSet = std::unordered_set<std::string>;

NameSet interface_names(const onnx::GraphProto& graph) {
  NameSet names;
  for (const onnx::ValueInfoProto& value : graph.input()) names.insert(value.name());
  for (const onnx::ValueInfoProto& value : graph.output()) names.insert(value.name());
  return names;
}

bool has_subgraph(const onnx::NodeProto& node) {
  return std::any_of(node.attribute().begin(), node.attribute().end(), [](const onnx::AttributeProto& attribute) {
    return attribute.has_g() || attribute.graphs_size() > 0;
  });
}

bool names_reach_further(const onnx::ModelProto& model) {
  const onnx::GraphProto& graph = model.graph();
  return model.functions_size() > 0 || model.training_info_size() > 0 || graph.sparse_initializer_size() > 0 ||
         graph.quantization_annotation_size() > 0 ||
         std::any_of(graph.node().begin(), graph.node().end(), has_subgraph) ||
         interface_names(graph).contains(kNextInitializer);
}

// The initializers without a name, in the order of their only use, in front of the others.
void move_to_front(onnx::GraphProto& graph, const std::vector<int>& nameless) {
  std::vector<bool> moved(static_cast<size_t>(graph.initializer_size()), false);
  google::protobuf::RepeatedPtrField<onnx::TensorProto> ordered;
  const auto take = [&](int i) {
    moved[static_cast<size_t>(i)] = true;
    ordered.Add()->Swap(graph.mutable_initializer(i));
  };
  for (const int i : nameless) take(i);
  for (int i = 0; i < graph.initializer_size(); ++i) {
    if (!moved[static_cast<size_t>(i)]) take(i);
  }
  graph.mutable_initializer()->Swap(&ordered);
}

// Leaves the initializers that keep their names in `kept`.
void drop_initializer_names(onnx::GraphProto& graph, NameSet& kept) {
  std::unordered_map<std::string, int> uses, initializers;
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) ++uses[input];
  }
  for (int i = 0; i < graph.initializer_size(); ++i) {
    const std::string& name = graph.initializer(i).name();
    if (name.empty()) continue;  // nothing can refer to it; "" stands for an input that is left out
    uses[name] == 1 && !kept.contains(name) ? void(initializers.emplace(name, i)) : void(kept.insert(name));
  }
  std::vector<int> nameless;
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (std::string& input : *node.mutable_input()) {
      const auto found = initializers.find(input);
      if (found == initializers.end()) continue;
      nameless.push_back(found->second);
      graph.mutable_initializer(found->second)->clear_name();
      input = std::string(kNextInitializer);
    }
  }
  move_to_front(graph, nameless);
}

class Registers {
 public:
  explicit Registers(const NameSet& taken) : taken_(taken) {}

  std::string take() {
    if (!free_.empty()) {
      std::string name = std::move(free_.back());
      free_.pop_back();
      return name;
    }
    std::string name = short_name(next_++);
    while (taken_.contains(name)) name = short_name(next_++);
    return name;
  }
  void give_back(std::string name) { free_.push_back(std::move(name)); }

 private:
  const NameSet& taken_;
  std::vector<std::string> free_;
  size_t next_ = 0;
};

}  // namespace

std::string short_name(size_t number) {
  std::string name;
  for (++number; number != 0; number = (number - 1) / 26) {
    name.insert(name.begin(), static_cast<char>('a' + (number - 1) % 26));
  }
  return name;
}

bool make_names_terse(onnx::ModelProto& model) {
  if (names_reach_further(model)) return false;
  onnx::GraphProto& graph = *model.mutable_graph();
  NameSet kept = interface_names(graph);
  drop_initializer_names(graph, kept);

  std::unordered_map<std::string, int> last_use;
  for (int n = 0; n < graph.node_size(); ++n) {
    for (const std::string& input : graph.node(n).input()) last_use[input] = n;
  }
  Registers registers(kept);
  std::unordered_map<std::string, std::string> names;  // of the values that are still needed
  for (int n = 0; n < graph.node_size(); ++n) {
    onnx::NodeProto& node = *graph.mutable_node(n);
    std::vector<std::string> ended;
    for (std::string& input : *node.mutable_input()) {
      const auto found = names.find(input);
      if (found == names.end()) continue;
      if (last_use.at(input) == n) ended.push_back(input);
      input = found->second;
    }
    for (const std::string& name : ended) {
      const auto found = names.find(name);  // not there where the node uses it twice
      if (found == names.end()) continue;
      registers.give_back(found->second);
      names.erase(found);
    }
    std::vector<std::string> unused;
    for (std::string& output : *node.mutable_output()) {
      if (output.empty() || kept.contains(output)) continue;
      std::string name = registers.take();
      if (last_use.contains(output)) {
        names.emplace(output, name);
      } else {
        unused.push_back(name);
      }
      output = std::move(name);
    }
    for (std::string& name : unused) registers.give_back(std::move(name));
  }
  return true;
}

void expand_terse_names(onnx::ModelProto& model, std::string_view file) {
  onnx::GraphProto& graph = *model.mutable_graph();
  NameSet kept = interface_names(graph);
  for (const onnx::TensorProto& tensor : graph.initializer()) kept.insert(tensor.name());
  size_t next = 0;
  const auto new_name = [&] {
    std::string name = short_name(next++);
    while (kept.contains(name)) name = short_name(next++);
    return name;
  };
  std::unordered_map<std::string, std::string> names;
  for (const std::string& name : kept) names.emplace(name, name);
  int initializer = 0;
  const auto next_initializer = [&]() -> onnx::TensorProto* {
    while (initializer < graph.initializer_size() && !graph.initializer(initializer).name().empty()) ++initializer;
    return initializer < graph.initializer_size() ? graph.mutable_initializer(initializer) : nullptr;
  };
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (std::string& input : *node.mutable_input()) {
      if (input.empty()) continue;
      onnx::TensorProto* nameless = input == kNextInitializer ? next_initializer() : nullptr;
      if (nameless) {
        input = new_name();
        nameless->set_name(input);
        continue;
      }
      const auto found = names.find(input);
      if (found == names.end()) throw Error::make("{}: the graph uses a value that nothing defines", file);
      input = found->second;
    }
    for (std::string& output : *node.mutable_output()) {
      if (output.empty() || kept.contains(output)) continue;
      std::string name = new_name();
      names.insert_or_assign(std::exchange(output, name), name);
    }
  }
}

}  // namespace quench
