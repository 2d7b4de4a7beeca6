// Names that repeat from block to block, and what they mean.
#include "formats/onnx/terse_names.h"

#include <map>
#include <set>

#include "tests/formats/onnx/test_models.h"

namespace quench {
namespace {

using namespace testing;

// What each node reads and what the graph gives, by where it was made: names are no part of it.
std::vector<std::string> meaning(const onnx::GraphProto& graph) {
  std::map<std::string, std::string> made;
  std::vector<std::string> reads;
  for (const onnx::ValueInfoProto& input : graph.input()) made[input.name()] = "input " + input.name();
  for (const onnx::TensorProto& tensor : graph.initializer()) made[tensor.name()] = "weight of " + tensor.raw_data();
  for (int n = 0; n < graph.node_size(); ++n) {
    for (const std::string& input : graph.node(n).input()) reads.push_back(input.empty() ? "none" : made.at(input));
    for (int k = 0; k < graph.node(n).output_size(); ++k) {
      made[graph.node(n).output(k)] = std::to_string(n) + ":" + std::to_string(k);
    }
  }
  for (const onnx::ValueInfoProto& output : graph.output()) reads.push_back(made.at(output.name()));
  return reads;
}

// A weight whose bytes say its name.
void add_weight(onnx::ModelProto& model, const std::string& name) {
  onnx::TensorProto* tensor = model.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::UINT8);
  tensor->add_dims(static_cast<int64_t>(name.size()));
  tensor->set_raw_data(name);
}

onnx::ModelProto residual_network() {
  onnx::ModelProto model = parse_text(R"(g (float[N] x) => (float[N] y, float[N] inner) {
    a1 = Conv(x, w1, b1)
    inner = Relu(a1)
    a2 = Conv(inner, w2, shared)
    sum1 = Add(a2, inner)
    a3 = Conv(sum1, w3, b3)
    a4 = Relu(a3)
    left, unused, right = Split(a4)
    twice = Mul(right, right)
    clipped = Clip(twice, , w4)
    sum2 = Concat(left, clipped, sum1)
    y = Conv(sum2, w5, shared) })");
  for (const char* name : {"w5", "unneeded", "shared", "w1", "b1", "w3", "w2", "b3", "w4"}) add_weight(model, name);
  return model;
}

TEST(TerseNames, MeanTheSameValues) {
  const onnx::ModelProto before = residual_network();
  onnx::ModelProto model = before;
  ASSERT_TRUE(make_names_terse(model));
  EXPECT_NE(model.SerializeAsString(), before.SerializeAsString());
  EXPECT_EQ(model.graph().input(0).name(), "x");
  EXPECT_EQ(model.graph().output(1).name(), "inner");
  expand_terse_names(model, "file");
  EXPECT_EQ(meaning(model.graph()), meaning(before.graph()));
}

TEST(TerseNames, WeightsOfOneUseHaveNoneAndComeInTheOrderOfTheirUse) {
  onnx::ModelProto model = residual_network();
  ASSERT_TRUE(make_names_terse(model));
  std::vector<std::string> order;
  int nameless = 0;
  for (const onnx::TensorProto& tensor : model.graph().initializer()) {
    order.push_back(tensor.raw_data());
    if (tensor.name().empty()) ++nameless;
  }
  EXPECT_EQ(order, (std::vector<std::string>{"w1", "b1", "w2", "w3", "b3", "w4", "w5", "unneeded", "shared"}));
  EXPECT_EQ(nameless, 7);
}

TEST(TerseNames, AnInputThatIsLeftOutIsNoWeightWithoutAName) {
  onnx::ModelProto model = parse_text("g (float[N] x) => (float[N] y) { y = Clip(x, , high) }");
  add_weight(model, "");
  add_weight(model, "high");
  ASSERT_TRUE(make_names_terse(model));
  EXPECT_EQ(model.graph().node(0).input(1), "");
  EXPECT_EQ(model.graph().node(0).input(2), "+");
  EXPECT_EQ(model.graph().initializer(0).raw_data(), "high");
  expand_terse_names(model, "file");
  EXPECT_EQ(model.graph().node(0).input(2), model.graph().initializer(0).name());
}

TEST(TerseNames, EqualBlocksHaveEqualBytes) {
  std::string nodes;
  for (int i = 0; i < 40; ++i) {
    nodes += fmt::format(
        "a{0} = Conv(u{0}, w{0})\n b{0} = Relu(a{0})\n c{0} = Conv(b{0}, v{0})\n u{1} = Add(c{0}, u{0})\n", i, i + 1);
  }
  onnx::ModelProto model = parse_text("g (float[N] x) => (float[N] y) { u0 = Relu(x)\n" + nodes + "y = Relu(u40) }");
  for (int i = 0; i < 40; ++i) add_weight(model, fmt::format("w{}", i));
  for (int i = 0; i < 40; ++i) add_weight(model, fmt::format("v{}", i));
  ASSERT_TRUE(make_names_terse(model));
  for (int n = 5; n < 161; ++n) {
    EXPECT_EQ(model.graph().node(n).SerializeAsString(), model.graph().node(n - 4).SerializeAsString()) << n;
  }
}

TEST(TerseNames, GraphsWhoseNamesReachFurtherStayAsTheyAre) {
  onnx::ModelProto plus = parse_text("g (float[N] x) => (float[N] y) { y = Relu(x) }");
  plus.mutable_graph()->mutable_input(0)->set_name("+");
  onnx::ModelProto function = residual_network();
  function.add_functions()->set_name("f");
  onnx::ModelProto training = residual_network();
  training.add_training_info();
  onnx::ModelProto sparse = residual_network();
  sparse.mutable_graph()->add_sparse_initializer();
  onnx::ModelProto annotated = residual_network();
  annotated.mutable_graph()->add_quantization_annotation();
  for (onnx::ModelProto model : {parse_text(kNestedGraph), plus, function, training, sparse, annotated}) {
    const std::string before = model.SerializeAsString();
    EXPECT_FALSE(make_names_terse(model));
    EXPECT_EQ(model.SerializeAsString(), before);
  }
}

TEST(TerseNames, WhatNothingDefinesIsAnError) {
  onnx::ModelProto unknown = parse_text("g (float[N] x) => (float[N] y) { y = Add(x, nothing) }");
  EXPECT_TRUE(contains(error_of([&] { expand_terse_names(unknown, "file"); }), "file: the graph uses a value"));
  onnx::ModelProto beyond = parse_text("g (float[N] x) => (float[N] y) { y = Add(x, weight) }");
  beyond.mutable_graph()->mutable_node(0)->set_input(1, "+");  // with no weight left
  EXPECT_TRUE(contains(error_of([&] { expand_terse_names(beyond, "file"); }), "file: the graph uses a value"));
}

TEST(TerseNames, AModelComesBackFromItsGraphBytes) {
  const OnnxModel model = load_proto(residual_network());
  const GraphBytes bytes = to_graph_bytes(model, {.drop_names = true});
  EXPECT_TRUE(bytes.terse);
  ASSERT_EQ(bytes.stripped.size(), 9u);
  EXPECT_EQ(model.weights[bytes.stripped[0]].name, "w1");
  EXPECT_EQ(model.weights[bytes.stripped[8]].name, "shared");
  const onnx::ModelProto proto = parse_graph_bytes(std::as_bytes(std::span(bytes.bytes)), bytes.terse, "graph");
  std::set<std::string> names;
  for (const onnx::NodeProto& node : proto.graph().node()) {
    for (const std::string& output : node.output()) EXPECT_TRUE(names.insert(output).second) << output;
  }
  for (const onnx::TensorProto& tensor : proto.graph().initializer()) EXPECT_TRUE(names.insert(tensor.name()).second);
  EXPECT_EQ(proto.graph().node(1).output(0), "inner");
}

}  // namespace
}  // namespace quench
