#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "compressor/graph/graph_index.h"
#include "compressor/graph/simplify.h"

namespace quench::graph {
namespace {

using onnx::AttributeProto;
using onnx::GraphProto;
using onnx::NodeProto;
using onnx::TensorProto;

// Replaces the Ifs of one graph whose condition is a constant by the branch that always runs.
class BranchInliner {
 public:
  BranchInliner(OnnxModel& model, GraphProto& graph, NameSet& names)
      : model_(model), graph_(graph), index_(graph), names_(names) {}

  size_t run() {
    size_t count = 0;
    google::protobuf::RepeatedPtrField<NodeProto> nodes;
    nodes.Swap(graph_.mutable_node());
    for (NodeProto& node : nodes) {
      GraphProto* branch = taken_branch(node);
      if (branch == nullptr) {
        graph_.add_node()->Swap(&node);
      } else {
        place(*branch, node);
        ++count;
      }
    }
    return count;
  }

 private:
  // Null where that depends on the inputs, or the branch has what a node cannot say.
  GraphProto* taken_branch(NodeProto& node) {
    if (!is_op(node, "If") || !has_input(node, 0)) return nullptr;
    const std::optional<bool> condition = value_of(node.input(0));
    if (!condition) return nullptr;
    for (AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.name() != (*condition ? "then_branch" : "else_branch") || !attribute.has_g()) continue;
      GraphProto& branch = *attribute.mutable_g();
      const bool is_plain = branch.input_size() == 0 && branch.quantization_annotation_size() == 0 &&
                            branch.sparse_initializer_size() == 0 && branch.output_size() >= node.output_size() &&
                            !has_pinned_names(branch);
      return is_plain ? &branch : nullptr;
    }
    return nullptr;
  }

  std::optional<bool> value_of(const std::string& condition) const {
    const TensorProto* tensor = index_.initializer(condition);
    if (tensor == nullptr || tensor->data_type() != TensorProto::BOOL || weight_index(*tensor) < 0) return std::nullopt;
    const Weight& weight = weight_of(model_, *tensor);
    if (weight.elements() != 1) return std::nullopt;
    return read(weight).front() != std::byte{0};
  }

  // True where a graph inside of the branch gives a value of the branch another meaning, or hands it on as its own output.
  static bool has_pinned_names(GraphProto& branch) {
    const GraphIndex inner(branch);
    for (const TensorProto& tensor : branch.initializer()) {
      if (inner.is_pinned(tensor.name())) return true;
    }
    for (const NodeProto& node : branch.node()) {
      for (const std::string& output : node.output()) {
        if (!output.empty() && inner.is_pinned(output)) return true;
      }
    }
    return false;
  }

  // The branch's nodes and initializers become the graph's, under other names where another graph has the same ones.
  void place(GraphProto& branch, const NodeProto& node) {
    std::unordered_map<std::string, std::string> renamed;
    const auto rename = [&](std::string& name) {
      if (name.empty() || names_.is_defined_once(name)) return;
      std::string unique = names_.unique(name);
      renamed[name] = unique;
      name = std::move(unique);
    };
    for (TensorProto& tensor : *branch.mutable_initializer()) rename(*tensor.mutable_name());
    for (NodeProto& inner : *branch.mutable_node()) {
      for (std::string& output : *inner.mutable_output()) rename(output);
    }
    replace_uses(branch, renamed);
    for (TensorProto& tensor : *branch.mutable_initializer()) graph_.add_initializer()->Swap(&tensor);
    for (NodeProto& inner : *branch.mutable_node()) graph_.add_node()->Swap(&inner);
    for (int i = 0; i < node.output_size(); ++i) {
      if (!has_output(node, i)) continue;
      const auto found = renamed.find(branch.output(i).name());
      NodeProto& identity = *graph_.add_node();
      identity.set_op_type("Identity");
      identity.add_input(found == renamed.end() ? branch.output(i).name() : found->second);
      identity.add_output(node.output(i));
    }
  }

  OnnxModel& model_;
  GraphProto& graph_;
  GraphIndex index_;
  NameSet& names_;
};

}  // namespace

bool inline_branches(OnnxModel& model, Report& report) {
  size_t count = 0;
  NameSet names(model.proto);
  for_each_graph(model.proto, [&](GraphProto& graph) { count += BranchInliner(model, graph, names).run(); });
  if (count != 0) model.reindex();
  report.branches_inlined += count;
  return count != 0;
}

}  // namespace quench::graph
