#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <map>

#include "formats/onnx/apart.h"
#include "tests/formats/onnx/test_models.h"

namespace quench {
namespace {

using namespace testing;

// A matrix of more than LoadOptions::inline_bytes, so that the checker meets a tensor without values.
onnx::ModelProto matrix_model() {
  onnx::ModelProto proto = parse_text("g (float[N,20] x) => (float[N,20] y) { h = MatMul(x, w)\n y = Relu(h) }");
  onnx::TensorProto* tensor = proto.mutable_graph()->add_initializer();
  tensor->set_name("w");
  tensor->set_data_type(onnx::TensorProto::FLOAT);
  tensor->add_dims(20);
  tensor->add_dims(20);
  for (int i = 0; i < 400; ++i) tensor->add_float_data(0.5f);
  return proto;
}

TEST(OnnxCheck, AValidModelHasNoWarnings) {
  EXPECT_TRUE(check(load_proto(matrix_model())).empty());
  EXPECT_TRUE(check(load_text(kNestedGraph)).empty());
}

// ONNX Runtime has operators of its own in ONNX's domain.
TEST(OnnxCheck, AnOperatorThatOnnxDoesNotHaveIsAWarning) {
  onnx::ModelProto proto = matrix_model();
  proto.mutable_graph()->mutable_node(1)->set_op_type("NoSuchOperator");
  const std::vector<std::string> warnings = check(load_proto(proto));
  ASSERT_FALSE(warnings.empty());
  EXPECT_EQ(warnings[0], "test.onnx: opset 17 has no operator NoSuchOperator");
  // One of these that the runtime has.
  EXPECT_TRUE(
      check(load_text("g (float[N,4] x, float[4] w) => (float[N,4] y) { y = SimplifiedLayerNormalization (x, w) }"))
          .empty());
}

TEST(OnnxCheck, WhatNothingDefinesIsAnError) {
  onnx::ModelProto proto = matrix_model();
  proto.mutable_graph()->mutable_node(0)->set_input(1, "nothing");
  EXPECT_TRUE(contains(error_of([&] { check(load_proto(proto)); }), "nothing"));
}

TEST(OnnxCheck, AnOperatorOfAnotherDomainIsAccepted) {
  onnx::ModelProto proto = matrix_model();
  proto.mutable_graph()->mutable_node(1)->set_domain("com.example");
  onnx::OperatorSetIdProto* opset = proto.add_opset_import();
  opset->set_domain("com.example");
  opset->set_version(1);
  EXPECT_TRUE(check(load_proto(proto)).empty());
}

TEST(OnnxCheck, ANewerOpsetOrVersionIsAWarning) {
  onnx::ModelProto proto = matrix_model();
  proto.mutable_opset_import(0)->set_version(25);
  proto.set_ir_version(12);
  const std::vector<std::string> warnings = check(load_proto(proto));
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_TRUE(contains(warnings[0], "opset 25 of domain 'ai.onnx' is newer than the ONNX library's"));
  EXPECT_TRUE(contains(warnings[1], "IR version 12 is newer"));
}

TEST(OnnxCheck, ANewerVersionWithAKnownOpsetIsStillChecked) {
  onnx::ModelProto proto = matrix_model();
  proto.set_ir_version(12);
  EXPECT_EQ(check(load_proto(proto)).size(), 1u);
  proto.mutable_graph()->mutable_node(1)->set_op_type("NoSuchOperator");
  EXPECT_GE(check(load_proto(proto)).size(), 2u);
}

TEST(OnnxCheck, TheStructureOfANewerOpsetIsChecked) {
  onnx::ModelProto newer = parse_text(kNestedGraph);
  newer.mutable_opset_import(0)->set_version(25);
  EXPECT_EQ(check(load_proto(newer)).size(), 1u);
  const auto error_with = [&](auto change) {
    onnx::ModelProto proto = newer;
    change(*proto.mutable_graph());
    return error_of([&] { check(load_proto(proto)); });
  };
  EXPECT_TRUE(contains(error_with([](onnx::GraphProto& g) { g.mutable_node(0)->set_input(0, "later"); }),
                       "uses 'later', which nothing before it defines"));
  EXPECT_EQ(error_with([](onnx::GraphProto& g) { g.mutable_node()->SwapElements(0, 2); }), "no error");
  EXPECT_TRUE(contains(error_with([](onnx::GraphProto& g) { g.mutable_node(0)->set_input(0, "y"); }),
                       "uses 'y', which nothing before it defines"));
  EXPECT_TRUE(contains(error_with([](onnx::GraphProto& g) { g.mutable_node(3)->set_output(0, "sum"); }),
                       "defines 'sum', which is defined already"));
  EXPECT_TRUE(contains(error_with([](onnx::GraphProto& g) { g.mutable_output(0)->set_name("z"); }),
                       "nothing computes the output 'z'"));
}

// What ONNX Runtime loads though ONNX's checker refuses it.
TEST(OnnxCheck, SoundModelsOfManyWritersAreAccepted) {
  const auto warnings_with = [](auto change) {
    onnx::ModelProto proto = matrix_model();
    change(proto);
    return check(load_proto(proto));
  };
  using Model = onnx::ModelProto;
  const std::vector<std::string> none;
  EXPECT_EQ(warnings_with([](Model& m) { m.mutable_graph()->clear_name(); }), none);
  EXPECT_EQ(warnings_with([](Model& m) { m.mutable_graph()->mutable_output(0)->clear_type(); }), none);
  EXPECT_EQ(warnings_with([](Model& m) {
              m.mutable_graph()->mutable_output(0)->mutable_type()->mutable_tensor_type()->clear_shape();
            }),
            none);
  EXPECT_EQ(warnings_with([](Model& m) { m.mutable_opset_import(0)->set_domain("ai.onnx"); }), none);
  EXPECT_EQ(warnings_with([](Model& m) { m.mutable_graph()->mutable_node(0)->set_domain("ai.onnx"); }), none);
  EXPECT_EQ(warnings_with([](Model& m) { m.set_ir_version(3); }), none);  // its weight is no input
  EXPECT_EQ(warnings_with([](Model& m) { m.mutable_graph()->mutable_node()->SwapElements(0, 1); }), none);
  EXPECT_NO_THROW(warnings_with([](Model& m) {
    onnx::NodeProto& node = *m.mutable_graph()->add_node();
    node.set_op_type("Constant");
    node.add_output("empty");
    onnx::AttributeProto& list = *node.add_attribute();
    list.set_name("value_ints");
    list.set_type(onnx::AttributeProto::INTS);
  }));
}

TEST(OnnxCheck, NodesOfSubgraphsAreSortedByWhatTheyUse) {
  const OnnxModel sorted = load_text(kNestedGraph);
  onnx::ModelProto proto = parse_text(kNestedGraph);
  auto& nodes = *proto.mutable_graph()->mutable_node();
  std::reverse(nodes.begin(), nodes.end());
  onnx::GraphProto* inner = nullptr;
  for (onnx::NodeProto& node : nodes) {
    if (node.op_type() == "If") inner = node.mutable_attribute(0)->mutable_g();
  }
  inner->mutable_node()->SwapElements(0, 1);
  const OnnxModel model = load_proto(proto);
  EXPECT_TRUE(check(model).empty());
  ASSERT_EQ(model.weights.size(), sorted.weights.size());
  std::map<std::string, std::vector<float>> values, expected;
  for (const Weight& weight : model.weights) values[weight.name] = read_float(weight);
  for (const Weight& weight : sorted.weights) expected[weight.name] = read_float(weight);
  EXPECT_EQ(values, expected);
}

TEST(OnnxCheck, NodesThatAreSortedKeepTheirPlaces) {
  const onnx::ModelProto proto = parse_text(kNestedGraph);
  const OnnxModel model = load_proto(proto);
  for (int n = 0; n < proto.graph().node_size(); ++n)
    EXPECT_EQ(model.proto.graph().node(n).op_type(), proto.graph().node(n).op_type());
}

// Models over which ONNX 1.12's checker or shape inference ends with a signal or without end.
TEST(OnnxCheck, WhatBreaksTheOnnxLibraryIsAWarningOrNothing) {
  const auto attributes = [](onnx::NodeProto& node, const char* name, std::vector<int64_t> values) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(values.size() == 1 ? onnx::AttributeProto::INT : onnx::AttributeProto::INTS);
    if (values.size() == 1) attribute.set_i(values[0]);
    for (const int64_t value : values) attribute.add_ints(value);
  };
  onnx::ModelProto norm = parse_text("g (float[2,3] x, float[3] s) => (float[2,3] y) { y = LayerNormalization(x, s) }");
  attributes(*norm.mutable_graph()->mutable_node(0), "axis", {INT32_MIN});
  EXPECT_NO_THROW(check(load_proto(norm)));
  onnx::ModelProto depth = parse_text("g (float[1,4,2,2] x) => (float[a,b,c,d] y) { y = DepthToSpace(x) }");
  attributes(*depth.mutable_graph()->mutable_node(0), "blocksize", {int64_t{1} << 32});
  EXPECT_NO_THROW(check(load_proto(depth)));
  onnx::ModelProto scalar = parse_text("g (float x, float w) => (float[a] y) { y = ConvTranspose(x, w) }");
  OnnxModel model = load_proto(scalar);
  EXPECT_NO_THROW(check(model));
  infer_shapes(model);
  EXPECT_EQ(model.proto.graph().node(0).op_type(), "ConvTranspose");
}

TEST(OnnxCheck, WorkApartMayCrashHangOrThrow) {
  EXPECT_EQ(run_apart([] { return std::string(300000, 'x'); })->text, std::string(300000, 'x'));
  const std::optional<Outcome> thrown = run_apart([]() -> std::string { throw std::runtime_error("no"); });
  EXPECT_TRUE(thrown && thrown->failed && thrown->text == "no");
  EXPECT_FALSE(run_apart([]() -> std::string {
    std::raise(SIGSEGV);
    return "";
  }));
  EXPECT_FALSE(run_apart([]() -> std::string { ::_exit(0); }));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(run_apart([]() -> std::string {
    for (volatile bool is_on = true; is_on;) {
    }
    return "";
  }));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(9));
}

TEST(OnnxCheck, ADimensionOfZeroOfAnInputIsOpen) {
  OnnxModel model = load_text("g (float[0,4] x) => (float[N,4] y) { h = Relu(x)\n y = Relu(h) }");
  infer_shapes(model);
  ASSERT_EQ(model.proto.graph().value_info_size(), 1);
  EXPECT_FALSE(model.proto.graph().value_info(0).type().tensor_type().shape().dim(0).has_dim_value());
  EXPECT_TRUE(model.proto.graph().input(0).type().tensor_type().shape().dim(0).has_dim_value());
}

TEST(OnnxCheck, WeightsThatAreNotFiniteAreListed) {
  onnx::ModelProto proto = matrix_model();
  proto.mutable_graph()->mutable_initializer(0)->set_float_data(7, NAN);
  proto.mutable_graph()->mutable_initializer(0)->set_float_data(8, -INFINITY);
  proto.mutable_graph()->mutable_initializer(0)->set_float_data(9, INFINITY);
  EXPECT_EQ(check(load_proto(proto)),
            std::vector<std::string>{"test.onnx: tensor 'w' holds 1 NaN and 2 infinite values"});
}

// Three layers of a transformer from PyTorch had three warnings.
TEST(OnnxCheck, AMaskIsNoWarning) {
  for (const char* text : {"g (float[N,2] x) => (float[N,2] y) <float[2] mask = {0, 0}> { y = Add(x, mask) }",
                           "g (float[N,2] x) => (float[N,2] y) <float[1] mask = {0}> { y = Add(x, mask) }"}) {
    onnx::ModelProto proto = testing::parse_text(text);
    proto.mutable_graph()->mutable_initializer(0)->set_float_data(0, -INFINITY);
    EXPECT_TRUE(check(load_proto(proto)).empty()) << text;
  }
}

TEST(OnnxCheck, ShapesThatContradictAreAWarning) {
  onnx::ModelProto proto = matrix_model();
  proto.mutable_graph()
      ->mutable_output(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim(1)
      ->set_dim_value(21);
  const std::vector<std::string> warnings = check(load_proto(proto));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_TRUE(contains(warnings[0], "shapes do not fit together"));
}

TEST(OnnxCheck, InferShapesSeesSmallConstants) {
  OnnxModel model = load_text(R"(g (float[2,6] x) => (float[A,B] y) <int64[2] shape = {3, -1}> {
    h = Reshape(x, shape)
    y = Relu(h) })");
  infer_shapes(model);
  ASSERT_EQ(model.proto.graph().value_info_size(), 1);
  const onnx::TensorShapeProto& shape = model.proto.graph().value_info(0).type().tensor_type().shape();
  EXPECT_EQ(shape.dim(0).dim_value(), 3);
  EXPECT_EQ(shape.dim(1).dim_value(), 4);
  EXPECT_EQ(model.weights.size(), 1u);
}

}  // namespace
}  // namespace quench
