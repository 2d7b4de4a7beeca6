#include "compressor/quantizer/outer_products.h"

#include <algorithm>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compressor/quantizer/outer_products.cc"
// clang-format off
#include "formats/base/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace quench::quantizer {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kRows = 6;  // 6 rows by 2 vectors: 12 accumulators and 3 operands fit the 16 registers of AVX2

// One tile: kRows rows from `first_row` by the two vectors of a panel. Both operands lie in panels [vector][lane].
template <class Tag>
HWY_INLINE void add_tile(Tag tag, const float* row_values[kRows], const float* panel, size_t width, size_t count,
                         float* tile) {
  const size_t lanes = hn::Lanes(tag);
  auto s00 = hn::Zero(tag), s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00;
  auto s30 = s00, s31 = s00, s40 = s00, s41 = s00, s50 = s00, s51 = s00;
  for (size_t v = 0; v < count; ++v) {
    const size_t at = v * width;
    const auto left = hn::LoadU(tag, panel + at), right = hn::LoadU(tag, panel + at + lanes);
    const auto add = [&](size_t row, auto& first, auto& second) HWY_ATTR {
      const auto x = hn::Set(tag, row_values[row][at]);
      first = hn::MulAdd(x, left, first);
      second = hn::MulAdd(x, right, second);
    };
    add(0, s00, s01);
    add(1, s10, s11);
    add(2, s20, s21);
    add(3, s30, s31);
    add(4, s40, s41);
    add(5, s50, s51);
  }
  const auto store = [&](size_t row, auto first, auto second) HWY_ATTR {
    hn::StoreU(first, tag, tile + row * width);
    hn::StoreU(second, tag, tile + row * width + lanes);
  };
  store(0, s00, s01);
  store(1, s10, s11);
  store(2, s20, s21);
  store(3, s30, s31);
  store(4, s40, s41);
  store(5, s50, s51);
}

void outer_products(const float* vectors, size_t count, size_t stride, size_t columns, float* sums) {
  const hn::CappedTag<float, 16> tag;
  const size_t width = 2 * hn::Lanes(tag);
  const size_t panels = (columns + width - 1) / width;
  thread_local std::vector<float> packed;
  packed.assign(panels * count * width, 0.0f);
  for (size_t p = 0; p < panels; ++p) {
    const size_t first = p * width, used = std::min(width, columns - first);
    for (size_t v = 0; v < count; ++v)
      std::copy_n(vectors + v * stride + first, used, packed.data() + (p * count + v) * width);
  }
  float tile[kRows * 32];
  for (size_t p = 0; p < panels; ++p) {
    const size_t first_column = p * width, end_column = std::min(columns, first_column + width);
    for (size_t first_row = 0; first_row < end_column; first_row += kRows) {
      const float* row_values[kRows];
      for (size_t r = 0; r < kRows; ++r) {
        const size_t row = std::min(first_row + r, columns - 1);
        row_values[r] = packed.data() + row / width * count * width + row % width;
      }
      add_tile(tag, row_values, packed.data() + p * count * width, width, count, tile);
      for (size_t r = 0; r < std::min(kRows, end_column - first_row); ++r) {
        float* out = sums + (first_row + r) * columns + first_column;
        for (size_t j = 0; j < end_column - first_column; ++j) out[j] += tile[r * width + j];
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::quantizer
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::quantizer {
QUENCH_SIMD_EXPORT(outer_products);
void add_outer_products(const float* vectors, size_t count, size_t stride, size_t columns, float* sums) {
  QUENCH_SIMD_CALL(outer_products)(vectors, count, stride, columns, sums);
}
}  // namespace quench::quantizer
#endif
