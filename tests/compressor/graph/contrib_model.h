// Models of one node of an operator that is not ONNX's own.
#pragma once

#include <bit>
#include <string>
#include <vector>

#include "tests/compressor/graph/run_model.h"

namespace quench::testing {

inline Input integer_input(std::vector<int64_t> dims, const std::vector<int32_t>& values) {
  Input input{std::move(dims), {}};
  for (const int32_t value : values) input.values.push_back(std::bit_cast<float>(value));
  return input;
}

// The node's inputs, one after another. Where ranks are hidden, float inputs go through an Identity.
class ContribModel {
 public:
  ContribModel(std::string op, std::string attributes, std::string domain = "com.microsoft.")
      : op_(std::move(domain) + std::move(op)), attributes_(std::move(attributes)) {}

  void input(const std::string& name, const Input& value, const std::string& type = "float") {
    inputs_ += inputs_.empty() ? "" : ", ";
    inputs_ += type + "[" + fmt::format("{}", fmt::join(value.dims, ",")) + "] " + name;
    arguments_.push_back(name);
    if (type == "float") hidden_ += fmt::format("hidden_{} = Identity ({})\n", name, name);
    is_hidden_.push_back(type == "float");
  }
  void weight(const std::string& name, std::vector<int64_t> dims, std::vector<float> values) {
    arguments_.push_back(name);
    is_hidden_.push_back(false);
    weights_.push_back({name, {std::move(dims), std::move(values)}});
  }
  void no_input() {
    arguments_.push_back("");
    is_hidden_.push_back(false);
  }
  // An integer that is the length of a float input: known before the model runs.
  void size_of_input(const std::string& name, int64_t size) {
    inputs_ += fmt::format(", float[{}] sized_{}", size, name);
    before_ += fmt::format("shape_{0} = Shape (sized_{0})\n {0} = Cast <to = 6> (shape_{0})\n", name);
    arguments_.push_back(name);
    is_hidden_.push_back(false);
  }

  OnnxModel load(int outputs, int opset, bool knows_ranks) const {
    std::string made, shown;
    for (int i = 0; i < outputs; ++i) {
      made += fmt::format("{}y{}", i == 0 ? "" : ", ", i);
      const bool has_four_axes = i > 0 || op_ == "ImageScaler";
      shown += fmt::format("{}float[{}] y{}", i == 0 ? "" : ", ", has_four_axes ? "D,E,F,G" : "A,B,C", i);
    }
    std::vector<std::string> arguments;
    for (size_t i = 0; i < arguments_.size(); ++i) {
      const std::string& name = arguments_[i];
      arguments.push_back(name.empty() ? "no" : is_hidden_[i] && !knows_ranks ? "hidden_" + name : name);
    }
    onnx::ModelProto proto =
        parse_text(fmt::format("g ({}) => ({}) {{\n{}{} {} = {} <{}> ({})\n}}", inputs_, shown, before_,
                               knows_ranks ? "" : hidden_, made, op_, attributes_, fmt::join(arguments, ", ")),
                   opset);
    for (const auto& [name, value] : weights_) add_initializer(proto, name, value.dims, value.values);
    onnx::NodeProto& node = *proto.mutable_graph()->mutable_node(proto.graph().node_size() - 1);
    node.set_name("the node");
    for (std::string& input : *node.mutable_input()) {
      if (input == "no") input.clear();
    }
    onnx::OperatorSetIdProto& import = *proto.add_opset_import();
    import.set_domain("com.microsoft");
    import.set_version(1);
    return load_proto(proto);
  }

 private:
  std::string op_, attributes_, inputs_, before_, hidden_;
  std::vector<std::string> arguments_;
  std::vector<bool> is_hidden_;
  std::vector<std::pair<std::string, Input>> weights_;
};

}  // namespace quench::testing
