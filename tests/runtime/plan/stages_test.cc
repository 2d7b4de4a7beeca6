// Models whose shapes only the run tells: they run in stages, each by a plan of its own.

#include <cmath>
#include <cstdlib>

#include "runtime/plan/plan.h"
#include "tests/runtime/many_ways.h"
#include "tests/runtime/sample_graphs.h"

namespace quench::rt {
namespace {

// Twice those of x that are above 0, and how many they are.
GraphBuilder positive_ones() {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {-1})
      .initializer<float>("zero", {}, {0})
      .initializer<int64_t>("first", {1}, {0})
      .node("Greater", {"x", "zero"}, {"above"})
      .node("Add", {"x", "x"}, {"twice"})
      .node("NonZero", {"above"}, {"places"})
      .node("Squeeze", {"places", "first"}, {"list"})
      .node("Gather", {"twice", "list"}, {"chosen"})
      .node("Size", {"chosen"}, {"count"})
      .output("chosen")
      .output("count", ElementType::kInt64);
  return graph;
}

TEST(Stages, ChooseAsManyValuesAsThereAre) {
  const std::string bytes = positive_ones().build();
  EXPECT_EQ(run_all_ways(bytes, {reals({1, -2, 3})})[0].values<float>(), (std::vector<float>{2, 6}));
  const Tensors none = run_all_ways(bytes, {reals({-1, -2, -3})});
  EXPECT_EQ(none[0].shape, std::vector<int64_t>{0});
  EXPECT_EQ(none[1].values<int64_t>(), std::vector<int64_t>{0});
}

struct Counter {
  int64_t blocks = 0, taken = 0;

  Allocator allocator() {
    Allocator made;
    made.allocate = [](void* user, size_t bytes, size_t alignment) {
      ++static_cast<Counter*>(user)->blocks;
      ++static_cast<Counter*>(user)->taken;
      return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    made.release = [](void* user, void* block, size_t) {
      --static_cast<Counter*>(user)->blocks;
      std::free(block);
    };
    made.user = this;
    return made;
  }
};

// One session, other values each time: plans of later stages are kept while their values stay, and made anew otherwise.
TEST(Stages, OneSessionRunsThemForOtherValuesEachTime) {
  Counter of_model, of_session;
  ModelOptions options;
  options.allocator = of_model.allocator();
  SessionOptions session_options;
  session_options.allocator = of_session.allocator();
  const std::string bytes = positive_ones().build();
  {
    ModelHandle model;
    SessionHandle session;
    ASSERT_TRUE(open_model(as_bytes(bytes), {}, options, model).ok());
    ASSERT_TRUE(create_session(*model, session_options, session).ok());
    const auto run = [&](const std::vector<float>& x) {
      Tensors outputs;
      const Status status = run_session(*session, {reals(x)}, &outputs);
      EXPECT_TRUE(status.ok()) << status.detail();
      return status.ok() ? outputs[0].values<float>() : std::vector<float>();
    };
    EXPECT_EQ(run({1, -2, 3}), (std::vector<float>{2, 6}));
    const int64_t blocks = of_model.blocks;
    const int64_t taken = of_model.taken + of_session.taken;
    EXPECT_EQ(run({5, -2, 4}), (std::vector<float>{10, 8}));
    EXPECT_EQ(of_model.taken + of_session.taken, taken);
    EXPECT_EQ(run({5, 2, -4}), (std::vector<float>{10, 4}));
    EXPECT_GT(of_model.taken + of_session.taken, taken);
    EXPECT_EQ(run({-5, -2, -4}), std::vector<float>());
    EXPECT_EQ(run({1, 2, 3, 4, -1}), (std::vector<float>{2, 4, 6, 8}));
    EXPECT_EQ(run({1, -2, 3}), (std::vector<float>{2, 6}));
    EXPECT_EQ(of_model.blocks, blocks);
  }
  EXPECT_EQ(of_model.blocks, 0);
  EXPECT_EQ(of_session.blocks, 0);
}

TEST(Stages, ShapesAreWhatInputsSay) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2, 6})
      .input("shape", ElementType::kInt64, {-1})
      .initializer("w", {3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6})
      .node("Reshape", {"x", "shape"}, {"y"})
      .node("MatMul", {"y", "w"}, {"z"})
      .output("z");
  const HostTensor x = random_tensor({2, 6}, 1);
  const std::string bytes = graph.build();
  const auto result = [&](const std::vector<int64_t>& shape) {
    return run_all_ways(bytes, {x, HostTensor::of({static_cast<int64_t>(shape.size())}, shape)})[0];
  };
  EXPECT_EQ(result({4, 3}).shape, (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(result({2, 2, 3}).shape, (std::vector<int64_t>{2, 2, 2}));
  EXPECT_EQ(result({4, 3}).values<float>(), result({2, -1, 3}).values<float>());
  Tensors outputs;
  EXPECT_EQ(try_run_model(bytes, {x, HostTensor::of<int64_t>({2}, {6, 2})}, &outputs).code(), StatusCode::kShape);
}

// A detector: a convolution's map, boxes and scores from it, the best of them, and a head on what lies there, by weights
// that are packed; the map is handed over through two stages, and is an output as well.
GraphBuilder detector() {
  GraphBuilder graph(11);
  graph.input("image", ElementType::kFloat32, {1, 3, 8, 8})
      .initializer("w", {4, 3, 3, 3}, random_values(108, 1))
      .initializer("scores_w", {1, 4, 1, 1}, random_values(4, 2))
      .initializer("boxes_w", {4, 4, 1, 1}, random_values(16, 3))
      .initializer<int64_t>("flat_scores", {3}, {1, 1, -1})
      .initializer<int64_t>("flat_boxes", {3}, {1, 4, -1})
      .initializer<int64_t>("most", {1}, {5})
      .initializer<float>("overlap", {1}, {0.3f})
      .initializer<float>("limit", {1}, {0})
      .initializer<int64_t>("two", {}, {2})
      .initializer("head", {4, 6}, random_values(24, 4));
  graph.node("Conv", {"image", "w"}, {"c"}, {ints("pads", {1, 1, 1, 1})})
      .node("Relu", {"c"}, {"map"})
      .node("Conv", {"map", "scores_w"}, {"s"})
      .node("Reshape", {"s", "flat_scores"}, {"scores"})
      .node("Conv", {"map", "boxes_w"}, {"b"})
      .node("Reshape", {"b", "flat_boxes"}, {"columns"})
      .node("Transpose", {"columns"}, {"boxes"}, {ints("perm", {0, 2, 1})})
      .node("NonMaxSuppression", {"boxes", "scores", "most", "overlap", "limit"}, {"found"})
      .node("Gather", {"found", "two"}, {"places"}, {integer("axis", 1)})
      .node("Reshape", {"map", "flat_boxes"}, {"features"})
      .node("Gather", {"features", "places"}, {"chosen"}, {integer("axis", 2)})
      .node("Transpose", {"chosen"}, {"rows"}, {ints("perm", {0, 2, 1})})
      .node("MatMul", {"rows", "head"}, {"y"})
      .node("NonZero", {"y"}, {"all"})
      .node("Shape", {"all"}, {"size"})
      .output("y")
      .output("map")
      .output("places", ElementType::kInt64)
      .output("size", ElementType::kInt64);
  return graph;
}

TEST(Stages, DetectorWithAHeadBehindIt) {
  const HostTensor image = random_tensor({1, 3, 8, 8}, 9);
  const Tensors outputs = run_all_ways(detector().build(), {image});
  const auto found = static_cast<int64_t>(outputs[2].values<int64_t>().size());
  ASSERT_GT(found, 1);
  EXPECT_EQ(outputs[0].shape, (std::vector<int64_t>{1, found, 6}));
  EXPECT_EQ(outputs[3].values<int64_t>(), (std::vector<int64_t>{3, found * 6}));
  const std::vector<float> map = outputs[1].values<float>();
  const std::vector<float> head = random_values(24, 4);
  for (int64_t i = 0; i < found; ++i) {
    const auto place = static_cast<size_t>(outputs[2].values<int64_t>()[static_cast<size_t>(i)]);
    for (size_t k = 0; k < 6; ++k) {
      double sum = 0;
      for (size_t c = 0; c < 4; ++c) sum += static_cast<double>(map[c * 64 + place]) * head[c * 6 + k];
      EXPECT_NEAR(outputs[0].values<float>()[static_cast<size_t>(i) * 6 + k], sum, 1e-4);
    }
  }
}

// What is packed for a MatMul whose matrix only the run tells is not that of another run, nor of another session.
TEST(Stages, MatricesThatTheRunTellsAreNotShared) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {-1, 2})
      .input("m", ElementType::kFloat32, {-1})
      .initializer<int64_t>("two", {2}, {2, 2})
      .initializer<int64_t>("axis", {1}, {1})
      .initializer<float>("zero", {}, {0})
      .node("NonZero", {"m"}, {"places"})
      .node("Transpose", {"places"}, {"column"})
      .node("GatherND", {"m", "column"}, {"values"})
      .node("Reshape", {"values", "two"}, {"matrix"})
      .node("MatMul", {"x", "matrix"}, {"y"})
      .output("y");
  TwoSessions sessions(graph.build());
  ASSERT_TRUE(sessions.status.ok());
  const HostTensor x = HostTensor::of<float>({1, 2}, {1, 10});
  Tensors first, second;
  ASSERT_TRUE(run_session(*sessions.one, {x, reals({1, 2, 0, 3, 4})}, &first).ok());
  ASSERT_TRUE(run_session(*sessions.two, {x, reals({0, 5, 6, 7, 8})}, &second).ok());
  EXPECT_EQ(first[0].values<float>(), (std::vector<float>{31, 42}));
  EXPECT_EQ(second[0].values<float>(), (std::vector<float>{75, 86}));
  ASSERT_TRUE(run_session(*sessions.one, {x, reals({0, 5, 6, 7, 8})}, &first).ok());
  EXPECT_EQ(first[0].values<float>(), (std::vector<float>{75, 86}));
}

TEST(Stages, BranchesOfDifferentShapesAndTypes) {
  GraphBuilder then_branch, else_branch, graph;
  then_branch.node("Concat", {"x", "x"}, {"a"}, {integer("axis", 0)}).output("a");
  else_branch.node("ReduceSum", {"x"}, {"b"}, {integer("keepdims", 0)}).output("b");
  graph.input("x", ElementType::kFloat32, {2})
      .node("ReduceMax", {"x"}, {"most"}, {integer("keepdims", 0)})
      .initializer<float>("one", {}, {1})
      .node("Greater", {"most", "one"}, {"c"})
      .node("If", {"c"}, {"y"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)})
      .node("Neg", {"y"}, {"z"})
      .output("z");
  EXPECT_EQ(run_all_ways(graph.build(), {reals({1, 2})})[0].values<float>(), (std::vector<float>{-1, -2, -1, -2}));
  EXPECT_EQ(run_all_ways(graph.build(), {reals({1, 0.5f})})[0].values<float>(), std::vector<float>{-1.5f});
  GraphBuilder lengths, other;
  lengths.node("Shape", {"x"}, {"a"}).output("a");
  other.input("x", ElementType::kFloat32, {2})
      .input("c", ElementType::kBool, {})
      .node("If", {"c"}, {"y"}, {subgraph("then_branch", lengths), subgraph("else_branch", else_branch)})
      .output("y");
  EXPECT_EQ(run_all_ways(other.build(), {reals({1, 2}), truth(true)})[0].values<int64_t>(), std::vector<int64_t>{2});
  EXPECT_EQ(run_all_ways(other.build(), {reals({1, 2}), truth(false)})[0].values<float>(), std::vector<float>{3});
}

// While the values that are above 1 are more than two, halves them and drops the others; an If in the body counts rounds.
TEST(Stages, LoopWhoseBodyChoosesValues) {
  GraphBuilder more, same, body, graph;
  more.node("Add", {"rounds", "one_round"}, {"a"}).output("a");
  same.node("Concat", {"rounds", "rounds"}, {"b"}, {integer("axis", 0)}).output("b");
  body.input("i").input("going").input("v").input("rounds");
  body.initializer<float>("half", {}, {0.5f})
      .initializer<int64_t>("one_round", {1}, {1})
      .node("Mul", {"v", "half"}, {"halves"})
      .node("Greater", {"halves", "one"}, {"above"})
      .node("Compress", {"halves", "above"}, {"kept"})
      .node("Size", {"kept"}, {"count"})
      .node("Greater", {"count", "two"}, {"go_on"})
      .node("ReduceMax", {"halves"}, {"most"}, {integer("keepdims", 0)})
      .node("Greater", {"most", "one"}, {"any"})
      .node("If", {"any"}, {"counted"}, {subgraph("then_branch", more), subgraph("else_branch", same)})
      .output("go_on")
      .output("kept")
      .output("counted")
      .output("count");
  graph.input("x", ElementType::kFloat32, {-1})
      .initializer<float>("one", {}, {1})
      .initializer<int64_t>("two", {}, {2})
      .initializer<int64_t>("none", {1}, {0})
      .initializer<bool>("yes", {}, std::vector<bool>{true})
      .node("Loop", {"", "yes", "x", "none"}, {"left", "rounds", "counts"}, {subgraph("body", body)})
      .node("Neg", {"left"}, {"y"})
      .output("y")
      .output("rounds", ElementType::kInt64)
      .output("counts", ElementType::kInt64);
  const Tensors outputs = run_all_ways(graph.build(), {reals({3, 5, 9, 17, 1})});
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{-1.125f, -2.125f}));
  EXPECT_EQ(outputs[1].values<int64_t>(), std::vector<int64_t>{3});
  EXPECT_EQ(outputs[2].values<int64_t>(), (std::vector<int64_t>{4, 3, 2}));
  const Tensors nothing = run_all_ways(graph.build(), {reals({1, 0})});
  EXPECT_EQ(nothing[0].shape, std::vector<int64_t>{0});
  EXPECT_EQ(nothing[1].shape, std::vector<int64_t>{2});
}

TEST(Stages, PlacesInSequencesThatTheRunTells) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {3, 2})
      .input("k", ElementType::kInt64, {})
      .node("Neg", {"x"}, {"n"})
      .node("SplitToSequence", {"n"}, {"rows"})
      .node("SequenceAt", {"rows", "k"}, {"row"})
      .node("SequenceErase", {"rows", "k"}, {"fewer"})
      .node("ConcatFromSequence", {"fewer"}, {"others"}, {integer("axis", 0)})
      .output("row")
      .output("others");
  const HostTensor x = HostTensor::of<float>({3, 2}, {1, 2, 3, 4, 5, 6});
  const Tensors outputs = run_all_ways(graph.build(), {x, whole(1)});
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{-3, -4}));
  EXPECT_EQ(outputs[1].values<float>(), (std::vector<float>{-1, -2, -5, -6}));
  error_of(graph.build(), {x, whole(3)}, StatusCode::kShape);
}

// Also when the first stage has nothing to do, when what an input says is used as well, and behind names for it.
TEST(Stages, WhatTheRunTellsIsStillAValue) {
  GraphBuilder graph;
  graph.input("m", ElementType::kInt64, {-1})
      .node("Identity", {"m"}, {"same"})
      .node("NonZero", {"same"}, {"places"})
      .node("Add", {"m", "same"}, {"twice"})
      .node("Identity", {"places"}, {"again"})
      .output("again", ElementType::kInt64)
      .output("twice", ElementType::kInt64)
      .output("same", ElementType::kInt64);
  const Tensors outputs = run_all_ways(graph.build(), {HostTensor::of<int64_t>({4}, {0, 7, 0, 8})});
  EXPECT_EQ(outputs[0].values<int64_t>(), (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(outputs[1].values<int64_t>(), (std::vector<int64_t>{0, 14, 0, 16}));
  EXPECT_EQ(outputs[2].values<int64_t>(), (std::vector<int64_t>{0, 7, 0, 8}));
}

// A value by its second name, of a convolution that lies channels-last, read behind the end of a stage.
TEST(Stages, AnotherNameOfAValueIsThatValueInAnyLayout) {
  for (const std::string name : {"Identity", "Dropout", "Reshape"}) {
    GraphBuilder graph;
    graph.input("image", ElementType::kFloat32, {1, 3, 5, 4})
        .initializer("w", {4, 3, 3, 3}, random_values(108, 1))
        .initializer<int64_t>("same", {4}, {1, 4, 5, 4})
        .node("Conv", {"image", "w"}, {"map"}, {ints("pads", {1, 1, 1, 1})})
        .node(name, name == "Reshape" ? std::vector<std::string>{"map", "same"} : std::vector<std::string>{"map"},
              {"again"})
        .node("Flatten", {"image"}, {"flat"})
        .node("NonZero", {"flat"}, {"places"})
        .node("Neg", {"again"}, {"y"})
        .node("Neg", {"map"}, {"z"})
        .output("y")
        .output("z")
        .output("places", ElementType::kInt64);
    const Tensors outputs = run_all_ways(graph.build(), {random_tensor({1, 3, 5, 4}, 2)});
    EXPECT_EQ(outputs[0].values<float>(), outputs[1].values<float>()) << name;
  }
}

// What needs a value may lie in an If in an If or a Loop: those around it are resolved first.
TEST(Stages, AlsoWhatIsNestedBecomesKnown) {
  GraphBuilder choose, other, inner, keep;
  choose.node("Compress", {"v", "above"}, {"kept"}).output("kept");
  other.node("Neg", {"v"}, {"n"}).output("n");
  inner.initializer<float>("zero", {}, {0})
      .node("Greater", {"v", "zero"}, {"above"})
      .node("If", {"d"}, {"chosen"}, {subgraph("then_branch", choose), subgraph("else_branch", other)})
      .output("chosen");
  keep.node("Abs", {"v"}, {"a"}).output("a");
  const std::vector<std::string> branches = {subgraph("then_branch", inner), subgraph("else_branch", keep)};
  GraphBuilder nested;
  nested.input("v", ElementType::kFloat32, {3})
      .input("c", ElementType::kBool, {})
      .input("d", ElementType::kBool, {})
      .node("If", {"c"}, {"y"}, branches)
      .output("y");
  const auto result = [&](bool c, bool d) {
    return run_all_ways(nested.build(), {reals({1, -2, 3}), truth(c), truth(d)})[0].values<float>();
  };
  EXPECT_EQ(result(true, true), (std::vector<float>{1, 3}));
  EXPECT_EQ(result(true, false), (std::vector<float>{-1, 2, -3}));
  EXPECT_EQ(result(false, true), (std::vector<float>{1, 2, 3}));
  GraphBuilder body, loop;
  body.input("i").input("going").input("v").node("If", {"c"}, {"w"}, branches).node("Size", {"w"}, {"size"});
  body.output("going").output("w").output("size", ElementType::kInt64);
  loop.input("x", ElementType::kFloat32, {3})
      .input("c", ElementType::kBool, {})
      .input("d", ElementType::kBool, {})
      .input("n", ElementType::kInt64, {})
      .node("Loop", {"n", "", "x"}, {"y", "sizes"}, {subgraph("body", body)})
      .output("y")
      .output("sizes", ElementType::kInt64);
  for (const int64_t n : {0, 1, 3}) {
    const Tensors outputs = run_all_ways(loop.build(), {reals({1, -2, 3}), truth(true), truth(true), whole(n)});
    EXPECT_EQ(outputs[0].values<float>(), n == 0 ? (std::vector<float>{1, -2, 3}) : (std::vector<float>{1, 3}));
    EXPECT_EQ(outputs[1].values<int64_t>(), std::vector<int64_t>(static_cast<size_t>(n), 2));
  }
}

// A loop that one stage has begun and the next one has done, with a condition, pieces and two more stages behind it.
TEST(Stages, LaterOnesGoThroughALoopThatAStageHasEndedIn) {
  GraphBuilder body, graph;
  body.input("i").input("going").input("list");
  body.node("Concat", {"list", "x"}, {"longer"}, {integer("axis", 0)})
      .node("Identity", {"going"}, {"go_on"})
      .node("ReduceSum", {"longer"}, {"sum"}, {integer("keepdims", 0)})
      .output("go_on")
      .output("longer")
      .output("sum");
  graph.input("x", ElementType::kFloat32, {2})
      .input("n", ElementType::kInt64, {})
      .initializer<bool>("yes", {}, std::vector<bool>{true})
      .node("Loop", {"n", "yes", "x"}, {"list", "sums"}, {subgraph("body", body)})
      .node("NonZero", {"list"}, {"places"})
      .node("NonZero", {"sums"}, {"rounds"})
      .output("list")
      .output("sums")
      .output("places", ElementType::kInt64)
      .output("rounds", ElementType::kInt64);
  const Tensors outputs = run_all_ways(graph.build(), {reals({1, 0}), whole(2)});
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(outputs[1].values<float>(), (std::vector<float>{2, 3}));
  EXPECT_EQ(outputs[2].values<int64_t>(), (std::vector<int64_t>{0, 2, 4}));
  EXPECT_EQ(outputs[3].values<int64_t>(), (std::vector<int64_t>{0, 1}));
}

// Of a loop that is unrolled, and so of a branch, only what is needed yet is kept when a stage ends behind it.
TEST(Stages, MemoryIsThatOfWhatIsNeededYet) {
  const auto peak = [](bool ends) {
    GraphBuilder body, graph;
    body.input("i").input("going").input("v").initializer<int64_t>("zero", {1}, {0});
    body.node("Unsqueeze", {"i", "zero"}, {"round"})
        .node("Slice", {"x", "round", "end"}, {"piece"})  // another shape in each round
        .node("ReduceSum", {"piece"}, {"sum"}, {integer("keepdims", 0)})
        .node("Add", {"v", "sum"}, {"more"})
        .node("Sin", {"more"}, {"w"})
        .output("going")
        .output("w");
    graph.input("x", ElementType::kFloat32, {1 << 14})
        .initializer<int64_t>("n", {}, {20})
        .initializer<int64_t>("end", {1}, {1 << 14})
        .node("Loop", {"n", "", "x"}, {"y"}, {subgraph("body", body)})
        .node("Neg", {"y"}, {"z"})
        .output("z");
    if (ends)
      graph.input("m", ElementType::kFloat32, {3}).node("NonZero", {"m"}, {"p"}).output("p", ElementType::kInt64);
    ModelHandle model;
    SessionHandle session;
    Tensors outputs, inputs = {HostTensor::of<float>({1 << 14}, random_values(1 << 14, 3))};
    if (ends) inputs.push_back(reals({1, 0, 2}));
    const std::string bytes = graph.build();
    EXPECT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
    EXPECT_TRUE(create_session(*model, {}, session).ok());
    const Status status = run_session(*session, inputs, &outputs);
    EXPECT_TRUE(status.ok()) << status.detail();
    return session->memory_peak();
  };
  EXPECT_LT(peak(true), peak(false) + 3 * (sizeof(float) << 14));
}

TEST(Stages, AnErrorInALaterOneNamesItsNodeAndLeavesTheSessionUsable) {
  GraphBuilder graph = positive_ones();
  graph.initializer<float>("pair", {2}, {1, 2}).node("Add", {"chosen", "pair"}, {"sum"}, {}, "add_pair").output("sum");
  const std::string bytes = graph.build();
  ModelHandle model;
  SessionHandle session;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  ASSERT_TRUE(create_session(*model, {}, session).ok());
  Tensors outputs;
  const Status status = run_session(*session, {reals({1, 2, 3})}, &outputs);
  EXPECT_EQ(status.code(), StatusCode::kShape);
  EXPECT_TRUE(contains(status.detail(), "add_pair")) << status.detail();
  EXPECT_EQ(session->output(0).status().code(), StatusCode::kNotReady);
  ASSERT_TRUE(run_session(*session, {reals({1, -2, 3})}, &outputs).ok());
  EXPECT_EQ(outputs[2].values<float>(), (std::vector<float>{3, 8}));
}

TEST(Stages, TheCallersArenaIsThatOfTheFirst) {
  const std::string bytes = positive_ones().build();
  ModelHandle model;
  SessionHandle session;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  ASSERT_TRUE(create_session(*model, {}, session).ok());
  ASSERT_TRUE(session->set_input_shape(0, std::vector<int64_t>{3}).ok());
  const Result<uint64_t> needed = session->arena_bytes();
  ASSERT_TRUE(needed.ok());
  ASSERT_GT(*needed, 0u);
  void* arena = std::aligned_alloc(kAlignment, (*needed + kAlignment - 1) / kAlignment * kAlignment);
  ASSERT_TRUE(session->set_arena(arena, *needed).ok());
  Tensors outputs;
  EXPECT_TRUE(run_session(*session, {reals({1, -2, 3})}, &outputs).ok());
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{2, 6}));
  session.reset();
  std::free(arena);
}

TEST(Stages, ThereIsAMostOfThem) {
  GraphBuilder body, graph;
  body.input("i").input("going").input("v");
  body.node("NonZero", {"v"}, {"places"}).node("Shape", {"places"}, {"w"}).output("going").output("w");
  graph.input("x", ElementType::kInt64, {2})
      .initializer<bool>("yes", {}, std::vector<bool>{true})
      .node("Loop", {"", "yes", "x"}, {"y"}, {subgraph("body", body)})
      .output("y", ElementType::kInt64);
  const std::string error = error_of(graph.build(), {HostTensor::of<int64_t>({2}, {1, 2})}, StatusCode::kLimit);
  EXPECT_TRUE(contains(error, "stages") || contains(error, "rounds")) << error;
}

// Neither a file nor what a run tells may make planning take for ever.
TEST(Stages, PlanningLooksAtSoManyConstantsOnly) {
  GraphBuilder graph;
  graph.initializer<int64_t>("size", {1}, {1 << 23}).node("ConstantOfShape", {"size"}, {"x"});
  for (int i = 0; i < 40; ++i) {
    graph.node("NonZero", {"x"}, {"y" + std::to_string(i)}).output("y" + std::to_string(i), ElementType::kInt64);
  }
  const std::string error = error_of(graph.build(), {}, StatusCode::kLimit);
  EXPECT_TRUE(contains(error, "(NonZero)")) << error;
}

}  // namespace
}  // namespace quench::rt
