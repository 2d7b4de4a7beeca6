#include "compressor/graph/integer_weights.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "compressor/graph/graph_index.h"
#include "compressor/graph/learned.h"

namespace quench::graph {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

constexpr const char* kMicrosoft = "com.microsoft";

constexpr IntegerProduct kProducts[] = {
    {"", "ConvInteger", "Conv", 2, 1, 3},
    {"", "MatMulInteger", "MatMul", 2, 1, 3},
    {"", "QLinearConv", "Conv", 2, 3, 5},
    {"", "QLinearMatMul", "MatMul", 2, 3, 5},
    {kMicrosoft, "DynamicQuantizeMatMul", "MatMul", -1, 1, 3},
    {kMicrosoft, "MatMulIntegerToFloat", "MatMul", 4, 1, 5},
    {kMicrosoft, "QGemm", "Gemm", 2, 3, 5},
};

// Who reads the values of the main graph.
class Readers {
 public:
  struct Reader {
    const NodeProto* node;
    int input;
  };

  explicit Readers(const onnx::GraphProto& graph) {
    for (const auto& output : graph.output()) elsewhere_.insert(output.name());
    for (const NodeProto& node : graph.node()) {
      for (int i = 0; i < node.input_size(); ++i) readers_[node.input(i)].push_back({&node, i});
      const bool has_subgraphs = std::ranges::any_of(
          node.attribute(), [](const auto& attribute) { return attribute.has_g() || attribute.graphs_size() > 0; });
      if (has_subgraphs) for_each_used_value(node, [&](const std::string& name) { elsewhere_.insert(name); });
    }
  }

  std::span<const Reader> of(const std::string& value) const {
    const auto found = readers_.find(value);
    return found == readers_.end() ? std::span<const Reader>() : found->second;
  }
  // By a subgraph, or by the graph's caller.
  bool is_read_elsewhere(const std::string& value) const { return elsewhere_.contains(value); }

  // Whether an operator has the value in the place of a weight, as it is or moved about so many times at most.
  bool is_weight(const std::string& value, int moves = 2) const {
    return std::ranges::any_of(of(value), [&](const Reader& reader) {
      const operators::Operator* op = operator_of(*reader.node);
      if (op && op->role(reader.input) == operators::Role::kWeight) return true;
      const bool is_move = is_op(*reader.node, "Transpose") || is_op(*reader.node, "Reshape");
      return moves > 0 && is_move && reader.input == 0 && has_output(*reader.node, 0) &&
             is_weight(reader.node->output(0), moves - 1);
    });
  }

 private:
  std::unordered_map<std::string, std::vector<Reader>> readers_;
  std::unordered_set<std::string> elsewhere_;
};

// The zero point that goes with what a node reads; nothing where it does not read a weight there.
std::optional<int32_t> zero_of(const Readers::Reader& reader, const Readers& readers, const Constants& constants) {
  const NodeProto& node = *reader.node;
  const IntegerProduct* product = integer_product_of(node);
  if (product && product->weight == reader.input) return constants.zero_point(node, product->weight_zero);
  const bool is_dequantized = node.op_type() == "DequantizeLinear" && reader.input == 0 && has_output(node, 0) &&
                              readers.is_weight(node.output(0));
  return is_dequantized ? constants.zero_point(node, 2) : std::nullopt;
}

}  // namespace

const IntegerProduct* integer_product_of(const NodeProto& node) {
  const std::string_view domain = node.domain() == "ai.onnx" ? std::string_view() : node.domain();
  for (const IntegerProduct& product : kProducts) {
    if (product.domain == domain && product.name == node.op_type()) return &product;
  }
  return nullptr;
}

Constants::Constants(const OnnxModel& model) : model_(model) {
  const onnx::GraphProto& graph = model.proto.graph();
  const auto add = [&](const std::string& name, const TensorProto& tensor) {
    if (weight_index(tensor) >= 0) weights_[name] = static_cast<size_t>(weight_index(tensor));
  };
  for (const TensorProto& tensor : graph.initializer()) add(tensor.name(), tensor);
  for (const NodeProto& node : graph.node()) {
    const bool has_value = is_op(node, "Constant") && node.attribute_size() == 1 && node.attribute(0).has_t();
    if (has_value && has_output(node, 0)) add(node.output(0), node.attribute(0).t());
  }
  // Before IR version 4 every weight is an input too.
  if (model.proto.ir_version() < 4) return;
  for (const auto& input : graph.input()) weights_.erase(input.name());
}

const Weight* Constants::find(const std::string& name) const {
  const auto found = weights_.find(name);
  return found == weights_.end() ? nullptr : &model_.weights[found->second];
}

std::optional<int32_t> Constants::zero_point(const NodeProto& node, int input) const {
  if (input < 0 || !has_input(node, input)) return 0;
  const Weight* weight = find(node.input(input));
  if (!weight || !is_integer_type(weight->dtype)) return std::nullopt;
  const std::vector<float> values = read_integers(*weight, 0);
  const bool is_one = std::ranges::all_of(values, [&](float value) { return value == values.front(); });
  return is_one ? std::optional(static_cast<int32_t>(values.front())) : std::nullopt;
}

std::vector<std::optional<int32_t>> integer_weights(const OnnxModel& model) {
  std::vector<std::optional<int32_t>> zeros(model.weights.size());
  const onnx::GraphProto& graph = model.proto.graph();
  const Readers readers(graph);
  const Constants constants(model);
  for (const TensorProto& tensor : graph.initializer()) {
    const Weight* weight = is_integer_type(tensor.data_type()) ? constants.find(tensor.name()) : nullptr;
    const std::span<const Readers::Reader> all = readers.of(tensor.name());
    if (!weight || all.empty() || readers.is_read_elsewhere(tensor.name())) continue;
    const std::optional<int32_t> zero = zero_of(all.front(), readers, constants);
    const bool agree =
        std::ranges::all_of(all, [&](const auto& reader) { return zero_of(reader, readers, constants) == zero; });
    if (agree) zeros[static_cast<size_t>(weight - model.weights.data())] = zero;
  }
  return zeros;
}

std::vector<bool> quantizable_weights(const OnnxModel& model) {
  std::vector<bool> quantizable = learned_weights(model);
  const std::vector<std::optional<int32_t>> zeros = integer_weights(model);
  for (size_t w = 0; w < zeros.size(); ++w) {
    if (zeros[w]) quantizable[w] = true;
  }
  return quantizable;
}

bool is_integer_type(int32_t dtype) { return dtype == TensorProto::INT8 || dtype == TensorProto::UINT8; }

std::vector<float> integers_to_float(int32_t dtype, int32_t zero, std::span<const std::byte> raw) {
  std::vector<float> values;
  values.reserve(raw.size());
  for (const std::byte byte : raw) {
    const auto bits = std::to_integer<uint8_t>(byte);
    const int32_t integer = dtype == TensorProto::INT8 ? static_cast<int8_t>(bits) : bits;
    values.push_back(static_cast<float>(integer - zero));
  }
  return values;
}

std::vector<float> read_integers(const Weight& weight, int32_t zero) {
  return integers_to_float(weight.dtype, zero, read(weight));
}

std::vector<std::byte> to_integers(int32_t dtype, int32_t zero, std::span<const float> values) {
  const float least = dtype == TensorProto::INT8 ? -128 : 0;
  std::vector<std::byte> raw;
  raw.reserve(values.size());
  for (const float value : values) {
    const float integer = std::clamp(std::nearbyint(value) + static_cast<float>(zero), least, least + 255);
    raw.push_back(static_cast<std::byte>(static_cast<int32_t>(integer) & 0xff));
  }
  return raw;
}

}  // namespace quench::graph
