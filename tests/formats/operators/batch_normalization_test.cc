#include "formats/operators/batch_normalization.h"

#include <gtest/gtest.h>

#include "tests/formats/operators/attribute_map.h"

namespace quench::operators {
namespace {

TEST(BatchNormalization, IsTheAffineMapThatItSays) {
  const BatchNormalization<double> channel{3, 0.5, 2, 4 - 1e-5, 1e-5};
  EXPECT_DOUBLE_EQ(channel.scale(), 1.5);
  EXPECT_DOUBLE_EQ(channel.shift(), 0.5 - 2 * 1.5);
  EXPECT_DOUBLE_EQ(channel.shift(1.25), 0.5 - 2 * 1.25);
  for (const double x : {-2.0, 0.0, 7.0}) {
    EXPECT_DOUBLE_EQ(channel(x), (x - 2) * 1.5 + 0.5);
    EXPECT_NEAR(channel(x), channel.scale() * x + channel.shift(), 1e-12);
  }
}

TEST(BatchNormalization, EpsilonIsOnnxsUnlessGiven) {
  EXPECT_EQ(epsilon_of(AttributeMap().view()), 1e-5f);
  EXPECT_EQ(epsilon_of(AttributeMap{.floats = {{"epsilon", 1e-3f}}}.view()), 1e-3f);
}

TEST(BatchNormalization, TrainingIsNoInference) {
  const auto infers = [](std::map<std::string, int64_t, std::less<>> integers, int64_t opset, int outputs = 1) {
    return is_inference(AttributeMap{.integers = std::move(integers)}.view(), opset, outputs);
  };
  EXPECT_FALSE(infers({}, 6));
  EXPECT_TRUE(infers({{"is_test", 1}}, 6));
  EXPECT_TRUE(infers({}, 7));
  EXPECT_TRUE(infers({{"is_test", 1}}, 6, 5));
  for (const int64_t opset : {7, 8, 9, 13}) EXPECT_FALSE(infers({}, opset, 5)) << opset;
  EXPECT_TRUE(infers({}, 14, 3));  // its attribute says
  EXPECT_TRUE(infers({}, 15));
  EXPECT_FALSE(infers({{"spatial", 0}}, 7));
  EXPECT_FALSE(infers({{"training_mode", 1}}, 15));
}

}  // namespace
}  // namespace quench::operators
