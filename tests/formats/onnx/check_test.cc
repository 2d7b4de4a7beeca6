#include <cmath>

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

TEST(OnnxCheck, WhatTheCheckerRefusesIsOneLine) {
  onnx::ModelProto proto = matrix_model();
  proto.mutable_graph()->mutable_node(1)->set_op_type("NoSuchOperator");
  const std::string error = error_of([&] { check(load_proto(proto)); });
  EXPECT_TRUE(contains(error, "test.onnx: not a valid model: No Op registered for NoSuchOperator"));
  EXPECT_EQ(error.find('\n'), std::string::npos);
  proto = matrix_model();
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
  EXPECT_TRUE(contains(error_of([&] { check(load_proto(proto)); }), "No Op registered"));
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
  EXPECT_TRUE(contains(error_with([](onnx::GraphProto& g) { g.mutable_node()->SwapElements(0, 2); }),
                       "uses 'sum', which nothing before it defines"));
  EXPECT_TRUE(contains(error_with([](onnx::GraphProto& g) { g.mutable_node(3)->set_output(0, "sum"); }),
                       "defines 'sum', which is defined already"));
  EXPECT_TRUE(contains(error_with([](onnx::GraphProto& g) { g.mutable_output(0)->set_name("z"); }),
                       "nothing computes the output 'z'"));
}

TEST(OnnxCheck, WeightsThatAreNotFiniteAreListed) {
  onnx::ModelProto proto = matrix_model();
  proto.mutable_graph()->mutable_initializer(0)->set_float_data(7, NAN);
  proto.mutable_graph()->mutable_initializer(0)->set_float_data(8, -INFINITY);
  proto.mutable_graph()->mutable_initializer(0)->set_float_data(9, INFINITY);
  EXPECT_EQ(check(load_proto(proto)),
            std::vector<std::string>{"test.onnx: tensor 'w' holds 1 NaN and 2 infinite values"});
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
