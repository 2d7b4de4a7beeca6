// Values of tensors: every field and type that they may be stored in gives the same bytes.
#include <cmath>
#include <limits>
#include <numeric>

#include "formats/base/float16.h"
#include "tests/formats/onnx/test_models.h"

namespace quench {
namespace {

using namespace testing;
using onnx::TensorProto;

TensorProto tensor_of(int32_t dtype, std::vector<int64_t> dims) {
  TensorProto tensor;
  tensor.set_name("w");
  tensor.set_data_type(dtype);
  tensor.mutable_dims()->Assign(dims.begin(), dims.end());
  return tensor;
}

// The raw bytes that the loader finds, whether or not the tensor is small enough to stay in the proto.
std::string loaded_raw(const TensorProto& tensor) {
  std::string result;
  for (const uint64_t inline_bytes : {0, 1024}) {
    const OnnxModel model = load_proto(model_with(tensor), {.inline_bytes = inline_bytes});
    EXPECT_EQ(model.weights.size(), 1u);
    const std::vector<std::byte> raw = read(model.weights[0]);
    const std::string text(reinterpret_cast<const char*>(raw.data()), raw.size());
    if (inline_bytes == 0) {
      EXPECT_TRUE(is_stripped(model.proto.graph().initializer(0)));
    } else {
      EXPECT_EQ(model.proto.graph().initializer(0).raw_data(), text);
      EXPECT_EQ(text, result);
    }
    result = text;
  }
  return result;
}

template <typename T>
void expect_typed_equals_raw(int32_t dtype, const std::vector<T>& values, auto add_typed) {
  TensorProto raw = tensor_of(dtype, {static_cast<int64_t>(values.size())});
  raw.set_raw_data(raw_of(values));
  TensorProto typed = tensor_of(dtype, {static_cast<int64_t>(values.size())});
  for (const T value : values) add_typed(typed, value);
  EXPECT_EQ(loaded_raw(raw), raw_of(values)) << type_name(dtype);
  EXPECT_EQ(loaded_raw(typed), raw_of(values)) << type_name(dtype);
}

TEST(OnnxValues, EveryTypedFieldEqualsRawData) {
  const auto float_data = [](TensorProto& t, float v) { t.add_float_data(v); };
  const auto double_data = [](TensorProto& t, double v) { t.add_double_data(v); };
  const auto int32_data = [](TensorProto& t, auto v) { t.add_int32_data(v); };
  const auto uint64_data = [](TensorProto& t, auto v) { t.add_uint64_data(v); };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  expect_typed_equals_raw<float>(TensorProto::FLOAT, {0.0f, -0.0f, 1.5f, nan, INFINITY, 1e-42f}, float_data);
  expect_typed_equals_raw<double>(TensorProto::DOUBLE, {0.1, -1e300, 5e-324}, double_data);
  expect_typed_equals_raw<int8_t>(TensorProto::INT8, {-128, -1, 0, 127}, int32_data);
  expect_typed_equals_raw<uint8_t>(TensorProto::UINT8, {0, 128, 255}, int32_data);
  expect_typed_equals_raw<int16_t>(TensorProto::INT16, {-32768, -2, 32767}, int32_data);
  expect_typed_equals_raw<uint16_t>(TensorProto::UINT16, {0, 65535}, int32_data);
  expect_typed_equals_raw<int32_t>(TensorProto::INT32, {INT32_MIN, -1, 0, INT32_MAX}, int32_data);
  expect_typed_equals_raw<uint8_t>(TensorProto::BOOL, {0, 1, 1}, int32_data);
  expect_typed_equals_raw<uint16_t>(TensorProto::FLOAT16, {0x0000, 0x8000, 0x3C00, 0xFFFF}, int32_data);
  expect_typed_equals_raw<uint16_t>(TensorProto::BFLOAT16, {0x3F80, 0xFF80}, int32_data);
  expect_typed_equals_raw<int64_t>(TensorProto::INT64, {INT64_MIN, -1, 0, INT64_MAX},
                                   [](TensorProto& t, int64_t v) { t.add_int64_data(v); });
  expect_typed_equals_raw<uint32_t>(TensorProto::UINT32, {0, UINT32_MAX}, uint64_data);
  expect_typed_equals_raw<uint64_t>(TensorProto::UINT64, {0, UINT64_MAX}, uint64_data);
}

TEST(OnnxValues, ComplexNumbersTakeTwoEntries) {
  TensorProto tensor = tensor_of(TensorProto::COMPLEX64, {2});
  for (const float value : {1.0f, 2.0f, 3.0f, 4.0f}) tensor.add_float_data(value);
  EXPECT_EQ(loaded_raw(tensor), raw_of<float>({1, 2, 3, 4}));
}

TEST(OnnxValues, FourBitElementsShareAnEntry) {
  constexpr int32_t kInt4 = 22;
  TensorProto tensor = tensor_of(kInt4, {3});
  tensor.add_int32_data(0x21);
  tensor.add_int32_data(0x03);
  EXPECT_EQ(loaded_raw(tensor), "\x21\x03");
}

// protobuf must accept both; serializers of other languages and hand-made files write either, even mixed.
TEST(OnnxValues, PackedAndUnpackedFieldsMayBeMixed) {
  std::string tensor("\x08\x03\x10\x07\x42\x01w", 7);        // dims 3, INT64, name "w"
  tensor += std::string("\x38\x05\x3A\x01\x06\x38\x07", 7);  // int64_data: 5, packed [6], 7
  std::string graph = "\x2A" + std::string(1, static_cast<char>(tensor.size())) + tensor;
  std::string model = "\x3A" + std::string(1, static_cast<char>(graph.size())) + graph;
  const OnnxModel loaded = load_bytes(std::as_bytes(std::span(model)), "test.onnx");
  EXPECT_EQ(values_of<int64_t>(loaded.weights.at(0)), (std::vector<int64_t>{5, 6, 7}));
}

TEST(OnnxValues, ReadFloatWidensEveryFloatType) {
  const std::vector<float> values = {0.0f, 1.0f, -2.5f, 0.333251953125f, INFINITY};  // exact in float16
  for (const int32_t dtype : {TensorProto::FLOAT, TensorProto::FLOAT16, TensorProto::DOUBLE}) {
    TensorProto tensor = tensor_of(dtype, {5});
    const std::vector<std::byte> raw = from_float(dtype, values);
    tensor.set_raw_data(raw.data(), raw.size());
    EXPECT_EQ(read_float(load_proto(model_with(tensor)).weights.at(0)), values) << type_name(dtype);
  }
  TensorProto bfloat = tensor_of(TensorProto::BFLOAT16, {2});
  bfloat.add_int32_data(0x4049);
  bfloat.add_int32_data(0xBF80);
  EXPECT_EQ(read_float(load_proto(model_with(bfloat)).weights.at(0)), (std::vector<float>{3.140625f, -1.0f}));
}

TEST(OnnxValues, ReadFloatRefusesIntegers) {
  TensorProto tensor = tensor_of(TensorProto::INT32, {1});
  tensor.add_int32_data(1);
  const OnnxModel model = load_proto(model_with(tensor));
  EXPECT_TRUE(contains(error_of([&] { read_float(model.weights.at(0)); }), "'w' is of type int32"));
}

TEST(OnnxValues, ScaledSourceMultipliesSlices) {
  TensorProto tensor = tensor_of(TensorProto::FLOAT, {2, 3, 2});
  for (int i = 0; i < 12; ++i) tensor.add_float_data(static_cast<float>(i));
  const OnnxModel model = load_proto(model_with(tensor));
  for (const size_t axis : {0, 1, 2}) {
    Weight scaled = model.weights[0];
    std::vector<double> factors(static_cast<size_t>(scaled.dims[axis]));
    std::iota(factors.begin(), factors.end(), 0.5);
    scaled.source = scaled_source(scaled, factors, axis);
    const std::vector<float> values = read_float(scaled);
    for (size_t i = 0; i < 12; ++i) {
      const size_t index[] = {i / 6, i / 2 % 3, i % 2};
      EXPECT_EQ(values[i], static_cast<float>(i) * static_cast<float>(factors[index[axis]])) << axis << " " << i;
    }
  }
  EXPECT_TRUE(contains(error_of([&] { scaled_source(model.weights[0], {1, 2}, 1); }), "2 factors do not fit axis 1"));
}

TEST(OnnxValues, ScaledSourceKeepsTheType) {
  TensorProto tensor = tensor_of(TensorProto::FLOAT16, {2});
  tensor.add_int32_data(0x3C00);  // 1
  tensor.add_int32_data(0x4000);  // 2
  Weight scaled = load_proto(model_with(tensor)).weights.at(0);
  scaled.source = scaled_source(scaled, {3, 0.25}, 0);
  EXPECT_EQ(values_of<uint16_t>(scaled), (std::vector<uint16_t>{0x4200, 0x3800}));
}

TEST(OnnxValues, WeightsOfNestedGraphsAreFoundAndNamed) {
  const OnnxModel model = load_text(kNestedGraph);
  std::vector<std::string> names;
  std::vector<float> first;
  for (const Weight& weight : model.weights) {
    names.push_back(weight.name);
    first.push_back(read_float(weight).at(0));
    EXPECT_EQ(weight_index(*weight.tensor), static_cast<int64_t>(names.size()) - 1);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"constant", "then_weight", "else_constant", "weight_a", "weight_b"}));
  EXPECT_EQ(first, (std::vector<float>{7, 9, 11, 1, 5}));
}

TEST(OnnxValues, TensorsAreNumberedInTheOrderOfTheirBytes) {
  onnx::ModelProto proto = parse_text(kNestedGraph);
  onnx::GraphProto& graph = *proto.mutable_graph();
  const auto fill = [](TensorProto* tensor) {
    tensor->set_data_type(TensorProto::FLOAT);
    tensor->add_dims(1);
  };
  onnx::SparseTensorProto* sparse = graph.add_sparse_initializer();
  fill(sparse->mutable_indices());
  fill(sparse->mutable_values());
  onnx::AttributeProto* attribute = graph.mutable_node(0)->add_attribute();
  fill(attribute->mutable_sparse_tensor()->mutable_values());
  fill(attribute->add_sparse_tensors()->mutable_values());
  fill(attribute->add_graphs()->add_initializer());
  fill(attribute->add_tensors());
  fill(attribute->mutable_t());
  fill(proto.add_training_info()->mutable_algorithm()->add_initializer());
  fill(proto.mutable_training_info(0)->mutable_initialization()->add_initializer());
  fill(proto.add_functions()->add_node()->add_attribute()->mutable_t());
  size_t count = 0;
  for_each_tensor(proto, [&](TensorProto& tensor, const TensorPlace&) {
    tensor.set_name("tensor" + std::to_string(100 + count++));
  });
  EXPECT_EQ(count, 15u);
  const std::string bytes = proto.SerializeAsString();
  size_t previous = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t position = bytes.find("tensor" + std::to_string(100 + i));
    ASSERT_NE(position, std::string::npos);
    EXPECT_GT(position, previous) << i;
    previous = position;
  }
}

TEST(OnnxValues, EmptyAndStringTensorsHaveNoWeight) {
  TensorProto empty = tensor_of(TensorProto::FLOAT, {0, 3});
  EXPECT_TRUE(load_proto(model_with(empty)).weights.empty());
  TensorProto text = tensor_of(TensorProto::STRING, {2});
  text.add_string_data("one");
  text.add_string_data("two");
  // A mark that only the loader may set.
  text.add_external_data()->set_key("location");
  text.mutable_external_data(0)->set_value("#0");
  const OnnxModel model = load_proto(model_with(text));
  EXPECT_TRUE(model.weights.empty());
  EXPECT_EQ(weight_index(model.proto.graph().initializer(0)), -1);
  EXPECT_EQ(model.proto.graph().initializer(0).string_data(1), "two");
}

TEST(OnnxValues, ReindexFollowsTheProto) {
  OnnxModel model = load_text(kNestedGraph);
  model.proto.mutable_graph()->mutable_initializer()->DeleteSubrange(0, 1);
  *model.proto.mutable_graph()->add_initializer() = *model.weights[1].tensor;  // then_weight, a second time
  model.reindex();
  ASSERT_EQ(model.weights.size(), 5u);
  EXPECT_EQ(model.weights[3].name, "weight_b");
  EXPECT_EQ(model.weights[4].name, "then_weight");
  EXPECT_EQ(read_float(model.weights[4]), read_float(model.weights[1]));
}

TEST(OnnxValues, CloneIsIndependent) {
  OnnxModel model = load_text(kNestedGraph);
  OnnxModel copy = model.clone();
  const int64_t dims[] = {1};
  set_weight(copy, *copy.weights[0].tensor, TensorProto::FLOAT, dims, owned_source(std::vector<std::byte>(4)));
  copy.reindex();
  EXPECT_EQ(read_float(copy.weights[0]), std::vector<float>{0});
  EXPECT_EQ(read_float(model.weights[0]), (std::vector<float>{7, 8}));
}

}  // namespace
}  // namespace quench
