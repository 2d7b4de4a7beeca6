#include "compressor/measure/fidelity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "formats/base/element_type.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;
using Outputs = std::vector<HostTensor>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

HostTensor floats(const std::vector<float>& values, int64_t rows = 1) {
  return HostTensor::float32("y", {rows, static_cast<int64_t>(values.size()) / rows}, values);
}

HostTensor integers(const std::vector<int64_t>& values) {
  HostTensor tensor{"classes", static_cast<int32_t>(ElementType::kInt64), {static_cast<int64_t>(values.size())}, {}};
  tensor.bytes.resize(values.size() * sizeof(int64_t));
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

std::vector<float> noise(size_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

std::vector<float> mapped(std::vector<float> values, const std::function<float(float)>& map) {
  for (float& value : values) value = map(value);
  return values;
}

std::vector<float> sum(std::vector<float> values, const std::vector<float>& other, float factor) {
  for (size_t i = 0; i < values.size(); ++i) values[i] += factor * other[i];
  return values;
}

double snr(const Outputs& reference, const Outputs& outputs) {
  Fidelity fidelity;
  fidelity.add(reference, outputs);
  return fidelity.snr_db().value_or(kNan);
}

class FidelityTest : public ::testing::Test {
 protected:
  std::vector<float> y_ = noise(1200, 1), other_ = sum(y_, noise(1200, 2), 0.1f);
};

TEST_F(FidelityTest, IsErrorPowerOverVariance) {
  // y: mean 2, variance 1; errors 0.5 and 0 in turn.
  EXPECT_NEAR(snr({floats({1, 3, 1, 3})}, {floats({1.5, 3, 1.5, 3})}), -10 * std::log10(0.125), 1e-9);
  EXPECT_NEAR(snr({floats(y_)}, {floats(other_)}), 20, 0.5);
}

TEST_F(FidelityTest, NeitherScaleNorShiftOfAnOutputMatters) {
  const auto map = [](float value) { return 64 * value - 4096; };
  EXPECT_NEAR(snr({floats(mapped(y_, map))}, {floats(mapped(other_, map))}), snr({floats(y_)}, {floats(other_)}), 0.02);
}

TEST_F(FidelityTest, AConstantInPlaceOfTheOutputsIsZeroDecibels) {
  Fidelity fidelity;
  double mean = 0;
  for (const float value : y_) mean += value / static_cast<double>(y_.size());
  EXPECT_NEAR(snr({floats(y_)}, {floats(std::vector<float>(y_.size(), static_cast<float>(mean)))}), 0, 1e-5);
}

TEST_F(FidelityTest, AnySplitIntoBatchesGivesTheSameNumber) {
  const std::vector<float> drifting =
      sum(y_, mapped(y_, [n = 0](float) mutable { return static_cast<float>(n++); }), 1);
  const std::vector<float> changed = sum(drifting, noise(1200, 2), 0.1f);
  const double whole = snr({floats(drifting)}, {floats(changed)});
  for (const size_t batch : {1, 7, 400}) {
    Fidelity fidelity;
    for (size_t first = 0; first < drifting.size(); first += batch) {
      const size_t count = std::min(batch, drifting.size() - first);
      const auto part = [&](const std::vector<float>& values) {
        const auto begin = values.begin() + static_cast<std::ptrdiff_t>(first);
        return floats({begin, begin + static_cast<std::ptrdiff_t>(count)});
      };
      fidelity.add(Outputs{part(drifting)}, Outputs{part(changed)});
    }
    EXPECT_NEAR(*fidelity.snr_db(), whole, 1e-6) << batch;
  }
}

TEST_F(FidelityTest, SumsOfProcessesAddUpToTheWhole) {
  Fidelity whole, one, two;
  const Outputs a = {floats(y_)}, b = {floats(other_)}, c = {floats(noise(30, 5))}, d = {floats(noise(30, 6))};
  whole.add(a, b);
  whole.add(c, d);
  one.add(a, b);
  two.add(c, d);
  const Fidelity none;
  std::vector<double> sums = one.sums(1);
  for (size_t i = 0; i < sums.size(); ++i) sums[i] += two.sums(1).at(i) + none.sums(1).at(i);
  EXPECT_DOUBLE_EQ(*Fidelity::from_sums(sums).snr_db(), *whole.snr_db());
}

TEST_F(FidelityTest, EachOfSeveralOutputsCountsAlike) {
  // One output without errors halves the error, whatever its size and scale.
  const double alone = snr({floats(y_)}, {floats(other_)});
  const HostTensor exact = floats(mapped(noise(7, 3), [](float value) { return 1e6f * value; }));
  EXPECT_NEAR(snr({floats(y_), exact}, {floats(other_), exact}), alone + 10 * std::log10(2), 1e-9);
}

TEST_F(FidelityTest, OutputsThatDoNotVaryAreLeftOut) {
  const double alone = snr({floats(y_)}, {floats(other_)});
  EXPECT_DOUBLE_EQ(snr({floats(y_), floats({3, 3})}, {floats(other_), floats({3, 4})}), alone);
  EXPECT_DOUBLE_EQ(snr({floats(y_), floats({0, 0})}, {floats(other_), floats({0, 0})}), alone);
  EXPECT_NEAR(snr({floats({2})}, {floats({2.2f})}), 20, 1e-5) << "one number has no variance";
  EXPECT_TRUE(std::isnan(snr({floats({0, 0})}, {floats({0, 1})}))) << "nothing to compare with";
}

TEST_F(FidelityTest, EqualOutputsAreInfinitelyNear) { EXPECT_EQ(snr({floats(y_)}, {floats(y_)}), kInfinity); }

TEST_F(FidelityTest, WhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(snr({floats({1, 2, 3})}, {floats({1, kNan, 3})}), -kInfinity);
  EXPECT_EQ(snr({floats({1, 2, 3})}, {floats({1, infinity, 3})}), -kInfinity);
  EXPECT_DOUBLE_EQ(snr({floats({1, kNan, 3, -infinity})}, {floats({1.5, 7, 3, -50})}),
                   snr({floats({1, 3})}, {floats({1.5, 3})}))
      << "nothing to compare with where the original is not finite";
}

TEST_F(FidelityTest, IntegersCountWhereThereIsNothingElse) {
  EXPECT_NEAR(snr({integers({0, 2, 0, 2})}, {integers({0, 2, 0, 1})}), -10 * std::log10(0.25), 1e-9);
  EXPECT_DOUBLE_EQ(snr({floats(y_), integers({0, 2})}, {floats(other_), integers({2, 0})}),
                   snr({floats(y_)}, {floats(other_)}));
}

TEST_F(FidelityTest, AnOutputOfAnotherShapeIsLost) {
  EXPECT_NEAR(snr({floats({1, 2, 3})}, {floats({1, 2})}), 0, 1e-9);
  EXPECT_NEAR(snr({floats(y_), floats({1, 2, 3})}, {floats(y_), floats({1, 2})}), 10 * std::log10(2), 1e-9);
}

TEST_F(FidelityTest, RowsThatFillUpABatchDoNotCount) {
  Fidelity fidelity;
  fidelity.add(Outputs{floats({1, 3, 5, 5}, 4)}, Outputs{floats({2, 3, 9, 9}, 4)}, 2, 4);
  EXPECT_DOUBLE_EQ(*fidelity.snr_db(), snr({floats({1, 3})}, {floats({2, 3})}));
}

TEST_F(FidelityTest, OutputsThatCannotBeComparedAreRefused) {
  EXPECT_THROW(snr({floats({1, 2})}, {}), Error);
  EXPECT_THROW(snr({floats({1, 2})}, {integers({1, 2})}), Error);
}

}  // namespace
}  // namespace quench::measure
