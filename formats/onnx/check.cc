#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "formats/error.h"
#include "formats/onnx/model_file.h"

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
    const auto range = known.find(opset.domain() == "ai.onnx" ? std::string() : opset.domain());
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
  static void graph(const onnx::GraphProto& graph, Names visible) {
    for (const onnx::ValueInfoProto& value : graph.input()) visible.insert(value.name());
    for (const onnx::TensorProto& tensor : graph.initializer()) visible.insert(tensor.name());
    for (const onnx::SparseTensorProto& tensor : graph.sparse_initializer()) visible.insert(tensor.values().name());
    for (const onnx::NodeProto& graph_node : graph.node()) node(graph_node, visible);
    for (const onnx::ValueInfoProto& value : graph.output()) {
      if (!visible.contains(value.name()))
        throw Error::make("nothing computes the output '{}'", printable(value.name()));
    }
  }

 private:
  static void node(const onnx::NodeProto& node, Names& visible) {
    const std::string label = fmt::format("node '{}' ({})", printable(node.name()), printable(node.op_type()));
    for (const std::string& input : node.input()) {
      if (!input.empty() && !visible.contains(input)) {
        throw Error::make("{} uses '{}', which nothing before it defines", label, printable(input));
      }
    }
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) graph(attribute.g(), visible);
      for (const onnx::GraphProto& inner : attribute.graphs()) graph(inner, visible);
    }
    for (const std::string& output : node.output()) {
      if (!output.empty() && !visible.insert(output).second) {
        throw Error::make("{} defines '{}', which is defined already", label, printable(output));
      }
    }
  }
};

// The checker wants data in every tensor but looks only at that of sparse tensors, so others get a stand-in of a byte.
void check_operators(const OnnxModel& model) {
  onnx::ModelProto proto = model.proto;
  for_each_tensor(proto, [&](onnx::TensorProto& tensor, const TensorPlace& place) {
    const int64_t index = weight_index(tensor);
    if (index < 0) return;
    clear_data(tensor);
    const std::vector<std::byte> raw =
        place.is_sparse_part ? read(model.weights[static_cast<size_t>(index)]) : std::vector<std::byte>(1);
    tensor.set_raw_data(raw.data(), raw.size());
  });
  proto.set_ir_version(std::min<int64_t>(proto.ir_version(), onnx::Version::IR_VERSION));
  onnx::checker::check_model(proto);
}

void run_shape_inference(onnx::ModelProto& proto) {
  const onnx::ShapeInferenceOptions options(/*check_type=*/false, /*strict_mode=*/0, /*data_prop=*/true);
  onnx::shape_inference::InferShapes(proto, onnx::OpSchemaRegistry::Instance(), options);
}

void warn_of_non_finite(const Weight& weight, std::vector<std::string>& warnings) {
  if (!is_float_type(weight.dtype)) return;
  size_t nans = 0;
  size_t infinities = 0;
  for (const float value : read_float(weight)) {
    nans += std::isnan(value);
    infinities += std::isinf(value);
  }
  if (nans + infinities == 0) return;
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
    if (is_known_opset) {
      check_operators(model);
    } else {
      StructureCheck::graph(model.proto.graph(), {});
    }
  } catch (const std::exception& error) {
    throw Error::make("{}: not a valid model: {}", model.name, one_line(error.what()));
  }
  if (is_known_opset) {
    onnx::ModelProto copy = model.proto;
    try {
      run_shape_inference(copy);
    } catch (const std::exception& error) {
      warnings.push_back(fmt::format("shapes do not fit together: {}", one_line(error.what())));
    }
  }
  for (const Weight& weight : model.weights) warn_of_non_finite(weight, warnings);
  for (std::string& warning : warnings) warning = fmt::format("{}: {}", model.name, warning);
  return warnings;
}

void infer_shapes(OnnxModel& model) {
  if (!newer_opsets(model.proto).empty()) return;
  onnx::ModelProto copy = model.proto;
  try {
    run_shape_inference(copy);
  } catch (const std::exception&) {
    return;
  }
  model.proto = std::move(copy);
  model.reindex();
}

}  // namespace quench
