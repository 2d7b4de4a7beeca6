// com.microsoft's MultiHeadAttention, which is expressed in ONNX's operators on loading, against its definition.
#include "tests/compressor/graph/contrib_model.h"

namespace quench {
namespace {

using namespace testing;

enum class Form { kApart, kHeads, kPackedAll, kPackedKv };

struct Case {
  std::string attributes = "num_heads = 2";
  Form form = Form::kApart;
  bool knows_ranks = true;  // the graph tells how many axes keys and values have
  bool has_bias = false;
  std::vector<int64_t> mask_dims = {};  // none: no mask
  std::vector<int32_t> mask = {};
  std::vector<int64_t> score_bias_dims = {};
  int64_t past = -1;  // positions; -1: no such input
  bool shows_present = false;
  bool is_causal = false;
  int64_t value_features = 3;  // of a head
  int64_t keys = 4;            // where they are not packed with the queries
  double scale = 0, filter = -10000;
  int opset = 17;
};

constexpr int64_t kBatch = 2, kHeads = 2, kQueries = 3, kFeatures = 3;

int64_t keys_of(const Case& c) { return c.form == Form::kPackedAll ? kQueries : c.keys; }

struct Inputs {
  Input query, key, value, mask, score_bias, past_key, past_value;
  std::vector<float> bias;
};

Inputs inputs_of(const Case& c) {
  const int64_t keys = keys_of(c), width = kHeads * kFeatures, value_width = kHeads * c.value_features;
  Inputs in;
  in.query = random_input({kBatch, kQueries, width}, 1);
  in.key = random_input({kBatch, keys, width}, 2);
  in.value = random_input({kBatch, keys, value_width}, 3);
  if (c.form == Form::kHeads) {
    in.key = random_input({kBatch, kHeads, keys, kFeatures}, 2);
    in.value = random_input({kBatch, kHeads, keys, c.value_features}, 3);
  }
  if (c.form == Form::kPackedAll) in.query = random_input({kBatch, kQueries, kHeads, 3, kFeatures}, 1);
  if (c.form == Form::kPackedKv) in.key = random_input({kBatch, keys, kHeads, 2, kFeatures}, 2);
  in.mask = integer_input(c.mask_dims, c.mask);
  if (!c.score_bias_dims.empty()) in.score_bias = random_input(c.score_bias_dims, 4);
  if (c.past >= 0) in.past_key = random_input({kBatch, kHeads, c.past, kFeatures}, 5);
  if (c.past >= 0) in.past_value = random_input({kBatch, kHeads, c.past, c.value_features}, 6);
  if (c.has_bias) in.bias = random_floats(static_cast<size_t>(2 * width + value_width), 7);
  return in;
}

bool has_key(const Case& c) { return c.form != Form::kPackedAll; }
bool has_value(const Case& c) { return c.form == Form::kApart || c.form == Form::kHeads; }

OnnxModel model_of(const Case& c, const Inputs& in) {
  ContribModel model("MultiHeadAttention", c.attributes);
  model.input("query", in.query);
  has_key(c) ? model.input("key", in.key) : model.no_input();
  has_value(c) ? model.input("value", in.value) : model.no_input();
  c.has_bias ? model.weight("bias", {static_cast<int64_t>(in.bias.size())}, in.bias) : model.no_input();
  c.mask_dims.empty() ? model.no_input() : model.input("mask", in.mask, "int32");
  c.score_bias_dims.empty() ? model.no_input() : model.input("score_bias", in.score_bias);
  c.past < 0 ? model.no_input() : model.input("past_key", in.past_key);
  c.past < 0 ? model.no_input() : model.input("past_value", in.past_value);
  return model.load(c.shows_present ? 3 : 1, c.opset, c.knows_ranks);
}

// Value i of batch x heads x positions x features, from whichever form; and what the bias adds to it.
struct Reference {
  const Case& c;
  const Inputs& in;

  static double at(const std::vector<float>& values, int64_t i) {
    return static_cast<double>(values[static_cast<size_t>(i)]);
  }
  double bias(int64_t begin, int64_t place) const { return c.has_bias ? at(in.bias, begin + place) : 0; }
  double q(int64_t n, int64_t h, int64_t s, int64_t i) const {
    const double offset = bias(0, h * kFeatures + i);
    if (c.form == Form::kPackedAll)
      return at(in.query.values, (((n * kQueries + s) * kHeads + h) * 3 + 0) * kFeatures + i) + offset;
    return at(in.query.values, ((n * kQueries + s) * kHeads + h) * kFeatures + i) + offset;
  }
  // Of keys (part 1) or values (part 2).
  double own(int64_t part, int64_t n, int64_t h, int64_t t, int64_t i) const {
    const int64_t features = part == 1 ? kFeatures : c.value_features;
    const int64_t keys = keys_of(c), row = (n * keys + t) * kHeads + h;
    const std::vector<float>& apart = part == 1 ? in.key.values : in.value.values;
    const double offset = bias(part * kHeads * kFeatures, h * features + i);
    switch (c.form) {
      case Form::kHeads:
        return at(apart, ((n * kHeads + h) * keys + t) * features + i);
      case Form::kPackedAll:
        return at(in.query.values, (row * 3 + part) * kFeatures + i) + offset;
      case Form::kPackedKv:
        return at(in.key.values, (row * 2 + part - 1) * kFeatures + i);
      default:
        return at(apart, row * features + i) + offset;
    }
  }
  double kept(int64_t part, int64_t n, int64_t h, int64_t t, int64_t i) const {
    const int64_t before = std::max<int64_t>(c.past, 0), features = part == 1 ? kFeatures : c.value_features;
    if (t >= before) return own(part, n, h, t - before, i);
    return at((part == 1 ? in.past_key : in.past_value).values, ((n * kHeads + h) * before + t) * features + i);
  }
  int64_t total() const { return std::max<int64_t>(c.past, 0) + keys_of(c); }

  bool counts(int64_t n, int64_t s, int64_t t) const {
    if (c.mask_dims.empty()) return true;
    if (c.mask_dims.size() == 1) return t < c.mask[static_cast<size_t>(n)];
    const int64_t row = c.mask_dims.size() == 3 ? n * kQueries + s : n;
    return c.mask[static_cast<size_t>(row * total() + t)] > 0;
  }
  double score(int64_t n, int64_t h, int64_t s, int64_t t) const {
    double sum = 0;
    for (int64_t i = 0; i < kFeatures; ++i) sum += q(n, h, s, i) * kept(1, n, h, t, i);
    sum *= c.scale != 0 ? c.scale : 1 / std::sqrt(static_cast<double>(kFeatures));
    if (!counts(n, s, t)) sum += c.filter;
    if (!c.score_bias_dims.empty()) {
      const int64_t row = c.score_bias_dims[0] == 1 ? 0 : n, column = c.score_bias_dims[1] == 1 ? 0 : h;
      sum += at(in.score_bias.values, ((row * c.score_bias_dims[1] + column) * kQueries + s) * total() + t);
    }
    return sum;
  }
  std::vector<float> outputs() const {
    std::vector<float> all;
    for (int64_t n = 0; n < kBatch; ++n) {
      for (int64_t s = 0; s < kQueries; ++s) {
        for (int64_t h = 0; h < kHeads; ++h) mix(n, s, h, all);
      }
    }
    for (int64_t part = 1; part <= 2 && c.shows_present; ++part) {
      const int64_t features = part == 1 ? kFeatures : c.value_features;
      for (int64_t i = 0; i < kBatch * kHeads * total() * features; ++i) {
        const int64_t t = i / features % total(), plane = i / features / total();
        all.push_back(static_cast<float>(kept(part, plane / kHeads, plane % kHeads, t, i % features)));
      }
    }
    return all;
  }
  void mix(int64_t n, int64_t s, int64_t h, std::vector<float>& all) const {
    std::vector<double> weights;
    double sum = 0;
    for (int64_t t = 0; t < total(); ++t) {
      const bool is_hidden = c.is_causal && t > total() - kQueries + s;
      weights.push_back(is_hidden ? 0 : std::exp(score(n, h, s, t)));
      sum += weights.back();
    }
    for (int64_t i = 0; i < c.value_features; ++i) {
      double mixed = 0;
      for (int64_t t = 0; t < total(); ++t) mixed += weights[static_cast<size_t>(t)] / sum * kept(2, n, h, t, i);
      all.push_back(static_cast<float>(mixed));
    }
  }
};

void expect_as_defined(const Case& c) {
  const Inputs in = inputs_of(c);
  const OnnxModel model = model_of(c, in);
  EXPECT_EQ(count_nodes(model, "MultiHeadAttention"), 0);
  EXPECT_TRUE(check(model).empty());
  std::vector<Input> given = {in.query};
  for (const Input* input : {&in.key, &in.value, &in.mask, &in.score_bias, &in.past_key, &in.past_value}) {
    const bool is_used = input == &in.key ? has_key(c) : input == &in.value ? has_value(c) : !input->dims.empty();
    if (is_used) given.push_back(*input);
  }
  expect_close(run(model, given), Reference{c, in}.outputs(), 1e-5f);
}

TEST(MultiHeadAttention, IsWhatItsDefinitionSays) {
  for (const bool has_bias : {false, true}) {
    expect_as_defined({.has_bias = has_bias});
    expect_as_defined({.has_bias = has_bias, .value_features = 5});
    expect_as_defined({.knows_ranks = false, .has_bias = has_bias});
    expect_as_defined({.form = Form::kHeads, .has_bias = has_bias});
    expect_as_defined({.form = Form::kPackedAll, .has_bias = has_bias});
  }
  expect_as_defined({.form = Form::kPackedKv});
  expect_as_defined({.attributes = "num_heads = 2, scale = 0.03125", .scale = 0.03125});
  for (const int opset : {11, 12, 13})
    expect_as_defined({.has_bias = true, .mask_dims = {2}, .mask = {2, 3}, .opset = opset});
}

TEST(MultiHeadAttention, MasksHideKeys) {
  const std::vector<int32_t> rows = {1, 2, -1, 1, 0, 7, 1, 0};  // above 0: counts
  const std::string filter = "num_heads = 2, mask_filter_value = -3.0";
  expect_as_defined({.mask_dims = {2, 4}, .mask = rows});
  expect_as_defined({.attributes = filter, .mask_dims = {2, 4}, .mask = rows, .filter = -3});
  expect_as_defined({.mask_dims = {2}, .mask = {2, 4}});
  // Behind the lengths stand starts of queries and keys, which packed forms want.
  expect_as_defined({.mask_dims = {8}, .mask = {1, 3, 0, 3, 6, 0, 1, 4}});
  expect_as_defined(
      {.mask_dims = {2, 3, 4}, .mask = {1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1}});
  for (const std::vector<int64_t>& dims : {std::vector<int64_t>{2, 2, 3, 4}, {1, 2, 3, 4}, {2, 1, 3, 4}, {1, 1, 3, 4}})
    expect_as_defined({.score_bias_dims = dims});
  expect_as_defined({.attributes = "num_heads = 2, unidirectional = 1", .form = Form::kPackedAll, .is_causal = true});
}

TEST(MultiHeadAttention, AGrowingPastComesBeforeTheKeys) {
  expect_as_defined({.shows_present = true});
  expect_as_defined({.form = Form::kHeads, .shows_present = true});
  expect_as_defined({.has_bias = true, .past = 2, .shows_present = true, .value_features = 5});
  expect_as_defined(
      {.mask_dims = {2, 6}, .mask = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, .score_bias_dims = {2, 2, 3, 6}, .past = 2});
  expect_as_defined({.attributes = "num_heads = 2, unidirectional = 1", .past = 2, .is_causal = true});
  expect_as_defined({.past = 0, .shows_present = true});
}

// A key whose axes the graph does not tell must not be split where it is split already, also where its values would
// fit: as many keys as heads.
TEST(MultiHeadAttention, KeysOfUnknownAxesAreNotTakenForHeads) {
  for (const int64_t keys : {kHeads, int64_t{4}}) {
    const Case c{.form = Form::kHeads, .knows_ranks = false, .keys = keys};
    const Inputs in = inputs_of(c);
    EXPECT_THROW(run(model_of(c, in), {in.query, in.key, in.value}), Error) << keys;
  }
}

// The type of the inputs is known from what they are made of.
TEST(MultiHeadAttention, ConstantsAreOfTheTypeOfTheInputs) {
  onnx::ModelProto proto = parse_text(R"(g (float16[2,3,4] x, int32[2,3] mask) => (float16[A,B,C] y) {
    q = MatMul (x, w)
    y = com.microsoft.MultiHeadAttention <num_heads = 2, mask_filter_value = -3.0e38> (q, q, q, no, mask)
  })");
  add_random(proto, "w", {4, 4}, 1, -1, 1, onnx::TensorProto::FLOAT16);
  proto.mutable_graph()->mutable_node(1)->mutable_input(3)->clear();
  const OnnxModel model = load_proto(proto);
  int casts = 0;
  for (const onnx::NodeProto& node : model.proto.graph().node()) {
    if (node.op_type() != "Cast") continue;
    ++casts;
    EXPECT_EQ(node.attribute(0).i(), onnx::TensorProto::FLOAT16);
  }
  EXPECT_GE(casts, 4);
  EXPECT_TRUE(check(model).empty());
}

TEST(MultiHeadAttention, WhatHasNoFormInOnnxStaysAndSaysWhy) {
  const auto reason_of = [](const std::string& attributes, const std::vector<std::string>& inputs, int outputs = 1) {
    ContribModel model("MultiHeadAttention", attributes);
    for (const std::string& input : inputs) {
      const int64_t rank = input == "key4" || input == "past_key" || input == "past_value" ? 4 : 3;
      input.empty() ? model.no_input()
                    : model.input(input, random_input(std::vector<int64_t>(static_cast<size_t>(rank), 2)));
    }
    const OnnxModel loaded = model.load(outputs, 17, true);
    EXPECT_EQ(count_nodes(loaded, "MultiHeadAttention"), 1);
    const std::vector<std::string> lines = check(loaded);
    return lines.empty() ? "" : lines[0];
  };
  const std::string node = "test.onnx: node 'the node' (MultiHeadAttention): ";
  const std::vector<std::string> all = {"query", "key", "value"};
  const auto with = [&](std::vector<std::string> more, size_t place) {
    std::vector<std::string> inputs = all;
    inputs.resize(place);
    inputs.insert(inputs.end(), more.begin(), more.end());
    return inputs;
  };
  const std::string two = "num_heads = 2";
  EXPECT_EQ(reason_of("scale = 1.0", all), node + "attribute num_heads is missing");
  EXPECT_EQ(reason_of(two, {"query"}), node + "input query has not as many axes as its form wants");
  EXPECT_EQ(reason_of(two, {"query", "key"}), node + "input key has not as many axes as its form wants");
  EXPECT_EQ(reason_of(two, {"query", "key4", "value"}), node + "input value has not as many axes as its form wants");
  EXPECT_EQ(reason_of(two, {"query", "", "value"}), node + "input key is missing");
  EXPECT_EQ(reason_of(two, with({"past_key"}, 6)), node + "one of past_key and past_value is missing");
  EXPECT_EQ(reason_of(two, with({"length"}, 8)),
            node + "input past_sequence_length, a past in the buffer of the present, is not supported");
  EXPECT_EQ(reason_of(two, with({"beams"}, 9)), node + "input cache_indirection is not supported");
  EXPECT_EQ(reason_of(two, all, 4), node + "output qk is not supported");
}

}  // namespace
}  // namespace quench
