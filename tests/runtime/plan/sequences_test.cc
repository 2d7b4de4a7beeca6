// Sequences and optional values, between tensors that go in and tensors that come out.

#include "runtime/plan/plan.h"
#include "tests/runtime/many_ways.h"
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
}

// Of a loop whose rounds only the run tells, and of an If whose condition only it does.
TEST(Sequence, GoesWhereTheRunTells) {
  GraphBuilder body, branch, longer;
  body.input("i").input("going").input("list");
  body.node("SequenceInsert", {"list", "x"}, {"longer"}).output("going").output("longer");
  branch.node("SequenceConstruct", {"x"}, {"list"}).output("list");
  longer.node("SequenceConstruct", {"x", "x"}, {"list"}).output("list");
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2}).input("n", ElementType::kInt64, {}).input("c", ElementType::kBool, {});
  graph.node("SequenceEmpty", {}, {"empty"})
      .node("Loop", {"n", "", "empty"}, {"out"}, {subgraph("body", body)})
      .node("SequenceLength", {"out"}, {"rounds"})
      .node("If", {"c"}, {"chosen"}, {subgraph("then_branch", branch), subgraph("else_branch", longer)})
      .node("ConcatFromSequence", {"chosen"}, {"y"}, {integer("axis", 0)})
      .output("rounds", ElementType::kInt64)
      .output("y");
  for (const int64_t n : {0, 1, 4}) {
    for (const bool c : {true, false}) {
      const Tensors outputs = run_all_ways(graph.build(), {reals({1, 2}), whole(n), truth(c)});
      EXPECT_EQ(outputs[0].values<int64_t>(), std::vector<int64_t>{n});
      EXPECT_EQ(outputs[1].values<float>(), (c ? std::vector<float>{1, 2} : std::vector<float>{1, 2, 1, 2}));
    }
  }
}

Tensor view(const HostTensor& host) {
  Tensor tensor;
  tensor.type = host.type;
  for (const int64_t dim : host.shape) tensor.shape[tensor.shape.rank++] = dim;
  tensor.data = const_cast<void*>(host.data());
  return tensor;
}

std::vector<float> floats(const Result<Tensor>& tensor) {
  EXPECT_TRUE(tensor.ok()) << tensor.status().detail();
  if (!tensor.ok()) return {};
  return {tensor->as<const float>(), tensor->as<const float>() + tensor->elements()};
}

struct OpenModel {
  explicit OpenModel(const GraphBuilder& graph) : bytes(graph.build()) {
    const Status opened = open_model(as_bytes(bytes), {}, {}, model);
    EXPECT_TRUE(opened.ok()) << opened.detail();
    if (!opened.ok()) return;
    EXPECT_TRUE(create_session(*model, {}, session).ok());
  }
  std::string bytes;
  ModelHandle model;
  SessionHandle session;
};

// "s", a sequence, to "t", each of its values negated, "x" among them, and "n", how many there were.
GraphBuilder negating() {
  GraphBuilder body;
  body.input("v").node("Neg", {"v"}, {"negated"}).output("negated");
  GraphBuilder graph(17);
  graph.typed_input("s", sequence_type(tensor_type(ElementType::kFloat32)))
      .node("SequenceMap", {"s"}, {"negative"}, {subgraph("body", body)})
      .node("SequenceLength", {"s"}, {"n"})
      .node("Identity", {"negative"}, {"t"})
      .typed_output("t", sequence_type(tensor_type(ElementType::kFloat32)))
      .output("n", ElementType::kInt64);
  return graph;
}

TEST(Border, SequencesGoInAndComeOut) {
  OpenModel open(negating());
  EXPECT_EQ(open.session->run().code(), StatusCode::kNotReady);
  const HostTensor pair = HostTensor::of<float>({2}, {1, 2}), triple = HostTensor::of<float>({1, 3}, {3, 4, 5});
  for (const size_t count : {3u, 1u, 0u, 3u, 40u}) {
    std::vector<Tensor> items;
    for (size_t i = 0; i < count; ++i) items.push_back(view(i % 2 != 0 ? pair : triple));
    ASSERT_TRUE(open.session->set_sequence(0, items).ok());
    const Status run = open.session->run();
    ASSERT_TRUE(run.ok()) << run.detail();
    EXPECT_EQ(*open.session->output_count(0), static_cast<int>(count));
    EXPECT_EQ(*open.session->output_count(1), 1);
    EXPECT_EQ(*open.session->output(1)->as<const int64_t>(), static_cast<int64_t>(count));
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(floats(open.session->output_item(0, static_cast<int>(i))),
                i % 2 != 0 ? (std::vector<float>{-1, -2}) : (std::vector<float>{-3, -4, -5}));
    }
    EXPECT_FALSE(open.session->output_item(0, static_cast<int>(count)).ok());
    EXPECT_FALSE(open.session->output_item(0, -1).ok());
  }
  EXPECT_FALSE(open.session->output(0).ok());
  // Other values of the same shapes need no other plan.
  const Plan* plan = open.session->plan();
  std::vector<Tensor> items(40, view(pair));
  for (size_t i = 0; i < 40; i += 2) items[i] = view(triple);
  const HostTensor other = HostTensor::of<float>({2}, {7, 8});
  items[39] = view(other);
  ASSERT_TRUE(open.session->set_sequence(0, items).ok());
  ASSERT_TRUE(open.session->run().ok());
  EXPECT_EQ(open.session->plan(), plan);
  EXPECT_EQ(floats(open.session->output_item(0, 39)), (std::vector<float>{-7, -8}));
}

TEST(Border, RefusesWhatIsNoSuchSequence) {
  const std::vector<int64_t> declared = {-1, 3};
  GraphBuilder graph(17);
  graph.typed_input("s", sequence_type(tensor_type(ElementType::kFloat32, &declared)))
      .input("x", ElementType::kFloat32, {2})
      .node("SequenceInsert", {"s", "x"}, {"t"})
      .typed_output("t", sequence_type(tensor_type(ElementType::kFloat32)));
  OpenModel open(graph);
  const HostTensor fits = HostTensor::of<float>({1, 3}, {1, 2, 3}), narrow = HostTensor::of<float>({1, 2}, {1, 2});
  const HostTensor whole = HostTensor::of<int64_t>({1, 3}, {1, 2, 3});
  const auto set = [&](std::vector<Tensor> items) { return open.session->set_sequence(0, items).code(); };
  EXPECT_EQ(set({view(fits), view(narrow)}), StatusCode::kShape);
  EXPECT_EQ(set({view(whole)}), StatusCode::kInvalidArgument);
  Tensor broken = view(fits);
  broken.data = nullptr;
  EXPECT_EQ(set({broken}), StatusCode::kInvalidArgument);
  broken.data = static_cast<char*>(view(fits).data) + 1;
  EXPECT_EQ(set({broken}), StatusCode::kInvalidArgument);
  broken = view(fits);
  broken.shape[0] = int64_t{1} << 60;
  EXPECT_EQ(set({broken}), StatusCode::kShape);
  EXPECT_EQ(set(std::vector<Tensor>(kMaxItems + 1, view(fits))), StatusCode::kLimit);
  EXPECT_EQ(open.session->set_sequence(1, {}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(open.session->set_sequence(2, {}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(open.session->set_input(0, fits.data(), fits.shape).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(open.session->set_nothing(0).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(set({view(fits)}), StatusCode::kOk);
}

TEST(Border, OptionalValuesMayBeNothing) {
  for (const bool of_list : {false, true}) {
    const std::string inner = tensor_type(ElementType::kFloat32);
    const std::string type = optional_type(of_list ? sequence_type(inner) : inner);
    GraphBuilder graph(17);
    graph.typed_input("o", type)
        .node("OptionalHasElement", {"o"}, {"has"})
        .node("Identity", {"o"}, {"same"})
        .typed_output("same", type)
        .output("has", ElementType::kBool);
    OpenModel open(graph);
    const HostTensor pair = HostTensor::of<float>({2}, {1, 2});
    for (const bool full : {true, false, true}) {
      const std::vector<Tensor> items = {view(pair), view(pair)};
      ASSERT_TRUE((!full     ? open.session->set_nothing(0)
                   : of_list ? open.session->set_sequence(0, items)
                             : open.session->set_input(0, pair.data(), pair.shape))
                      .ok());
      const Status run = open.session->run();
      ASSERT_TRUE(run.ok()) << run.detail();
      EXPECT_EQ(*open.session->output(1)->as<const uint8_t>(), full ? 1 : 0);
      EXPECT_EQ(*open.session->output_count(0), !full ? -1 : of_list ? 2 : 1);
      EXPECT_EQ(open.session->output(0).ok(), full && !of_list);
      EXPECT_EQ(open.session->output_item(0, 0).ok(), full);
      if (!full) continue;
      EXPECT_EQ(floats(open.session->output_item(0, 0)), (std::vector<float>{1, 2}));
    }
  }
}

TEST(Border, HasNoOtherTypes) {
  const std::string inner = tensor_type(ElementType::kFloat32);
  for (const std::string& type :
       {sequence_type(sequence_type(inner)), sequence_type(optional_type(inner)), optional_type(optional_type(inner)),
        WireWriter().bytes(5, WireWriter().varint(1, 7).bytes(2, inner).str()).str()}) {
    GraphBuilder graph(17);
    const std::string bytes =
        graph.typed_input("s", type).node("Identity", {"s"}, {"t"}).typed_output("t", type).build();
    ModelHandle model;
    EXPECT_EQ(open_model(as_bytes(bytes), {}, {}, model).code(), StatusCode::kUnsupportedType);
  }
}

TEST(Sequence, MapRefusesWhatDoesNotFit) {
  GraphBuilder two, list;
  two.input("a").input("b").node("Add", {"a", "b"}, {"sum"}).output("sum");
  list.input("a").node("SequenceConstruct", {"a"}, {"l"}).output("l");
  const auto map = [](const std::vector<std::string>& inputs, const GraphBuilder& body) {
    GraphBuilder graph = with_numbers();
    graph.node("SplitToSequence", {"x"}, {"rows"}).node("SplitToSequence", {"x"}, {"columns"}, {integer("axis", 1)});
    graph.node("SequenceMap", inputs, {"out"}, {subgraph("body", body)});
    return graph.node("ConcatFromSequence", {"out"}, {"y"}, {integer("axis", 0)});
  };
  EXPECT_EQ(result(map({"rows", "rows"}, two)).values<float>()[11], 22);
  EXPECT_EQ(result(map({"rows", "x"}, two)).shape, (std::vector<int64_t>{9, 4}));
  expect_error(map({"rows", "columns"}, two), StatusCode::kShape);
  expect_error(map({"x", "x"}, two), StatusCode::kUnsupportedType);
  expect_error(map({"rows"}, two), StatusCode::kCorrupt);
  expect_error(map({"rows"}, list), StatusCode::kUnsupportedType);
}

}  // namespace
}  // namespace quench::rt
