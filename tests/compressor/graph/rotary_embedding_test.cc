// com.microsoft's RotaryEmbedding, which is expressed in ONNX's operators on loading, against its definition.
#include "compressor/graph/learned.h"
#include "tests/compressor/graph/contrib_model.h"

namespace quench {
namespace {

using namespace testing;

constexpr int64_t kBatch = 2, kHeads = 3, kPositions = 4, kTableRows = 16;

struct Case {
  int64_t features = 6, pairs = 3;  // of a head
  bool has_four_axes = false, interleaved = false;
  std::vector<int64_t> ids_dims = {kBatch, kPositions};
  std::vector<int64_t> ids = {0, 1, 2, 3, 9, 2, 15, 7};
  std::string attributes = "scale = 1.0";
  int opset = 17;
};

Input ids_of(const Case& c) {
  Input ids{c.ids_dims, {}};
  for (const int64_t id : c.ids) {
    ids.values.push_back(std::bit_cast<float>(static_cast<int32_t>(id)));
    ids.values.push_back(0);
  }
  return ids;
}

struct Tables {
  std::vector<float> cosines, sines;
};

Tables tables_of(const Case& c) {
  return {random_floats(static_cast<size_t>(kTableRows * c.pairs), 7),
          random_floats(static_cast<size_t>(kTableRows * c.pairs), 8)};
}

Input x_of(const Case& c) {
  if (c.has_four_axes) return random_input({kBatch, kHeads, kPositions, c.features}, 1);
  return random_input({kBatch, kPositions, kHeads * c.features}, 1);
}

OnnxModel model_of(const Case& c) {
  const Tables tables = tables_of(c);
  ContribModel model("RotaryEmbedding", c.attributes + (c.interleaved ? ", interleaved = 1" : ""));
  model.input("x", x_of(c));
  model.input("ids", ids_of(c), "int64");
  model.weight("cosines", {kTableRows, c.pairs}, tables.cosines);
  model.weight("sines", {kTableRows, c.pairs}, tables.sines);
  return model.load(1, c.opset, true);
}

std::vector<float> reference(const Case& c) {
  const Tables tables = tables_of(c);
  const std::vector<float> x = x_of(c).values;
  std::vector<float> y = x;
  for (int64_t n = 0; n < kBatch; ++n) {
    for (int64_t h = 0; h < kHeads; ++h) {
      for (int64_t s = 0; s < kPositions; ++s) {
        const int64_t row = c.has_four_axes ? (n * kHeads + h) * kPositions + s : (n * kPositions + s) * kHeads + h;
        const int64_t id = c.ids.size() == 1 ? c.ids[0] + s : c.ids[static_cast<size_t>(n * kPositions + s)];
        for (int64_t p = 0; p < c.pairs; ++p) {
          const auto a = static_cast<size_t>(row * c.features + (c.interleaved ? 2 * p : p));
          const size_t b = a + static_cast<size_t>(c.interleaved ? 1 : c.pairs);
          const auto angle = static_cast<size_t>(id * c.pairs + p);
          y[a] = x[a] * tables.cosines[angle] - x[b] * tables.sines[angle];
          y[b] = x[b] * tables.cosines[angle] + x[a] * tables.sines[angle];
        }
      }
    }
  }
  return y;
}

void expect_as_defined(Case c) {
  for (const bool has_four_axes : {false, true}) {
    for (const bool interleaved : {false, true}) {
      c.has_four_axes = has_four_axes;
      c.interleaved = interleaved;
      SCOPED_TRACE(fmt::format("{} axes, interleaved {}", has_four_axes ? 4 : 3, interleaved));
      const OnnxModel model = model_of(c);
      EXPECT_EQ(count_nodes(model, "RotaryEmbedding"), 0);
      EXPECT_TRUE(check(model).empty());
      expect_close(run(model, {x_of(c), ids_of(c)}), reference(c), 1e-6f);
    }
  }
}

TEST(ContribRotaryEmbedding, TurnsHeadsAsWideAsItsTables) {
  for (const int opset : {11, 13, 17}) expect_as_defined({.opset = opset});
  expect_as_defined({.attributes = "num_heads = 1"});  // which counts where a part is turned only
}

TEST(ContribRotaryEmbedding, TurnsAPart) {
  expect_as_defined({.features = 8, .pairs = 2, .attributes = "num_heads = 3, rotary_embedding_dim = 4"});
}

TEST(ContribRotaryEmbedding, CountsFromOnePosition) {
  for (const std::vector<int64_t>& dims : std::vector<std::vector<int64_t>>{{1}, {}, {1, 1}})
    expect_as_defined({.ids_dims = dims, .ids = {5}});
}

TEST(ContribRotaryEmbedding, AnglesAreNotLearned) {
  const OnnxModel model = model_of({});
  const std::vector<bool> learned = graph::learned_weights(model);
  EXPECT_EQ(model.weights.size(), 2u);
  for (size_t i = 0; i < model.weights.size(); ++i) EXPECT_FALSE(learned[i]) << model.weights[i].name;
}

TEST(ContribRotaryEmbedding, WhatHasNoFormInOnnxStaysAndSaysWhy) {
  const auto reason_of = [](const std::string& attributes, const std::vector<int64_t>& dims = {2, 4, 18},
                            int inputs = 4, bool knows_ranks = true, int opset = 17) {
    ContribModel model("RotaryEmbedding", attributes);
    model.input("x", random_input(dims));
    model.input("ids", ids_of({}), "int64");
    if (inputs > 2) model.weight("cosines", {16, 3}, random_floats(48, 1));
    if (inputs > 3) model.weight("sines", {16, 3}, random_floats(48, 1));
    const OnnxModel loaded = model.load(1, opset, knows_ranks);
    EXPECT_EQ(count_nodes(loaded, "RotaryEmbedding"), 1);
    const std::vector<std::string> lines = check(loaded);
    return lines.empty() ? "" : lines[0];
  };
  const std::string node = "test.onnx: node 'the node' (RotaryEmbedding): ";
  EXPECT_EQ(reason_of("scale = 1.0", {2, 4, 18}, 3), node + "input sin_cache is missing");
  EXPECT_EQ(reason_of("scale = 1.0", {2, 4, 18}, 2), node + "input cos_cache is missing");
  EXPECT_EQ(reason_of("scale = 1.0", {2, 18}), node + "its input has neither 3 nor 4 axes");
  EXPECT_EQ(reason_of("scale = 1.0", {2, 4, 18}, 4, false),
            node + "the graph does not tell how many axes its input has");
  EXPECT_EQ(reason_of("rotary_embedding_dim = 4"), node + "attribute num_heads is missing");
  EXPECT_EQ(reason_of("num_heads = -1"), node + "attribute num_heads is out of range");
  EXPECT_EQ(reason_of("is_packed_batching = 1"), node + "attribute is_packed_batching is not supported");
  EXPECT_EQ(reason_of("scale = 1.0", {2, 4, 18}, 4, true, 10), node + "operator set 10 is too old, 11 is not");
}

}  // namespace
}  // namespace quench
