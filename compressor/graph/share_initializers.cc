#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "compressor/graph/graph_index.h"
#include "compressor/graph/simplify.h"

namespace quench::graph {
namespace {

using onnx::TensorProto;

template <typename T>
std::vector<std::byte> raw_of(const T* values, size_t count) {
  const auto bytes = std::as_bytes(std::span(values, count));
  return {bytes.begin(), bytes.end()};
}

// Puts what a Constant node holds into `tensor`. False for the forms that are no dense tensor of numbers or strings.
bool take_constant(OnnxModel& model, onnx::AttributeProto& attribute, TensorProto& tensor) {
  if (attribute.name() == "value" && attribute.has_t()) {
    tensor.Swap(attribute.mutable_t());
    return true;
  }
  const int64_t floats[] = {attribute.floats_size()};
  const int64_t ints[] = {attribute.ints_size()};
  if (attribute.name() == "value_float") {
    const float value = attribute.f();
    set_weight(model, tensor, TensorProto::FLOAT, {}, owned_source(raw_of(&value, 1)));
  } else if (attribute.name() == "value_int") {
    const int64_t value = attribute.i();
    set_weight(model, tensor, TensorProto::INT64, {}, owned_source(raw_of(&value, 1)));
  } else if (attribute.name() == "value_floats" && floats[0] != 0) {
    set_weight(model, tensor, TensorProto::FLOAT, floats,
               owned_source(raw_of(attribute.floats().data(), static_cast<size_t>(floats[0]))));
  } else if (attribute.name() == "value_ints" && ints[0] != 0) {
    set_weight(model, tensor, TensorProto::INT64, ints,
               owned_source(raw_of(attribute.ints().data(), static_cast<size_t>(ints[0]))));
  } else {
    return false;
  }
  return true;
}

size_t move_constants_of(OnnxModel& model, onnx::GraphProto& graph) {
  const GraphIndex index(graph);
  return erase_if(*graph.mutable_node(), [&](onnx::NodeProto& node) {
    if (!is_op(node, "Constant") || node.attribute_size() != 1 || !has_output(node, 0) ||
        index.is_output(node.output(0))) {
      return false;
    }
    TensorProto tensor;
    if (!take_constant(model, *node.mutable_attribute(0), tensor)) return false;
    tensor.set_name(node.output(0));
    *graph.add_initializer() = std::move(tensor);
    return true;
  });
}

// Finds, for initializers given one after another, the first one with equal type, shape and bytes. Reads values only
// where type and shape agree, and holds those of two at most.
class EqualTensors {
 public:
  explicit EqualTensors(const OnnxModel& model) : model_(model) {}

  const TensorProto& first_like(const TensorProto& tensor) {
    const Weight& weight = weight_of(tensor);
    auto& group = groups_[{weight.dtype, weight.dims}];
    if (group.empty()) {
      group.push_back({&tensor, std::nullopt});
      return tensor;
    }
    const std::vector<std::byte> values = read(weight);
    const size_t hash = hash_of(values);
    for (Known& known : group) {
      if (!known.hash) known.hash = hash_of(read(weight_of(*known.tensor)));
      if (*known.hash == hash && read(weight_of(*known.tensor)) == values) return *known.tensor;
    }
    group.push_back({&tensor, hash});
    return tensor;
  }

 private:
  struct Known {
    const TensorProto* tensor;
    std::optional<size_t> hash;
  };

  static size_t hash_of(const std::vector<std::byte>& bytes) {
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  const Weight& weight_of(const TensorProto& tensor) const {
    return model_.weights.at(static_cast<size_t>(weight_index(tensor)));
  }

  const OnnxModel& model_;
  std::map<std::pair<int32_t, std::vector<int64_t>>, std::vector<Known>> groups_;
};

size_t share_in(OnnxModel& model, onnx::GraphProto& graph) {
  const GraphIndex index(graph);
  EqualTensors equal(model);
  std::unordered_map<std::string, std::string> replacements;
  for (const TensorProto& tensor : graph.initializer()) {
    const std::string& name = tensor.name();
    if (weight_index(tensor) < 0 || index.initializer(name) != &tensor || index.is_pinned(name)) continue;
    const TensorProto& first = equal.first_like(tensor);
    if (&first != &tensor && !index.is_output(name)) replacements[name] = first.name();
  }
  replace_uses(graph, replacements);
  return erase_if(*graph.mutable_initializer(),
                  [&](const TensorProto& tensor) { return replacements.contains(tensor.name()); });
}

// True for a file whose writer lists its weights as inputs, and so means none of them to be given anew.
bool has_weights_for_inputs(const onnx::GraphProto& graph, const std::unordered_set<std::string>& initializers) {
  std::unordered_set<std::string> inputs;
  for (const onnx::ValueInfoProto& value : graph.input()) {
    if (initializers.contains(value.name())) inputs.insert(value.name());
  }
  for (const onnx::NodeProto& node : graph.node()) {
    const operators::Operator* op = operator_of(node);
    for (int i = 0; op != nullptr && i < node.input_size(); ++i) {
      if (op->role(i) == operators::Role::kWeight && inputs.contains(node.input(i))) return true;
    }
  }
  return false;
}

}  // namespace

bool fix_inputs(OnnxModel& model, Report& report) {
  onnx::GraphProto& graph = *model.proto.mutable_graph();
  std::unordered_set<std::string> initializers;
  for (const TensorProto& tensor : graph.initializer()) initializers.insert(tensor.name());
  for (const onnx::SparseTensorProto& tensor : graph.sparse_initializer()) initializers.insert(tensor.values().name());
  // Before version 4 every initializer had to be an input as well, and passes add some that are none.
  const bool is_old = model.proto.ir_version() < 4;
  if (is_old) model.proto.set_ir_version(4);
  if (!is_old && !has_weights_for_inputs(graph, initializers)) return false;
  const size_t count =
      erase_if(*graph.mutable_input(), [&](const auto& value) { return initializers.contains(value.name()); });
  report.inputs_fixed += count;
  return count != 0;
}

bool move_constants(OnnxModel& model, Report& report) {
  size_t count = 0;
  for_each_graph(model.proto, [&](onnx::GraphProto& graph) { count += move_constants_of(model, graph); });
  if (count != 0) model.reindex();
  report.constants_moved += count;
  return count != 0;
}

bool share_initializers(OnnxModel& model, Report& report) {
  size_t count = 0;
  for_each_graph(model.proto, [&](onnx::GraphProto& graph) { count += share_in(model, graph); });
  if (count != 0) model.reindex();
  report.initializers_shared += count;
  return count != 0;
}

}  // namespace quench::graph
