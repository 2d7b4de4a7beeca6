// Sequences and optional values, between tensors that go in and tensors that come out.

#include "runtime/plan/plan.h"
#include "tests/runtime/sample_graphs.h"

namespace quench::rt {
namespace {

const std::vector<float> kValues = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

// A graph with x, 3 x 4, and numbers "0", "1", "-1", ...
GraphBuilder with_numbers() {
  GraphBuilder graph(17);
  graph.input("x", ElementType::kFloat32, {3, 4});
  for (const int64_t number : {-4, -3, -2, -1, 0, 1, 2, 3}) {
    graph.initializer<int64_t>(std::to_string(number), {}, {number});
  }
  return graph;
}

HostTensor x() { return HostTensor::of<float>({3, 4}, kValues); }

HostTensor result(const GraphBuilder& graph) {
  GraphBuilder complete = graph;
  const auto outputs = run_model(complete.output("y").build(), {x()});
  return outputs.empty() ? HostTensor() : outputs[0];
}

void expect_error(const GraphBuilder& graph, StatusCode code) {
  GraphBuilder complete = graph;
  std::vector<HostTensor> outputs;
  const Status status = try_run_model(complete.output("y").build(), {x()}, &outputs);
  EXPECT_EQ(status.code(), code) << status.detail();
}

TEST(Sequence, IsSplitAndReadAndPutTogether) {
  for (const auto& [place, first] : {std::pair{"0", 0.f}, {"1", 4.f}, {"2", 8.f}, {"-1", 8.f}, {"-3", 0.f}}) {
    GraphBuilder graph = with_numbers();
    graph.node("SplitToSequence", {"x"}, {"s"}).node("SequenceAt", {"s", place}, {"y"});
    const HostTensor y = result(graph);
    EXPECT_EQ(y.shape, (std::vector<int64_t>{1, 4})) << place;
    EXPECT_EQ(y.values<float>()[0], first) << place;
  }
  GraphBuilder columns = with_numbers();
  columns.node("SplitToSequence", {"x"}, {"s"}, {integer("axis", -1), integer("keepdims", 0)})
      .node("ConcatFromSequence", {"s"}, {"y"}, {integer("axis", 0), integer("new_axis", 1)});
  EXPECT_EQ(result(columns).shape, (std::vector<int64_t>{4, 3}));
  EXPECT_EQ(result(columns).values<float>(), (std::vector<float>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
  GraphBuilder parts = with_numbers();
  parts.initializer<int64_t>("lengths", {2}, {3, 1})
      .node("SplitToSequence", {"x", "lengths"}, {"s"}, {integer("axis", 1)})
      .node("SequenceAt", {"s", "0"}, {"a"})
      .node("SequenceAt", {"s", "1"}, {"b"})
      .node("SequenceConstruct", {"b", "a"}, {"t"})
      .node("ConcatFromSequence", {"t"}, {"y"}, {integer("axis", 1)});
  EXPECT_EQ(result(parts).values<float>(), (std::vector<float>{3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10}));
  GraphBuilder uneven = with_numbers();
  uneven.node("SplitToSequence", {"x", "3"}, {"s"}, {integer("axis", 1)}).node("SequenceAt", {"s", "-1"}, {"y"});
  EXPECT_EQ(result(uneven).values<float>(), (std::vector<float>{3, 7, 11}));
}

TEST(Sequence, GrowsAndShrinks) {
  GraphBuilder graph = with_numbers();
  graph.node("Neg", {"x"}, {"n"}).node("Abs", {"x"}, {"a"});
  graph.node("SequenceEmpty", {}, {"s0"})
      .node("SequenceInsert", {"s0", "x"}, {"s1"})
      .node("SequenceInsert", {"s1", "n", "0"}, {"s2"})   // n x
      .node("SequenceInsert", {"s2", "a", "-1"}, {"s3"})  // n a x
      .node("SequenceErase", {"s3", "0"}, {"s4"})         // a x
      .node("SequenceInsert", {"s4", "n"}, {"s5"})        // a x n
      .node("SequenceErase", {"s5"}, {"s6"})              // a x
      .node("Identity", {"s6"}, {"s7"})
      .node("SequenceLength", {"s7"}, {"length"})
      .node("SequenceAt", {"s5", "length"}, {"y"});
  EXPECT_EQ(result(graph).values<float>()[11], -11);
}

TEST(Sequence, IsCarriedByALoopAndChosenByAnIf) {
  GraphBuilder body, then_branch, else_branch;
  body.input("i").input("going").input("list");
  body.node("Gather", {"x", "i"}, {"row"}).node("SequenceInsert", {"list", "row", "0"}, {"longer"});
  body.output("going").output("longer");
  then_branch.node("SequenceConstruct", {"x", "x"}, {"two"}).output("two");
  else_branch.node("Identity", {"rows"}, {"out"}).output("out");
  GraphBuilder graph = with_numbers();
  graph.node("SequenceEmpty", {}, {"none"})
      .node("Loop", {"3", "", "none"}, {"rows"}, {subgraph("body", body)})
      .node("SequenceLength", {"rows"}, {"length"})
      .node("Less", {"length", "3"}, {"short"})
      .node("If", {"short"}, {"list"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)})
      .node("ConcatFromSequence", {"list"}, {"y"}, {integer("axis", 1), integer("new_axis", 1)});
  EXPECT_EQ(result(graph).values<float>(), (std::vector<float>{8, 4, 0, 9, 5, 1, 10, 6, 2, 11, 7, 3}));
}

TEST(Optional, HasAnElementOrNot) {
  GraphBuilder then_branch, else_branch;
  then_branch.node("OptionalGetElement", {"o"}, {"out"}).output("out");
  else_branch.node("Neg", {"x"}, {"out"}).output("out");
  for (const bool full : {true, false}) {
    GraphBuilder graph = with_numbers();
    graph.node("Optional", full ? std::vector<std::string>{"x"} : std::vector<std::string>{}, {"o"})
        .node("OptionalHasElement", {"o"}, {"has"})
        .node("If", {"has"}, {"y"}, {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)});
    EXPECT_EQ(result(graph).values<float>()[1], full ? 1 : -1);
  }
  GraphBuilder graph = with_numbers();
  graph.node("Optional", {}, {"o"}).node("OptionalGetElement", {"o"}, {"y"});
  expect_error(graph, StatusCode::kShape);
}

TEST(Sequence, RefusesWhatItCannotPlan) {
  const auto split = [](const std::vector<std::string>& inputs, const std::vector<std::string>& attributes = {}) {
    GraphBuilder graph = with_numbers();
    graph.initializer<int64_t>("some", {2}, {1, 1}).initializer<int64_t>("negative", {2}, {-1, 4});
    return graph.node("SplitToSequence", inputs, {"s"}, attributes).node("SequenceAt", {"s", "0"}, {"y"});
  };
  expect_error(split({"x"}, {integer("axis", 2)}), StatusCode::kShape);
  expect_error(split({"x"}, {integer("axis", int64_t{1} << 40)}), StatusCode::kShape);
  expect_error(split({"x", "0"}), StatusCode::kShape);
  expect_error(split({"x", "-1"}), StatusCode::kShape);
  expect_error(split({"x", "some"}), StatusCode::kShape);
  expect_error(split({"x", "negative"}), StatusCode::kShape);
  expect_error(split({"x", "x"}), StatusCode::kUnsupportedType);
  expect_error(split({""}), StatusCode::kUnsupportedType);

  const auto with = [](const char* op, const std::vector<std::string>& inputs, const std::string& attribute = "") {
    GraphBuilder graph = with_numbers();
    graph.node("Cast", {"x"}, {"whole"}, {integer("to", 7)})
        .node("ReduceMax", {"whole"}, {"m"}, {integer("keepdims", 0)});
    graph.node("SplitToSequence", {"x"}, {"s"}).node("SequenceEmpty", {}, {"empty"});
    graph.node("Neg", {"x"}, {"n"}).node("SequenceConstruct", {"x", "m"}, {"mixed"});
    return graph.node(op, inputs, {"y"}, attribute.empty() ? std::vector<std::string>{} : std::vector{attribute});
  };
  expect_error(with("SequenceAt", {"s", "3"}), StatusCode::kShape);
  expect_error(with("SequenceAt", {"s", "-4"}), StatusCode::kShape);
  expect_error(with("SequenceAt", {"s", "m"}), StatusCode::kUnsupportedFeature);
  expect_error(with("SequenceAt", {"s", "s"}), StatusCode::kUnsupportedType);
  expect_error(with("SequenceAt", {"x", "0"}), StatusCode::kUnsupportedType);
  expect_error(with("SequenceAt", {}), StatusCode::kUnsupportedType);
  expect_error(with("SequenceAt", {"empty", "0"}), StatusCode::kShape);
  expect_error(with("SequenceErase", {"empty"}), StatusCode::kShape);
  expect_error(with("SequenceInsert", {"s", "s"}), StatusCode::kUnsupportedType);
  expect_error(with("SequenceInsert", {"s", "x", "-4"}), StatusCode::kShape);
  expect_error(with("SequenceInsert", {"s"}), StatusCode::kUnsupportedType);
  expect_error(with("SequenceConstruct", {"x", "s"}), StatusCode::kUnsupportedType);
  expect_error(with("SequenceErase", {"s"}), StatusCode::kUnsupportedType);  // a sequence is no output of a model
  expect_error(with("Neg", {"s"}), StatusCode::kUnsupportedType);
  expect_error(with("ConcatFromSequence", {"empty"}, integer("axis", 0)), StatusCode::kShape);
  expect_error(with("ConcatFromSequence", {"s"}, integer("axis", 2)), StatusCode::kShape);
  expect_error(with("ConcatFromSequence", {"s"}, integer("axis", std::numeric_limits<int64_t>::min())),
               StatusCode::kShape);
  expect_error(with("ConcatFromSequence", {"mixed"}, integer("axis", 0)), StatusCode::kShape);

  // Of a loop whose rounds are not known, and of an If whose condition is not.
  GraphBuilder body, branch;
  body.input("i").input("going").input("list");
  body.node("SequenceInsert", {"list", "x"}, {"longer"}).output("going").output("longer");
  branch.node("SequenceConstruct", {"x"}, {"list"}).output("list");
  GraphBuilder graph = with_numbers();
  graph.node("Cast", {"x"}, {"whole"}, {integer("to", 7)})
      .node("ReduceMax", {"whole"}, {"m"}, {integer("keepdims", 0)});
  graph.node("Cast", {"m"}, {"c"}, {integer("to", 9)}).node("SequenceEmpty", {}, {"empty"});
  GraphBuilder other = graph;
  graph.node("Loop", {"m", "", "empty"}, {"out"}, {subgraph("body", body)}).node("SequenceLength", {"out"}, {"y"});
  expect_error(graph, StatusCode::kUnsupportedType);
  other.node("If", {"c"}, {"out"}, {subgraph("then_branch", branch), subgraph("else_branch", branch)});
  expect_error(other.node("SequenceLength", {"out"}, {"y"}), StatusCode::kUnsupportedType);
}

}  // namespace
}  // namespace quench::rt
