#include "formats/onnx/contrib_attention.h"

#include <onnx/defs/parser.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/error.h"
#include "formats/onnx/inline_functions.h"
#include "formats/onnx/node.h"

namespace quench {
namespace {

using onnx::AttributeProto;
using onnx::NodeProto;
using onnx::TensorProto;

constexpr const char* kContrib = "com.microsoft";
constexpr const char* kDomain = "quench.contrib";

// The inputs of Attention, by number.
enum Input : int { kX, kWeights, kBias, kMask, kPast, kScoreBias, kPastLength };
constexpr int kPresent = 1;  // the number of an output

// What the main graph says of its values, by name.
class Values {
 public:
  explicit Values(const onnx::GraphProto& graph) {
    for (const TensorProto& tensor : graph.initializer()) {
      initializers_[tensor.name()] = &tensor;
      ranks_[tensor.name()] = tensor.dims_size();
    }
    for (const auto* infos : {&graph.input(), &graph.value_info()}) {
      for (const onnx::ValueInfoProto& info : *infos) {
        if (info.type().tensor_type().has_shape()) ranks_[info.name()] = info.type().tensor_type().shape().dim_size();
      }
    }
    for (const NodeProto& node : graph.node()) {
      for (const std::string& output : node.output()) producers_[output] = &node;
    }
  }

  // Null where it is none.
  const TensorProto* initializer(const std::string& name) const { return find(initializers_, name); }
  const NodeProto* producer(const std::string& name) const { return find(producers_, name); }
  // 0: the graph does not tell.
  int rank(const std::string& name) const { return find(ranks_, name); }

  // The value that casts make this one of; where they make it of itself, one of them.
  std::string behind_casts(std::string name) const {
    constexpr int kMost = 8;
    for (int i = 0; i < kMost; ++i) {
      const NodeProto* node = producer(name);
      if (!node || node->op_type() != "Cast" || node->input_size() != 1) break;
      name = node->input(0);
    }
    return name;
  }

 private:
  template <typename Value>
  static Value find(const std::unordered_map<std::string, Value>& map, const std::string& name) {
    const auto found = map.find(name);
    return found == map.end() ? Value() : found->second;
  }

  std::unordered_map<std::string, const TensorProto*> initializers_;
  std::unordered_map<std::string, int> ranks_;
  std::unordered_map<std::string, const NodeProto*> producers_;
};

// A function in the text form of ONNX.
class Body {
 public:
  explicit Body(int64_t type) : type_(type) {}

  void line(const std::string& text) { text_ += "  " + text + "\n"; }
  std::string integers(const std::vector<int64_t>& values) {
    std::string name = next();
    line(fmt::format("{} = Constant <value = int64[{}] {{{}}}> ()", name, values.size(), fmt::join(values, ", ")));
    return name;
  }
  std::string scalar(int64_t value) { return call("Constant", "", fmt::format("value = int64 {{{}}}", value)); }
  // Of the model's floating-point type.
  double largest() const { return type_ == TensorProto::FLOAT16 ? 65504 : 3.4028234e38; }
  // A scalar of that type; what is beyond its range comes to its end.
  std::string number(double value) {
    const std::string name = next();
    const double bounded = std::clamp(value, -largest(), largest());
    line(fmt::format("{} = Constant <value = float {{{:.8e}}}> ()", name, std::abs(bounded) < kLeast ? 0 : bounded));
    return type_ == TensorProto::FLOAT ? name : cast(name);
  }
  std::string cast(const std::string& from) { return call("Cast", from, fmt::format("to = {}", type_)); }
  // The result of an operator.
  std::string call(const std::string& op, const std::string& inputs, const std::string& attributes = "") {
    std::string name = next();
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
  static constexpr double kLeast = 1e-30;  // the parser refuses what float32 cannot hold in full

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
  sizes.heads = integer_attribute(node, "num_heads", 0);
  if (weights.dims_size() != 2 || sizes.heads < 1) return std::nullopt;
  sizes.query = sizes.key = sizes.value = weights.dims(1) / 3;
  if (const AttributeProto* given = find_attribute(node, "qkv_hidden_sizes"); given && given->ints_size() == 3) {
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
// sample count; otherwise above 0 where a key counts.
std::string mask_bias(Body& body, int rank, const std::string& keys, double filter) {
  std::string counts;
  if (rank == 1) {
    const std::string first = body.scalar(0), step = body.scalar(1);
    const std::string places =
        body.reshape(body.call("Range", fmt::format("{}, {}, {}", first, keys, step)), {1, 1, 1, -1});
    const std::string lengths = body.call("Cast", "mask", fmt::format("to = {}", static_cast<int>(TensorProto::INT64)));
    counts = body.call("Less", places + ", " + body.reshape(lengths, {-1, 1, 1, 1}));
  } else {
    std::string mask = body.cast("mask");
    if (rank == 2) {
      mask = body.reshape(mask, {0, 1, 1, -1});
    } else {
      const std::string shape = body.call("Shape", mask);
      const std::string samples = body.slice(shape, 0, 1, 0), one = body.integers({1}),
                        rest = body.slice(shape, 1, 3, 0);
      mask = body.call(
          "Reshape", fmt::format("{}, {}", mask, body.call("Concat", samples + ", " + one + ", " + rest, "axis = 0")));
    }
    const std::string zero = body.number(0);
    counts = body.call("Less", zero + ", " + mask);
  }
  const std::string nothing = body.number(0), hidden = body.number(filter);
  return body.call("Where", fmt::format("{}, {}, {}", counts, nothing, hidden));
}

// What hides the keys behind a query; queries are the last of the keys.
std::string causal_bias(Body& body, const std::string& queries, const std::string& keys) {
  const std::string zero = body.scalar(0), one = body.scalar(1);
  const std::string past = body.call("Sub", keys + ", " + queries);
  const std::string rows = body.reshape(body.call("Range", fmt::format("{}, {}, {}", past, keys, one)), {-1, 1});
  const std::string columns = body.reshape(body.call("Range", fmt::format("{}, {}, {}", zero, keys, one)), {1, -1});
  const std::string is_behind = body.call("Less", rows + ", " + columns);
  const std::string hidden = body.number(-body.largest()), nothing = body.number(0);
  return body.call("Where", fmt::format("{}, {}, {}", is_behind, hidden, nothing));
}

// Features [begin, end) of batch x positions x features, as batch x heads x positions x features of a head.
std::string heads_of(Body& body, const std::string& all, int64_t begin, int64_t end, int64_t heads) {
  const std::string split = body.reshape(body.slice(all, begin, end, 2), {0, 0, heads, (end - begin) / heads});
  return body.call("Transpose", split, "perm = [0, 2, 1, 3]");
}

// Puts the past, 2 x batch x heads x positions x features, before keys and values; `present` becomes both.
void add_past(Body& body, const NodeProto& node, std::string& k, std::string& v) {
  if (has_input(node, kPast)) {
    const std::string first = body.scalar(0), second = body.scalar(1);
    const std::string keys = body.call("Gather", "past, " + first, "axis = 0");
    k = body.call("Concat", keys + ", " + k, "axis = 2");
    const std::string values = body.call("Gather", "past, " + second, "axis = 0");
    v = body.call("Concat", values + ", " + v, "axis = 2");
  }
  if (!has_output(node, kPresent)) return;
  const std::string both = body.call("Concat", k + ", " + v, "axis = 0");
  const std::string two = body.integers({2}), each = body.call("Shape", k);
  body.line(fmt::format("present = Reshape ({}, {})", both, body.call("Concat", two + ", " + each, "axis = 0")));
}

std::string positions_of(Body& body, const std::string& heads) {
  const std::string axis = body.scalar(2);
  return body.call("Gather", body.call("Shape", heads) + ", " + axis, "axis = 0");
}

double scale_of(const NodeProto& node, const Sizes& sizes) {
  const double given = float_attribute(node, "scale", 0);
  const int64_t features = sizes.query / sizes.heads;
  return given != 0 ? given : 1 / std::sqrt(static_cast<double>(features));
}

double filter_of(const NodeProto& node) { return float_attribute(node, "mask_filter_value", -10000); }

std::string scores_of(Body& body, const NodeProto& node, const Sizes& sizes, int mask_rank, const std::string& q,
                      const std::string& k) {
  std::string scores = body.call("MatMul", q + ", " + body.call("Transpose", k, "perm = [0, 1, 3, 2]"));
  scores = body.call("Mul", scores + ", " + body.number(scale_of(node, sizes)));
  const auto add = [&](const std::string& bias) { scores = body.call("Add", scores + ", " + bias); };
  if (mask_rank > 0) add(mask_bias(body, mask_rank, positions_of(body, k), filter_of(node)));
  if (integer_attribute(node, "unidirectional", 0) != 0) {
    const std::string queries = positions_of(body, q), keys = positions_of(body, k);
    add(causal_bias(body, queries, keys));
  }
  if (has_input(node, kScoreBias)) add("score_bias");
  return scores;
}

std::string body_of(const NodeProto& node, const Sizes& sizes, int64_t type, int mask_rank) {
  Body body(type);
  std::string all = body.call("MatMul", "x, w");
  if (has_input(node, kBias)) all = body.call("Add", all + ", b");
  const int64_t values = sizes.query + sizes.key;
  const std::string q = heads_of(body, all, 0, sizes.query, sizes.heads);
  std::string k = heads_of(body, all, sizes.query, values, sizes.heads);
  std::string v = heads_of(body, all, values, values + sizes.value, sizes.heads);
  add_past(body, node, k, v);
  const std::string weights = body.call("Softmax", scores_of(body, node, sizes, mask_rank, q, k), "axis = -1");
  const std::string mixed = body.call("Transpose", body.call("MatMul", weights + ", " + v), "perm = [0, 2, 1, 3]");
  body.line(fmt::format("y = Reshape ({}, {})", mixed, body.integers({0, 0, sizes.value})));
  return body.text();
}

// 0: none; -1: of a kind that is not replaced.
int mask_rank_of(const NodeProto& node, const Values& values) {
  if (!has_input(node, kMask)) return 0;
  const std::string& mask = node.input(kMask);
  const std::string source = values.behind_casts(mask);
  const int rank = values.rank(mask) != 0 ? values.rank(mask) : values.rank(source);
  if (rank == 2 || rank == 3) return rank;
  const NodeProto* maker = values.producer(source);
  const bool is_lengths = maker && maker->domain() == kContrib && maker->op_type() == "EmbedLayerNormalization" &&
                          has_output(*maker, 1) && maker->output(1) == source;
  return is_lengths && rank <= 1 ? 1 : -1;
}

bool is_attention(const NodeProto& node) { return node.domain() == kContrib && node.op_type() == "Attention"; }

// The body of the function that does what a node does; empty where there is none.
std::string replacement_of(const NodeProto& node, const Values& values) {
  const TensorProto* weights = has_input(node, kWeights) ? values.initializer(node.input(kWeights)) : nullptr;
  const std::optional<Sizes> sizes = weights ? sizes_of(node, *weights) : std::nullopt;
  const int rank = mask_rank_of(node, values);
  if (!sizes || rank < 0) return "";
  const int32_t type = weights->data_type();
  const bool has_past = has_input(node, kPast) || has_output(node, kPresent);
  const bool is_other = (type != TensorProto::FLOAT && type != TensorProto::FLOAT16) || has_input(node, kPastLength) ||
                        integer_attribute(node, "do_rotary", 0) != 0 ||
                        integer_attribute(node, "past_present_share_buffer", 0) != 0 ||
                        (has_past && sizes->key != sizes->value) || !std::isfinite(scale_of(node, *sizes)) ||
                        !std::isfinite(filter_of(node));
  return is_other ? "" : body_of(node, *sizes, type, rank);
}

onnx::FunctionProto parse_function(const std::string& text) {
  onnx::FunctionProto function;
  if (!onnx::OnnxParser::Parse(function, text.c_str()).IsOK()) throw Error("the function of an Attention is no ONNX");
  return function;
}

}  // namespace

void replace_attention(onnx::ModelProto& model) {
  constexpr int64_t kFirstOpset = 11;    // of negative axes of Softmax, and Range
  constexpr size_t kMostFunctions = 64;  // different ones; layers of a network share one
  const int64_t opset = default_opset(model);
  if (opset < kFirstOpset || model.functions_size() != 0 || std::ranges::none_of(model.graph().node(), is_attention))
    return;
  const Values values(model.graph());
  std::map<std::string, std::string> names;  // of functions, by body
  for (NodeProto& node : *model.mutable_graph()->mutable_node()) {
    const std::string body = is_attention(node) ? replacement_of(node, values) : "";
    if (body.empty() || (names.size() == kMostFunctions && !names.contains(body))) continue;
    const auto [entry, is_new] = names.emplace(body, "attention" + std::to_string(names.size()));
    if (is_new) {
      *model.add_functions() = parse_function(fmt::format(
          "<domain: \"{}\", opset_import: [\"\" : {}]>\n{} (x, w, b, mask, past, score_bias) => (y{}) {{\n{}}}",
          kDomain, opset, entry->second, has_output(node, kPresent) ? ", present" : "", body));
    }
    node.set_domain(kDomain);
    node.set_op_type(entry->second);
  }
  inline_functions(model);
}

}  // namespace quench
