#include "compressor/graph/runnable_part.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "compressor/graph/evaluator.h"
#include "compressor/graph/graph_index.h"

namespace quench::graph {
namespace {

using onnx::NodeProto;

// Operators whose inputs from `first` on say which shape comes out.
struct ShapedByData {
  std::string_view name;
  int first;
};

constexpr ShapedByData kShapedByData[] = {{"NonZero", 0},      {"NonMaxSuppression", 0},
                                          {"Unique", 0},       {"Compress", 1},
                                          {"Reshape", 1},      {"Expand", 1},
                                          {"Tile", 1},         {"Slice", 1},
                                          {"Pad", 1},          {"Resize", 1},
                                          {"Upsample", 1},     {"TopK", 1},
                                          {"OneHot", 1},       {"ConstantOfShape", 0},
                                          {"Range", 0},        {"Squeeze", 1},
                                          {"Unsqueeze", 1},    {"Split", 1},
                                          {"CenterCropPad", 1}};

class Cut {
 public:
  explicit Cut(OnnxModel& model) : model_(model), graph_(*model.proto.mutable_graph()) {
    for (const auto& import : model.proto.opset_import()) opsets_[import.domain()] = import.version();
    for (const onnx::TensorProto& tensor : graph_.initializer()) known_.insert(tensor.name());
    for (const onnx::ValueInfoProto& input : graph_.input()) known_.erase(input.name());
  }

  std::optional<std::string> run() {
    std::string first;
    for (const NodeProto& node : graph_.node()) {
      const bool is_out = needs_lost(node) || !can_run(node);
      if (is_out && first.empty()) first = node.op_type() + " '" + node.name() + "'";
      if (is_out) out_.insert(&node);
      if (is_out) lost_.insert(node.output().begin(), node.output().end());
      if (!is_out && is_known(node)) known_.insert(node.output().begin(), node.output().end());
    }
    if (out_.empty()) return std::nullopt;
    const std::vector<std::string> outputs = remaining_outputs();
    if (outputs.empty()) return std::nullopt;
    replace_outputs(outputs);
    remove_nodes(outputs);
    return first;
  }

 private:
  // Known before the run: made of constants, and of shapes.
  bool is_known(const NodeProto& node) const {
    if (is_op(node, "Shape") || is_op(node, "Size")) return true;
    const operators::Operator* op = operator_of(node);
    if (!op || op->is(operators::kRandom)) return false;
    bool all = true;
    for_each_used_value(node, [&](const std::string& value) { all = all && known_.contains(value); });
    return all;
  }

  bool needs_lost(const NodeProto& node) const {
    bool any = false;
    for_each_used_value(node, [&](const std::string& value) { any = any || lost_.contains(value); });
    return any;
  }

  bool can_run(const NodeProto& node) const {
    const auto opset = opsets_.find(node.domain());
    if (opset == opsets_.end() || !has_kernel(node.domain(), node.op_type(), opset->second)) return false;
    if (is_shaped_by_data(node)) return false;
    return std::ranges::all_of(node.attribute(), [&](const onnx::AttributeProto& attribute) {
      const auto runs = [&](const onnx::GraphProto& inner) {
        return std::ranges::all_of(inner.node(), [&](const NodeProto& each) { return can_run(each); });
      };
      return (!attribute.has_g() || runs(attribute.g())) && std::ranges::all_of(attribute.graphs(), runs);
    });
  }

  bool is_shaped_by_data(const NodeProto& node) const {
    const auto* found = std::ranges::find(kShapedByData, node.op_type(), &ShapedByData::name);
    if (!node.domain().empty() || found == std::end(kShapedByData)) return false;
    for (int i = found->first; i < node.input_size(); ++i) {
      if (has_input(node, i) && !known_.contains(node.input(i))) return true;
    }
    return false;
  }

  // Those of the model that can still be made, then what the nodes that go would have taken.
  std::vector<std::string> remaining_outputs() const {
    std::vector<std::string> outputs;
    std::unordered_set<std::string> seen;
    const std::unordered_set<std::string> floats = float_values();
    for (const onnx::ValueInfoProto& output : graph_.output()) {
      if (!lost_.contains(output.name()) && seen.insert(output.name()).second) outputs.push_back(output.name());
    }
    for (const NodeProto& node : graph_.node()) {
      if (!out_.contains(&node)) continue;
      for_each_used_value(node, [&](const std::string& value) {
        const bool is_wanted = floats.contains(value) && !lost_.contains(value) && !known_.contains(value);
        if (is_wanted && seen.insert(value).second) outputs.push_back(value);
      });
    }
    return outputs;
  }

  // What nodes of the graph make of floating-point numbers.
  std::unordered_set<std::string> float_values() const {
    OnnxModel copy = model_.clone();
    infer_shapes(copy);
    std::unordered_set<std::string> floats;
    for (const onnx::ValueInfoProto& value : copy.proto.graph().value_info()) {
      if (is_float_type(value.type().tensor_type().elem_type())) floats.insert(value.name());
    }
    return floats;
  }

  void replace_outputs(const std::vector<std::string>& names) {
    const auto declared = graph_.output();
    graph_.clear_output();
    for (const std::string& name : names) {
      onnx::ValueInfoProto& output = *graph_.add_output();
      const auto found = std::ranges::find(declared, name, &onnx::ValueInfoProto::name);
      if (found != declared.end()) {
        output = *found;
        continue;
      }
      output.set_name(name);
      output.mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
    }
  }

  void remove_nodes(const std::vector<std::string>& outputs) {
    std::unordered_set<std::string> needed(outputs.begin(), outputs.end());
    for (int i = graph_.node_size(); i-- > 0;) {
      const NodeProto& node = graph_.node(i);
      const bool serves =
          std::ranges::any_of(node.output(), [&](const std::string& output) { return needed.contains(output); });
      if (!serves) out_.insert(&node);
      if (serves) for_each_used_value(node, [&](const std::string& value) { needed.insert(value); });
    }
    erase_if(*graph_.mutable_node(), [&](const NodeProto& node) { return out_.contains(&node); });
    graph_.clear_quantization_annotation();
  }

  OnnxModel& model_;
  onnx::GraphProto& graph_;
  std::unordered_map<std::string, int64_t> opsets_;
  std::unordered_set<std::string> known_, lost_;
  std::unordered_set<const NodeProto*> out_;
};

}  // namespace

std::optional<std::string> cut_to_runnable(OnnxModel& model) { return Cut(model).run(); }

}  // namespace quench::graph
