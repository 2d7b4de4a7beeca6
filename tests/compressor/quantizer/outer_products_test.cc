#include "compressor/quantizer/outer_products.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "formats/base/simd_dispatch.h"

namespace quench::quantizer {
namespace {

// Every compiled instruction set against the definition, for widths around the sizes of its tiles.
TEST(OuterProducts, AreTheSumOverVectors) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.2f, 1.0f);
  for (const int64_t target : {HWY_SCALAR, HWY_EMU128, HWY_SSE4, HWY_AVX2, HWY_AVX3, HWY_NEON}) {
    const simd::RestrictTargets only(target);
    if (!only.possible()) continue;
    for (const size_t columns : {1, 5, 9, 31, 32, 33, 100}) {
      for (const size_t count : {1, 7, 256}) {
        const size_t stride = columns + 3;
        std::vector<float> vectors(count * stride);
        for (float& value : vectors) value = normal(random);
        std::vector<float> sums(columns * columns, 1.5f);  // what was there stays in
        add_outer_products(vectors.data(), count, stride, columns, sums.data());
        for (size_t i = 0; i < columns; ++i) {
          for (size_t j = i; j < columns; ++j) {
            double expected = 1.5, size = 1;
            for (size_t v = 0; v < count; ++v) {
              const double product = static_cast<double>(vectors[v * stride + i]) * vectors[v * stride + j];
              expected += product;
              size += std::abs(product);
            }
            ASSERT_NEAR(sums[i * columns + j], expected, 1e-5 * size)
                << columns << " " << count << " " << i << " " << j;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace quench::quantizer
