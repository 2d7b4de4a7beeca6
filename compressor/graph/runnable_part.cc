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

constexpr ShapedByData kShapedByData[] = {{"NonZero", 0},       {"NonMaxSuppression", 0},
                                          {"Unique", 0},        {"Compress", 1},
                                          {"Reshape", 1},       {"Expand", 1},
                                          {"Tile", 1},          {"Slice", 1},
                                          {"Pad", 1},           {"Resize", 1},
                                          {"Upsample", 1},      {"TopK", 1},
                                          {"OneHot", 1},        {"ConstantOfShape", 0},
                                          {"Range", 0},         {"Squeeze", 1},
                                          {"Unsqueeze", 1},     {"Split", 1},
                                          {"CenterCropPad", 1}, {"Col2Im", 1},
                                          {"ReduceSum", 1},     {"ReduceMean", 1},
                                          {"ReduceMax", 1},     {"ReduceMin", 1},
                                          {"ReduceL1", 1},      {"ReduceL2", 1},
                                          {"ReduceProd", 1},    {"ReduceSumSquare", 1},
                                          {"ReduceLogSum", 1},  {"ReduceLogSumExp", 1}};

// What comes out is no floating-point number, whatever goes in.
constexpr std::string_view kNoFloats[] = {"And",
                                          "ArgMax",
                                          "ArgMin",
                                          "ConvInteger",
                                          "Equal",
                                          "Greater",
                                          "IsInf",
                                          "GreaterOrEqual",
                                          "IsNaN",
                                          "Less",
                                          "LessOrEqual",
                                          "MatMulInteger",
                                          "NonMaxSuppression",
                                          "NonZero",
                                          "Not",
                                          "Or",
                                          "QLinearConv",
                                          "QLinearMatMul",
                                          "QuantizeLinear",
                                          "DynamicQuantizeLinear",
                                          "Shape",
                                          "Size",
                                          "Xor"};

using Set = std::unordered_set<std::string>;

class Cut {
 public:
  explicit Cut(OnnxModel& model) : graph_(*model.proto.mutable_graph()) {
    for (const auto& import : model.proto.opset_import()) opsets_[import.domain()] = import.version();
    for (const onnx::TensorProto& tensor : graph_.initializer()) known_.insert(tensor.name());
    for (const onnx::ValueInfoProto& input : graph_.input()) known_.erase(input.name());
  }

  std::optional<std::string> run() {
    std::string first;
    for (const NodeProto& node : graph_.node()) {
      const bool is_out = needs_lost(node) || !can_run(node, known_);
      if (is_out && first.empty()) first = node.op_type() + " '" + node.name() + "'";
      if (is_out) out_.insert(&node);
      for (const std::string& output : node.output()) {
        if (output.empty()) continue;
        if (is_out) lost_.insert(output);
        if (!is_out) producers_[output] = &node;
      }
      if (!is_out && is_known(node, known_)) known_.insert(node.output().begin(), node.output().end());
    }
    if (out_.empty()) return std::nullopt;
    find_floats();
    const std::vector<std::string> outputs = remaining_outputs();
    if (outputs.empty()) return std::nullopt;
    replace_outputs(outputs);
    remove_nodes(outputs);
    return first;
  }

 private:
  // Known before the run: made of constants, and of shapes.
  static bool is_known(const NodeProto& node, const Set& known) {
    if (is_op(node, "Shape") || is_op(node, "Size")) return true;
    const operators::Operator* op = operator_of(node);
    if (!op || op->is(operators::kRandom)) return false;
    bool all = true;
    for_each_used_value(node, [&](const std::string& value) { all = all && known.contains(value); });
    return all;
  }

  bool needs_lost(const NodeProto& node) const {
    bool any = false;
    for_each_used_value(node, [&](const std::string& value) { any = any || lost_.contains(value); });
    return any;
  }

  // `known`: of the graph that the node is in, and those around it.
  bool can_run(const NodeProto& node, const Set& known) const {
    const auto opset = opsets_.find(node.domain());
    if (opset == opsets_.end() || !has_kernel(node.domain(), node.op_type(), opset->second)) return false;
    if (is_shaped_by_data(node, known)) return false;
    return std::ranges::all_of(node.attribute(), [&](const onnx::AttributeProto& attribute) {
      const auto runs = [&](const onnx::GraphProto& inner) { return all_run(inner, known); };
      return (!attribute.has_g() || runs(attribute.g())) && std::ranges::all_of(attribute.graphs(), runs);
    });
  }

  bool all_run(const onnx::GraphProto& inner, Set known) const {
    for (const onnx::ValueInfoProto& input : inner.input()) known.erase(input.name());
    for (const onnx::TensorProto& tensor : inner.initializer()) known.insert(tensor.name());
    for (const NodeProto& node : inner.node()) {
      if (!can_run(node, known)) return false;
      const bool knows = is_known(node, known);
      for (const std::string& output : node.output()) knows ? (void)known.insert(output) : (void)known.erase(output);
    }
    return true;
  }

  static bool is_shaped_by_data(const NodeProto& node, const Set& known) {
    const auto* found = std::ranges::find(kShapedByData, node.op_type(), &ShapedByData::name);
    if (!node.domain().empty() || found == std::end(kShapedByData)) return false;
    for (int i = found->first; i < node.input_size(); ++i) {
      if (has_input(node, i) && !known.contains(node.input(i))) return true;
    }
    return false;
  }

  // Which values are floating-point numbers, by the rule that first inputs tell: ONNX's inference knows no operators of
  // others, and none of newer versions.
  void find_floats() {
    for (const onnx::ValueInfoProto& input : graph_.input()) note(input.name(), input.type().tensor_type().elem_type());
    for (const onnx::TensorProto& tensor : graph_.initializer()) note(tensor.name(), tensor.data_type());
    for (const NodeProto& node : graph_.node()) {
      if (out_.contains(&node)) continue;
      for (int i = 0; i < node.output_size(); ++i) {
        if (has_output(node, i) && is_float_output(node, i)) floats_.insert(node.output(i));
      }
    }
    for (const onnx::ValueInfoProto& value : graph_.value_info()) {
      if (value.type().tensor_type().elem_type() != 0) note(value.name(), value.type().tensor_type().elem_type());
    }
  }

  void note(const std::string& name, int32_t type) {
    is_float_type(type) ? (void)floats_.insert(name) : (void)floats_.erase(name);
  }

  bool is_float_output(const NodeProto& node, int output) const {
    if (std::ranges::find(kNoFloats, node.op_type()) != std::end(kNoFloats)) return false;
    if (is_op(node, "Cast")) return is_float_type(static_cast<int32_t>(integer_attribute(node, "to", 0)));
    if (is_op(node, "If") || is_op(node, "Loop") || is_op(node, "Scan")) return false;  // not known
    if (is_op(node, "DequantizeLinear")) return true;
    if (is_op(node, "Constant") || is_op(node, "ConstantOfShape")) return false;  // known before the run
    const bool first_tells = is_op(node, "TopK") || is_op(node, "Unique") || is_op(node, "MaxPool");
    if (first_tells && output > 0) return false;
    const int telling = is_op(node, "Where") || is_op(node, "CastLike") ? 1 : 0;
    return has_input(node, telling) && floats_.contains(node.input(telling));
  }

  // Those of the model that its nodes can still make, then what the nodes that go would have taken.
  std::vector<std::string> remaining_outputs() const {
    std::vector<std::string> outputs;
    Set seen;
    for (const onnx::ValueInfoProto& output : graph_.output()) {
      const bool is_made = producers_.contains(output.name()) && !known_.contains(output.name());
      if (is_made && seen.insert(output.name()).second) outputs.push_back(output.name());
    }
    for (const NodeProto& node : graph_.node()) {
      if (!out_.contains(&node)) continue;
      for_each_used_value(node, [&](const std::string& value) { add_floats(value, outputs, seen); });
    }
    return outputs;
  }

  // The value, or where it is no floating-point number the nearest that it is made of.
  void add_floats(const std::string& value, std::vector<std::string>& outputs, Set& seen) const {
    std::vector<std::string> open = {value};
    while (!open.empty()) {
      const std::string name = open.back();
      open.pop_back();
      const auto producer = producers_.find(name);
      if (producer == producers_.end() || known_.contains(name) || !seen.insert(name).second) continue;
      if (floats_.contains(name)) {
        outputs.push_back(name);
      } else {
        for_each_used_value(*producer->second, [&](const std::string& used) { open.push_back(used); });
      }
    }
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
    Set needed(outputs.begin(), outputs.end());
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

  onnx::GraphProto& graph_;
  std::unordered_map<std::string, int64_t> opsets_;
  std::unordered_map<std::string, const NodeProto*> producers_;  // of those that stay
  Set known_, lost_, floats_;
  std::unordered_set<const NodeProto*> out_;
};

}  // namespace

std::optional<std::string> cut_to_runnable(OnnxModel& model) { return Cut(model).run(); }

}  // namespace quench::graph
