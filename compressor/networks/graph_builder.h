// Writes an ONNX graph node by node.
//
//     GraphBuilder graph("tiny", 13);
//     graph.input("input", {-1, 3, 32, 32});
//     const std::string w = graph.floats("conv.weight", {16, 3, 3, 3}, values);
//     const std::string u = graph.node("Conv", "conv", {"input", w}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
//     graph.output(u, {-1, 16, 32, 32});
//     OnnxModel model = graph.finish();
//
// Values are strings, as in ONNX: each call that makes one returns its name. Throws quench::Error when a name is used
// for two different things.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::networks {

struct Attribute {
  std::string name;
  std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
};

class GraphBuilder {
 public:
  GraphBuilder(std::string name, int64_t opset);

  // `type`: of onnx::TensorProto. -1 leaves a dimension open; `open`: what those are called, in their order, the last
  // name for all that follow.
  void input(std::string_view name, const std::vector<int64_t>& dims, int32_t type = onnx::TensorProto::FLOAT,
             const std::vector<std::string>& open = {"N"});
  void output(std::string_view name, const std::vector<int64_t>& dims, int32_t type = onnx::TensorProto::FLOAT,
              const std::vector<std::string>& open = {"N"});

  // An initializer that training may change. When the name exists already, with the same dims, that one is meant and
  // `values` is not called: this is how nodes share weights. `values` returns the product of dims.
  std::string floats(const std::string& name, const std::vector<int64_t>& dims,
                     const std::function<std::vector<float>()>& values);
  // A rank-1 initializer of structure (the starts of a Slice, say).
  std::string integers(const std::string& name, const std::vector<int64_t>& values);
  // A uint8 initializer, which no training changes.
  std::string bytes(const std::string& name, const std::vector<int64_t>& dims, const std::vector<uint8_t>& values);

  // A node with one output, which is returned: `result`, or "<name>.out". A node's name that exists already gets a
  // number behind it, and so does its output: the same piece of a graph may be emitted several times.
  std::string node(std::string_view op_type, const std::string& name, const std::vector<std::string>& inputs,
                   const std::vector<Attribute>& attributes = {}, const std::string& result = {});

  // A Split of u into `count` equal parts along `axis`; the parts are called "<name>.0", "<name>.1" and so on.
  std::vector<std::string> split(const std::string& name, const std::string& u, int64_t axis, int count);

  // A Loop, which goes round while `condition` (a bool scalar) holds and at most `most` times, and returns what its
  // carried values are in the end, called "<name>.0", "<name>.1" and so on. They begin as `carried`; `body` writes one
  // turn, from their names in it to the condition to go on and their next values. What is made outside may be used in
  // the body, and initializers are the main graph's; nodes made in the body may not be used outside. Carried values are
  // float32, and no shape is declared for them.
  struct Turn {
    std::string condition;
    std::vector<std::string> carried;
  };
  std::vector<std::string> loop(const std::string& name, int64_t most, const std::string& condition,
                                const std::vector<std::string>& carried,
                                const std::function<Turn(const std::vector<std::string>&)>& body);

  // The model. The builder is empty afterwards.
  OnnxModel finish();

 private:
  onnx::NodeProto& add_node(std::string_view op_type, const std::string& name, const std::vector<std::string>& inputs,
                            const std::vector<Attribute>& attributes);
  void add_initializer(const std::string& name, const std::vector<int64_t>& dims, int32_t dtype,
                       std::vector<std::byte> raw);
  std::string add_value(const std::string& wish);  // returns its name
  static std::string unique(const std::string& wish, std::unordered_set<std::string>& names);

  OnnxModel model_;
  std::unordered_map<std::string, std::vector<int64_t>> initializers_;  // name -> dims
  std::unordered_set<std::string> values_;                              // names that may be used here
  std::unordered_set<std::string> taken_;                               // names of all values
  std::unordered_set<std::string> nodes_;
  onnx::GraphProto* graph_;  // where nodes go: the main graph or a body
};

}  // namespace quench::networks
