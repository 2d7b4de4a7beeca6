#include "formats/onnx/contrib.h"

#include <onnx/defs/parser.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "formats/base/printable.h"
#include "formats/error.h"
#include "formats/onnx/contrib_body.h"
#include "formats/onnx/inline_functions.h"
#include "formats/onnx/node.h"

namespace quench {
namespace {

using onnx::NodeProto;

constexpr const char* kContrib = "com.microsoft";
constexpr const char* kDomain = "quench.contrib";
constexpr size_t kMostFunctions = 64;  // different ones; layers of a network share one

struct Operator {
  std::string_view domain;
  std::string_view name;
  int64_t first_opset;  // of ONNX's own operators in its function
  Replacement (*replacement)(const NodeProto& node, const Values& values);
};

// 11: negative axes of Softmax, Range and Pad's inputs; 7: shapes that are broadcast.
constexpr Operator kOperators[] = {
    {kContrib, "Attention", 11, attention_function},
    {kContrib, "MultiHeadAttention", 11, multi_head_attention_function},
    {kContrib, "GroupQueryAttention", 11, group_query_attention_function},
    {kContrib, "RotaryEmbedding", 11, rotary_embedding_function},
    {"", "ImageScaler", 7, image_scaler_function},
};

const Operator* operator_of(const NodeProto& node) {
  const auto found = std::ranges::find_if(
      kOperators, [&](const Operator& op) { return op.domain == node.domain() && op.name == node.op_type(); });
  return found == std::end(kOperators) ? nullptr : found;
}

// Calls function(graph) for the graphs in a node's attributes, until one says true; whether one did.
template <typename Function>
bool any_inner_graph(const NodeProto& node, const Function& function) {
  return std::ranges::any_of(node.attribute(), [&](const onnx::AttributeProto& attribute) {
    return (attribute.has_g() && function(attribute.g())) || std::ranges::any_of(attribute.graphs(), function);
  });
}

bool has_any(const onnx::GraphProto& graph) {
  return std::ranges::any_of(graph.node(), [](const NodeProto& node) {
    return operator_of(node) != nullptr || any_inner_graph(node, has_any);
  });
}

// Of a node of one of these operators.
Replacement replacement_of(const NodeProto& node, const Values& values, int64_t opset) {
  const Operator& op = *operator_of(node);
  if (opset < op.first_opset)
    return refused(fmt::format("operator set {} is too old, {} is not", opset, op.first_opset));
  return op.replacement(node, values);
}

struct Replaced {
  const NodeProto* node;
  Replacement by;
};

void find_replacements(const onnx::GraphProto& graph, const Values* around, int64_t opset,
                       std::vector<Replaced>& found) {
  const Values values(graph, around);
  for (const NodeProto& node : graph.node()) {
    if (operator_of(node)) found.push_back({&node, replacement_of(node, values, opset)});
    any_inner_graph(node, [&](const onnx::GraphProto& inner) {
      find_replacements(inner, &values, opset, found);
      return false;
    });
  }
}

// Of all nodes of these operators, also in subgraphs.
std::vector<Replaced> replacements_in(const onnx::ModelProto& model) {
  std::vector<Replaced> found;
  if (has_any(model.graph())) find_replacements(model.graph(), nullptr, default_opset(model), found);
  return found;
}

onnx::FunctionProto parse_function(const std::string& text) {
  onnx::FunctionProto function;
  if (!onnx::OnnxParser::Parse(function, text.c_str()).IsOK()) throw Error("the function of an operator is no ONNX");
  return function;
}

}  // namespace

void replace_contrib(onnx::ModelProto& model) {
  if (model.functions_size() != 0) return;
  std::map<std::string, std::string> names;  // of functions, by what they are
  std::vector<std::pair<const NodeProto*, std::string>> calls;
  for (const auto& [node, by] : replacements_in(model)) {
    const std::string& text = by.function;
    if (text.empty() || (names.size() == kMostFunctions && !names.contains(text))) continue;
    const auto [entry, is_new] = names.emplace(text, node->op_type() + std::to_string(names.size()));
    if (is_new) {
      *model.add_functions() = parse_function(fmt::format("<domain: \"{}\", opset_import: [\"\" : {}]>\n{} {}", kDomain,
                                                          default_opset(model), entry->second, text));
    }
    calls.emplace_back(node, entry->second);
  }
  if (calls.empty()) return;
  for (const auto& [node, name] : calls) {
    auto& call = const_cast<NodeProto&>(*node);  // of `model`, which may be changed
    call.set_domain(kDomain);
    call.set_op_type(name);
  }
  inline_functions(model);
}

std::vector<std::string> contrib_refusals(const onnx::ModelProto& model) {
  std::vector<std::string> lines;
  for (const auto& [node, by] : replacements_in(model)) {
    const std::string why =
        by.refusal.empty() ? "there are too many different ones, or functions that stay" : by.refusal;
    lines.push_back(fmt::format("node '{}' ({}): {}", printable(node->name()), printable(node->op_type()), why));
  }
  return lines;
}

}  // namespace quench
