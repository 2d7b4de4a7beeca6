#include "compressor/measure/saturation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/formats/onnx/test_models.h"

namespace quench::measure {
namespace {

using Names = std::vector<std::string>;

Names before(const std::string& nodes, const std::string& outputs = "float[N] y") {
  const TellingValues telling = telling_values(
      testing::load_text("g (float[N] x) => (" + outputs + ") <float[1] a = {2}, int64[1] k = {1}> { " + nodes + " }")
          .proto.graph());
  EXPECT_EQ(telling.outputs.size(), 1 + static_cast<size_t>(std::ranges::count(outputs, ',')));
  EXPECT_TRUE(!telling.outputs[0] || telling.inner.empty());
  return telling.inner;
}

TEST(Saturation, WhatASigmoidOrAThresholdIsMadeOf) {
  EXPECT_EQ(before("h = Relu(x) y = Sigmoid(h)"), Names{"h"});
  EXPECT_EQ(before("h = Relu(x) s = Softmax(h) y = ArgMax(s)"), Names{"h"});
  EXPECT_EQ(before("h = Relu(x) m = Mul(a, h) y = Round(m)"), Names{"h"});
  EXPECT_EQ(before("h = Relu(x) s = Clip(h, a) r = Reshape(s, k) y = Cast<to = 7>(r)"), Names{"h"});
  EXPECT_EQ(before("h = Relu(x) g = Exp(x) c = Greater(h, g) y = Cast<to = 1>(c)"), (Names{"h", "g"}));
}

TEST(Saturation, EachPartOfWhatIsPutTogether) {
  EXPECT_EQ(before("h = Relu(x) g = Exp(x) s = Sigmoid(h) t = Tanh(g) y = Concat<axis = 0>(s, t)"), (Names{"h", "g"}));
  EXPECT_EQ(before("h = Relu(x) g = Exp(x) s = Sigmoid(h) y = Concat<axis = 0>(s, g)"), (Names{"h", "g"}))
      << "those too that do not saturate";
  EXPECT_EQ(before("h = Relu(x) y = Sigmoid(h) z = Tanh(h)", "float[N] y, float[N] z"), Names{"h"}) << "once";
}

TEST(Saturation, NothingWhereOutputsTellErrors) {
  EXPECT_EQ(before("h = Relu(x) y = Mul(a, h)"), Names{});
  EXPECT_EQ(before("s = Sigmoid(x) y = Relu(s)"), Names{}) << "further inside";
  EXPECT_EQ(before("h = Relu(x) s = Sigmoid(h) y = Mul(s, h)"), Names{}) << "a gate";
  EXPECT_EQ(before("h = Relu(x) y = Sigmoid(h)", "float[N] y, float[N] h"), Names{}) << "an output itself";
  EXPECT_EQ(before("y = Sigmoid(x)"), Names{}) << "an input";
}

}  // namespace
}  // namespace quench::measure
