// Attention and RotaryEmbedding against their definitions, in both forms of their inputs.
#include <cmath>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

// batch x heads x positions x features as batch x positions x (heads * features), or the other way.
Value folded(const Value& x) {
  const std::vector<float> values = x.values<float>();
  std::vector<float> turned;
  for (int64_t b = 0; b < x.shape[0]; ++b) {
    for (int64_t p = 0; p < x.shape[2]; ++p) {
      for (int64_t h = 0; h < x.shape[1]; ++h) {
        const int64_t first = ((b * x.shape[1] + h) * x.shape[2] + p) * x.shape[3];
        turned.insert(turned.end(), values.begin() + first, values.begin() + first + x.shape[3]);
      }
    }
  }
  return Value::of<float>({x.shape[0], x.shape[2], x.shape[1] * x.shape[3]}, turned);
}

constexpr int64_t kBatches = 2;
constexpr int64_t kHeads = 4;
constexpr int64_t kKeyHeads = 2;
constexpr int64_t kQueries = 3;
constexpr int64_t kKeys = 5;
constexpr int64_t kPast = 2;
constexpr int64_t kFeatures = 4;
constexpr int64_t kValueFeatures = 6;

struct Reference {
  bool has_past = false;
  bool is_causal = false;
  double softcap = 0;
  double scale = 0.5;
  std::optional<Value> mask;

  int64_t past() const { return has_past ? kPast : 0; }
  int64_t total() const { return past() + kKeys; }

  std::vector<std::optional<Value>> inputs() const {
    std::vector<std::optional<Value>> all = {q, k, v, mask};
    if (has_past) {
      all.emplace_back(past_k);
      all.emplace_back(past_v);
    }
    return all;
  }

  double key(int64_t b, int64_t h, int64_t j, int64_t i) const {
    return j < past() ? at(past_k, b, h, j, i) : at(k, b, h, j - past(), i);
  }
  double value(int64_t b, int64_t h, int64_t j, int64_t i) const {
    return j < past() ? at(past_v, b, h, j, i) : at(v, b, h, j - past(), i);
  }
  static double at(const Value& x, int64_t b, int64_t h, int64_t j, int64_t i) {
    return x.values<float>()[static_cast<size_t>(((b * x.shape[1] + h) * x.shape[2] + j) * x.shape[3] + i)];
  }

  double bias(int64_t b, int64_t h, int64_t s, int64_t j) const {
    if (is_causal && j > s + past()) return -INFINITY;
    if (!mask) return 0;
    const Shape& shape = mask->shape;
    if (j >= shape[shape.rank - 1]) return -INFINITY;
    const size_t index = broadcast_index(shape, {b, h, s, j});
    if (mask->type == ElementType::kBool) return mask->bytes[index] != std::byte{0} ? 0 : -INFINITY;
    return mask->values<float>()[index];
  }

  // The scores before the softmax, or after it, and the outputs.
  std::vector<double> weights(int64_t b, int64_t h, int64_t s, int stage) const {
    std::vector<double> row;
    double sum = 0;
    for (int64_t j = 0; j < total(); ++j) {
      double score = 0;
      for (int64_t i = 0; i < kFeatures; ++i) score += at(q, b, h, s, i) * key(b, h / 2, j, i) * scale;
      if (stage > 0 && softcap > 0) score = softcap * std::tanh(score / softcap);
      if (stage > 1) score += bias(b, h, s, j);
      if (stage > 2) score = std::exp(score);
      sum += score;
      row.push_back(score);
    }
    for (double& weight : row) weight /= stage > 2 ? sum : 1;
    return row;
  }
  std::vector<float> scores(int stage) const {
    std::vector<float> all;
    for (int64_t i = 0; i < kBatches * kHeads * kQueries; ++i) {
      const std::vector<double> row = weights(i / kQueries / kHeads, i / kQueries % kHeads, i % kQueries, stage);
      all.insert(all.end(), row.begin(), row.end());
    }
    return all;
  }
  std::vector<float> outputs() const {
    std::vector<float> all;
    for (int64_t i = 0; i < kBatches * kHeads * kQueries; ++i) {
      const int64_t b = i / kQueries / kHeads;
      const int64_t h = i / kQueries % kHeads;
      const std::vector<double> row = weights(b, h, i % kQueries, 3);
      for (int64_t f = 0; f < kValueFeatures; ++f) {
        double sum = 0;
        for (int64_t j = 0; j < total(); ++j) sum += row[static_cast<size_t>(j)] * value(b, h / 2, j, f);
        all.push_back(static_cast<float>(sum));
      }
    }
    return all;
  }

  Value q = Value::random({kBatches, kHeads, kQueries, kFeatures}, 1);
  Value k = Value::random({kBatches, kKeyHeads, kKeys, kFeatures}, 2);
  Value v = Value::random({kBatches, kKeyHeads, kKeys, kValueFeatures}, 3);
  Value past_k = Value::random({kBatches, kKeyHeads, kPast, kFeatures}, 4);
  Value past_v = Value::random({kBatches, kKeyHeads, kPast, kValueFeatures}, 5);
};

void check(const Reference& reference, std::vector<TestAttribute> attributes) {
  attributes.push_back(int_of("is_causal", reference.is_causal));
  attributes.push_back(float_of("softcap", static_cast<float>(reference.softcap)));
  for (int mode = 0; mode < 4; ++mode) {
    std::vector<TestAttribute> with_mode = attributes;
    with_mode.push_back(int_of("qk_matmul_output_mode", mode));
    DirectNode node("Attention", 23, with_mode, reference.inputs(), 4);
    const Status status = node.infer();
    ASSERT_TRUE(status.ok()) << status.detail();
    ASSERT_TRUE(node.run().ok());
    expect_near(node.output(0), reference.outputs());
    const std::vector<float> scores = reference.scores(mode);
    const std::vector<float> shown = node.output(3).values<float>();
    ASSERT_EQ(shown.size(), scores.size());
    for (size_t i = 0; i < scores.size(); ++i) {
      if (std::isinf(scores[i])) {
        EXPECT_EQ(shown[i], scores[i]);
      } else {
        EXPECT_NEAR(shown[i], scores[i], 1e-4);
      }
    }
    const Shape present = {kBatches, kKeyHeads, reference.total(), kFeatures};
    ASSERT_TRUE(node.output(1).shape == present);
    for (int64_t i = 0; i < present.elements(); ++i) {
      const std::vector<int64_t> at = coordinates_of(present, i);
      ASSERT_EQ(node.output(1).values<float>()[static_cast<size_t>(i)], reference.key(at[0], at[1], at[2], at[3]));
    }
  }
  // The same with the heads inside the positions.
  std::vector<std::optional<Value>> inputs = reference.inputs();
  for (size_t i = 0; i < 3; ++i) inputs[i] = folded(*inputs[i]);
  attributes.push_back(int_of("q_num_heads", kHeads));
  attributes.push_back(int_of("kv_num_heads", kKeyHeads));
  const Value y = run_node("Attention", 23, attributes, inputs);
  expect_near(
      y, folded(Value::of<float>({kBatches, kHeads, kQueries, kValueFeatures}, reference.outputs())).values<float>());
}

TEST(Attention, IsTheSoftmaxOfItsScores) {
  for (const bool has_past : {false, true}) {
    for (const bool is_causal : {false, true}) {
      Reference reference;
      reference.has_past = has_past;
      reference.is_causal = is_causal;
      check(reference, {});  // the scale is that of 4 features
      reference.scale = 0.3;
      reference.softcap = 1.5;
      for (const Shape& shape : {Shape{3, 5}, Shape{1, 4}, Shape{2, 1, 3, 5}, Shape{4, 3, 5}, Shape{1, 4, 1, 5}}) {
        reference.mask = Value::random(shape, 6);
        check(reference, {float_of("scale", 0.3f)});
        std::vector<uint8_t> flags;
        // Each query has a key that it may see: of none at all the softmax is NaN.
        const int64_t keys = shape[shape.rank - 1];
        for (int64_t i = 0; i < shape.elements(); ++i) flags.push_back(i % keys == 0 || i % 3 != 1);
        reference.mask = Value::truths(shape, flags);
        check(reference, {float_of("scale", 0.3f)});
      }
    }
  }
}

TEST(Attention, WhatDoesNotFitIsRefused) {
  const Reference reference;
  const auto code = [](std::vector<std::optional<Value>> inputs, std::vector<TestAttribute> attributes = {}) {
    return code_of("Attention", 23, std::move(attributes), std::move(inputs));
  };
  const Value& q = reference.q;
  const Value& k = reference.k;
  const Value& v = reference.v;
  EXPECT_EQ(code({q, k, v}), StatusCode::kOk);
  EXPECT_EQ(code({q, k, k}), StatusCode::kOk);
  EXPECT_EQ(code({k, q, q}), StatusCode::kShape);
  EXPECT_EQ(code({q, v, k}), StatusCode::kShape);
  EXPECT_EQ(code({folded(q), folded(k), folded(v)}), StatusCode::kShape);
  EXPECT_EQ(code({folded(q), folded(k), folded(v)}, {int_of("q_num_heads", 3), int_of("kv_num_heads", 2)}),
            StatusCode::kShape);
  EXPECT_EQ(code({folded(q), folded(k), folded(v)}, {int_of("q_num_heads", -4), int_of("kv_num_heads", 2)}),
            StatusCode::kShape);
  for (const Shape& shape : {Shape{5}, Shape{3, 6}, Shape{2, 5}, Shape{3, 1, 3, 5}, Shape{1, 1, 1, 3, 5}}) {
    EXPECT_EQ(code({q, k, v, Value::random(shape, 1)}), StatusCode::kShape);
  }
  EXPECT_EQ(code({q, k, v, Value::indices({1})}), StatusCode::kUnsupportedType);
  EXPECT_EQ(code({q, k, v, std::nullopt, reference.past_k}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({q, k, v, std::nullopt, reference.past_k, reference.past_k}), StatusCode::kShape);
  EXPECT_EQ(code({q, k, v}, {int_of("qk_matmul_output_mode", 4)}), StatusCode::kInvalidArgument);
}

// Pairs as complex numbers, multiplied with cos + i * sin of their position.
TEST(RotaryEmbedding, TurnsPairs) {
  const Shape shape = {2, 3, 4, 10};
  const Value x = Value::random(shape, 1);
  for (const int64_t turned : {0, 6}) {
    const int64_t pairs = (turned == 0 ? 10 : turned) / 2;
    for (const bool interleaved : {false, true}) {
      for (const bool has_ids : {false, true}) {
        const Shape cache = has_ids ? Shape{7, pairs} : Shape{2, 4, pairs};
        const Value cosines = Value::random(cache, 2);
        const Value sines = Value::random(cache, 3);
        std::vector<std::optional<Value>> inputs = {x, cosines, sines};
        const std::vector<int64_t> ids = {0, 6, 2, 2, 5, 1, 0, 3};
        if (has_ids) inputs.emplace_back(Value::of<int64_t>({2, 4}, ids));
        std::vector<float> expected;
        for (int64_t i = 0; i < shape.elements(); ++i) {
          std::vector<int64_t> at = coordinates_of(shape, i);
          const int64_t feature = at[3];
          const int64_t pair = interleaved ? feature / 2 : feature % pairs;
          const bool is_second = interleaved ? feature % 2 == 1 : feature >= pairs;
          const auto read = [&](int64_t of_feature) {
            at[3] = of_feature;
            return x.values<float>()[broadcast_index(shape, at)];
          };
          if (feature >= 2 * pairs) {
            expected.push_back(read(feature));
            continue;
          }
          const auto place = static_cast<size_t>(at[0] * 4 + at[2]);
          const auto angle = static_cast<size_t>((has_ids ? ids[place] : static_cast<int64_t>(place)) * pairs + pair);
          const float cosine = cosines.values<float>()[angle];
          const float sine = sines.values<float>()[angle];
          const float real = read(interleaved ? 2 * pair : pair);
          const float imaginary = read(interleaved ? 2 * pair + 1 : pair + pairs);
          expected.push_back(is_second ? sine * real + cosine * imaginary : cosine * real - sine * imaginary);
        }
        std::vector<TestAttribute> attributes = {int_of("interleaved", interleaved),
                                                 int_of("rotary_embedding_dim", turned)};
        expect_near(run_node("RotaryEmbedding", 23, attributes, inputs), expected);
        inputs[0] = folded(x);
        attributes.push_back(int_of("num_heads", 3));
        expect_near(run_node("RotaryEmbedding", 23, attributes, inputs),
                    folded(Value::of<float>(shape, expected)).values<float>());
      }
    }
  }
}

TEST(RotaryEmbedding, WhatDoesNotFitIsRefused) {
  const Value x = Value::random({1, 2, 3, 4}, 1);
  const Value cache = Value::random({1, 3, 2}, 2);
  const Value table = Value::random({5, 2}, 2);
  const auto code = [](std::vector<std::optional<Value>> inputs, std::vector<TestAttribute> attributes = {}) {
    return code_of("RotaryEmbedding", 23, std::move(attributes), std::move(inputs));
  };
  EXPECT_EQ(code({x, cache, cache}), StatusCode::kOk);
  EXPECT_EQ(code({x, cache, table}), StatusCode::kShape);
  EXPECT_EQ(code({x, cache, cache}, {int_of("rotary_embedding_dim", 3)}), StatusCode::kShape);
  EXPECT_EQ(code({x, cache, cache}, {int_of("rotary_embedding_dim", 6)}), StatusCode::kShape);
  EXPECT_EQ(code({x, cache, cache}, {int_of("rotary_embedding_dim", -2)}), StatusCode::kShape);
  EXPECT_EQ(code({folded(x), cache, cache}), StatusCode::kShape);
  EXPECT_EQ(code({x, table, table, Value::of<int64_t>({1, 3}, {0, 4, 1})}), StatusCode::kOk);
  EXPECT_EQ(code({x, table, table, Value::of<int64_t>({1, 3}, {0, 5, 1})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({x, table, table, Value::of<int64_t>({1, 3}, {0, -1, 1})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({x, table, table, Value::indices({0, 1, 2})}), StatusCode::kShape);
}

}  // namespace
}  // namespace quench::rt
