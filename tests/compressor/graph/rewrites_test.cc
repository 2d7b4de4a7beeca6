// The other rewrites: constants, nodes that do nothing, what is unused, what is there twice.
#include "tests/compressor/graph/run_model.h"

namespace quench {
namespace {

using namespace testing;
using graph::Report;

std::vector<std::string> ops(const OnnxModel& model) {
  std::vector<std::string> result;
  for (const onnx::NodeProto& node : model.proto.graph().node()) result.push_back(node.op_type());
  return result;
}

using Ops = std::vector<std::string>;

const Input kRow = random_input({1, 4});

TEST(FoldConstants, AChainBecomesOneInitializer) {
  const OnnxModel model = load_text(R"(g (float[1,4] x) => (float[1,4] y) <float[4] a = {1, 2, 3, 4}> {
    two = Constant<value_float = 2.0>()
    b = Mul(a, two)
    c = Add(b, a)
    d = Sqrt(c)
    y = Mul(x, d) })");
  OnnxModel simplified;
  expect_same_function(model, {kRow}, &simplified);
  EXPECT_EQ(ops(simplified), Ops{"Mul"});
  ASSERT_EQ(simplified.weights.size(), 1u);
  EXPECT_FLOAT_EQ(read_float(simplified.weights[0])[3], std::sqrt(12.0f));
}

TEST(FoldConstants, EveryFormOfConstant) {
  const OnnxModel model = load_text(R"(g (float[1,4] x) => (float[1,4] y) {
    f = Constant<value_float = 2.0>()
    i = Constant<value_int = 3>()
    fs = Constant<value_floats = [1.0, 2.0, 3.0, 4.0]>()
    is = Constant<value_ints = [1, 4]>()
    t = Constant<value = float[1] {5}>()
    j = Cast<to = 1>(i)
    h1 = Mul(x, f)
    h2 = Mul(h1, j)
    h3 = Mul(h2, fs)
    h4 = Mul(h3, t)
    y = Reshape(h4, is) })");
  OnnxModel simplified;
  EXPECT_EQ(expect_same_function(model, {kRow}, &simplified).constants_moved, 5u);
  EXPECT_EQ(ops(simplified), (Ops{"Mul", "Mul", "Mul", "Mul", "Reshape"}));
}

TEST(FoldConstants, AConstantThatIsAnOutputStays) {
  OnnxModel model = load_text(R"(g (float[1,4] x) => (float[1,4] y, float[2] z, float[2] v) <float[2] w = {3, 4}> {
    y = Relu(x)
    z = Constant<value = float[2] {1, 2}>()
    v = Neg(w) })");
  graph::simplify(model);
  EXPECT_EQ(ops(model), (Ops{"Relu", "Constant", "Neg"}));
}

TEST(FoldConstants, RandomNumbersAreNotConstants) {
  OnnxModel model = load_text(R"(g (float[1,4] x) => (float[1,4] y) <float[1,4] a = {1, 2, 3, 4}> {
    r = RandomNormalLike(a)
    b = Bernoulli(a)
    c = Add(r, b)
    y = Mul(x, c) })");
  graph::simplify(model);
  EXPECT_EQ(ops(model), (Ops{"RandomNormalLike", "Bernoulli", "Add", "Mul"}));
}

TEST(FoldConstants, TheFileDoesNotGrow) {
  OnnxModel model = load_text(R"(g (float[1,4] x) => (float[64,4] y, float[1,4] z)
    <int64[2] shape = {64, 4}, float[1,4] row = {1, 2, 3, 4}> {
    large = Expand(row, shape)
    y = Add(x, large)
    z = Add(x, row) })");
  graph::simplify(model);
  EXPECT_EQ(ops(model), (Ops{"Expand", "Add", "Add"}));
}

TEST(FoldConstants, LargeResultsAreNotKept) {
  onnx::ModelProto proto = parse_text("g (float[1,50] x) => (float[1,40] y) { t = Transpose(w)\n y = MatMul(x, t) }");
  add_random(proto, "w", {40, 50}, 1);
  OnnxModel model = load_proto(proto);
  graph::simplify(model, {.max_folded_bytes = 7999});
  EXPECT_EQ(ops(model), (Ops{"Transpose", "MatMul"}));
  graph::simplify(model, {.max_folded_bytes = 8000});
  EXPECT_EQ(ops(model), Ops{"MatMul"});
  expect_close(run(model, {random_input({1, 50})}), run(load_proto(proto), {random_input({1, 50})}), 1e-6f);
}

TEST(FoldConstants, ShapesThatFollowFromTheInputs) {
  const OnnxModel model = load_text(R"(g (float[2,3,4] x) => (float[6,4] y) <int64[1] rest = {-1}, int64[1] two = {2}> {
    shape = Shape(x)
    last = Gather(shape, two)
    target = Concat<axis = 0>(rest, last)
    y = Reshape(x, target) })");
  OnnxModel simplified;
  expect_same_function(model, {random_input({2, 3, 4})}, &simplified);
  EXPECT_EQ(ops(simplified), Ops{"Reshape"});
}

TEST(FoldConstants, AShapeThatIsDynamicOrOnlyClaimedIsNotFolded) {
  const std::string text = R"(g (float[N,3,4] x) => (float[A,12] y) <int64[1] rest = {-1}, int64[1] zero = {0}> {
    h = Relu(x)
    shape = Shape(h)
    first = Gather(shape, zero)
    target = Concat<axis = 0>(first, rest)
    y = Reshape(h, target) })";
  onnx::ModelProto proto = parse_text(text);
  onnx::ValueInfoProto* claim = proto.mutable_graph()->add_value_info();
  *claim = proto.graph().input(0);
  claim->set_name("h");
  for (int i = 0; i < 3; ++i) {
    claim->mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(i)->set_dim_value(5);
  }
  OnnxModel simplified;
  expect_same_function(load_proto(proto), {random_input({2, 3, 4})}, &simplified);
  EXPECT_EQ(count_nodes(simplified, "Shape"), 1);
}

TEST(FoldConstants, SizesThatAreKnownOfAShapeThatIsNot) {
  const OnnxModel model = load_text(R"(g (float[N,3,4] x) => (float[M,4] y, float s)
    <int64[1] rest = {-1}, int64[1] zero = {0}, int64[1] two = {2}, int64[1] three = {3}, int64[1] minus = {-1}> {
    shape = Shape(x)
    last = Gather(shape, minus)
    inner = Slice(shape, two, three)
    rank = Size(shape)
    target = Concat<axis = 0>(rest, last)
    reshaped = Reshape(x, target)
    scale = Cast<to = 1>(inner)
    ranks = Cast<to = 1>(rank)
    y = Mul(reshaped, scale)
    batch = Gather(shape, zero)
    batches = Cast<to = 1>(batch)
    one = ReduceSum<keepdims = 0>(batches)
    s = Add(one, ranks) })");
  OnnxModel simplified;
  expect_same_function(model, {random_input({2, 3, 4})}, &simplified);
  EXPECT_EQ(ops(simplified), (Ops{"Shape", "Reshape", "Mul", "Gather", "Cast", "ReduceSum", "Add"}));
}

// As PyTorch puts the gates of an LSTM into ONNX's order: no slice makes the file smaller, all of them together do.
TEST(FoldConstants, SlicesOfAWeightThatAreJoinedAgain) {
  const std::string text = R"(g (float[1,64] x) => (float[1,8] y%)
    <int64[1] zero = {0}, int64[1] two = {2}, int64[1] six = {6}, int64[1] eight = {8}> {
    a = Slice(w, zero, two, zero)
    b = Slice(w, two, six, zero)
    c = Slice(w, six, eight, zero)
    joined = Concat<axis = 0>(b, a, c)
    t = Transpose(joined)
    y = MatMul(x, t) # })";
  const auto with = [&](const std::string& output, const std::string& node) {
    std::string changed = text;
    changed.replace(changed.find('%'), 1, output);
    changed.replace(changed.find('#'), 1, node);
    onnx::ModelProto proto = parse_text(changed);
    add_random(proto, "w", {8, 64}, 1);
    return load_proto(proto);
  };
  OnnxModel simplified;
  expect_same_function(with("", ""), {random_input({1, 64})}, &simplified);
  EXPECT_EQ(ops(simplified), Ops{"MatMul"});
  ASSERT_EQ(simplified.weights.size(), 1u);

  expect_same_function(with(", float[8,64] z", "z = Add(w, x)"), {random_input({1, 64})}, &simplified);
  EXPECT_EQ(ops(simplified), (Ops{"Slice", "Slice", "Slice", "Concat", "Transpose", "MatMul", "Add"}));
}

// As the runtime has it: exporters write 0 for "any".
TEST(FoldConstants, ADimensionOfZeroIsOpen) {
  onnx::ModelProto proto =
      parse_text(R"(g (float[N,4] x) => (float[2] y) { a = Concat<axis = 0>(x, x) s = Shape(a) y = Cast<to = 1>(s) })");
  proto.mutable_graph()
      ->mutable_input(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim(0)
      ->set_dim_value(0);
  OnnxModel simplified;
  expect_same_function(load_proto(proto), {random_input({2, 4})}, &simplified);
  EXPECT_EQ(ops(simplified), (Ops{"Concat", "Shape", "Cast"}));
}

TEST(FoldConstants, HalfPrecisionIsLeftToTheRuntime) {
  onnx::ModelProto proto = parse_text("g (float16[4] x) => (float16[4] y) { b = Mul(a, a)\n y = Mul(x, b) }");
  add_initializer(proto, "a", {4}, {1, 2, 3, 4}, onnx::TensorProto::FLOAT16);
  OnnxModel model = load_proto(proto);
  graph::simplify(model);
  EXPECT_EQ(ops(model), (Ops{"Mul", "Mul"}));
}

TEST(BypassNodes, IdentityBetweenNodes) {
  OnnxModel simplified;
  const Report report = expect_same_function(load_text(R"(g (float[1,4] x) => (float[1,4] y) {
    a = Identity(x)
    b = Identity(a)
    c = Relu(b)
    d = Identity(c)
    y = Neg(d) })"),
                                             {kRow}, &simplified);
  EXPECT_EQ(report.nodes_bypassed, 3u);
  EXPECT_EQ(ops(simplified), (Ops{"Relu", "Neg"}));
  EXPECT_EQ(simplified.proto.graph().node(0).input(0), "x");
}

TEST(BypassNodes, IdentityBeforeAnOutputHandsItsNameOn) {
  OnnxModel simplified;
  expect_same_function(load_text(R"(g (float[1,4] x) => (float[1,4] y, float[1,4] z) {
    a = Relu(x)
    y = Identity(a)
    z = Neg(a) })"),
                       {kRow}, &simplified);
  EXPECT_EQ(ops(simplified), (Ops{"Relu", "Neg"}));
  EXPECT_EQ(simplified.proto.graph().node(0).output(0), "y");
  EXPECT_EQ(simplified.proto.graph().node(1).input(0), "y");
}

TEST(BypassNodes, OneValueUnderTwoOutputNamesKeepsOneIdentity) {
  OnnxModel simplified;
  expect_same_function(load_text(R"(g (float[1,4] x) => (float[1,4] y, float[1,4] z) {
    a = Relu(x)
    y = Identity(a)
    z = Identity(a) })"),
                       {kRow}, &simplified);
  EXPECT_EQ(ops(simplified), (Ops{"Relu", "Identity"}));
}

TEST(BypassNodes, FromInputToOutputStays) {
  OnnxModel simplified;
  expect_same_function(load_text("g (float[1,4] x) => (float[1,4] y) { y = Identity(x) }"), {kRow}, &simplified);
  EXPECT_EQ(ops(simplified), Ops{"Identity"});
}

TEST(BypassNodes, DropoutOutsideOfTraining) {
  OnnxModel simplified;
  expect_same_function(load_text(R"(g (float[1,4] x) => (float[1,4] y) <float ratio = {0.5}, bool off = {0}> {
    a = Dropout(x, ratio, off)
    b, mask = Dropout(a)
    y = Relu(b) })"),
                       {kRow}, &simplified);
  EXPECT_EQ(ops(simplified), Ops{"Relu"});
  EXPECT_EQ(simplified.proto.graph().initializer_size(), 0);
}

// As torchvision's Swin transformers are exported.
TEST(BypassNodes, DropoutOfNothingInTraining) {
  OnnxModel simplified;
  expect_same_function(load_text(R"(g (float[1,4] x) => (float[1,4] y) <float none = {0}, bool on = {1}> {
    a, mask = Dropout(x, none, on)
    y = Relu(a) })"),
                       {kRow}, &simplified);
  EXPECT_EQ(ops(simplified), Ops{"Relu"});
}

TEST(BypassNodes, DropoutThatTrainsOrWhoseMaskIsUsedStays) {
  for (const char* text : {R"(g (float[4] x) => (float[4] y) <float r = {0.5}, bool on = {1}> { a = Dropout(x, r, on)
                              y = Relu(a) })",
                           R"(g (float[4] x, bool on) => (float[4] y) <float r = {0.5}> { a = Dropout(x, r, on)
                              y = Relu(a) })",
                           R"(g (float[4] x) => (float[4] y, bool[4] m) { a, m = Dropout(x)
                              y = Relu(a) })"}) {
    OnnxModel model = load_text(text);
    graph::simplify(model);
    EXPECT_EQ(ops(model), (Ops{"Dropout", "Relu"})) << text;
  }
}

TEST(BypassNodes, SubgraphsFollow) {
  OnnxModel model = load_text(R"(g (float[4] x, bool c) => (float[4] y) {
    a = Relu(x)
    b = Identity(a)
    y = If<then_branch = t () => (float[4] o) { p = Identity(b)
                                                q = Identity(p)
                                                o = Neg(q) },
           else_branch = e () => (float[4] o) { o = Identity(b) }>(c) })");
  graph::simplify(model);
  EXPECT_EQ(ops(model), (Ops{"Relu", "If"}));
  const onnx::GraphProto& then_branch = model.proto.graph().node(1).attribute(0).g();
  const onnx::GraphProto& else_branch = model.proto.graph().node(1).attribute(1).g();
  ASSERT_EQ(then_branch.node_size(), 1);
  EXPECT_EQ(then_branch.node(0).input(0), "a");
  ASSERT_EQ(else_branch.node_size(), 1);  // a subgraph's output must be made in the subgraph
  EXPECT_EQ(else_branch.node(0).input(0), "a");
  EXPECT_TRUE(check(model).empty());
}

// A name that a subgraph defines again would there be taken for the inner value.
TEST(BypassNodes, ANameThatASubgraphDefinesAgainIsNotMoved) {
  OnnxModel model = load_text(R"(g (float[4] x, bool c) => (float[4] y) {
    b = Identity(x)
    y = If<then_branch = t () => (float[4] o) { x = Neg(b)
                                                o = Add(x, b) },
           else_branch = e () => (float[4] o) { o = Relu(b) }>(c) })");
  Report report;
  EXPECT_FALSE(graph::bypass_nodes(model, report));
}

TEST(InlineBranches, TheBranchThatAlwaysRuns) {
  for (const int condition : {0, 1}) {
    const OnnxModel model = load_text(R"(g (float[1,4] x) => (float[1,4] y, float[1,4] z) <bool c = {)" +
                                      std::to_string(condition) + R"(}, float[4] w = {1, 2, 3, 4}> {
      h = Relu(x)
      y, z = If<then_branch = t () => (float[1,4] o, float[1,4] p) { o = Mul(h, w)
                                                                    p = Neg(o) },
                else_branch = e () => (float[1,4] o, float[1,4] q) <float[4] v = {5, 6, 7, 8}>
                              { o = Add(h, v)
                                q = Identity(h) }>(c) })");
    OnnxModel simplified;
    EXPECT_EQ(expect_same_function(model, {kRow}, &simplified).branches_inlined, 1u);
    EXPECT_EQ(ops(simplified), condition ? (Ops{"Relu", "Mul", "Neg"}) : (Ops{"Relu", "Add"}));
    EXPECT_EQ(simplified.weights.size(), 1u);
  }
}

TEST(InlineBranches, ARankOrASizeThatIsKnownDecides) {
  OnnxModel model =
      load_text(R"(g (float[N,4] x) => (float[M,4] y) <int64 one = {1}, int64 two = {2}, int64 five = {5}> {
    shape = Shape(x)
    rank = Size(shape)
    is_matrix = Equal(rank, two)
    h = If<then_branch = t () => (float[M,4] o) { o = Relu(x) },
           else_branch = e () => (float[M,4] o) { o = Neg(x) }>(is_matrix)
    width = Gather(shape, one)
    is_five = Equal(width, five)
    y = If<then_branch = u () => (float[M,4] p) { p = Exp(h) },
           else_branch = f () => (float[M,4] p) { p = Abs(h) }>(is_five) })");
  graph::simplify(model);
  EXPECT_EQ(ops(model), (Ops{"Relu", "Abs"}));
}

// What no operator is, but a file may say.
TEST(FoldConstants, AShapeWithTwoOutputsOrNoInputStays) {
  for (const char* text : {"g (float[2,4] x) => (int64[A] y) { s, t = Shape<start = 1>(x)\n y = Neg(s) }",
                           "g (float[2,4] x) => (int64[A] y) { s, t = Shape(x)\n y = Neg(s) }",
                           "g (float[2,4] x) => (int64 y) { s = Shape()\n r = Size(s)\n y = Neg(r) }"}) {
    OnnxModel model = load_text(text);
    Report report;
    EXPECT_FALSE(graph::fold_constants(model, report)) << text;
  }
}

// One inside of the other, whose values have the same names; outputs that are no value of the branch, and the same one twice.
TEST(InlineBranches, NamesThatOtherGraphsHaveToo) {
  const OnnxModel model = load_text(R"(g (float[1,4] x) => (float[1,4] y, float[1,4] z, float[1,4] u)
    <bool yes = {1}, bool no = {0}> {
    h = Relu(x)
    y, z = If<then_branch = t () => (float[1,4] o, float[1,4] o) <bool no = {1}> {
                h = Neg(x)
                i = If<then_branch = tt () => (float[1,4] o) { k = Abs(h)
                                                              o = Add(k, x) },
                       else_branch = te () => (float[1,4] o) { o = Neg(h) }>(no)
                o = Add(i, h) },
              else_branch = e () => (float[1,4] o, float[1,4] o) { o = Exp(x) }>(yes)
    u = If<then_branch = v () => (float[1,4] o) { k = Exp(x)
                                                 o = Neg(k) },
           else_branch = w () => (float[1,4] o) { k = Neg(h)
                                                 o = Sub(k, x) }>(no) })");
  OnnxModel simplified;
  EXPECT_EQ(expect_same_function(model, {kRow}, &simplified).branches_inlined, 3u);
  EXPECT_EQ(count_nodes(simplified, "If"), 0);
  EXPECT_EQ(count_nodes(simplified, "Exp"), 0);
}

TEST(InlineBranches, AConditionThatDependsOnTheInputsStays) {
  OnnxModel model = load_text(R"(g (float[4] x, bool c) => (float[4] y) {
    y = If<then_branch = t () => (float[4] o) { o = Neg(x) }, else_branch = e () => (float[4] o) { o = Relu(x) }>(c) })");
  Report report;
  EXPECT_FALSE(graph::inline_branches(model, report));
  EXPECT_EQ(ops(model), Ops{"If"});
}

TEST(RemoveUnused, NodesAndInitializersThatNoOutputNeeds) {
  OnnxModel simplified;
  const Report report = expect_same_function(load_text(R"(g (float[1,4] x) => (float[1,4] y)
    <float[4] used = {1, 2, 3, 4}, float[4] unused = {5, 6, 7, 8}, float[4] dead = {9, 9, 9, 9}> {
    a = Add(x, dead)
    b = Relu(a)
    y = Mul(x, used) })"),
                                             {kRow}, &simplified);
  EXPECT_EQ(report.nodes_removed, 2u);
  EXPECT_EQ(report.initializers_removed, 2u);
  EXPECT_EQ(ops(simplified), Ops{"Mul"});
  EXPECT_EQ(simplified.weights.size(), 1u);
}

TEST(RemoveUnused, WhatASubgraphUsesStays) {
  OnnxModel model = load_text(kNestedGraph);
  Report report;
  EXPECT_FALSE(graph::remove_unused(model, report));
  EXPECT_EQ(model.weights.size(), 5u);
}

TEST(RemoveUnused, InsideSubgraphsToo) {
  OnnxModel model = load_text(R"(g (float[4] x, bool c) => (float[4] y) <float[4] w = {1, 2, 3, 4}> {
    y = If<then_branch = t () => (float[4] o) <float[4] v = {5, 6, 7, 8}> { p = Add(w, v)
                                                                             o = Neg(x) },
           else_branch = e () => (float[4] o) { o = Relu(x) }>(c) })");
  Report report;
  while (graph::remove_unused(model, report)) {
  }
  EXPECT_EQ(report.nodes_removed, 1u);
  EXPECT_EQ(report.initializers_removed, 2u);
  EXPECT_TRUE(model.weights.empty());
}

TEST(RemoveUnused, NotesAboutValuesThatAreGoneGoToo) {
  onnx::ModelProto proto = parse_text("g (float[4] x) => (float[4] y) { a = Neg(x)\n b = Relu(x)\n y = Relu(b) }");
  proto.mutable_graph()->add_value_info()->set_name("a");
  proto.mutable_graph()->add_value_info()->set_name("b");
  OnnxModel model = load_proto(proto);
  graph::simplify(model);
  ASSERT_EQ(model.proto.graph().value_info_size(), 1);
  EXPECT_EQ(model.proto.graph().value_info(0).name(), "b");
}

TEST(ShareInitializers, EqualOnesBecomeOne) {
  OnnxModel simplified;
  const Report report = expect_same_function(load_text(R"(g (float[1,4] x) => (float[1,4] y)
    <float[4] a = {1, 2, 3, 4}, float[4] b = {1, 2, 3, 4}, float[4] other = {1, 2, 3, 5}, float[1,4] row = {1, 2, 3, 4}> {
    c = Constant<value = float[4] {1, 2, 3, 4}>()
    h1 = Add(x, a)
    h2 = Mul(h1, b)
    h3 = Mul(h2, c)
    h4 = Mul(h3, other)
    y = Mul(h4, row) })"),
                                             {kRow}, &simplified);
  EXPECT_EQ(report.initializers_shared, 2u);
  EXPECT_EQ(simplified.weights.size(), 3u);
}

TEST(ShareInitializers, EqualValuesOfOtherBitsOrTypesStayApart) {
  OnnxModel model = load_text(R"(g (float[1] x, int32[1] k) => (float[1] y, int32[1] z)
    <float[1] zero = {0}, float[1] minus = {0}, int32[1] integer = {0}> {
    h = Div(x, zero)
    y = Div(h, minus)
    z = Add(k, integer) })");
  const int64_t dims[] = {1};
  const float minus_zero = -0.0f;
  const auto bytes = std::as_bytes(std::span(&minus_zero, 1));
  set_weight(model, *model.weights[1].tensor, onnx::TensorProto::FLOAT, dims,
             owned_source({bytes.begin(), bytes.end()}));
  model.reindex();
  Report report;
  EXPECT_FALSE(graph::share_initializers(model, report));
}

TEST(ShareInitializers, LargeOnesThatAreNotInMemory) {
  onnx::ModelProto proto = parse_text(R"(g (float[1,40] x) => (float[1,40] y) {
    h1 = MatMul(x, a)
    h2 = MatMul(h1, b)
    y = MatMul(h2, c) })");
  add_random(proto, "a", {40, 40}, 1);
  add_random(proto, "b", {40, 40}, 2);
  add_random(proto, "c", {40, 40}, 1);
  OnnxModel simplified;
  EXPECT_EQ(expect_same_function(load_proto(proto), {random_input({1, 40})}, &simplified).initializers_shared, 1u);
  EXPECT_EQ(simplified.proto.graph().node(2).input(1), "a");
}

TEST(ShareInitializers, UsesInSubgraphsFollowAndOutputsStay) {
  OnnxModel model = load_text(R"(g (float[4] x, bool c) => (float[4] y, float[4] b)
    <float[4] a = {1, 2, 3, 4}, float[4] b = {1, 2, 3, 4}, float[4] d = {1, 2, 3, 4}> {
    h = Add(x, a)
    y = If<then_branch = t () => (float[4] o) { o = Mul(h, d) },
           else_branch = e () => (float[4] o) { o = Add(h, b) }>(c) })");
  Report report;
  EXPECT_TRUE(graph::share_initializers(model, report));
  EXPECT_EQ(model.weights.size(), 2u);  // "b" is an output
  EXPECT_EQ(model.proto.graph().node(1).attribute(0).g().node(0).input(1), "a");
  EXPECT_TRUE(check(model).empty());
}

TEST(FixInputs, InitializersOfOldFilesAreConstants) {
  onnx::ModelProto proto = parse_text("g (float[1,4] x, float[4] w) => (float[1,4] y) { y = Mul(x, w) }");
  add_initializer(proto, "w", {4}, {1, 2, 3, 4});
  proto.set_ir_version(3);
  OnnxModel model = load_proto(proto);
  EXPECT_EQ(graph::simplify(model).inputs_fixed, 1u);
  ASSERT_EQ(model.proto.graph().input_size(), 1);
  EXPECT_EQ(model.proto.graph().input(0).name(), "x");
  EXPECT_EQ(model.proto.ir_version(), 4);
  EXPECT_TRUE(check(model).empty());
}

TEST(FixInputs, AnInputWithADefaultValueStaysAnInput) {
  onnx::ModelProto proto = parse_text("g (float[1,4] x, float[4] b) => (float[1,4] y) { c = Neg(b)\n y = Add(x, c) }");
  add_initializer(proto, "b", {4}, {1, 2, 3, 4});
  OnnxModel model = load_proto(proto);
  EXPECT_EQ(graph::simplify(model).inputs_fixed, 0u);
  ASSERT_EQ(model.proto.graph().input_size(), 2);
  ASSERT_EQ(model.proto.graph().initializer_size(), 1);
  EXPECT_EQ(ops(model), (Ops{"Neg", "Add"}));  // nothing is folded into what may be given anew
}

TEST(FixInputs, AFileThatListsItsWeightsAsInputsMeansNoneOfThemAsOne) {
  onnx::ModelProto proto =
      parse_text("g (float[1,4] x, float[4,4] w, float[4] b) => (float[1,4] y) { h = MatMul(x, w)\n y = Add(h, b) }");
  add_initializer(proto, "w", {4, 4}, std::vector<float>(16, 0.5f));
  add_initializer(proto, "b", {4}, {1, 2, 3, 4});
  OnnxModel model = load_proto(proto);
  EXPECT_EQ(graph::simplify(model).inputs_fixed, 2u);
  EXPECT_EQ(model.proto.graph().input_size(), 1);
}

onnx::ModelProto annotated_model() {
  onnx::ModelProto proto = parse_text(R"(g (float[1,4] x) => (float[1,4] y)
    <float[4] scale = {1, 2, 3, 4}, float[4] same = {1, 2, 3, 4}, float[1] unused = {7}> {
      h = Identity(x)
      k = Mul(h, scale)
      y = Mul(k, same) })");
  for (const char* name : {"h", "same"}) {
    onnx::TensorAnnotation& annotation = *proto.mutable_graph()->add_quantization_annotation();
    annotation.set_tensor_name(name);
    onnx::StringStringEntryProto& parameter = *annotation.add_quant_parameter_tensor_names();
    parameter.set_key("SCALE_TENSOR");
    parameter.set_value("unused");
  }
  return proto;
}

TEST(Simplify, QuantizationAnnotationsAndTheirParametersStay) {
  OnnxModel model = load_proto(annotated_model());
  graph::simplify(model);
  const onnx::GraphProto& graph = model.proto.graph();
  ASSERT_EQ(graph.quantization_annotation_size(), 2);
  std::set<std::string> names;
  for (const auto& tensor : graph.initializer()) names.insert(tensor.name());
  EXPECT_TRUE(names.contains("unused") && names.contains("same"));
  // They follow the names when these are shortened.
  const GraphBytes bytes = to_graph_bytes(model, {.drop_names = true});
  const onnx::ModelProto shortened = parse_graph_bytes(std::as_bytes(std::span(bytes.bytes)), bytes.terse, "g");
  ASSERT_EQ(shortened.graph().quantization_annotation_size(), 2);
  names.clear();
  for (const auto& tensor : shortened.graph().initializer()) names.insert(tensor.name());
  for (const auto& annotation : shortened.graph().quantization_annotation())
    EXPECT_TRUE(names.contains(annotation.quant_parameter_tensor_names(0).value()));
}

TEST(FoldConstants, ADimensionOfZeroIsNoConstant) {
  OnnxModel model = load_text("g (float[0,4] x) => (int64[2] y) { s = Shape(x)\n y = Neg(s) }");
  graph::simplify(model);
  EXPECT_EQ(ops(model), (Ops{"Shape", "Neg"}));
}

TEST(Simplify, IsDoneOnce) {
  OnnxModel model = load_text(kNestedGraph);
  graph::simplify(model);
  const std::string once = model.proto.SerializeAsString();
  const Report again = graph::simplify(model);
  EXPECT_EQ(again.nodes_folded + again.nodes_bypassed + again.nodes_removed + again.initializers_shared, 0u);
  EXPECT_EQ(model.proto.SerializeAsString(), once);
}

TEST(Simplify, AModelThatIsTrainedIsLeftAlone) {
  onnx::ModelProto proto = parse_text(kNestedGraph);
  proto.add_training_info();
  OnnxModel model = load_proto(proto);
  const std::string before = model.proto.SerializeAsString();
  graph::simplify(model);
  EXPECT_EQ(model.proto.SerializeAsString(), before);
}

TEST(Simplify, WeightsStayInOrderAndTheirNamesTrue) {
  OnnxModel model = load_text(kNestedGraph);
  graph::simplify(model);
  size_t next = 0;
  for_each_tensor(model.proto, [&](onnx::TensorProto& tensor, const TensorPlace&) {
    ASSERT_LT(next, model.weights.size());
    EXPECT_EQ(model.weights[next].tensor, &tensor);
    EXPECT_EQ(model.weights[next].name, tensor.name());
    ++next;
  });
  EXPECT_EQ(next, model.weights.size());
}

}  // namespace
}  // namespace quench
