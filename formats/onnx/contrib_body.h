// What operators that are not ONNX's own are replaced by: functions in the text form of ONNX, whose bodies are written
// with Body from what Values knows of the graph. Beside contrib.h, which puts them in.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace quench {

// What a graph says of its values, by name, and of those that it sees of the graphs around it.
class Values {
 public:
  explicit Values(const onnx::GraphProto& graph, const Values* around = nullptr);

  // Null where it is none.
  const onnx::TensorProto* initializer(const std::string& name) const { return find(&Values::initializers_, name); }
  const onnx::NodeProto* producer(const std::string& name) const { return find(&Values::producers_, name); }
  // 0: the graph does not tell.
  int rank(const std::string& name) const { return find(&Values::ranks_, name); }
  // The value that casts make this one of; where they make it of itself, one of them.
  std::string behind_casts(std::string name) const;
  // The same of a value that has been cast, whose rank may be told before only.
  int rank_behind_casts(const std::string& name) const;
  // The type of floating-point numbers that a value is made of; float32 where the graph does not tell.
  int32_t float_type(const std::string& name) const;
  // Whether shapes and constants alone make a value: then it is known before the model runs.
  bool is_of_shapes(const std::string& name) const;

 private:
  template <typename Value>
  Value find(std::unordered_map<std::string, Value> Values::*map, const std::string& name) const {
    const auto found = (this->*map).find(name);
    if (found != (this->*map).end()) return found->second;
    return around_ && !defined_.contains(name) ? around_->find(map, name) : Value();
  }

  template <typename Visit>
  bool visit_sources(const std::string& name, const Visit& visit) const;

  const Values* around_;
  std::unordered_set<std::string> defined_;  // here
  std::unordered_map<std::string, const onnx::TensorProto*> initializers_;
  std::unordered_map<std::string, int> ranks_;
  std::unordered_map<std::string, int32_t> types_;
  std::unordered_map<std::string, const onnx::NodeProto*> producers_;
};

inline constexpr int64_t kToEnd = int64_t{1} << 62;  // of slices

// The nodes of a function's body. What makes a value returns its name; inputs and outputs go by their own.
class Body {
 public:
  using Names = std::vector<std::string>;

  explicit Body(int64_t type) : type_(type) {}

  // The result of an operator.
  std::string call(const std::string& op, const Names& inputs, const std::string& attributes = "");
  // The same as one of the function's outputs.
  void output(const std::string& name, const std::string& op, const Names& inputs, const std::string& attributes = "");

  std::string integers(const std::vector<int64_t>& values);
  std::string scalar(int64_t value);
  // A scalar or a list of the model's floating-point type, and the largest number; what is beyond comes to it.
  std::string number(double value);
  std::string numbers(const std::vector<double>& values);
  double largest() const;
  // To that type, and to int64.
  std::string cast(const std::string& from);
  std::string cast_to_integers(const std::string& from);

  std::string reshape(const std::string& from, const std::vector<int64_t>& shape);
  std::string slice(const std::string& from, int64_t begin, int64_t end, int64_t axis);
  std::string concat(const Names& parts, int64_t axis);
  std::string transpose(const std::string& from, const std::string& axes);
  // Sizes [begin, end) of a value's axes, and that of one axis as a scalar.
  std::string sizes(const std::string& of, int64_t begin, int64_t end);
  std::string size(const std::string& of, int64_t axis);
  // From 0, below a limit.
  std::string range(const std::string& limit);
  // Of integers, which Min and Max of older operator sets do not take.
  std::string smaller(const std::string& a, const std::string& b);
  std::string larger(const std::string& a, const std::string& b);

  const std::string& text() const { return text_; }

 private:
  std::string next() { return "t" + std::to_string(count_++); }
  std::string written(double value) const;
  std::string constant(const std::string& value);

  int64_t type_;
  std::string text_;
  int count_ = 0;
};

// What a node is replaced by. Of both strings, one is empty.
struct Replacement {
  std::string function;  // "(inputs) => (outputs) {body}"
  std::string refusal;   // why there is none
};

Replacement refused(const std::string& why);
Replacement function_of(const std::string& inputs, const std::string& outputs, const Body& body);

// Each of one operator; `values` are those of the graph that the node is in.
Replacement attention_function(const onnx::NodeProto& node, const Values& values);
Replacement multi_head_attention_function(const onnx::NodeProto& node, const Values& values);
Replacement group_query_attention_function(const onnx::NodeProto& node, const Values& values);
Replacement rotary_embedding_function(const onnx::NodeProto& node, const Values& values);
Replacement image_scaler_function(const onnx::NodeProto& node, const Values& values);

}  // namespace quench
