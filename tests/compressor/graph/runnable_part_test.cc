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

TEST(RunnablePart, AModelOfWhichNothingRunsStaysAsItIs) {
  OnnxModel model = load_text("g (float[1,4] x) => (int64[A,B] y) { p = NonZero (x) y = Neg (p) }");
  EXPECT_EQ(graph::cut_to_runnable(model), std::nullopt);
  EXPECT_EQ(model.proto.graph().node_size(), 2);
  EXPECT_EQ(outputs_of(model), Names{"y"});
}

}  // namespace
}  // namespace quench
