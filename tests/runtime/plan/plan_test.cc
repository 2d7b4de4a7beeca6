#include "runtime/plan/plan.h"

#include <algorithm>
#include <cmath>

#include "runtime/plan/draft.h"
#include "tests/runtime/sample_graphs.h"

namespace quench::rt {
namespace {

// A model with one session, kept so that a test can look at its plan.
struct Opened {
  explicit Opened(std::string model_bytes, const ModelOptions& model_options = {},
                  const SessionOptions& session_options = {})
      : bytes(std::move(model_bytes)) {
    Status status = open_model(as_bytes(bytes), {}, model_options, model);
    EXPECT_TRUE(status.ok()) << status.detail();
    if (!status.ok()) return;
    status = create_session(*model, session_options, session);
    EXPECT_TRUE(status.ok()) << status.detail();
  }
  std::vector<HostTensor> run(const std::vector<HostTensor>& inputs) {
    std::vector<HostTensor> outputs;
    const Status status = run_session(*session, inputs, &outputs);
    EXPECT_TRUE(status.ok()) << status.detail();
    return outputs;
  }
  std::vector<std::string> ops() const {
    std::vector<std::string> names;
    for (const Step& step : session->plan()->steps()) names.emplace_back(step.kernel->op);
    return names;
  }

  std::string bytes;
  ModelHandle model;
  SessionHandle session;
};

using Names = std::vector<std::string>;

ModelOptions reference_options() {
  ModelOptions options;
  options.kernels = KernelSet::kReference;
  options.fuse = false;
  return options;
}

void expect_near(const std::vector<HostTensor>& a, const std::vector<HostTensor>& b, float tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].shape, b[i].shape);
    const std::vector<float> left = a[i].values<float>();
    const std::vector<float> right = b[i].values<float>();
    ASSERT_EQ(left.size(), right.size());
    for (size_t e = 0; e < left.size(); ++e) {
      ASSERT_NEAR(left[e], right[e], tolerance * (1 + std::abs(right[e]))) << "output " << i << ", element " << e;
    }
  }
}

void expect_same_bits(const std::vector<HostTensor>& a, const std::vector<HostTensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].bytes, b[i].bytes);
    EXPECT_EQ(std::memcmp(a[i].data(), b[i].data(), a[i].bytes), 0) << "output " << i;
  }
}

TEST(Plan, FoldsShapeArithmeticForAnyBatch) {
  Opened model(residual_graph().build());
  for (int64_t batch : {1, 3, 1, 2}) {
    const auto outputs = model.run({random_tensor({batch, 4, 6, 6}, 9)});
    ASSERT_EQ(outputs.size(), 1u);
    EXPECT_EQ(outputs[0].shape, (std::vector<int64_t>{batch, 5}));
    for (const std::string& op : model.ops()) {
      EXPECT_TRUE(op == "Conv" || op == "Gemm" || op == "layout conversion") << op;
    }
  }
}

TEST(Plan, EachSampleOfABatchIsAsAlone) {
  Opened model(residual_graph().build());
  const HostTensor x = random_tensor({3, 4, 6, 6}, 11);
  const std::vector<float> all = model.run({x})[0].values<float>();
  const std::vector<float> values = x.values<float>();
  for (size_t n = 0; n < 3; ++n) {
    const std::vector<float> one(values.begin() + static_cast<long>(n * 144),
                                 values.begin() + static_cast<long>(n * 144 + 144));
    const std::vector<float> alone = model.run({HostTensor::of({1, 4, 6, 6}, one)})[0].values<float>();
    for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(all[n * 5 + i], alone[i], 1e-4f);
  }
}

TEST(Plan, FusesAResidualBlockIntoTwoConvolutions) {
  Opened fused(residual_graph().build());
  Opened plain(residual_graph().build(), reference_options());
  const HostTensor x = random_tensor({2, 4, 6, 6}, 5);
  expect_near(fused.run({x}), plain.run({x}), 1e-4f);
  int convolutions = 0;
  for (const Step& step : fused.session->plan()->steps()) {
    if (std::string_view(step.kernel->op) != "Conv") continue;
    EXPECT_EQ(step.activation.kind, Activation::kRelu);
    EXPECT_EQ(step.residual >= 0, convolutions == 1);
    ++convolutions;
  }
  EXPECT_EQ(convolutions, 2);
  EXPECT_EQ(plain.ops().size(), 8u);  // every node but the folded ones and the Reshape
}

TEST(Plan, DoesNotFuseAwayWhatOthersRead) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {1, 4, 6, 6}).initializer("w", {4, 4, 1, 1}, random_values(16, 1));
  graph.node("Conv", {"x", "w"}, {"c"})
      .node("Relu", {"c"}, {"r"})
      .node("Sub", {"r", "c"}, {"y"})
      .output("y")
      .output("c");
  const HostTensor x = random_tensor({1, 4, 6, 6}, 5);
  Opened fused(graph.build());
  Opened plain(graph.build(), reference_options());
  expect_near(fused.run({x}), plain.run({x}), 1e-5f);
}

TEST(Plan, FusesEveryActivation) {
  struct Case {
    const char* op;
    std::vector<std::string> attributes;
    Activation::Kind kind;
  };
  const std::vector<Case> cases = {
      {"Relu", {}, Activation::kRelu},           {"LeakyRelu", {number("alpha", 0.2f)}, Activation::kLeakyRelu},
      {"Sigmoid", {}, Activation::kSigmoid},     {"HardSigmoid", {number("alpha", 0.3f)}, Activation::kHardSigmoid},
      {"HardSwish", {}, Activation::kHardSwish}, {"Tanh", {}, Activation::kTanh},
  };
  const HostTensor x = random_tensor({1, 4, 6, 6}, 5);
  for (const Case& c : cases) {
    GraphBuilder graph(14);
    graph.input("x", ElementType::kFloat32, {1, 4, 6, 6}).initializer("w", {4, 4, 3, 3}, random_values(144, 1));
    graph.node("Conv", {"x", "w"}, {"c"}).node(c.op, {"c"}, {"y"}, c.attributes).output("y");
    Opened fused(graph.build());
    Opened plain(graph.build(), reference_options());
    expect_near(fused.run({x}), plain.run({x}), 1e-4f);
    for (const Step& step : fused.session->plan()->steps()) {
      if (std::string_view(step.kernel->op) != "Conv") continue;
      if ((step.kernel->activations & Activation::bit(c.kind)) == 0) continue;
      EXPECT_EQ(step.activation.kind, c.kind) << c.op;
    }
  }
}

TEST(Plan, FusesClipOfEitherKindAndGates) {
  const HostTensor x = random_tensor({1, 4, 6, 6}, 5);
  const auto compare = [&](const GraphBuilder& graph, Activation::Kind kind) {
    Opened fused(graph.build());
    Opened plain(graph.build(), reference_options());
    expect_near(fused.run({x}), plain.run({x}), 1e-4f);
    for (const Step& step : fused.session->plan()->steps()) {
      if (std::string_view(step.kernel->op) != "Conv") continue;
      EXPECT_EQ(step.activation.kind, kind);
    }
  };
  const auto start = [](int opset) {
    GraphBuilder graph(opset);
    graph.input("x", ElementType::kFloat32, {1, 4, 6, 6}).initializer("w", {4, 4, 3, 3}, random_values(144, 1));
    graph.node("Conv", {"x", "w"}, {"c"}).output("y");
    return graph;
  };
  compare(start(10).node("Clip", {"c"}, {"y"}, {number("min", 0), number("max", 6)}), Activation::kClip);
  compare(start(13)
              .initializer<float>("low", {}, {-0.25f})
              .initializer<float>("high", {}, {0.5f})
              .node("Clip", {"c", "low", "high"}, {"y"}),
          Activation::kClip);
  compare(start(13).initializer<float>("high", {}, {0.5f}).node("Clip", {"c", "", "high"}, {"y"}), Activation::kClip);
  compare(start(13).node("Sigmoid", {"c"}, {"s"}).node("Mul", {"s", "c"}, {"y"}), Activation::kSilu);
  compare(start(13).node("HardSigmoid", {"c"}, {"s"}, {number("alpha", 1.0f / 6)}).node("Mul", {"c", "s"}, {"y"}),
          Activation::kHardSwish);
}

TEST(Plan, ABatchNormalizationInTrainingIsRefusedThoughNobodyReadsItsStatistics) {
  for (const int opset : {8, 13}) {
    GraphBuilder graph(opset);
    graph.input("x", ElementType::kFloat32, {1, 2, 4, 4}).initializer("w", {2, 2, 1, 1}, random_values(4, 1));
    graph.initializer("p", {2}, std::vector<float>{1, 2}).node("Conv", {"x", "w"}, {"c"});
    graph.node("BatchNormalization", {"c", "p", "p", "p", "p"}, {"y", "mean", "variance", "m", "v"}).output("y");
    std::vector<HostTensor> outputs;
    EXPECT_EQ(try_run_model(graph.build(), {random_tensor({1, 2, 4, 4}, 2)}, &outputs).code(),
              StatusCode::kUnsupportedFeature);
  }
}

TEST(Plan, FoldsBatchNormalizationIntoEveryLinearOperator) {
  const auto add_normalization = [](GraphBuilder& graph, int64_t channels, const std::string& from) {
    const auto count = static_cast<size_t>(channels);
    graph.initializer("scale", {channels}, positive_values(count, 3))
        .initializer("shift", {channels}, random_values(count, 4));
    graph.initializer("mean", {channels}, random_values(count, 5))
        .initializer("var", {channels}, positive_values(count, 6));
    graph.node("BatchNormalization", {from, "scale", "shift", "mean", "var"}, {"y"}, {number("epsilon", 0.01f)});
    graph.output("y");
  };
  std::vector<std::pair<std::string, std::vector<int64_t>>> graphs;
  {
    GraphBuilder graph;
    graph.input("x", ElementType::kFloat32, {2, 4, 5, 5}).initializer("w", {6, 2, 3, 3}, random_values(108, 1));
    graph.initializer("b", {6}, random_values(6, 2)).node("Conv", {"x", "w", "b"}, {"c"}, {integer("group", 2)});
    add_normalization(graph, 6, "c");
    graphs.emplace_back(graph.build(), std::vector<int64_t>{2, 4, 5, 5});
  }
  for (int64_t group : {1, 2}) {
    GraphBuilder graph;
    graph.input("x", ElementType::kFloat32, {2, 4, 5, 5}).initializer("w", {4, 3, 2, 2}, random_values(48, 1));
    graph.node("ConvTranspose", {"x", "w"}, {"c"}, {integer("group", group), ints("strides", {2, 2})});
    add_normalization(graph, 3 * group, "c");
    graphs.emplace_back(graph.build(), std::vector<int64_t>{2, 4, 5, 5});
  }
  for (const std::string bias : {"", "b"}) {
    GraphBuilder graph(19);
    graph.input("x", ElementType::kFloat32, {2, 4, 5, 5}).initializer("w", {6, 4, 2, 2}, random_values(96, 1));
    graph.initializer("b", {6}, random_values(6, 2)).initializer("offset", {2, 8, 4, 4}, random_values(256, 3));
    graph.initializer("mask", {2, 4, 4, 4}, random_values(128, 4));
    graph.node("DeformConv", {"x", "w", "offset", bias, "mask"}, {"c"});
    add_normalization(graph, 6, "c");
    graphs.emplace_back(graph.build(), std::vector<int64_t>{2, 4, 5, 5});
  }
  for (int64_t transposed : {0, 1}) {
    GraphBuilder graph;
    graph.input("x", ElementType::kFloat32, {3, 4});
    graph.initializer("w", transposed ? std::vector<int64_t>{5, 4} : std::vector<int64_t>{4, 5}, random_values(20, 1));
    graph.initializer("b", {5}, random_values(5, 2));
    graph.node("Gemm", {"x", "w", "b"}, {"c"}, {integer("transB", transposed), number("alpha", 0.5f)});
    add_normalization(graph, 5, "c");
    graphs.emplace_back(graph.build(), std::vector<int64_t>{3, 4});
  }
  for (const auto& [bytes, shape] : graphs) {
    Opened folded(bytes);
    Opened plain(bytes, reference_options());
    const HostTensor x = random_tensor(shape, 8);
    expect_near(folded.run({x}), plain.run({x}), 1e-4f);
    for (const std::string& op : folded.ops()) EXPECT_NE(op, "BatchNormalization");
  }
}

TEST(Plan, RandomGraphsComputeTheSameInEveryWay) {
  SessionOptions apart_options;
  apart_options.reuse_memory = false;
  SessionOptions threaded_options;
  threaded_options.threads = 3;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    const std::string bytes = random_graph(seed, 25);
    const HostTensor x = random_tensor({1 + seed % 3, 4, 6, 6}, seed);
    Opened plain(bytes, reference_options(), apart_options);
    const auto expected = plain.run({x});
    Opened reused(bytes, reference_options());
    expect_same_bits(reused.run({x}), expected);
    Opened full(bytes);
    const auto fast = full.run({x});
    expect_near(fast, expected, 1e-3f);
    expect_same_bits(full.run({x}), fast);  // again in the same arena
    Opened apart(bytes, {}, apart_options);
    expect_same_bits(apart.run({x}), fast);
    Opened threaded(bytes, {}, threaded_options);
    expect_same_bits(threaded.run({x}), fast);
    EXPECT_LE(full.session->plan()->arena_bytes(), apart.session->plan()->arena_bytes());
    if (HasFailure()) {
      ADD_FAILURE() << "seed " << seed;
      return;
    }
  }
}

TEST(Plan, LiveBuffersOfRandomGraphsDoNotOverlap) {
  for (uint32_t seed = 100; seed < 130; ++seed) {
    const std::string bytes = random_graph(seed, 40);
    ModelHandle model;
    ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
    Memory memory;
    const Shape shape{2, 4, 6, 6};
    LockGuard guard(model->lock());
    Draft draft(*model, memory, {});
    const Status status = draft.build({&shape, 1});
    ASSERT_TRUE(status.ok()) << status.detail();
    const std::span<const Buffer> buffers = draft.buffers.span();
    EXPECT_GT(buffers.size(), 0u);
    for (size_t i = 0; i < buffers.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        const Buffer& a = buffers[i];
        const Buffer& b = buffers[j];
        if (a.first > b.last || b.first > a.last) continue;
        EXPECT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset);
      }
    }
  }
}

TEST(Plan, AChainOfElementwiseNodesNeedsOneBuffer) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {64}).initializer("half", {1}, std::vector<float>{0.5f});
  graph.node("Mul", {"x", "half"}, {"v0"});
  for (int i = 0; i < 8; ++i) graph.node("Add", {"v" + std::to_string(i), "half"}, {"v" + std::to_string(i + 1)});
  graph.output("v8");
  Opened model(graph.build());
  const std::vector<float> y = model.run({HostTensor::of({64}, std::vector<float>(64, 1))})[0].values<float>();
  EXPECT_EQ(y, std::vector<float>(64, 4.5f));
  EXPECT_EQ(model.session->plan()->arena_bytes(), 256u);
}

TEST(Plan, NeverWritesToTheCallersInput) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {1, 2, 2, 2}).initializer<int64_t>("flat", {1}, {-1});
  graph.node("Reshape", {"x", "flat"}, {"f"})
      .node("Relu", {"f"}, {"y"})
      .node("Relu", {"x"}, {"z"})
      .output("y")
      .output("z");
  const HostTensor x = random_tensor({1, 2, 2, 2}, 1);
  const std::vector<float> before = x.values<float>();
  run_model(graph.build(), {x});
  EXPECT_EQ(x.values<float>(), before);
}

TEST(Plan, OutputsAreCopiesOfInputsAndConstants) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2, 2})
      .initializer<float>("c", {2}, {5, 6})
      .initializer<int64_t>("flat", {1}, {-1});
  graph.node("Identity", {"x"}, {"same"})
      .node("Reshape", {"x", "flat"}, {"flattened"})
      .node("Identity", {"c"}, {"constant"});
  graph.output("same").output("flattened").output("constant").output("x").output("c");
  Opened model(graph.build());
  HostTensor x = HostTensor::of<float>({2, 2}, {1, 2, 3, 4});
  const auto outputs = model.run({x});
  ASSERT_EQ(outputs.size(), 5u);
  for (size_t i : {0u, 1u, 3u}) {
    EXPECT_EQ(outputs[i].values<float>(), (std::vector<float>{1, 2, 3, 4})) << i;
    EXPECT_NE(model.session->output(static_cast<int>(i))->data, x.data());
  }
  EXPECT_EQ(outputs[1].shape, std::vector<int64_t>{4});
  EXPECT_EQ(outputs[2].values<float>(), (std::vector<float>{5, 6}));
  EXPECT_EQ(outputs[4].values<float>(), (std::vector<float>{5, 6}));
}

TEST(Plan, TransposeBetweenLayoutsMovesNothing) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2, 5, 6, 4}).initializer("w", {8, 4, 3, 3}, random_values(288, 1));
  graph.node("Transpose", {"x"}, {"n"}, {ints("perm", {0, 3, 1, 2})});
  graph.node("Conv", {"n", "w"}, {"c"}, {ints("pads", {1, 1, 1, 1})});
  graph.node("Transpose", {"c"}, {"y"}, {ints("perm", {0, 2, 3, 1})}).output("y");
  Opened fast(graph.build());
  Opened plain(graph.build(), reference_options());
  const HostTensor x = random_tensor({2, 5, 6, 4}, 3);
  expect_near(fast.run({x}), plain.run({x}), 1e-4f);
  EXPECT_EQ(fast.ops(), Names{"Conv"});
}

TEST(Plan, FloatingPointTypesAreConvertedAtTheBorder) {
  GraphBuilder graph;
  graph.input("h", ElementType::kFloat16, {3})
      .input("b", ElementType::kBfloat16, {3})
      .input("d", ElementType::kFloat64, {3});
  graph.initializer<double>("two", {1}, {2});
  graph.node("Add", {"h", "b"}, {"hb"}).node("Add", {"hb", "d"}, {"sum"}).node("Mul", {"sum", "two"}, {"y"});
  graph.node("Identity", {"y"}, {"y2"}).node("Identity", {"sum"}, {"y3"});
  graph.output("y", ElementType::kFloat16).output("y2", ElementType::kFloat64).output("y3", ElementType::kBfloat16);
  HostTensor h = HostTensor::of<uint16_t>({3}, {0x3C00, 0xC000, 0x3800});  // 1, -2, 0.5
  h.type = ElementType::kFloat16;
  HostTensor b = HostTensor::of<uint16_t>({3}, {0x4040, 0x3F80, 0xBF80});  // 3, 1, -1
  b.type = ElementType::kBfloat16;
  const auto outputs = run_model(graph.build(), {h, b, HostTensor::of<double>({3}, {0.25, 4, 1.5})});
  ASSERT_EQ(outputs.size(), 3u);
  EXPECT_EQ(outputs[0].type, ElementType::kFloat16);
  EXPECT_EQ(outputs[1].values<double>(), (std::vector<double>{8.5, 6, 2}));
  HostTensor bits = outputs[0];
  bits.type = ElementType::kUint16;
  EXPECT_EQ(bits.values<uint16_t>(), (std::vector<uint16_t>{0x4840, 0x4600, 0x4000}));
  bits = outputs[2];
  EXPECT_EQ(bits.type, ElementType::kBfloat16);
  bits.type = ElementType::kUint16;
  EXPECT_EQ(bits.values<uint16_t>(), (std::vector<uint16_t>{0x4088, 0x4040, 0x3F80}));
}

TEST(Plan, NamesTheNodeOfAnError) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2, 3}).input("shape", ElementType::kInt64, {2});
  graph.node("Reshape", {"x", "shape"}, {"y"}, {}, "dynamic_reshape").output("y");
  std::vector<HostTensor> outputs;
  Status status =
      try_run_model(graph.build(), {random_tensor({2, 3}, 1), HostTensor::of<int64_t>({2}, {3, 3})}, &outputs);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(std::string(status.detail()).find("dynamic_reshape"), std::string::npos) << status.detail();

  GraphBuilder mismatch;
  mismatch.input("a", ElementType::kFloat32, {2, 3}).input("b", ElementType::kFloat32, {4, 5});
  mismatch.node("MatMul", {"a", "b"}, {"product"}).output("product");
  status = try_run_model(mismatch.build(), {random_tensor({2, 3}, 1), random_tensor({4, 5}, 1)}, &outputs);
  EXPECT_EQ(status.code(), StatusCode::kShape);
  EXPECT_NE(std::string(status.detail()).find("product"), std::string::npos) << status.detail();
}

TEST(Plan, SharesPackedWeightsBetweenSessions) {
  const std::string bytes = residual_graph().build();
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  const HostTensor x = random_tensor({1, 4, 6, 6}, 2);
  std::vector<HostTensor> first;
  std::vector<HostTensor> second;
  SessionHandle a;
  ASSERT_TRUE(create_session(*model, {}, a).ok());
  ASSERT_TRUE(run_session(*a, {x}, &first).ok());
  const uint64_t used = model->memory_used();
  SessionHandle b;
  ASSERT_TRUE(create_session(*model, {}, b).ok());
  ASSERT_TRUE(run_session(*b, {x}, &second).ok());
  EXPECT_EQ(model->memory_used(), used);
  expect_same_bits(first, second);
}

// A model with several sessions.
struct Shared {
  explicit Shared(const ModelOptions& options = {}) : bytes(residual_graph().build()) {
    EXPECT_TRUE(open_model(as_bytes(bytes), {}, options, model).ok());
  }
  SessionHandle session(int64_t batch, int threads = 1) {
    SessionOptions options;
    options.threads = threads;
    SessionHandle made;
    EXPECT_TRUE(create_session(*model, options, made).ok());
    run(made, batch);
    return made;
  }
  std::vector<HostTensor> run(SessionHandle& session, int64_t batch) {
    std::vector<HostTensor> outputs;
    const Status status = run_session(*session, {random_tensor({batch, 4, 6, 6}, 2)}, &outputs);
    EXPECT_TRUE(status.ok()) << status.detail();
    return outputs;
  }

  std::string bytes;
  ModelHandle model;
};

// Frees what the model keeps for later plans, and says what is left.
uint64_t used_without_spare(const Model& model) {
  {
    LockGuard guard(model.lock());
    EXPECT_EQ(model.allocate(UINT64_MAX / 2), nullptr);
  }
  return model.memory_used();
}

TEST(Plan, SessionsOfTheSameShapesShareIt) {
  Shared shared;
  SessionHandle a = shared.session(2);
  const uint64_t used = shared.model->memory_used();
  SessionHandle b = shared.session(2);
  EXPECT_EQ(a->plan(), b->plan());
  EXPECT_EQ(shared.model->memory_used(), used);
  EXPECT_LT(b->memory_peak(), a->memory_peak());  // there was nothing to plan
  expect_same_bits(shared.run(a, 2), shared.run(b, 2));
  EXPECT_NE(a->output(0)->data, b->output(0)->data);
}

TEST(Plan, OtherShapesOrThreadsMakeAnother) {
  Shared shared;
  SessionHandle a = shared.session(2);
  SessionHandle b = shared.session(3);
  SessionHandle c = shared.session(2, 2);
  EXPECT_NE(a->plan(), b->plan());
  EXPECT_NE(a->plan(), c->plan());
  const Plan* two = a->plan();
  shared.run(b, 2);
  EXPECT_EQ(b->plan(), two);
  shared.run(a, 3);
  EXPECT_NE(a->plan(), two);
  EXPECT_EQ(b->plan(), two);  // what a has left, b still has
  expect_same_bits(shared.run(b, 2), run_model(shared.bytes, {random_tensor({2, 4, 6, 6}, 2)}));
}

TEST(Plan, LivesUntilItsLastSessionGoesInAnyOrder) {
  const auto expected = run_model(residual_graph().build(), {random_tensor({2, 4, 6, 6}, 2)});
  for (const bool first_first : {true, false}) {
    Shared shared;
    uint64_t idle = 0;
    for (int round = 0; round < 3; ++round) {
      SessionHandle a = shared.session(2);
      SessionHandle b = shared.session(2);
      (first_first ? a : b).reset();
      expect_same_bits(shared.run(first_first ? b : a, 2), expected);
      (first_first ? b : a).reset();
      EXPECT_EQ(shared.model->plans(), nullptr);
      if (round == 0) idle = shared.model->memory_used();
      EXPECT_EQ(shared.model->memory_used(), idle) << round;
    }
    EXPECT_LT(used_without_spare(*shared.model), idle);
  }
}

TEST(Plan, WeightsThatItReadsAreDecodedOnceAndGoWithIt) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2}).stripped("w", ElementType::kFloat32, {2});
  graph.node("Add", {"x", "w"}, {"y"}).output("y");
  const std::string bytes = graph.build();
  int decoded = 0;
  WeightSource source;
  source.user = &decoded;
  source.decode = [](void* user, uint32_t, uint64_t, std::span<std::byte> out) {
    std::memset(out.data(), 0, out.size());
    ++*static_cast<int*>(user);
    return Status();
  };
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), source, {}, model).ok());
  for (int round = 1; round <= 3; ++round) {
    SessionHandle a;
    SessionHandle b;
    std::vector<HostTensor> outputs;
    for (SessionHandle* session : {&a, &b}) {
      ASSERT_TRUE(create_session(*model, {}, *session).ok());
      ASSERT_TRUE(run_session(**session, {random_tensor({2}, 1)}, &outputs).ok());
    }
    EXPECT_EQ(decoded, round);
  }
}

// y = x + (x's shape, as floats) w: the product is folded, and differs with the shape.
TEST(Plan, ConstantsThatDependOnShapesAreThePlansOwn) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {-1, 2}).initializer("w", {2, 2}, std::vector<float>{1, 2, 3, 4});
  graph.node("Shape", {"x"}, {"s"}).node("Cast", {"s"}, {"f"}, {integer("to", 1)});
  graph.node("MatMul", {"f", "w"}, {"p"}).node("Add", {"x", "p"}, {"y"}).output("y");
  const std::string bytes = graph.build();
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  SessionHandle a;
  SessionHandle b;
  ASSERT_TRUE(create_session(*model, {}, a).ok());
  ASSERT_TRUE(create_session(*model, {}, b).ok());
  std::vector<HostTensor> one;
  std::vector<HostTensor> three;
  ASSERT_TRUE(run_session(*a, {HostTensor::of<float>({1, 2}, {0, 0})}, &one).ok());
  ASSERT_TRUE(run_session(*b, {HostTensor::of<float>({3, 2}, std::vector<float>(6))}, &three).ok());
  EXPECT_EQ(one[0].values<float>(), (std::vector<float>{7, 10}));
  EXPECT_EQ(three[0].values<float>(), (std::vector<float>{9, 14, 9, 14, 9, 14}));
  const Plan& plan = *a->plan();
  const auto computed = [](const PlanConstant& constant) { return constant.initializer < 0; };
  EXPECT_EQ(std::count_if(plan.constants().begin(), plan.constants().end(), computed), 1);
}

// Where everything lies is said by numbers: inputs, constants and an arena that nobody has given yet.
TEST(Plan, PlacesEveryTensorByNumber) {
  Opened model(random_graph(7, 40));
  const auto x = random_tensor({2, 4, 6, 6}, 7);
  model.run({x});
  const Plan& plan = *model.session->plan();
  for (const PlanTensor& tensor : plan.tensors()) {
    const uint64_t bytes = static_cast<uint64_t>(tensor.shape.elements() * size_of(tensor.type));
    if (tensor.place == PlanTensor::kArena) {
      EXPECT_LE(tensor.at + bytes, plan.arena_bytes());
    }
    if (tensor.place == PlanTensor::kConstant) {
      EXPECT_LT(tensor.at, plan.constants().size());
    }
    if (tensor.place == PlanTensor::kInput) {
      EXPECT_LT(tensor.at, 1u);
    }
  }
  for (const Step& step : plan.steps()) {
    ASSERT_LE(step.arguments + step.inputs + step.outputs, plan.arguments().size());
    if (step.scratch != Step::kNone) {
      EXPECT_LT(step.scratch, plan.arena_bytes());
    }
    if (step.kernel->state_bytes > 0 && step.node >= 0) {
      EXPECT_NE(step.state, nullptr);
    }
  }
}

TEST(Plan, PackedWeightsThatNobodyUsesMakeRoom) {
  ModelOptions options;
  options.limits.max_memory_bytes = 1 << 20;
  Shared shared(options);
  const Model& model = *shared.model;
  LockGuard guard(model.lock());
  constexpr uint64_t kMost = 700 << 10;
  ASSERT_NE(model.allocate_packed(0, 1, kMost), nullptr);
  EXPECT_EQ(model.allocate(kMost), nullptr);  // in use
  EXPECT_NE(model.acquire_packed(0, 1), nullptr);
  model.release_packed(0, 1);
  EXPECT_EQ(model.allocate(kMost), nullptr);  // by one of two
  model.release_packed(0, 1);
  EXPECT_NE(model.acquire_packed(0, 1), nullptr);  // kept for the next
  model.release_packed(0, 1);
  void* block = model.allocate(kMost);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(model.acquire_packed(0, 1), nullptr);
  EXPECT_EQ(model.allocate_packed(0, 1, kMost), nullptr);
  model.free(block, kMost);
  EXPECT_NE(model.allocate_packed(0, 1, kMost), nullptr);
  model.discard_packed(0, 1);
  EXPECT_EQ(model.acquire_packed(0, 1), nullptr);
}

}  // namespace
}  // namespace quench::rt
