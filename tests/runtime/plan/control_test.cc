// If, Loop and Scan: what they compute, in all the ways that a plan can be made, and what is refused.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "runtime/plan/plan.h"
#include "tests/runtime/many_ways.h"
#include "tests/runtime/sample_graphs.h"

namespace quench::rt {
namespace {

// The kernels of the plan's steps, in order.
std::vector<std::string> steps_of(const std::string& bytes, const Tensors& inputs) {
  ModelHandle model;
  SessionHandle session;
  Tensors outputs;
  EXPECT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  EXPECT_TRUE(create_session(*model, {}, session).ok());
  const Status status = run_session(*session, inputs, &outputs);
  EXPECT_TRUE(status.ok()) << status.detail();
  std::vector<std::string> names;
  if (!session->plan()) return names;
  for (const Step& step : session->plan()->steps()) names.emplace_back(step.kernel->op);
  return names;
}

bool has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// "c" ? x + 1 : x * x
GraphBuilder choice() {
  GraphBuilder then_branch;
  then_branch.initializer<float>("one", {}, {1}).node("Add", {"x", "one"}, {"sum"}).output("sum");
  GraphBuilder else_branch;
  else_branch.node("Mul", {"x", "x"}, {"square"}).output("square");
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {-1})
      .node("If", {"c"}, {"y"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)}, "choose")
      .output("y");
  return graph;
}

TEST(If, RunsOneOfItsBranches) {
  GraphBuilder graph = choice();
  graph.input("c", ElementType::kBool, {});
  EXPECT_EQ(run_all_ways(graph.build(), {reals({2, 5}), truth(true)})[0].values<float>(), (std::vector<float>{3, 6}));
  EXPECT_EQ(run_all_ways(graph.build(), {reals({2, 5}), truth(false)})[0].values<float>(), (std::vector<float>{4, 25}));
}

TEST(If, OfAKnownConditionIsItsBranch) {
  GraphBuilder graph = choice();
  graph.initializer<bool>("c", {1}, std::vector<bool>{false});
  EXPECT_EQ(run_all_ways(graph.build(), {reals({2, 5})})[0].values<float>(), (std::vector<float>{4, 25}));
  EXPECT_EQ(steps_of(graph.build(), {reals({2, 5})}), std::vector<std::string>{"Mul"});
}

// x has as many values as weights: one matrix or the other. The condition is a matter of shapes, and so is what is
// packed for the MatMul behind.
TEST(If, BranchThatDependsOnShapesGivesEachPlanItsOwnWeights) {
  GraphBuilder then_branch;
  then_branch.initializer<float>("w", {2, 2}, {1, 2, 3, 4}).node("Identity", {"w"}, {"a"}).output("a");
  GraphBuilder else_branch;
  else_branch.initializer<float>("w", {2, 2}, {5, 6, 7, 8}).node("Identity", {"w"}, {"b"}).output("b");
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {-1, 2})
      .initializer<int64_t>("two", {}, {2})
      .node("Size", {"x"}, {"size"})
      .node("Equal", {"size", "two"}, {"one_row"})
      .node("If", {"one_row"}, {"m"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)})
      .node("MatMul", {"x", "m"}, {"y"})
      .output("y");
  TwoSessions sessions(graph.build());
  ASSERT_TRUE(sessions.status.ok());
  Tensors outputs;
  ASSERT_TRUE(run_session(*sessions.one, {HostTensor::of<float>({1, 2}, {1, 1})}, &outputs).ok());
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{4, 6}));
  ASSERT_TRUE(run_session(*sessions.two, {HostTensor::of<float>({2, 2}, {1, 1, 0, 1})}, &outputs).ok());
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{12, 14, 7, 8}));
}

// Convolutions want channels-last inputs: what one branch has converted is not there for the other, or behind both.
TEST(If, BranchesAndWhatIsBehindThemHaveLayoutsOfTheirOwn) {
  const auto conv = [](int seed) {
    GraphBuilder branch;
    branch.initializer("w", {4, 4, 3, 3}, random_values(144, static_cast<uint32_t>(seed)))
        .node("Conv", {"x", "w"}, {"c"}, {ints("pads", {1, 1, 1, 1})})
        .node("Relu", {"c"}, {"r"})
        .node("Add", {"r", "x"}, {"out"})
        .output("out");
    return branch;
  };
  for (const bool condition : {true, false}) {
    GraphBuilder graph;
    graph.input("x", ElementType::kFloat32, {2, 4, 5, 5})
        .initializer("w", {4, 4, 3, 3}, random_values(144, 9))
        .node("If", {"c"}, {"y"}, {subgraph("then_branch", conv(1)), subgraph("else_branch", conv(2))})
        .node("Conv", {"y", "w"}, {"z"}, {ints("pads", {1, 1, 1, 1})})
        .node("Conv", {"x", "w"}, {"v"}, {ints("pads", {1, 1, 1, 1})})
        .node("Add", {"z", "v"}, {"sum"})
        .node("Relu", {"sum"}, {"out"})
        .output("out")
        .output("y");
    GraphBuilder known = graph;
    graph.input("c", ElementType::kBool, {});
    known.initializer<bool>("c", {}, std::vector<bool>{condition});
    const HostTensor x = random_tensor({2, 4, 5, 5}, 3);
    const Tensors outputs = run_all_ways(graph.build(), {x, truth(condition)});
    const Tensors expected = run_all_ways(known.build(), {x});
    for (size_t i = 0; i < 2; ++i) {
      const std::vector<float> a = outputs[i].values<float>();
      const std::vector<float> b = expected[i].values<float>();
      ASSERT_EQ(a.size(), b.size());
      for (size_t e = 0; e < a.size(); ++e) EXPECT_NEAR(a[e], b[e], 1e-4f);
    }
  }
}

TEST(If, NestedOnesAndAnInputAsResult) {
  GraphBuilder inner_then, inner_else, then_branch, else_branch, graph;
  inner_then.node("Neg", {"x"}, {"out"}).output("out");
  inner_else.node("Abs", {"x"}, {"out"}).output("out");
  then_branch.node("If", {"d"}, {"out"}, {subgraph("then_branch", inner_then), subgraph("else_branch", inner_else)})
      .output("out");
  else_branch.output("x");
  graph.input("x", ElementType::kFloat32, {2})
      .input("c", ElementType::kBool, {})
      .input("d", ElementType::kBool, {})
      .node("If", {"c"}, {"y"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)})
      .node("Add", {"y", "y"}, {"z"})
      .output("y")
      .output("z");
  const auto results = [&](bool c, bool d) {
    const Tensors outputs = run_all_ways(graph.build(), {reals({-1, 2}), truth(c), truth(d)});
    EXPECT_EQ(outputs[1].values<float>()[1], 2 * outputs[0].values<float>()[1]);
    return outputs[0].values<float>();
  };
  EXPECT_EQ(results(true, true), (std::vector<float>{1, -2}));
  EXPECT_EQ(results(true, false), (std::vector<float>{1, 2}));
  EXPECT_EQ(results(false, true), (std::vector<float>{-1, 2}));
}

TEST(If, BranchThatDoesNotFitIsAnErrorWhenItIsTaken) {
  GraphBuilder then_branch, else_branch, graph;
  then_branch.initializer<float>("three", {3}, {1, 2, 3}).node("Add", {"x", "three"}, {"s"}, {}, "inner").output("s");
  else_branch.node("Abs", {"x"}, {"a"}).output("a");
  graph.input("x", ElementType::kFloat32, {-1})
      .input("c", ElementType::kBool, {})
      .node("If", {"c"}, {"y"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)})
      .output("y");
  EXPECT_EQ(run_all_ways(graph.build(), {reals({-1, 2}), truth(false)})[0].values<float>(), (std::vector<float>{1, 2}));
  const std::string error = error_of(graph.build(), {reals({-1, 2}), truth(true)}, StatusCode::kShape);
  EXPECT_TRUE(contains(error, "branch") && contains(error, "'inner' (Add)")) << error;
  EXPECT_EQ(run_model(graph.build(), {reals({1, 2, 3}), truth(true)})[0].values<float>(),
            (std::vector<float>{2, 4, 6}));
}

TEST(If, RefusesWhatItCannotPlan) {
  const auto with = [](const std::string& condition, const GraphBuilder& then_branch, const GraphBuilder& else_branch) {
    GraphBuilder graph;
    graph.input("x", ElementType::kFloat32, {2})
        .input("c", ElementType::kBool, {})
        .input("two", ElementType::kBool, {2})
        .node("If", {condition}, {"y"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)},
              "choose")
        .output("y");
    return graph.build();
  };
  const Tensors inputs = {reals({1, 2}), truth(true), HostTensor::of<bool>({2}, std::vector<bool>{true, true})};
  GraphBuilder good, two_outputs, takes_input;
  good.node("Abs", {"x"}, {"a"}).output("a");
  two_outputs.node("Abs", {"x"}, {"a"}).output("a").output("a");
  takes_input.input("i").node("Abs", {"i"}, {"a"}).output("a");
  error_of(with("c", good, two_outputs), inputs, StatusCode::kCorrupt);
  error_of(with("c", takes_input, good), inputs, StatusCode::kCorrupt);
  error_of(with("", good, good), inputs, StatusCode::kCorrupt);
  error_of(with("x", good, good), inputs, StatusCode::kShape);
  error_of(with("two", good, good), inputs, StatusCode::kShape);
  GraphBuilder without;
  without.input("c", ElementType::kBool, {}).node("If", {"c"}, {"y"}, {subgraph("then_branch", good)}).output("y");
  error_of(GraphBuilder(without).input("x", ElementType::kFloat32, {2}).build(), {truth(true), reals({1, 2})},
           StatusCode::kCorrupt);
}

// Carries two numbers and gives (b, a + b): a body that swaps.
GraphBuilder fibonacci_body() {
  GraphBuilder body;
  body.input("i").input("going").input("a").input("b");
  body.node("Add", {"a", "b"}, {"sum"}).node("Identity", {"going"}, {"go_on"});
  body.output("go_on").output("b").output("sum").output("a");
  return body;
}

GraphBuilder fibonacci(const std::string& rounds, const std::string& condition) {
  GraphBuilder graph;
  graph.initializer<float>("zero", {1}, {0})
      .initializer<float>("one", {1}, {1})
      .node("Loop", {rounds, condition, "zero", "one"}, {"a", "b", "all"}, {subgraph("body", fibonacci_body())}, "loop")
      .output("a")
      .output("b");
  return graph;
}

TEST(Loop, CarriesValuesForAsManyRoundsAsTheCallerSays) {
  GraphBuilder graph = fibonacci("n", "");
  graph.input("n", ElementType::kInt64, {});
  const std::vector<std::vector<float>> expected = {{0, 1}, {1, 1}, {1, 2}, {2, 3}, {3, 5}, {5, 8}};
  for (int64_t n = 0; n < 6; ++n) {
    const Tensors outputs = run_all_ways(graph.build(), {whole(n)});
    EXPECT_EQ(outputs[0].values<float>()[0], expected[static_cast<size_t>(n)][0]) << n;
    EXPECT_EQ(outputs[1].values<float>()[0], expected[static_cast<size_t>(n)][1]) << n;
  }
  EXPECT_EQ(run_all_ways(graph.build(), {whole(-3)})[0].values<float>()[0], 0);
}

TEST(Loop, StacksWhatEachRoundGives) {
  GraphBuilder graph = fibonacci("n", "");
  graph.initializer<int64_t>("n", {1}, {7}).output("all");
  const Tensors outputs = run_all_ways(graph.build(), {});
  EXPECT_EQ(outputs[2].shape, (std::vector<int64_t>{7, 1}));
  EXPECT_EQ(outputs[2].values<float>(), (std::vector<float>{0, 1, 1, 2, 3, 5, 8}));
  GraphBuilder none = fibonacci("n", "");
  none.initializer<int64_t>("n", {1}, {0}).output("all");
  EXPECT_EQ(run_all_ways(none.build(), {})[2].shape, (std::vector<int64_t>{0, 1}));
}

TEST(Loop, OneThatIsKnownNotToBeginStacksNothing) {
  GraphBuilder graph = fibonacci("n", "c");
  graph.initializer<int64_t>("n", {}, {7}).initializer<bool>("c", {}, std::vector<bool>{false}).output("all");
  const Tensors outputs = run_all_ways(graph.build(), {});
  EXPECT_EQ(outputs[2].shape, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(outputs[1].values<float>(), std::vector<float>{1});
}

// The first of the carried values is read in the body, and by nobody else.
TEST(Loop, CarriesWhatNobodyWantsInTheEnd) {
  GraphBuilder graph;
  graph.input("n", ElementType::kInt64, {})
      .initializer<float>("zero", {1}, {0})
      .initializer<float>("one", {1}, {1})
      .node("Loop", {"n", "", "zero", "one"}, {"", "b"}, {subgraph("body", fibonacci_body())})
      .output("b");
  EXPECT_EQ(run_all_ways(graph.build(), {whole(9)})[0].values<float>(), std::vector<float>{55});
}

TEST(Loop, OneThatIsKnownToEndStacksOneRound) {
  GraphBuilder body, graph;
  body.input("i").input("going").input("v").initializer<bool>("no", {}, std::vector<bool>{false});
  body.node("Neg", {"v"}, {"w"}).output("no").output("w").output("w");
  graph.input("x", ElementType::kFloat32, {2})
      .initializer<int64_t>("n", {}, {7})
      .initializer<bool>("yes", {}, std::vector<bool>{true})
      .node("Loop", {"n", "yes", "x"}, {"y", "all"}, {subgraph("body", body)})
      .output("y")
      .output("all");
  const Tensors outputs = run_all_ways(graph.build(), {reals({1, 2})});
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{-1, -2}));
  EXPECT_EQ(outputs[1].shape, (std::vector<int64_t>{1, 2}));
}

// What is made once, outside, and read first thing in each round, must not lie where a later step of the body writes.
TEST(Loop, WhatItUsesFromOutsideStays) {
  GraphBuilder body, graph;
  body.input("i").input("going").input("v");
  body.node("Add", {"v", "once"}, {"a"}).node("Tanh", {"a"}, {"b"}).node("MatMul", {"b", "b"}, {"c"});
  body.node("MatMul", {"c", "b"}, {"d"}).node("Neg", {"d"}, {"w"}).output("going").output("w");
  graph.input("x", ElementType::kFloat32, {4, 4}).initializer<int64_t>("n", {}, {3});
  graph.node("Mul", {"x", "x"}, {"once"}).node("Loop", {"n", "", "x"}, {"y"}, {subgraph("body", body)}).output("y");
  std::vector<float> v = random_values(16, 3);
  const HostTensor x = HostTensor::of<float>({4, 4}, v);
  std::vector<float> once = v;
  for (float& value : once) value *= value;
  const auto product = [](const std::vector<float>& a, const std::vector<float>& b) {
    std::vector<float> c(16);
    for (size_t i = 0; i < 64; ++i) c[i / 16 * 4 + i % 4] += a[i / 16 * 4 + i / 4 % 4] * b[i / 4 % 4 * 4 + i % 4];
    return c;
  };
  for (int round = 0; round < 3; ++round) {
    std::vector<float> b(16);
    for (size_t i = 0; i < 16; ++i) b[i] = std::tanh(v[i] + once[i]);
    v = product(product(b, b), b);
    for (float& value : v) value = -value;
  }
  const std::vector<float> y = run_all_ways(graph.build(), {x})[0].values<float>();
  for (size_t i = 0; i < 16; ++i) EXPECT_NEAR(y[i], v[i], 1e-4f);
}

// A convolution outside would take what follows it into its epilogue; from inside a loop it must not.
TEST(Loop, NothingIsFusedAcrossItsBorder) {
  const auto steps = [](const std::function<void(GraphBuilder&, GraphBuilder&)>& add) {
    GraphBuilder body, graph;
    graph.input("x", ElementType::kFloat32, {1, 2, 3, 3})
        .initializer("w", {2, 2, 1, 1}, random_values(4, 1))
        .initializer<int64_t>("n", {}, {3})
        .node("Conv", {"x", "w"}, {"c"});
    body.input("i").input("going").input("v");
    add(graph, body);
    body.node("Mul", {"r", "v"}, {"u"}).output("going").output("u");
    graph.node("Loop", {"n", "", "x"}, {"y"}, {subgraph("body", body)}).output("y");
    return steps_of(graph.build(), {random_tensor({1, 2, 3, 3}, 2)});
  };
  EXPECT_TRUE(has(steps([](GraphBuilder&, GraphBuilder& body) { body.node("Relu", {"c"}, {"r"}); }), "Relu"));
  EXPECT_TRUE(has(steps([](GraphBuilder&, GraphBuilder& body) { body.node("Add", {"c", "x"}, {"r"}); }), "Add"));
  const auto gate = steps([](GraphBuilder& graph, GraphBuilder& body) {
    graph.node("Sigmoid", {"c"}, {"s"});
    body.node("Mul", {"c", "s"}, {"r"});
  });
  EXPECT_EQ(std::count(gate.begin(), gate.end(), "Mul"), 2);
}

// x is halved until it is below 1.
GraphBuilder halving(const std::string& rounds, const std::string& condition, bool stacks = false) {
  GraphBuilder body;
  body.input("i").input("going").input("v");
  body.initializer<float>("half", {}, {0.5f}).initializer<float>("limit", {}, {1});
  body.node("Mul", {"v", "half"}, {"w"}).node("Greater", {"w", "limit"}, {"above"}).output("above").output("w");
  if (stacks) body.output("w");
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {}).input("c", ElementType::kBool, {}).input("n", ElementType::kInt64, {});
  graph.node("Loop", {rounds, condition, "x"},
             stacks ? std::vector<std::string>{"y", "all"} : std::vector<std::string>{"y"}, {subgraph("body", body)},
             "halve");
  graph.output("y");
  if (stacks) graph.output("all");
  return graph;
}

TEST(Loop, GoesOnWhileTheConditionHolds) {
  const auto result = [](const GraphBuilder& graph, float x, bool c, int64_t n) {
    return run_all_ways(graph.build(), {HostTensor::of<float>({}, {x}), truth(c), whole(n)})[0].values<float>()[0];
  };
  EXPECT_EQ(result(halving("", "c"), 48, true, 0), 0.75f);
  EXPECT_EQ(result(halving("", "c"), 48, false, 0), 48);
  EXPECT_EQ(result(halving("n", "c"), 48, true, 3), 6);
  EXPECT_EQ(result(halving("n", "c"), 48, true, 100), 0.75f);
  EXPECT_EQ(result(halving("n", ""), 48, true, 10), 48 / 1024.f);  // the body's condition counts for nothing
}

TEST(Loop, StacksAsManyRoundsAsTheRunTells) {
  const auto expect = [](const GraphBuilder& graph, bool c, int64_t n, const std::vector<float>& all) {
    const Tensors outputs = run_all_ways(graph.build(), {HostTensor::of<float>({}, {6}), truth(c), whole(n)});
    EXPECT_EQ(outputs[0].values<float>(), std::vector<float>{all.empty() ? 6 : all.back()});
    EXPECT_EQ(outputs[1].values<float>(), all);
    EXPECT_EQ(outputs[1].shape, std::vector<int64_t>{static_cast<int64_t>(all.size())});
  };
  expect(halving("n", "", true), true, 5, {3, 1.5f, 0.75f, 0.375f, 0.1875f});
  expect(halving("n", "", true), true, 0, {});
  expect(halving("", "c", true), true, 0, {3, 1.5f, 0.75f});
  expect(halving("", "c", true), false, 0, {});
  expect(halving("n", "c", true), true, 2, {3, 1.5f});
  expect(halving("n", "c", true), true, 1, {3});
  expect(halving("n", "c", true), true, 0, {});
  expect(halving("n", "c", true), false, 2, {});
  GraphBuilder known = halving("nine", "yes", true);
  known.initializer<int64_t>("nine", {}, {9}).initializer<bool>("yes", {}, std::vector<bool>{true});
  expect(known, true, 0, {3, 1.5f, 0.75f});
}

// Slices x by the number of the round, and appends the slice to what is carried, which grows.
TEST(Loop, IsUnrolledWhereShapesChange) {
  GraphBuilder body;
  body.input("i").input("going").input("list");
  body.initializer<int64_t>("one", {1}, {1}).initializer<int64_t>("axis", {1}, {0});
  body.node("Unsqueeze", {"i", "axis"}, {"begin"}).node("Add", {"begin", "one"}, {"end"});
  body.node("Slice", {"x", "begin", "end"}, {"piece"})
      .node("Concat", {"piece", "list"}, {"longer"}, {integer("axis", 0)});
  body.output("going").output("longer").output("piece");
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {4})
      .initializer<int64_t>("n", {}, {3})
      .node("Loop", {"n", "", "x"}, {"list", "all"}, {subgraph("body", body)})
      .output("list")
      .output("all");
  const Tensors outputs = run_all_ways(graph.build(), {reals({1, 2, 3, 4})});
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{3, 2, 1, 1, 2, 3, 4}));
  EXPECT_EQ(outputs[1].values<float>(), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(outputs[1].shape, (std::vector<int64_t>{3, 1}));
  GraphBuilder unknown;
  unknown.input("x", ElementType::kFloat32, {4})
      .input("n", ElementType::kInt64, {})
      .node("Loop", {"n", "", "x"}, {"list"}, {subgraph("body", body)}, "grow");
  unknown.output("list");
  EXPECT_EQ(run_all_ways(unknown.build(), {reals({1, 2, 3, 4}), whole(2)})[0].values<float>(),
            (std::vector<float>{2, 1, 1, 2, 3, 4}));
  EXPECT_EQ(run_all_ways(unknown.build(), {reals({1, 2, 3, 4}), whole(0)})[0].values<float>(),
            (std::vector<float>{1, 2, 3, 4}));
}

// Each round has a matrix of its own, chosen by its number: the packed weights of one are not those of another.
TEST(Loop, UnrolledRoundsPackTheirOwnWeights) {
  GraphBuilder body;
  body.input("i").input("going").input("v");
  body.initializer<float>("w", {2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  body.node("Gather", {"w", "i"}, {"m"}).node("MatMul", {"v", "m"}, {"p"});
  body.node("Concat", {"p", "v"}, {"longer"}, {integer("axis", 0)}).output("going").output("longer");
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {1, 2})
      .initializer<int64_t>("n", {}, {2})
      .node("Loop", {"n", "", "x"}, {"y"}, {subgraph("body", body)})
      .output("y");
  const Tensors outputs = run_all_ways(graph.build(), {HostTensor::of<float>({1, 2}, {1, 1})});
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{62, 72, 12, 14, 4, 6, 1, 1}));
}

// Carried from round to round, and known in each.
TEST(Loop, UnrolledRoundsCarryTheirOwnWeights) {
  GraphBuilder body, graph;
  body.input("i").input("going").input("v").input("m");
  body.node("MatMul", {"v", "m"}, {"p"}).node("Add", {"m", "m"}, {"m2"});
  body.node("Concat", {"p", "v"}, {"longer"}, {integer("axis", 0)}).output("going").output("longer").output("m2");
  graph.input("x", ElementType::kFloat32, {1, 2})
      .initializer<int64_t>("n", {}, {2})
      .initializer<float>("w", {2, 2}, {1, 2, 3, 4})
      .node("Loop", {"n", "", "x", "w"}, {"y", "m"}, {subgraph("body", body)})
      .output("y");
  const Tensors outputs = run_all_ways(graph.build(), {HostTensor::of<float>({1, 2}, {1, 1})});
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{44, 64, 8, 12, 4, 6, 1, 1}));
}

// A residual block as the body, with weights from outside and inside, against the block five times in a row.
TEST(Loop, BodyIsAsGoodAsItsNodesInARow) {
  const auto add_block = [](GraphBuilder& graph, const std::string& from, const std::string& to, const std::string& n) {
    graph.node("Conv", {from, "w1"}, {"c" + n}, {ints("pads", {1, 1, 1, 1})})
        .node("Relu", {"c" + n}, {"r" + n})
        .node("Conv", {"r" + n, "w2"}, {"d" + n}, {ints("pads", {1, 1, 1, 1})})
        .node("Add", {"d" + n, from}, {"s" + n})
        .node("Relu", {"s" + n}, {to});
  };
  const auto small = [](uint32_t seed) {
    std::vector<float> values = random_values(144, seed);
    for (float& value : values) value *= 0.2f;
    return values;
  };
  const std::vector<float> w1 = small(1), w2 = small(2), w3 = small(3);
  GraphBuilder body;
  body.input("i").input("going").input("v").initializer("w2", {4, 4, 3, 3}, w2);
  add_block(body, "v", "w", "");
  body.output("going").output("w").output("w");
  GraphBuilder graph, row;
  for (GraphBuilder* each : {&graph, &row}) {
    each->input("x", ElementType::kFloat32, {2, 4, 6, 6});
    each->initializer("w1", {4, 4, 3, 3}, w1).initializer("w3", {4, 4, 3, 3}, w3);
    each->node("Conv", {"x", "w3"}, {"v0"}, {ints("pads", {1, 1, 1, 1})});
  }
  graph.initializer<int64_t>("n", {}, {5}).node("Loop", {"n", "", "v0"}, {"v5", "all"}, {subgraph("body", body)});
  row.initializer("w2", {4, 4, 3, 3}, w2);
  for (int n = 0; n < 5; ++n) add_block(row, "v" + std::to_string(n), "v" + std::to_string(n + 1), std::to_string(n));
  for (GraphBuilder* each : {&graph, &row}) {
    each->node("Conv", {"v5", "w3"}, {"z"}, {ints("pads", {1, 1, 1, 1})}).node("Add", {"z", "v0"}, {"y"}).output("y");
  }
  graph.output("all");
  row.output("v3");
  const HostTensor x = random_tensor({2, 4, 6, 6}, 7);
  const Tensors looped = run_all_ways(graph.build(), {x});
  const Tensors expected = run_model(row.build(), {x});
  const std::vector<float> y = looped[0].values<float>();
  const std::vector<float> wanted = expected[0].values<float>();
  for (size_t e = 0; e < y.size(); ++e) EXPECT_NEAR(y[e], wanted[e], 1e-3f * (1 + std::abs(wanted[e])));
  ASSERT_EQ(looped[1].shape, (std::vector<int64_t>{5, 2, 4, 6, 6}));
  const std::vector<float> all = looped[1].values<float>();
  const std::vector<float> third = expected[1].values<float>();
  for (size_t e = 0; e < third.size(); ++e) {
    EXPECT_NEAR(all[2 * third.size() + e], third[e], 1e-3f * (1 + std::abs(third[e])));
  }
  const std::vector<std::string> steps = steps_of(graph.build(), {x});
  EXPECT_EQ(std::count(steps.begin(), steps.end(), "Conv"), 4);  // the residual and the activations are fused
  EXPECT_FALSE(has(steps, "Add") && has(steps, "Relu"));
}

// In each of 3 rounds, twice as many rounds of an inner loop as the outer one's number, and a choice by what is carried.
TEST(Loop, NestedOnesAndAnIfInside) {
  GraphBuilder inner, then_branch, else_branch, body, graph;
  inner.input("j").input("go").input("u").node("Add", {"u", "v0"}, {"t"}).output("go").output("t");
  then_branch.node("Neg", {"u1"}, {"out"}).output("out");
  else_branch.node("Add", {"u1", "x"}, {"out"}).output("out");
  body.input("i").input("going").input("v0").initializer<float>("ten", {}, {10});
  body.node("Add", {"i", "i"}, {"twice"})
      .node("Loop", {"twice", "", "v0"}, {"u1"}, {subgraph("body", inner)})
      .node("ReduceSum", {"u1"}, {"sum"}, {integer("keepdims", 0)})
      .node("Greater", {"sum", "ten"}, {"large"})
      .node("If", {"large"}, {"w"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)})
      .output("going")
      .output("w")
      .output("u1");
  graph.input("x", ElementType::kFloat32, {2})
      .initializer<int64_t>("n", {}, {4})
      .node("Loop", {"n", "", "x"}, {"y", "all"}, {subgraph("body", body)})
      .output("y")
      .output("all");
  std::vector<float> v = {1, 2};
  std::vector<float> all;
  for (int i = 0; i < 4; ++i) {
    std::vector<float> u = v;
    for (int j = 0; j < 2 * i; ++j) u = {u[0] + v[0], u[1] + v[1]};
    all.insert(all.end(), u.begin(), u.end());
    v = u[0] + u[1] > 10 ? std::vector<float>{-u[0], -u[1]} : std::vector<float>{u[0] + 1, u[1] + 2};
  }
  const Tensors outputs = run_all_ways(graph.build(), {reals({1, 2})});
  EXPECT_EQ(outputs[0].values<float>(), v);
  EXPECT_EQ(outputs[1].values<float>(), all);
}

// What is carried comes back under other names and shapes that are the same bytes, and in another place.
TEST(Loop, CarriedValuesThatTradePlacesAsAliases) {
  GraphBuilder body, graph;
  body.input("i").input("going").input("a").input("b").input("c");
  body.initializer<int64_t>("flat", {1}, {4}).initializer<int64_t>("square", {2}, {2, 2});
  body.node("Reshape", {"b", "square"}, {"a1"}).node("Reshape", {"a", "flat"}, {"b1"}).node("Identity", {"c"}, {"c1"});
  body.output("going").output("a1").output("b1").output("c1");
  graph.input("x", ElementType::kFloat32, {2, 2})
      .input("y", ElementType::kFloat32, {4})
      .input("n", ElementType::kInt64, {})
      .node("Loop", {"n", "", "x", "y", "y"}, {"a", "b", "c"}, {subgraph("body", body)})
      .output("a")
      .output("b")
      .output("c");
  const HostTensor x = HostTensor::of<float>({2, 2}, {1, 2, 3, 4});
  for (int64_t n = 0; n < 4; ++n) {
    const Tensors outputs = run_all_ways(graph.build(), {x, reals({5, 6, 7, 8}), whole(n)});
    const std::vector<float> low = {1, 2, 3, 4}, high = {5, 6, 7, 8};
    EXPECT_EQ(outputs[0].values<float>(), n % 2 == 0 ? low : high) << n;
    EXPECT_EQ(outputs[1].values<float>(), n % 2 == 0 ? high : low) << n;
    EXPECT_EQ(outputs[2].values<float>(), high) << n;
  }
}

// Each round has numbers of its own, each run the same ones; a loop that is unrolled too.
TEST(Loop, RandomNumbersAreOthersInEachRound) {
  for (const bool grows : {false, true}) {
    GraphBuilder body, graph;
    body.input("i").input("going").input("v").node("RandomNormal", {}, {"r"}, {ints("shape", {2})});
    body.node(grows ? "Concat" : "Mul", {"v", "r"}, {"w"}, {integer("axis", 0)})
        .output("going")
        .output("w")
        .output("r");
    graph.input("x", ElementType::kFloat32, {2})
        .initializer<int64_t>("n", {}, {20})
        .node("Loop", {"n", "", "x"}, {"y", "all"}, {subgraph("body", body)})
        .output("y")
        .output("all");
    std::vector<float> all = run_all_ways(graph.build(), {reals({1, 2})})[1].values<float>();
    ASSERT_EQ(all.size(), 40u);
    std::sort(all.begin(), all.end());
    EXPECT_EQ(std::unique(all.begin(), all.end()) - all.begin(), 40);
  }
}

TEST(Loop, EndlessOneIsTheCallersToEnd) {
  GraphBuilder body, graph;
  body.input("i").input("going").input("v").node("Neg", {"v"}, {"w"}).output("going").output("w");
  graph.input("x", ElementType::kFloat32, {2})
      .initializer<bool>("yes", {}, std::vector<bool>{true})
      .node("Loop", {"", "yes", "x"}, {"y"}, {subgraph("body", body)})
      .output("y");
  int asked = 0;
  SessionOptions options;
  options.cancellation.user = &asked;
  options.cancellation.cancelled = [](void* user) { return ++*static_cast<int*>(user) > 10000 ? 1 : 0; };
  Tensors outputs;
  const Status status = try_run_model(graph.build(), {reals({1, 2})}, &outputs, {}, options);
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
  EXPECT_GT(asked, 10000);
}

// A thousand rounds of a thousand rounds ..., each of which must be unrolled: the plan must not become that long.
TEST(Loop, UnrollingHasAnEnd) {
  GraphBuilder body;  // the shape of a slice is a matter of the numbers of all rounds
  body.input("i0").input("going").input("v").initializer<int64_t>("first", {1}, {0}).node("Identity", {"i0"}, {"s0"});
  for (int depth = 1; depth < 7; ++depth) {
    const std::string n = std::to_string(depth);
    body.node("Add", {"s" + std::to_string(depth - 1), "i" + n}, {"s" + n});
  }
  body.node("Unsqueeze", {"s6", "first"}, {"begin"}).node("Slice", {"x", "begin", "large"}, {"piece"});
  body.node("ReduceSum", {"piece"}, {"w"}, {integer("keepdims", 1)}).output("going").output("w");
  std::string attribute = subgraph("body", body);
  for (int depth = 1; depth < 7; ++depth) {
    GraphBuilder around;
    around.input("i" + std::to_string(depth))
        .input("going")
        .input("v")
        .node("Loop", {"n", "", "v"}, {"w"}, {attribute});
    attribute = subgraph("body", around.output("going").output("w"));
  }
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {4})
      .initializer<int64_t>("n", {}, {1000})
      .initializer<int64_t>("large", {1}, {100})
      .initializer<float>("zero", {1}, {0})
      .node("Loop", {"n", "", "zero"}, {"y"}, {attribute})
      .output("y");
  const std::string error = error_of(graph.build(), {reals({1, 2, 3, 4})}, StatusCode::kLimit);
  EXPECT_TRUE(contains(error, "unrolled")) << error;
  // An empty body that goes round for ever, and cannot be a loop: nothing of it has a shape.
  GraphBuilder empty, endless;
  empty.input("i").input("going").output("going").output("i");
  endless.initializer<bool>("yes", {}, std::vector<bool>{true})
      .node("Loop", {"", "yes"}, {"all"}, {subgraph("body", empty)})
      .output("all", ElementType::kInt64);
  error_of(endless.build(), {}, StatusCode::kLimit);
}

TEST(Loop, RefusesWhatItCannotPlan) {
  const Tensors inputs = {whole(3), reals({1, 2})};
  const auto with = [](const std::vector<std::string>& node_inputs, const std::vector<std::string>& node_outputs,
                       const std::vector<std::string>& attributes) {
    GraphBuilder graph;
    graph.input("n", ElementType::kInt64, {}).input("x", ElementType::kFloat32, {2});
    graph.node("Loop", node_inputs, node_outputs, attributes, "loop").output(node_outputs[0]);
    return graph.build();
  };
  GraphBuilder body;
  body.input("i").input("going").input("v").node("Abs", {"v"}, {"w"}).output("going").output("w");
  const std::string good = subgraph("body", body);
  ASSERT_EQ(run_model(with({"n", "", "x"}, {"y"}, {good}), inputs).size(), 1u);
  error_of(with({"n", "", "x"}, {"y"}, {}), inputs, StatusCode::kCorrupt);
  error_of(with({"n", "", "x"}, {"y"}, {integer("body", 3)}), inputs, StatusCode::kCorrupt);
  error_of(with({"n", "", "x", "x"}, {"y"}, {good}), inputs, StatusCode::kCorrupt);
  error_of(with({"n", ""}, {"y"}, {good}), inputs, StatusCode::kCorrupt);
  error_of(with({}, {"y"}, {good}), inputs, StatusCode::kCorrupt);
  error_of(with({"n", "", ""}, {"y"}, {good}), inputs, StatusCode::kCorrupt);
  error_of(with({"n", "", "x"}, {"y", "z"}, {good}), inputs, StatusCode::kCorrupt);
  error_of(with({"x", "", "x"}, {"y"}, {good}), inputs, StatusCode::kShape);
  error_of(with({"n", "x", "x"}, {"y"}, {good}), inputs, StatusCode::kShape);
}

// By another name, what a branch or a loop takes is the value itself: before an activation that is fused into the node that
// makes it, and in the layout that it lies in.
TEST(Loop, TakesValuesByAnotherName) {
  GraphBuilder branch, both;
  branch.node("Add", {"x", "x"}, {"sum"})
      .node("Relu", {"sum"}, {"relu"})
      .node("Identity", {"relu"}, {"a"})
      .node("Identity", {"sum"}, {"b"})
      .output("a")
      .output("b");
  both.input("x", ElementType::kFloat32, {2})
      .input("c", ElementType::kBool, {})
      .node("If", {"c"}, {"a", "b"}, {subgraph("then_branch", branch), subgraph("else_branch", branch)})
      .output("a")
      .output("b");
  const Tensors chosen = run_all_ways(both.build(), {reals({1, -2}), truth(true)});
  EXPECT_EQ(chosen[0].values<float>(), (std::vector<float>{2, 0}));
  EXPECT_EQ(chosen[1].values<float>(), (std::vector<float>{2, -4}));
  GraphBuilder body, graph;
  body.input("i").input("going").input("v").node("Neg", {"v"}, {"w"}).output("going").output("w");
  graph.input("x", ElementType::kFloat32, {1, 3, 4, 5})
      .input("n", ElementType::kInt64, {})
      .initializer("w", {4, 3, 3, 3}, random_values(108, 1))
      .node("Conv", {"x", "w"}, {"map"}, {ints("pads", {1, 1, 1, 1})})
      .node("Relu", {"map"}, {"relu"})
      .node("Identity", {"map"}, {"again"})
      .node("Loop", {"n", "", "again"}, {"y"}, {subgraph("body", body)})
      .node("SplitToSequence", {"again"}, {"planes"}, {integer("axis", 1)})
      .node("ConcatFromSequence", {"planes"}, {"z"}, {integer("axis", 1)})
      .output("y")
      .output("map")
      .output("z")
      .output("relu");
  const Tensors outputs = run_all_ways(graph.build(), {random_tensor({1, 3, 4, 5}, 2), whole(2)});
  EXPECT_EQ(outputs[0].values<float>(), outputs[1].values<float>());
  EXPECT_EQ(outputs[2].values<float>(), outputs[1].values<float>());
}

// Prefix sums along an axis, forwards or backwards, stacked along another.
TEST(Scan, GoesAlongAnyAxisInAnyDirection) {
  GraphBuilder body;
  body.input("sum").input("piece").node("Add", {"sum", "piece"}, {"more"}).node("Identity", {"more"}, {"out"});
  body.output("more").output("out");
  const HostTensor x = random_tensor({2, 3, 4}, 5);
  const std::vector<float> values = x.values<float>();
  for (const int64_t axis : {0, 1, 2, -1}) {
    for (const int64_t out_axis : {0, 1, -1}) {
      for (const int64_t in_direction : {0, 1}) {
        for (const int64_t out_direction : {0, 1}) {
          const int along = static_cast<int>(axis < 0 ? axis + 3 : axis);
          std::vector<int64_t> rest;
          for (int i = 0; i < 3; ++i) {
            if (i != along) rest.push_back(x.shape[static_cast<size_t>(i)]);
          }
          GraphBuilder graph;
          graph.input("x", ElementType::kFloat32, {2, 3, 4})
              .initializer("zero", rest, std::vector<float>(static_cast<size_t>(rest[0] * rest[1])))
              .node("Scan", {"zero", "x"}, {"last", "all"},
                    {subgraph("body", body), integer("num_scan_inputs", 1), ints("scan_input_axes", {axis}),
                     ints("scan_output_axes", {out_axis}), ints("scan_input_directions", {in_direction}),
                     ints("scan_output_directions", {out_direction})})
              .output("last")
              .output("all");
          const Tensors outputs = run_all_ways(graph.build(), {x});
          const int64_t length = x.shape[static_cast<size_t>(along)];
          std::vector<int64_t> stacked = rest;
          const int64_t out = out_axis < 0 ? out_axis + 3 : out_axis;
          stacked.insert(stacked.begin() + out, length);
          ASSERT_EQ(outputs[1].shape, stacked);
          const std::vector<float> all = outputs[1].values<float>();
          std::vector<float> sums(static_cast<size_t>(rest[0] * rest[1]));
          for (int64_t t = 0; t < length; ++t) {
            const int64_t from = in_direction == 1 ? length - 1 - t : t;
            const int64_t to = out_direction == 1 ? length - 1 - t : t;
            for (int64_t r = 0; r < rest[0]; ++r) {
              for (int64_t c = 0; c < rest[1]; ++c) {
                int64_t read[3] = {r, c, 0};
                std::copy_backward(read + along, read + 2, read + 3);
                read[along] = from;
                float& sum = sums[static_cast<size_t>(r * rest[1] + c)];
                sum += values[static_cast<size_t>((read[0] * 3 + read[1]) * 4 + read[2])];
                int64_t written[3] = {r, c, 0};
                std::copy_backward(written + out, written + 2, written + 3);
                written[out] = to;
                const size_t place =
                    static_cast<size_t>((written[0] * stacked[1] + written[1]) * stacked[2] + written[2]);
                EXPECT_NEAR(all[place], sum, 1e-5f);
              }
            }
          }
          const std::vector<float> last = outputs[0].values<float>();
          for (size_t e = 0; e < sums.size(); ++e) EXPECT_NEAR(last[e], sums[e], 1e-5f);
        }
      }
    }
  }
}

// Operator set 8: of 2 samples, sums of 3 rows, backwards.
TEST(Scan, OfABatch) {
  GraphBuilder body;
  body.input("sum").input("row").node("Add", {"sum", "row"}, {"more"}).node("Neg", {"more"}, {"out"});
  const std::string attribute = subgraph("body", body.output("more").output("out"));
  const auto with = [&](const std::vector<std::string>& inputs) {
    GraphBuilder graph(8);
    graph.input("s", ElementType::kFloat32, {2, 2})
        .input("x", ElementType::kFloat32, {2, 3, 2})
        .input("lengths", ElementType::kInt64, {2})
        .node("Scan", inputs, {"last", "all"}, {attribute, integer("num_scan_inputs", 1), ints("directions", {1})})
        .output("last")
        .output("all");
    return graph.build();
  };
  const HostTensor s = HostTensor::of<float>({2, 2}, {100, 200, 300, 400});
  const HostTensor x = HostTensor::of<float>({2, 3, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  const HostTensor lengths = HostTensor::of<int64_t>({2}, {3, 3});
  const Tensors outputs = run_all_ways(with({"", "s", "x"}), {s, x, lengths});
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{109, 212, 327, 430}));
  EXPECT_EQ(outputs[1].shape, (std::vector<int64_t>{2, 3, 2}));
  EXPECT_EQ(outputs[1].values<float>(),
            (std::vector<float>{-105, -206, -108, -210, -109, -212, -311, -412, -320, -422, -327, -430}));
  error_of(with({"lengths", "s", "x"}), {s, x, lengths}, StatusCode::kUnsupportedFeature);
  error_of(with({"", "s", ""}), {s, x, lengths}, StatusCode::kShape);
  error_of(with({""}), {s, x, lengths}, StatusCode::kCorrupt);
}

TEST(Scan, RefusesWhatItCannotPlan) {
  GraphBuilder body;
  body.input("s").input("p").input("q").node("Add", {"p", "q"}, {"t"}).node("Add", {"s", "t"}, {"u"});
  const std::string good = subgraph("body", body.output("u").output("t"));
  const auto with = [&](const std::vector<std::string>& node_inputs, const std::vector<std::string>& attributes) {
    GraphBuilder graph;
    graph.input("x", ElementType::kFloat32, {3, 2}).input("s", ElementType::kFloat32, {2});
    graph.input("z", ElementType::kFloat32, {4, 2}).node("Scan", node_inputs, {"y", "all"}, attributes).output("y");
    return graph.output("all").build();
  };
  const Tensors inputs = {random_tensor({3, 2}, 1), random_tensor({2}, 2), random_tensor({4, 2}, 3)};
  const std::string two = integer("num_scan_inputs", 2);
  ASSERT_EQ(run_model(with({"s", "x", "x"}, {good, two}), inputs).size(), 2u);
  error_of(with({"s", "x", "x"}, {good}), inputs, StatusCode::kCorrupt);
  error_of(with({"s", "x", "x"}, {good, integer("num_scan_inputs", 4)}), inputs, StatusCode::kCorrupt);
  error_of(with({"s", "x", "x"}, {good, integer("num_scan_inputs", -1)}), inputs, StatusCode::kCorrupt);
  error_of(with({"s", "x"}, {good, two}), inputs, StatusCode::kCorrupt);
  error_of(with({"s", "x", ""}, {good, two}), inputs, StatusCode::kCorrupt);
  error_of(with({"", "x", "x"}, {good, two}), inputs, StatusCode::kCorrupt);
  error_of(with({"s", "x", "z"}, {good, two}), inputs, StatusCode::kShape);
  for (const char* list : {"scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions"}) {
    error_of(with({"s", "x", "x"}, {good, two, ints(list, {0, 0, 0})}), inputs, StatusCode::kCorrupt);
  }
  constexpr int64_t kHuge = int64_t{1} << 40;
  for (const int64_t axis : {int64_t{2}, int64_t{-3}, kHuge, std::numeric_limits<int64_t>::min()}) {
    error_of(with({"s", "x", "x"}, {good, two, ints("scan_input_axes", {axis, 0})}), inputs, StatusCode::kShape);
    error_of(with({"s", "x", "x"}, {good, two, ints("scan_output_axes", {axis})}), inputs, StatusCode::kShape);
  }
}

struct CountingAllocator {
  int64_t calls = 0, blocks = 0, fail_at = -1;

  Allocator hooks() {
    return {[](void* user, size_t bytes, size_t alignment) -> void* {
              auto& self = *static_cast<CountingAllocator*>(user);
              if (self.calls++ == self.fail_at) return nullptr;
              ++self.blocks;
              return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
            },
            [](void* user, void* block, size_t) {
              --static_cast<CountingAllocator*>(user)->blocks;
              std::free(block);
            },
            this};
  }
};

// Branches that are refused and loops that are planned in vain leave nothing behind, wherever memory ends.
TEST(Subgraph, SurvivesEveryFailedAllocation) {
  GraphBuilder body, then_branch, else_branch, graph;
  body.input("i")
      .input("going")
      .input("v")
      .initializer<int64_t>("axis", {1}, {0})
      .initializer<int64_t>("more", {1}, {2});
  body.node("Unsqueeze", {"i", "axis"}, {"from"}).node("Add", {"from", "more"}, {"to"});
  body.node("Slice", {"x", "from", "to"}, {"piece"}).node("Add", {"v", "piece"}, {"w"}).output("going").output("w");
  then_branch.initializer<float>("three", {3}, {1, 2, 3}).node("Exp", {"three"}, {"e"}).node("Add", {"y", "e"}, {"o"});
  else_branch.node("Neg", {"y"}, {"o"}).output("o");
  graph.input("x", ElementType::kFloat32, {4})
      .input("c", ElementType::kBool, {})
      .initializer<int64_t>("n", {}, {3})
      .initializer<float>("zeros", {2}, {0, 0})
      .node("Loop", {"n", "", "zeros"}, {"y"}, {subgraph("body", body)})
      .node("If", {"c"}, {"z"},
            {subgraph("then_branch", then_branch.output("o")), subgraph("else_branch", else_branch)})
      .output("z");
  const std::string bytes = graph.build();
  const auto run = [&](CountingAllocator& memory, Tensors* outputs) {
    ModelOptions options;
    options.allocator = memory.hooks();
    SessionOptions session_options;
    session_options.allocator = memory.hooks();
    return try_run_model(bytes, {reals({1, 2, 3, 4}), truth(false)}, outputs, options, session_options);
  };
  CountingAllocator all;
  Tensors outputs;
  ASSERT_TRUE(run(all, &outputs).ok());
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{-6, -9}));
  EXPECT_EQ(all.blocks, 0);
  for (int64_t n = 0; n < all.calls; ++n) {
    CountingAllocator memory;
    memory.fail_at = n;
    EXPECT_EQ(run(memory, &outputs).code(), StatusCode::kOutOfMemory) << n;
    EXPECT_EQ(memory.blocks, 0) << n;
  }
}

TEST(Subgraph, NamesMeanTheInnermostOfTheirValues) {
  GraphBuilder then_branch, else_branch, graph;
  // "t" is another value in each branch, and a third one behind; "x" is hidden in one of them.
  then_branch.node("Neg", {"x"}, {"t"}).node("Identity", {"t"}, {"x"}).node("Abs", {"x"}, {"out"}).output("out");
  else_branch.node("Exp", {"x"}, {"t"}).output("t");
  graph.input("c", ElementType::kBool, {})
      .input("x", ElementType::kFloat32, {1})
      .node("If", {"c"}, {"t"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)})
      .node("Add", {"t", "x"}, {"y"})
      .output("y");
  EXPECT_EQ(run_all_ways(graph.build(), {truth(true), reals({-3})})[0].values<float>(), std::vector<float>{0});
  EXPECT_NEAR(run_all_ways(graph.build(), {truth(false), reals({1})})[0].values<float>()[0], 3.71828f, 1e-4f);
}

TEST(Subgraph, SeesOnlyWhatIsThere) {
  const auto error = [](const GraphBuilder& body) {
    GraphBuilder graph;
    graph.input("c", ElementType::kBool, {}).input("x", ElementType::kFloat32, {1});
    graph.node("If", {"c"}, {"y"}, {subgraph("then_branch", body), subgraph("else_branch", body)});
    graph.node("Abs", {"x"}, {"later"}).output("y");
    return error_of(graph.build(), {truth(true), reals({1})}, StatusCode::kCorrupt);
  };
  const std::string nowhere = error(GraphBuilder().node("Abs", {"nowhere"}, {"a"}).output("a"));
  EXPECT_TRUE(contains(nowhere, "'nowhere'") && contains(nowhere, "'a' (Abs)")) << nowhere;
  error(GraphBuilder().node("Abs", {"later"}, {"a"}).output("a"));  // made behind the If
  error(GraphBuilder().node("Abs", {"y"}, {"a"}).output("a"));      // the If itself
  error(GraphBuilder().node("Abs", {"a"}, {"a"}).output("a"));      // itself
  error(GraphBuilder().node("Abs", {"b"}, {"a"}).node("Abs", {"a"}, {"b"}).output("a"));
  error(GraphBuilder().node("Abs", {"x"}, {"a"}).node("Abs", {"x"}, {"a"}).output("a"));
  error(GraphBuilder().node("Abs", {"x"}, {"a"}).output("b"));
  error(GraphBuilder().node("Abs", {"x"}, {"a"}).output(""));
  GraphBuilder outside;
  outside.input("c", ElementType::kBool, {}).input("x", ElementType::kFloat32, {1});
  const std::string body = GraphBuilder().node("Abs", {"x"}, {"inner"}).output("inner").graph();
  const auto branch = [&](const char* name) { return attribute_of_type(name, 5, WireWriter().bytes(6, body)); };
  outside.node("If", {"c"}, {"y"}, {branch("then_branch"), branch("else_branch")}).output("y");
  error_of(GraphBuilder(outside).node("Abs", {"inner"}, {"z"}).output("z").build(), {truth(true), reals({1})},
           StatusCode::kCorrupt);
  EXPECT_EQ(run_model(outside.build(), {truth(true), reals({-1})})[0].values<float>(), std::vector<float>{1});
  const std::string two_graphs = attribute_of_type("then_branch", 5, WireWriter().bytes(6, body).bytes(6, body));
  outside.node("If", {"c"}, {"z"}, {two_graphs, branch("else_branch")}).output("z");
  error_of(outside.build(), {truth(true), reals({1})}, StatusCode::kCorrupt);
}

// As deep as is allowed, and thousands side by side: each node is planned once.
TEST(Subgraph, ManyAndDeepOnes) {
  std::string both;
  const auto nest = [&](int depth) {
    GraphBuilder leaf;
    leaf.node("Neg", {"x"}, {"out"}).output("out");
    both = leaf.graph();
    for (int i = 0; i < depth; ++i) {
      GraphBuilder around, other;
      other.node("Abs", {"x"}, {"out"}).output("out");
      around
          .node("If", {"c"}, {"out"},
                {attribute_of_type("then_branch", 5, WireWriter().bytes(6, both)), subgraph("else_branch", other)})
          .output("out");
      both = around.graph();
    }
    GraphBuilder graph;
    graph.input("c", ElementType::kBool, {}).input("x", ElementType::kFloat32, {1});
    GraphBuilder other;
    other.node("Abs", {"x"}, {"out"}).output("out");
    graph.node("If", {"c"}, {"y"},
               {attribute_of_type("then_branch", 5, WireWriter().bytes(6, both)), subgraph("else_branch", other)});
    return graph.output("y").build();
  };
  EXPECT_EQ(run_model(nest(31), {truth(true), reals({2})})[0].values<float>(), std::vector<float>{-2});
  error_of(nest(32), {truth(true), reals({2})}, StatusCode::kLimit);

  GraphBuilder graph, then_branch, else_branch;
  then_branch.node("Neg", {"x"}, {"out"}).output("out");
  else_branch.node("Abs", {"x"}, {"out"}).output("out");
  graph.input("c", ElementType::kBool, {}).input("x", ElementType::kFloat32, {1}).node("Abs", {"x"}, {"y0"});
  for (int i = 0; i < 5000; ++i) {
    const std::string n = std::to_string(i);
    graph.node("If", {"c"}, {"z" + n}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)});
    graph.node("Add", {"y" + n, "z" + n}, {"y" + std::to_string(i + 1)});
  }
  graph.output("y5000");
  EXPECT_EQ(run_model(graph.build(), {truth(true), reals({1})})[0].values<float>(), std::vector<float>{-4999});
  ModelOptions options;
  options.limits.max_nodes = 20000;  // there are 20001, those inside counted
  ModelHandle model;
  const std::string bytes = graph.build();
  EXPECT_EQ(open_model(as_bytes(bytes), {}, options, model).code(), StatusCode::kLimit);
}

// Folded into the convolution in front of the If, or not.
TEST(Subgraph, NormalizationOfAConvolutionOutside) {
  GraphBuilder then_branch, else_branch, graph;
  for (const char* name : {"scale", "shift", "mean", "variance"}) {
    then_branch.initializer<float>(name, {2}, {2, 3});
  }
  then_branch.node("BatchNormalization", {"conv", "scale", "shift", "mean", "variance"}, {"out"}).output("out");
  else_branch.initializer<float>("zeros", {1, 2, 1, 1}, {0, 0}).output("zeros");
  graph.input("c", ElementType::kBool, {})
      .input("x", ElementType::kFloat32, {1, 1, 1, 1})
      .initializer<float>("w", {2, 1, 1, 1}, {1, 2})
      .node("Conv", {"x", "w"}, {"conv"})
      .node("If", {"c"}, {"y"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)})
      .output("y");
  const HostTensor x = HostTensor::of<float>({1, 1, 1, 1}, {5});
  EXPECT_EQ(run_all_ways(graph.build(), {truth(false), x})[0].values<float>(), (std::vector<float>{0, 0}));
  const std::vector<float> y = run_all_ways(graph.build(), {truth(true), x})[0].values<float>();
  EXPECT_NEAR(y[0], 2 * (5 - 2) / std::sqrt(2.f) + 2, 1e-3f);
  EXPECT_NEAR(y[1], 3 * (10 - 3) / std::sqrt(3.f) + 3, 1e-3f);
}

}  // namespace
}  // namespace quench::rt
