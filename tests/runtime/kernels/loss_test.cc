// The losses against their definition: what the class that the target names lacks to certainty, weighed and averaged.
#include <cmath>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

const std::vector<std::string> kReductions = {"none", "sum", "mean"};

// Scores of 2 x 3 classes x 4 places; targets, one of which is 7.
const Shape kShape = {2, 3, 4};
const std::vector<int64_t> kTargets = {0, 2, 1, 7, 1, 1, 0, 2};

std::vector<float> expected(const std::vector<double>& logarithms, const std::vector<float>& weights,
                            const std::string& reduction) {
  std::vector<float> each;
  double sum = 0;
  double total = 0;
  for (size_t batch = 0; batch < 2; ++batch) {
    for (size_t place = 0; place < 4; ++place) {
      const int64_t target = kTargets[batch * 4 + place];
      const double weight = target == 7 ? 0 : weights[static_cast<size_t>(target)];
      const double loss = target == 7 ? 0 : -weight * logarithms[batch * 12 + static_cast<size_t>(target) * 4 + place];
      each.push_back(static_cast<float>(loss));
      sum += loss;
      total += weight;
    }
  }
  if (reduction == "none") return each;
  return {static_cast<float>(reduction == "sum" ? sum : sum / total)};
}

TEST(Loss, BothAreWhatTheirDefinitionsSay) {
  const Value scores = Value::random(kShape, 1);
  const std::vector<float> values = scores.values<float>();
  std::vector<double> plain(values.begin(), values.end());
  std::vector<double> logarithms(24);
  for (size_t i = 0; i < 24; ++i) {
    double sum = 0;
    for (size_t c = 0; c < 3; ++c) sum += std::exp(plain[i / 12 * 12 + c * 4 + i % 4]);
    logarithms[i] = plain[i] - std::log(sum);
  }
  const Value targets = Value::of<int64_t>({2, 4}, kTargets);
  const std::vector<float> weights = {0.5f, 2, 0.25f};
  for (const std::string& reduction : kReductions) {
    const std::vector<TestAttribute> attributes = {string_of("reduction", reduction), int_of("ignore_index", 7)};
    for (const bool weighs : {false, true}) {
      std::vector<std::optional<Value>> inputs = {scores, targets};
      if (weighs) inputs.emplace_back(Value::of<float>({3}, weights));
      const std::vector<float> used = weighs ? weights : std::vector<float>{1, 1, 1};
      expect_near(run_node("NegativeLogLikelihoodLoss", 13, attributes, inputs), expected(plain, used, reduction));
      DirectNode entropy("SoftmaxCrossEntropyLoss", 13, attributes, inputs, 2);
      ASSERT_TRUE(entropy.infer().ok());
      ASSERT_TRUE(entropy.run().ok());
      expect_near(entropy.output(0), expected(logarithms, used, reduction));
      expect_near(entropy.output(1), std::vector<float>(logarithms.begin(), logarithms.end()));
    }
  }
}

TEST(Loss, TargetsThatAreNoClassesAreRefused) {
  const Value scores = Value::random(kShape, 1);
  const Value targets = Value::of<int64_t>({2, 4}, kTargets);
  for (const char* op : {"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}) {
    EXPECT_EQ(code_of(op, 13, {}, {scores, targets}), StatusCode::kInvalidArgument);
    EXPECT_EQ(code_of(op, 13, {string_of("reduction", "most")}, {scores, targets}), StatusCode::kInvalidArgument);
    EXPECT_EQ(code_of(op, 13, {}, {scores, Value::of<int64_t>({4, 2}, kTargets)}), StatusCode::kShape);
    EXPECT_EQ(code_of(op, 13, {}, {scores, targets, Value::random({4}, 1)}), StatusCode::kShape);
    EXPECT_EQ(code_of(op, 13, {}, {Value::random({3}, 1), Value::of<int64_t>({}, {1})}), StatusCode::kShape);
  }
}

}  // namespace
}  // namespace quench::rt
