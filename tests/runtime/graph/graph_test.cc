#include "runtime/graph/graph.h"

#include "formats/base/float16.h"
#include "tests/runtime/sample_graphs.h"

namespace quench::rt {
namespace {

Status try_open(const std::string& bytes, const ModelOptions& options = {}, const WeightSource& source = {}) {
  ModelHandle model;
  return open_model(as_bytes(bytes), source, options, model);
}

GraphBuilder relu_graph() {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2}).node("Relu", {"x"}, {"y"}).output("y");
  return graph;
}

TEST(Graph, ListsInputsAndOutputs) {
  const std::string bytes = residual_graph().build();
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  ASSERT_EQ(model->inputs().size(), 1u);
  EXPECT_EQ(model->inputs()[0].name, "x");
  EXPECT_EQ(model->inputs()[0].type, ElementType::kFloat32);
  ASSERT_EQ(model->inputs()[0].rank, 4);
  EXPECT_EQ(model->inputs()[0].dims[0], -1);
  EXPECT_EQ(model->inputs()[0].dims[3], 6);
  ASSERT_EQ(model->outputs().size(), 1u);
  EXPECT_EQ(model->outputs()[0].name, "y");
  EXPECT_EQ(model->outputs()[0].rank, -1);
}

GraphBuilder sum_with_default(uint64_t ir_version) {
  GraphBuilder graph(13, ir_version);
  graph.input("b", ElementType::kFloat32, {2}).input("x", ElementType::kFloat32, {2});
  graph.initializer<float>("b", {2}, {10, 20}).node("Add", {"x", "b"}, {"y"}).output("y");
  return graph;
}

TEST(Graph, BeforeIrVersion4AnInputWithAnInitializerIsAConstant) {
  ModelHandle model;
  const std::string bytes = sum_with_default(3).build();
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  EXPECT_EQ(model->inputs().size(), 1u);
  EXPECT_EQ(model->required_inputs(), 1u);
  const auto outputs = run_model(bytes, {HostTensor::of<float>({2}, {1, 2})});
  EXPECT_EQ(outputs.at(0).values<float>(), (std::vector<float>{11, 22}));
}

TEST(Graph, AnInputWithAnInitializerStandsBehindThoseThatARunNeeds) {
  ModelHandle model;
  const std::string bytes = sum_with_default(4).build();
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  ASSERT_EQ(model->inputs().size(), 2u);
  EXPECT_EQ(model->required_inputs(), 1u);
  EXPECT_EQ(model->inputs()[0].name, "x");
  EXPECT_EQ(model->inputs()[1].name, "b");
}

TEST(Graph, AnInputThatIsListedTwiceIsRefusedWithADefaultToo) {
  GraphBuilder graph = sum_with_default(8);
  graph.input("b", ElementType::kFloat32, {2});
  EXPECT_EQ(try_open(graph.build()).code(), StatusCode::kCorrupt);
}

TEST(Graph, NamesTheNodeAndTheOperatorThatItDoesNotHave) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2});
  graph.node("Frobnicate", {"x"}, {"y"}, {}, "layer7", "com.example").output("y");
  const Status status = try_open(graph.build());
  EXPECT_EQ(status.code(), StatusCode::kUnsupportedOperator);
  EXPECT_NE(std::string(status.detail()).find("layer7"), std::string::npos) << status.detail();
  EXPECT_NE(std::string(status.detail()).find("com.example.Frobnicate"), std::string::npos) << status.detail();

  GraphBuilder unnamed;
  unnamed.input("x", ElementType::kFloat32, {2}).node("Frobnicate", {"x"}, {"the_output"}).output("the_output");
  EXPECT_NE(std::string(try_open(unnamed.build()).detail()).find("the_output"), std::string::npos);
}

TEST(Graph, IgnoresAnUnknownOperatorThatNoOutputNeeds) {
  GraphBuilder graph = relu_graph();
  graph.node("Frobnicate", {"x"}, {"unused"});
  EXPECT_TRUE(try_open(graph.build()).ok());
}

TEST(Graph, RefusesContradictions) {
  EXPECT_EQ(try_open("").code(), StatusCode::kCorrupt);  // no graph
  GraphBuilder twice = relu_graph();
  twice.node("Relu", {"x"}, {"y"});
  EXPECT_EQ(try_open(twice.build()).code(), StatusCode::kCorrupt);
  GraphBuilder same_node;
  same_node.input("x", ElementType::kFloat32, {2, 2}).node("Split", {"x"}, {"y", "y"}).output("y");
  EXPECT_EQ(try_open(same_node.build()).code(), StatusCode::kCorrupt);
  GraphBuilder over_input = relu_graph();
  over_input.node("Relu", {"x"}, {"x"});
  EXPECT_EQ(try_open(over_input.build()).code(), StatusCode::kCorrupt);
  GraphBuilder cycle;
  cycle.input("x", ElementType::kFloat32, {2}).node("Add", {"x", "b"}, {"a"}).node("Relu", {"a"}, {"b"}).output("b");
  EXPECT_EQ(try_open(cycle.build()).code(), StatusCode::kCorrupt);
  GraphBuilder dangling;
  dangling.input("x", ElementType::kFloat32, {2}).output("y");
  EXPECT_EQ(try_open(dangling.build()).code(), StatusCode::kCorrupt);
  GraphBuilder no_output;
  no_output.input("x", ElementType::kFloat32, {2}).node("Relu", {"x"}, {"y"});
  EXPECT_EQ(try_open(no_output.build()).code(), StatusCode::kCorrupt);
}

ModelOptions terse_names() {
  ModelOptions options;
  options.terse_names = true;
  return options;
}

// y = ((x + w0) * w1 + w2), of which the two values between have the same name.
GraphBuilder terse_graph() {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2});
  graph.node("Add", {"x", "+"}, {"a"}).node("Mul", {"a", "+"}, {"a"}).node("Add", {"a", "+"}, {"y"}).output("y");
  graph.initializer<float>("", {2}, {1, 2});
  graph.initializer<float>("", {2}, {10, 100});
  graph.initializer<float>("", {1}, {0.5f});
  return graph;
}

TEST(Graph, TerseNamesMeanTheNewestValueAndTheNextWeight) {
  const std::vector<HostTensor> outputs =
      run_model(terse_graph().build(), {HostTensor::of({2}, std::vector<float>{3, 4})}, terse_names());
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{40.5f, 600.5f}));
  EXPECT_EQ(try_open(terse_graph().build()).code(), StatusCode::kCorrupt);  // plain names may not repeat
}

TEST(Graph, TerseNamesOfNothingAreRefused) {
  GraphBuilder beyond = terse_graph();
  beyond.node("Add", {"y", "+"}, {"z"});  // the weights are used up
  EXPECT_EQ(try_open(beyond.build(), terse_names()).code(), StatusCode::kCorrupt);
  GraphBuilder early;
  early.input("x", ElementType::kFloat32, {2}).node("Add", {"x", "a"}, {"a"}).output("a");
  EXPECT_EQ(try_open(early.build(), terse_names()).code(), StatusCode::kCorrupt);
}

TEST(Graph, NodesOfTerseNamesAreCountedInMessages) {
  GraphBuilder graph = terse_graph();
  graph.node("Frobnicate", {"y"}, {"a"}).node("Relu", {"a"}, {"b"}).output("b");
  const Status status = try_open(graph.build(), terse_names());
  EXPECT_EQ(status.code(), StatusCode::kUnsupportedOperator);
  EXPECT_NE(std::string(status.detail()).find("node 3 (Frobnicate)"), std::string::npos) << status.detail();
}

TEST(Graph, KeepsItsLimits) {
  ModelOptions options;
  options.limits.max_nodes = 3;
  EXPECT_EQ(try_open(residual_graph().build(), options).code(), StatusCode::kLimit);
  options = {};
  options.limits.max_graph_bytes = 100;
  EXPECT_EQ(try_open(residual_graph().build(), options).code(), StatusCode::kLimit);
  options = {};
  options.limits.max_tensor_elements = 100;
  EXPECT_EQ(try_open(residual_graph().build(), options).code(), StatusCode::kLimit);
  options = {};
  options.limits.max_values = 10;
  EXPECT_EQ(try_open(residual_graph().build(), options).code(), StatusCode::kLimit);
  options = {};
  options.limits.max_memory_bytes = 5000;
  EXPECT_EQ(try_open(residual_graph().build(), options).code(), StatusCode::kOutOfMemory);
}

TEST(Graph, MillionsOfValuesInAFewMegabytesAreRefused) {
  const auto refused = [](GraphBuilder& graph) {
    const Status status = try_open(graph.output("y").build());
    EXPECT_EQ(status.code(), StatusCode::kLimit);
    EXPECT_NE(std::string_view(status.detail()).find("inner values"), std::string_view::npos) << status.detail();
  };
  constexpr int kMany = 1 << 19;
  GraphBuilder initializers, inputs, arguments;
  for (int i = 0; i < kMany; ++i) initializers.raw_initializer("");
  refused(initializers);
  for (int i = 0; i < kMany; ++i) inputs.input("", ElementType::kFloat32, {});
  refused(inputs);
  const std::vector<std::string> many(1 << 15, "x");
  for (int i = 0; i < 20; ++i) arguments.node("Sum", many, {"y" + std::to_string(i)});
  refused(arguments);
}

TEST(Graph, RefusesImpossibleShapes) {
  GraphBuilder deep = relu_graph();
  deep.stripped("w", ElementType::kFloat32, {1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_EQ(try_open(deep.build()).code(), StatusCode::kShape);
  GraphBuilder negative = relu_graph();
  negative.stripped("w", ElementType::kFloat32, {2, -2});
  EXPECT_EQ(try_open(negative.build()).code(), StatusCode::kShape);
  GraphBuilder overflow = relu_graph();
  overflow.stripped("w", ElementType::kFloat32, {int64_t{1} << 40, int64_t{1} << 40});
  EXPECT_EQ(try_open(overflow.build()).code(), StatusCode::kShape);
}

// One value in every typed field, read through a Cast to float.
TEST(Graph, ReadsEveryTypedField) {
  struct Case {
    ElementType type;
    uint32_t field;
    bool packed;
    uint64_t bits;
    float expected;
  };
  const auto double_bits = [](double value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
  };
  const std::vector<Case> cases = {
      {ElementType::kInt32, 5, false, static_cast<uint64_t>(int64_t{-7}), -7},
      {ElementType::kInt32, 5, true, static_cast<uint64_t>(int64_t{-7}), -7},
      {ElementType::kInt8, 5, true, static_cast<uint64_t>(int64_t{-3}), -3},
      {ElementType::kUint8, 5, false, 250, 250},
      {ElementType::kInt16, 5, true, static_cast<uint64_t>(int64_t{-300}), -300},
      {ElementType::kUint16, 5, true, 65000, 65000},
      {ElementType::kBool, 5, true, 1, 1},
      {ElementType::kInt64, 7, true, static_cast<uint64_t>(int64_t{-70000000000}), -70000000000.0f},
      {ElementType::kInt64, 7, false, 12, 12},
      {ElementType::kUint32, 11, true, 4000000000u, 4000000000.0f},
      {ElementType::kUint64, 11, false, 9000000000u, 9000000000.0f},
      {ElementType::kFloat16, 5, true, 0xC000, -2},
      {ElementType::kBfloat16, 5, false, 0x4040, 3},
      {ElementType::kFloat64, 10, false, double_bits(-2.5), -2.5f},
  };
  for (const Case& c : cases) {
    WireWriter tensor;
    tensor.varint(1, 1).varint(2, static_cast<uint64_t>(c.type)).bytes(8, "w");
    if (c.field == 10) {
      tensor.bytes(10, {reinterpret_cast<const char*>(&c.bits), 8});
    } else if (c.packed) {
      const std::string with_key = WireWriter().varint(1, c.bits).str();
      tensor.bytes(c.field, with_key.substr(1));
    } else {
      tensor.varint(c.field, c.bits);
    }
    GraphBuilder graph;
    graph.raw_initializer(tensor.str()).node("Cast", {"w"}, {"y"}, {integer("to", 1)}).output("y");
    const auto outputs = run_model(graph.build(), {});
    ASSERT_EQ(outputs.size(), 1u);
    EXPECT_EQ(outputs[0].values<float>(), std::vector<float>{c.expected}) << name_of(c.type) << " packed " << c.packed;
  }
}

TEST(Graph, RefusesWeightsOfAnotherSizeThanTheirShape) {
  for (const size_t bytes : {4u, 7u, 12u}) {
    const std::string raw(bytes, '\1');
    GraphBuilder graph;
    graph.input("x", ElementType::kFloat32, {2})
        .raw_initializer(tensor_proto("w", ElementType::kFloat32, {2}, raw.data(), raw.size()));
    graph.node("Add", {"x", "w"}, {"y"}).output("y");
    std::vector<HostTensor> outputs;
    const Status status = try_run_model(graph.build(), {HostTensor::of<float>({2}, {1, 2})}, &outputs);
    EXPECT_EQ(status.code(), StatusCode::kCorrupt) << bytes;
    EXPECT_NE(std::string(status.detail()).find("'w'"), std::string::npos) << status.detail();
  }
  for (int count : {1, 3}) {
    WireWriter tensor;
    tensor.varint(1, 2).varint(2, 1).bytes(8, "w");
    for (int i = 0; i < count; ++i) tensor.fixed32(4, 1);
    GraphBuilder graph;
    graph.input("x", ElementType::kFloat32, {2})
        .raw_initializer(tensor.str())
        .node("Add", {"x", "w"}, {"y"})
        .output("y");
    std::vector<HostTensor> outputs;
    EXPECT_EQ(try_run_model(graph.build(), {HostTensor::of<float>({2}, {1, 2})}, &outputs).code(),
              StatusCode::kCorrupt);
  }
}

TEST(Graph, ConstantNodesOfEveryKind) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2, 2});
  graph.node("Constant", {}, {"a"}, {tensor<float>("value", {2}, {10, 20})});
  graph.node("Constant", {}, {"b"}, {number("value_float", 0.5f)});
  graph.node("Constant", {}, {"c"}, {numbers("value_floats", {100, 200})});
  graph.node("Constant", {}, {"d"}, {ints("value_ints", {4})});
  graph.node("Constant", {}, {"e"}, {integer("value_int", 0)});
  graph.node("Add", {"x", "a"}, {"xa"}).node("Mul", {"xa", "b"}, {"xb"}).node("Add", {"xb", "c"}, {"xc"});
  graph.node("Reshape", {"xc", "d"}, {"xd"}).node("Gather", {"xd", "e"}, {"y"}).output("y").output("xd");
  const auto outputs = run_model(graph.build(), {HostTensor::of<float>({2, 2}, {1, 2, 3, 4})});
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{105.5f}));
  EXPECT_EQ(outputs[1].values<float>(), (std::vector<float>{105.5f, 211, 106.5f, 212}));
}

// Stripped tensors are numbered in the order of the bytes: those inside attributes and their subgraphs first.
TEST(Graph, NumbersStrippedTensors) {
  const auto stripped = [](std::string_view name) {
    return tensor_proto(name, ElementType::kFloat32, {1}, nullptr, 0);
  };
  const std::string empty = tensor_proto("none", ElementType::kFloat32, {0}, nullptr, 0);  // has no elements: no number
  const std::string full = tensor_proto("full", ElementType::kFloat32, {1}, "\0\0\0\0", 4);
  const std::string inner_node = WireWriter()
                                     .bytes(4, "Constant")
                                     .bytes(5, attribute_of_type("value", 4, WireWriter().bytes(5, stripped("t2"))))
                                     .str();
  const std::string subgraph = WireWriter().bytes(1, inner_node).bytes(5, stripped("t3")).str();
  const std::string sparse = WireWriter().bytes(1, stripped("t4")).bytes(2, stripped("t5")).str();
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {1});
  graph.node("Constant", {}, {"c0"}, {attribute_of_type("value", 4, WireWriter().bytes(5, stripped("t0")))});
  graph.node("Unused", {}, {"u"},
             {attribute_of_type("tensors", 9, WireWriter().bytes(10, stripped("t1")).bytes(10, empty)),
              attribute_of_type("branch", 5, WireWriter().bytes(6, subgraph)),
              attribute_of_type("sparse", 11, WireWriter().bytes(22, sparse))});
  graph.raw_initializer(full).raw_initializer(stripped("t6")).raw_initializer(stripped("t7"));
  graph.node("Add", {"x", "c0"}, {"a"}).node("Add", {"a", "t7"}, {"y"}).output("y");

  std::vector<uint32_t> asked;
  WeightSource source;
  source.user = &asked;
  source.decode = [](void* user, uint32_t tensor, uint64_t first, std::span<std::byte> out) {
    EXPECT_EQ(first, 0u);
    EXPECT_EQ(out.size(), sizeof(float));
    const auto value = static_cast<float>(tensor);
    std::memcpy(out.data(), &value, sizeof value);
    static_cast<std::vector<uint32_t>*>(user)->push_back(tensor);
    return Status();
  };
  const std::string bytes = graph.build();
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), source, {}, model).ok());
  SessionHandle session;
  ASSERT_TRUE(create_session(*model, {}, session).ok());
  std::vector<HostTensor> outputs;
  const Status status = run_session(*session, {HostTensor::of<float>({1}, {100})}, &outputs);
  ASSERT_TRUE(status.ok()) << status.detail();
  EXPECT_EQ(outputs[0].values<float>(), std::vector<float>{107});
  std::sort(asked.begin(), asked.end());
  EXPECT_EQ(asked, (std::vector<uint32_t>{0, 7}));
}

TEST(Graph, RefusesSubgraphsThatAreNestedTooDeeply) {
  std::string graph_bytes;
  for (int depth = 0; depth < 100; ++depth) {
    const std::string attribute = attribute_of_type("body", 5, WireWriter().bytes(6, graph_bytes));
    graph_bytes = WireWriter().bytes(1, WireWriter().bytes(4, "Loop").bytes(5, attribute).str()).str();
  }
  const std::string model = WireWriter().bytes(7, graph_bytes).str();
  EXPECT_EQ(try_open(model).code(), StatusCode::kLimit);
}

TEST(Graph, GivesInnerValuesByName) {
  const std::string_view names[] = {"r1", "c2"};
  ModelOptions options;
  options.extra_outputs = names;
  const HostTensor x = random_tensor({2, 4, 6, 6}, 3);
  const auto with = run_model(residual_graph().build(), {x}, options);
  options.fuse = false;
  const auto unfused = run_model(residual_graph().build(), {x}, options);
  ASSERT_EQ(with.size(), 3u);
  ASSERT_EQ(unfused.size(), 3u);
  EXPECT_EQ(with[1].shape, (std::vector<int64_t>{2, 4, 6, 6}));
  for (size_t i = 0; i < 3; ++i) {
    const std::vector<float> a = with[i].values<float>();
    const std::vector<float> b = unfused[i].values<float>();
    ASSERT_EQ(a.size(), b.size());
    for (size_t e = 0; e < a.size(); ++e) EXPECT_NEAR(a[e], b[e], 1e-4f) << i;
  }
  const std::string_view unknown[] = {"nothing"};
  options.extra_outputs = unknown;
  const Status status = try_open(residual_graph().build(), options);
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(std::string(status.detail()).find("nothing"), std::string::npos);
}

// Hostile bytes: whatever they are, the result is a run or an error.
void open_and_run(const std::string& bytes) {
  ModelOptions options;
  options.limits.max_memory_bytes = 1 << 22;
  options.limits.max_tensor_elements = 1 << 18;
  SessionOptions session_options;
  session_options.max_memory_bytes = 1 << 22;
  std::vector<HostTensor> outputs;
  static const HostTensor x = random_tensor({1, 4, 6, 6}, 1);
  static_cast<void>(try_run_model(bytes, {x}, &outputs, options, session_options));
}

TEST(Graph, SurvivesEveryPrefix) {
  const std::string bytes = residual_graph().build();
  for (size_t length = 0; length < bytes.size(); ++length) {
    const std::string prefix(bytes.data(), length);  // of its own, so that a sanitizer sees a read beyond its end
    open_and_run(prefix);
    EXPECT_FALSE(try_open(prefix).ok()) << length;  // the operator set is named last
  }
}

TEST(Graph, SurvivesFlippedBits) {
  const std::string bytes = residual_graph().build();
  std::mt19937 random(5);
  for (int round = 0; round < 4000; ++round) {
    std::string damaged = bytes;
    for (uint32_t flips = 1 + random() % 3; flips > 0; --flips) {
      // Mostly outside the weights, where there is something to understand.
      size_t at = random() % damaged.size();
      if (random() % 4 != 0) at %= 700;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    }
    open_and_run(damaged);
  }
}

}  // namespace
}  // namespace quench::rt
