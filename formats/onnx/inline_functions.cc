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
#include "formats/onnx/weight.h"

namespace quench {
namespace {

using onnx::AttributeProto;
using onnx::FunctionProto;
using onnx::GraphProto;
using onnx::NodeProto;
using Nodes = google::protobuf::RepeatedPtrField<NodeProto>;
using FunctionName = std::pair<std::string, std::string>;  // domain, name

constexpr int kDeepest = 100;       // of functions that call each other
constexpr int kDeepestGraphs = 32;  // of graphs in graphs, once calls are replaced
constexpr uint64_t kMostNodes = uint64_t{1} << 20;
constexpr uint64_t kMostBytes = uint64_t{1} << 28;  // of what calls are replaced by, but for a function's first weights
constexpr size_t kLongestPrefix = 100;

struct Function {
  const FunctionProto* proto = nullptr;
  std::map<std::string, AttributeProto> defaults;
  uint64_t nodes = 0;  // with those of the functions that it calls; 0: not counted yet
  int height = 0;      // 1: calls no other
  bool is_being_counted = false;
  bool is_ambiguous = false;
  bool is_called = false;
  bool is_expanded = false;
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

uint64_t bytes_of(const onnx::TensorProto& tensor) {
  uint64_t elements = 0;
  return element_count(tensor, elements) ? std::min(elements, kMostBytes) * sizeof(float) : 0;
}

// Of a node's own attributes; those of its subgraphs' nodes count with these.
uint64_t weight_bytes(const NodeProto& node) {
  uint64_t bytes = 0;
  for (const AttributeProto& attribute : node.attribute()) {
    if (attribute.has_t()) bytes += bytes_of(attribute.t());
    for (const onnx::TensorProto& tensor : attribute.tensors()) bytes += bytes_of(tensor);
  }
  return bytes;
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
  struct Call {
    const NodeProto& node;
    const Function& function;
    std::string prefix;
    std::unordered_map<std::string, std::string> names;  // of the body's values: what they are called outside
    std::unordered_map<std::string, const AttributeProto*> arguments;
    bool repeats_weights = false;
  };

  void find_functions();
  void count(Function& function, int depth);
  void find_called(const Nodes& nodes, std::vector<Function*>& called);
  bool may_replace(const std::vector<Function*>& called);
  void note_names(const GraphProto& graph);
  void spend(uint64_t bytes);
  void inline_into(Nodes& nodes);
  void place(NodeProto node, Nodes& out);
  void expand(const NodeProto& node, Function& function, Nodes& out);
  Call begin_call(const NodeProto& node, Function& function);
  void bind(Call& call, NodeProto& node);
  void rename(Call& call, GraphProto& graph);
  std::string renamed(Call& call, const std::string& name);

  onnx::ModelProto& model_;
  std::map<FunctionName, Function> functions_;
  std::unordered_set<std::string> names_;  // of all values
  uint64_t calls_ = 0, nodes_ = 0, bytes_ = 0;
  int graph_depth_ = 0;
};

void Inliner::find_functions() {
  for (const FunctionProto& proto : model_.functions()) {
    Function& function = functions_[{proto.domain(), proto.name()}];
    function.is_ambiguous = function.proto != nullptr;
    function.proto = &proto;
  }
  for (auto& [name, function] : functions_) count(function, 0);
}

void Inliner::count(Function& function, int depth) {
  const auto refuse = [&](const char* what) {
    throw Error::make("function '{}' {}", printable(function.proto->name()), what);
  };
  if (function.nodes != 0) return;
  if (function.is_being_counted) refuse("calls itself");
  if (depth > kDeepest) refuse("is nested too deeply");
  function.is_being_counted = true;
  uint64_t nodes = 1;
  for_each_node(function.proto->node(), [&](const NodeProto& node) {
    const auto called = functions_.find(called_by(node));
    if (called == functions_.end()) {
      ++nodes;
    } else {
      count(called->second, depth + 1);
      nodes += called->second.nodes;
      function.height = std::max(function.height, called->second.height);
    }
    if (nodes > kMostNodes) refuse("comes to more than a million nodes once its calls are replaced");
  });
  if (++function.height > kDeepest) refuse("is nested too deeply");
  function.is_being_counted = false;
  function.nodes = nodes;
}

// The functions that nodes call, and those that these call.
void Inliner::find_called(const Nodes& nodes, std::vector<Function*>& called) {
  for_each_node(nodes, [&](const NodeProto& node) {
    const auto found = functions_.find(called_by(node));
    if (found == functions_.end() || std::exchange(found->second.is_called, true)) return;
    called.push_back(&found->second);
    find_called(found->second.proto->node(), called);
  });
}

// Adds the operator sets that only functions import. False where one function cannot be replaced: then none is, as what
// is left of the others could not run either.
bool Inliner::may_replace(const std::vector<Function*>& called) {
  std::map<std::string, int64_t> imports;
  for (const auto& import : model_.opset_import()) imports.emplace(import.domain(), import.version());
  std::unordered_set<std::string> own;
  for (const auto& [name, function] : functions_) own.insert(name.first);
  std::vector<onnx::OperatorSetIdProto> added;
  for (Function* function : called) {
    if (function->is_ambiguous || !read_defaults(*function->proto, function->defaults)) return false;
    for (const onnx::OperatorSetIdProto& import : function->proto->opset_import()) {
      const auto [entry, is_new] = imports.emplace(import.domain(), import.version());
      if (is_new) added.push_back(import);
      if (entry->second == import.version() || own.contains(import.domain())) continue;
      if (!import.domain().empty() || !mean_the_same(*function->proto, import.version(), entry->second)) return false;
    }
  }
  for (const onnx::OperatorSetIdProto& import : added) *model_.add_opset_import() = import;
  return true;
}

void Inliner::note_names(const GraphProto& graph) {
  for (const onnx::ValueInfoProto& input : graph.input()) names_.insert(input.name());
  for (const onnx::TensorProto& tensor : graph.initializer()) names_.insert(tensor.name());
  for (const onnx::SparseTensorProto& tensor : graph.sparse_initializer()) names_.insert(tensor.values().name());
  for (const NodeProto& node : graph.node()) names_.insert(node.output().begin(), node.output().end());
}

// Of memory, before it is taken.
void Inliner::spend(uint64_t bytes) {
  bytes_ += std::min(bytes, kMostBytes + 1);
  if (nodes_ <= kMostNodes && bytes_ <= kMostBytes) return;
  throw Error("the model's functions come to more than a million nodes or 256 MiB once their calls are replaced");
}

void Inliner::inline_into(Nodes& nodes) {
  if (graph_depth_ > kDeepestGraphs) throw Error("graphs are nested too deeply once calls of functions are replaced");
  Nodes out;
  for (NodeProto& node : nodes) place(std::move(node), out);
  nodes.Swap(&out);
}

void Inliner::place(NodeProto node, Nodes& out) {
  ++graph_depth_;
  for_each_subgraph(node, [&](GraphProto& graph) { inline_into(*graph.mutable_node()); });
  --graph_depth_;
  const auto called = functions_.find(called_by(node));
  if (called != functions_.end()) return expand(node, called->second, out);
  out.Add(std::move(node));
}

Inliner::Call Inliner::begin_call(const NodeProto& node, Function& function) {
  const std::string& label = node.name().empty() ? function.proto->name() : node.name();
  Call call{node, function, label.substr(0, kLongestPrefix) + "." + std::to_string(calls_++), {}, {}, false};
  call.repeats_weights = std::exchange(function.is_expanded, true);
  for (const AttributeProto& attribute : node.attribute()) call.arguments.emplace(attribute.name(), &attribute);
  for (const auto& [name, attribute] : function.defaults) call.arguments.emplace(name, &attribute);
  return call;
}

void Inliner::expand(const NodeProto& node, Function& function, Nodes& out) {
  Call call = begin_call(node, function);
  const FunctionProto& body = *function.proto;
  for (int i = 0; i < body.input_size(); ++i) call.names[body.input(i)] = i < node.input_size() ? node.input(i) : "";
  std::vector<std::pair<std::string, std::string>> copies;  // outputs that are an input, or another output
  for (int i = 0; i < std::min(body.output_size(), node.output_size()); ++i) {
    if (node.output(i).empty()) continue;
    if (!call.names.emplace(body.output(i), node.output(i)).second) copies.emplace_back(body.output(i), node.output(i));
  }
  for (const NodeProto& inner : body.node()) {
    NodeProto copy = inner;
    bind(call, copy);
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
  ++nodes_;
  spend(node.ByteSizeLong() + (call.repeats_weights ? weight_bytes(node) : 0));
  if (!node.name().empty()) node.set_name(call.prefix + "/" + node.name());
  for (std::string& input : *node.mutable_input()) input = renamed(call, input);
  for (std::string& output : *node.mutable_output()) output = renamed(call, output);
  for_each_subgraph(node, [&](GraphProto& graph) { rename(call, graph); });
  google::protobuf::RepeatedPtrField<AttributeProto> attributes;
  for (AttributeProto& attribute : *node.mutable_attribute()) {
    if (attribute.ref_attr_name().empty()) {
      attributes.Add(std::move(attribute));
      continue;
    }
    const auto argument = call.arguments.find(attribute.ref_attr_name());
    if (argument == call.arguments.end()) continue;
    spend(argument->second->ByteSizeLong());
    AttributeProto bound = *argument->second;
    bound.set_name(attribute.name());
    attributes.Add(std::move(bound));
  }
  node.mutable_attribute()->Swap(&attributes);
}

void Inliner::rename(Call& call, GraphProto& graph) {
  const auto in_place = [&](std::string& name) { name = renamed(call, name); };
  graph.clear_value_info();
  graph.clear_quantization_annotation();
  for (onnx::ValueInfoProto& input : *graph.mutable_input()) in_place(*input.mutable_name());
  for (onnx::TensorProto& tensor : *graph.mutable_initializer()) {
    if (call.repeats_weights) spend(bytes_of(tensor));
    in_place(*tensor.mutable_name());
  }
  for (onnx::SparseTensorProto& tensor : *graph.mutable_sparse_initializer())
    in_place(*tensor.mutable_values()->mutable_name());
  for (NodeProto& node : *graph.mutable_node()) bind(call, node);
  for (onnx::ValueInfoProto& output : *graph.mutable_output()) in_place(*output.mutable_name());
}

std::string Inliner::renamed(Call& call, const std::string& name) {
  if (name.empty()) return name;
  const auto [entry, is_new] = call.names.emplace(name, "");
  if (is_new) {
    std::string unique = call.prefix + "." + name;
    for (int number = 2; !names_.insert(unique).second; ++number)
      unique = call.prefix + "." + name + "." + std::to_string(number);
    spend(4 * unique.size());
    entry->second = unique;
  }
  spend(entry->second.size());
  return entry->second;
}

void Inliner::run() {
  find_functions();
  std::vector<Nodes*> graphs;
  if (model_.has_graph()) graphs.push_back(model_.mutable_graph()->mutable_node());
  for (onnx::TrainingInfoProto& training : *model_.mutable_training_info()) {
    if (training.has_initialization()) graphs.push_back(training.mutable_initialization()->mutable_node());
    if (training.has_algorithm()) graphs.push_back(training.mutable_algorithm()->mutable_node());
  }
  std::vector<Function*> called;
  for (const Nodes* nodes : graphs) find_called(*nodes, called);
  if (!may_replace(called)) return;
  for_each_graph(model_, [&](GraphProto& graph) { note_names(graph); });
  for (Nodes* nodes : graphs) inline_into(*nodes);
  model_.clear_functions();
}

}  // namespace

void inline_functions(onnx::ModelProto& model) {
  if (model.functions_size() != 0) Inliner(model).run();
}

}  // namespace quench
