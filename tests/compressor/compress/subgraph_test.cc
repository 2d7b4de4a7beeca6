// Models with If and Loop: what lies in their subgraphs is compressed as the rest is.

#include <gtest/gtest.h>

#include <random>

#include "compressor/compress/compress.h"
#include "compressor/compress/weight_use.h"
#include "compressor/graph/evaluator.h"
#include "compressor/measure/fidelity.h"
#include "compressor/measure/inspection.h"
#include "compressor/measure/runner.h"
#include "formats/error.h"
#include "tests/compressor/compress/small_model.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::quantizer {
namespace {

using graph::HostTensor;

constexpr int64_t kWidth = 48;

HostTensor random_rows(int64_t rows, uint64_t seed) {
  HostTensor tensor = HostTensor::float32("x", {rows, kWidth});
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  for (float& value : tensor.floats()) value = normal(random);
  return tensor;
}

HostTensor choice(bool value) {
  HostTensor tensor;
  tensor.name = "c";
  tensor.dtype = onnx::TensorProto::BOOL;
  tensor.bytes = {std::byte{value}};
  return tensor;
}

void add_matrix(onnx::GraphProto& graph, const std::string& name, float scale, uint64_t seed) {
  std::vector<float> values(kWidth * kWidth);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, scale);
  for (float& value : values) value = normal(random);
  onnx::TensorProto& tensor = *graph.add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  tensor.add_dims(kWidth);
  tensor.add_dims(kWidth);
  tensor.set_raw_data(testing::raw_of(values));
}

// A matrix outside, one in each branch (of one name), one in a loop's body, and a table of numbers in a branch.
onnx::ModelProto branches_and_a_loop() {
  onnx::ModelProto model = testing::parse_text(R"(g (float[N,48] x, bool c) => (float[N,48] y) {
    a = MatMul(x, outer)
    h = Tanh(a)
    b = If<then_branch = t () => (float[N,48] o) { m = MatMul(h, inner)
                                                   o = Tanh(m) },
           else_branch = e () => (float[N,48] o) { table = Constant<value = int64[4] {0, 9, 20, 47}>()
                                                   p = Gather<axis = 1>(h, table)
                                                   s = ReduceSum<keepdims = 1>(p)
                                                   m = MatMul(h, inner)
                                                   o = Add(m, s) }>(c)
    n = Constant<value = int64 {3}>()
    yes = Constant<value = bool {1}>()
    y = Loop<body = l (int64 i, bool going, float[N,48] v) => (bool going_on, float[N,48] w) {
               going_on = Identity(going)
               m = MatMul(v, repeated)
               w = Tanh(m) }>(n, yes, b) })");
  onnx::GraphProto& graph = *model.mutable_graph();
  add_matrix(graph, "outer", 0.15f, 1);
  uint64_t seed = 2;
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (!attribute.has_g()) continue;
      add_matrix(*attribute.mutable_g(), node.op_type() == "If" ? "inner" : "repeated", 0.2f, seed++);
    }
  }
  return model;
}

class SubgraphTest : public ::testing::Test {
 protected:
  void SetUp() override { write_model(model_, branches_and_a_loop()); }

  CompressOptions on_data(bool taken) const {
    CompressOptions options;
    options.data = [taken](uint64_t index, int64_t) {
      if (index >= 4) return std::vector<HostTensor>();
      return std::vector<HostTensor>{random_rows(16, 10 + index), choice(taken)};
    };
    return options;
  }

  double snr_db(const std::filesystem::path& file, bool branch) const {
    measure::Fidelity fidelity;
    const std::vector<HostTensor> inputs = {random_rows(64, 99), choice(branch)};
    fidelity.add(measure::Runner::open(model_, 1)->run(inputs), measure::Runner::open(file, 1)->run(inputs));
    return fidelity.snr_db().value();
  }

  TemporaryFolder folder_;
  const std::filesystem::path model_ = folder_ / "model.onnx", file_ = folder_ / "model.quench";
};

TEST_F(SubgraphTest, WeightsOfAllOfThemAreQuantizedAndIntegersAreNot) {
  const CompressReport report = compress(model_, file_, on_data(true));
  EXPECT_TRUE(report.calibrated);
  EXPECT_TRUE(report.warnings.empty()) << report.warnings[0];
  int matrices = 0;
  for (const TensorReport& tensor : report.tensors) {
    const bool is_matrix = tensor.elements == kWidth * kWidth;
    matrices += is_matrix;
    EXPECT_EQ(std::isinf(tensor.snr_db), !is_matrix) << tensor.name;
    if (is_matrix) {
      EXPECT_LT(tensor.bits_per_weight, 9) << tensor.name;
    }
  }
  EXPECT_EQ(matrices, 4);
  EXPECT_EQ(measure::inspect(file_).tensors.size(), 4u);  // the others are small enough to stay in the graph
}

// Whichever branch the data take: the other one is not worn down because nothing of it is seen.
TEST_F(SubgraphTest, BranchThatTheDataNeverTakeStaysUseful) {
  for (const bool taken : {true, false}) {
    compress(model_, file_, on_data(taken));
    EXPECT_GT(snr_db(file_, taken), 25);
    EXPECT_GT(snr_db(file_, !taken), 20) << taken;
  }
}

TEST_F(SubgraphTest, UnpackedModelIsTheSame) {
  compress(model_, file_, on_data(true));
  unpack(file_, folder_ / "again.onnx");
  EXPECT_NO_THROW(check(load(folder_ / "again.onnx")));
  for (const bool branch : {true, false}) {
    const std::vector<HostTensor> inputs = {random_rows(3, 5), choice(branch)};
    const auto compressed = measure::Runner::open(file_, 1)->run(inputs);
    const auto unpacked = measure::Runner::open(folder_ / "again.onnx", 2)->run(inputs);
    EXPECT_EQ(compressed[0].bytes, unpacked[0].bytes);
  }
}

TEST_F(SubgraphTest, LosslessGivesBackEveryBit) {
  CompressOptions options;
  options.quality = Quality::kLossless;
  compress(model_, file_, options);
  EXPECT_TRUE(std::isinf(snr_db(file_, true)));
  EXPECT_TRUE(std::isinf(snr_db(file_, false)));
}

TEST_F(SubgraphTest, NamesMeanTheInnermostWeight) {
  const OnnxModel model = load(model_);
  const std::vector<operators::ChannelMap> maps = channels_of_weights(model);
  const std::vector<bool> inner = read_in_subgraphs(model);
  int seen = 0;
  for (size_t w = 0; w < model.weights.size(); ++w) {
    if (model.weights[w].elements() != kWidth * kWidth) continue;
    ++seen;
    EXPECT_EQ(maps[w].channels, kWidth) << model.weights[w].name;
    EXPECT_EQ(inner[w], model.weights[w].name != "outer") << model.weights[w].name;
  }
  EXPECT_EQ(seen, 4);
}

TEST(EndlessLoop, ARunEndsAtItsTime) {
  const quantizer::TemporaryFolder folder;
  write_model(folder / "endless.onnx", testing::parse_text(R"(g (float[N,48] x) => (float[N,48] y) {
    none = Constant<value = int64 {9223372036854775807}>()
    yes = Constant<value = bool {1}>()
    y = Loop<body = l (int64 i, bool going, float[N,48] v) => (bool going_on, float[N,48] w) {
               going_on = Identity(going)
               w = Tanh(v) }>(none, yes, x) })"));
  const OnnxModel model = load(folder / "endless.onnx");
  graph::EvaluatorOptions options;
  options.max_seconds = 0.05;
  graph::Evaluator evaluator(model, options);
  try {
    evaluator.run(std::vector<HostTensor>{random_rows(2, 1)});
    FAIL() << "it has no end";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a run takes longer than 0.05 seconds"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace quench::quantizer
