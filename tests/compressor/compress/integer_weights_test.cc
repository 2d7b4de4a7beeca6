// Models that were quantized to 8 bits before: their integers are rounded to fewer, and stay integers.
#include "compressor/graph/integer_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "compressor/compress/compress.h"
#include "compressor/compress/int8_rounding.h"
#include "compressor/compress/model_check.h"
#include "compressor/compress/weight_use.h"
#include "compressor/measure/fidelity.h"
#include "compressor/measure/inspection.h"
#include "compressor/measure/seeded_inputs.h"
#include "formats/error.h"
#include "tests/compressor/compress/small_model.h"

namespace quench::quantizer {
namespace {

using onnx::TensorProto;

std::vector<float> integers_of(const Codebook& codebook, float step) {
  std::vector<float> integers;
  for (const float center : codebook.centers) integers.push_back(center * step);
  return integers;
}

TEST(IntegerCodebook, HasTheMultiplesAndTheEnds) {
  const Codebook codebook = integer_codebook(50, -127, 127);
  EXPECT_EQ(integers_of(codebook, 50), (std::vector<float>{-127, -100, -50, 0, 50, 100, 127}));
  EXPECT_EQ(codebook.zero_symbol, 3U);
  EXPECT_EQ(codebook.bits.size(), codebook.centers.size());
}

TEST(IntegerCodebook, OfUint8HasItsZeroPoint) {
  // 3 stands for 0.
  const Codebook codebook = integer_codebook(100, -3, 252);
  EXPECT_EQ(integers_of(codebook, 100), (std::vector<float>{-3, 0, 100, 200, 252}));
  EXPECT_EQ(codebook.zero_symbol, 1U);
}

TEST(IntegerCodebook, IsAllIntegersAtAStepOf1) {
  const Codebook codebook = integer_codebook(1, -128, 127);
  ASSERT_EQ(codebook.size(), 256U);
  for (size_t i = 0; i < 256; ++i) EXPECT_EQ(codebook.centers[i], static_cast<float>(i) - 128);
}

TEST(IntegerCodebook, HoldsWholeNumbersAtAnyStep) {
  const Codebook codebook = integer_codebook(2.5f, -10, 10);
  EXPECT_EQ(integers_of(codebook, 2.5f), (std::vector<float>{-10, -8, -5, -2, 0, 2, 5, 8, 10}));
  EXPECT_EQ(integer_codebook(300, 0, 200).size(), 2U);  // 0 and the end
}

TEST(Integers, ComeBackAsTheyWereAndStayInRange) {
  for (const int32_t dtype : {TensorProto::INT8, TensorProto::UINT8}) {
    std::vector<std::byte> raw;
    for (int i = 0; i < 256; ++i) raw.push_back(static_cast<std::byte>(i));
    for (const int32_t zero : {0, 3, 127}) {
      EXPECT_EQ(graph::to_integers(dtype, zero, graph::integers_to_float(dtype, zero, raw)), raw);
    }
  }
  const std::vector<float> values = {-1000, -0.6f, 0.4f, 1000};
  EXPECT_EQ(graph::integers_to_float(TensorProto::INT8, 0, graph::to_integers(TensorProto::INT8, 5, values)),
            (std::vector<float>{-128, 4, 5, 127}));
  EXPECT_EQ(graph::integers_to_float(TensorProto::UINT8, 0, graph::to_integers(TensorProto::UINT8, 5, values)),
            (std::vector<float>{0, 4, 5, 255}));
}

class Builder {
 public:
  Builder() {
    model_.set_ir_version(8);
    model_.add_opset_import()->set_version(13);
    graph().set_name("int8");
    value(*graph().add_input(), "x", {-1, 8, 8, 8});
  }

  onnx::GraphProto& graph() { return *model_.mutable_graph(); }

  onnx::ModelProto take(const std::string& output) {
    value(*graph().add_output(), output, {});
    return model_;
  }

  onnx::NodeProto& node(const char* op, const std::vector<std::string>& inputs, const std::string& output) {
    onnx::NodeProto& added = *graph().add_node();
    added.set_op_type(op);
    for (const std::string& input : inputs) added.add_input(input);
    added.add_output(output);
    return added;
  }

  static void integer(onnx::NodeProto& node, const char* name, int64_t number) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::INT);
    attribute.set_i(number);
  }

  static void pads(onnx::NodeProto& node) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name("pads");
    attribute.set_type(onnx::AttributeProto::INTS);
    for (int i = 0; i < 4; ++i) attribute.add_ints(1);
  }

  std::string scales(const std::string& name, size_t count, float scale) {
    const std::vector<float> values(count, scale);
    return tensor(name, TensorProto::FLOAT, count == 1 ? std::vector<int64_t>{} : std::vector{int64_t(count)},
                  values.data(), count * sizeof(float));
  }

  std::string zeros(const std::string& name, int32_t dtype, size_t count, int zero) {
    const std::vector<uint8_t> values(count, static_cast<uint8_t>(zero));
    return tensor(name, dtype, count == 1 ? std::vector<int64_t>{} : std::vector{int64_t(count)}, values.data(), count);
  }

  // Of a normal distribution around `zero`, some at the ends of the range.
  std::string integers(const std::string& name, int32_t dtype, const std::vector<int64_t>& dims, int zero) {
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    std::normal_distribution<double> normal(zero, 40);
    const int least = dtype == TensorProto::INT8 ? -127 : 0, most = least == 0 ? 255 : 127;
    std::vector<uint8_t> values;
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(static_cast<uint8_t>(std::clamp(static_cast<int>(std::lround(normal(random_))), least, most)));
    }
    return tensor(name, dtype, dims, values.data(), values.size());
  }

 private:
  static void value(onnx::ValueInfoProto& info, const std::string& name, const std::vector<int64_t>& dims) {
    info.set_name(name);
    auto& type = *info.mutable_type()->mutable_tensor_type();
    type.set_elem_type(TensorProto::FLOAT);
    for (const int64_t dim : dims) {
      auto& added = *type.mutable_shape()->add_dim();
      dim < 0 ? added.set_dim_param("N") : added.set_dim_value(dim);
    }
  }

  std::string tensor(const std::string& name, int32_t dtype, const std::vector<int64_t>& dims, const void* values,
                     size_t bytes) {
    TensorProto& added = *graph().add_initializer();
    added.set_name(name);
    added.set_data_type(dtype);
    for (const int64_t dim : dims) added.add_dims(dim);
    added.set_raw_data(values, bytes);
    return name;
  }

  onnx::ModelProto model_;
  std::mt19937_64 random_{7};
};

// Conv, Conv and Gemm behind DequantizeLinear, the last of uint8 around 130.
onnx::ModelProto dequantized_model() {
  Builder builder;
  const auto dequantize = [&](const std::string& weight, const std::vector<std::string>& parameters, int64_t axis) {
    std::vector<std::string> inputs = {weight};
    inputs.insert(inputs.end(), parameters.begin(), parameters.end());
    Builder::integer(builder.node("DequantizeLinear", inputs, weight + ".real"), "axis", axis);
    return weight + ".real";
  };
  const std::string first = builder.integers("first", TensorProto::INT8, {32, 8, 3, 3}, 0);
  Builder::pads(builder.node("Conv", {"x", dequantize(first, {builder.scales("s1", 32, 0.003f)}, 0)}, "a"));
  builder.node("Relu", {"a"}, "b");
  const std::string second = builder.integers("second", TensorProto::INT8, {32, 32, 1, 1}, 0);
  const std::string zeros = builder.zeros("z2", TensorProto::INT8, 32, 0);
  builder.node("Conv", {"b", dequantize(second, {builder.scales("s2", 32, 0.004f), zeros}, 0)}, "c");
  builder.node("GlobalAveragePool", {"c"}, "d");
  builder.node("Flatten", {"d"}, "e");
  const std::string third = builder.integers("third", TensorProto::UINT8, {32, 40}, 130);
  const std::string zero = builder.zeros("z3", TensorProto::UINT8, 1, 130);
  builder.node("Gemm", {"e", dequantize(third, {builder.scales("s3", 1, 0.005f), zero}, 1)}, "y");
  return builder.take("y");
}

// Two convolutions of integers.
onnx::ModelProto integer_model() {
  Builder builder;
  const std::string scale = builder.scales("s", 1, 0.03f), zero = builder.zeros("z", TensorProto::UINT8, 1, 128);
  builder.node("QuantizeLinear", {"x", scale, zero}, "a");
  const std::string none = builder.zeros("none", TensorProto::INT8, 32, 0);
  const std::string first = builder.integers("first", TensorProto::INT8, {32, 8, 3, 3}, 0);
  const std::string second = builder.integers("second", TensorProto::INT8, {32, 32, 3, 3}, 0);
  Builder::pads(
      builder.node("QLinearConv", {"a", scale, zero, first, builder.scales("s1", 32, 0.003f), none, scale, zero}, "b"));
  Builder::pads(builder.node("QLinearConv",
                             {"b", scale, zero, second, builder.scales("s2", 32, 0.0015f), none, scale, zero}, "c"));
  builder.node("DequantizeLinear", {"c", scale, zero}, "y");
  return builder.take("y");
}

class IntegerWeightsTest : public testing::Test {
 protected:
  CompressReport compress_to(const char* name, const onnx::ModelProto& proto, const CompressOptions& options) {
    write_model(folder_ / "model.onnx", proto);
    CompressOptions named = options;
    named.keep_names = true;
    const CompressReport report = compress(folder_ / "model.onnx", folder_ / name, named);
    unpack(folder_ / name, folder_ / "again.onnx");
    return report;
  }

  // Of the unpacked model, on inputs that calibration has not seen.
  double output_snr() const {
    const auto outputs = [&](const char* name) {
      const OnnxModel model = load(folder_ / name);
      return graph::Evaluator(model).run(measure::SeededInputs(model, {.batch = 32}, 99).draw(0));
    };
    measure::Fidelity fidelity;
    fidelity.add(outputs("model.onnx"), outputs("again.onnx"));
    return fidelity.snr_db().value();
  }

  // Of the weight in the model and in what unpack gave back.
  bool is_same(const std::string& name) const {
    return read(weight_named(load(folder_ / "model.onnx"), name)) ==
           read(weight_named(load(folder_ / "again.onnx"), name));
  }

  static const Weight& weight_named(const OnnxModel& model, const std::string& name) {
    for (const Weight& weight : model.weights) {
      if (weight.name == name) return weight;
    }
    throw Error::make("there is no '{}'", name);
  }

  // The weights of 1,024 integers and up take at most 60 % of their bytes together, and are of their type still.
  void expect_smaller(const CompressReport& report) const {
    const OnnxModel before = load(folder_ / "model.onnx"), after = load(folder_ / "again.onnx");
    int large = 0;
    double bytes = 0, bytes_before = 0;
    for (const TensorReport& tensor : report.tensors) {
      if (tensor.elements < 1024) continue;
      ++large;
      EXPECT_EQ(tensor.method, TensorMethod::kIntegers) << tensor.name;
      bytes += static_cast<double>(tensor.bytes_after);
      bytes_before += static_cast<double>(tensor.bytes_before);
      EXPECT_LT(tensor.centers, 128U) << tensor.name;
      EXPECT_GT(tensor.snr_db, 20) << tensor.name;
      const Weight& own = weight_named(before, tensor.name);
      const Weight& unpacked = weight_named(after, tensor.name);
      EXPECT_EQ(unpacked.dtype, own.dtype) << tensor.name;
      EXPECT_EQ(unpacked.dims, own.dims) << tensor.name;
    }
    EXPECT_GE(large, 2);
    EXPECT_LE(bytes, 0.6 * bytes_before);
  }

  TemporaryFolder folder_;
};

TEST_F(IntegerWeightsTest, BehindDequantizationAreRoundedToFewer) {
  const CompressReport report = compress_to("out.quench", dequantized_model(), {});
  ASSERT_TRUE(report.calibrated);
  expect_smaller(report);
  EXPECT_GE(output_snr(), 25);
  EXPECT_GE(output_snr(), report.predicted_snr_db - 3);
}

TEST_F(IntegerWeightsTest, OfConvolutionsOfIntegersAreRoundedToFewer) {
  const CompressReport report = compress_to("out.quench", integer_model(), {});
  ASSERT_TRUE(report.calibrated);
  expect_smaller(report);
  EXPECT_GE(output_snr(), 20);
  EXPECT_GE(output_snr(), report.predicted_snr_db - 3);
}

TEST_F(IntegerWeightsTest, LowerQualitiesAreSmallerAndLosslessIsExact) {
  CompressOptions options;
  uint64_t previous = UINT64_MAX;
  for (const Quality quality : {Quality::kLossless, Quality::kTransparent, Quality::kBalanced, Quality::kSmall}) {
    options.quality = quality;
    const CompressReport report = compress_to("out.quench", integer_model(), options);
    EXPECT_LT(report.output_bytes, previous);
    previous = report.output_bytes;
    EXPECT_EQ(is_same("second"), quality == Quality::kLossless);
  }
}

TEST_F(IntegerWeightsTest, PatternsChooseWhatIsRounded) {
  CompressOptions options;
  options.exclude = {"sec*"};
  compress_to("out.quench", integer_model(), options);
  EXPECT_TRUE(is_same("second"));
  EXPECT_FALSE(is_same("first"));
  options.exclude.clear();
  options.include = {"second"};
  compress_to("out.quench", integer_model(), options);
  EXPECT_FALSE(is_same("second"));
  EXPECT_TRUE(is_same("first"));
}

TEST_F(IntegerWeightsTest, CountWhereASizeIsAskedFor) {
  CompressOptions options;
  options.bits = 4;
  const CompressReport report = compress_to("out.quench", integer_model(), options);
  EXPECT_LE(report.bits_per_weight, 4);
  EXPECT_GE(report.bits_per_weight, 3.6);
  const double weights = 32 * 8 * 9 + 32 * 32 * 9 + 2 * 32 + 1;  // and scales
  EXPECT_NEAR(8 * static_cast<double>(report.output_bytes) / weights, report.bits_per_weight, 0.1);
}

TEST_F(IntegerWeightsTest, AreSaidToBeRounded) {
  write_model(folder_ / "model.onnx", integer_model());
  std::map<std::string, CheckedWeight> weights;
  for (const CheckedWeight& weight : check_model(folder_ / "model.onnx").weights) weights[weight.name] = weight;
  EXPECT_TRUE(weights["second"].is_quantized);
  EXPECT_EQ(weights["second"].reason, "quantized to fewer integers");
  EXPECT_FALSE(weights["none"].is_quantized);

  const CompressReport report = compress_to("out.quench", integer_model(), {});
  int found = 0;
  for (const measure::InspectedTensor& tensor : measure::inspect(folder_ / "out.quench").tensors) {
    const auto same = [&](const TensorReport& reported) { return reported.name == tensor.name; };
    const auto reported = std::ranges::find_if(report.tensors, same);
    if (tensor.type != "int8" || reported->method != TensorMethod::kIntegers) continue;
    EXPECT_EQ(tensor.centers, reported->centers) << tensor.name;
    ++found;
    EXPECT_NEAR(tensor.entropy.value_or(0), reported->entropy, 1e-6) << tensor.name;
  }
  EXPECT_EQ(found, 2);
}

// Their zeros, by name.
std::map<std::string, std::optional<int32_t>> zeros_of(const onnx::ModelProto& proto) {
  const std::string bytes = proto.SerializeAsString();
  const OnnxModel model = load_bytes(std::as_bytes(std::span(bytes)), "model");
  const std::vector<std::optional<int32_t>> zeros = graph::integer_weights(model);
  std::map<std::string, std::optional<int32_t>> named;
  for (size_t w = 0; w < zeros.size(); ++w) named[model.weights[w].name] = zeros[w];
  return named;
}

TEST(IntegerWeights, AreThoseThatAnOperatorMultiplies) {
  auto zeros = zeros_of(dequantized_model());
  EXPECT_EQ(zeros["first"], 0);
  EXPECT_EQ(zeros["third"], 130);
  EXPECT_EQ(zeros["z2"], std::nullopt);
  EXPECT_EQ(zeros_of(integer_model())["second"], 0);
}

TEST(IntegerWeights, OfEveryOperatorThatMultipliesIntegers) {
  const std::vector<std::vector<std::string>> nodes = {
      {"", "ConvInteger", "x", "w", "xz", "wz"},
      {"", "MatMulInteger", "x", "w", "xz", "wz"},
      {"", "QLinearConv", "x", "s", "xz", "w", "s", "wz", "s", "xz"},
      {"", "QLinearMatMul", "x", "s", "xz", "w", "s", "wz", "s", "xz"},
      {"com.microsoft", "QGemm", "x", "s", "xz", "w", "s", "wz"},
      {"com.microsoft", "MatMulIntegerToFloat", "x", "w", "s", "s", "xz", "wz"},
      {"com.microsoft", "DynamicQuantizeMatMul", "x", "w", "s", "wz"},
  };
  for (const std::vector<std::string>& inputs : nodes) {
    Builder builder;
    builder.scales("s", 1, 0.01f);
    builder.zeros("xz", TensorProto::UINT8, 1, 100);
    builder.zeros("wz", TensorProto::UINT8, 1, 30);
    const bool is_matrix = inputs[1].find("Conv") == std::string::npos;
    builder.integers("w", TensorProto::UINT8,
                     is_matrix ? std::vector<int64_t>{8, 64} : std::vector<int64_t>{8, 8, 3, 3}, 30);
    builder.node(inputs[1].c_str(), {inputs.begin() + 2, inputs.end()}, "y").set_domain(inputs[0]);
    const onnx::ModelProto proto = builder.take("y");
    EXPECT_EQ(zeros_of(proto)["w"], 30) << inputs[1];
    const std::string bytes = proto.SerializeAsString();
    const OnnxModel model = load_bytes(std::as_bytes(std::span(bytes)), "model");
    const std::vector<WeightUse> uses = find_weight_uses(model);
    ASSERT_EQ(uses.size(), 1U) << inputs[1];
    EXPECT_EQ(uses[0].activation, "x") << inputs[1];
    EXPECT_EQ(uses[0].activation_zero, inputs[1] == "DynamicQuantizeMatMul" ? 0 : 100) << inputs[1];
    EXPECT_EQ(uses[0].view.rows, is_matrix ? 64 : 8) << inputs[1];
  }
}

TEST(IntegerWeights, MultiplyWhatIsQuantizedDynamically) {
  Builder builder;
  onnx::NodeProto& dynamic = builder.node("DynamicQuantizeLinear", {"x"}, "a");
  for (const char* output : {"scale", "zero"}) dynamic.add_output(output);
  builder.integers("w", TensorProto::INT8, {8, 64}, 0);
  builder.node("MatMulInteger", {"a", "w", "zero"}, "y");
  const std::string bytes = builder.take("y").SerializeAsString();
  const OnnxModel model = load_bytes(std::as_bytes(std::span(bytes)), "model");
  const std::vector<WeightUse> uses = find_weight_uses(model);
  ASSERT_EQ(uses.size(), 1U);
  EXPECT_EQ(uses[0].activation, "x");
}

TEST(IntegerWeights, AreNotWhatIsAddedOrReadInTwoWays) {
  onnx::ModelProto added = dequantized_model();
  for (onnx::NodeProto& node : *added.mutable_graph()->mutable_node()) {
    if (node.output(0) == "y") node.set_op_type("Add");
  }
  EXPECT_EQ(zeros_of(added)["third"], std::nullopt);
  EXPECT_EQ(zeros_of(added)["second"], 0);

  onnx::ModelProto shared = dequantized_model();
  onnx::NodeProto& reader = *shared.mutable_graph()->add_node();
  reader.set_op_type("Cast");
  reader.add_input("first");
  reader.add_output("elsewhere");
  EXPECT_EQ(zeros_of(shared)["first"], std::nullopt);
}

TEST(IntegerWeights, AreMatricesByTheirActivation) {
  const std::string bytes = integer_model().SerializeAsString();
  const OnnxModel model = load_bytes(std::as_bytes(std::span(bytes)), "model");
  const std::vector<WeightUse> uses = find_weight_uses(model);
  ASSERT_EQ(uses.size(), 2U);
  EXPECT_EQ(uses[1].activation, "b");
  EXPECT_EQ(uses[1].activation_zero, 128);
  EXPECT_EQ(uses[1].view.rows, 32);
  EXPECT_EQ(uses[1].view.columns, 32 * 9);
  EXPECT_TRUE(uses[1].window);
}

// Columns of several scales have no common unit in a row.
TEST(IntegerWeights, AreNoMatricesWhereScalesAreOfColumns) {
  onnx::ModelProto proto = dequantized_model();
  for (onnx::NodeProto& node : *proto.mutable_graph()->mutable_node()) {
    if (node.output(0) == "second.real") node.mutable_attribute(0)->set_i(1);
  }
  const std::string bytes = proto.SerializeAsString();
  const OnnxModel model = load_bytes(std::as_bytes(std::span(bytes)), "model");
  std::vector<std::string> activations;
  for (const WeightUse& use : find_weight_uses(model)) activations.push_back(use.activation);
  EXPECT_EQ(activations, (std::vector<std::string>{"x", "e"}));
}

}  // namespace
}  // namespace quench::quantizer
