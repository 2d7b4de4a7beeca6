#include "compressor/compress/weight_use.h"

#include <algorithm>
#include <functional>
#include <map>

#include "compressor/graph/graph_index.h"
#include "compressor/graph/integer_weights.h"
#include "formats/operators/recurrent.h"

namespace quench::quantizer {
namespace {

using onnx::AttributeProto;
using onnx::GraphProto;
using onnx::NodeProto;

// Counts uses of every name, also by subgraphs and as graph outputs.
void count_uses(const GraphProto& graph, std::map<std::string, int>& uses) {
  for (const auto& output : graph.output()) ++uses[output.name()];
  for (const NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) ++uses[input];
    for (const AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) count_uses(attribute.g(), uses);
      for (const GraphProto& inner : attribute.graphs()) count_uses(inner, uses);
    }
  }
}

// What names mean in a graph: those of the graphs around it too, unless it gives them another meaning.
class Names {
 public:
  Names(const GraphProto& graph, const Names* around) : around_(around) {
    for (const auto& input : graph.input()) weights_[input.name()] = std::nullopt;
    for (const NodeProto& node : graph.node()) {
      for (const std::string& output : node.output()) weights_[output] = std::nullopt;
      const bool is_constant =
          graph::is_op(node, "Constant") && node.attribute_size() == 1 && node.attribute(0).has_t();
      if (is_constant && node.output_size() == 1) add(node.output(0), node.attribute(0).t());
    }
    for (const onnx::TensorProto& tensor : graph.initializer()) add(tensor.name(), tensor);
  }

  bool is_inner() const { return around_ != nullptr; }
  // The weight of a name; nullopt: it is none.
  std::optional<size_t> weight(const std::string& name) const {
    const auto found = weights_.find(name);
    if (found != weights_.end()) return found->second;
    return around_ ? around_->weight(name) : std::nullopt;
  }

 private:
  void add(const std::string& name, const onnx::TensorProto& tensor) {
    const int64_t index = weight_index(tensor);
    weights_[name] = index < 0 ? std::nullopt : std::optional(static_cast<size_t>(index));
  }

  const Names* around_;
  std::map<std::string, std::optional<size_t>> weights_;
};

// The nodes of a graph and its subgraphs, in order.
void for_each_node(const GraphProto& graph, const Names* around,
                   const std::function<void(const NodeProto&, const Names&)>& visit) {
  const Names names(graph, around);
  for (const NodeProto& node : graph.node()) {
    visit(node, names);
    for (const AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) for_each_node(attribute.g(), &names, visit);
      for (const GraphProto& inner : attribute.graphs()) for_each_node(inner, &names, visit);
    }
  }
}

// The window of a Conv over one or two axes.
std::optional<operators::Window> conv_window(const NodeProto& node, const Weight& weight) {
  const int axes = static_cast<int>(weight.dims.size()) - 2;
  if (axes != 1 && axes != 2) return std::nullopt;
  operators::Window window;
  const Status status = operators::read_window(graph::attributes_of(node), axes, weight.dims.data() + 2, &window);
  return status.ok() ? std::optional(window) : std::nullopt;
}

// Where the output channels of a node's weight, its input 1, lie; no channels where it has none.
operators::ChannelMap map_of(const NodeProto& node, const Weight& weight) {
  const operators::Operator* op = graph::operator_of(node);
  return op ? operators::channel_map(*op, graph::attributes_of(node), weight.dims) : operators::ChannelMap();
}

using Inputs = operators::RecurrentInput;

bool is_recurrent(const NodeProto& node) {
  return graph::is_op(node, "LSTM") || graph::is_op(node, "GRU") || graph::is_op(node, "RNN");
}

// What a recurrent node multiplies with R: what it put out a step before, which has the moments of its output Y, or of
// Y_h, the last step, where Y is left out. (A GRU whose linear_before_reset is 0 multiplies a third of R by a part of it,
// which is near enough.) Empty where these hold two directions, each of which sees its own half.
std::string recurrent_state(const NodeProto& node, const Weight& weight) {
  if (weight.dims[0] != 1) return "";
  for (const int output : {0, 1}) {
    if (graph::has_output(node, output)) return node.output(output);
  }
  return "";
}

// Directions x (gates x hidden) x inputs: all rows of W multiply X.
WeightUse describe_recurrent(const NodeProto& node, int input, const Weight& weight) {
  WeightUse use;
  if (weight.dims.size() != 3) return use;
  use.activation = input == Inputs::kW ? node.input(Inputs::kX) : recurrent_state(node, weight);
  if (use.activation.empty()) return use;
  use.view.rows = weight.dims[0] * weight.dims[1];
  use.view.columns = use.view.row_stride = weight.dims[2];
  use.view.column_stride = 1;
  return use;
}

// The matrix by which a node multiplies its input 0 as the operator does; rows is 0 where it is none of those supported.
WeightUse describe_linear(const NodeProto& node, const operators::Operator& op, const Weight& weight) {
  WeightUse use;
  const operators::ChannelMap map = operators::channel_map(op, graph::attributes_of(node), weight.dims);
  if (map.axis < 0) return use;
  if (op.weight != operators::WeightForm::kMatrix) {
    // What a DeformConv multiplies lies in no window of its input.
    const bool is_conv = op.weight == operators::WeightForm::kKernel && op.is(operators::kWindowed);
    if (is_conv) use.window = conv_window(node, weight);
    if (!use.window) return use;
  }
  use.activation = node.input(0);
  use.view.rows = map.channels;
  use.view.columns = static_cast<int64_t>(weight.elements()) / map.channels;
  use.view.row_stride = map.axis == 0 ? map.inner : 1;
  use.view.column_stride = map.axis == 0 ? 1 : map.within;
  use.view.groups = map.groups;
  use.activation_transposed = graph::integer_attribute(node, "transA", 0) != 0;
  return use;
}

// The same of a node's weight, its input of this number.
WeightUse describe(const NodeProto& node, int input, const Weight& weight) {
  if (is_recurrent(node)) return describe_recurrent(node, input, weight);
  const operators::Operator* op = graph::operator_of(node);
  return op ? describe_linear(node, *op, weight) : WeightUse();
}

// The uses of 8-bit weights.
class IntegerUses {
 public:
  IntegerUses(const OnnxModel& model, std::map<std::string, int> uses)
      : model_(model), constants_(model), zeros_(graph::integer_weights(model)), uses_(std::move(uses)) {
    for (const NodeProto& node : model.proto.graph().node()) {
      for (const std::string& output : node.output()) producers_[output] = &node;
    }
  }

  // Rows is 0 where the node has none.
  WeightUse find(const NodeProto& node) const {
    if (graph::has_input(node, 0) && constants_.find(node.input(0))) return {};  // no activation
    const graph::IntegerProduct* product = graph::integer_product_of(node);
    return product ? of_product(node, *product) : behind_dequantization(node);
  }

 private:
  const NodeProto* producer(const NodeProto& node, int input, std::string_view op_type) const {
    const auto found = graph::has_input(node, input) ? producers_.find(node.input(input)) : producers_.end();
    return found != producers_.end() && found->second->op_type() == op_type ? found->second : nullptr;
  }

  std::optional<size_t> weight(const NodeProto& node, int input) const {
    const Weight* found = graph::has_input(node, input) ? constants_.find(node.input(input)) : nullptr;
    if (!found || uses_.at(node.input(input)) != 1) return std::nullopt;
    const auto index = static_cast<size_t>(found - model_.weights.data());
    return zeros_[index] ? std::optional(index) : std::nullopt;
  }

  WeightUse of_product(const NodeProto& node, const graph::IntegerProduct& product) const {
    const std::optional<size_t> index = weight(node, product.weight);
    if (!index) return {};
    WeightUse use = describe_linear(node, *operators::find(product.real), model_.weights[*index]);
    use.weight = *index;
    // Whose integers are those of floating-point numbers, but for rounding.
    const NodeProto* dynamic = producer(node, 0, "DynamicQuantizeLinear");
    if (dynamic && graph::has_input(*dynamic, 0)) {
      use.activation = dynamic->input(0);
      return use;
    }
    const std::optional<int32_t> zero = constants_.zero_point(node, product.activation_zero);
    if (!zero) return {};
    use.activation_zero = *zero;
    return use;
  }

  WeightUse behind_dequantization(const NodeProto& node) const {
    const operators::Operator* op = graph::operator_of(node);
    const NodeProto* dequantized = producer(node, 1, "DequantizeLinear");
    if (!op || !op->is_linear() || !dequantized || uses_.at(node.input(1)) != 1) return {};
    const std::optional<size_t> index = weight(*dequantized, 0);
    const Weight* scale = graph::has_input(*dequantized, 1) ? constants_.find(dequantized->input(1)) : nullptr;
    if (!index || !scale) return {};
    const std::vector<int64_t>& dims = model_.weights[*index].dims;
    const auto rank = static_cast<int64_t>(dims.size());
    const int64_t axis = graph::integer_attribute(*dequantized, "axis", 1);
    const operators::ChannelMap map = operators::channel_map(*op, graph::attributes_of(node), dims);
    const bool is_of_rows = scale->dims.size() == 1 && (axis < 0 ? axis + rank : axis) == map.axis;
    if (scale->elements() != 1 && !is_of_rows) return {};
    WeightUse use = describe_linear(node, *op, model_.weights[*index]);
    use.weight = *index;
    return use;
  }

  const OnnxModel& model_;
  graph::Constants constants_;
  std::vector<std::optional<int32_t>> zeros_;
  std::map<std::string, int> uses_;
  std::map<std::string, const NodeProto*> producers_;
};

}  // namespace

std::vector<WeightUse> find_weight_uses(const OnnxModel& model) {
  const GraphProto& graph = model.proto.graph();
  std::map<std::string, int> uses;
  count_uses(graph, uses);
  std::map<std::string, size_t> initializers;
  for (const auto& tensor : graph.initializer()) {
    const int64_t index = weight_index(tensor);
    if (index >= 0 && uses[tensor.name()] == 1) initializers[tensor.name()] = static_cast<size_t>(index);
  }
  const auto initializer = [&](const NodeProto& node, int input) {
    const auto at =
        input >= 0 && graph::has_input(node, input) ? initializers.find(node.input(input)) : initializers.end();
    return at == initializers.end() ? std::nullopt : std::optional(at->second);
  };
  const IntegerUses integers(model, uses);
  std::vector<WeightUse> found;
  for (int n = 0; n < graph.node_size(); ++n) {
    const NodeProto& node = graph.node(n);
    if (WeightUse use = integers.find(node); use.view.rows > 0) {
      use.node = n;
      found.push_back(std::move(use));
      continue;
    }
    for (int input = 1; input <= (is_recurrent(node) ? Inputs::kR : 1); ++input) {
      const std::optional<size_t> weight = initializer(node, input);
      if (!weight || initializer(node, 0) || !is_float_type(model.weights[*weight].dtype)) continue;
      WeightUse use = describe(node, input, model.weights[*weight]);
      if (use.view.rows == 0) continue;
      use.weight = *weight;
      use.node = n;
      const std::optional<size_t> bias = initializer(node, graph::operator_of(node)->bias_input());
      if (bias && model.weights[*bias].elements() == static_cast<uint64_t>(use.view.rows)) use.bias = bias;
      found.push_back(std::move(use));
    }
  }
  return found;
}

std::vector<operators::ChannelMap> channels_of_weights(const OnnxModel& model) {
  std::vector<operators::ChannelMap> maps(model.weights.size());
  for_each_node(model.proto.graph(), nullptr, [&](const NodeProto& node, const Names& names) {
    const std::optional<size_t> weight = node.input_size() < 2 ? std::nullopt : names.weight(node.input(1));
    if (weight && maps[*weight].channels == 0) maps[*weight] = map_of(node, model.weights[*weight]);
  });
  return maps;
}

std::vector<bool> read_in_subgraphs(const OnnxModel& model) {
  std::vector<bool> read(model.weights.size(), false);
  for_each_node(model.proto.graph(), nullptr, [&](const NodeProto& node, const Names& names) {
    if (!names.is_inner()) return;
    for (const std::string& input : node.input()) {
      if (const std::optional<size_t> weight = names.weight(input)) read[*weight] = true;
    }
  });
  return read;
}

std::vector<size_t> places_of_weights(const OnnxModel& model) {
  std::vector<size_t> places(model.weights.size(), kNoPlace);
  size_t nodes = 0;
  for_each_node(model.proto.graph(), nullptr, [&](const NodeProto& node, const Names& names) {
    for (const std::string& input : node.input()) {
      const std::optional<size_t> weight = names.weight(input);
      if (weight && places[*weight] == kNoPlace) places[*weight] = nodes;
    }
    ++nodes;
  });
  return places;
}

StreamShape stream_shape(const Weight& weight) {
  std::vector<int64_t> dims = weight.dims;
  if (dims.size() == 3 && dims[0] == 1) dims.erase(dims.begin());  // of a recurrent layer with one direction
  if (dims.size() < 2) return {1, 1, weight.elements()};
  StreamShape shape{static_cast<uint64_t>(dims[0]), static_cast<uint64_t>(dims[1]), 1};
  for (size_t i = 2; i < dims.size(); ++i) shape.inner *= static_cast<uint64_t>(dims[i]);
  return shape;
}

}  // namespace quench::quantizer
