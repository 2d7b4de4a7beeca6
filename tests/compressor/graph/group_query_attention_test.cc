// com.microsoft's GroupQueryAttention, which is expressed in ONNX's operators on loading, against its definition.
#include "compressor/graph/learned.h"
#include "tests/compressor/graph/contrib_model.h"

namespace quench {
namespace {

using namespace testing;

constexpr int64_t kBatch = 2, kFeatures = 6, kTableRows = 16;

struct Case {
  int64_t heads = 4, key_heads = 2;
  int64_t queries = 3;
  int64_t past = -1;            // positions of its buffer; -1: no such input
  std::vector<int32_t> ends;    // of the samples, past and new: seqlens_k is one less
  int64_t total = 3;            // total_sequence_length
  bool total_is_known = false;  // it is a shape
  bool is_packed = false;
  int64_t pairs = 0;  // that are turned; 0: none
  bool interleaved = false;
  std::vector<int64_t> ids_dims = {};  // of position_ids; none: not given
  std::vector<int64_t> ids = {};
  std::vector<int64_t> score_bias_dims = {};
  bool has_sink = false, is_smooth = false;
  int64_t window = 0;
  double scale = 0, softcap = 0;
  bool knows_ranks = true;
  int opset = 17;
};

struct Inputs {
  Input query, key, value, past_key, past_value, lengths, total, ids, score_bias;
  std::vector<float> cosines, sines, sink;
};

Inputs inputs_of(const Case& c) {
  Inputs in;
  const int64_t width = c.is_packed ? c.heads + 2 * c.key_heads : c.heads;
  in.query = random_input({kBatch, c.queries, width * kFeatures}, 1);
  in.key = random_input({kBatch, c.queries, c.key_heads * kFeatures}, 2);
  in.value = random_input({kBatch, c.queries, c.key_heads * kFeatures}, 3);
  if (c.past >= 0) in.past_key = random_input({kBatch, c.key_heads, c.past, kFeatures}, 4);
  if (c.past >= 0) in.past_value = random_input({kBatch, c.key_heads, c.past, kFeatures}, 5);
  std::vector<int32_t> lengths = c.ends;
  for (int32_t& length : lengths) --length;
  in.lengths = integer_input({kBatch}, lengths);
  in.total = integer_input({1}, {static_cast<int32_t>(c.total)});
  in.ids.dims = c.ids_dims;
  for (const int64_t id : c.ids) {
    in.ids.values.push_back(std::bit_cast<float>(static_cast<int32_t>(id)));
    in.ids.values.push_back(0);
  }
  if (!c.score_bias_dims.empty()) in.score_bias = random_input(c.score_bias_dims, 6);
  in.cosines = random_floats(static_cast<size_t>(kTableRows * c.pairs), 7);
  in.sines = random_floats(static_cast<size_t>(kTableRows * c.pairs), 8);
  if (c.has_sink) in.sink = random_floats(static_cast<size_t>(c.heads), 9, -2, 2);
  return in;
}

std::string attributes_of(const Case& c) {
  std::string text = fmt::format("num_heads = {}, kv_num_heads = {}", c.heads, c.key_heads);
  if (c.pairs > 0) text += ", do_rotary = 1";
  if (c.interleaved) text += ", rotary_interleaved = 1";
  if (c.is_smooth) text += ", smooth_softmax = 1";
  if (c.window > 0) text += fmt::format(", local_window_size = {}", c.window);
  if (c.scale != 0) text += fmt::format(", scale = {:.6f}", c.scale);
  if (c.softcap != 0) text += fmt::format(", softcap = {:.6f}", c.softcap);
  return text;
}

OnnxModel model_of(const Case& c, const Inputs& in) {
  ContribModel model("GroupQueryAttention", attributes_of(c));
  model.input("query", in.query);
  c.is_packed ? model.no_input() : model.input("key", in.key);
  c.is_packed ? model.no_input() : model.input("value", in.value);
  c.past < 0 ? model.no_input() : model.input("past_key", in.past_key);
  c.past < 0 ? model.no_input() : model.input("past_value", in.past_value);
  model.input("lengths", in.lengths, "int32");
  c.total_is_known ? model.size_of_input("total", c.total) : model.input("total", in.total, "int32");
  c.pairs == 0 ? model.no_input() : model.weight("cosines", {kTableRows, c.pairs}, in.cosines);
  c.pairs == 0 ? model.no_input() : model.weight("sines", {kTableRows, c.pairs}, in.sines);
  c.ids_dims.empty() ? model.no_input() : model.input("ids", in.ids, "int64");
  c.score_bias_dims.empty() ? model.no_input() : model.input("score_bias", in.score_bias);
  c.has_sink ? model.weight("sink", {c.heads}, in.sink) : model.no_input();
  return model.load(3, c.opset, c.knows_ranks);
}

struct Reference {
  const Case& c;
  const Inputs& in;

  static double at(const std::vector<float>& values, int64_t i) {
    return static_cast<double>(values[static_cast<size_t>(i)]);
  }
  bool is_prompt() const { return c.past < 0 || c.total == c.queries; }
  int64_t end(int64_t n) const { return c.ends[static_cast<size_t>(n)]; }
  int64_t past(int64_t n) const { return is_prompt() ? 0 : end(n) - c.queries; }
  int64_t position(int64_t n, int64_t s) const {
    if (c.ids.empty()) return past(n) + s;
    return is_prompt() ? c.ids[0] + s : c.ids[static_cast<size_t>(n * c.queries + s)];
  }
  // Of queries (0), keys (1) and values (2), as they are given.
  double given(int part, int64_t n, int64_t h, int64_t s, int64_t i) const {
    const int64_t row = n * c.queries + s;
    if (c.is_packed) {
      const int64_t head = part == 0 ? h : part == 1 ? c.heads + h : c.heads + c.key_heads + h;
      return at(in.query.values, (row * (c.heads + 2 * c.key_heads) + head) * kFeatures + i);
    }
    if (part == 0) return at(in.query.values, (row * c.heads + h) * kFeatures + i);
    return at((part == 1 ? in.key : in.value).values, (row * c.key_heads + h) * kFeatures + i);
  }
  double turned(int part, int64_t n, int64_t h, int64_t s, int64_t i) const {
    const double own = given(part, n, h, s, i);
    if (part == 2 || i >= 2 * c.pairs) return own;
    const int64_t pair = c.interleaved ? i / 2 : i % c.pairs;
    const bool is_first = c.interleaved ? i % 2 == 0 : i < c.pairs;
    const int64_t other = c.interleaved ? (is_first ? i + 1 : i - 1) : (is_first ? i + c.pairs : i - c.pairs);
    const int64_t row = position(n, s) * c.pairs + pair;
    const double cosine = at(in.cosines, row), sine = at(in.sines, row), mate = given(part, n, h, s, other);
    return is_first ? own * cosine - mate * sine : own * cosine + mate * sine;
  }
  int64_t present() const {
    if (c.past < 0) return c.queries;
    return c.total_is_known ? std::max(c.past, c.total) : c.past + c.queries;
  }
  double kept(int part, int64_t n, int64_t h, int64_t t, int64_t i) const {
    const int64_t before = past(n);
    if (t < before)
      return at((part == 1 ? in.past_key : in.past_value).values, ((n * c.key_heads + h) * c.past + t) * kFeatures + i);
    return t < before + c.queries ? turned(part, n, h, t - before, i) : 0;
  }
  double score(int64_t n, int64_t h, int64_t s, int64_t t) const {
    const int64_t key_head = h / (c.heads / c.key_heads);
    double sum = 0;
    for (int64_t i = 0; i < kFeatures; ++i) sum += turned(0, n, h, s, i) * kept(1, n, key_head, t, i);
    sum *= c.scale != 0 ? c.scale : 1 / std::sqrt(static_cast<double>(kFeatures));
    if (c.softcap != 0) sum = std::tanh(sum / c.softcap) * c.softcap;
    if (c.score_bias_dims.empty()) return sum;
    const int64_t row = c.score_bias_dims[0] == 1 ? 0 : n, column = c.score_bias_dims[1] == 1 ? 0 : h;
    return sum +
           at(in.score_bias.values, ((row * c.score_bias_dims[1] + column) * c.queries + s) * c.score_bias_dims[3] + t);
  }
  void mix(int64_t n, int64_t s, int64_t h, std::vector<float>& all) const {
    const int64_t last = std::min(past(n) + s + 1, end(n));
    const int64_t first = c.window > 0 ? std::max<int64_t>(last - c.window, 0) : 0;
    double sum = c.has_sink ? std::exp(at(in.sink, h)) : c.is_smooth ? 1 : 0;
    for (int64_t t = first; t < last; ++t) sum += std::exp(score(n, h, s, t));
    for (int64_t i = 0; i < kFeatures; ++i) {
      double mixed = 0;
      for (int64_t t = first; t < last; ++t)
        mixed += std::exp(score(n, h, s, t)) / sum * kept(2, n, h / (c.heads / c.key_heads), t, i);
      all.push_back(static_cast<float>(mixed));
    }
  }
  std::vector<float> outputs() const {
    std::vector<float> all;
    for (int64_t n = 0; n < kBatch; ++n) {
      for (int64_t s = 0; s < c.queries; ++s) {
        for (int64_t h = 0; h < c.heads; ++h) mix(n, s, h, all);
      }
    }
    for (int part = 1; part <= 2; ++part) {
      for (int64_t i = 0; i < kBatch * c.key_heads * present() * kFeatures; ++i) {
        const int64_t t = i / kFeatures % present(), plane = i / kFeatures / present();
        all.push_back(static_cast<float>(kept(part, plane / c.key_heads, plane % c.key_heads, t, i % kFeatures)));
      }
    }
    return all;
  }
};

void expect_as_defined(const Case& c) {
  SCOPED_TRACE(attributes_of(c) + fmt::format(", past {}, total {}", c.past, c.total));
  const Inputs in = inputs_of(c);
  const OnnxModel model = model_of(c, in);
  EXPECT_EQ(count_nodes(model, "GroupQueryAttention"), 0);
  EXPECT_TRUE(check(model).empty());
  std::vector<Input> given = {in.query};
  if (!c.is_packed) given.insert(given.end(), {in.key, in.value});
  if (c.past >= 0) given.insert(given.end(), {in.past_key, in.past_value});
  given.push_back(in.lengths);
  given.push_back(c.total_is_known ? random_input({c.total}) : in.total);
  if (!c.ids_dims.empty()) given.push_back(in.ids);
  if (!c.score_bias_dims.empty()) given.push_back(in.score_bias);
  expect_close(run(model, given), Reference{c, in}.outputs(), 1e-5f);
}

// A prompt of two samples, of which the second has one position of padding; what follows it; a buffer for all.
Case prompt() { return {.queries = 3, .ends = {3, 2}, .total = 3}; }
Case next() { return {.queries = 1, .past = 4, .ends = {5, 3}, .total = 5}; }
Case next_in_buffer() { return {.queries = 1, .past = 7, .ends = {5, 3}, .total = 5, .total_is_known = true}; }
Case prompt_in_buffer() { return {.queries = 3, .past = 7, .ends = {3, 2}, .total = 3, .total_is_known = true}; }
Case more() { return {.queries = 3, .past = 2, .ends = {5, 5}, .total = 5}; }

const std::vector<Case> kSteps = {prompt(), next(), next_in_buffer(), prompt_in_buffer(), more()};

template <typename Change>
void expect_steps_as_defined(const Change& change) {
  for (Case c : kSteps) {
    change(c);
    expect_as_defined(c);
  }
}

TEST(GroupQueryAttention, SharesKeys) {
  for (const int64_t key_heads : {1, 2, 4}) expect_steps_as_defined([&](Case& c) { c.key_heads = key_heads; });
  expect_steps_as_defined([](Case& c) { c.is_packed = true; });
  expect_steps_as_defined([](Case& c) { c.knows_ranks = false; });
  for (const int opset : {11, 12, 13}) expect_steps_as_defined([&](Case& c) { c.opset = opset; });
}

TEST(GroupQueryAttention, TurnsQueriesAndKeys) {
  for (const int64_t pairs : {2, 3}) {
    for (const bool interleaved : {false, true}) {
      for (const bool is_packed : {false, true}) {
        expect_steps_as_defined([&](Case& c) {
          c.pairs = pairs;
          c.interleaved = interleaved;
          c.is_packed = is_packed;
        });
      }
    }
  }
}

// They must stay exact.
TEST(GroupQueryAttention, AnglesAreNotLearned) {
  Case c = prompt();
  c.pairs = 3;
  const OnnxModel model = model_of(c, inputs_of(c));
  const std::vector<bool> learned = graph::learned_weights(model);
  int tables = 0;
  for (size_t i = 0; i < model.weights.size(); ++i) {
    if (model.weights[i].name != "cosines" && model.weights[i].name != "sines") continue;
    ++tables;
    EXPECT_FALSE(learned[i]);
  }
  EXPECT_EQ(tables, 2);
}

TEST(GroupQueryAttention, TakesPositionsThatAreGiven) {
  Case c = prompt();
  c.pairs = 3;
  c.ids_dims = {1, 1};
  c.ids = {4};
  expect_as_defined(c);
  c.past = 7;
  c.total_is_known = true;
  c.ids_dims = {2, 3};
  c.ids = {5, 1, 1, 1, 1, 1};  // all but the first are nothing to a prompt
  expect_as_defined(c);
  c = next();
  c.pairs = 3;
  c.ids_dims = {2, 1};
  c.ids = {9, 2};
  expect_as_defined(c);
}

TEST(GroupQueryAttention, SeesAWindow) {
  for (const int64_t window : {1, 2, 9}) expect_steps_as_defined([&](Case& c) { c.window = window; });
}

TEST(GroupQueryAttention, ScoresAreScaledCappedAndBiased) {
  expect_steps_as_defined([](Case& c) { c.scale = 0.75; });
  expect_steps_as_defined([](Case& c) { c.softcap = 0.25; });
  for (const std::vector<int64_t>& parts : {std::vector<int64_t>{2, 4}, {1, 4}, {2, 1}, {1, 1}}) {
    expect_steps_as_defined([&](Case& c) {
      c.softcap = 0.5;
      c.score_bias_dims = {parts[0], parts[1], c.queries, c.total};
    });
  }
}

TEST(GroupQueryAttention, SinksTakeTheirShare) {
  expect_steps_as_defined([](Case& c) { c.has_sink = true; });
  expect_steps_as_defined([](Case& c) { c.is_smooth = true; });
}

TEST(GroupQueryAttention, WhatHasNoFormInOnnxStaysAndSaysWhy) {
  const auto reason_of = [](const std::string& attributes, const std::vector<std::string>& inputs, int outputs = 1) {
    ContribModel model("GroupQueryAttention", attributes);
    for (const std::string& input : inputs) {
      if (input.empty()) {
        model.no_input();
      } else if (input == "seqlens_k" || input == "total") {
        model.input(input, integer_input({2}, {1, 1}), "int32");
      } else {
        model.input(input, random_input({2, 2, 8}));
      }
    }
    const OnnxModel loaded = model.load(outputs, 17, true);
    EXPECT_EQ(count_nodes(loaded, "GroupQueryAttention"), 1);
    const std::vector<std::string> lines = check(loaded);
    return lines.empty() ? "" : lines[0];
  };
  const std::string node = "test.onnx: node 'the node' (GroupQueryAttention): ",
                    two = "num_heads = 2, kv_num_heads = 2";
  const std::vector<std::string> all = {"query", "key", "value", "", "", "seqlens_k", "total"};
  const auto with = [&](const std::string& name, size_t place) {
    std::vector<std::string> inputs = all;
    inputs.resize(std::max(place + 1, all.size()));
    inputs[place] = name;
    return inputs;
  };
  EXPECT_EQ(reason_of("num_heads = 3, kv_num_heads = 2", all),
            node + "attribute num_heads is no multiple of kv_num_heads");
  EXPECT_EQ(reason_of(two, with("", 2)), node + "input value is missing");
  EXPECT_EQ(reason_of(two, with("past", 3)), node + "input past_value is missing");
  EXPECT_EQ(reason_of(two, with("", 5)), node + "input seqlens_k is missing");
  EXPECT_EQ(reason_of(two + ", do_rotary = 1", all), node + "input cos_cache is missing");
  const std::vector<std::string> names = {"k_scale", "v_scale", "q_norm_weight", "k_norm_weight"};
  for (size_t i = 0; i < names.size(); ++i)
    EXPECT_EQ(reason_of(two, with(names[i], 12 + i)), node + "input " + names[i] + " is not supported");
  EXPECT_EQ(reason_of(two, all, 4), node + "output output_qk is not supported");
  EXPECT_EQ(reason_of(two + ", k_quant_type = \"PER_TENSOR\"", all), node + "attribute k_quant_type is not supported");
  EXPECT_EQ(reason_of(two + ", causal = 0", all), node + "attention that is not causal is not supported");
  EXPECT_EQ(reason_of(two + ", is_past_bsnh = 1", all), node + "attribute is_past_bsnh is not supported");
  EXPECT_EQ(reason_of(two + ", sliding_window_cache = 1", all),
            node + "attribute sliding_window_cache is not supported");
}

}  // namespace
}  // namespace quench
