#include <onnx/defs/schema.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "formats/error.h"
#include "formats/onnx/apart.h"
#include "formats/onnx/contrib.h"
#include "formats/onnx/model_file.h"
#include "formats/onnx/node.h"
#include "formats/operators/operator.h"

namespace quench {
namespace {

using Names = std::unordered_set<std::string>;

std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const char visible = static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    if (visible != ' ' || (!line.empty() && line.back() != ' ')) line += visible;
  }
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

std::vector<std::string> newer_opsets(const onnx::ModelProto& proto) {
  const auto& known = onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map();
  std::vector<std::string> warnings;
  for (const onnx::OperatorSetIdProto& opset : proto.opset_import()) {
    const auto range = known.find(opset.domain());
    if (range == known.end() || opset.version() <= range->second.second) continue;
    warnings.push_back(fmt::format(
        "opset {} of domain '{}' is newer than the ONNX library's {}; operators are not checked", opset.version(),
        opset.domain().empty() ? "ai.onnx" : printable(opset.domain()), range->second.second));
  }
  return warnings;
}

// What holds in any opset: each value is defined once and before it is used.
class StructureCheck {
 public:
  // The names that are defined around the graph stay as they are.
  void graph(const onnx::GraphProto& graph) {
    std::vector<std::string> own;  // whose definitions end with the graph
    for (const onnx::ValueInfoProto& value : graph.input()) define(value.name(), own);
    for (const onnx::TensorProto& tensor : graph.initializer()) define(tensor.name(), own);
    for (const onnx::SparseTensorProto& tensor : graph.sparse_initializer()) define(tensor.values().name(), own);
    Names made(own.begin(), own.end());
    for (const onnx::NodeProto& graph_node : graph.node()) node(graph_node, made, own);
    for (const onnx::ValueInfoProto& value : graph.output()) {
      if (!is_visible(value.name())) throw Error::make("nothing computes the output '{}'", printable(value.name()));
    }
    for (const std::string& name : own) --visible_[name];
  }

 private:
  bool is_visible(const std::string& name) const {
    const auto found = visible_.find(name);
    return found != visible_.end() && found->second > 0;
  }

  void define(const std::string& name, std::vector<std::string>& own) {
    ++visible_[name];
    own.push_back(name);
  }

  void node(const onnx::NodeProto& node, Names& made, std::vector<std::string>& own) {
    const auto label = [&] { return fmt::format("node '{}' ({})", printable(node.name()), printable(node.op_type())); };
    for (const std::string& input : node.input()) {
      if (!input.empty() && !is_visible(input)) {
        throw Error::make("{} uses '{}', which nothing before it defines", label(), printable(input));
      }
    }
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) graph(attribute.g());
      for (const onnx::GraphProto& inner : attribute.graphs()) graph(inner);
    }
    for (const std::string& output : node.output()) {
      if (output.empty()) continue;
      if (!made.insert(output).second) {
        throw Error::make("{} defines '{}', which is defined already", label(), printable(output));
      }
      define(output, own);
    }
  }

  std::unordered_map<std::string, size_t> visible_;  // how often each name is defined here and around
};

// Operators that ONNX does not have: a model of another runtime may hold some. Not those of ONNX Runtime in ONNX's domain
// that Quench has, too, such as SimplifiedLayerNormalization.
void warn_of_unknown_operators(onnx::ModelProto& model, std::vector<std::string>& warnings) {
  const int64_t opset = default_opset(model);
  std::set<std::string> functions, unknown;
  for (const onnx::FunctionProto& function : model.functions()) functions.insert(function.name());
  for_each_graph(model, [&](const onnx::GraphProto& graph) {
    for (const onnx::NodeProto& node : graph.node()) {
      if (!node.domain().empty() || functions.contains(node.op_type())) continue;
      const int version = static_cast<int>(std::min<int64_t>(opset, std::numeric_limits<int>::max()));
      const bool is_known_to_quench =
          operators::find(node.op_type()) && !onnx::OpSchemaRegistry::Schema(node.op_type());
      if (!is_known_to_quench && !onnx::OpSchemaRegistry::Schema(node.op_type(), version)) {
        unknown.insert(node.op_type());
      }
    }
  });
  for (const std::string& name : unknown)
    warnings.push_back(fmt::format("opset {} has no operator {}", opset, printable(name)));
}

void open_dimensions_of_zero(onnx::ValueInfoProto& input) {
  if (!input.type().tensor_type().has_shape()) return;
  for (auto& dim : *input.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim()) {
    if (dim.has_dim_value() && dim.dim_value() <= 0) dim.clear_value();
  }
}

// The model with the shapes that ONNX's inference finds, which crashes or hangs over some models: hence apart.
// Nothing where it cannot, for the reason in `error`.
std::optional<onnx::ModelProto> inferred(const OnnxModel& model, std::string& error) {
  onnx::OpSchemaRegistry::DomainToVersionRange::Instance();  // made once, and not in each child
  const auto infer = [&] {
    onnx::ModelProto copy = model.proto;
    for (onnx::ValueInfoProto& input : *copy.mutable_graph()->mutable_input()) open_dimensions_of_zero(input);
    const onnx::ShapeInferenceOptions options(/*check_type=*/false, /*strict_mode=*/0, /*data_prop=*/true);
    onnx::shape_inference::InferShapes(copy, onnx::OpSchemaRegistry::Instance(), options);
    *copy.mutable_graph()->mutable_input() = model.proto.graph().input();
    return copy.SerializeAsString();
  };
  error = "the ONNX library cannot infer them";
  if (*model.breaks_inference) return std::nullopt;
  const std::optional<Outcome> outcome = run_apart(infer);
  if (!outcome) *model.breaks_inference = true;
  if (outcome && outcome->failed) error = one_line(outcome->text);
  onnx::ModelProto result;
  if (!outcome || outcome->failed || !result.ParseFromString(outcome->text)) return std::nullopt;
  return result;
}

// Infinities beside zeros alone are a mask, as attention adds it to its scores.
void warn_of_non_finite(const Weight& weight, std::vector<std::string>& warnings) {
  if (!is_float_type(weight.dtype)) return;
  size_t nans = 0;
  size_t infinities = 0;
  size_t zeros = 0;
  for (const float value : read_float(weight)) {
    nans += std::isnan(value);
    infinities += std::isinf(value);
    zeros += value == 0;
  }
  const bool is_mask = infinities + zeros == weight.elements();
  if (nans + infinities == 0 || is_mask) return;
  warnings.push_back(
      fmt::format("tensor '{}' holds {} NaN and {} infinite values", printable(weight.name), nans, infinities));
}

}  // namespace

std::vector<std::string> check(const OnnxModel& model) {
  std::vector<std::string> warnings = newer_opsets(model.proto);
  const bool is_known_opset = warnings.empty();
  if (model.proto.ir_version() > onnx::Version::IR_VERSION) {
    warnings.push_back(fmt::format("IR version {} is newer than the ONNX library's {}", model.proto.ir_version(),
                                   static_cast<int>(onnx::Version::IR_VERSION)));
  }
  try {
    StructureCheck().graph(model.proto.graph());
  } catch (const Error& error) {
    throw Error::make("{}: not a valid model: {}", model.name, error.what());
  }
  for (std::string& refusal : contrib_refusals(model.proto)) warnings.push_back(std::move(refusal));
  if (is_known_opset) {
    onnx::ModelProto copy = model.proto;
    warn_of_unknown_operators(copy, warnings);
    std::string error;
    if (!inferred(model, error)) warnings.push_back(fmt::format("shapes do not fit together: {}", error));
  }
  for (const Weight& weight : model.weights) warn_of_non_finite(weight, warnings);
  for (std::string& warning : warnings) warning = fmt::format("{}: {}", model.name, warning);
  return warnings;
}

void infer_shapes(OnnxModel& model) {
  if (!newer_opsets(model.proto).empty()) return;
  std::string error;
  std::optional<onnx::ModelProto> proto = inferred(model, error);
  if (!proto) return;
  model.proto = std::move(*proto);
  model.reindex();
}

}  // namespace quench
