#include "compressor/networks/network.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "compressor/graph/evaluator.h"
#include "compressor/networks/initial_values.h"
#include "compressor/networks/integrator.h"
#include "tests/compressor/networks/evaluate.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::networks {
namespace {

using ::quench::testing::error_of;
using ::quench::testing::evaluator_of;
using ::quench::testing::expect_near;
using ::quench::testing::random_images;

// Numbers of rank 0 are the method's.
int64_t trainable_parameters(const OnnxModel& model) {
  int64_t count = 0;
  for (const Weight& weight : model.weights) {
    if (!is_float_type(weight.dtype) || weight.dims.empty()) continue;
    if (weight.name.find(".running_") == std::string::npos) count += weight.elements();
  }
  return count;
}

std::string bytes_of(const OnnxModel& model) {
  return to_graph_bytes(model, {.keep_inline = [](const Weight&) { return true; }}).bytes;
}

const Weight& weight_named(const OnnxModel& model, const std::string& name) {
  const auto found = std::find_if(model.weights.begin(), model.weights.end(),
                                  [&](const Weight& weight) { return weight.name == name; });
  if (found == model.weights.end()) throw Error::make("no weight '{}'", name);
  return *found;
}

TEST(Network, HasTheParametersOfThePaper) {
  const std::map<int, int64_t> expected{{20, 269722}, {32, 464154}, {44, 658586}, {56, 853018}, {110, 1727962}};
  for (const auto& [depth, parameters] : expected) {
    EXPECT_EQ(trainable_parameters(build({.depth = depth})), parameters) << depth;
    // BatchNormalization in front of the convolutions has other widths, which even out; a k for all but three steps.
    const int64_t ks = (depth - 2) / 2 - 3;
    EXPECT_EQ(trainable_parameters(build({.depth = depth, .integrator = "linear-multistep"})), parameters + ks)
        << depth;
  }
}

TEST(Network, PassesTheCheckerAndRuns) {
  for (const std::string_view integrator : integrator_names()) {
    const OnnxModel model = build({.depth = 20, .integrator = std::string(integrator)});
    EXPECT_EQ(check(model), std::vector<std::string>());
    graph::Evaluator evaluator(model);
    const std::vector<graph::HostTensor> outputs = evaluator.run({{random_images({2, 3, 32, 32})}});
    ASSERT_EQ(outputs.size(), 1u);
    EXPECT_EQ(outputs[0].name, "logits");
    EXPECT_EQ(outputs[0].dims, (std::vector<int64_t>{2, 10}));
    float largest = 0;
    for (const float value : outputs[0].floats()) largest = std::max(largest, std::abs(value));
    EXPECT_GT(largest, 1e-5f);  // nothing is normalized yet: means let it fall,
    EXPECT_LT(largest, 1e5f);   // four evaluations in a step let it grow
  }
}

// One more set of normalization for each further evaluation of f in a step, and its own convolutions for each function
// but the first: at depth 20 three, two and two steps of 16, 32 and 64 channels.
TEST(Network, IntegratorsHaveTheParametersOfTheirFunctions) {
  const int64_t plain = trainable_parameters(build({.depth = 20}));
  const int64_t normalizations = 4 * (3 * 16 + 2 * 32 + 2 * 64);
  const int64_t convolutions = 2 * 9 * (3 * 16 * 16 + 2 * 32 * 32 + 2 * 64 * 64);
  const std::map<std::string, int64_t> more{
      {"poly-2", normalizations},
      {"poly-3", 2 * normalizations},
      {"mpoly-2", normalizations + convolutions},
      {"mpoly-3", 2 * (normalizations + convolutions)},
      {"2-way", normalizations + convolutions},
      {"3-way", 2 * (normalizations + convolutions)},
      {"midpoint", normalizations},
      {"rk4", 3 * normalizations},
      {"reversible", 16 * 27 + 64 * 2 + 64 * 10},  // twice the channels in the first convolution and the classifier
  };
  for (const auto& [integrator, count] : more) {
    EXPECT_EQ(trainable_parameters(build({.depth = 20, .integrator = integrator})), plain + count) << integrator;
  }
}

// 2^C - 1 convolutions in a step, C of which see what the step begins with; normalization behind each.
TEST(Network, FractalsHaveTheParametersOfTheirColumns) {
  for (const int columns : {2, 3, 4}) {
    const int64_t convolutions = (1 << columns) - 1;
    int64_t expected = 16 * 27 + 2 * 16 + 64 * 10 + 10;
    for (const int64_t channels : {16, 32, 64}) {
      const int64_t wide = channels == 16 ? 0 : columns;  // inputs of half the channels
      expected += 9 * channels * (channels * (3 * convolutions - wide) + channels / 2 * wide);
      expected += 2 * channels * 3 * convolutions;
    }
    const std::string integrator = "fractal-" + std::to_string(columns);
    EXPECT_EQ(trainable_parameters(build({.depth = 20, .integrator = integrator})), expected) << integrator;
  }
}

TEST(Network, FollowsTheShapesOfItsOptions) {
  const OnnxModel model = build({.depth = 8, .classes = 7, .input = {1, 13, 10}});
  EXPECT_EQ(check(model), std::vector<std::string>());
  graph::Evaluator evaluator = evaluator_of(model, {"layer2.0.pad.out", "layer3.0.sum"});
  const std::vector<graph::HostTensor> outputs = evaluator.run({{random_images({3, 1, 13, 10})}});
  EXPECT_EQ(outputs[0].dims, (std::vector<int64_t>{3, 7}));
  EXPECT_EQ(outputs[1].dims, (std::vector<int64_t>{3, 32, 7, 5}));
  EXPECT_EQ(outputs[2].dims, (std::vector<int64_t>{3, 64, 4, 3}));
}

TEST(Network, ShortcutTakesEverySecondPixelAndPadsChannels) {
  const OnnxModel model = build({.depth = 8, .input = {3, 8, 8}});
  graph::Evaluator evaluator = evaluator_of(model, {"layer1.0.relu2.out", "layer2.0.pad.out"});
  const std::vector<graph::HostTensor> outputs = evaluator.run({{random_images({1, 3, 8, 8})}});
  const std::span<const float> before = outputs[1].floats();
  const std::span<const float> after = outputs[2].floats();
  ASSERT_EQ(after.size(), 32u * 4 * 4);
  for (int channel = 0; channel < 32; ++channel) {
    for (int pixel = 0; pixel < 16; ++pixel) {
      const int source = channel - 8;
      const float expected =
          source < 0 || source >= 16 ? 0 : before[source * 64 + (pixel / 4) * 2 * 8 + (pixel % 4) * 2];
      ASSERT_EQ(after[channel * 16 + pixel], expected) << channel << " " << pixel;
    }
  }
}

TEST(Network, SameSeedGivesTheSameBytes) {
  for (const std::string_view name : integrator_names()) {
    const std::string integrator(name);
    const std::string bytes = bytes_of(build({.depth = 20, .integrator = integrator, .seed = 5}));
    EXPECT_EQ(bytes, bytes_of(build({.depth = 20, .integrator = integrator, .seed = 5})));
    EXPECT_NE(bytes, bytes_of(build({.depth = 20, .integrator = integrator, .seed = 6})));
  }
}

TEST(Network, IntegratorsStartFromTheSameWeights) {
  const OnnxModel euler = build({.depth = 20, .seed = 9});
  const OnnxModel multistep = build({.depth = 56, .integrator = "linear-multistep", .seed = 9});
  EXPECT_EQ(read(weight_named(euler, "layer2.1.conv2.weight")), read(weight_named(multistep, "layer2.1.conv2.weight")));
  EXPECT_NE(read(weight_named(euler, "layer2.1.conv1.weight")), read(weight_named(euler, "layer2.1.conv2.weight")));
}

TEST(Network, WeightsHaveTheirVariance) {
  const std::vector<float> values = read_float(weight_named(build({.depth = 20}), "layer3.1.conv1.weight"));
  double sum = 0, squares = 0, fourth = 0;
  for (const double value : values) {
    sum += value;
    squares += value * value;
    fourth += value * value * value * value;
  }
  const double count = static_cast<double>(values.size());
  const double variance = 2.0 / (64 * 9);
  EXPECT_NEAR(sum / count, 0, 4 * std::sqrt(variance / count));
  EXPECT_NEAR(squares / count / variance, 1, 4 * std::sqrt(2 / count));
  EXPECT_NEAR(fourth / count / variance / variance, 2.9, 0.15);  // a sum of twelve: 3 - 1.2 / 12
}

// Numbers that may never change: a seed in somebody's notes must go on to mean the same network.
TEST(InitialValues, AreTheSameOnEveryMachine) {
  const std::vector<float> normal = normal_values(1, "conv1.weight", 3, 1);
  EXPECT_EQ(normal, (std::vector<float>{-0x1.80fcp-2f, -0x1.57cap-1f, -0x1.e31p-4f}));
  const std::vector<float> uniform = uniform_values(1, "layer1.1.k", 2, -0.1, 0);
  EXPECT_EQ(uniform, (std::vector<float>{-0x1.64f4dap-4f, -0x1.f0bed8p-8f}));
}

TEST(Network, RefusesWhatItCannotBuild) {
  for (const int depth : {-4, 0, 2, 7, 18, 33, 48, 1208, 2000000000}) {
    const std::string message = error_of([&] { build({.depth = depth}); });
    EXPECT_NE(message.find("depth " + std::to_string(depth)), std::string::npos) << message;
    EXPECT_NE(message.find("6n + 2"), std::string::npos) << message;
  }
  EXPECT_NE(error_of([] { build({.integrator = "leapfrog\n"}); }).find("choose one of euler, linear-multistep"),
            std::string::npos);
  EXPECT_NE(error_of([] { build({.classes = 0}); }).find("0 classes"), std::string::npos);
  EXPECT_NE(error_of([] { build({.classes = int64_t{1} << 40}); }).find("classes"), std::string::npos);
  EXPECT_NE(error_of([] { build({.input = {3, 0, 32}}); }).find("3 x 0 x 32"), std::string::npos);
  EXPECT_NE(error_of([] { build({.input = {int64_t{1} << 60, 32, 32}}); }).find("height"), std::string::npos);
}

TEST(Network, NamesTellTheDepth) {
  EXPECT_EQ(depth_of("resnet32"), 32);
  EXPECT_EQ(depth_of("resnet110"), 110);
  for (const std::string_view name : {"", "resnet", "resnet32x", "resnet-32", "vgg16", "resnet99999999999999"}) {
    EXPECT_NE(error_of([&] { depth_of(name); }).find("is not known"), std::string::npos) << name;
  }
  EXPECT_NE(error_of([] { depth_of("resnet34"); }).find("6n + 2"), std::string::npos);
}

// Trained models do not have the trivial BatchNormalization of new ones.
TEST(Network, SimplifyKeepsOutputs) {
  for (const std::string_view integrator : integrator_names()) {
    OnnxModel model = quench::testing::with_random_normalization(
        build({.depth = 20, .integrator = std::string(integrator), .input = {3, 16, 16}}));
    const graph::HostTensor images = random_images({2, 3, 16, 16});
    const std::vector<graph::HostTensor> before = graph::Evaluator(model).run({{images}});
    const graph::Report report = graph::simplify(model);
    // What stands behind shared convolutions stays: but for those, conv1 and the steps that halve the image. Fractals
    // share none.
    const BlockForm form = find_integrator(integrator).form();
    const size_t least = form == BlockForm::kPreActivation ? 2 : form == BlockForm::kPostActivation ? 5 : 28;
    EXPECT_GE(report.batch_normalizations_folded, least) << integrator;
    EXPECT_EQ(check(model), std::vector<std::string>());
    const std::vector<graph::HostTensor> after = graph::Evaluator(model).run({{images}});
    expect_near(after[0].floats(), before[0].floats(), 1e-4f);
  }
}

}  // namespace
}  // namespace quench::networks
