// Fast elementwise functions, softmax and pools against plain ones, on every instruction set that this processor has.
#include "runtime/kernels/fast/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "runtime/kernels/fast/pool.h"
#include "tests/runtime/fast/guarded.h"
#include "tests/runtime/fast/targets.h"

namespace quench::rt::fast {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Values of all magnitudes, and those where functions turn.
std::vector<float> interesting_values() {
  std::vector<float> values = {0.0f,    -0.0f, 1e-30f, -1e-30f, 1e-40f,  88.7f, -87.3f, 88.8f, -87.4f,    104.0f,
                               -104.0f, 1e30f, -1e30f, 0.625f,  -0.625f, 1.0f,  -1.0f,  4.0f,  kInfinity, -kInfinity};
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (float scale : {1e-4f, 0.1f, 1.0f, 5.0f, 20.0f, 90.0f}) {
    for (int i = 0; i < 500; ++i) values.push_back(uniform(random) * scale);
  }
  return values;
}

class FastElementwise : public testing::TestWithParam<int64_t> {
 protected:
  simd::RestrictTargets only_{GetParam()};
};

// The largest error in units of the last place of the expected value, denormal results counting as zeros.
void expect_close(const std::vector<float>& x, const std::vector<float>& y, double (*function)(double), double ulps,
                  const char* name) {
  for (size_t i = 0; i < x.size(); ++i) {
    const auto expected = static_cast<float>(function(x[i]));
    if (std::isinf(expected) || std::isnan(expected)) {
      EXPECT_EQ(std::isnan(expected), std::isnan(y[i])) << name << "(" << x[i] << ") = " << y[i];
      if (std::isinf(expected)) {
        EXPECT_EQ(expected, y[i]) << name << "(" << x[i] << ")";
      }
      continue;
    }
    const double unit = std::max(std::abs(expected) * 6e-8, 1.2e-38);
    EXPECT_NEAR(y[i], expected, ulps * unit) << name << "(" << x[i] << ")";
  }
}

TEST_P(FastElementwise, TranscendentalFunctions) {
  std::vector<float> x = interesting_values();
  x.push_back(kNan);
  std::vector<float> y(x.size());
  const auto count = static_cast<int64_t>(x.size());
  const auto map = [&](Unary function) { map_values(function, x.data(), y.data(), count); };
  const auto run = [&](Activation::Kind kind) { activate_values({kind}, x.data(), y.data(), count); };
  map(Unary::kExp);
  expect_close(
      x, y, [](double v) { return std::exp(v); }, 3, "exp");
  map(Unary::kErf);
  expect_close(
      x, y, [](double v) { return std::erf(v); }, 4, "erf");
  run(Activation::kTanh);
  expect_close(
      x, y, [](double v) { return std::tanh(v); }, 4, "tanh");
  run(Activation::kSigmoid);
  expect_close(
      x, y, [](double v) { return 1 / (1 + std::exp(-v)); }, 4, "sigmoid");
  for (float& value : x) value = std::abs(value);
  map(Unary::kSqrt);
  expect_close(
      x, y, [](double v) { return std::sqrt(v); }, 1, "sqrt");
}

TEST_P(FastElementwise, ActivationsOfAllLengths) {
  const Activation activations[] = {{Activation::kNone},
                                    {Activation::kRelu},
                                    {Activation::kClip, -0.5f, 2.0f},
                                    {Activation::kLeakyRelu, 0.1f},
                                    {Activation::kSigmoid},
                                    {Activation::kHardSigmoid, 0.2f, 0.5f},
                                    {Activation::kHardSwish},
                                    {Activation::kSilu},
                                    {Activation::kTanh}};
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-6, 6);
  for (const Activation& activation : activations) {
    for (int64_t count = 0; count < 70; ++count) {
      Guarded from(count), to(count);
      for (int64_t i = 0; i < count; ++i) from.data()[i] = uniform(random);
      if (count > 3) from.data()[3] = kNan;
      activate_values(activation, from.data(), to.data(), count);
      for (int64_t i = 0; i < count; ++i) {
        const float expected = activate(activation, from.data()[i]);
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(to.data()[i])) << int{activation.kind};
        } else {
          EXPECT_NEAR(to.data()[i], expected, 1e-6) << int{activation.kind};
        }
      }
    }
  }
}

TEST_P(FastElementwise, Arithmetic) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(-6, 6);
  for (int64_t count : {1, 2, 15, 16, 17, 63, 64, 65}) {
    for (int64_t a_step : {0, 1}) {
      for (int64_t b_step : {0, 1}) {
        Guarded a(a_step ? count : 1), b(b_step ? count : 1), y(count);
        for (int64_t i = 0; i < (a_step ? count : 1); ++i) a.data()[i] = uniform(random);
        for (int64_t i = 0; i < (b_step ? count : 1); ++i) b.data()[i] = uniform(random);
        if (count > 1 && a_step) a.data()[1] = kNan;
        if (count > 2 && b_step) b.data()[2] = kNan;
        for (Binary function : {Binary::kAdd, Binary::kSub, Binary::kMul, Binary::kDiv, Binary::kMin, Binary::kMax}) {
          combine_values(function, a.data(), a_step, b.data(), b_step, y.data(), count);
          for (int64_t i = 0; i < count; ++i) {
            const float p = a.data()[i * a_step], q = b.data()[i * b_step];
            const bool nan = std::isnan(p) || std::isnan(q);
            const float expected = nan                        ? kNan
                                   : function == Binary::kAdd ? p + q
                                   : function == Binary::kSub ? p - q
                                   : function == Binary::kMul ? p * q
                                   : function == Binary::kDiv ? p / q
                                   : function == Binary::kMin ? std::min(p, q)
                                                              : std::max(p, q);
            if (nan) {
              EXPECT_TRUE(std::isnan(y.data()[i])) << static_cast<int>(function);
            } else {
              EXPECT_EQ(y.data()[i], expected) << static_cast<int>(function);
            }
          }
        }
      }
    }
  }
}

TEST_P(FastElementwise, Softmax) {
  std::mt19937 random(4);
  std::uniform_real_distribution<float> uniform(-30, 30);
  for (int64_t count = 1; count < 70; ++count) {
    Guarded from(count), to(count);
    for (int64_t i = 0; i < count; ++i) from.data()[i] = uniform(random) + 1000;
    double sum = 0;
    float largest = -kInfinity;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, from.data()[i]);
    for (int64_t i = 0; i < count; ++i) sum += std::exp(double{from.data()[i]} - largest);
    softmax_values(from.data(), to.data(), count);
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_NEAR(to.data()[i], std::exp(double{from.data()[i]} - largest) / sum, 1e-6);
    }
  }
}

TEST_P(FastElementwise, Pools) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> uniform(-1, 1);
  PoolShape shape;
  shape.batch = 2;
  shape.in_height = 9;
  shape.in_width = 7;
  shape.kernel_height = 3;
  shape.kernel_width = 2;
  shape.stride_height = 2;
  shape.dilation_width = 2;
  shape.pad_top = shape.pad_left = 1;
  shape.out_height = 5;
  shape.out_width = 7;
  for (int64_t channels : {1, 5, 16, 33, 64, 131}) {
    for (bool is_max : {false, true}) {
      for (bool counts_padding : {false, true}) {
        shape.channels = channels;
        shape.is_max = is_max;
        shape.divisor_height = counts_padding ? 11 : 0;
        shape.divisor_width = counts_padding ? 9 : 0;
        Guarded x(2 * 9 * 7 * channels), y(2 * 5 * 7 * channels), all(channels);
        for (int64_t i = 0; i < 2 * 9 * 7 * channels; ++i) x.data()[i] = uniform(random);
        pool_rows(shape, x.data(), y.data(), 0, 10);
        const float* result = y.data();
        for (int64_t row = 0; row < 10; ++row) {
          for (int64_t column = 0; column < 7; ++column) {
            for (int64_t c = 0; c < channels; ++c, ++result) {
              double sum = 0;
              float largest = -kInfinity;
              int64_t inside = 0;
              for (int64_t ky = 0; ky < 3; ++ky) {
                for (int64_t kx = 0; kx < 2; ++kx) {
                  const int64_t iy = row % 5 * 2 + ky - 1;
                  const int64_t ix = column + kx * 2 - 1;
                  if (iy < 0 || iy >= 9 || ix < 0 || ix >= 7) continue;
                  const float value = x.data()[((row / 5 * 9 + iy) * 7 + ix) * channels + c];
                  ++inside;
                  sum += value;
                  largest = std::max(largest, value);
                }
              }
              // All 3 x 2 places lie inside the padded input.
              const double expected = is_max ? double{largest} : sum / static_cast<double>(counts_padding ? 6 : inside);
              ASSERT_NEAR(*result, expected, 1e-6) << channels << " channels, row " << row << ", column " << column;
            }
          }
        }
        pool_image(is_max, x.data(), 63, channels, 0, channels, all.data());
        for (int64_t c = 0; c < channels; ++c) {
          double sum = 0;
          float largest = -kInfinity;
          for (int64_t p = 0; p < 63; ++p) {
            sum += x.data()[p * channels + c];
            largest = std::max(largest, x.data()[p * channels + c]);
          }
          ASSERT_NEAR(all.data()[c], is_max ? double{largest} : sum / 63, 1e-6);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, FastElementwise, testing::ValuesIn(targets()));

}  // namespace
}  // namespace quench::rt::fast
