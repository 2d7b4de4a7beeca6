// Recurrent operators: one step by hand, and what must be the same whichever way it is asked for.

#include <cmath>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

struct Operator {
  const char* name;
  int64_t gates;
  std::vector<TestAttribute> attributes;
};

const std::vector<Operator> kOperators = {{"RNN", 1, {}},
                                          {"GRU", 3, {}},
                                          {"GRU", 3, {int_of("linear_before_reset", 1)}},
                                          {"LSTM", 4, {}},
                                          {"RNN", 1, {strings_of("activations", {"Relu", "Relu"})}},
                                          {"LSTM", 4, {int_of("input_forget", 1), float_of("clip", 0.5f)}}};

constexpr int64_t kSteps = 5;
constexpr int64_t kBatch = 3;
constexpr int64_t kInputs = 9;
constexpr int64_t kHidden = 4;

struct Weights {
  Value w, r, bias;
  Weights(const Operator& op, int64_t directions)
      : w(Value::random({directions, op.gates * kHidden, kInputs}, 11)),
        r(Value::random({directions, op.gates * kHidden, kHidden}, 12)),
        bias(Value::random({directions, 2 * op.gates * kHidden}, 13)) {}
};

// The direction `index` of weights for both.
Value part(const Value& both, int64_t index) {
  return run_node("Slice", 13, {}, {both, Value::indices({index}), Value::indices({index + 1}), Value::indices({0})});
}

std::vector<TestAttribute> with(const Operator& op, const TestAttribute& extra) {
  std::vector<TestAttribute> attributes = op.attributes;
  attributes.push_back(extra);
  return attributes;
}

// The outputs Y and Y_h.
std::pair<Value, Value> run(const Operator& op, std::vector<TestAttribute> attributes,
                            std::vector<std::optional<Value>> inputs) {
  DirectNode node(op.name, 14, std::move(attributes), std::move(inputs), 2);
  const Status inferred = node.infer();
  EXPECT_TRUE(inferred.ok()) << inferred.detail();
  EXPECT_TRUE(node.run().ok());
  return {node.output(0), node.output(1)};
}

TEST(Recurrent, BothDirectionsAreOneForwardAndOneBackward) {
  for (const Operator& op : kOperators) {
    const Value x = Value::random({kSteps, kBatch, kInputs}, 1);
    const Weights weights(op, 2);
    const auto [both, both_last] =
        run(op, with(op, string_of("direction", "bidirectional")), {x, weights.w, weights.r, weights.bias});
    std::vector<Value> all;
    std::vector<Value> last;
    for (int64_t i = 0; i < 2; ++i) {
      const auto [y, h] = run(op, with(op, string_of("direction", i == 0 ? "forward" : "reverse")),
                              {x, part(weights.w, i), part(weights.r, i), part(weights.bias, i)});
      all.push_back(y);
      last.push_back(h);
    }
    EXPECT_TRUE(run_node("Concat", 13, {int_of("axis", 1)}, {all[0], all[1]}) == both) << op.name;
    EXPECT_TRUE(run_node("Concat", 13, {int_of("axis", 0)}, {last[0], last[1]}) == both_last) << op.name;
  }
}

TEST(Recurrent, BatchFirstIsATransposedRun) {
  for (const Operator& op : kOperators) {
    const Value x = Value::random({kSteps, kBatch, kInputs}, 1);
    const Weights weights(op, 1);
    const auto [y, h] = run(op, op.attributes, {x, weights.w, weights.r, weights.bias});
    const Value turned = run_node("Transpose", 13, {ints_of("perm", {1, 0, 2})}, {x});
    const auto [y_first, h_first] =
        run(op, with(op, int_of("layout", 1)), {turned, weights.w, weights.r, weights.bias});
    EXPECT_TRUE(run_node("Transpose", 13, {ints_of("perm", {2, 0, 1, 3})}, {y}) == y_first) << op.name;
    EXPECT_TRUE(run_node("Transpose", 13, {ints_of("perm", {1, 0, 2})}, {h}) == h_first) << op.name;
  }
}

// A shorter sequence is what running it alone gives, and zeros behind its end.
TEST(Recurrent, SequencesEndWhereTheirLengthSays) {
  for (const Operator& op : kOperators) {
    for (const char* direction : {"forward", "reverse"}) {
      const Value x = Value::random({kSteps, 1, kInputs}, 1);
      const Value head = run_node("Slice", 13, {}, {x, Value::indices({0}), Value::indices({3})});
      const Weights weights(op, 1);
      const auto attributes = with(op, string_of("direction", direction));
      const auto [y, h] = run(op, attributes, {x, weights.w, weights.r, weights.bias, Value::of<int32_t>({1}, {3})});
      const auto [y_head, h_head] = run(op, attributes, {head, weights.w, weights.r, weights.bias});
      EXPECT_TRUE(h == h_head) << op.name;
      EXPECT_TRUE(run_node("Pad", 13, {}, {y_head, Value::indices({0, 0, 0, 0, 2, 0, 0, 0})}) == y) << op.name;
    }
  }
}

TEST(Recurrent, OneStepByHand) {
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const Value x = Value::of<float>({1, 1, 1}, {2});
  const Value h = Value::of<float>({1, 1, 1}, {0.5f});
  const Value c = Value::of<float>({1, 1, 1}, {-1});
  // Gates: input, output, forget, cell.
  const Value w = Value::of<float>({1, 4, 1}, {0.1f, 0.2f, 0.3f, 0.4f});
  const Value r = Value::of<float>({1, 4, 1}, {1, -1, 2, -2});
  const double in = sigmoid(0.2 + 0.5);
  const double out = sigmoid(0.4 - 0.5);
  const double forget = sigmoid(0.6 + 1);
  const double cell = forget * -1 + in * std::tanh(0.8 - 1);
  expect_near(run_node("LSTM", 7, {}, {x, w, r, std::nullopt, std::nullopt, h, c}),
              {static_cast<float>(out * std::tanh(cell))});
  // Gates: update, reset, hidden.
  const Value w3 = Value::of<float>({1, 3, 1}, {0.1f, 0.2f, 0.3f});
  const Value r3 = Value::of<float>({1, 3, 1}, {1, -1, 2});
  const double update = sigmoid(0.2 + 0.5);
  const double reset = sigmoid(0.4 - 0.5);
  const double candidate = std::tanh(0.6 + 2 * reset * 0.5);
  expect_near(run_node("GRU", 7, {}, {x, w3, r3, std::nullopt, std::nullopt, h}),
              {static_cast<float>((1 - update) * candidate + update * 0.5)});
}

TEST(Recurrent, FunctionsAreThoseOfTheDirection) {
  const Value x = Value::of<float>({1, 1, 1}, {2});
  const Value h = Value::of<float>({2, 1, 1}, {0.5f, 0.5f});
  const Value w = Value::of<float>({2, 1, 1}, {0.5f, 0.5f});
  const Value r = Value::of<float>({2, 1, 1}, {1, 1});
  const auto run_with = [&](std::vector<std::string_view> names) {
    return run_node("RNN", 7, {string_of("direction", "bidirectional"), strings_of("activations", std::move(names))},
                    {x, w, r, std::nullopt, std::nullopt, h});
  };
  const auto sigmoid = static_cast<float>(1 / (1 + std::exp(-1.5)));
  expect_near(run_with({"Relu", "Sigmoid"}), {1.5f, sigmoid});
  expect_near(run_with({"Tanh", "Relu"}), {std::tanh(1.5f), 1.5f});

  // LSTM: gates input, output, forget, cell; f for the gates, g for the cell's input, h for its output.
  const Value one = Value::of<float>({1, 1, 1}, {2});
  const Value w4 = Value::of<float>({1, 4, 1}, {0.25f, 0.5f, 0.125f, -0.5f});
  const Value r4 = Value::of<float>({1, 4, 1}, {0, 0, 0, 0});
  const Value cell = Value::of<float>({1, 1, 1}, {4});
  const double kept = 4 * 0.25 + 0.5 / (1 + std::exp(1.0));
  expect_near(run_node("LSTM", 7, {strings_of("activations", {"Relu", "Sigmoid", "Tanh"})},
                       {one, w4, r4, std::nullopt, std::nullopt, std::nullopt, cell}),
              {static_cast<float>(std::tanh(kept))});
}

TEST(Recurrent, FunctionsTakeAlphaAndBeta) {
  const Value x = Value::of<float>({1, 1, 1}, {2});
  const Value w = Value::of<float>({1, 1, 1}, {-1});
  const Value r = Value::of<float>({1, 1, 1}, {0});
  const auto run_with = [&](std::string_view name, std::vector<float> alpha, std::vector<float> beta) {
    return run_node("RNN", 7,
                    {strings_of("activations", {name}), floats_of("activation_alpha", std::move(alpha)),
                     floats_of("activation_beta", std::move(beta))},
                    {x, w, r});
  };
  expect_near(run_with("Affine", {3}, {0.5f}), {-5.5f});
  expect_near(run_with("leakyRELU", {0.25f}, {}), {-0.5f});
  expect_near(run_with("HardSigmoid", {0.1f}, {0.5f}), {0.3f});
  expect_near(run_with("ScaledTanh", {2}, {0.5f}), {2 * std::tanh(-1.0f)});
  expect_near(run_with("Softplus", {}, {}), {std::log1p(std::exp(-2.0f))});
}

// Neither the initial state nor one left over from the sequence before.
TEST(Recurrent, ASequenceOfNoStepsEndsInZeros) {
  for (const Operator& op : kOperators) {
    for (const char* direction : {"forward", "reverse"}) {
      const Weights weights(op, 1);
      const bool is_lstm = std::string_view(op.name) == "LSTM";
      std::vector<std::optional<Value>> inputs = {Value::random({kSteps, 2, kInputs}, 1),
                                                  weights.w,
                                                  weights.r,
                                                  weights.bias,
                                                  Value::of<int32_t>({2}, {kSteps, 0}),
                                                  Value::random({1, 2, kHidden}, 2)};
      if (is_lstm) inputs.push_back(Value::random({1, 2, kHidden}, 3));
      DirectNode node(op.name, 14, with(op, string_of("direction", direction)), inputs, is_lstm ? 3 : 2);
      ASSERT_TRUE(node.infer().ok());
      ASSERT_TRUE(node.run().ok());
      for (int output = 1; output < (is_lstm ? 3 : 2); ++output) {
        const std::vector<float> last = node.output(output).values<float>();
        for (size_t i = kHidden; i < last.size(); ++i) EXPECT_EQ(last[i], 0) << op.name << ", " << i;
      }
    }
  }
}

TEST(Recurrent, WhatDoesNotFitIsRefused) {
  const Value x = Value::random({kSteps, kBatch, kInputs}, 1);
  const Weights weights({"LSTM", 4, {}}, 1);
  const auto refused = [&](std::vector<TestAttribute> attributes, std::optional<Value> lengths) {
    return code_of("LSTM", 14, std::move(attributes), {x, weights.w, weights.r, weights.bias, std::move(lengths)});
  };
  EXPECT_EQ(refused({}, std::nullopt), StatusCode::kOk);
  EXPECT_EQ(refused({int_of("hidden_size", 5)}, std::nullopt), StatusCode::kShape);
  EXPECT_EQ(refused({string_of("direction", "bidirectional")}, std::nullopt), StatusCode::kShape);
  EXPECT_EQ(refused({string_of("direction", "sideways")}, std::nullopt), StatusCode::kInvalidArgument);
  EXPECT_EQ(refused({strings_of("activations", {"Sigmoid", "Gelu", "Tanh"})}, std::nullopt),
            StatusCode::kUnsupportedFeature);
  EXPECT_EQ(refused({strings_of("activations", {"Sigmoid", "Tanh"})}, std::nullopt), StatusCode::kInvalidArgument);
  EXPECT_EQ(refused({}, Value::of<int32_t>({2}, {1, 1})), StatusCode::kShape);
  EXPECT_EQ(refused({}, Value::of<int32_t>({3}, {1, -1, 2})), StatusCode::kInvalidArgument);
  EXPECT_EQ(refused({}, Value::of<int32_t>({3}, {1, 6, 2})), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("LSTM", 14, {}, {x, weights.r, weights.w}), StatusCode::kShape);
}

}  // namespace
}  // namespace quench::rt
