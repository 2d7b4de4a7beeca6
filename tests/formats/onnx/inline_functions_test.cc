#include "formats/onnx/inline_functions.h"

#include <onnx/defs/parser.h>

#include <algorithm>

#include "tests/formats/onnx/test_models.h"

namespace quench {
namespace {

using namespace testing;

// `graph`, which may call the functions, each written as `name (inputs) => (outputs) { body }`.
onnx::ModelProto model_of(const std::string& graph, const std::vector<std::string>& functions,
                          int function_opset = 17) {
  onnx::ModelProto proto = parse_text(graph);
  onnx::OperatorSetIdProto& import = *proto.add_opset_import();
  import.set_domain("local");
  import.set_version(1);
  for (const std::string& text : functions) {
    onnx::FunctionProto& function = *proto.add_functions();
    const std::string header = "<domain: \"local\", opset_import: [\"\" : " + std::to_string(function_opset) + "]>\n";
    const auto status = onnx::OnnxParser::Parse(function, (header + text).c_str());
    if (!status.IsOK()) throw std::runtime_error(status.ErrorMessage());
  }
  return proto;
}

onnx::ModelProto model_with_functions(const std::vector<std::vector<std::string>>& calls) {
  onnx::ModelProto proto = parse_text("g (float[1] x) => (float[1] y) { y = Relu(x) }");
  proto.mutable_graph()->mutable_node(0)->set_op_type("f0");
  proto.mutable_graph()->mutable_node(0)->set_domain("local");
  onnx::OperatorSetIdProto& import = *proto.add_opset_import();
  import.set_domain("local");
  import.set_version(1);
  for (size_t f = 0; f < calls.size(); ++f) {
    onnx::FunctionProto& function = *proto.add_functions();
    function.set_name("f" + std::to_string(f));
    function.set_domain("local");
    function.add_input("a0");
    *function.mutable_opset_import() = proto.opset_import();
    for (size_t c = 0; c < calls[f].size(); ++c) {
      onnx::NodeProto& node = *function.add_node();
      node.set_op_type(calls[f][c]);
      if (calls[f][c] != "Relu") node.set_domain("local");
      node.add_input("a" + std::to_string(c));
      node.add_output("a" + std::to_string(c + 1));
    }
    function.add_output("a" + std::to_string(calls[f].size()));
  }
  return proto;
}

// The nodes as "outputs = Operator(inputs)", one line each.
std::string lines_of(const onnx::GraphProto& graph) {
  std::string lines;
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& output : node.output()) lines += output + " ";
    lines += "= " + node.op_type() + "(";
    for (const std::string& input : node.input()) lines += (&input == &node.input(0) ? "" : ", ") + input;
    lines += ")\n";
  }
  return lines;
}

TEST(InlineFunctions, ACallBecomesTheNodesOfTheBody) {
  const onnx::ModelProto proto = model_of("g (float[2] x) => (float[2] y) { a = local.f(x)\n y = local.f(a) }",
                                          {"f (u) => (v) { a = Relu(u)\n v = Neg(a) }"});
  const OnnxModel model = load_proto(proto);
  EXPECT_EQ(model.proto.functions_size(), 0);
  EXPECT_TRUE(check(model).empty());
  EXPECT_EQ(lines_of(model.proto.graph()), "f.0.a = Relu(x)\na = Neg(f.0.a)\nf.1.a = Relu(a)\ny = Neg(f.1.a)\n");
}

TEST(InlineFunctions, FunctionsMayCallOthersAndHandInputsOn) {
  onnx::ModelProto proto = model_of("g (float[2] x) => (float[2] y, float[2] z) { y, z = local.outer(x) }",
                                    {"outer (u) => (v, u) { v = local.inner(u) }", "inner (p) => (q) { q = Exp(p) }"});
  EXPECT_EQ(lines_of(load_proto(proto).proto.graph()), "y = Exp(x)\nz = Identity(x)\n");
  // An output that the call does not want, an input that it leaves out.
  proto = model_of("g (float[2] x) => (float[2] y) { y = local.f(x) }",
                   {"f (u, least) => (v, w) { v = Clip(u, least)\n w = Neg(u) }"});
  EXPECT_EQ(lines_of(load_proto(proto).proto.graph()), "y = Clip(x, )\nf.0.w = Neg(x)\n");
}

TEST(InlineFunctions, AttributesAreTheCallsOrTheFunctionsOrLeftOut) {
  onnx::ModelProto proto =
      model_of("g (float[2] x) => (float[2] y, float[2] z) { y = local.f <slope = 0.5> (x)\n z = local.f(x) }",
               {"f <slope> (u) => (v) { v = LeakyRelu <alpha : float = @slope> (u) }"});
  OnnxModel model = load_proto(proto);
  ASSERT_EQ(model.proto.graph().node(0).attribute_size(), 1);
  EXPECT_EQ(model.proto.graph().node(0).attribute(0).name(), "alpha");
  EXPECT_EQ(model.proto.graph().node(0).attribute(0).f(), 0.5f);
  EXPECT_EQ(model.proto.graph().node(1).attribute_size(), 0);

  // FunctionProto.attribute_proto (field 11), which the library may not know.
  onnx::AttributeProto slope;
  slope.set_name("slope");
  slope.set_type(onnx::AttributeProto::FLOAT);
  slope.set_f(0.25f);
  const auto add_default = [&] {
    const std::string bytes = slope.SerializeAsString();
    const std::string field = std::string("\x5a") + static_cast<char>(bytes.size()) + bytes;
    return proto.mutable_functions(0)->MergeFromString(field);
  };
  ASSERT_TRUE(add_default());
  model = load_proto(proto);
  EXPECT_EQ(model.proto.graph().node(0).attribute(0).f(), 0.5f);
  ASSERT_EQ(model.proto.graph().node(1).attribute_size(), 1);
  EXPECT_EQ(model.proto.graph().node(1).attribute(0).f(), 0.25f);
}

TEST(InlineFunctions, SubgraphsAreEnteredAndNamesStayApart) {
  const onnx::ModelProto proto = model_of(
      R"(g (float[2] x, bool c) => (float[2] y) {
        f_0_a = Abs(x)
        y = If (c) <then_branch = t () => (float[2] r) { r = local.f(f_0_a, c) },
                    else_branch = e () => (float[2] s) { s = Identity(f_0_a) }>
      })",
      {R"(f (u, k) => (v) {
        a = Neg(u)
        v = If (k) <then_branch = t () => (float[2] b) { b = Relu(a) }, else_branch = e () => (float[2] d) { d = Exp(u) }>
      })"});
  onnx::ModelProto clash = proto;  // a value that is called as the first name that comes to mind
  clash.mutable_graph()->mutable_node(0)->set_output(0, "f.0.a");
  for (onnx::AttributeProto& branch : *clash.mutable_graph()->mutable_node(1)->mutable_attribute())
    branch.mutable_g()->mutable_node(0)->set_input(0, "f.0.a");
  const OnnxModel model = load_proto(clash);
  EXPECT_TRUE(check(model).empty());
  const onnx::GraphProto& branch = model.proto.graph().node(1).attribute(0).g();
  EXPECT_EQ(lines_of(branch), "f.0.a.2 = Neg(f.0.a)\nr = If(c)\n");
  EXPECT_EQ(lines_of(branch.node(1).attribute(0).g()), "f.0.b = Relu(f.0.a.2)\n");
  EXPECT_EQ(lines_of(branch.node(1).attribute(1).g()), "f.0.d = Exp(f.0.a)\n");
}

TEST(InlineFunctions, WhatMeansSomethingElseInTheModelsOperatorSetStays) {
  const std::string graph = "g (float[2,2] x) => (float[2,2] y) { y = local.f(x) }";
  // Relu of opset 14 is that of 17; Softmax of opset 11 is not that of 13.
  EXPECT_EQ(lines_of(load_proto(model_of(graph, {"f (u) => (v) { v = Relu(u) }"}, 14)).proto.graph()), "y = Relu(x)\n");
  const OnnxModel kept = load_proto(model_of(graph, {"f (u) => (v) { v = Softmax(u) }"}, 11));
  EXPECT_EQ(kept.proto.functions_size(), 1);
  EXPECT_EQ(lines_of(kept.proto.graph()), "y = f(x)\n");
  // Nor does what it is called with: a function of the model's version could not be told from one of its own.
  const OnnxModel both = load_proto(model_of("g (float[2,2] x) => (float[2,2] y) { a = local.f(x)\n y = local.h(a) }",
                                             {"f (u) => (v) { v = Softmax(u) }", "h (u) => (v) { v = Relu(u) }"}, 11));
  EXPECT_EQ(lines_of(both.proto.graph()), "a = f(x)\ny = h(a)\n");
  // What is not called does not matter.
  EXPECT_EQ(load_proto(
                model_of("g (float[2,2] x) => (float[2,2] y) { y = Relu(x) }", {"f (u) => (v) { v = Softmax(u) }"}, 11))
                .proto.functions_size(),
            0);
  // Two of one name: overloads, which the library may not know.
  const std::string body = "f (u) => (v) { v = Relu(u) }";
  EXPECT_EQ(load_proto(model_of(graph, {body, body})).proto.functions_size(), 2);
}

// But not so often that a small file becomes a large one.
TEST(InlineFunctions, WeightsThatCallsRepeatAreBounded) {
  onnx::ModelProto proto = model_of("g (float[1] x) => (float[262144] y) { y = local.f(x) }",
                                    {"f (u) => (v) { w = Constant <value = float[1] {3}> ()\n v = Add(u, w) }"});
  onnx::TensorProto& tensor = *proto.mutable_functions(0)->mutable_node(0)->mutable_attribute(0)->mutable_t();
  tensor.clear_float_data();
  tensor.set_dims(0, 1 << 18);  // 1 MiB
  tensor.set_raw_data(std::string(1 << 20, 'w'));
  const auto add_calls = [&](int count) {
    for (int n = 0; n < count; ++n) {
      onnx::NodeProto& node = *proto.mutable_graph()->add_node();
      node = proto.graph().node(0);
      node.set_output(0, "z" + std::to_string(proto.graph().node_size()));
    }
  };
  add_calls(200);
  EXPECT_EQ(load_proto(proto).weights.size(), 201u);
  add_calls(100);
  EXPECT_TRUE(contains(error_of([&] { load_proto(proto); }), "256 MiB"));
}

// Few bytes that would come to many: one argument for many attributes, one name for many calls, graphs in graphs.
TEST(InlineFunctions, WhatIsHandedOnIsBounded) {
  onnx::ModelProto handed =
      model_of("g (float[2] x) => (float[2] y) { y = local.f <a = \"b\"> (x) }", {"f <a> (u) => (v) { v = Relu(u) }"});
  handed.mutable_graph()->mutable_node(0)->mutable_attribute(0)->set_s(std::string(1 << 20, 'b'));
  for (int i = 0; i < 1000; ++i) {
    onnx::AttributeProto& attribute = *handed.mutable_functions(0)->mutable_node(0)->add_attribute();
    attribute.set_name("n" + std::to_string(i));
    attribute.set_ref_attr_name("a");
    attribute.set_type(onnx::AttributeProto::STRING);
  }
  EXPECT_TRUE(contains(error_of([&] { load_proto(handed); }), "256 MiB"));

  onnx::ModelProto named =
      model_of("g (float[2] x) => (float[2] y) { y = local.f(x) }", {"f (u) => (v) { a = Relu(u)\n v = Neg(a) }"});
  named.mutable_graph()->mutable_node(0)->set_name(std::string(1 << 20, 'n'));
  for (int i = 0; i < 3000; ++i) {
    onnx::NodeProto& node = *named.mutable_graph()->add_node();
    node = named.graph().node(0);
    node.set_name("n");
    node.set_output(0, "y" + std::to_string(i));
  }
  const OnnxModel model = load_proto(named);
  EXPECT_EQ(model.proto.graph().node_size(), 2 * 3001);
  EXPECT_TRUE(check(model).empty());

  std::vector<std::vector<std::string>> calls;
  for (int f = 1; f < 60; ++f) calls.push_back({"f" + std::to_string(f)});
  calls.push_back({"Relu"});
  onnx::ModelProto deep = model_with_functions(calls);
  for (onnx::FunctionProto& function : *deep.mutable_functions()) {
    const onnx::NodeProto inner = function.node(0);
    onnx::NodeProto& branch = *function.mutable_node(0);
    branch.set_op_type("If");
    branch.clear_domain();
    for (const char* name : {"then_branch", "else_branch"}) {
      onnx::AttributeProto& attribute = *branch.add_attribute();
      attribute.set_name(name);
      attribute.set_type(onnx::AttributeProto::GRAPH);
      if (std::string(name) == "then_branch") *attribute.mutable_g()->add_node() = inner;
      attribute.mutable_g()->add_output()->set_name(inner.output(0));
    }
  }
  EXPECT_TRUE(contains(error_of([&] { load_proto(deep); }), "graphs are nested too deeply"));
}

// Each call has the weights of the function's body; they are the same values.
TEST(InlineFunctions, WeightsOfTheBodyAreListedForEachCall) {
  const OnnxModel model =
      load_proto(model_of("g (float[2] x) => (float[2] y) { a = local.f(x)\n y = local.f(a) }",
                          {"f (u) => (v) { w = Constant <value = float[2] {3, 4}> ()\n v = Add(u, w) }"}));
  ASSERT_EQ(model.weights.size(), 2u);
  for (const Weight& weight : model.weights) EXPECT_EQ(read_float(weight), (std::vector<float>{3, 4}));
}

TEST(InlineFunctions, FunctionsThatCallThemselvesOrExplodeAreRefused) {
  const auto error_with = [](const std::vector<std::vector<std::string>>& calls) {
    return error_of([&] { load_proto(model_with_functions(calls)); });
  };
  EXPECT_EQ(error_with({{"f1", "f1"}, {"Relu"}}), "no error");
  EXPECT_TRUE(contains(error_with({{"f0"}}), "function 'f0' calls itself"));
  EXPECT_TRUE(contains(error_with({{"f1"}, {"f2"}, {"f0"}}), "calls itself"));
  std::vector<std::vector<std::string>> doubling, chain;
  for (int f = 1; f < 30; ++f) doubling.push_back({"f" + std::to_string(f), "f" + std::to_string(f)});
  doubling.push_back({"Relu"});
  EXPECT_TRUE(contains(error_with(doubling), "a million nodes"));
  for (int f = 1; f < 50000; ++f) chain.push_back({"f" + std::to_string(f)});
  chain.push_back({"Relu"});
  EXPECT_TRUE(contains(error_with(chain), "nested too deeply"));
  // However they are called: the last comes first by name.
  onnx::ModelProto reversed = model_with_functions(chain);
  const auto turned = [](const std::string& name) {
    return name == "Relu" ? name : "g" + std::to_string(1000000 - std::stoi(name.substr(1)));
  };
  reversed.mutable_graph()->mutable_node(0)->set_op_type(turned("f0"));
  for (onnx::FunctionProto& function : *reversed.mutable_functions()) {
    function.set_name(turned(function.name()));
    for (onnx::NodeProto& node : *function.mutable_node()) node.set_op_type(turned(node.op_type()));
  }
  EXPECT_TRUE(contains(error_of([&] { load_proto(reversed); }), "nested too deeply"));
  // Each of many calls is small enough.
  onnx::ModelProto calls = model_with_functions({std::vector<std::string>(2000, "Relu")});
  onnx::GraphProto& graph = *calls.mutable_graph();
  for (int n = 0; n < 1000; ++n) {
    onnx::NodeProto& node = *graph.add_node();
    node = graph.node(0);
    node.set_output(0, "y" + std::to_string(n));
  }
  EXPECT_TRUE(contains(error_of([&] { load_proto(calls); }), "test.onnx: the model's functions come to more than"));
}

}  // namespace
}  // namespace quench
