// com.microsoft's Attention, which is expressed in ONNX's operators on loading, against its definition.
#include <bit>
#include <limits>

#include "tests/compressor/graph/run_model.h"

namespace quench {
namespace {

using namespace testing;

struct Case {
  std::string attributes = "num_heads = 2";
  std::vector<int64_t> sizes = {6, 6, 6};  // features of queries, keys and values, all heads together
  std::vector<int64_t> mask_dims = {};     // none: no mask
  std::vector<int32_t> mask = {};
  int64_t past = -1;  // positions; -1: no such input
  bool has_score_bias = false;
  bool is_causal = false;
  int opset = 17;
  double scale = 0, filter = -10000;
  bool is_half = false;  // float16 inside
};

constexpr int64_t kBatch = 2, kPositions = 3, kInputs = 5, kHeads = 2;

// Inputs called "no" are left out, and the operators' domain is imported.
onnx::ModelProto finished(onnx::ModelProto proto) {
  for (onnx::NodeProto& node : *proto.mutable_graph()->mutable_node()) {
    for (std::string& input : *node.mutable_input()) {
      if (input == "no") input.clear();
    }
  }
  onnx::OperatorSetIdProto& import = *proto.add_opset_import();
  import.set_domain("com.microsoft");
  import.set_version(1);
  return proto;
}

OnnxModel model_of(const Case& c) {
  const int64_t width = c.sizes[0] + c.sizes[1] + c.sizes[2];
  std::string inputs = "float[2,3,5] x", call = "x, w, b", made = "y";
  std::string outputs = "float[A,B,C] y";
  if (!c.mask_dims.empty()) inputs += c.mask_dims.size() == 2 ? ", int32[P,Q] mask" : ", int32[P,Q,R] mask";
  call += c.mask_dims.empty() ? ", no" : ", mask";
  if (c.past >= 0) {
    inputs += ", float[2,2,2,P,3] past";
    outputs += ", float[E,F,G,H,I] present";
    made += ", present";
  }
  call += c.past >= 0 ? ", past" : ", no";
  if (c.has_score_bias) {
    inputs += ", float[S,T,U,V] score_bias";
    call += ", score_bias";
  }
  if (c.is_half) call.replace(0, 1, "h");
  if (c.is_half) made.replace(0, 1, "z");
  onnx::ModelProto proto =
      parse_text("g (" + inputs + ") => (" + outputs + ") { " + (c.is_half ? "h = Cast <to = 10> (x)\n" : "") + made +
                     " = com.microsoft.Attention <" + c.attributes + "> (" + call + ")" +
                     (c.is_half ? "\n y = Cast <to = 1> (z)" : "") + " }",
                 c.opset);
  const int32_t type = c.is_half ? onnx::TensorProto::FLOAT16 : onnx::TensorProto::FLOAT;
  add_random(proto, "w", {kInputs, width}, 3, -1, 1, type);
  add_random(proto, "b", {width}, 4, -1, 1, type);
  return load_proto(finished(proto));
}

// y, then present.
std::vector<float> by_definition(const Case& c, const std::vector<float>& x, const std::vector<float>& past,
                                 const std::vector<float>& score_bias) {
  const int64_t width = c.sizes[0] + c.sizes[1] + c.sizes[2], before = std::max<int64_t>(c.past, 0);
  const int64_t total = before + kPositions, d = c.sizes[0] / kHeads, dv = c.sizes[2] / kHeads;
  const std::vector<float> w = random_floats(static_cast<size_t>(kInputs * width), 3);
  const std::vector<float> b = random_floats(static_cast<size_t>(width), 4);
  const auto at = [](const std::vector<float>& v, int64_t i) { return static_cast<double>(v[static_cast<size_t>(i)]); };
  const auto projected = [&](int64_t n, int64_t s, int64_t feature) {
    double sum = at(b, feature);
    for (int64_t i = 0; i < kInputs; ++i) sum += at(x, (n * kPositions + s) * kInputs + i) * at(w, i * width + feature);
    return sum;
  };
  // Of keys (0) or values (1), with the past before them: past is 2 x batch x heads x positions x features.
  const auto kept = [&](int64_t which, int64_t n, int64_t h, int64_t t, int64_t i) {
    const int64_t features = which == 0 ? d : dv;
    if (t < before) return at(past, ((((which * kBatch) + n) * kHeads + h) * before + t) * features + i);
    return projected(n, t - before, c.sizes[0] + which * c.sizes[1] + h * features + i);
  };
  std::vector<float> y;
  for (int64_t n = 0; n < kBatch; ++n) {
    for (int64_t s = 0; s < kPositions; ++s) {
      for (int64_t h = 0; h < kHeads; ++h) {
        std::vector<double> scores;
        double sum = 0;
        for (int64_t t = 0; t < total; ++t) {
          double score = 0;
          for (int64_t i = 0; i < d; ++i) score += projected(n, s, h * d + i) * kept(0, n, h, t, i);
          score *= c.scale != 0 ? c.scale : 1 / std::sqrt(static_cast<double>(d));
          const int64_t row = c.mask_dims.size() == 3 ? n * kPositions + s : n;
          if (!c.mask_dims.empty() && c.mask[static_cast<size_t>(row * total + t)] <= 0) score += c.filter;
          if (c.has_score_bias) score += at(score_bias, (h * kPositions + s) * total + t);
          scores.push_back(c.is_causal && t > before + s ? 0 : std::exp(score));
          sum += scores.back();
        }
        for (int64_t i = 0; i < dv; ++i) {
          double mixed = 0;
          for (int64_t t = 0; t < total; ++t) mixed += scores[static_cast<size_t>(t)] / sum * kept(1, n, h, t, i);
          y.push_back(static_cast<float>(mixed));
        }
      }
    }
  }
  for (int64_t which = 0; which < 2 && c.past >= 0; ++which) {
    for (int64_t place = 0; place < kBatch * kHeads * total * d; ++place) {
      const int64_t i = place % d, t = place / d % total, h = place / d / total % kHeads,
                    n = place / d / total / kHeads;
      y.push_back(static_cast<float>(kept(which, n, h, t, i)));
    }
  }
  return y;
}

void expect_as_defined(const Case& c) {
  const OnnxModel model = model_of(c);
  EXPECT_EQ(count_nodes(model, "Attention"), 0);
  EXPECT_EQ(count_nodes(model, "MatMul"), 3);
  EXPECT_TRUE(check(model).empty());
  const Input x = random_input({kBatch, kPositions, kInputs}, 5);
  std::vector<Input> inputs = {x};
  if (!c.mask_dims.empty()) {
    Input mask{c.mask_dims, {}};
    for (const int32_t value : c.mask) mask.values.push_back(std::bit_cast<float>(value));
    inputs.push_back(mask);
  }
  Input past, bias;
  if (c.past >= 0) inputs.push_back(past = random_input({2, kBatch, kHeads, c.past, 3}, 6));
  const int64_t total = std::max<int64_t>(c.past, 0) + kPositions;
  if (c.has_score_bias) inputs.push_back(bias = random_input({1, kHeads, kPositions, total}, 8));
  expect_close(run(model, inputs), by_definition(c, x.values, past.values, bias.values), c.is_half ? 1e-2f : 1e-5f);
}

TEST(ContribAttention, IsWhatItsDefinitionSays) {
  expect_as_defined({});
  expect_as_defined({.attributes = "num_heads = 2, qkv_hidden_sizes = [6, 6, 8]", .sizes = {6, 6, 8}});
  expect_as_defined({.attributes = "num_heads = 2, scale = 0.03125", .scale = 0.03125});
  for (const int opset : {11, 12, 13}) expect_as_defined({.opset = opset});
}

TEST(ContribAttention, MasksHideKeys) {
  const std::vector<int32_t> mask = {1, 2, -1, 1, 0, 7};  // above 0: counts
  const std::string filter = ", mask_filter_value = -3.0";
  expect_as_defined({.mask_dims = {2, 3}, .mask = mask});
  expect_as_defined({.attributes = "num_heads = 2" + filter, .mask_dims = {2, 3}, .mask = mask, .filter = -3});
  expect_as_defined({.mask_dims = {2, 3, 3}, .mask = {1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0}});
  expect_as_defined({.attributes = "num_heads = 2, unidirectional = 1", .has_score_bias = true, .is_causal = true});
  // In float16 the lowest number of float32 is none.
  expect_as_defined({.attributes = "num_heads = 2, mask_filter_value = -3.4e38",
                     .mask_dims = {2, 3},
                     .mask = mask,
                     .filter = -3.4e38,
                     .is_half = true});
}

TEST(ContribAttention, AGrowingPastComesBeforeTheKeys) {
  const Case c{.attributes = "num_heads = 2, unidirectional = 1", .sizes = {6, 6, 6}, .past = 4, .is_causal = true};
  expect_as_defined(c);
  expect_as_defined({.attributes = "num_heads = 2",
                     .sizes = {6, 6, 6},
                     .mask_dims = {2, 5},
                     .mask = {0, 1, 1, 1, 1, 1, 1, 1, 1, 0},
                     .past = 2,
                     .has_score_bias = true});
}

// How many keys count, as EmbedLayerNormalization makes it of a mask.
TEST(ContribAttention, LengthsOfAnEmbeddingHideTheRest) {
  onnx::ModelProto proto = parse_text(R"(g (int32[2,3] ids, int32[2,3] mask) => (float[A,B,C] y) {
    x, lengths = com.microsoft.EmbedLayerNormalization (ids, no, words, places, no, gamma, beta, mask)
    y = com.microsoft.Attention <num_heads = 2> (x, w, b, lengths)
  })");
  add_random(proto, "words", {7, 4}, 1);
  add_random(proto, "places", {3, 4}, 2);
  add_random(proto, "gamma", {4}, 3);
  add_random(proto, "beta", {4}, 4);
  add_random(proto, "w", {4, 12}, 5);
  add_random(proto, "b", {12}, 6);
  const OnnxModel model = load_proto(finished(proto));
  EXPECT_EQ(count_nodes(model, "Attention"), 0);
  const auto run_with = [&](int32_t hidden_word, int32_t counts) {
    Input ids{{2, 3}, {}}, mask{{2, 3}, {}};
    for (const int32_t id : {1, 2, hidden_word, 3, 4, 5}) ids.values.push_back(std::bit_cast<float>(id));
    for (const int32_t one : {1, 1, counts, 1, 1, 1}) mask.values.push_back(std::bit_cast<float>(one));
    const std::vector<float> y = run(model, {ids, mask});
    return std::vector<float>(y.begin(), y.begin() + 8);  // of the words that count
  };
  EXPECT_EQ(run_with(3, 0), run_with(6, 0));
  EXPECT_NE(run_with(3, 1), run_with(6, 1));
}

// As in decoders with and without a past in one file. A branch's weights are its own or those of the graph around it, and
// two branches may call different values alike.
TEST(ContribAttention, InABranchItIsReplacedToo) {
  const auto model_with = [](const std::string& attributes) {
    onnx::ModelProto proto = parse_text(R"(g (float[2,3,5] x, bool[] other) => (float[A,B,C] y) {
      y = If (other) <
        then_branch = t () => (float[D,E,F] v) { u = Neg (b)  v = com.microsoft.Attention <num_heads = 2> (x, w, b) },
        else_branch = e () => (float[G,H,I] v) { u = Neg (x)  v = com.microsoft.Attention <)" +
                                        attributes +
                                        R"(> (u, w, own) }
      >
    })");
    add_random(proto, "w", {kInputs, 18}, 3);
    add_random(proto, "b", {18}, 4);
    onnx::GraphProto& branch = *proto.mutable_graph()->mutable_node(0)->mutable_attribute(1)->mutable_g();
    *branch.add_initializer() = proto.graph().initializer(1);
    branch.mutable_initializer(0)->set_name("own");
    return load_proto(finished(proto));
  };
  const OnnxModel model = model_with("num_heads = 2");
  EXPECT_TRUE(check(model).empty());
  const Input x = random_input({kBatch, kPositions, kInputs}, 5);
  Input negative = x;
  for (float& value : negative.values) value = -value;
  const auto run_branch = [&](bool first) {
    return run(model, {x, Input{{}, {std::bit_cast<float>(int32_t{first})}}});
  };
  expect_close(run_branch(true), by_definition({}, x.values, {}, {}), 1e-5f);
  expect_close(run_branch(false), by_definition({}, negative.values, {}, {}), 1e-5f);
  const std::vector<std::string> warnings = check(model_with("num_heads = 4"));
  ASSERT_FALSE(warnings.empty());
  EXPECT_NE(warnings[0].find("Attention"), std::string::npos) << warnings[0];
}

TEST(ContribAttention, WhatHasNoFormInOnnxStays) {
  EXPECT_EQ(count_nodes(model_of({.attributes = "num_heads = 2, do_rotary = 1"}), "Attention"), 1);
  EXPECT_EQ(count_nodes(model_of({.attributes = "num_heads = 4"}), "Attention"), 1);
  EXPECT_EQ(count_nodes(model_of({.opset = 10}), "Attention"), 1);
  EXPECT_EQ(count_nodes(
                model_of({.attributes = "num_heads = 2, qkv_hidden_sizes = [6, 6, 4]", .sizes = {6, 6, 4}, .past = 2}),
                "Attention"),
            1);
  onnx::ModelProto proto = parse_text(R"(g (float[2,3,5] x) => (float[A,B,C] y) {
    p = Cast <to = 6> (q)
    q = Cast <to = 7> (p)
    y = com.microsoft.Attention <num_heads = 2, scale = 1.0> (x, w, b, p)
  })");
  add_random(proto, "w", {5, 18}, 3);
  add_random(proto, "b", {18}, 4);
  EXPECT_EQ(count_nodes(load_proto(finished(proto)), "Attention"), 1);  // a mask of nowhere
  proto.mutable_graph()->mutable_node()->DeleteSubrange(0, 2);
  proto.mutable_graph()->mutable_node(0)->mutable_input()->RemoveLast();
  EXPECT_EQ(count_nodes(load_proto(finished(proto)), "Attention"), 0);
  for (onnx::AttributeProto& attribute : *proto.mutable_graph()->mutable_node(0)->mutable_attribute()) {
    if (attribute.name() == "scale") attribute.set_f(std::numeric_limits<float>::infinity());
  }
  EXPECT_EQ(count_nodes(load_proto(finished(proto)), "Attention"), 1);
}

}  // namespace
}  // namespace quench
