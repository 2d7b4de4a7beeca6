// Makes ModelProto bytes without protobuf, and runs them: for tests of the runtime and its kernels.
//
//     GraphBuilder graph(13);
//     graph.input("x", ElementType::kFloat32, {-1, 3, 8, 8});
//     graph.initializer("w", {4, 3, 3, 3}, weights);              // std::vector<float> or integers
//     graph.node("Conv", {"x", "w"}, {"y"}, {ints("pads", {1, 1, 1, 1})});
//     graph.output("y");
//     std::vector<HostTensor> outputs = run_model(graph.build(), {HostTensor::of({2, 3, 8, 8}, pixels)});
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "runtime/session/session.h"

namespace quench::rt {

template <typename T>
constexpr ElementType type_of() {
  if constexpr (std::is_same_v<T, float>) return ElementType::kFloat32;
  if constexpr (std::is_same_v<T, double>) return ElementType::kFloat64;
  if constexpr (std::is_same_v<T, uint8_t>) return ElementType::kUint8;
  if constexpr (std::is_same_v<T, int8_t>) return ElementType::kInt8;
  if constexpr (std::is_same_v<T, uint16_t>) return ElementType::kUint16;
  if constexpr (std::is_same_v<T, int16_t>) return ElementType::kInt16;
  if constexpr (std::is_same_v<T, int32_t>) return ElementType::kInt32;
  if constexpr (std::is_same_v<T, uint32_t>) return ElementType::kUint32;
  if constexpr (std::is_same_v<T, int64_t>) return ElementType::kInt64;
  if constexpr (std::is_same_v<T, uint64_t>) return ElementType::kUint64;
  if constexpr (std::is_same_v<T, bool>) return ElementType::kBool;
  return ElementType::kUndefined;
}

// A tensor that owns its values, row-major.
struct HostTensor {
  ElementType type = ElementType::kFloat32;
  std::vector<int64_t> shape;
  std::vector<uint64_t> storage;  // aligned to any element
  size_t bytes = 0;

  template <typename T>
  static HostTensor of(std::vector<int64_t> shape, const std::vector<T>& values) {
    HostTensor tensor;
    tensor.type = type_of<T>();
    tensor.shape = std::move(shape);
    tensor.resize(values.size() * sizeof(T));
    for (size_t i = 0; i < values.size(); ++i) {
      const T value = values[i];
      std::memcpy(static_cast<char*>(tensor.data()) + i * sizeof(T), &value, sizeof(T));
    }
    return tensor;
  }

  void resize(size_t count) {
    bytes = count;
    storage.assign(count / 8 + 1, 0);
  }
  void* data() { return storage.data(); }
  const void* data() const { return storage.data(); }

  template <typename T>
  std::vector<T> values() const {
    EXPECT_EQ(type, type_of<T>());
    std::vector<T> result;
    for (size_t i = 0; i + sizeof(T) <= bytes; i += sizeof(T)) {
      T value{};
      std::memcpy(&value, reinterpret_cast<const char*>(storage.data()) + i, sizeof(T));
      result.push_back(value);
    }
    return result;
  }
};

// The wire format, by hand.
class WireWriter {
 public:
  WireWriter& varint(uint32_t field, uint64_t value) {
    raw_varint(uint64_t{field} << 3);
    raw_varint(value);
    return *this;
  }
  WireWriter& fixed32(uint32_t field, float value) {
    raw_varint(uint64_t{field} << 3 | 5);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  WireWriter& bytes(uint32_t field, std::string_view value) {
    raw_varint(uint64_t{field} << 3 | 2);
    raw_varint(value.size());
    bytes_.append(value);
    return *this;
  }
  const std::string& str() const { return bytes_; }

 private:
  void raw_varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }
  std::string bytes_;
};

// TensorProto bytes; without values it is stripped.
inline std::string tensor_proto(std::string_view name, ElementType type, const std::vector<int64_t>& shape,
                                const void* raw, size_t size) {
  WireWriter tensor;
  for (int64_t dim : shape) tensor.varint(1, static_cast<uint64_t>(dim));
  tensor.varint(2, static_cast<uint64_t>(type)).bytes(8, name);
  if (raw) tensor.bytes(9, {static_cast<const char*>(raw), size});
  return tensor.str();
}

// Attributes: AttributeProto bytes.
inline std::string attribute_of_type(std::string_view name, int type, WireWriter writer) {
  return writer.bytes(1, name).varint(20, static_cast<uint64_t>(type)).str();
}
inline std::string number(std::string_view name, float value) {
  return attribute_of_type(name, 1, WireWriter().fixed32(2, value));
}
inline std::string integer(std::string_view name, int64_t value) {
  return attribute_of_type(name, 2, WireWriter().varint(3, static_cast<uint64_t>(value)));
}
inline std::string text(std::string_view name, std::string_view value) {
  return attribute_of_type(name, 3, WireWriter().bytes(4, value));
}
inline std::string numbers(std::string_view name, const std::vector<float>& values) {
  WireWriter writer;
  for (float value : values) writer.fixed32(7, value);
  return attribute_of_type(name, 6, writer);
}
inline std::string ints(std::string_view name, const std::vector<int64_t>& values) {
  WireWriter writer;
  for (int64_t value : values) writer.varint(8, static_cast<uint64_t>(value));
  return attribute_of_type(name, 7, writer);
}
template <typename T>
std::string tensor(std::string_view name, const std::vector<int64_t>& shape, const std::vector<T>& values) {
  const HostTensor host = HostTensor::of(shape, values);
  return attribute_of_type(name, 4, WireWriter().bytes(5, tensor_proto("", host.type, shape, host.data(), host.bytes)));
}

// TypeProtos. Dimensions of -1 are dynamic.
inline std::string tensor_type(ElementType type, const std::vector<int64_t>* shape = nullptr) {
  WireWriter tensor;
  tensor.varint(1, static_cast<uint64_t>(type));
  if (shape) {
    WireWriter dims;
    for (int64_t dim : *shape) {
      dims.bytes(
          1, dim >= 0 ? WireWriter().varint(1, static_cast<uint64_t>(dim)).str() : WireWriter().bytes(2, "N").str());
    }
    tensor.bytes(2, dims.str());
  }
  return WireWriter().bytes(1, tensor.str()).str();
}
inline std::string sequence_type(const std::string& of) {
  return WireWriter().bytes(4, WireWriter().bytes(1, of).str()).str();
}
inline std::string optional_type(const std::string& of) {
  return WireWriter().bytes(9, WireWriter().bytes(1, of).str()).str();
}

class GraphBuilder {
 public:
  explicit GraphBuilder(int opset = 13, uint64_t ir_version = 8) : opset_(opset), ir_version_(ir_version) {}

  // Dimensions of -1 are dynamic.
  GraphBuilder& input(std::string_view name, ElementType type, const std::vector<int64_t>& shape) {
    inputs_.bytes(11, value_info(name, type, &shape));
    return *this;
  }
  template <typename T>
  GraphBuilder& initializer(std::string_view name, const std::vector<int64_t>& shape, const std::vector<T>& values) {
    const HostTensor host = HostTensor::of(shape, values);
    initializers_.bytes(5, tensor_proto(name, host.type, shape, host.data(), host.bytes));
    return *this;
  }
  GraphBuilder& raw_initializer(std::string_view tensor_proto_bytes) {
    initializers_.bytes(5, tensor_proto_bytes);
    return *this;
  }
  GraphBuilder& stripped(std::string_view name, ElementType type, const std::vector<int64_t>& shape) {
    initializers_.bytes(5, tensor_proto(name, type, shape, nullptr, 0));
    return *this;
  }
  GraphBuilder& node(std::string_view op, const std::vector<std::string>& inputs,
                     const std::vector<std::string>& outputs, const std::vector<std::string>& attributes = {},
                     std::string_view name = "", std::string_view domain = "") {
    WireWriter node;
    for (const std::string& input : inputs) node.bytes(1, input);
    for (const std::string& output : outputs) node.bytes(2, output);
    if (!name.empty()) node.bytes(3, name);
    node.bytes(4, op);
    for (const std::string& attribute : attributes) node.bytes(5, attribute);
    if (!domain.empty()) node.bytes(7, domain);
    nodes_.bytes(1, node.str());
    return *this;
  }
  GraphBuilder& output(std::string_view name, ElementType type = ElementType::kFloat32) {
    outputs_.bytes(12, value_info(name, type, nullptr));
    return *this;
  }

  // Of another type than a tensor.
  GraphBuilder& typed_input(std::string_view name, const std::string& type) {
    inputs_.bytes(11, WireWriter().bytes(1, name).bytes(2, type).str());
    return *this;
  }
  GraphBuilder& typed_output(std::string_view name, const std::string& type) {
    outputs_.bytes(12, WireWriter().bytes(1, name).bytes(2, type).str());
    return *this;
  }

  // A subgraph's input or output, whose type nobody reads.
  GraphBuilder& input(std::string_view name) {
    inputs_.bytes(11, WireWriter().bytes(1, name).str());
    return *this;
  }

  // GraphProto
  std::string graph() const { return nodes_.str() + initializers_.str() + inputs_.str() + outputs_.str(); }

  // ModelProto {ir_version = 1, graph = 7, opset_import = 8}
  std::string build() const {
    return WireWriter()
        .varint(1, ir_version_)
        .bytes(7, graph())
        .bytes(8, WireWriter().bytes(1, "").varint(2, static_cast<uint64_t>(opset_)).str())
        .str();
  }

 private:
  static std::string value_info(std::string_view name, ElementType type, const std::vector<int64_t>* shape) {
    return WireWriter().bytes(1, name).bytes(2, tensor_type(type, shape)).str();
  }

  int opset_;
  uint64_t ir_version_;
  WireWriter nodes_, initializers_, inputs_, outputs_;
};

inline std::string subgraph(std::string_view name, const GraphBuilder& graph) {
  return attribute_of_type(name, 5, WireWriter().bytes(6, graph.graph()));
}

inline Bytes as_bytes(const std::string& bytes) { return std::as_bytes(std::span(bytes.data(), bytes.size())); }

// Inputs in, outputs out, through one session.
inline Status run_session(Session& session, const std::vector<HostTensor>& inputs, std::vector<HostTensor>* outputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    QUENCH_RETURN_IF_ERROR(session.set_input(static_cast<int>(i), inputs[i].data(), inputs[i].shape));
  }
  QUENCH_RETURN_IF_ERROR(session.run());
  outputs->clear();
  for (size_t i = 0; i < session.model().outputs().size(); ++i) {
    const Result<Tensor> tensor = session.output(static_cast<int>(i));
    QUENCH_RETURN_IF_ERROR(tensor.status());
    HostTensor host;
    host.type = tensor->type;
    host.shape.assign(tensor->shape.dims, tensor->shape.dims + tensor->shape.rank);
    host.resize(static_cast<size_t>(tensor->bytes()));
    if (host.bytes > 0) std::memcpy(host.data(), tensor->data, host.bytes);
    outputs->push_back(std::move(host));
  }
  return Status();
}

inline Status try_run_model(const std::string& bytes, const std::vector<HostTensor>& inputs,
                            std::vector<HostTensor>* outputs, const ModelOptions& model_options = {},
                            const SessionOptions& session_options = {}) {
  ModelHandle model;
  QUENCH_RETURN_IF_ERROR(open_model(as_bytes(bytes), {}, model_options, model));
  SessionHandle session;
  QUENCH_RETURN_IF_ERROR(create_session(*model, session_options, session));
  return run_session(*session, inputs, outputs);
}

// As above; an error fails the test.
inline std::vector<HostTensor> run_model(const std::string& bytes, const std::vector<HostTensor>& inputs,
                                         const ModelOptions& model_options = {},
                                         const SessionOptions& session_options = {}) {
  std::vector<HostTensor> outputs;
  const Status status = try_run_model(bytes, inputs, &outputs, model_options, session_options);
  EXPECT_TRUE(status.ok()) << status.detail();
  return outputs;
}

}  // namespace quench::rt
