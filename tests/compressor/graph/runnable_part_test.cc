#include "compressor/graph/runnable_part.h"

#include "tests/compressor/graph/run_model.h"

namespace quench {
namespace {

using namespace testing;
using Names = std::vector<std::string>;

Names outputs_of(const OnnxModel& model) {
  Names names;
  for (const auto& output : model.proto.graph().output()) names.push_back(output.name());
  return names;
}

Names ops_of(const OnnxModel& model) {
  Names names;
  for (const auto& node : model.proto.graph().node()) names.push_back(node.op_type());
  return names;
}

// As detectors end: only data tell how many boxes are left.
constexpr const char* kDetector = R"(g (float[1,4,6,5] x) => (float[N,2] boxes, float[1,2,6,5] map)
    <float[2,4,1,1] w = {1, 2, 3, 4, 5, 6, 7, 8}, float half = {0.5}, int64[2] rows = {-1, 2}, float[2] scale = {3, 4}> {
  c = Conv (x, w)
  map = Sigmoid (c)
  twice = Add (map, map)
  sure = Greater (twice, half)
  at = NonZero (sure)
  turned = Transpose <perm = [1, 0]> (at)
  some = GatherND (twice, turned)
  table = Reshape (some, rows)
  boxes = Mul (table, scale)
})";

TEST(RunnablePart, EndsBeforeWhatOnlyDataCanShape) {
  OnnxModel model = load_text(kDetector);
  const size_t weights = model.weights.size();
  const OnnxModel whole = model.clone();
  EXPECT_EQ(graph::cut_to_runnable(model), "NonZero ''");
  EXPECT_EQ(ops_of(model), (Names{"Conv", "Sigmoid", "Add"}));
  EXPECT_EQ(outputs_of(model), (Names{"map", "twice"})) << "sure is no floating-point number";
  ASSERT_EQ(model.weights.size(), weights);
  for (size_t w = 0; w < weights; ++w) EXPECT_EQ(model.weights[w].name, whole.weights[w].name);
  const std::vector<float> y = run(model, {random_input({1, 4, 6, 5})});
  ASSERT_EQ(y.size(), 120u);
  for (size_t i = 0; i < 60; ++i) EXPECT_FLOAT_EQ(y[60 + i], 2 * y[i]);
}

TEST(RunnablePart, WhatIsKnownBeforeTheRunIsNoReason) {
  OnnxModel model = load_text(R"(g (float[1,4,6,5] x) => (float[N] y) {
    sizes = Shape (x)
    at = NonZero (sizes)
    row = Squeeze (at)
    r = Relu (x)
    first = ReduceSum <keepdims = 0> (row)
    y = Reshape (r, flat)
    flat = Constant <value_ints = [-1]> ()
  })");
  EXPECT_EQ(graph::cut_to_runnable(model), std::nullopt);
  EXPECT_EQ(model.proto.graph().node_size(), 7);
}

TEST(RunnablePart, OperatorsOfOthersAndBranchesWithThemGo) {
  onnx::ModelProto proto = parse_text(R"(g (float[1,4] x, bool c) => (float[1,4] y) {
    a = Relu (x)
    b = If (c) <then_branch = t () => (float[1,4] u) { u = some.domain.Op (a) },
                else_branch = e () => (float[1,4] v) { v = Neg (x) }>
    y = Add (a, b)
  })");
  onnx::OperatorSetIdProto& import = *proto.add_opset_import();
  import.set_domain("some.domain");
  import.set_version(1);
  OnnxModel model = load_proto(proto);
  EXPECT_EQ(graph::cut_to_runnable(model), "If ''");
  EXPECT_EQ(ops_of(model), Names{"Relu"});
  EXPECT_EQ(outputs_of(model), Names{"a"});
}

TEST(RunnablePart, FloatsAreFoundBehindComparisonsAndInNewerOperatorSets) {
  onnx::ModelProto proto = parse_text(R"(g (float[1,4,6,5] x) => (int64[A,B] at) <float half = {0.5}> {
    c = Relu (x)
    d = Gelu (c)
    sure = Greater (d, half)
    at = NonZero (sure)
  })");
  proto.mutable_opset_import(0)->set_version(22);
  OnnxModel model = load_proto(proto);
  EXPECT_EQ(graph::cut_to_runnable(model), "NonZero ''");
  EXPECT_EQ(ops_of(model), (Names{"Relu", "Gelu"}));
  EXPECT_EQ(outputs_of(model), Names{"d"});
}

// Inputs and outputs that are left out have no name.
TEST(RunnablePart, WhatIsLeftOutIsNotLost) {
  onnx::ModelProto proto =
      parse_text(R"(g (float[8] x) => (float[N] y, float[8] z) <int64[1] one = {1}, float top = {6}> {
    sizes = Shape (x)
    u, no, back = Unique (x)
    y = Relu (u)
    c = Clip (x, no, top)
    size = Slice (sizes, zero, one, no, one)
    zero = Sub (one, one)
    z = Reshape (c, size)
  })");
  for (onnx::NodeProto& node : *proto.mutable_graph()->mutable_node()) {
    for (auto* names : {node.mutable_input(), node.mutable_output()}) {
      for (std::string& name : *names) {
        if (name == "no") name.clear();
      }
    }
  }
  OnnxModel model = load_proto(proto);
  EXPECT_EQ(graph::cut_to_runnable(model), "Unique ''");
  EXPECT_EQ(outputs_of(model), Names{"z"});
}

TEST(RunnablePart, ABranchWithConstantsOfItsOwnRuns) {
  OnnxModel model = load_text(R"(g (float[2,4] x, bool c) => (float[A,B] y, int64[C,D] at) {
    y = If (c) <then_branch = t () => (float[4,2] u) <int64[2] shape = {4, 2}> { u = Reshape (x, shape) },
                else_branch = e () => (float[2,4] v) { v = Neg (x) }>
    at = NonZero (y)
  })");
  EXPECT_EQ(graph::cut_to_runnable(model), "NonZero ''");
  EXPECT_EQ(ops_of(model), Names{"If"});
  EXPECT_EQ(outputs_of(model), Names{"y"});
}

TEST(RunnablePart, AModelOfWhichNothingRunsStaysAsItIs) {
  OnnxModel model = load_text("g (float[1,4] x) => (int64[A,B] y) { p = NonZero (x) y = Neg (p) }");
  EXPECT_EQ(graph::cut_to_runnable(model), std::nullopt);
  EXPECT_EQ(model.proto.graph().node_size(), 2);
  EXPECT_EQ(outputs_of(model), Names{"y"});
}

}  // namespace
}  // namespace quench
