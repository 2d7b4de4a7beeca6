// The graph's bytes without weights, with and without names.
#include <onnx/checker.h>

#include <map>

#include "tests/formats/onnx/test_models.h"

namespace quench {
namespace {

using namespace testing;
using onnx::TensorProto;

onnx::ModelProto dropped(const OnnxModel& model) {
  const GraphBytes bytes =
      to_graph_bytes(model, {.drop_names = true, .keep_inline = [](const Weight&) { return true; }});
  return parse_graph_bytes(std::as_bytes(std::span(bytes.bytes)), bytes.terse, "graph");
}

TEST(OnnxGraphBytes, KeepInlineChooses) {
  const OnnxModel model = load_text(kNestedGraph);
  const GraphBytes bytes = to_graph_bytes(model, {.keep_inline = [](const Weight& w) { return w.name != "weight_a"; }});
  EXPECT_EQ(bytes.stripped, std::vector<size_t>{3});
  onnx::ModelProto proto = parse_graph_bytes(std::as_bytes(std::span(bytes.bytes)), false, "graph");
  std::vector<std::string> stripped;
  for_each_tensor(proto, [&](TensorProto& tensor, const TensorPlace&) {
    EXPECT_EQ(tensor.external_data_size(), 0);
    EXPECT_FALSE(tensor.has_data_location());
    if (is_stripped(tensor)) stripped.push_back(tensor.name());
  });
  EXPECT_EQ(stripped, std::vector<std::string>{"weight_a"});
}

TEST(OnnxGraphBytes, AreTheSameForTheSameModel) {
  EXPECT_EQ(to_graph_bytes(load_text(kNestedGraph), {.drop_names = true}).bytes,
            to_graph_bytes(load_text(kNestedGraph), {.drop_names = true}).bytes);
}

TEST(OnnxGraphBytes, InputsAndOutputsKeepTheirNames) {
  const onnx::ModelProto proto = dropped(load_text(kNestedGraph));
  EXPECT_EQ(proto.graph().input(0).name(), "x");
  EXPECT_EQ(proto.graph().input(1).name(), "c");
  EXPECT_EQ(proto.graph().output(0).name(), "y");
  EXPECT_NO_THROW(onnx::checker::check_model(proto));
}

// Says for each use of a value which definition it refers to, by the definition's place and not its name.
class Uses {
 public:
  static std::vector<std::string> of(const onnx::GraphProto& graph) {
    Uses uses;
    uses.graph(graph, {}, "");
    return uses.uses_;
  }

 private:
  using Scope = std::map<std::string, std::string>;

  void graph(const onnx::GraphProto& graph, Scope scope, const std::string& place) {
    for (int i = 0; i < graph.input_size(); ++i) scope[graph.input(i).name()] = place + "/input" + std::to_string(i);
    for (int i = 0; i < graph.initializer_size(); ++i) {
      scope[graph.initializer(i).name()] = place + "/initializer" + std::to_string(i);
    }
    for (int i = 0; i < graph.node_size(); ++i) {
      const std::string here = place + "/" + std::to_string(i);
      for (const std::string& input : graph.node(i).input()) uses_.push_back(here + " " + scope.at(input));
      for (const onnx::AttributeProto& attribute : graph.node(i).attribute()) {
        if (attribute.has_g()) this->graph(attribute.g(), scope, here + attribute.name());
      }
      for (int k = 0; k < graph.node(i).output_size(); ++k) {
        scope[graph.node(i).output(k)] = here + ":" + std::to_string(k);
      }
    }
    for (const onnx::ValueInfoProto& value : graph.output()) uses_.push_back(place + " out " + scope.at(value.name()));
  }

  std::vector<std::string> uses_;
};

TEST(OnnxGraphBytes, ShortNamesReferToTheSameValues) {
  const OnnxModel model = load_text(kNestedGraph);
  const onnx::ModelProto proto = dropped(model);
  EXPECT_EQ(Uses::of(proto.graph()), Uses::of(model.proto.graph()));
  EXPECT_LT(proto.ByteSizeLong(), model.proto.ByteSizeLong() * 3 / 4);
}

TEST(OnnxGraphBytes, ShortNamesAvoidThoseOfInputsAndOutputs) {
  const OnnxModel model = load_text(R"(g (float[1] a, float[1] c) => (float[1] b, float[1] d) <float[1] w = {1}> {
    first = Add(a, w)
    second = Mul(first, c)
    b = Relu(second)
    third = Neg(b)
    d = Relu(third) })");
  const onnx::ModelProto proto = dropped(model);
  EXPECT_EQ(Uses::of(proto.graph()), Uses::of(model.proto.graph()));
  EXPECT_NO_THROW(onnx::checker::check_model(proto));
}

TEST(OnnxGraphBytes, MoreThanTwentySixNames) {
  std::string nodes = "v0 = Relu(x)\n";
  for (int i = 1; i < 900; ++i) nodes += fmt::format("v{} = Relu(v{})\n", i, i - 1);
  const OnnxModel model = load_text("g (float[1] x) => (float[1] y) {" + nodes + "y = Relu(v899) }");
  const onnx::ModelProto proto = dropped(model);
  EXPECT_EQ(Uses::of(proto.graph()), Uses::of(model.proto.graph()));
  EXPECT_EQ(proto.graph().node(25).output(0), "ab");  // "x" and "y" are taken
  EXPECT_NO_THROW(onnx::checker::check_model(proto));
}

TEST(OnnxGraphBytes, OldInitializersThatAreInputsKeepTheirNames) {
  onnx::ModelProto proto = parse_text("g (float[1] x, float[1] weight) => (float[1] y) { y = Add(x, weight) }");
  TensorProto* tensor = proto.mutable_graph()->add_initializer();
  tensor->set_name("weight");
  tensor->set_data_type(TensorProto::FLOAT);
  tensor->add_dims(1);
  tensor->add_float_data(2);
  const onnx::ModelProto short_one = dropped(load_proto(proto));
  EXPECT_EQ(short_one.graph().initializer(0).name(), "weight");
  EXPECT_EQ(short_one.graph().node(0).input(1), "weight");
}

TEST(OnnxGraphBytes, WhatNobodyNeedsIsDropped) {
  onnx::ModelProto proto = parse_text(kNestedGraph);
  proto.set_doc_string("SECRET");
  onnx::GraphProto& graph = *proto.mutable_graph();
  graph.set_doc_string("SECRET");
  graph.mutable_node(0)->set_doc_string("SECRET");
  graph.mutable_node(0)->set_name("SECRET");
  graph.mutable_node(1)->mutable_attribute(0)->set_doc_string("SECRET");
  graph.mutable_node(1)->mutable_attribute(0)->mutable_t()->set_name("SECRET");
  graph.mutable_initializer(0)->set_doc_string("SECRET");
  graph.mutable_input(0)->set_doc_string("SECRET");
  graph.add_value_info()->set_name("SECRET");
  onnx::StringStringEntryProto* metadata = proto.add_metadata_props();
  metadata->set_key("labels");
  metadata->set_value("cat,dog");
  const OnnxModel model = load_proto(proto);
  EXPECT_EQ(dropped(model).SerializeAsString().find("SECRET"), std::string::npos);
  EXPECT_EQ(dropped(model).metadata_props(0).value(), "cat,dog");
  EXPECT_NE(to_graph_bytes(model).bytes.find("SECRET"), std::string::npos);
}

TEST(OnnxGraphBytes, AnUndefinedValueIsAnError) {
  const OnnxModel model = load_text("g (float[1] x) => (float[1] y) { y = Add(x, nothing) }");
  EXPECT_TRUE(
      contains(error_of([&] { to_graph_bytes(model, {.drop_names = true}); }), "'nothing' is used but nothing"));
}

TEST(OnnxGraphBytes, QuantizationAnnotationsFollowTheNames) {
  onnx::ModelProto proto = parse_text(kNestedGraph);
  onnx::TensorAnnotation* annotation = proto.mutable_graph()->add_quantization_annotation();
  annotation->set_tensor_name("sum");
  onnx::StringStringEntryProto* entry = annotation->add_quant_parameter_tensor_names();
  entry->set_key("SCALE_TENSOR");
  entry->set_value("weight_b");
  const onnx::ModelProto short_one = dropped(load_proto(proto));
  EXPECT_EQ(short_one.graph().quantization_annotation(0).tensor_name(), short_one.graph().node(0).output(0));
  EXPECT_EQ(short_one.graph().quantization_annotation(0).quant_parameter_tensor_names(0).value(),
            short_one.graph().initializer(1).name());
}

}  // namespace
}  // namespace quench
