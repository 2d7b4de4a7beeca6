// Which constants are weights, and which are masks, tables, coordinates and thresholds.
#include "compressor/graph/learned.h"

#include <limits>

#include "tests/compressor/graph/run_model.h"

namespace quench {
namespace {

using namespace testing;

// Whether the constant `c` of a node is learned, for its values.
bool is_learned(const std::string& node, std::vector<int64_t> dims, const std::vector<float>& values,
                int32_t dtype = onnx::TensorProto::FLOAT) {
  onnx::ModelProto proto = parse_text("g (float[4,24] x, bool[4,24] p) => (float[A,B] y) { y = " + node + " }");
  add_initializer(proto, "c", std::move(dims), values);
  OnnxModel model = load_proto(proto);
  const Weight weight = model.weights.at(0);
  if (dtype != onnx::TensorProto::FLOAT)
    set_weight(model, *weight.tensor, dtype, weight.dims, owned_source(from_float(dtype, values)));
  model.reindex();
  return graph::learned_weights(model).at(0);
}

const std::vector<float> kNoise = random_floats(24 * 24, 3);

std::vector<float> with(size_t index, float value) {
  std::vector<float> values = kNoise;
  values[index] = value;
  return values;
}

TEST(LearnedWeights, WeightsAndWhatIsAddedOrMultipliedLikeThemAre) {
  const std::vector<float> row(kNoise.begin(), kNoise.begin() + 24);
  EXPECT_TRUE(is_learned("MatMul(x, c)", {24, 24}, kNoise));
  EXPECT_TRUE(is_learned("Add(x, c)", {24}, row));
  EXPECT_TRUE(is_learned("Mul(x, c)", {24}, row));
  EXPECT_TRUE(is_learned("Add(x, c)", {24}, std::vector<float>(24, 0)));  // a bias before training
}

TEST(LearnedWeights, MasksTablesCoordinatesAndThresholdsAreNot) {
  std::vector<float> mask(24 * 24), causal(24 * 24), indices(24), grid(24 * 24);
  for (size_t i = 0; i < mask.size(); ++i) {
    mask[i] = i % 24 > i / 24 ? -10000.0f : 0.0f;
    causal[i] = i % 24 > i / 24 ? -0.5f : 0.5f;
    grid[i] = (static_cast<float>(i % 24) + 0.5f) / 24;
  }
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<float>(i);
  EXPECT_FALSE(is_learned("Add(x, c)", {24, 24}, mask));
  EXPECT_FALSE(is_learned("Mul(x, c)", {24, 24}, causal));
  EXPECT_FALSE(is_learned("Add(x, c)", {24}, indices));
  EXPECT_FALSE(is_learned("Add(x, c)", {24, 24}, grid));
  const std::vector<float> row(kNoise.begin(), kNoise.begin() + 24);
  EXPECT_FALSE(is_learned("Where(p, x, c)", {24}, row));
  EXPECT_FALSE(is_learned("Max(x, c)", {24}, row));
  EXPECT_FALSE(is_learned("Pow(x, c)", {24}, row));
}

TEST(LearnedWeights, ValuesThatAreNotFiniteOrAlmostTheLargestAreNot) {
  const float least = std::numeric_limits<float>::lowest();
  for (const float value : {least, -std::numeric_limits<float>::infinity(), std::nanf("")}) {
    EXPECT_FALSE(is_learned("MatMul(x, c)", {24, 24}, with(5, value))) << value;
    EXPECT_FALSE(is_learned("Add(x, c)", {24, 24}, with(5, value))) << value;
  }
  EXPECT_FALSE(is_learned("MatMul(x, c)", {24, 24}, with(5, -65504), onnx::TensorProto::FLOAT16));
  EXPECT_TRUE(is_learned("MatMul(x, c)", {24, 24}, with(5, -650), onnx::TensorProto::FLOAT16));
  EXPECT_FALSE(is_learned("MatMul(x, c)", {24, 24}, with(5, -3e38f), onnx::TensorProto::BFLOAT16));
}

TEST(LearnedWeights, ScalesOfIntegersAreNot) {
  const std::vector<float> row(kNoise.begin(), kNoise.begin() + 24);
  EXPECT_TRUE(is_learned("QuickAdd(x, c)", {24}, row));
  for (const char* op : {"QLinearAdd", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits"}) {
    EXPECT_FALSE(is_learned(std::string(op) + "(x, c)", {24}, row)) << op;
  }
}

TEST(LearnedWeights, ADefaultValueOfAnInputIsNot) {
  onnx::ModelProto proto = parse_text("g (float[4,24] x, float[24] c) => (float[A,B] y) { y = Add(x, c) }");
  add_initializer(proto, "c", {24}, {kNoise.begin(), kNoise.begin() + 24});
  EXPECT_FALSE(graph::learned_weights(load_proto(proto)).at(0));
}

}  // namespace
}  // namespace quench
