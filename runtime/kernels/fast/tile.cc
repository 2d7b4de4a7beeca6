#include "runtime/kernels/fast/tile.h"

#include <limits>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/fast/tile.cc"
// clang-format off
#include "formats/base/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "runtime/kernels/fast/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quench::rt::fast {
namespace HWY_NAMESPACE {

// Accumulators must leave registers for the weights of a step and one input.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kMaxPixels[kMaxTileVectors] = {14, 12, 8, 6};
#else
constexpr int kMaxPixels[kMaxTileVectors] = {8, 6, 4, 3};
#endif

// kWhole: the last vector has all its lanes.
template <int kVectors, bool kWhole>
HWY_INLINE FloatVector load_part(const float* from, int v, size_t last_lanes) {
  if (kWhole || v + 1 < kVectors) return hn::LoadU(FloatTag(), from + v * kLanes);
  return load_some(from + v * kLanes, last_lanes);
}

// Adds the residual, applies the activation and stores.
template <int kVectors, int kPixels, bool kWhole>
HWY_INLINE void finish(const TileArguments& t, FloatVector (&sum)[kPixels][kVectors], float* output) {
  const FloatTag d;
  if (t.residual) {
    QUENCH_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      QUENCH_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        sum[p][v] = hn::Add(sum[p][v], load_part<kVectors, kWhole>(t.residual + p * t.output_pixel, v, t.last_lanes));
      }
    }
  }
  if (t.activation.kind == Activation::kRelu || t.activation.kind == Activation::kClip) {
    const bool clip = t.activation.kind == Activation::kClip;
    const FloatVector low = hn::Set(d, clip ? t.activation.a : 0.0f);
    const FloatVector high = hn::Set(d, clip ? t.activation.b : std::numeric_limits<float>::infinity());
    QUENCH_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      QUENCH_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[p][v] = clamp(low, sum[p][v], high);
    }
  } else if (t.activation.kind == Activation::kLeakyRelu) {
    const FloatVector slope = hn::Set(d, t.activation.a);
    QUENCH_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      QUENCH_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const FloatVector x = sum[p][v];
        sum[p][v] = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(slope, x), x);
      }
    }
  }
  QUENCH_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    float* to = output + p * t.output_pixel;
    QUENCH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (kWhole || v + 1 < kVectors) {
        hn::StoreU(sum[p][v], d, to + v * kLanes);
      } else {
        store_some(sum[p][v], to + v * kLanes, t.last_lanes);
      }
    }
  }
}

template <int kVectors, int kPixels>
HWY_INLINE void tile_once(const TileArguments& t, const float* input, const float* weights, float* output) {
  const FloatTag d;
  FloatVector sum[kPixels][kVectors];
  QUENCH_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const FloatVector start = t.bias ? hn::LoadU(d, t.bias + v * kLanes) : hn::Zero(d);
    QUENCH_UNROLL
    for (int p = 0; p < kPixels; ++p) sum[p][v] = start;
  }
  if (t.accumulate) {
    QUENCH_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      QUENCH_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        sum[p][v] = hn::Add(sum[p][v], load_part<kVectors, false>(output + p * t.output_pixel, v, t.last_lanes));
      }
    }
  }

  // One pointer for three pixels: the processor adds one or two strides for free, while a pointer each would not fit
  // the general registers.
  constexpr int kPointers = (kPixels + 2) / 3;
  const ptrdiff_t stride = t.input_pixel;
  const ptrdiff_t weights_step = t.weights_step;
  const float* row = input;
  const float* start = input;
  size_t step = 0;
  for (size_t s = t.rows * t.steps; s != 0; --s) {
    const float* from[kPointers];
    QUENCH_UNROLL
    for (int i = 0; i < kPointers; ++i) from[i] = start + 3 * i * stride;
    for (size_t k = 0; k < t.depth; ++k) {
      FloatVector weight[kVectors];
      QUENCH_UNROLL
      for (int v = 0; v < kVectors; ++v) weight[v] = hn::LoadU(d, weights + v * kLanes);
      weights += weights_step;
      QUENCH_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const FloatVector x = hn::Set(d, from[p / 3][(p % 3) * stride]);
        QUENCH_UNROLL
        for (int v = 0; v < kVectors; ++v) sum[p][v] = hn::MulAdd(x, weight[v], sum[p][v]);
      }
      QUENCH_UNROLL
      for (int i = 0; i < kPointers; ++i) ++from[i];
    }
    start += t.step;
    if (++step == t.steps) {
      step = 0;
      row += t.row_step;
      start = row;
    }
  }
  if (t.last_lanes == kLanes) {
    finish<kVectors, kPixels, true>(t, sum, output);
  } else {
    finish<kVectors, kPixels, false>(t, sum, output);
  }
}

template <int kVectors, int kPixels>
void tile(const TileArguments& t) {
  const float* input = t.input;
  const float* weights = t.weights;
  float* output = t.output;
  for (size_t i = 0; i < t.repeat; ++i) {
    tile_once<kVectors, kPixels>(t, input, weights, output);
    input += t.input_repeat;
    weights += t.weights_repeat;
    output += t.output_repeat;
  }
}

template <int kVectors, typename = std::make_integer_sequence<int, kMaxPixels[kVectors - 1]>>
struct Functions;

template <int kVectors, int... kPixelsMinusOne>
struct Functions<kVectors, std::integer_sequence<int, kPixelsMinusOne...>> {
  static constexpr TileFunction kTable[] = {&tile<kVectors, kPixelsMinusOne + 1>...};
};

const TileSet& tiles() {
  static constexpr TileSet kSet = {
      static_cast<int>(kLanes),
      {kMaxPixels[0], kMaxPixels[1], kMaxPixels[2], kMaxPixels[3]},
      {Functions<1>::kTable, Functions<2>::kTable, Functions<3>::kTable, Functions<4>::kTable}};
  return kSet;
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::rt::fast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::rt::fast {

QUENCH_SIMD_EXPORT(tiles);

const TileSet& tile_set() { return QUENCH_SIMD_CALL(tiles)(); }

}  // namespace quench::rt::fast
#endif
