// BatchNormalization into the node before it: where it may be folded the results stay, where it may not the graph
// stays.
#include <chrono>
#include <cmath>

#include "tests/compressor/graph/run_model.h"

namespace quench {
namespace {

using namespace testing;

constexpr const char* kNorm = "y = BatchNormalization<epsilon = 0.01>(h, scale, bias, mean, variance)";

std::string with_norm(const std::string& node, const std::string& input = "float[2,4,6,5] x",
                      const std::string& output = "float[A,B,C,D] y") {
  return "g (" + input + ") => (" + output + ") { h = " + node + "\n" + kNorm + "}";
}

// Expects the one BatchNormalization of the model to go and the function to stay.
void expect_folded(const onnx::ModelProto& proto, const Input& input, float tolerance = 1e-5f) {
  OnnxModel simplified;
  const graph::Report report = expect_same_function(load_proto(proto), {input}, &simplified, tolerance);
  EXPECT_EQ(report.batch_normalizations_folded, 1u);
  EXPECT_EQ(count_nodes(simplified, "BatchNormalization"), 0);
  EXPECT_EQ(simplified.proto.graph().output(0).name(), "y");
}

void expect_kept(const onnx::ModelProto& proto) {
  OnnxModel model = load_proto(proto);
  graph::Report report;
  EXPECT_FALSE(graph::fold_batch_normalization(model, report));
  EXPECT_EQ(count_nodes(model, "BatchNormalization"), 1);
}

onnx::ModelProto convolution(const std::string& node, std::vector<int64_t> weight, int64_t channels) {
  onnx::ModelProto proto = parse_text(with_norm(node));
  add_random(proto, "w", weight, 1);
  add_random(proto, "b", {channels}, 2);
  add_batch_normalization(proto, channels);
  return proto;
}

const Input kImage = random_input({2, 4, 6, 5});

TEST(FoldBatchNormalization, IntoConv) {
  expect_folded(convolution("Conv(x, w, b)", {3, 4, 3, 3}, 3), kImage);
  expect_folded(convolution("Conv(x, w)", {3, 4, 1, 1}, 3), kImage);
  expect_folded(convolution("Conv<group = 2, pads = [1, 1, 1, 1]>(x, w, b)", {6, 2, 3, 3}, 6), kImage);
  expect_folded(convolution("Conv<group = 4>(x, w)", {4, 1, 3, 3}, 4), kImage);
}

TEST(FoldBatchNormalization, IntoConvTranspose) {
  expect_folded(convolution("ConvTranspose(x, w, b)", {4, 3, 2, 2}, 3), kImage);
  expect_folded(convolution("ConvTranspose<strides = [2, 2]>(x, w)", {4, 3, 2, 2}, 3), kImage);
  expect_folded(convolution("ConvTranspose<group = 2>(x, w, b)", {4, 3, 2, 2}, 6), kImage);
  expect_folded(convolution("ConvTranspose<group = 4>(x, w)", {4, 1, 3, 3}, 4), kImage);
}

// Its bias is input 3.
TEST(FoldBatchNormalization, IntoDeformConv) {
  for (const char* node :
       {"DeformConv(x, w, offset, b)", "DeformConv(x, w, offset)", "DeformConv(x, w, offset, , mask)"}) {
    onnx::ModelProto proto = parse_text(with_norm(node), 19);
    add_random(proto, "w", {3, 4, 2, 2}, 1);
    add_random(proto, "b", {3}, 2);
    add_random(proto, "offset", {2, 8, 5, 4}, 3);
    add_random(proto, "mask", {2, 4, 5, 4}, 4);
    add_batch_normalization(proto, 3);
    expect_folded(proto, kImage);
  }
}

// The scaled weight has no values of its own until it is read.
TEST(FoldBatchNormalization, IntoAWeightThatIsNotInMemory) {
  onnx::ModelProto proto = convolution("Conv(x, w, b)", {32, 4, 3, 3}, 32);
  OnnxModel simplified;
  expect_same_function(load_proto(proto), {kImage}, &simplified);
  EXPECT_EQ(simplified.weights[0].dims, (std::vector<int64_t>{32, 4, 3, 3}));
  EXPECT_TRUE(is_stripped(*simplified.weights[0].tensor));
  EXPECT_EQ(simplified.weights.size(), 2u);
}

onnx::ModelProto matrix(const std::string& node, std::vector<int64_t> weight, std::vector<int64_t> bias = {3}) {
  onnx::ModelProto proto = parse_text(with_norm(node, "float[5,4] x", "float[5,3] y"));
  add_random(proto, "w", weight, 1);
  add_random(proto, "b", bias, 2);
  add_batch_normalization(proto, 3);
  return proto;
}

const Input kRows = random_input({5, 4});

TEST(FoldBatchNormalization, IntoGemm) {
  expect_folded(matrix("Gemm(x, w, b)", {4, 3}), kRows);
  expect_folded(matrix("Gemm(x, w)", {4, 3}), kRows);
  expect_folded(matrix("Gemm<transB = 1>(x, w, b)", {3, 4}), kRows);
  expect_folded(matrix("Gemm<alpha = 0.5, beta = -2.0>(x, w, b)", {4, 3}), kRows);
  expect_folded(matrix("Gemm<beta = 3.0>(x, w, b)", {4, 3}, {}), kRows);
  expect_folded(matrix("Gemm(x, w, b)", {4, 3}, {1, 3}), kRows);
  expect_folded(matrix("Gemm(x, w, b)", {4, 3}, {1, 1}), kRows);
}

TEST(FoldBatchNormalization, GemmWithAMatrixAsBiasIsKept) {
  expect_kept(matrix("Gemm(x, w, b)", {4, 3}, {5, 3}));
  expect_kept(matrix("Gemm(x, w, b)", {4, 3}, {5, 1}));
}

TEST(FoldBatchNormalization, IntoMatMulLeavesAnAdd) {
  expect_folded(matrix("MatMul(x, w)", {4, 3}), kRows);
  expect_folded(matrix("MatMul(x, w)\n h0 = Identity(h)", {4, 3}), kRows);
}

TEST(FoldBatchNormalization, IntoMatMulWithAdd) {
  for (const char* add : {"Add(product, b)", "Add(b, product)"}) {
    onnx::ModelProto proto = parse_text(
        "g (float[5,4] x) => (float[5,3] y) { product = MatMul(x, w)\n h = " + std::string(add) + "\n" + kNorm + "}");
    add_random(proto, "w", {4, 3}, 1);
    add_random(proto, "b", {3}, 2);
    add_batch_normalization(proto, 3);
    expect_folded(proto, kRows);
  }
}

// There axis 1 of the product is not the one that the weight's columns are along.
TEST(FoldBatchNormalization, MatMulOfThreeAxesIsKept) {
  onnx::ModelProto proto = parse_text(with_norm("MatMul(x, w)", "float[2,3,4] x", "float[2,3,3] y"));
  add_random(proto, "w", {4, 3}, 1);
  add_batch_normalization(proto, 3);
  expect_kept(proto);
}

TEST(FoldBatchNormalization, MatMulOfUnknownRankIsKept) {
  onnx::ModelProto proto = matrix("MatMul(x, w)", {4, 3});
  proto.mutable_graph()->mutable_input(0)->mutable_type()->mutable_tensor_type()->clear_shape();
  expect_kept(proto);
}

TEST(FoldBatchNormalization, OneAfterAnother) {
  onnx::ModelProto proto = parse_text(R"(g (float[2,4,6,5] x) => (float[A,B,C,D] y) {
    h1 = Conv(x, w)
    h2 = BatchNormalization(h1, scale, bias, mean, variance)
    h3 = BatchNormalization(h2, n_scale, n_bias, n_mean, n_variance)
    y = Relu(h3) })");
  add_random(proto, "w", {3, 4, 3, 3}, 1);
  add_batch_normalization(proto, 3);
  add_batch_normalization(proto, 3, "n_");
  OnnxModel simplified;
  EXPECT_EQ(expect_same_function(load_proto(proto), {kImage}, &simplified).batch_normalizations_folded, 2u);
  EXPECT_EQ(simplified.proto.graph().node_size(), 2);
}

TEST(FoldBatchNormalization, AResultThatIsUsedTwiceKeepsIt) {
  onnx::ModelProto proto = parse_text(R"(g (float[2,4,6,5] x) => (float[A,B,C,D] z) {
    h = Conv(x, w)
    y = BatchNormalization(h, scale, bias, mean, variance)
    z = Add(h, y) })");
  add_random(proto, "w", {3, 4, 3, 3}, 1);
  add_batch_normalization(proto, 3);
  expect_kept(proto);
  expect_same_function(load_proto(proto), {kImage});
}

TEST(FoldBatchNormalization, AResultThatIsAnOutputKeepsIt) {
  onnx::ModelProto proto = convolution("Conv(x, w, b)", {3, 4, 3, 3}, 3);
  *proto.mutable_graph()->add_output() = proto.graph().output(0);
  proto.mutable_graph()->mutable_output(1)->set_name("h");
  expect_kept(proto);
}

TEST(FoldBatchNormalization, AResultThatASubgraphUsesKeepsIt) {
  onnx::ModelProto proto = parse_text(R"(g (float[2,4,6,5] x, bool c) => (float[A,B,C,D] y, float[A,B,C,D] z) {
    h = Conv(x, w)
    y = BatchNormalization(h, scale, bias, mean, variance)
    z = If<then_branch = t () => (float[A,B,C,D] o) { o = Relu(h) },
           else_branch = e () => (float[A,B,C,D] o) { o = Neg(h) }>(c) })");
  add_random(proto, "w", {3, 4, 3, 3}, 1);
  add_batch_normalization(proto, 3);
  expect_kept(proto);
}

TEST(FoldBatchNormalization, AWeightThatIsUsedTwiceKeepsIt) {
  onnx::ModelProto proto = parse_text(R"(g (float[2,4,6,5] x) => (float[A,B,C,D] y, float[A,B,C,D] z) {
    h = Conv(x, w)
    y = BatchNormalization(h, scale, bias, mean, variance)
    z = Conv(x, w) })");
  add_random(proto, "w", {3, 4, 3, 3}, 1);
  add_batch_normalization(proto, 3);
  expect_kept(proto);
}

TEST(FoldBatchNormalization, ParametersThatAreNotConstantKeepIt) {
  onnx::ModelProto proto = parse_text(with_norm("Conv(x, w)", "float[2,4,6,5] x, float[3] scale"));
  add_random(proto, "w", {3, 4, 3, 3}, 1);
  for (const char* name : {"bias", "mean", "variance"}) add_random(proto, name, {3}, 3, 0.5f, 1);
  expect_kept(proto);
  // Nor is an initializer that the caller may override.
  add_random(proto, "scale", {3}, 4);
  expect_kept(proto);
}

TEST(FoldBatchNormalization, AWeightOrBiasThatIsNotConstantKeepsIt) {
  onnx::ModelProto proto = parse_text(with_norm("Conv(x, w, b)", "float[2,4,6,5] x, float[3,4,3,3] w"));
  add_random(proto, "b", {3}, 2);
  add_batch_normalization(proto, 3);
  expect_kept(proto);
  proto = parse_text(with_norm("Conv(x, w, b)", "float[2,4,6,5] x, float[3] b"));
  add_random(proto, "w", {3, 4, 3, 3}, 2);
  add_batch_normalization(proto, 3);
  expect_kept(proto);
}

TEST(FoldBatchNormalization, TrainingModeKeepsIt) {
  onnx::ModelProto proto = convolution("Conv(x, w)", {3, 4, 3, 3}, 3);
  onnx::AttributeProto* attribute = proto.mutable_graph()->mutable_node(1)->add_attribute();
  attribute->set_name("training_mode");
  attribute->set_type(onnx::AttributeProto::INT);
  attribute->set_i(1);
  expect_kept(proto);
}

TEST(FoldBatchNormalization, OtherOutputsInUseKeepIt) {
  onnx::ModelProto proto = convolution("Conv(x, w)", {3, 4, 3, 3}, 3);
  proto.mutable_graph()->mutable_node(1)->add_output("running_mean");
  *proto.mutable_graph()->add_output() = proto.graph().output(0);
  proto.mutable_graph()->mutable_output(1)->set_name("running_mean");
  expect_kept(proto);
}

TEST(FoldBatchNormalization, BeforeOpsetSevenOnlyWithIsTest) {
  onnx::ModelProto proto = convolution("Conv(x, w)", {3, 4, 3, 3}, 3);
  proto.mutable_opset_import(0)->set_version(6);
  expect_kept(proto);
  onnx::AttributeProto* attribute = proto.mutable_graph()->mutable_node(1)->add_attribute();
  attribute->set_name("is_test");
  attribute->set_type(onnx::AttributeProto::INT);
  attribute->set_i(1);
  OnnxModel model = load_proto(proto);
  graph::Report report;
  EXPECT_TRUE(graph::fold_batch_normalization(model, report));
}

TEST(FoldBatchNormalization, AfterAnythingElseIsKept) {
  onnx::ModelProto proto = parse_text(with_norm("Relu(x)"));
  add_batch_normalization(proto, 4);
  expect_kept(proto);
}

TEST(FoldBatchNormalization, VarianceThatGivesNoNumberKeepsIt) {
  onnx::ModelProto proto = convolution("Conv(x, w)", {3, 4, 3, 3}, 3);
  for (onnx::TensorProto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    if (tensor.name() == "variance") tensor.set_raw_data(raw_of<float>({1, -1, 1}));
  }
  expect_kept(proto);
}

onnx::ModelProto half_precision(float scale) {
  onnx::ModelProto proto = parse_text(with_norm("Conv(x, w)", "float16[2,4,6,5] x", "float16[A,B,C,D] y"));
  add_random(proto, "w", {3, 4, 3, 3}, 1, -1, 1, onnx::TensorProto::FLOAT16);
  add_batch_normalization(proto, 3, "", onnx::TensorProto::FLOAT16);
  for (onnx::TensorProto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    const std::vector<float> values(3, scale);
    const std::vector<std::byte> raw = from_float(onnx::TensorProto::FLOAT16, values);
    if (tensor.name() == "scale") tensor.set_raw_data(raw.data(), raw.size());
  }
  return proto;
}

TEST(FoldBatchNormalization, HalfPrecisionStaysHalfPrecision) {
  OnnxModel model = load_proto(half_precision(1.5f));
  const std::vector<float> before = read_float(model.weights.at(0));
  const std::vector<float> variance = read_float(model.weights.at(4));
  graph::Report report;
  ASSERT_TRUE(graph::fold_batch_normalization(model, report));
  graph::remove_unused(model, report);
  ASSERT_EQ(model.weights.size(), 2u);
  for (const Weight& weight : model.weights) EXPECT_EQ(weight.dtype, onnx::TensorProto::FLOAT16);
  const std::vector<float> after = read_float(model.weights[0]);
  for (size_t i = 0; i < after.size(); ++i) {
    const float expected = before[i] * 1.5f / std::sqrt(variance[i / 36] + 0.01f);
    EXPECT_NEAR(after[i], expected, std::abs(expected) / 1024) << i;
  }
}

TEST(FoldBatchNormalization, AHalfPrecisionOverflowKeepsIt) {
  onnx::ModelProto proto = half_precision(60000);
  for (onnx::TensorProto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    const std::vector<std::byte> raw = from_float(onnx::TensorProto::FLOAT16, std::vector<float>(3, 1e-3f));
    if (tensor.name() == "variance") tensor.set_raw_data(raw.data(), raw.size());
  }
  expect_kept(proto);
}

// A Gemm with a bias of rank 0 and one output: its last dimension was read of a list without any.
TEST(FoldBatchNormalization, IntoGemmAndMatMulWithAScalarBias) {
  for (const char* node : {"Gemm(x, w, b)", "MatMul(x, w)\n h = Add(m, b)"}) {
    std::string body = node;
    const bool is_matmul = body.starts_with("MatMul");
    onnx::ModelProto proto = parse_text("g (float[5,4] x) => (float[5,1] y) { " + std::string(is_matmul ? "m" : "h") +
                                        " = " + body + "\n" + kNorm + "}");
    add_random(proto, "w", {4, 1}, 1);
    add_initializer(proto, "b", {}, {0.5f});
    add_batch_normalization(proto, 1);
    expect_folded(proto, kRows);
  }
}

// Each is folded into the same Conv; one at a time took 35 s for 2,000.
TEST(FoldBatchNormalization, AChainInOnePass) {
  onnx::ModelProto proto = parse_text("g (float[2,4,6,5] x) => (float[A,B,C,D] y) { h0 = Conv(x, w) }");
  add_random(proto, "w", {3, 4, 1, 1}, 1);
  add_batch_normalization(proto, 3);
  constexpr int kChain = 2000;
  for (int n = 0; n < kChain; ++n) {
    onnx::NodeProto& norm = *proto.mutable_graph()->add_node();
    norm.set_op_type("BatchNormalization");
    norm.add_input("h" + std::to_string(n));
    for (const char* name : {"scale", "bias", "mean", "variance"}) norm.add_input(name);
    norm.add_output(n + 1 == kChain ? "y" : "h" + std::to_string(n + 1));
  }
  for (onnx::TensorProto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    const bool is_one = tensor.name() == "scale" || tensor.name() == "variance";
    if (tensor.name() == "w") continue;
    const std::vector<float> values(3, is_one ? 1.0f : 0.0f);
    tensor.clear_float_data();
    tensor.set_raw_data(values.data(), values.size() * sizeof(float));
  }
  OnnxModel model = load_proto(proto);
  graph::Report report;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(graph::fold_batch_normalization(model, report));
  EXPECT_EQ(report.batch_normalizations_folded, static_cast<size_t>(kChain));
  EXPECT_EQ(model.proto.graph().node_size(), 1);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  for (const float value : read_float(model.weights[0])) EXPECT_TRUE(std::isfinite(value));
}

// A model in a narrow type, with one value for each parameter of the BatchNormalization.
onnx::ModelProto narrow(int32_t dtype, float weight, float scale, float bias, float mean, float variance) {
  onnx::ModelProto proto = convolution("Conv(x, w)", {3, 4, 1, 1}, 3);
  for (onnx::TensorProto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    const float value = tensor.name() == "w"       ? weight
                        : tensor.name() == "scale" ? scale
                        : tensor.name() == "bias"  ? bias
                        : tensor.name() == "mean"  ? mean
                                                   : variance;
    const std::vector<std::byte> raw = from_float(dtype, std::vector<float>(tensor.name() == "w" ? 12 : 3, value));
    tensor.clear_float_data();
    tensor.set_data_type(dtype);
    tensor.set_raw_data(raw.data(), raw.size());
  }
  return proto;
}

TEST(FoldBatchNormalization, NotWhereANarrowTypeOverflowsOrLosesPrecision) {
  using onnx::TensorProto;
  const auto folded = [](const onnx::ModelProto& proto) {
    OnnxModel model = load_proto(proto);
    graph::Report report;
    return graph::fold_batch_normalization(model, report);
  };
  for (const int32_t dtype : {TensorProto::FLOAT16, TensorProto::BFLOAT16}) {
    EXPECT_TRUE(folded(narrow(dtype, 0.5f, 1, 0.1f, 0.2f, 1)));
    EXPECT_FALSE(folded(narrow(dtype, 0.5f, 1, 0, 3000, 1))) << "the bias is exact to a whole number or worse";
  }
  EXPECT_FALSE(folded(narrow(TensorProto::FLOAT16, 0.5f, 4, 0, 20000, 1))) << "the bias is -80,000";
  EXPECT_FALSE(folded(narrow(TensorProto::FLOAT16, 1000, 100, 0, 0, 1))) << "the weight is 100,000";
  EXPECT_FALSE(folded(narrow(TensorProto::FLOAT16, 1e-3f, 1e-4f, 0, 0, 1))) << "the weight is below 2^-14";
  EXPECT_FALSE(folded(narrow(TensorProto::FLOAT, 1e30f, 1e20f, 0, 0, 1))) << "the weight is infinite";
}

TEST(FoldBatchNormalization, NotWithOutputsForTraining) {
  onnx::ModelProto proto = convolution("Conv(x, w)", {3, 4, 1, 1}, 3);
  proto.mutable_opset_import(0)->set_version(8);
  for (const char* name : {"m", "v", "sm", "sv"}) proto.mutable_graph()->mutable_node(1)->add_output(name);
  expect_kept(proto);
}

TEST(FoldBatchNormalization, NotIntoOrOutOfWhatIsKept) {
  for (const char* name : {"w", "b", "scale", "bias", "mean", "variance"}) {
    OnnxModel model = load_proto(convolution("Conv(x, w, b)", {3, 4, 3, 3}, 3));
    graph::Report report;
    graph::Options options;
    options.is_kept = [&](const Weight& weight) { return weight.name == name; };
    EXPECT_FALSE(graph::fold_batch_normalization(model, report, options)) << name;
  }
}

const onnx::NodeProto& norm_of(const OnnxModel& model) {
  for (const onnx::NodeProto& node : model.proto.graph().node()) {
    if (node.op_type() == "BatchNormalization") return node;
  }
  throw Error("no BatchNormalization");
}

std::vector<float> parameter(const OnnxModel& model, int input) {
  for (const Weight& weight : model.weights) {
    if (weight.name == norm_of(model).input(input)) return read_float(weight);
  }
  throw Error("no such parameter");
}

onnx::ModelProto behind_a_relu() {
  onnx::ModelProto proto = parse_text(with_norm("Relu(x)"));
  add_batch_normalization(proto, 4);
  return proto;
}

// As in networks that normalize before they activate and convolve (ResNet v2, DenseNet).
TEST(ReduceBatchNormalization, WhatCannotBeFoldedHasAScaleAndABias) {
  OnnxModel simplified;
  const graph::Report report = expect_same_function(load_proto(behind_a_relu()), {kImage}, &simplified);
  EXPECT_EQ(report.batch_normalizations_reduced, 1u);
  EXPECT_EQ(count_nodes(simplified, "BatchNormalization"), 1);
  EXPECT_EQ(parameter(simplified, 3), std::vector<float>(4, 0.0f));
  EXPECT_EQ(parameter(simplified, 4), std::vector<float>(4, 1 - 0.01f)) << "1 with the epsilon";
  EXPECT_EQ(graph::simplify(simplified).batch_normalizations_reduced, 0u) << "it is already";
}

TEST(ReduceBatchNormalization, TheBiasMakesUpForARoundedScale) {
  const OnnxModel original = load_proto(behind_a_relu());
  OnnxModel model = original.clone();
  graph::Options options;
  options.round_scale = [](const std::string&, std::vector<double>& scale) {
    for (double& value : scale) value = std::exp2(std::round(std::log2(value)));
  };
  graph::simplify(model, options);
  for (const float value : parameter(model, 1)) EXPECT_EQ(std::log2(value), std::round(std::log2(value)));
  // Where the input is the mean, the output is the bias: nothing of the scale is seen.
  Input means{{2, 4, 6, 5}, std::vector<float>(240)};
  const std::vector<float> mean = parameter(original, 3);
  for (size_t i = 0; i < means.values.size(); ++i) means.values[i] = mean[i / 30 % 4];
  // It would hide negative means.
  const auto without_relu = [&](OnnxModel each) {
    onnx::GraphProto& graph = *each.proto.mutable_graph();
    graph.mutable_node(1)->set_input(0, "x");
    graph.mutable_node()->DeleteSubrange(0, 1);
    each.reindex();
    return run(each, {means});
  };
  expect_close(without_relu(std::move(model)), without_relu(original.clone()), 1e-5f);
}

TEST(ReduceBatchNormalization, WhatIsReducedAlreadyIsRoundedToo) {
  OnnxModel model = load_proto(behind_a_relu());
  ASSERT_EQ(graph::simplify(model).batch_normalizations_reduced, 1u);
  graph::Options options;
  options.round_scale = [](const std::string&, std::vector<double>& scale) {
    for (double& value : scale) value = std::exp2(std::round(std::log2(value)));
  };
  EXPECT_EQ(graph::simplify(model, options).batch_normalizations_reduced, 1u);
  for (const float value : parameter(model, 1)) EXPECT_EQ(std::log2(value), std::round(std::log2(value)));
}

TEST(ReduceBatchNormalization, NotWhatIsKeptOrOverflows) {
  for (const char* name : {"scale", "bias", "mean", "variance"}) {
    OnnxModel model = load_proto(behind_a_relu());
    graph::Options options;
    options.is_kept = [&](const Weight& weight) { return weight.name == name; };
    EXPECT_EQ(graph::simplify(model, options).batch_normalizations_reduced, 0u) << name;
  }
  const auto reduced = [](float scale) {
    onnx::ModelProto proto =
        parse_text("g (float16[2,4,6,5] x) => (float16[A,B,C,D] y) { h = Relu(x)\n" + std::string(kNorm) + "}");
    const std::pair<const char*, float> parameters[] = {
        {"scale", scale}, {"bias", 1}, {"mean", 1}, {"variance", 0.001f}};
    for (const auto& [name, value] : parameters) {
      add_initializer(proto, name, {4}, std::vector<float>(4, value), onnx::TensorProto::FLOAT16);
    }
    OnnxModel model = load_proto(proto);
    return graph::simplify(model).batch_normalizations_reduced;
  };
  EXPECT_EQ(reduced(1), 1u);
  EXPECT_EQ(reduced(60000), 0u);
}

}  // namespace
}  // namespace quench
