#include "formats/onnx/inline_functions.h"

#include <google/protobuf/unknown_field_set.h>
#include <onnx/defs/schema.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "formats/base/printable.h"
#include "formats/error.h"
#include "formats/onnx/tensors.h"

namespace quench {
namespace {

using onnx::AttributeProto;
using onnx::FunctionProto;
using onnx::GraphProto;
using onnx::NodeProto;
using Nodes = google::protobuf::RepeatedPtrField<NodeProto>;
using FunctionName = std::pair<std::string, std::string>;  // domain, name

constexpr int kDeepest = 100;
constexpr uint64_t kMostNodes = uint64_t{1} << 20;
constexpr uint64_t kMostBytes = uint64_t{1} << 28;

struct Function {
  const FunctionProto* proto = nullptr;
  std::map<std::string, AttributeProto> defaults;
  uint64_t nodes = 0;  // with those of the functions that it calls; 0: not counted yet
  bool is_being_counted = false;
  bool stays = false;
};

FunctionName called_by(const NodeProto& node) { return {node.domain(), node.op_type()}; }

template <typename Visit>
void for_each_subgraph(NodeProto& node, const Visit& visit) {
  for (AttributeProto& attribute : *node.mutable_attribute()) {
    if (attribute.has_g()) visit(*attribute.mutable_g());
    for (GraphProto& graph : *attribute.mutable_graphs()) visit(graph);
  }
}

template <typename Visit>
void for_each_node(const Nodes& nodes, const Visit& visit) {
  for (const NodeProto& node : nodes) {
    visit(node);
    for (const AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) for_each_node(attribute.g().node(), visit);
      for (const GraphProto& graph : attribute.graphs()) for_each_node(graph.node(), visit);
    }
  }
}

template <typename Imports>
int64_t version_of(const Imports& imports, const std::string& domain) {
  for (const onnx::OperatorSetIdProto& import : imports) {
    if (import.domain() == domain) return import.version();
  }
  return 0;
}

// FunctionProto.attribute_proto, which the ONNX library of version 1.12 does not know. False where one has a value that
// belongs to a model's weights.
bool read_defaults(const FunctionProto& function, std::map<std::string, AttributeProto>& defaults) {
  constexpr int kAttributeProto = 11;
  const auto add = [&](const AttributeProto& attribute) {
    defaults[attribute.name()] = attribute;
    return !attribute.has_t() && !attribute.has_g() && attribute.tensors_size() == 0 && attribute.graphs_size() == 0 &&
           !attribute.has_sparse_tensor() && attribute.sparse_tensors_size() == 0;
  };
  const google::protobuf::Reflection& reflection = *function.GetReflection();
  if (const auto* field = function.GetDescriptor()->FindFieldByNumber(kAttributeProto)) {
    for (int i = 0; i < reflection.FieldSize(function, field); ++i) {
      if (!add(static_cast<const AttributeProto&>(reflection.GetRepeatedMessage(function, field, i)))) return false;
    }
  }
  const google::protobuf::UnknownFieldSet& unknown = reflection.GetUnknownFields(function);
  for (int i = 0; i < unknown.field_count(); ++i) {
    const google::protobuf::UnknownField& field = unknown.field(i);
    if (field.number() != kAttributeProto || field.type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
      continue;
    AttributeProto attribute;
    if (!attribute.ParseFromString(field.length_delimited()) || !add(attribute)) return false;
  }
  return true;
}

// Whether ONNX's own operators that a function uses are the same ones in the versions `own` and `other`.
bool mean_the_same(const FunctionProto& function, int64_t own, int64_t other) {
  if (own == other) return true;
  const auto known = onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map().at("").second;
  bool same = own <= known && other <= known;
  for_each_node(function.node(), [&](const NodeProto& node) {
    if (!same || !node.domain().empty()) return;
    const onnx::OpSchema* first = onnx::OpSchemaRegistry::Schema(node.op_type(), static_cast<int>(own));
    const onnx::OpSchema* second = onnx::OpSchemaRegistry::Schema(node.op_type(), static_cast<int>(other));
    same = first != nullptr && second != nullptr && first->since_version() == second->since_version();
  });
  return same;
}

class Inliner {
 public:
  explicit Inliner(onnx::ModelProto& model) : model_(model) {}
  void run();

 private:
  using Names = std::unordered_map<std::string, std::string>;  // of a function's values: what they are called outside
  struct Call {
    const NodeProto& node;
    const Function& function;
    std::string prefix;
    Names names;
  };

  void find_functions();
  void import_operator_sets(Function& function);
  uint64_t count(Function& function, int depth);
  void note_names(const GraphProto& graph);
  void inline_into(Nodes& nodes);
  void place(NodeProto node, Nodes& out);
  void expand(const NodeProto& node, const Function& function, Nodes& out);
  static const AttributeProto* argument(const Call& call, const std::string& name);
  void bind(Call& call, NodeProto& node);
  void rename(Call& call, GraphProto& graph);
  std::string renamed(Call& call, const std::string& name);

  onnx::ModelProto& model_;
  std::map<FunctionName, Function> functions_;
  std::unordered_set<std::string> names_;  // of all values
  uint64_t calls_ = 0, nodes_ = 0, bytes_ = 0;
};

void Inliner::find_functions() {
  for (const FunctionProto& proto : model_.functions()) {
    Function& function = functions_[{proto.domain(), proto.name()}];
    function.stays = function.proto != nullptr;
    function.proto = &proto;
  }
  for (auto& [name, function] : functions_) {
    count(function, 0);
    if (!read_defaults(*function.proto, function.defaults)) function.stays = true;
    if (!function.stays) import_operator_sets(function);
  }
}

void Inliner::import_operator_sets(Function& function) {
  for (const onnx::OperatorSetIdProto& import : function.proto->opset_import()) {
    const int64_t version = version_of(model_.opset_import(), import.domain());
    if (version == 0) {
      *model_.add_opset_import() = import;
    } else if (import.domain().empty() && !mean_the_same(*function.proto, import.version(), version)) {
      function.stays = true;
    }
  }
}

uint64_t Inliner::count(Function& function, int depth) {
  const auto refuse = [&](const char* what) {
    throw Error::make("function '{}' {}", printable(function.proto->name()), what);
  };
  if (function.nodes != 0) return function.nodes;
  if (function.is_being_counted) refuse("calls itself");
  if (depth > kDeepest) refuse("is nested too deeply");
  function.is_being_counted = true;
  uint64_t nodes = 1;
  for_each_node(function.proto->node(), [&](const NodeProto& node) {
    const auto called = functions_.find(called_by(node));
    nodes += called == functions_.end() ? 1 : count(called->second, depth + 1);
    if (nodes > kMostNodes) refuse("comes to more than a million nodes once its calls are replaced");
  });
  function.is_being_counted = false;
  return function.nodes = nodes;
}

void Inliner::note_names(const GraphProto& graph) {
  for (const onnx::ValueInfoProto& input : graph.input()) names_.insert(input.name());
  for (const onnx::TensorProto& tensor : graph.initializer()) names_.insert(tensor.name());
  for (const onnx::SparseTensorProto& tensor : graph.sparse_initializer()) names_.insert(tensor.values().name());
  for (const NodeProto& node : graph.node()) names_.insert(node.output().begin(), node.output().end());
}

void Inliner::inline_into(Nodes& nodes) {
  Nodes out;
  for (NodeProto& node : nodes) place(std::move(node), out);
  nodes.Swap(&out);
}

void Inliner::place(NodeProto node, Nodes& out) {
  for_each_subgraph(node, [&](GraphProto& graph) { inline_into(*graph.mutable_node()); });
  const auto called = functions_.find(called_by(node));
  if (called != functions_.end() && !called->second.stays) return expand(node, called->second, out);
  out.Add(std::move(node));
}

void Inliner::expand(const NodeProto& node, const Function& function, Nodes& out) {
  const FunctionProto& body = *function.proto;
  const std::string label = node.name().empty() ? body.name() + "." + std::to_string(calls_) : node.name();
  ++calls_;
  Call call{node, function, label, {}};
  for (int i = 0; i < body.input_size(); ++i) call.names[body.input(i)] = i < node.input_size() ? node.input(i) : "";
  std::vector<std::pair<std::string, std::string>> copies;  // outputs that are an input, or another output
  for (int i = 0; i < std::min(body.output_size(), node.output_size()); ++i) {
    if (node.output(i).empty()) continue;
    if (!call.names.emplace(body.output(i), node.output(i)).second) copies.emplace_back(body.output(i), node.output(i));
  }
  for (const NodeProto& inner : body.node()) {
    NodeProto copy = inner;
    bind(call, copy);
    bytes_ += copy.ByteSizeLong();
    if (++nodes_ > kMostNodes || bytes_ > kMostBytes) {
      throw Error("the model's functions come to more than a million nodes or 256 MiB once their calls are replaced");
    }
    place(std::move(copy), out);
  }
  for (const auto& [from, to] : copies) {
    NodeProto& identity = *out.Add();
    identity.set_op_type("Identity");
    identity.add_input(renamed(call, from));
    identity.add_output(to);
  }
}

// Gives a node of a function's body the values and attributes of a call. A graph that the call hands on keeps its names:
// they are the caller's.
void Inliner::bind(Call& call, NodeProto& node) {
  if (!node.name().empty()) node.set_name(call.prefix + "/" + node.name());
  for (std::string& input : *node.mutable_input()) input = renamed(call, input);
  for (std::string& output : *node.mutable_output()) output = renamed(call, output);
  for_each_subgraph(node, [&](GraphProto& graph) { rename(call, graph); });
  google::protobuf::RepeatedPtrField<AttributeProto> attributes;
  for (AttributeProto& attribute : *node.mutable_attribute()) {
    if (attribute.ref_attr_name().empty()) {
      attributes.Add(std::move(attribute));
    } else if (const AttributeProto* value = argument(call, attribute.ref_attr_name())) {
      AttributeProto bound = *value;
      bound.set_name(attribute.name());
      attributes.Add(std::move(bound));
    }
  }
  node.mutable_attribute()->Swap(&attributes);
}

const AttributeProto* Inliner::argument(const Call& call, const std::string& name) {
  for (const AttributeProto& given : call.node.attribute()) {
    if (given.name() == name) return &given;
  }
  const auto by_default = call.function.defaults.find(name);
  return by_default == call.function.defaults.end() ? nullptr : &by_default->second;
}

void Inliner::rename(Call& call, GraphProto& graph) {
  const auto in_place = [&](std::string& name) { name = renamed(call, name); };
  graph.clear_value_info();
  graph.clear_quantization_annotation();
  for (onnx::ValueInfoProto& input : *graph.mutable_input()) in_place(*input.mutable_name());
  for (onnx::TensorProto& tensor : *graph.mutable_initializer()) in_place(*tensor.mutable_name());
  for (onnx::SparseTensorProto& tensor : *graph.mutable_sparse_initializer())
    in_place(*tensor.mutable_values()->mutable_name());
  for (NodeProto& node : *graph.mutable_node()) bind(call, node);
  for (onnx::ValueInfoProto& output : *graph.mutable_output()) in_place(*output.mutable_name());
}

std::string Inliner::renamed(Call& call, const std::string& name) {
  if (name.empty()) return name;
  const auto [entry, is_new] = call.names.emplace(name, "");
  if (!is_new) return entry->second;
  std::string unique = call.prefix + "." + name;
  for (int number = 2; !names_.insert(unique).second; ++number)
    unique = call.prefix + "." + name + "." + std::to_string(number);
  return entry->second = unique;
}

void Inliner::run() {
  find_functions();
  for_each_graph(model_, [&](GraphProto& graph) { note_names(graph); });
  for (const FunctionProto& function : model_.functions()) {
    for (const NodeProto& node : function.node()) names_.insert(node.output().begin(), node.output().end());
  }
  if (model_.has_graph()) inline_into(*model_.mutable_graph()->mutable_node());
  for (onnx::TrainingInfoProto& training : *model_.mutable_training_info()) {
    if (training.has_initialization()) inline_into(*training.mutable_initialization()->mutable_node());
    if (training.has_algorithm()) inline_into(*training.mutable_algorithm()->mutable_node());
  }
  google::protobuf::RepeatedPtrField<FunctionProto> staying;
  for (FunctionProto& function : *model_.mutable_functions()) {
    if (!functions_.at({function.domain(), function.name()}).stays) continue;
    FunctionProto copy = function;  // others may still be inlined into it, and it into none
    inline_into(*copy.mutable_node());
    staying.Add(std::move(copy));
  }
  model_.mutable_functions()->Swap(&staying);
}

}  // namespace

void inline_functions(onnx::ModelProto& model) {
  if (model.functions_size() != 0) Inliner(model).run();
}

}  // namespace quench
