// Runs one kernel on its own, without a plan: for what a graph cannot ask for, such as a layout or running in place.
// Every buffer has exactly the bytes that it needs, so that AddressSanitizer sees the first byte too many.
//
//     DirectNode node("MaxPool", 13, {ints_of("kernel_shape", {2, 2})}, {Value::of({1, 1, 4, 4}, pixels)});
//     ASSERT_TRUE(node.infer().ok());
//     ASSERT_TRUE(node.run().ok());
//     node.output(0).values<float>();
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "runtime/kernels/registry.h"

namespace quench::rt {

struct FreeAligned {
  void operator()(void* memory) const { ::operator delete (memory, std::align_val_t{kAlignment}); }
};
using AlignedBytes = std::unique_ptr<void, FreeAligned>;

inline AlignedBytes allocate_aligned(int64_t bytes) {
  return AlignedBytes(::operator new (static_cast<size_t>(bytes), std::align_val_t{kAlignment}));
}

template <typename T>
constexpr ElementType element_type() {
  if constexpr (std::is_same_v<T, float>) return ElementType::kFloat32;
  if constexpr (std::is_same_v<T, uint8_t>) return ElementType::kUint8;
  if constexpr (std::is_same_v<T, int8_t>) return ElementType::kInt8;
  if constexpr (std::is_same_v<T, uint16_t>) return ElementType::kUint16;
  if constexpr (std::is_same_v<T, int16_t>) return ElementType::kInt16;
  if constexpr (std::is_same_v<T, uint32_t>) return ElementType::kUint32;
  if constexpr (std::is_same_v<T, uint64_t>) return ElementType::kUint64;
  if constexpr (std::is_same_v<T, int32_t>) return ElementType::kInt32;
  if constexpr (std::is_same_v<T, int64_t>) return ElementType::kInt64;
  if constexpr (std::is_same_v<T, bool>) return ElementType::kBool;
  return ElementType::kUndefined;
}

// A row-major tensor by value.
struct Value {
  ElementType type = ElementType::kFloat32;
  Shape shape;
  std::vector<std::byte> bytes;

  template <typename T>
  static Value of(Shape shape, const std::vector<T>& values) {
    Value value;
    value.type = element_type<T>();
    value.shape = shape;
    for (const T element : values) {
      const auto* begin = reinterpret_cast<const std::byte*>(&element);
      value.bytes.insert(value.bytes.end(), begin, begin + sizeof element);
    }
    EXPECT_EQ(static_cast<size_t>(shape.elements()), values.size());
    return value;
  }
  static Value truths(Shape shape, const std::vector<uint8_t>& values) {
    Value value = of(shape, values);
    value.type = ElementType::kBool;
    return value;
  }
  static Value scalar(float value) { return of<float>({}, {value}); }
  static Value indices(const std::vector<int64_t>& values) {
    return of<int64_t>({static_cast<int64_t>(values.size())}, values);
  }
  // Values in [-2, 2].
  static Value random(Shape shape, uint32_t seed) {
    std::mt19937 engine(seed);
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    for (float& value : values) value = static_cast<float>(engine() % 4001) / 1000 - 2;
    return of(shape, values);
  }

  template <typename T>
  std::vector<T> values() const {
    EXPECT_EQ(type, element_type<T>());
    std::vector<T> result;
    for (size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
      T element;
      std::memcpy(&element, bytes.data() + i, sizeof(T));
      result.push_back(element);
    }
    return result;
  }
  bool operator==(const Value& other) const {
    return type == other.type && shape == other.shape && bytes == other.bytes;
  }
};

struct TestAttribute {
  std::string name;
  int32_t type = 0;
  float f = 0;
  int64_t i = 0;
  std::string s;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string_view> strings = {};
};

inline TestAttribute int_of(std::string name, int64_t value) { return {name, Attribute::kInt, 0, value, "", {}, {}}; }
inline TestAttribute float_of(std::string name, float value) { return {name, Attribute::kFloat, value, 0, "", {}, {}}; }
inline TestAttribute string_of(std::string name, std::string value) {
  return {name, Attribute::kString, 0, 0, value, {}, {}};
}
inline TestAttribute ints_of(std::string name, std::vector<int64_t> values) {
  return {name, Attribute::kInts, 0, 0, "", {}, values};
}
inline TestAttribute floats_of(std::string name, std::vector<float> values) {
  return {name, Attribute::kFloats, 0, 0, "", values, {}};
}
inline TestAttribute strings_of(std::string name, std::vector<std::string_view> values) {
  return {name, Attribute::kStrings, 0, 0, "", {}, {}, values};
}

// "com.microsoft.QLinearAdd", or, without a domain, one of ONNX's own.
inline const Kernel* find_reference_kernel(std::string_view op, int opset) {
  const size_t dot = op.rfind('.');
  const std::string_view domain = dot == std::string_view::npos ? "" : op.substr(0, dot);
  return find_kernel(domain, op.substr(dot + 1), opset, KernelSet::kReference);
}

class DirectNode {
 public:
  // Inputs may be omitted; every one that is there counts as a constant, unless its bit is taken out of `constants`.
  DirectNode(const Kernel* kernel, int opset, std::vector<TestAttribute> attributes,
             std::vector<std::optional<Value>> inputs, int outputs = 1, uint32_t constants = kAllInputs)
      : kernel_(kernel), test_attributes_(std::move(attributes)), values_(std::move(inputs)), constants_(constants) {
    for (const TestAttribute& from : test_attributes_) {
      Attribute attribute;
      attribute.name = from.name;
      attribute.type = from.type;
      attribute.f = from.f;
      attribute.i = from.i;
      attribute.s = from.s;
      attribute.floats = from.floats;
      attribute.ints = from.ints;
      attribute.strings = from.strings;
      attributes_.push_back(attribute);
    }
    for (const auto& value : values_) {
      Tensor tensor;
      if (value) {
        tensor.type = value->type;
        tensor.shape = value->shape;
        input_memory_.push_back(allocate_aligned(static_cast<int64_t>(value->bytes.size())));
        std::copy(value->bytes.begin(), value->bytes.end(), static_cast<std::byte*>(input_memory_.back().get()));
      } else {
        input_memory_.push_back(nullptr);
      }
      inputs_.push_back(tensor);
    }
    outputs_.resize(static_cast<size_t>(outputs));
    for (size_t i = 0; i < inputs_.size(); ++i) input_pointers_.push_back(values_[i] ? &inputs_[i] : nullptr);
    for (Tensor& tensor : outputs_) output_pointers_.push_back(&tensor);
    opset_ = opset;
    state_ = allocate_aligned(kernel ? kernel->state_bytes : 0);
    if (kernel) std::memset(state_.get(), 0, static_cast<size_t>(kernel->state_bytes));
  }
  DirectNode(std::string_view op, int opset, std::vector<TestAttribute> attributes,
             std::vector<std::optional<Value>> inputs, int outputs = 1, uint32_t constants = kAllInputs)
      : DirectNode(find_reference_kernel(op, opset), opset, std::move(attributes), std::move(inputs), outputs,
                   constants) {}

  Status infer() {
    if (!kernel_) return Status(StatusCode::kUnsupportedOperator);
    InferContext context;
    fill(context);
    context.constant_inputs_ = constants_;
    context.value_user_ = this;
    context.value_function_ = [](void* user, int index) -> const Tensor* {
      auto& node = *static_cast<DirectNode*>(user);
      const auto at = static_cast<size_t>(index);
      if (index < 0 || at >= node.values_.size() || !node.values_[at]) return nullptr;
      if (index >= 32 || (node.constants_ >> index & 1) == 0) return nullptr;
      node.inputs_[at].data = node.input_memory_[at].get();
      return &node.inputs_[at];
    };
    context.layout_ = kernel_->layout;
    const Status status = kernel_->infer(context);
    scratch_bytes_ = context.scratch_bytes_;
    return status;
  }

  // After infer. `in_place`: output 0 lies in this input's memory.
  Status run(Layout layout = Layout::kRowMajor, int in_place = -1) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (!values_[i]) continue;
      inputs_[i].data = input_memory_[i].get();
      const bool takes_part = i >= 32 || (kernel_->layout_inputs >> i & 1) != 0;
      inputs_[i].layout = takes_part && inputs_[i].shape.rank == 4 ? layout : Layout::kRowMajor;
      copy_layout(inputs_[i], values_[i]->bytes.data(), false);
    }
    output_memory_.clear();
    for (Tensor& tensor : outputs_) {
      tensor.layout = tensor.shape.rank == 4 ? layout : Layout::kRowMajor;
      output_memory_.push_back(allocate_aligned(tensor.bytes()));
      tensor.data = output_memory_.back().get();
    }
    if (in_place >= 0) outputs_[0].data = inputs_[static_cast<size_t>(in_place)].data;
    RunContext context;
    fill(context);
    const AlignedBytes scratch = allocate_aligned(scratch_bytes_);
    context.scratch_ = scratch.get();
    return kernel_->run(context);
  }

  // After infer, or after run.
  const Tensor& output_tensor(int index) const { return outputs_[static_cast<size_t>(index)]; }
  int64_t scratch_bytes() const { return scratch_bytes_; }
  // After run.
  Value output(int index) const {
    const Tensor& tensor = outputs_[static_cast<size_t>(index)];
    Value value;
    value.type = tensor.type;
    value.shape = tensor.shape;
    value.bytes.resize(static_cast<size_t>(tensor.bytes()));
    copy_layout(tensor, value.bytes.data(), true);
    return value;
  }
  const Kernel* kernel() const { return kernel_; }

 private:
  void fill(NodeContext& context) {
    context.attributes_ = Attributes(attributes_);
    context.opset_ = opset_;
    context.inputs_ = input_pointers_;
    context.outputs_ = output_pointers_;
    context.state_ = state_.get();
  }

  // Between row-major bytes and the tensor's own layout.
  static void copy_layout(const Tensor& tensor, const void* bytes, bool out) {
    int64_t from[kMaxRank] = {};
    int64_t to[kMaxRank] = {};
    compute_strides(tensor.shape, Layout::kRowMajor, from);
    compute_strides(tensor.shape, tensor.layout, to);
    const auto size = static_cast<size_t>(size_of(tensor.type));
    char* plain = const_cast<char*>(static_cast<const char*>(bytes));
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      int64_t offset = 0;
      for (int axis = 0; axis < tensor.shape.rank; ++axis) {
        offset += i / from[axis] % tensor.shape[axis] * to[axis];
      }
      char* own = tensor.as<char>() + offset * static_cast<int64_t>(size);
      char* row_major = plain + i * static_cast<int64_t>(size);
      std::memcpy(out ? row_major : own, out ? own : row_major, size);
    }
  }

  const Kernel* kernel_;
  int opset_;
  std::vector<TestAttribute> test_attributes_;
  std::vector<Attribute> attributes_;
  std::vector<std::optional<Value>> values_;
  uint32_t constants_;
  std::vector<Tensor> inputs_;
  std::vector<Tensor> outputs_;
  std::vector<const Tensor*> input_pointers_;
  std::vector<Tensor*> output_pointers_;
  std::vector<AlignedBytes> input_memory_;
  std::vector<AlignedBytes> output_memory_;
  AlignedBytes state_;
  int64_t scratch_bytes_ = 0;
};

// Infers and runs; an error fails the test.
inline Value run_node(std::string_view op, int opset, std::vector<TestAttribute> attributes,
                      std::vector<std::optional<Value>> inputs) {
  DirectNode node(op, opset, std::move(attributes), std::move(inputs));
  const Status inferred = node.infer();
  EXPECT_TRUE(inferred.ok()) << op << ": " << inferred.detail();
  if (!inferred.ok()) return Value();
  const Status ran = node.run();
  EXPECT_TRUE(ran.ok()) << op << ": " << ran.detail();
  return node.output(0);
}

// What infer or run says to a node that must be refused.
inline StatusCode code_of(std::string_view op, int opset, std::vector<TestAttribute> attributes,
                          std::vector<std::optional<Value>> inputs, uint32_t constants = kAllInputs) {
  DirectNode node(op, opset, std::move(attributes), std::move(inputs), 1, constants);
  const Status status = node.infer();
  if (!status.ok()) return status.code();
  return node.run().code();
}

// The coordinates of row-major element `index`.
inline std::vector<int64_t> coordinates_of(const Shape& shape, int64_t index) {
  std::vector<int64_t> at(static_cast<size_t>(shape.rank));
  for (int axis = shape.rank - 1; axis >= 0; --axis) {
    at[static_cast<size_t>(axis)] = index % shape[axis];
    index /= shape[axis];
  }
  return at;
}

// The row-major index of the element that a tensor of `shape` shows at coordinates `at` when it is broadcast.
inline size_t broadcast_index(const Shape& shape, const std::vector<int64_t>& at) {
  int64_t index = 0;
  for (int axis = 0; axis < shape.rank; ++axis) {
    const int64_t coordinate = at[at.size() - static_cast<size_t>(shape.rank - axis)];
    index = index * shape[axis] + (shape[axis] == 1 ? 0 : coordinate);
  }
  return static_cast<size_t>(index);
}

inline void expect_near(const Value& actual, const std::vector<float>& expected, float tolerance = 1e-5f) {
  const std::vector<float> values = actual.values<float>();
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(values[i], expected[i], tolerance * (1 + std::fabs(expected[i]))) << "element " << i;
  }
}

}  // namespace quench::rt
