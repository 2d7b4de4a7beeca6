#include "compressor/networks/graph_builder.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <utility>

#include "formats/error.h"

namespace quench::networks {
namespace {

constexpr int64_t kIrVersion = 8;

void declare(onnx::ValueInfoProto& info, std::string_view name, const std::vector<int64_t>& dims, int32_t dtype,
             const std::vector<std::string>& open) {
  info.set_name(std::string(name));
  onnx::TypeProto::Tensor& type = *info.mutable_type()->mutable_tensor_type();
  type.set_elem_type(dtype);
  type.mutable_shape();
  size_t opened = 0;
  for (const int64_t dim : dims) {
    if (dim < 0) {
      type.mutable_shape()->add_dim()->set_dim_param(open.at(std::min(opened++, open.size() - 1)));
    } else {
      type.mutable_shape()->add_dim()->set_dim_value(dim);
    }
  }
}

void assign(onnx::AttributeProto& proto, int64_t value) {
  proto.set_type(onnx::AttributeProto::INT);
  proto.set_i(value);
}
void assign(onnx::AttributeProto& proto, float value) {
  proto.set_type(onnx::AttributeProto::FLOAT);
  proto.set_f(value);
}
void assign(onnx::AttributeProto& proto, const std::string& value) {
  proto.set_type(onnx::AttributeProto::STRING);
  proto.set_s(value);
}
void assign(onnx::AttributeProto& proto, const std::vector<int64_t>& values) {
  proto.set_type(onnx::AttributeProto::INTS);
  proto.mutable_ints()->Assign(values.begin(), values.end());
}

std::vector<std::byte> little_endian(const std::vector<int64_t>& values) {
  std::vector<std::byte> bytes;
  for (const int64_t value : values) {
    for (int shift = 0; shift < 64; shift += 8)
      bytes.push_back(std::byte(static_cast<uint64_t>(value) >> shift & 0xff));
  }
  return bytes;
}

}  // namespace

GraphBuilder::GraphBuilder(std::string name, int64_t opset) {
  model_.proto.set_ir_version(kIrVersion);
  model_.proto.set_producer_name("quench");
  model_.proto.add_opset_import()->set_version(opset);
  model_.proto.mutable_graph()->set_name(name);
  model_.name = std::move(name);
  graph_ = model_.proto.mutable_graph();
}

void GraphBuilder::input(std::string_view name, const std::vector<int64_t>& dims, int32_t type,
                         const std::vector<std::string>& open) {
  declare(*model_.proto.mutable_graph()->add_input(), name, dims, type, open);
  add_value(std::string(name));
}

void GraphBuilder::output(std::string_view name, const std::vector<int64_t>& dims, int32_t type,
                          const std::vector<std::string>& open) {
  declare(*model_.proto.mutable_graph()->add_output(), name, dims, type, open);
}

std::string GraphBuilder::floats(const std::string& name, const std::vector<int64_t>& dims,
                                 const std::function<std::vector<float>()>& values) {
  const auto found = initializers_.find(name);
  if (found == initializers_.end()) {
    add_initializer(name, dims, onnx::TensorProto::FLOAT, from_float(onnx::TensorProto::FLOAT, values()));
  } else if (found->second != dims) {
    throw Error::make("{}: initializer '{}' is wanted with the shape [{}] but has the shape [{}]: give it another name",
                      model_.name, name, fmt::join(dims, ", "), fmt::join(found->second, ", "));
  }
  return name;
}

std::string GraphBuilder::integers(const std::string& name, const std::vector<int64_t>& values) {
  add_initializer(name, {static_cast<int64_t>(values.size())}, onnx::TensorProto::INT64, little_endian(values));
  return name;
}

std::string GraphBuilder::bytes(const std::string& name, const std::vector<int64_t>& dims,
                                const std::vector<uint8_t>& values) {
  const auto all = std::as_bytes(std::span(values));
  add_initializer(name, dims, onnx::TensorProto::UINT8, {all.begin(), all.end()});
  return name;
}

void GraphBuilder::add_initializer(const std::string& name, const std::vector<int64_t>& dims, int32_t dtype,
                                   std::vector<std::byte> raw) {
  if (!taken_.insert(name).second) {
    throw Error::make("{}: '{}' is the name of another value already: give the initializer another one", model_.name,
                      name);
  }
  values_.insert(name);
  initializers_.emplace(name, dims);
  onnx::TensorProto& tensor = *model_.proto.mutable_graph()->add_initializer();
  tensor.set_name(name);
  set_weight(model_, tensor, dtype, dims, owned_source(std::move(raw)));
}

onnx::NodeProto& GraphBuilder::add_node(std::string_view op_type, const std::string& name,
                                        const std::vector<std::string>& inputs,
                                        const std::vector<Attribute>& attributes) {
  onnx::NodeProto& node = *graph_->add_node();
  node.set_op_type(std::string(op_type));
  node.set_name(unique(name, nodes_));
  for (const std::string& input : inputs) {
    if (!values_.contains(input)) {
      throw Error::make("{}: node '{}' uses '{}', which nothing makes: emit its producer first", model_.name,
                        node.name(), input);
    }
    node.add_input(input);
  }
  for (const Attribute& attribute : attributes) {
    onnx::AttributeProto& proto = *node.add_attribute();
    proto.set_name(attribute.name);
    std::visit([&proto](const auto& value) { assign(proto, value); }, attribute.value);
  }
  return node;
}

std::string GraphBuilder::node(std::string_view op_type, const std::string& name,
                               const std::vector<std::string>& inputs, const std::vector<Attribute>& attributes,
                               const std::string& result) {
  onnx::NodeProto& node = add_node(op_type, name, inputs, attributes);
  node.add_output(add_value(result.empty() ? node.name() + ".out" : result));
  return node.output(0);
}

std::vector<std::string> GraphBuilder::split(const std::string& name, const std::string& u, int64_t axis, int count) {
  onnx::NodeProto& node = add_node("Split", name, {u}, {{"axis", axis}});
  for (int i = 0; i < count; ++i) node.add_output(add_value(fmt::format("{}.{}", node.name(), i)));
  return {node.output().begin(), node.output().end()};
}

std::string GraphBuilder::add_value(const std::string& wish) { return *values_.insert(unique(wish, taken_)).first; }

std::vector<std::string> GraphBuilder::loop(const std::string& name, int64_t most, const std::string& condition,
                                            const std::vector<std::string>& carried,
                                            const std::function<Turn(const std::vector<std::string>&)>& body) {
  std::vector<std::string> inputs = {integers(name + ".most", {most}), condition};
  inputs.insert(inputs.end(), carried.begin(), carried.end());
  onnx::NodeProto& node = add_node("Loop", name, inputs, {});
  onnx::GraphProto& inner = *node.add_attribute()->mutable_g();
  node.mutable_attribute(0)->set_name("body");
  node.mutable_attribute(0)->set_type(onnx::AttributeProto::GRAPH);
  inner.set_name(node.name() + ".body");
  const std::unordered_set<std::string> outside = values_;
  onnx::GraphProto* const around = std::exchange(graph_, &inner);
  const auto declare_value = [](onnx::ValueInfoProto& info, const std::string& value, int32_t type) {
    info.set_name(value);
    info.mutable_type()->mutable_tensor_type()->set_elem_type(type);
  };
  declare_value(*inner.add_input(), add_value(node.name() + ".turn"), onnx::TensorProto::INT64);
  declare_value(*inner.add_input(), add_value(node.name() + ".condition"), onnx::TensorProto::BOOL);
  std::vector<std::string> values;
  for (size_t i = 0; i < carried.size(); ++i) {
    values.push_back(add_value(fmt::format("{}.in.{}", node.name(), i)));
    declare_value(*inner.add_input(), values.back(), onnx::TensorProto::FLOAT);
  }
  const Turn turn = body(values);
  declare_value(*inner.add_output(), turn.condition, onnx::TensorProto::BOOL);
  for (const std::string& value : turn.carried) declare_value(*inner.add_output(), value, onnx::TensorProto::FLOAT);
  graph_ = around;
  values_ = outside;
  for (const auto& [initializer, dims] : initializers_) values_.insert(initializer);
  for (size_t i = 0; i < carried.size(); ++i) node.add_output(add_value(fmt::format("{}.{}", node.name(), i)));
  return {node.output().begin(), node.output().end()};
}

std::string GraphBuilder::unique(const std::string& wish, std::unordered_set<std::string>& names) {
  std::string name = wish;
  for (int number = 2; !names.insert(name).second; ++number) name = fmt::format("{}_{}", wish, number);
  return name;
}

OnnxModel GraphBuilder::finish() {
  model_.reindex();
  initializers_.clear();
  values_.clear();
  taken_.clear();
  nodes_.clear();
  return std::exchange(model_, OnnxModel());
}

}  // namespace quench::networks
