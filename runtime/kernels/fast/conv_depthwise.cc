#include "runtime/kernels/fast/conv_depthwise.h"

#include "runtime/kernels/fast/conv_parts.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/fast/conv_depthwise.cc"
// clang-format off
#include "formats/base/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "runtime/kernels/fast/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quench::rt::fast {
namespace HWY_NAMESPACE {

constexpr int kPixels = 4;

// Taps [first, last) of a window whose first tap lies at `start` that are inside [0, size).
HWY_INLINE void taps_inside(int64_t start, int64_t dilation, int64_t kernel, int64_t size, int64_t* first,
                            int64_t* last) {
  *first = start < 0 ? std::min(divide_up(-start, dilation), kernel) : 0;
  *last = start >= size ? 0 : std::min(kernel, (size - 1 - start) / dilation + 1);
}

template <bool kWhole>
HWY_INLINE FloatVector load_channels(const float* from, size_t lanes) {
  return kWhole ? hn::LoadU(FloatTag(), from) : load_some(from, lanes);
}

template <bool kWhole, int kCount>
HWY_INLINE void depthwise_pixels(const DepthwiseRows& r, int64_t y, int64_t x, int64_t first_tap, int64_t last_tap) {
  const FloatTag d;
  const ConvShape& shape = r.plan->shape;
  const int64_t channels = shape.in_channels;
  FloatVector sum[kCount];
  QUENCH_UNROLL
  for (int p = 0; p < kCount; ++p) sum[p] = hn::LoadU(d, r.bias);

  const int64_t top = y * shape.stride_height - shape.pad_top;
  const int64_t left = x * shape.stride_width - shape.pad_left;
  int64_t first_row, last_row;
  taps_inside(top, shape.dilation_height, shape.kernel_height, shape.in_height, &first_row, &last_row);
  const int64_t pixel = shape.stride_width * channels;
  for (int64_t i = first_row; i < last_row; ++i) {
    const float* line =
        r.data->input +
        ((r.image * shape.in_height + top + i * shape.dilation_height) * shape.in_width + left) * channels + r.channel;
    const float* weights = r.weights + i * shape.kernel_width * static_cast<int64_t>(kLanes);
    for (int64_t j = first_tap; j < last_tap; ++j) {
      const FloatVector weight = hn::LoadU(d, weights + j * static_cast<int64_t>(kLanes));
      const float* from = line + j * shape.dilation_width * channels;
      QUENCH_UNROLL
      for (int p = 0; p < kCount; ++p) {
        sum[p] = hn::MulAdd(load_channels<kWhole>(from + p * pixel, r.lanes), weight, sum[p]);
      }
    }
  }
  const int64_t at = ((r.image * shape.out_height + y) * shape.out_width + x) * channels + r.channel;
  QUENCH_UNROLL
  for (int p = 0; p < kCount; ++p) {
    const int64_t offset = at + p * channels;
    FloatVector value = sum[p];
    if (r.data->residual) value = hn::Add(value, load_channels<kWhole>(r.data->residual + offset, r.lanes));
    value = activate_vector(r.data->activation, value);
    if (kWhole) {
      hn::StoreU(value, d, r.data->output + offset);
    } else {
      store_some(value, r.data->output + offset, r.lanes);
    }
  }
}

template <bool kWhole>
HWY_INLINE void depthwise_channels(const DepthwiseRows& r) {
  const ConvShape& shape = r.plan->shape;
  // Columns [inside, inside_end) see the whole width of their windows.
  const int64_t reach = (shape.kernel_width - 1) * shape.dilation_width + 1;
  const int64_t inside = std::min(divide_up(shape.pad_left, shape.stride_width), shape.out_width);
  const int64_t room = shape.in_width + shape.pad_left - reach;
  const int64_t inside_end = std::clamp(room < 0 ? 0 : room / shape.stride_width + 1, inside, shape.out_width);
  for (int64_t y = r.row; y < r.row_end; ++y) {
    int64_t x = 0;
    while (x < shape.out_width) {
      if (x >= inside && x + kPixels <= inside_end) {
        depthwise_pixels<kWhole, kPixels>(r, y, x, 0, shape.kernel_width);
        x += kPixels;
        continue;
      }
      int64_t first_tap, last_tap;
      taps_inside(x * shape.stride_width - shape.pad_left, shape.dilation_width, shape.kernel_width, shape.in_width,
                  &first_tap, &last_tap);
      depthwise_pixels<kWhole, 1>(r, y, x, first_tap, last_tap);
      ++x;
    }
  }
}

void depthwise_rows(const DepthwiseRows& rows) {
  if (rows.lanes == kLanes) {
    depthwise_channels<true>(rows);
  } else {
    depthwise_channels<false>(rows);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::rt::fast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::rt::fast {

QUENCH_SIMD_EXPORT(depthwise_rows);

namespace {

int64_t vectors_of(const ConvPlan& plan) { return divide_up(plan.shape.in_channels, tile_set().lanes); }
int64_t bias_floats(const ConvPlan& plan) { return round_up(vectors_of(plan) * tile_set().lanes, 16); }

}  // namespace

void plan_depthwise(ConvPlan& plan, int threads) {
  const ConvShape& shape = plan.shape;
  if (shape.batch == 0 || shape.out_height == 0 || shape.out_width == 0) return;
  // A strip's input for all vectors of channels shares the cache lines of its pixels.
  const int64_t line = std::max<int64_t>(shape.in_width * shape.in_channels * shape.stride_height, 1);
  plan.unit_rows = std::clamp<int64_t>(64 * 1024 / line, 1, shape.out_height);
  if (threads > 1) {
    const int64_t fair = divide_up(shape.out_height * shape.batch, 4 * int64_t{threads});
    plan.unit_rows = std::clamp<int64_t>(fair, 1, plan.unit_rows);
  }
  plan.units = shape.batch * divide_up(shape.out_height, plan.unit_rows);
}

int64_t packed_floats_depthwise(const ConvPlan& plan) {
  const int64_t taps = plan.shape.kernel_height * plan.shape.kernel_width;
  return bias_floats(plan) + taps * vectors_of(plan) * tile_set().lanes;
}

// Weights lie as [vector of channels][tap][lane].
void pack_depthwise(const ConvPlan& plan, const float* weights, const float* bias, float* packed) {
  const int64_t lanes = tile_set().lanes;
  const int64_t taps = plan.shape.kernel_height * plan.shape.kernel_width;
  std::fill(packed, packed + packed_floats_depthwise(plan), 0.0f);
  if (bias) std::copy(bias, bias + plan.shape.in_channels, packed);
  float* to = packed + bias_floats(plan);
  for (int64_t c = 0; c < plan.shape.in_channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) to[(c / lanes * taps + t) * lanes + c % lanes] = weights[c * taps + t];
  }
}

void run_depthwise(const ConvPlan& plan, const ConvData& data, int64_t begin, int64_t end, float*) {
  const ConvShape& shape = plan.shape;
  const int64_t lanes = tile_set().lanes;
  const int64_t taps = shape.kernel_height * shape.kernel_width;
  const int64_t row_units = divide_up(shape.out_height, plan.unit_rows);
  const auto run_rows = depthwise_rows_for_this_processor();
  DepthwiseRows rows = {};
  rows.plan = &plan;
  rows.data = &data;
  for (int64_t u = begin; u < end; ++u) {
    rows.image = u / row_units;
    rows.row = u % row_units * plan.unit_rows;
    rows.row_end = std::min(rows.row + plan.unit_rows, shape.out_height);
    for (int64_t c = 0; c < shape.in_channels; c += lanes) {
      rows.channel = c;
      rows.lanes = static_cast<size_t>(std::min(lanes, shape.in_channels - c));
      rows.bias = data.packed + c;
      rows.weights = data.packed + bias_floats(plan) + c * taps;
      run_rows(rows);
    }
  }
}

}  // namespace quench::rt::fast
#endif
