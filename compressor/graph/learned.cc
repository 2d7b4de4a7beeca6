#include "compressor/graph/learned.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "compressor/graph/graph_index.h"
#include "formats/base/float16.h"

namespace quench::graph {
namespace {

// What the uses of a constant say of it; the strongest counts.
enum class Use : uint8_t { kNone, kMaybe, kMeasured, kLearned };

// The operators whose data may be learned: arithmetic, tables, what only moves values, and what hands them on.
bool may_use_learned(std::string_view op_type) {
  static const std::unordered_set<std::string_view> kNames = {
      "Add",     "Sub",      "Mul",     "Div",     "Sum",     "Gather", "Concat",    "Expand",
      "Flatten", "Identity", "Reshape", "Cast",    "Squeeze", "Slice",  "Transpose", "Unsqueeze",
      "Tile",    "Split",    "Einsum",  "Softmax", "Sigmoid", "Tanh",   "Exp",       "Softplus"};
  static const std::unordered_set<std::string_view> kCarriers = {
      "Loop", "Optional", "Scan", "SequenceConstruct", "SequenceInsert", "SplitToSequence"};
  return kNames.contains(op_type) || kCarriers.contains(op_type);
}

// Scales and zero points of integer arithmetic are exact numbers: QLinearAdd, QGemm, DynamicQuantizeMatMul,
// MatMulIntegerToFloat, MatMulNBits.
bool is_quantizing(std::string_view op_type) {
  const bool begins = op_type.size() > 1 && op_type[0] == 'Q' && op_type[1] >= 'A' && op_type[1] <= 'Z';
  const auto contains = [&](std::string_view part) { return op_type.find(part) != std::string_view::npos; };
  return begins || contains("Quant") || contains("Integer") || contains("NBits");
}

Use use_of(const onnx::NodeProto& node, int input) {
  using operators::Role;
  if (const operators::Operator* op = operator_of(node)) {
    const Role role = op->role(input);
    if (role == Role::kWeight || role == Role::kBias) return Use::kLearned;
    if (role == Role::kStatistic) return Use::kMeasured;
    return role == Role::kData && may_use_learned(node.op_type()) ? Use::kMaybe : Use::kNone;
  }
  return is_quantizing(node.op_type()) ? Use::kNone : Use::kMaybe;
}

class Uses {
 public:
  explicit Uses(const onnx::ModelProto& model) {
    add(model.graph());
    for (const onnx::FunctionProto& function : model.functions()) {
      for (const onnx::NodeProto& node : function.node()) add(node);
    }
    std::unordered_set<std::string> inputs;
    for (const onnx::ValueInfoProto& input : model.graph().input()) inputs.insert(input.name());
    // Before IR version 4 every weight is an input too.
    for (auto& [name, use] : uses_) {
      if (use == Use::kMaybe && model.ir_version() >= 4 && inputs.contains(name)) use = Use::kNone;
    }
  }

  Use of(const std::string& name) const {
    const auto found = uses_.find(name);
    return found == uses_.end() ? Use::kNone : found->second;
  }

 private:
  void add(const onnx::GraphProto& graph) {
    for (const onnx::NodeProto& node : graph.node()) add(node);
  }

  void add(const onnx::NodeProto& node) {
    for (int i = 0; i < node.input_size(); ++i) {
      Use& use = uses_[node.input(i)];
      use = std::max(use, use_of(node, i));
    }
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) add(attribute.g());
      for (const onnx::GraphProto& graph : attribute.graphs()) add(graph);
    }
  }

  std::unordered_map<std::string, Use> uses_;
};

float largest_finite(int32_t dtype) {
  if (dtype == onnx::TensorProto::FLOAT16) return 65504;
  return dtype == onnx::TensorProto::BFLOAT16 ? float32_from_bfloat16(0x7F7F) : std::numeric_limits<float>::max();
}

// Rounding and error feedback may add to a value; a quarter of the largest one is beyond all that is learned.
bool leaves_room(std::span<const float> values, int32_t dtype) {
  const float limit = largest_finite(dtype) / 4;
  return std::all_of(values.begin(), values.end(), [&](float value) { return std::abs(value) <= limit; });  // not NaN
}

bool is_uniform(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [&](float value) { return value == values[0]; });
}

bool looks_learned(std::span<const float> values) {
  constexpr size_t kLeastElements = 8, kManyDifferent = 512;
  if (values.size() < kLeastElements) return false;
  const bool is_untrained = values[0] == 0 || values[0] == 1;  // as biases and scales begin
  if (is_untrained && is_uniform(values)) return true;
  if (std::all_of(values.begin(), values.end(), [](float value) { return value == std::round(value); })) return false;
  const size_t wanted = std::min(values.size() / 2, kManyDifferent);
  std::unordered_set<float> different;
  for (const float value : values) {
    if (different.insert(value).second && different.size() >= wanted) return true;
  }
  return false;
}

}  // namespace

std::vector<bool> learned_weights(const OnnxModel& model) {
  const Uses uses(model.proto);
  std::vector<bool> learned;
  for (const Weight& weight : model.weights) {
    const Use use = uses.of(weight.name);
    if (use == Use::kNone || !is_float_type(weight.dtype)) {
      learned.push_back(false);
      continue;
    }
    const std::vector<float> values = read_float(weight);
    const bool is_learned =
        use == Use::kLearned || (use == Use::kMeasured ? !is_uniform(values) : looks_learned(values));
    learned.push_back(leaves_room(values, weight.dtype) && is_learned);
  }
  return learned;
}

}  // namespace quench::graph
