// Random numbers have the distribution that they should, and are the same ones every time.
#include <cmath>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

constexpr int64_t kMany = 100000;

std::vector<float> drawn(const char* op, std::vector<TestAttribute> attributes) {
  attributes.push_back(ints_of("shape", {kMany / 100, 100}));
  return run_node(op, 13, attributes, {}).values<float>();
}

// The share of the values that lie below `limit`.
double share_below(const std::vector<float>& values, double limit) {
  int64_t below = 0;
  for (const float value : values) below += value < limit;
  return static_cast<double>(below) / static_cast<double>(values.size());
}

// The greatest distance from the distribution that so many draws have but once in millions, by Kolmogorov's limit.
const double kDistance = 2.5 / std::sqrt(static_cast<double>(kMany));

double correlation(const std::vector<float>& values, size_t lag, double mean) {
  double sum = 0;
  double squares = 0;
  for (size_t i = 0; i + lag < values.size(); ++i) {
    sum += (values[i] - mean) * (values[i + lag] - mean);
    squares += (values[i] - mean) * (values[i] - mean);
  }
  return sum / squares;
}

TEST(Random, UniformFillsItsRangeEvenly) {
  const std::vector<float> values = drawn("RandomUniform", {float_of("low", -2), float_of("high", 3)});
  for (int i = 0; i <= 50; ++i) EXPECT_NEAR(share_below(values, -2 + 0.1 * i), i / 50.0, kDistance);
  for (const size_t lag : {1, 2, 3, 64, 100}) EXPECT_LT(std::fabs(correlation(values, lag, 0.5)), 5e-3 * 4) << lag;
  EXPECT_EQ(share_below(values, -2), 0);
  EXPECT_EQ(share_below(values, 3), 1);
}

TEST(Random, NormalHasItsMeanAndDeviation) {
  const std::vector<float> values = drawn("RandomNormal", {float_of("mean", 1), float_of("scale", 2)});
  for (int i = -40; i <= 40; ++i) {
    const double x = 0.1 * i;
    EXPECT_NEAR(share_below(values, 1 + 2 * x), 0.5 * (1 + std::erf(x / std::sqrt(2.0))), kDistance) << x;
  }
  for (const size_t lag : {1, 2, 3, 64, 100}) EXPECT_LT(std::fabs(correlation(values, lag, 1)), 5e-3 * 4) << lag;
}

TEST(Random, BernoulliAndMultinomialFollowTheirProbabilities) {
  std::vector<float> probabilities;
  for (int64_t i = 0; i < kMany; ++i) probabilities.push_back(i % 2 == 0 ? 0.25f : 0.9f);
  const std::vector<float> truths =
      run_node("Bernoulli", 15, {}, {Value::of<float>({kMany}, probabilities)}).values<float>();
  double counts[2] = {};
  for (size_t i = 0; i < truths.size(); ++i) {
    ASSERT_TRUE(truths[i] == 0 || truths[i] == 1);
    counts[i % 2] += truths[i] / (static_cast<double>(kMany) / 2);
  }
  EXPECT_NEAR(counts[0], 0.25, 0.01);
  EXPECT_NEAR(counts[1], 0.9, 0.01);
  const Value never = Value::of<float>({2}, {0, 1});
  EXPECT_EQ(run_node("Bernoulli", 15, {int_of("dtype", 7)}, {never}).values<int64_t>(), (std::vector<int64_t>{0, 1}));

  // Logarithms of 0.1, 0.2 and 0.7, and a class that is impossible, all but for a constant.
  std::vector<float> row = {std::log(0.1f) + 3, -INFINITY, std::log(0.2f) + 3, std::log(0.7f) + 3};
  row.insert(row.end(), {0, -INFINITY, -INFINITY, -INFINITY});
  const std::vector<int64_t> classes =
      run_node("Multinomial", 7, {int_of("sample_size", kMany), int_of("dtype", 7)}, {Value::of<float>({2, 4}, row)})
          .values<int64_t>();
  double shares[4] = {};
  for (size_t i = 0; i < kMany; ++i) shares[classes[i]] += 1.0 / kMany;
  EXPECT_NEAR(shares[0], 0.1, 0.01);
  EXPECT_EQ(shares[1], 0);
  EXPECT_NEAR(shares[2], 0.2, 0.01);
  EXPECT_NEAR(shares[3], 0.7, 0.01);
  for (size_t i = kMany; i < 2 * kMany; ++i) ASSERT_EQ(classes[i], 0);
}

TEST(Random, TheSeedDecides) {
  const std::vector<TestAttribute> first = {float_of("seed", 1)};
  const std::vector<TestAttribute> second = {float_of("seed", 1.5f)};
  EXPECT_EQ(drawn("RandomUniform", first), drawn("RandomUniform", first));
  EXPECT_NE(drawn("RandomUniform", first), drawn("RandomUniform", second));
  EXPECT_EQ(drawn("RandomUniform", {}), drawn("RandomUniform", {}));
  EXPECT_NE(drawn("RandomUniform", first), drawn("RandomUniform", {}));
  const Value like = Value::random({kMany / 100, 100}, 1);
  EXPECT_EQ(run_node("RandomUniformLike", 13, first, {like}).values<float>(), drawn("RandomUniform", first));
  EXPECT_EQ(run_node("RandomNormalLike", 13, second, {like}).values<float>(), drawn("RandomNormal", second));
}

TEST(Random, WhatCannotBeDrawnIsRefused) {
  EXPECT_EQ(code_of("RandomUniform", 13, {}, {}), StatusCode::kLimit);
  EXPECT_EQ(code_of("RandomUniform", 13, {ints_of("shape", {-1})}, {}), StatusCode::kShape);
  EXPECT_EQ(code_of("RandomUniform", 13, {ints_of("shape", {INT64_MAX, INT64_MAX})}, {}), StatusCode::kShape);
  EXPECT_EQ(code_of("RandomUniform", 13, {ints_of("shape", {1}), int_of("dtype", 7)}, {}),
            StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("RandomNormalLike", 13, {}, {Value::indices({1})}), StatusCode::kUnsupportedType);
  EXPECT_EQ(code_of("Multinomial", 13, {}, {Value::random({2, 0}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("Multinomial", 13, {}, {Value::random({2}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("Multinomial", 13, {int_of("sample_size", -1)}, {Value::random({2, 2}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("Multinomial", 13, {int_of("dtype", 1)}, {Value::random({2, 2}, 1)}), StatusCode::kUnsupportedType);
}

}  // namespace
}  // namespace quench::rt
