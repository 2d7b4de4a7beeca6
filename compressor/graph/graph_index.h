// What the passes ask of a graph: who makes a value, who uses it, which values are constant.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "formats/onnx/model_file.h"
#include "formats/operators/operator.h"

namespace quench::graph {

// The values of one graph. Uses count those in its subgraphs; being an output of the graph counts as one, and so does a
// quantization annotation.
class GraphIndex {
 public:
  explicit GraphIndex(onnx::GraphProto& graph);

  onnx::NodeProto* producer(const std::string& value) const;
  onnx::TensorProto* initializer(const std::string& value) const;  // null where the graph's caller may override it
  size_t uses(const std::string& value) const;
  bool is_output(const std::string& value) const { return outputs_.contains(value); }
  bool is_input(const std::string& value) const { return inputs_.contains(value); }
  // True when a subgraph defines a value of this name too, or has it as an output, or a quantization annotation names
  // it: then uses of it are not to be replaced.
  bool is_pinned(const std::string& value) const { return pinned_.contains(value); }

  // What changed since.
  void set_producer(const std::string& value, onnx::NodeProto& node) { producers_[value] = &node; }
  void add_use(const std::string& value) { ++uses_[value]; }
  void add_initializer(onnx::TensorProto& tensor) { initializers_[tensor.name()] = &tensor; }

 private:
  void pin_names_of(const onnx::GraphProto& subgraph);

  std::unordered_map<std::string, onnx::NodeProto*> producers_;
  std::unordered_map<std::string, onnx::TensorProto*> initializers_;
  std::unordered_map<std::string, size_t> uses_;
  std::unordered_set<std::string> outputs_;
  std::unordered_set<std::string> inputs_;
  std::unordered_set<std::string> pinned_;
};

// Every name of a value anywhere in the model, to make new ones.
class NameSet {
 public:
  explicit NameSet(onnx::ModelProto& model);
  // `wish`, or with a number behind it.
  std::string unique(const std::string& wish);
  // False where graphs side by side, or one in the other, each have a value of this name.
  bool is_defined_once(const std::string& name) const;

 private:
  std::unordered_map<std::string, size_t> definitions_;  // how many there are of each name
};

// Makes every use of a value that is a key, in the graph's nodes and subgraphs, one of the value that it maps to.
// Outputs of graphs keep their names.
void replace_uses(onnx::GraphProto& graph, const std::unordered_map<std::string, std::string>& replacements);

// Names of the values and parameters that the graph's quantization annotations speak of.
void for_each_annotated_name(const onnx::GraphProto& graph, const std::function<void(const std::string&)>& visit);

// Names of the values that a node uses, those inside its subgraphs included.
void for_each_used_value(const onnx::NodeProto& node, const std::function<void(const std::string&)>& visit);

// An attribute's integer, or `fallback` where it is absent.
int64_t integer_attribute(const onnx::NodeProto& node, std::string_view name, int64_t fallback);
float float_attribute(const onnx::NodeProto& node, std::string_view name, float fallback);
const onnx::AttributeProto* find_attribute(const onnx::NodeProto& node, std::string_view name);
// For what formats/operators asks; valid as long as the node.
operators::AttributeView attributes_of(const onnx::NodeProto& node);
void remove_attribute(onnx::NodeProto& node, std::string_view name);

// Version of ONNX's own operators that the model uses; 0 when it imports none.
int64_t default_opset(const onnx::ModelProto& model);
// True for an operator of ONNX itself with this name.
bool is_op(const onnx::NodeProto& node, std::string_view op_type);
// The row of a node's operator; null for those of other domains and those that have none.
const operators::Operator* operator_of(const onnx::NodeProto& node);

// The node's output where it exists and has a name.
bool has_output(const onnx::NodeProto& node, int index);
bool has_input(const onnx::NodeProto& node, int index);

// Removes the elements that `is_dropped` accepts and keeps the order of the others. Returns how many.
template <typename T, typename Predicate>
size_t erase_if(google::protobuf::RepeatedPtrField<T>& field, Predicate is_dropped) {
  int kept = 0;
  for (int i = 0; i < field.size(); ++i) {
    if (is_dropped(*field.Mutable(i))) continue;
    if (kept != i) field.SwapElements(kept, i);
    ++kept;
  }
  const int dropped = field.size() - kept;
  field.DeleteSubrange(kept, dropped);
  return static_cast<size_t>(dropped);
}

// The weight of a tensor that has one.
Weight& weight_of(OnnxModel& model, const onnx::TensorProto& tensor);

}  // namespace quench::graph
