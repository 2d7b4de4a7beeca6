#include "compressor/measure/scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "compressor/measure/accuracy.h"

namespace quench::measure {
namespace {

using graph::HostTensor;
using Shape = std::vector<int64_t>;

struct Node {
  std::string op;
  std::optional<int64_t> axis = std::nullopt;
  std::vector<int64_t> perm = {};
};

// A chain of nodes, the last of which makes the output.
onnx::GraphProto chain(const std::vector<Node>& nodes, const std::string& name) {
  onnx::GraphProto graph;
  std::string value = "x";
  for (const Node& each : nodes) {
    onnx::NodeProto& node = *graph.add_node();
    node.set_op_type(each.op);
    node.add_input(value);
    node.add_output(value += "'");
    if (each.axis) {
      onnx::AttributeProto& attribute = *node.add_attribute();
      attribute.set_name("axis");
      attribute.set_i(*each.axis);
    }
    if (!each.perm.empty()) {
      onnx::AttributeProto& attribute = *node.add_attribute();
      attribute.set_name("perm");
      for (const int64_t axis : each.perm) attribute.add_ints(axis);
    }
  }
  if (graph.node_size() > 0) graph.mutable_node(graph.node_size() - 1)->set_output(0, name);
  graph.add_output()->set_name(name);
  return graph;
}

OutputShape floats(Shape dims) { return {onnx::TensorProto::FLOAT, std::move(dims)}; }
OutputShape integers(Shape dims) { return {onnx::TensorProto::INT64, std::move(dims)}; }

std::optional<Scores> find(const std::vector<Node>& nodes, const std::vector<OutputShape>& outputs,
                           const std::string& name = "y") {
  return find_scores(chain(nodes, name), outputs);
}

// The axis of the classes; -1: there are none.
int axis_of(const std::vector<Node>& nodes, Shape dims, const std::string& name = "y") {
  const std::optional<Scores> scores = find(nodes, {floats(std::move(dims))}, name);
  return scores && scores->is_purpose ? static_cast<int>(scores->axis) : -1;
}

TEST(Scores, OneRowForEachSample) {
  EXPECT_EQ(axis_of({{"Gemm"}}, {8, 10}, "logits"), 1);
  EXPECT_EQ(axis_of({{"GlobalAveragePool"}}, {8, 10, 1, 1}, "logits"), 1);
  EXPECT_EQ(axis_of({{"Gemm"}, {"Softmax", 1}}, {8, 10}), 1);
  EXPECT_EQ(axis_of({}, {8, 10}, "logits"), 1) << "whatever makes it";
  EXPECT_EQ(axis_of({{"Gemm"}}, {8, 1}, "logits"), -1) << "a number, no classes";
  EXPECT_EQ(axis_of({{"Gemm"}}, {8, 1, 1}, "logits"), -1);
  EXPECT_EQ(axis_of({{"MatMul"}}, {8, 24, 1}, "logits"), -1) << "a series";
  EXPECT_EQ(axis_of({{"Softmax", 1}}, {8, 24, 1}), 1);
  EXPECT_EQ(axis_of({{"Gemm"}}, {10}, "logits"), -1);
  EXPECT_EQ(axis_of({{"Conv"}}, {1, 10, 4, 4}, "logits"), -1) << "an image";
  EXPECT_EQ(axis_of({{"MatMul"}}, {1, 16, 10}, "logits"), -1) << "a sequence of vectors";
}

// Landmarks, embeddings and policies have the shape of scores; their values are what matters.
TEST(Scores, ARowOfNumbersIsNotAlwaysScores) {
  EXPECT_EQ(axis_of({{"Gemm"}}, {8, 196}), -1);
  EXPECT_TRUE(find({{"Gemm"}}, {floats({8, 196})})) << "labels may still be held against it";
  EXPECT_EQ(axis_of({{"Gemm"}}, {8, 196}, "landmarks"), -1);
  EXPECT_EQ(axis_of({{"Gemm"}}, {8, 1000}), 1) << "the classes of ImageNet";
  EXPECT_EQ(axis_of({{"Gemm"}}, {8, 7}, "Class_Scores:0"), 1);
  EXPECT_EQ(axis_of({{"Gemm"}, {"Sigmoid"}}, {8, 360}, "classifier"), -1) << "probabilities, each for itself";
}

TEST(Scores, WhatASoftmaxMakes) {
  EXPECT_EQ(axis_of({{"MatMul"}, {"Softmax", 2}}, {1, 16, 10}), 2);
  EXPECT_EQ(axis_of({{"MatMul"}, {"LogSoftmax"}}, {1, 16, 10}), 2);
  EXPECT_EQ(axis_of({{"Conv"}, {"Softmax", 1}}, {1, 10, 4, 4}), 1);
  EXPECT_EQ(axis_of({{"Conv"}, {"Softmax", -3}, {"Cast"}}, {1, 10, 4, 4}), 1) << "with a cast behind it";
  EXPECT_EQ(axis_of({{"Softmax", 3}, {"Transpose", {}, {0, 3, 1, 2}}}, {1, 10, 4, 4}), 1);
  EXPECT_EQ(axis_of({{"Softmax", 1}, {"Reshape"}}, {1, 16, 10}), 2) << "the last axis behind a change of shape";
  EXPECT_EQ(axis_of({{"Softmax", -1}, {"MatMul"}}, {1, 16, 10}), -1) << "attention inside is none";
  EXPECT_EQ(axis_of({{"Softmax", 2}}, {1, 16, 1}), -1) << "one class is none";
}

TEST(Scores, AnArgMaxMakesClasses) {
  const auto by_index = find({{"Conv"}, {"ArgMax", 1}}, {integers({1, 1, 4, 4})});
  ASSERT_TRUE(by_index);
  EXPECT_TRUE(by_index->is_class && by_index->is_purpose);
  const auto as_float = find({{"Conv"}, {"ArgMax", 1}, {"Squeeze"}, {"Cast"}}, {floats({1, 4, 4})});
  ASSERT_TRUE(as_float);
  EXPECT_TRUE(as_float->is_class);
  EXPECT_FALSE(find({{"NonZero"}}, {integers({1, 4})}));
}

TEST(Scores, ADetectorIsNoClassifier) {
  const auto scores = find({{"Softmax", 1}}, {floats({8, 10}), floats({8, 4})});
  ASSERT_TRUE(scores) << "labels may still be held against the first output";
  EXPECT_FALSE(scores->is_purpose);
  EXPECT_FALSE(find({}, {floats({1, 100, 4}), floats({8, 10})}));
}

TEST(Scores, IntegersBesideThemDoNotMatter) {
  onnx::GraphProto graph = chain({{"ArgMax"}}, "best");
  graph.add_output()->set_name("logits");
  const std::vector<OutputShape> outputs = {integers({8}), floats({8, 10})};
  const auto scores = find_scores(graph, outputs);
  ASSERT_TRUE(scores);
  EXPECT_TRUE(scores->is_purpose);
  EXPECT_EQ(scores->output, 1u);
}

TEST(Scores, ClassesLieAlongTheirAxis) {
  const HostTensor image = HostTensor::float32("y", {1, 3, 1, 2}, std::vector<float>{0, 5, 1, 4, 2, 3});
  EXPECT_EQ(classes_of({.axis = 1}, image), (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(classes_of({.axis = 3}, image), (std::vector<int64_t>{1, 1, 1}));
}

TEST(Accuracy, CountsRightOnesAndTheirLoss) {
  AccuracySum sum;
  EXPECT_FALSE(sum.result());
  const std::vector<float> scores = {0, 1, 3, 2};
  sum.add(scores, 2, std::vector<int64_t>{1, 1});
  EXPECT_DOUBLE_EQ(sum.result()->top1, 0.5);
  EXPECT_NEAR(*sum.result()->loss, (std::log(1 + std::exp(-1.0)) + std::log(1 + std::exp(1.0))) / 2, 1e-12);
  sum.add(std::vector<int64_t>{3, 4}, std::vector<int64_t>{3, 4});
  EXPECT_DOUBLE_EQ(sum.result()->top1, 0.75);
  EXPECT_FALSE(sum.result()->loss) << "classes have none";
}

TEST(Accuracy, AgreementIsTheShareOfTheSameClasses) {
  AgreementSum sum;
  const auto rows = [](std::vector<float> values) { return HostTensor::float32("y", {3, 2}, values); };
  sum.add({}, rows({0, 1, 1, 0, 1, 0}), rows({0, 2, 0, 1, 0, 1}), 2, 3);
  EXPECT_DOUBLE_EQ(*sum.result(), 0.5) << "the third fills the batch up";
}

}  // namespace
}  // namespace quench::measure
