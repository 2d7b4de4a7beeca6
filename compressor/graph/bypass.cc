#include "compressor/graph/graph_index.h"
#include "compressor/graph/simplify.h"

namespace quench::graph {
namespace {

bool is_inactive_dropout(const onnx::NodeProto& node, const OnnxModel& model, const GraphIndex& index) {
  if (!is_op(node, "Dropout")) return false;
  if (has_output(node, 1) && index.uses(node.output(1)) != 0) return false;
  const int64_t opset = default_opset(model.proto);
  if (opset < 7) return integer_attribute(node, "is_test", 0) != 0;
  if (!has_input(node, 2)) return true;
  const auto is_zero = [&](int input) {
    const onnx::TensorProto* tensor = has_input(node, input) ? index.initializer(node.input(input)) : nullptr;
    const std::string& bytes = tensor ? tensor->raw_data() : std::string();
    return !bytes.empty() && bytes.find_first_not_of('\0') == std::string::npos;
  };
  return is_zero(2) || is_zero(1);  // not in training, or with a ratio of 0
}

// True when the node's first output is its first input.
bool hands_on_input(const onnx::NodeProto& node, const OnnxModel& model, const GraphIndex& index) {
  if (!has_input(node, 0) || !has_output(node, 0)) return false;
  if (is_op(node, "Identity")) return true;
  // Concat, Sum, Mean, Max and Min of one value are that value.
  const operators::Operator* op = operator_of(node);
  if (op != nullptr && op->is(operators::kVariadic) && node.input_size() == 1) return true;
  return is_inactive_dropout(node, model, index);
}

class Bypass {
 public:
  Bypass(OnnxModel& model, onnx::GraphProto& graph) : model_(model), graph_(graph), index_(graph) {}

  size_t run() {
    for (onnx::NodeProto& node : *graph_.mutable_node()) {
      if (hands_on_input(node, model_, index_)) bypass(node);
    }
    if (dropped_.empty()) return 0;
    std::unordered_map<std::string, std::string> resolved;
    for (const auto& [from, to] : replacements_) resolved[from] = resolve(to);
    replace_uses(graph_, resolved);
    return erase_if(*graph_.mutable_node(), [&](const onnx::NodeProto& node) { return dropped_.contains(&node); });
  }

 private:
  std::string resolve(std::string name) const {
    for (auto found = replacements_.find(name); found != replacements_.end(); found = replacements_.find(name)) {
      name = found->second;
    }
    return name;
  }

  void bypass(const onnx::NodeProto& node) {
    const std::string& output = node.output(0);
    const std::string source = resolve(node.input(0));
    if (index_.is_pinned(output) || index_.is_pinned(source)) return;
    if (index_.is_output(output)) {
      // The output keeps its name, so the source takes it; which it can if a node of this graph makes it.
      onnx::NodeProto* producer = index_.producer(source);
      if (producer == nullptr || index_.is_output(source)) return;
      for (std::string& name : *producer->mutable_output()) {
        if (name == source) name = output;
      }
      replacements_[source] = output;
    } else {
      replacements_[output] = source;
    }
    dropped_.insert(&node);
  }

  OnnxModel& model_;
  onnx::GraphProto& graph_;
  GraphIndex index_;
  std::unordered_map<std::string, std::string> replacements_;
  std::unordered_set<const onnx::NodeProto*> dropped_;
};

}  // namespace

bool bypass_nodes(OnnxModel& model, Report& report) {
  size_t count = 0;
  for_each_graph(model.proto, [&](onnx::GraphProto& graph) { count += Bypass(model, graph).run(); });
  if (count != 0) model.reindex();
  report.nodes_bypassed += count;
  return count != 0;
}

}  // namespace quench::graph
