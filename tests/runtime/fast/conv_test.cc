// Every algorithm of the fast convolution against the definition, on every instruction set that this processor has.
#include "runtime/kernels/fast/conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/runtime/fast/guarded.h"
#include "tests/runtime/fast/targets.h"

namespace quench::rt::fast {
namespace {

std::string describe(const ConvShape& s) {
  char text[256];
  snprintf(text, sizeof text,
           "%lldx%lldx%lldx%lld -> %lldx%lldx%lld kernel %lldx%lld stride %lldx%lld dilation %lldx%lld pad %lld,%lld "
           "groups %lld %s",
           (long long)s.batch, (long long)s.in_channels, (long long)s.in_height, (long long)s.in_width,
           (long long)s.out_channels, (long long)s.out_height, (long long)s.out_width, (long long)s.kernel_height,
           (long long)s.kernel_width, (long long)s.stride_height, (long long)s.stride_width,
           (long long)s.dilation_height, (long long)s.dilation_width, (long long)s.pad_top, (long long)s.pad_left,
           (long long)s.groups, s.input_layout == Layout::kRowMajor ? "row-major" : "channels-last");
  return text;
}

std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

struct Case {
  ConvShape shape;
  std::vector<float> weights, bias, input, residual;  // input and residual channels-last
  Activation activation;
  std::vector<double> expected;  // channels-last
  std::vector<double> size;      // sum of the products' magnitudes, which rounding errors are relative to
};

Case make_case(const ConvShape& shape, bool with_bias, bool with_residual, Activation activation, uint32_t seed) {
  Case c;
  c.shape = shape;
  c.activation = activation;
  const int64_t per_group = shape.in_channels / shape.groups;
  c.weights = random_floats(
      static_cast<size_t>(shape.out_channels * per_group * shape.kernel_height * shape.kernel_width), seed);
  if (with_bias) c.bias = random_floats(static_cast<size_t>(shape.out_channels), seed + 1);
  c.input =
      random_floats(static_cast<size_t>(shape.batch * shape.in_channels * shape.in_height * shape.in_width), seed + 2);
  const size_t outputs = static_cast<size_t>(shape.batch * shape.out_channels * shape.out_height * shape.out_width);
  if (with_residual) c.residual = random_floats(outputs, seed + 3);
  c.expected.resize(outputs);
  c.size.resize(outputs);
  size_t at = 0;
  for (int64_t n = 0; n < shape.batch; ++n) {
    for (int64_t y = 0; y < shape.out_height; ++y) {
      for (int64_t x = 0; x < shape.out_width; ++x) {
        for (int64_t o = 0; o < shape.out_channels; ++o, ++at) {
          double sum = with_bias ? c.bias[static_cast<size_t>(o)] : 0;
          double size = std::abs(sum);
          const int64_t group = o / (shape.out_channels / shape.groups);
          for (int64_t i = 0; i < per_group; ++i) {
            for (int64_t ky = 0; ky < shape.kernel_height; ++ky) {
              for (int64_t kx = 0; kx < shape.kernel_width; ++kx) {
                const int64_t iy = y * shape.stride_height + ky * shape.dilation_height - shape.pad_top;
                const int64_t ix = x * shape.stride_width + kx * shape.dilation_width - shape.pad_left;
                if (iy < 0 || iy >= shape.in_height || ix < 0 || ix >= shape.in_width) continue;
                const double product = double{c.input[static_cast<size_t>(
                                           ((n * shape.in_height + iy) * shape.in_width + ix) * shape.in_channels +
                                           group * per_group + i)]} *
                                       c.weights[static_cast<size_t>(
                                           ((o * per_group + i) * shape.kernel_height + ky) * shape.kernel_width + kx)];
                sum += product;
                size += std::abs(product);
              }
            }
          }
          if (with_residual) {
            sum += c.residual[at];
            size += std::abs(c.residual[at]);
          }
          c.expected[at] = activate(activation, static_cast<float>(sum));
          c.size[at] = size;
        }
      }
    }
  }
  return c;
}

std::vector<float> run_case(const Case& c, ConvAlgorithm algorithm, int threads, bool in_place = false) {
  const ConvPlan plan = plan_conv(c.shape, threads, algorithm);
  Guarded packed(packed_floats(plan)), input(c.input.size()), output(c.expected.size());
  pack_conv(plan, c.weights.data(), c.bias.empty() ? nullptr : c.bias.data(), packed.data());
  if (c.shape.input_layout == Layout::kChannelsLast) {
    input.assign(c.input);
  } else {
    const int64_t pixels = c.shape.in_height * c.shape.in_width;
    for (int64_t n = 0; n < c.shape.batch; ++n) {
      for (int64_t p = 0; p < pixels; ++p) {
        for (int64_t i = 0; i < c.shape.in_channels; ++i) {
          input.data()[(n * c.shape.in_channels + i) * pixels + p] =
              c.input[static_cast<size_t>((n * pixels + p) * c.shape.in_channels + i)];
        }
      }
    }
  }
  ConvData data;
  data.packed = packed.data();
  data.input = input.data();
  data.output = output.data();
  data.activation = c.activation;
  Guarded residual(c.residual.size());
  if (!c.residual.empty()) {
    residual.assign(c.residual);
    if (in_place) output.assign(c.residual);
    data.residual = in_place ? output.data() : residual.data();
  }
  // Units one by one and backwards: they must not depend on each other.
  Guarded scratch(plan.scratch_floats);
  for (int64_t u = plan.units; u-- > 0;) {
    std::fill(scratch.data(), scratch.data() + plan.scratch_floats, NAN);
    run_conv(plan, data, u, u + 1, scratch.data());
  }
  return std::vector<float>(output.data(), output.data() + c.expected.size());
}

void check(const Case& c, ConvAlgorithm algorithm) {
  // Winograd's transforms multiply the error of direct summation by a small number.
  const double tolerance = algorithm == ConvAlgorithm::kWinograd ? 4e-6 : 1e-6;
  const std::vector<float> output = run_case(c, algorithm, 1);
  for (size_t i = 0; i < output.size(); ++i) {
    ASSERT_NEAR(output[i], c.expected[i], tolerance * (c.size[i] + 1)) << "at " << i << ": " << describe(c.shape);
  }
  for (int threads : {2, 3, 8}) {
    const std::vector<float> again = run_case(c, algorithm, threads);
    ASSERT_TRUE(output.empty() || memcmp(again.data(), output.data(), sizeof(float) * output.size()) == 0)
        << threads << " threads: " << describe(c.shape);
  }
  if (!c.residual.empty()) {
    const std::vector<float> again = run_case(c, algorithm, 1, true);
    ASSERT_TRUE(output.empty() || memcmp(again.data(), output.data(), sizeof(float) * output.size()) == 0)
        << describe(c.shape);
  }
}

ConvShape shape_of(int64_t batch, int64_t in_channels, int64_t height, int64_t width, int64_t out_channels,
                   int64_t kernel, int64_t stride = 1, int64_t pad = 0, int64_t dilation = 1, int64_t groups = 1) {
  ConvShape s;
  s.batch = batch;
  s.in_channels = in_channels;
  s.in_height = height;
  s.in_width = width;
  s.out_channels = out_channels;
  s.kernel_height = s.kernel_width = kernel;
  s.stride_height = s.stride_width = stride;
  s.dilation_height = s.dilation_width = dilation;
  s.pad_top = s.pad_left = pad;
  s.groups = groups;
  s.out_height = std::max<int64_t>(0, (height + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1);
  s.out_width = std::max<int64_t>(0, (width + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1);
  return s;
}

class ConvOnTarget : public testing::TestWithParam<int64_t> {
 protected:
  void check_all(const ConvShape& shape) {
    ++seed_;
    const Activation activations[] = {{},
                                      {Activation::kRelu},
                                      {Activation::kClip, -0.5f, 0.75f},
                                      {Activation::kLeakyRelu, 0.1f},
                                      {Activation::kSilu},
                                      {Activation::kSigmoid}};
    const Case c = make_case(shape, seed_ % 3 != 0, seed_ % 2 != 0, activations[seed_ % 6], seed_ * 10);
    for (ConvAlgorithm algorithm : {ConvAlgorithm::kDirect, ConvAlgorithm::kWinograd, ConvAlgorithm::kDepthwise}) {
      if (can_do(algorithm, shape)) check(c, algorithm);
      if (HasFatalFailure()) return;
    }
  }

  simd::RestrictTargets only_{GetParam()};
  uint32_t seed_ = 0;
};

TEST_P(ConvOnTarget, ThreeByThree) {
  for (int64_t channels : {1, 3, 8, 16, 17, 33}) {
    for (int64_t outputs : {1, 7, 16, 31, 48, 70}) check_all(shape_of(1, channels, 9, 11, outputs, 3, 1, 1));
  }
  check_all(shape_of(1, 64, 8, 8, 64, 3, 1, 1));
  check_all(shape_of(3, 16, 32, 32, 16, 3, 1, 1));
}

TEST_P(ConvOnTarget, Sizes) {
  for (int64_t height : {1, 2, 3, 4, 5, 8, 13}) {
    for (int64_t width : {1, 2, 4, 7, 16, 30, 70}) {
      check_all(shape_of(1, 5, height, width, 18, 3, 1, 1));
      check_all(shape_of(2, 4, height, width, 18, 3, 1, 2));
      if (height >= 3 && width >= 3) check_all(shape_of(1, 6, height, width, 9, 3, 1, 0));
    }
  }
}

TEST_P(ConvOnTarget, NoImages) { check_all(shape_of(0, 16, 8, 8, 16, 3, 1, 1)); }

TEST_P(ConvOnTarget, Pointwise) {
  for (int64_t channels : {1, 2, 16, 37, 70}) {
    for (int64_t outputs : {1, 15, 64, 67}) {
      check_all(shape_of(1, channels, 7, 7, outputs, 1));
      check_all(shape_of(2, channels, 5, 9, outputs, 1, 2));
    }
  }
  check_all(shape_of(1, 1024, 3, 5, 20, 1));
  check_all(shape_of(1, 16, 1, 1, 100, 1));
}

TEST_P(ConvOnTarget, KernelsStridesDilations) {
  for (int64_t kernel : {1, 2, 3, 5, 7}) {
    for (int64_t stride : {1, 2, 3}) {
      for (int64_t dilation : {1, 2}) {
        for (int64_t pad : {0, 1, 4}) check_all(shape_of(1, 4, 17, 19, 20, kernel, stride, pad, dilation));
      }
    }
  }
  check_all(shape_of(1, 2, 40, 40, 3, 20, 1, 3, 2));
}

TEST_P(ConvOnTarget, Unequal) {
  ConvShape s = shape_of(2, 6, 14, 9, 10, 3);
  s.kernel_width = 5;
  s.stride_height = 2;
  s.dilation_width = 3;
  s.pad_left = 4;
  s.out_height = 7;  // one row more than fits: it reads zeros
  s.out_width = 6;
  check_all(s);
  s.groups = 2;
  check_all(s);
}

TEST_P(ConvOnTarget, Groups) {
  for (int64_t groups : {2, 3, 5}) {
    for (int64_t per_group : {1, 4, 18}) {
      check_all(shape_of(1, groups * per_group, 9, 9, groups * 4, 3, 1, 1, 1, groups));
      check_all(shape_of(2, groups * per_group, 6, 6, groups * 33, 1, 1, 0, 1, groups));
    }
  }
}

TEST_P(ConvOnTarget, Depthwise) {
  for (int64_t channels : {1, 2, 15, 16, 24, 70}) {
    for (int64_t kernel : {1, 3, 5}) {
      for (int64_t stride : {1, 2}) {
        check_all(shape_of(1, channels, 11, 14, channels, kernel, stride, kernel / 2, 1, channels));
        check_all(shape_of(2, channels, 9, 3, channels, kernel, stride, kernel, 2, channels));
      }
    }
  }
}

TEST_P(ConvOnTarget, RowMajorInput) {
  for (int64_t channels : {1, 3, 20}) {
    ConvShape s = shape_of(2, channels, 13, 12, 24, 3, 1, 1);
    s.input_layout = Layout::kRowMajor;
    check_all(s);
    s = shape_of(2, channels, 13, 12, 24, 1);
    s.input_layout = Layout::kRowMajor;
    check_all(s);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, ConvOnTarget, testing::ValuesIn(targets()));

}  // namespace
}  // namespace quench::rt::fast
