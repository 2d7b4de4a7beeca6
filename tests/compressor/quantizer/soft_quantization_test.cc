#include "compressor/quantizer/soft_quantization.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/compressor/quantizer/distributions.h"

namespace quench::quantizer {
namespace {

// A loss of values and masses with random slopes, in double and spelled out.
struct Case {
  int d = 1;
  size_t count = 0, centers = 0;
  double sigma = 1;
  std::vector<double> z, c, penalties, value_slopes, mass_slopes;

  Case(int dimension, size_t vectors, size_t center_count, double hardness, double price, uint64_t seed)
      : d(dimension), count(vectors), centers(center_count), sigma(hardness) {
    Draw draw(seed);
    const auto fill = [&](std::vector<double>& values, size_t size, double scale) {
      for (size_t i = 0; i < size; ++i) values.push_back(static_cast<float>(scale * draw.gaussian()));
    };
    const auto width = static_cast<size_t>(d);
    fill(z, count * width, 1.5);
    fill(c, centers * width, 1.5);
    if (d == 1) std::sort(c.begin(), c.end());
    for (size_t j = 0; j < centers; ++j) penalties.push_back(static_cast<float>(price * 8 * draw.uniform()));
    fill(value_slopes, count * width, 1);
    fill(mass_slopes, centers, 1);
  }

  std::vector<double> phi(size_t i) const {
    std::vector<double> exponents(centers);
    const auto width = static_cast<size_t>(d);
    for (size_t j = 0; j < centers; ++j) {
      double distance = penalties[j];
      for (size_t k = 0; k < width; ++k) distance += std::pow(z[i * width + k] - c[j * width + k], 2);
      exponents[j] = -sigma * distance;
    }
    const double highest = *std::max_element(exponents.begin(), exponents.end());
    double sum = 0;
    for (double& exponent : exponents) sum += exponent = std::exp(exponent - highest);
    for (double& exponent : exponents) exponent /= sum;
    return exponents;
  }

  std::vector<double> value(size_t i) const {
    const std::vector<double> of = phi(i);
    std::vector<double> result(static_cast<size_t>(d));
    for (size_t j = 0; j < centers; ++j) {
      for (size_t k = 0; k < result.size(); ++k) result[k] += of[j] * c[j * result.size() + k];
    }
    return result;
  }

  std::vector<double> mass() const {
    std::vector<double> result(centers);
    for (size_t i = 0; i < count; ++i) {
      const std::vector<double> of = phi(i);
      for (size_t j = 0; j < centers; ++j) result[j] += of[j];
    }
    return result;
  }

  double loss() const {
    double sum = 0;
    const auto width = static_cast<size_t>(d);
    for (size_t i = 0; i < count; ++i) {
      const std::vector<double> of = value(i);
      for (size_t k = 0; k < width; ++k) sum += value_slopes[i * width + k] * of[k];
    }
    const std::vector<double> masses = mass();
    for (size_t j = 0; j < centers; ++j) sum += mass_slopes[j] * masses[j];
    return sum;
  }

  // d loss / d variable, where `variable` is an element of z or c.
  double slope(double& variable) const {
    constexpr double kStep = 1e-5;
    const double kept = variable;
    variable = kept + kStep;
    const double above = loss();
    variable = kept - kStep;
    const double below = loss();
    variable = kept;
    return (above - below) / (2 * kStep);
  }
};

std::vector<float> floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }

struct Result {
  std::vector<float> soft, hard, grad_z, grad_centers;
  std::vector<uint16_t> indices;
  std::vector<double> mass;
};

Result run(const Case& of, int threads) {
  const std::vector<float> z = floats(of.z), centers = floats(of.c), penalties = floats(of.penalties);
  const SoftQuantization quantization{of.d, centers, penalties, static_cast<float>(of.sigma)};
  Result result;
  result.soft.resize(z.size());
  result.hard.resize(z.size());
  result.indices.resize(of.count);
  result.mass.resize(of.centers);
  soft_quantize(quantization, z, {result.soft, result.hard, result.indices, result.mass}, threads);
  result.grad_z.resize(z.size());
  result.grad_centers.resize(centers.size());
  soft_quantize_backward(quantization, z, floats(of.value_slopes), floats(of.mass_slopes), result.grad_z,
                         result.grad_centers, threads);
  return result;
}

void expect_all_near(const std::vector<float>& actual, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 1e-3;
  for (const double each : expected) largest = std::max(largest, std::abs(each));
  for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], tolerance * largest) << i;
}

struct Setting {
  int dimension;
  size_t centers;
  double sigma, price;
};

class SoftQuantizationOf : public testing::TestWithParam<Setting> {
 protected:
  Case make(size_t count) const {
    const Setting& of = GetParam();
    return Case(of.dimension, count, of.centers, of.sigma, of.price, 11);
  }
};

TEST_P(SoftQuantizationOf, ValuesMassesAndIndicesAreThoseOfTheFormula) {
  const Case of = make(300);
  const Result result = run(of, 1);
  const auto d = static_cast<size_t>(of.d);
  std::vector<double> values;
  for (size_t i = 0; i < of.count; ++i) {
    const std::vector<double> value = of.value(i);
    values.insert(values.end(), value.begin(), value.end());
    const std::vector<double> phi = of.phi(i);
    const double highest = *std::max_element(phi.begin(), phi.end());
    ASSERT_GE(phi[result.indices[i]], highest * (1 - 1e-4)) << "vector " << i;
    for (size_t k = 0; k < d; ++k) {
      ASSERT_EQ(result.hard[i * d + k], static_cast<float>(of.c[result.indices[i] * d + k]));
    }
  }
  expect_all_near(result.soft, values, 2e-5);
  expect_all_near({result.mass.begin(), result.mass.end()}, of.mass(), 2e-5);
}

TEST_P(SoftQuantizationOf, GradientsAgreeWithFiniteDifferences) {
  Case of = make(40);
  const Result result = run(of, 1);
  std::vector<double> z, centers;
  for (double& variable : of.z) z.push_back(of.slope(variable));
  for (double& variable : of.c) centers.push_back(of.slope(variable));
  expect_all_near(result.grad_z, z, 1e-4);
  expect_all_near(result.grad_centers, centers, 1e-4);
}

TEST_P(SoftQuantizationOf, ResultsDoNotDependOnThreads) {
  const Case of = make(9000);  // more than two blocks
  const Result one = run(of, 1), three = run(of, 3);
  EXPECT_EQ(one.soft, three.soft);
  EXPECT_EQ(one.hard, three.hard);
  EXPECT_EQ(one.indices, three.indices);
  EXPECT_EQ(one.mass, three.mass);
  EXPECT_EQ(one.grad_z, three.grad_z);
  EXPECT_EQ(one.grad_centers, three.grad_centers);
}

INSTANTIATE_TEST_SUITE_P(Settings, SoftQuantizationOf,
                         testing::Values(Setting{1, 75, 2, 0}, Setting{1, 75, 2, 0.1}, Setting{1, 9, 0.05, 0.3},
                                         Setting{1, 9, 30, 0.1}, Setting{1, 1, 2, 0.1}, Setting{2, 40, 1, 0},
                                         Setting{2, 40, 3, 0.1}, Setting{4, 33, 0.5, 0.2}, Setting{8, 20, 0.3, 0},
                                         Setting{8, 20, 0.7, 0.1}));

TEST(SoftQuantization, GrowsHard) {
  const Case of(1, 500, 12, 1e6, 0.05, 3);
  const Result result = run(of, 1);
  size_t apart = 0;  // vectors between two centers stay soft
  for (size_t i = 0; i < of.count; ++i) apart += std::abs(result.soft[i] - result.hard[i]) > 1e-5;
  EXPECT_LE(apart, 2u);
}

TEST(SoftQuantization, PenaltiesMoveTheBorder) {
  const std::vector<float> centers = {0, 1}, penalties = {0, 0.5f}, z = {0.5f, 0.74f, 0.76f, -3, 9};
  std::vector<uint16_t> indices(z.size());
  soft_quantize({1, centers, penalties, 4}, z, {.soft = {}, .hard = {}, .indices = indices, .mass = {}}, 1);
  EXPECT_EQ(indices, (std::vector<uint16_t>{0, 0, 1, 0, 1}));  // |z|^2 = |z - 1|^2 + 0.5 at 0.75
}

}  // namespace
}  // namespace quench::quantizer
