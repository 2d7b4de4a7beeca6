// ImageScaler, which is expressed in ONNX's operators on loading.
#include "tests/compressor/graph/contrib_model.h"

namespace quench {
namespace {

using namespace testing;

OnnxModel model_of(const std::string& attributes, const Input& x, int opset) {
  ContribModel model("ImageScaler", attributes, "");
  model.input("x", x);
  return model.load(1, opset, true);
}

TEST(ImageScaler, ScalesAndAddsToChannels) {
  const Input x = random_input({2, 3, 2, 2}, 1);
  const std::vector<float> bias = {-1.5f, 0, 100.25f};
  for (const int opset : {7, 8, 17}) {
    const OnnxModel model = model_of("scale = 0.125, bias = [-1.5, 0.0, 100.25]", x, opset);
    EXPECT_EQ(count_nodes(model, "ImageScaler"), 0);
    EXPECT_TRUE(check(model).empty());
    std::vector<float> expected;
    for (size_t i = 0; i < x.values.size(); ++i) expected.push_back(x.values[i] * 0.125f + bias[i / 4 % 3]);
    expect_close(run(model, {x}), expected, 1e-6f);
  }
  expect_close(run(model_of("bias = [0.0, 0.0, 0.0]", x, 8), {x}), x.values, 1e-6f);
  std::vector<float> doubled = x.values;
  for (float& value : doubled) value *= 2;
  expect_close(run(model_of("scale = 2.0", x, 8), {x}), doubled, 1e-6f);
}

TEST(ImageScaler, StaysInOldOperatorSetsAndSaysWhy) {
  const OnnxModel model = model_of("scale = 2.0", random_input({1, 3, 2, 2}), 6);
  EXPECT_EQ(count_nodes(model, "ImageScaler"), 1);
  EXPECT_EQ(check(model)[0], "test.onnx: node 'the node' (ImageScaler): operator set 6 is too old, 7 is not");
}

}  // namespace
}  // namespace quench
