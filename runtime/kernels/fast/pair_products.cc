#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/fast/pair_products.cc"
// clang-format off
#include "formats/base/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "runtime/kernels/fast/simd-inl.h"
#include "runtime/kernels/fast/tables.h"
#include "runtime/kernels/reference/integer_products.h"

HWY_BEFORE_NAMESPACE();
namespace quench::rt::fast {
namespace HWY_NAMESPACE {

using SumTag = hn::ScalableTag<int32_t>;
using SumVector = hn::Vec<SumTag>;
constexpr int64_t kSums = HWY_LANES(int32_t);

// sum + the products of pairs.
HWY_INLINE SumVector add_pairs(SumVector a, SumVector b, SumVector sum) {
#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  const hn::Repartition<int16_t, SumTag> words;
  SumVector unused = hn::Zero(SumTag());  // x86 has one instruction for both products
  return hn::ReorderWidenMulAccumulate(SumTag(), hn::BitCast(words, a), hn::BitCast(words, b), sum, unused);
#else
  const auto first = [](SumVector pairs) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(pairs)); };
  const auto second = [](SumVector pairs) { return hn::ShiftRight<16>(pairs); };
  return hn::Add(sum, hn::Add(hn::Mul(first(a), first(b)), hn::Mul(second(a), second(b))));
#endif
}

HWY_INLINE SumVector load_pairs(const Pair* from) {
  return hn::BitCast(SumTag(), hn::LoadU(hn::ScalableTag<Pair>(), from));
}

// kRows rows by kVectors vectors of columns; of the last one `last` lanes are wanted.
template <int kRows, int kVectors>
HWY_INLINE void multiply_tile(const PairProduct& product, const Pair* a, const Pair* b, int64_t last, uint32_t* to) {
  const SumTag d;
  SumVector sums[kRows][kVectors];
  QUENCH_UNROLL
  for (int i = 0; i < kRows; ++i) {
    QUENCH_UNROLL
    for (int v = 0; v < kVectors; ++v) sums[i][v] = hn::Zero(d);
  }
  for (int64_t p = 0; p < product.pairs; ++p, b += kPairColumns) {
    SumVector right[kVectors];
    QUENCH_UNROLL
    for (int v = 0; v < kVectors; ++v) right[v] = load_pairs(b + v * kSums);
    QUENCH_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const SumVector left = hn::Set(d, static_cast<int32_t>(a[i * product.pairs + p]));
      QUENCH_UNROLL
      for (int v = 0; v < kVectors; ++v) sums[i][v] = add_pairs(left, right[v], sums[i][v]);
    }
  }
  const hn::ScalableTag<uint32_t> bits;
  QUENCH_UNROLL
  for (int i = 0; i < kRows; ++i) {
    QUENCH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      uint32_t* target = to + i * product.sums_row + v * kSums;
      if (v + 1 < kVectors || last == kSums) {
        hn::StoreU(hn::BitCast(bits, sums[i][v]), bits, target);
        continue;
      }
      HWY_ALIGN uint32_t lanes[kSums];
      hn::Store(hn::BitCast(bits, sums[i][v]), bits, lanes);
      for (int64_t j = 0; j < last; ++j) target[j] = lanes[j];
    }
  }
}

template <int kRows>
HWY_INLINE void multiply_rows(const PairProduct& product, int64_t row) {
  const Pair* a = product.a + row * product.pairs;
  uint32_t* to = product.sums + row * product.sums_row;
  for (int64_t j = 0; j < product.columns;) {
    const int64_t left = product.columns - j;
    if (left > kSums) {
      multiply_tile<kRows, 2>(product, a, product.b + j, left < 2 * kSums ? left - kSums : kSums, to + j);
      j += 2 * kSums;
    } else {
      multiply_tile<kRows, 1>(product, a, product.b + j, left, to + j);
      j += kSums;
    }
  }
}

void multiply_pairs(const PairProduct& product) {
  constexpr int kRows = 6;  // with two vectors of sums each, and what is multiplied, they fill 16 registers
  int64_t row = 0;
  for (; row + kRows <= product.rows; row += kRows) multiply_rows<kRows>(product, row);
  for (; row + 2 <= product.rows; row += 2) multiply_rows<2>(product, row);
  if (row < product.rows) multiply_rows<1>(product, row);
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::rt::fast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::rt {
namespace fast {

QUENCH_SIMD_EXPORT(multiply_pairs);

namespace {

void multiply_pairs_best(const PairProduct& product) { QUENCH_SIMD_CALL(multiply_pairs)(product); }

}  // namespace
}  // namespace fast

std::span<const Kernel> fast_integer_product_kernels() { return kIntegerProducts<fast::multiply_pairs_best>; }

}  // namespace quench::rt
#endif
