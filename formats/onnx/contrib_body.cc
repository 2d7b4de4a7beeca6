#include "formats/onnx/contrib_body.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "formats/error.h"
#include "formats/onnx/node.h"

namespace quench {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

bool is_real(int32_t type) {
  return type == TensorProto::FLOAT || type == TensorProto::FLOAT16 || type == TensorProto::BFLOAT16;
}

}  // namespace

Values::Values(const onnx::GraphProto& graph, const Values* around) : around_(around) {
  for (const TensorProto& tensor : graph.initializer()) {
    initializers_[tensor.name()] = &tensor;
    ranks_[tensor.name()] = tensor.dims_size();
    types_[tensor.name()] = tensor.data_type();
  }
  for (const auto* infos : {&graph.input(), &graph.value_info(), &graph.output()}) {
    for (const onnx::ValueInfoProto& info : *infos) {
      const onnx::TypeProto::Tensor& type = info.type().tensor_type();
      if (type.has_shape()) ranks_[info.name()] = type.shape().dim_size();
      types_[info.name()] = type.elem_type();
    }
  }
  for (const NodeProto& node : graph.node()) {
    for (const std::string& output : node.output()) producers_[output] = &node;
  }
  for (const onnx::ValueInfoProto& input : graph.input()) defined_.insert(input.name());
  for (const TensorProto& tensor : graph.initializer()) defined_.insert(tensor.name());
  for (const auto& [name, node] : producers_) defined_.insert(name);
}

std::string Values::behind_casts(std::string name) const {
  constexpr int kMost = 8;
  for (int i = 0; i < kMost; ++i) {
    const NodeProto* node = producer(name);
    if (!node || node->op_type() != "Cast" || node->input_size() != 1) break;
    name = node->input(0);
  }
  return name;
}

int Values::rank_behind_casts(const std::string& name) const {
  return rank(name) != 0 ? rank(name) : rank(behind_casts(name));
}

// Values that one is made of, the nearest first: `visit` says whether what makes a value is asked, too. False where
// they are too many.
template <typename Visit>
bool Values::visit_sources(const std::string& name, const Visit& visit) const {
  constexpr size_t kMost = 64;
  std::vector<std::string> front = {name};
  std::unordered_set<std::string> seen = {name};
  for (size_t i = 0; i < front.size(); ++i) {
    if (i == kMost) return false;
    const NodeProto* node = producer(front[i]);
    if (!visit(front[i], node) || !node) continue;
    for (const std::string& input : node->input()) {
      if (!input.empty() && seen.insert(input).second) front.push_back(input);
    }
  }
  return true;
}

int32_t Values::float_type(const std::string& name) const {
  int32_t type = 0;
  visit_sources(name, [&](const std::string& source, const NodeProto* node) {
    const bool is_cast = node && node->op_type() == "Cast";
    int32_t own = find(&Values::types_, source);
    if (!is_real(own) && is_cast) own = static_cast<int32_t>(integer_attribute(*node, "to", 0));
    if (type == 0 && is_real(own)) type = own;
    return type == 0 && !is_cast;
  });
  return type == 0 ? TensorProto::FLOAT : type;
}

bool Values::is_of_shapes(const std::string& name) const {
  bool is_known = true;
  const bool was_seen = visit_sources(name, [&](const std::string& source, const NodeProto* node) {
    if (initializer(source)) return false;
    is_known &= node != nullptr;
    return node && node->op_type() != "Shape" && node->op_type() != "Size";
  });
  return is_known && was_seen;
}

std::string Body::call(const std::string& op, const Names& inputs, const std::string& attributes) {
  std::string name = next();
  output(name, op, inputs, attributes);
  return name;
}

void Body::output(const std::string& name, const std::string& op, const Names& inputs, const std::string& attributes) {
  const std::string settings = attributes.empty() ? "" : fmt::format("<{}> ", attributes);
  text_ += fmt::format("  {} = {} {}({})\n", name, op, settings, fmt::join(inputs, ", "));
}

std::string Body::integers(const std::vector<int64_t>& values) {
  return call("Constant", {}, fmt::format("value = int64[{}] {{{}}}", values.size(), fmt::join(values, ", ")));
}

std::string Body::scalar(int64_t value) { return call("Constant", {}, fmt::format("value = int64 {{{}}}", value)); }

double Body::largest() const {
  if (type_ == TensorProto::FLOAT16) return 65504;
  return type_ == TensorProto::BFLOAT16 ? 3.3895314e38 : 3.4028234e38;
}

std::string Body::written(double value) const {
  constexpr double kLeast = 1e-30;  // the parser refuses what float32 cannot hold in full
  const double bounded = std::clamp(value, -largest(), largest());
  return fmt::format("{:.8e}", std::abs(bounded) < kLeast ? 0 : bounded);
}

std::string Body::constant(const std::string& value) {
  std::string name = call("Constant", {}, "value = " + value);
  return type_ == TensorProto::FLOAT ? name : cast(name);
}

std::string Body::number(double value) { return constant("float {" + written(value) + "}"); }

std::string Body::numbers(const std::vector<double>& values) {
  Names all;
  for (const double value : values) all.push_back(written(value));
  return constant(fmt::format("float[{}] {{{}}}", all.size(), fmt::join(all, ", ")));
}

std::string Body::cast(const std::string& from) { return call("Cast", {from}, fmt::format("to = {}", type_)); }

std::string Body::cast_to_integers(const std::string& from) {
  return call("Cast", {from}, fmt::format("to = {}", static_cast<int>(TensorProto::INT64)));
}

std::string Body::reshape(const std::string& from, const std::vector<int64_t>& shape) {
  return call("Reshape", {from, integers(shape)});
}

std::string Body::slice(const std::string& from, int64_t begin, int64_t end, int64_t axis) {
  return call("Slice", {from, integers({begin}), integers({end}), integers({axis})});
}

std::string Body::concat(const Names& parts, int64_t axis) {
  return call("Concat", parts, fmt::format("axis = {}", axis));
}

std::string Body::transpose(const std::string& from, const std::string& axes) {
  return call("Transpose", {from}, fmt::format("perm = [{}]", axes));
}

std::string Body::sizes(const std::string& of, int64_t begin, int64_t end) {
  return slice(call("Shape", {of}), begin, end, 0);
}

std::string Body::size(const std::string& of, int64_t axis) {
  return call("Gather", {call("Shape", {of}), scalar(axis)}, "axis = 0");
}

std::string Body::range(const std::string& limit) { return call("Range", {scalar(0), limit, scalar(1)}); }

std::string Body::smaller(const std::string& a, const std::string& b) {
  return call("Where", {call("Less", {a, b}), a, b});
}

std::string Body::larger(const std::string& a, const std::string& b) {
  return call("Where", {call("Less", {a, b}), b, a});
}

Replacement refused(const std::string& why) { return {"", why}; }

Replacement function_of(const std::string& inputs, const std::string& outputs, const Body& body) {
  return {fmt::format("({}) => ({}) {{\n{}}}", inputs, outputs, body.text()), ""};
}

}  // namespace quench
