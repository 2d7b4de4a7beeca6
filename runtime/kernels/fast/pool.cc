#include "runtime/kernels/fast/pool.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/fast/pool.cc"
// clang-format off
#include "formats/base/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "runtime/kernels/fast/simd-inl.h"
#include "runtime/kernels/reference/window.h"

HWY_BEFORE_NAMESPACE();
namespace quench::rt::fast {
namespace HWY_NAMESPACE {

constexpr int64_t kStep = kLanes;
constexpr int kGroup = 4;  // vectors of channels that are pooled together

// The pixels of one window: rows x columns of them, `line` and `pixel` values apart.
struct PoolWindow {
  int64_t rows, columns;
  int64_t line, pixel;
  float scale;  // of the sum
};

template <bool kMax>
HWY_INLINE FloatVector start() {
  const FloatTag d;
  return kMax ? hn::Set(d, -std::numeric_limits<float>::infinity()) : hn::Zero(d);
}

// In this order a NaN that comes first stays, and a later one is passed over, as in a plain loop with `>`.
template <bool kMax>
HWY_INLINE FloatVector merge(FloatVector so_far, FloatVector value) {
  return kMax ? maximum(value, so_far) : hn::Add(so_far, value);
}

template <bool kMax, int kVectors>
HWY_INLINE void pool_vectors(const PoolWindow& w, const float* from, float* to) {
  const FloatTag d;
  FloatVector result[kVectors];
  QUENCH_UNROLL
  for (int v = 0; v < kVectors; ++v) result[v] = start<kMax>();
  for (int64_t i = 0; i < w.rows; ++i) {
    const float* pixel = from + i * w.line;
    for (int64_t j = 0; j < w.columns; ++j, pixel += w.pixel) {
      QUENCH_UNROLL
      for (int v = 0; v < kVectors; ++v) result[v] = merge<kMax>(result[v], hn::LoadU(d, pixel + v * kStep));
    }
  }
  QUENCH_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    hn::StoreU(kMax ? result[v] : hn::Mul(result[v], hn::Set(d, w.scale)), d, to + v * kStep);
  }
}

template <bool kMax>
HWY_INLINE void pool_rest(const PoolWindow& w, const float* from, float* to, size_t lanes) {
  const FloatTag d;
  FloatVector result = start<kMax>();
  for (int64_t i = 0; i < w.rows; ++i) {
    const float* pixel = from + i * w.line;
    for (int64_t j = 0; j < w.columns; ++j, pixel += w.pixel) result = merge<kMax>(result, load_some(pixel, lanes));
  }
  store_some(kMax ? result : hn::Mul(result, hn::Set(d, w.scale)), to, lanes);
}

template <bool kMax>
HWY_INLINE void pool_window(const PoolWindow& w, int64_t channels, const float* from, float* to) {
  int64_t c = 0;
  for (; c + kGroup * kStep <= channels; c += kGroup * kStep) pool_vectors<kMax, kGroup>(w, from + c, to + c);
  for (; c + kStep <= channels; c += kStep) pool_vectors<kMax, 1>(w, from + c, to + c);
  if (c < channels) pool_rest<kMax>(w, from + c, to + c, static_cast<size_t>(channels - c));
}

template <bool kMax>
void pool_all_rows(const PoolShape& shape, const float* input, float* output, int64_t begin, int64_t end) {
  const int64_t channels = shape.channels;
  PoolWindow w;
  w.line = shape.dilation_height * shape.in_width * channels;
  w.pixel = shape.dilation_width * channels;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t y = row % shape.out_height;
    const int64_t top = y * shape.stride_height - shape.pad_top;
    const Range rows = positions_inside(shape.kernel_height, shape.dilation_height, top, shape.in_height);
    const Range counted_rows =
        positions_inside(shape.kernel_height, shape.dilation_height, y * shape.stride_height, shape.divisor_height);
    w.rows = rows.end - rows.begin;
    const float* line = input + (row / shape.out_height * shape.in_height + top + rows.begin * shape.dilation_height) *
                                    shape.in_width * channels;
    float* to = output + row * shape.out_width * channels;
    for (int64_t x = 0; x < shape.out_width; ++x, to += channels) {
      const int64_t left = x * shape.stride_width - shape.pad_left;
      const Range columns = positions_inside(shape.kernel_width, shape.dilation_width, left, shape.in_width);
      const Range counted_columns =
          positions_inside(shape.kernel_width, shape.dilation_width, x * shape.stride_width, shape.divisor_width);
      w.columns = columns.end - columns.begin;
      const bool counts_padding = shape.divisor_height > 0;
      const int64_t size = counts_padding
                               ? (counted_rows.end - counted_rows.begin) * (counted_columns.end - counted_columns.begin)
                               : w.rows * w.columns;
      w.scale = size > 0 ? 1.0f / static_cast<float>(size) : 0.0f;
      pool_window<kMax>(w, channels, line + (left + columns.begin * shape.dilation_width) * channels, to);
    }
  }
}

void pool_span(const PoolShape& shape, const float* input, float* output, int64_t begin, int64_t end) {
  if (shape.is_max) {
    pool_all_rows<true>(shape, input, output, begin, end);
  } else {
    pool_all_rows<false>(shape, input, output, begin, end);
  }
}

// Pixels that are summed before the sum is added to that of all: rounding errors then grow with the square root.
constexpr int64_t kRun = 128;

template <bool kMax>
HWY_INLINE void pool_whole(const float* image, int64_t pixels, int64_t channels, int64_t begin, int64_t end,
                           float* to) {
  const FloatTag d;
  const FloatVector scale = hn::Set(d, 1.0f / static_cast<float>(pixels));
  for (int64_t c = begin; c < end; c += kStep) {
    const size_t lanes = static_cast<size_t>(std::min(kStep, end - c));
    FloatVector all = start<kMax>();
    for (int64_t p = 0; p < pixels; p += kRun) {
      FloatVector part = start<kMax>();
      const float* from = image + p * channels + c;
      const int64_t run = std::min(kRun, pixels - p);
      if (lanes == kLanes) {
        for (int64_t i = 0; i < run; ++i) part = merge<kMax>(part, hn::LoadU(d, from + i * channels));
      } else {
        for (int64_t i = 0; i < run; ++i) part = merge<kMax>(part, load_some(from + i * channels, lanes));
      }
      all = merge<kMax>(all, part);
    }
    store_some(kMax ? all : hn::Mul(all, scale), to + c, lanes);
  }
}

void pool_image_span(bool is_max, const float* image, int64_t pixels, int64_t channels, int64_t begin, int64_t end,
                     float* output) {
  if (is_max) {
    pool_whole<true>(image, pixels, channels, begin, end, output);
  } else {
    pool_whole<false>(image, pixels, channels, begin, end, output);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::rt::fast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::rt::fast {

QUENCH_SIMD_EXPORT(pool_span);
QUENCH_SIMD_EXPORT(pool_image_span);

void pool_rows(const PoolShape& shape, const float* input, float* output, int64_t begin, int64_t end) {
  QUENCH_SIMD_CALL(pool_span)(shape, input, output, begin, end);
}

void pool_image(bool is_max, const float* image, int64_t pixels, int64_t channels, int64_t begin, int64_t end,
                float* output) {
  QUENCH_SIMD_CALL(pool_image_span)(is_max, image, pixels, channels, begin, end, output);
}

}  // namespace quench::rt::fast
#endif
