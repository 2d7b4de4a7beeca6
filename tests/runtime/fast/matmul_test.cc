// The fast matrix multiplication against the definition, on every instruction set that this processor has.
#include "runtime/kernels/fast/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "tests/runtime/fast/guarded.h"
#include "tests/runtime/fast/targets.h"

namespace quench::rt::fast {
namespace {

std::vector<float> random_floats(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = uniform(random);
  return values;
}

struct Variation {
  bool packed, turned_x, turned_w, bias, residual, in_place, accumulate;
  Activation activation;
};

// Runs the product with `threads` and compares it with the definition.
std::vector<float> run_case(const MatMulShape& shape, const Variation& v, int threads, uint32_t seed, bool compare) {
  const std::vector<float> x = random_floats(shape.rows * shape.inner, seed);
  const std::vector<float> w = random_floats(shape.inner * shape.columns, seed + 1);
  const std::vector<float> bias = random_floats(shape.columns, seed + 2);
  const std::vector<float> start = random_floats(shape.rows * shape.columns, seed + 3);
  const float scale = v.packed ? 0.5f : 1.0f;

  Guarded x_memory(x.size()), w_memory(w.size()), output(start.size()), residual(start.size());
  x_memory.assign(x);
  w_memory.assign(w);
  residual.assign(start);
  if (v.in_place || v.accumulate) output.assign(start);
  MatMulData data;
  data.x = v.turned_x ? Matrix{x_memory.data(), 1, shape.rows} : Matrix{x_memory.data(), shape.inner, 1};
  const Matrix weights =
      v.turned_w ? Matrix{w_memory.data(), 1, shape.inner} : Matrix{w_memory.data(), shape.columns, 1};
  data.output = output.data();
  data.activation = v.activation;
  data.accumulate = v.accumulate;
  if (v.residual) data.residual = v.in_place ? output.data() : residual.data();

  const MatMulPlan plan = plan_matmul(shape, v.packed, threads);
  Guarded packed(v.packed ? packed_floats(plan) : 0);
  if (v.packed) {
    pack_matmul(plan, weights, scale, v.bias ? bias.data() : nullptr, packed.data());
    data.packed = packed.data();
  } else {
    data.weights = weights;
  }
  Guarded scratch(plan.scratch_floats);
  for (int64_t u = plan.units; u-- > 0;) {
    std::fill(scratch.data(), scratch.data() + plan.scratch_floats, NAN);
    run_matmul(plan, data, u, u + 1, scratch.data());
  }
  std::vector<float> result(output.data(), output.data() + start.size());
  for (int64_t i = 0; compare && i < shape.rows; ++i) {
    for (int64_t j = 0; j < shape.columns; ++j) {
      const size_t at = static_cast<size_t>(i * shape.columns + j);
      double sum = v.packed && v.bias ? bias[static_cast<size_t>(j)] : 0;
      if (v.residual || v.accumulate) sum += start[at];
      double size = 1;
      for (int64_t k = 0; k < shape.inner; ++k) {
        const double product = double{x[static_cast<size_t>(v.turned_x ? k * shape.rows + i : i * shape.inner + k)]} *
                               w[static_cast<size_t>(v.turned_w ? j * shape.inner + k : k * shape.columns + j)] * scale;
        sum += product;
        size += std::abs(product);
      }
      const double expected = activate(v.activation, static_cast<float>(sum));
      EXPECT_NEAR(result[at], expected, 1e-6 * size) << i << ", " << j << " of " << shape.rows << " x " << shape.inner
                                                     << " x " << shape.columns << ", packed " << v.packed;
      if (testing::Test::HasFailure()) return result;
    }
  }
  return result;
}

class MatMulOnTarget : public testing::TestWithParam<int64_t> {
 protected:
  void check(const MatMulShape& shape) {
    const Variation variations[] = {
        {true, false, false, true, false, false, false, {Activation::kRelu}},
        {true, true, true, false, true, false, false, {Activation::kTanh}},
        {true, false, true, true, true, true, false, {Activation::kClip, -1, 2}},
        {false, false, false, false, false, false, false, {}},
        {false, true, false, false, true, true, false, {Activation::kLeakyRelu, 0.2f}},
        {false, false, true, false, false, false, true, {Activation::kSigmoid}},
    };
    for (const Variation& v : variations) {
      const std::vector<float> one = run_case(shape, v, 1, ++seed_, true);
      for (int threads : {2, 5}) {
        const std::vector<float> more = run_case(shape, v, threads, seed_, false);
        ASSERT_TRUE(one.empty() || memcmp(one.data(), more.data(), sizeof(float) * one.size()) == 0)
            << threads << " threads";
      }
      if (HasFailure()) return;
    }
  }

  simd::RestrictTargets only_{GetParam()};
  uint32_t seed_ = 0;
};

TEST_P(MatMulOnTarget, Small) {
  for (int64_t rows : {0, 1, 2, 7, 13, 30}) {
    for (int64_t inner : {0, 1, 5, 64}) {
      for (int64_t columns : {0, 1, 3, 15, 16, 17, 33, 100}) check({rows, inner, columns});
    }
  }
}

TEST_P(MatMulOnTarget, Large) {
  check({1, 1300, 70});
  check({5, 1024, 200});
  check({110, 520, 65});
  check({300, 30, 40});
  check({33, 2048, 17});
}

INSTANTIATE_TEST_SUITE_P(Targets, MatMulOnTarget, testing::ValuesIn(targets()));

}  // namespace
}  // namespace quench::rt::fast
