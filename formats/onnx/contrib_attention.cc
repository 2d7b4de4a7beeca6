#include "formats/onnx/contrib_attention.h"

#include <fmt/format.h>
#include <onnx/defs/parser.h>

#include <cmath>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/error.h"
#include "formats/onnx/tensors.h"

namespace quench {
namespace {

using onnx::AttributeProto;
using onnx::NodeProto;
using onnx::TensorProto;

constexpr const char* kContrib = "com.microsoft";
constexpr const char* kDomain = "quench.contrib";

// The inputs of Attention, by number.
enum Input : int { kX, kWeights, kBias, kMask, kPast, kScoreBias, kPastLength };

const AttributeProto* attribute_of(const NodeProto& node, const char* name) {
  for (const AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}

int64_t integer_of(const NodeProto& node, const char* name) {
  const AttributeProto* attribute = attribute_of(node, name);
  return attribute ? attribute->i() : 0;
}

bool has(const NodeProto& node, int input) { return input < node.input_size() && !node.input(input).empty(); }

// What the graphs of a model say of their values, by name.
struct Values {
  std::unordered_map<std::string, const TensorProto*> initializers;
  std::unordered_map<std::string, int> ranks;
  std::unordered_map<std::string, const NodeProto*> producers;

  explicit Values(onnx::ModelProto& model) {
    for_each_graph(model, [&](const onnx::GraphProto& graph) {
      for (const TensorProto& tensor : graph.initializer()) {
        initializers[tensor.name()] = &tensor;
        ranks[tensor.name()] = tensor.dims_size();
      }
      for (const auto* infos : {&graph.input(), &graph.value_info()}) {
        for (const onnx::ValueInfoProto& info : *infos) {
          if (info.type().tensor_type().has_shape()) ranks[info.name()] = info.type().tensor_type().shape().dim_size();
        }
      }
      for (const NodeProto& node : graph.node()) {
        for (const std::string& output : node.output()) producers[output] = &node;
      }
    });
  }

  // The one that makes a value, behind casts.
  const NodeProto* source_of(std::string name) const {
    for (;;) {
      const auto producer = producers.find(name);
      if (producer == producers.end()) return nullptr;
      if (producer->second->op_type() != "Cast" || producer->second->input_size() != 1) return producer->second;
      name = producer->second->input(0);
    }
  }

  // 0: the graph does not tell.
  int rank_of(std::string name) const {
    for (;;) {
      if (const auto known = ranks.find(name); known != ranks.end()) return known->second;
      const auto producer = producers.find(name);
      if (producer == producers.end() || producer->second->op_type() != "Cast" || producer->second->input_size() != 1)
        return 0;
      name = producer->second->input(0);
    }
  }
};

// A function in the text form of ONNX.
class Body {
 public:
  explicit Body(int64_t type) : type_(type) {}

  void line(const std::string& text) { text_ += "  " + text + "\n"; }
  std::string integers(const std::vector<int64_t>& values) {
    const std::string name = next();
    line(fmt::format("{} = Constant <value = int64[{}] {{{}}}> ()", name, values.size(), fmt::join(values, ", ")));
    return name;
  }
  std::string scalar(int64_t value) { return call("Constant", "", fmt::format("value = int64 {{{}}}", value)); }
  // A scalar of the model's floating-point type.
  std::string number(double value) {
    const std::string name = next();
    line(fmt::format("{} = Constant <value = float {{{:.12f}}}> ()", name, value));
    return type_ == TensorProto::FLOAT ? name : cast(name);
  }
  std::string cast(const std::string& from) { return call("Cast", from, fmt::format("to = {}", type_)); }
  // The result of an operator.
  std::string call(const std::string& op, const std::string& inputs, const std::string& attributes = "") {
    const std::string name = next();
    line(fmt::format("{} = {} {}({})", name, op, attributes.empty() ? "" : fmt::format("<{}> ", attributes), inputs));
    return name;
  }
  std::string reshape(const std::string& from, const std::vector<int64_t>& shape) {
    const std::string dims = integers(shape);
    return call("Reshape", from + ", " + dims);
  }
  std::string slice(const std::string& from, int64_t begin, int64_t end, int64_t axis) {
    const std::string first = integers({begin}), last = integers({end}), axes = integers({axis});
    return call("Slice", fmt::format("{}, {}, {}, {}", from, first, last, axes));
  }
  const std::string& text() const { return text_; }

 private:
  std::string next() { return "t" + std::to_string(count_++); }

  int64_t type_;
  std::string text_;
  int count_ = 0;
};

struct Sizes {
  int64_t heads = 0;
  int64_t query = 0, key = 0, value = 0;  // features of all heads together
};

std::optional<Sizes> sizes_of(const NodeProto& node, const TensorProto& weights) {
  Sizes sizes;
  sizes.heads = integer_of(node, "num_heads");
  if (weights.dims_size() != 2 || sizes.heads < 1) return std::nullopt;
  sizes.query = sizes.key = sizes.value = weights.dims(1) / 3;
  if (const AttributeProto* given = attribute_of(node, "qkv_hidden_sizes"); given && given->ints_size() == 3) {
    sizes.query = given->ints(0);
    sizes.key = given->ints(1);
    sizes.value = given->ints(2);
  }
  const bool fits = sizes.query > 0 && sizes.value > 0 && sizes.query == sizes.key && sizes.query <= weights.dims(1) &&
                    sizes.value <= weights.dims(1) && sizes.query + sizes.key + sizes.value == weights.dims(1) &&
                    sizes.query % sizes.heads == 0 && sizes.value % sizes.heads == 0;
  return fits ? std::optional(sizes) : std::nullopt;
}

// What a mask of rank 1 to 3 adds to the scores, batch x heads x queries x keys. Of one axis: how many keys of each
// sample count; otherwise 1 where a key counts and 0 where not.
std::string mask_bias(Body& body, int rank, const std::string& keys, double filter) {
  std::string counts;
  if (rank == 1) {
    const std::string zero = body.scalar(0), one = body.scalar(1);
    const std::string places =
        body.reshape(body.call("Range", fmt::format("{}, {}, {}", zero, keys, one)), {1, 1, 1, -1});
    const std::string ends = body.reshape(
        body.call("Cast", "mask", fmt::format("to = {}", static_cast<int>(TensorProto::INT64))), {-1, 1, 1, 1});
    counts = body.cast(body.call("Less", places + ", " + ends));
  } else if (rank == 2) {
    counts = body.cast(body.reshape("mask", {0, 1, 1, -1}));
  } else {
    const std::string shape = body.call("Shape", "mask");
    const std::string samples = body.slice(shape, 0, 1, 0), one = body.integers({1}), rest = body.slice(shape, 1, 3, 0);
    const std::string dims = body.call("Concat", fmt::format("{}, {}, {}", samples, one, rest), "axis = 0");
    counts = body.cast(body.call("Reshape", "mask, " + dims));
  }
  const std::string hidden = body.call("Sub", body.number(1) + ", " + counts);
  return body.call("Mul", hidden + ", " + body.number(filter));
}

// What hides the keys behind a query; queries are the last of the keys.
std::string causal_bias(Body& body, const std::string& queries, const std::string& keys) {
  const std::string zero = body.scalar(0), one = body.scalar(1);
  const std::string past = body.call("Sub", keys + ", " + queries);
  const std::string rows = body.reshape(body.call("Range", fmt::format("{}, {}, {}", past, keys, one)), {-1, 1});
  const std::string columns = body.reshape(body.call("Range", fmt::format("{}, {}, {}", zero, keys, one)), {1, -1});
  const std::string is_behind = body.cast(body.call("Less", rows + ", " + columns));
  return body.call("Mul", is_behind + ", " + body.number(-60000));  // any float16 can hold it
}

// batch x positions x (heads * features) to batch x heads x positions x features.
std::string split_heads(Body& body, const std::string& from, int64_t heads, int64_t features) {
  return body.call("Transpose", body.reshape(from, {0, 0, heads, features / heads}), "perm = [0, 2, 1, 3]");
}

std::string body_of(const NodeProto& node, const Sizes& sizes, int64_t type, int mask_rank) {
  Body body(type);
  std::string all = body.call("MatMul", "x, w");
  if (has(node, kBias)) all = body.call("Add", all + ", b");
  const std::string q = split_heads(body, body.slice(all, 0, sizes.query, 2), sizes.heads, sizes.query);
  std::string k = split_heads(body, body.slice(all, sizes.query, sizes.query + sizes.key, 2), sizes.heads, sizes.key);
  std::string v = split_heads(body, body.slice(all, sizes.query + sizes.key, sizes.query + sizes.key + sizes.value, 2),
                              sizes.heads, sizes.value);
  if (has(node, kPast)) {
    const std::string first = body.scalar(0), second = body.scalar(1);
    k = body.call("Concat", body.call("Gather", "past, " + first, "axis = 0") + ", " + k, "axis = 2");
    v = body.call("Concat", body.call("Gather", "past, " + second, "axis = 0") + ", " + v, "axis = 2");
  }
  if (node.output_size() > 1 && !node.output(1).empty()) {
    const std::string dims = body.call("Concat", body.integers({2}) + ", " + body.call("Shape", k), "axis = 0");
    body.line(fmt::format("present = Reshape ({}, {})", body.call("Concat", k + ", " + v, "axis = 0"), dims));
  }
  const AttributeProto* given = attribute_of(node, "scale");
  const double scale =
      given && given->f() != 0 ? given->f() : 1 / std::sqrt(static_cast<double>(sizes.query / sizes.heads));
  std::string scores = body.call("MatMul", q + ", " + body.call("Transpose", k, "perm = [0, 1, 3, 2]"));
  scores = body.call("Mul", scores + ", " + body.number(scale));
  const auto size = [&](const std::string& of) {
    const std::string axis = body.scalar(2);
    return body.call("Gather", body.call("Shape", of) + ", " + axis, "axis = 0");
  };
  if (has(node, kMask)) {
    const AttributeProto* filter = attribute_of(node, "mask_filter_value");
    scores = body.call("Add", scores + ", " + mask_bias(body, mask_rank, size(k), filter ? filter->f() : -10000.0));
  }
  if (integer_of(node, "unidirectional") != 0)
    scores = body.call("Add", scores + ", " + causal_bias(body, size(q), size(k)));
  if (has(node, kScoreBias)) scores = body.call("Add", scores + ", score_bias");
  const std::string mixed = body.call("MatMul", body.call("Softmax", scores, "axis = -1") + ", " + v);
  const std::string together = body.call("Transpose", mixed, "perm = [0, 2, 1, 3]");
  body.line(fmt::format("y = Reshape ({}, {})", together, body.integers({0, 0, sizes.value})));
  return body.text();
}

// 0: none; -1: of a kind that is not replaced.
int mask_rank_of(const NodeProto& node, const Values& values) {
  if (!has(node, kMask)) return 0;
  const int rank = values.rank_of(node.input(kMask));
  if (rank == 2 || rank == 3) return rank;
  const NodeProto* source = values.source_of(node.input(kMask));
  const bool is_lengths = source && source->op_type() == "EmbedLayerNormalization" && rank <= 1;
  return is_lengths ? 1 : -1;
}

}  // namespace

void replace_attention(onnx::ModelProto& model) {
  int64_t opset = 0;
  for (const auto& import : model.opset_import()) {
    if (import.domain().empty()) opset = import.version();
  }
  constexpr int64_t kFirstOpset = 11;  // of negative axes of Softmax, and Range
  if (opset < kFirstOpset) return;
  const Values values(model);
  for_each_graph(model, [&](onnx::GraphProto& graph) {
    for (NodeProto& node : *graph.mutable_node()) {
      if (node.domain() != kContrib || node.op_type() != "Attention" || !has(node, kWeights)) continue;
      const auto weights = values.initializers.find(node.input(kWeights));
      if (weights == values.initializers.end()) continue;
      const bool is_other = has(node, kPastLength) || integer_of(node, "do_rotary") != 0 ||
                            integer_of(node, "past_present_share_buffer") != 0;
      const std::optional<Sizes> sizes = sizes_of(node, *weights->second);
      const int rank = mask_rank_of(node, values);
      if (is_other || !sizes || rank < 0) continue;
      const std::string name = "attention" + std::to_string(model.functions_size());
      const bool has_present = node.output_size() > 1 && !node.output(1).empty();
      const std::string text = fmt::format(
          "<domain: \"{}\", opset_import: [\"\" : {}]>\n{} (x, w, b, mask, past, score_bias) => (y{}) {{\n{}}}",
          kDomain, opset, name, has_present ? ", present" : "",
          body_of(node, *sizes, weights->second->data_type(), rank));
      onnx::FunctionProto function;
      const auto status = onnx::OnnxParser::Parse(function, text.c_str());
      if (!status.IsOK()) throw Error::make("the body of an Attention is no ONNX: {}", status.ErrorMessage());
      *model.add_functions() = std::move(function);
      node.set_domain(kDomain);
      node.set_op_type(name);
    }
  });
}

}  // namespace quench
