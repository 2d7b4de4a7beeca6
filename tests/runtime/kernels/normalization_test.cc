// Normalizations: shapes that broadcast, and what is training and not inference.
#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

TEST(Normalization, LayerNormalizationBroadcastsScaleAndBias) {
  const Shape shape = {2, 3, 4};
  const Value x = Value::random(shape, 1);
  const std::vector<float> plain =
      run_node("LayerNormalization", 17, {int_of("axis", 1)}, {x, Value::of<float>({3, 4}, std::vector<float>(12, 1))})
          .values<float>();
  const std::vector<Shape> smaller = {{},        {1},       {4},       {1, 4},    {3, 1},   {3, 4},
                                      {1, 1, 4}, {1, 3, 4}, {1, 3, 1}, {2, 1, 1}, {2, 3, 4}};
  for (const Shape& of_scale : smaller) {
    for (const Shape& of_bias : smaller) {
      const Value scale = Value::random(of_scale, 2);
      const Value bias = Value::random(of_bias, 3);
      const std::vector<float> scales = scale.values<float>();
      const std::vector<float> biases = bias.values<float>();
      std::vector<float> expected;
      for (int64_t i = 0; i < shape.elements(); ++i) {
        const std::vector<int64_t> at = coordinates_of(shape, i);
        expected.push_back(plain[static_cast<size_t>(i)] * scales[broadcast_index(of_scale, at)] +
                           biases[broadcast_index(of_bias, at)]);
      }
      expect_near(run_node("LayerNormalization", 17, {int_of("axis", 1)}, {x, scale, bias}), expected);
    }
  }
  for (const Shape& wrong : {Shape{3}, Shape{4, 3}, Shape{2, 4}, Shape{1, 1, 3, 4}}) {
    EXPECT_EQ(code_of("LayerNormalization", 17, {int_of("axis", 1)}, {x, Value::random(wrong, 2)}), StatusCode::kShape);
  }
}

TEST(Normalization, BatchNormalizationWithFiveOutputsIsTraining) {
  const Value one = Value::of<float>({3}, {1, 1, 1});
  for (const int opset : {7, 8, 9, 13, 14}) {
    for (const int outputs : {1, 5}) {
      DirectNode node("BatchNormalization", opset, {}, {Value::random({2, 3, 4}, 1), one, one, one, one}, outputs);
      EXPECT_EQ(node.infer().ok(), outputs == 1) << opset;
    }
  }
}

}  // namespace
}  // namespace quench::rt
