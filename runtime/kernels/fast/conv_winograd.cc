#include "runtime/kernels/fast/conv_winograd.h"

#include <cmath>

#include "runtime/kernels/fast/conv_parts.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/fast/conv_winograd.cc"
// clang-format off
#include "formats/base/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "runtime/kernels/fast/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quench::rt::fast {
namespace HWY_NAMESPACE {

// With a = 1/sqrt(2) and b = sqrt(2), Cook and Toom's construction on the points 0, a, -a, b, -b and infinity gives
// the matrices B (inputs), G (weights) and A (outputs) of which these are the products with a vector.
constexpr float kA = 0.707106781186547524f, kB = 1.41421356237309505f;

HWY_INLINE void transform_input(const FloatVector (&d)[6], FloatVector (&out)[6]) {
  const FloatTag tag;
  const FloatVector two = hn::Set(tag, 2.0f), half = hn::Set(tag, 0.5f), five_halves = hn::Set(tag, 2.5f);
  const FloatVector u = hn::NegMulAdd(two, d[2], d[4]);
  const FloatVector v = hn::Mul(hn::Set(tag, kA), hn::NegMulAdd(two, d[1], d[3]));
  const FloatVector s = hn::NegMulAdd(half, d[2], d[4]);
  const FloatVector t = hn::Mul(hn::Set(tag, kB), hn::NegMulAdd(half, d[1], d[3]));
  out[0] = hn::NegMulAdd(five_halves, d[2], hn::Add(d[0], d[4]));
  out[1] = hn::Add(u, v);
  out[2] = hn::Sub(u, v);
  out[3] = hn::Add(s, t);
  out[4] = hn::Sub(s, t);
  out[5] = hn::NegMulAdd(five_halves, d[3], hn::Add(d[1], d[5]));
}

HWY_INLINE void transform_output(const FloatVector (&m)[6], FloatVector (&out)[4]) {
  const FloatTag tag;
  const FloatVector sum_a = hn::Add(m[1], m[2]), difference_a = hn::Sub(m[1], m[2]);
  const FloatVector sum_b = hn::Add(m[3], m[4]), difference_b = hn::Sub(m[3], m[4]);
  out[0] = hn::Add(hn::Add(m[0], sum_a), sum_b);
  out[1] = hn::MulAdd(hn::Set(tag, kB), difference_b, hn::Mul(hn::Set(tag, kA), difference_a));
  out[2] = hn::MulAdd(hn::Set(tag, 2.0f), sum_b, hn::Mul(hn::Set(tag, 0.5f), sum_a));
  out[3] = hn::MulAdd(hn::Set(tag, 2 * kB), difference_b, hn::MulAdd(hn::Set(tag, 0.5f * kA), difference_a, m[5]));
}

struct Position {
  int64_t image, row, column;  // of a tile
};

HWY_INLINE Position position_of(const ConvShape& shape, int64_t tile) {
  const int64_t columns = divide_up(shape.out_width, 4), rows = divide_up(shape.out_height, 4);
  return {tile / columns / rows, tile / columns % rows, tile % columns};
}

// Channels [c, c + lanes) of `tiles` neighbouring tiles; kWhole: all these channels exist.
template <bool kWhole>
HWY_INLINE void segment_inputs(const WinogradUnit& unit, Position at, int64_t tiles, int64_t c, size_t lanes,
                               float* to) {
  const FloatTag d;
  const ConvShape& shape = *unit.shape;
  const int64_t channels = shape.in_channels;
  HWY_ALIGN static constexpr float kZeros[kLanes] = {};
  const float* rows[6];
  int64_t steps[6];
  for (int64_t i = 0; i < 6; ++i) {
    const int64_t y = 4 * at.row + i - shape.pad_top;
    const bool inside = y >= 0 && y < shape.in_height;
    rows[i] = inside ? unit.data->input + (at.image * shape.in_height + y) * shape.in_width * channels + c : kZeros;
    steps[i] = inside ? channels : 0;
  }
  const int64_t left = 4 * at.column - shape.pad_left;
  for (int64_t j = 0; j < 4 * tiles + 2; ++j) {
    float* column = unit.columns + j * 6 * kLanes;
    const int64_t x = left + j;
    if (x < 0 || x >= shape.in_width) {
      for (size_t i = 0; i < 6; ++i) hn::Store(hn::Zero(d), d, column + i * kLanes);
      continue;
    }
    FloatVector in[6], out[6];
    QUENCH_UNROLL
    for (int i = 0; i < 6; ++i) {
      const float* from = rows[i] + x * steps[i];
      in[i] = kWhole ? hn::LoadU(d, from) : load_some(from, lanes);
    }
    transform_input(in, out);
    QUENCH_UNROLL
    for (int i = 0; i < 6; ++i) hn::Store(out[i], d, column + i * kLanes);
  }
  for (int64_t t = 0; t < tiles; ++t, to += unit.input_tile) {
    const float* column = unit.columns + 4 * t * 6 * kLanes;
    float* row_to = to;
    for (size_t i = 0; i < 6; ++i) {
      FloatVector in[6], out[6];
      QUENCH_UNROLL
      for (int j = 0; j < 6; ++j) in[j] = hn::Load(d, column + (j * 6 + i) * kLanes);
      transform_input(in, out);
      QUENCH_UNROLL
      for (int j = 0; j < 6; ++j) hn::Store(out[j], d, row_to + j * unit.input_step);
      row_to += 6 * unit.input_step;
    }
  }
}

void transform_inputs(const WinogradUnit& unit) {
  const ConvShape& shape = *unit.shape;
  const int64_t columns = divide_up(shape.out_width, 4);
  for (int64_t done = 0; done < unit.count;) {
    const Position at = position_of(shape, unit.first_tile + done);
    const int64_t tiles = std::min({unit.count - done, columns - at.column, kWinogradSegment});
    float* to = unit.inputs + done * unit.input_tile;
    constexpr int64_t kStep = kLanes;
    int64_t c = 0;
    for (; c + kStep <= shape.in_channels; c += kStep) segment_inputs<true>(unit, at, tiles, c, kLanes, to + c);
    if (c < shape.in_channels) {
      segment_inputs<false>(unit, at, tiles, c, static_cast<size_t>(shape.in_channels - c), to + c);
    }
    done += tiles;
  }
}

template <bool kWhole, typename Function>
HWY_INLINE void tile_outputs(const WinogradUnit& unit, Position at, const float* from, int64_t c, size_t lanes,
                             const Function& function) {
  const FloatTag d;
  const ConvShape& shape = *unit.shape;
  FloatVector half[6][4];
  QUENCH_UNROLL
  for (int i = 0; i < 6; ++i) {
    FloatVector in[6];
    QUENCH_UNROLL
    for (int j = 0; j < 6; ++j) in[j] = hn::Load(d, from + (i * 6 + j) * unit.output_step);
    transform_output(in, half[i]);
  }
  const FloatVector bias = hn::LoadU(d, unit.bias + c);
  const int64_t rows = std::min<int64_t>(4, shape.out_height - 4 * at.row);
  const int64_t columns = std::min<int64_t>(4, shape.out_width - 4 * at.column);
  const int64_t start =
      ((at.image * shape.out_height + 4 * at.row) * shape.out_width + 4 * at.column) * shape.out_channels + c;
  const int64_t line = shape.out_width * shape.out_channels;
  const float* residual = unit.data->residual;
  QUENCH_UNROLL
  for (int j = 0; j < 4; ++j) {
    if (j >= columns) break;
    const FloatVector in[6] = {half[0][j], half[1][j], half[2][j], half[3][j], half[4][j], half[5][j]};
    FloatVector out[4];
    transform_output(in, out);
    int64_t offset = start + j * shape.out_channels;
    QUENCH_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i >= rows) break;
      FloatVector value = hn::Add(out[i], bias);
      if (residual) {
        const float* more = residual + offset;
        value = hn::Add(value, kWhole ? hn::LoadU(d, more) : load_some(more, lanes));
      }
      value = function(value);
      float* to = unit.data->output + offset;
      if (kWhole) {
        hn::StoreU(value, d, to);
      } else {
        store_some(value, to, lanes);
      }
      offset += line;
    }
  }
}

template <typename Function>
void all_outputs(const WinogradUnit& unit, const Function& function) {
  const ConvShape& shape = *unit.shape;
  const int64_t columns = divide_up(shape.out_width, 4), rows = divide_up(shape.out_height, 4);
  Position at = position_of(shape, unit.first_tile);
  constexpr int64_t kStep = kLanes;
  for (int64_t t = 0; t < unit.count; ++t) {
    const float* from = unit.outputs + t * unit.output_tile;
    int64_t c = unit.first_channel;
    for (; c + kStep <= unit.end_channel; c += kStep) tile_outputs<true>(unit, at, from + c, c, kLanes, function);
    if (c < unit.end_channel) {
      tile_outputs<false>(unit, at, from + c, c, static_cast<size_t>(unit.end_channel - c), function);
    }
    if (++at.column == columns) {
      at.column = 0;
      if (++at.row == rows) {
        at.row = 0;
        ++at.image;
      }
    }
  }
}

void transform_outputs(const WinogradUnit& unit) {
  const FloatTag d;
  const Activation& activation = unit.data->activation;
  switch (activation.kind) {
    case Activation::kNone:
      return all_outputs(unit, [](FloatVector x) HWY_ATTR { return x; });
    case Activation::kRelu:
      return all_outputs(unit, [d](FloatVector x) HWY_ATTR { return maximum(hn::Zero(d), x); });
    default:
      return all_outputs(unit, [&activation](FloatVector x) HWY_ATTR { return activate_vector(activation, x); });
  }
}

void transform_weights(const float* from, int64_t stride, int64_t count, float* to, int64_t to_step) {
  // In double precision: it is done once, and the rounding of the weights adds to that of every output.
  const double a = std::sqrt(0.5), b = std::sqrt(2.0);
  const double g[6][3] = {{1, 0, 0},
                          {-2.0 / 3, -2.0 / 3 * a, -1.0 / 3},
                          {-2.0 / 3, 2.0 / 3 * a, -1.0 / 3},
                          {1.0 / 6, b / 6, 1.0 / 3},
                          {1.0 / 6, -b / 6, 1.0 / 3},
                          {0, 0, 1}};
  double kernel[9][kLanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t k = 0; k < 9; ++k) kernel[k][i] = from[i * stride + k];
  }
  double half[6][3][kLanes];
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 3; ++x) {
      for (size_t i = 0; i < kLanes; ++i) {
        half[y][x][i] = g[y][0] * kernel[x][i] + g[y][1] * kernel[3 + x][i] + g[y][2] * kernel[6 + x][i];
      }
    }
  }
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 6; ++x, to += to_step) {
      for (size_t i = 0; i < kLanes; ++i) {
        to[i] = static_cast<float>(half[y][0][i] * g[x][0] + half[y][1][i] * g[x][1] + half[y][2][i] * g[x][2]);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::rt::fast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::rt::fast {

QUENCH_SIMD_EXPORT(transform_inputs);
QUENCH_SIMD_EXPORT(transform_outputs);
QUENCH_SIMD_EXPORT(transform_weights);

namespace {

constexpr int64_t kFrequencies = 36;
// Transformed inputs and outputs of a unit, so that they stay in a second-level cache.
constexpr int64_t kUnitFloats = 64 * 1024;

struct Geometry {
  explicit Geometry(const ConvPlan& plan)
      : tiles(tile_set()),
        vectors(divide_up(plan.shape.out_channels, tiles.lanes)),
        blocks(vectors, plan.block_vectors),
        bias_floats(round_up(vectors * tiles.lanes, 16)),
        input_tile(round_up(plan.shape.in_channels, tiles.lanes)),
        output_tile(vectors * tiles.lanes) {}

  // Apart from the tiles themselves one cache line, lest all frequencies fall into the same few sets of a cache.
  int64_t input_step(int64_t count) const { return round_up(count * input_tile, 16) + 16; }
  int64_t output_step(int64_t count) const { return round_up(count * output_tile, 16) + 16; }
  int64_t column_floats() const { return round_up(kWinogradColumns * 6 * tiles.lanes, 16); }

  const TileSet& tiles;
  int64_t vectors;  // of output channels
  Pieces blocks;    // of vectors
  int64_t bias_floats;
  int64_t input_tile, output_tile;
};

int64_t tiles_of(const ConvShape& shape) {
  return shape.batch * divide_up(shape.out_height, 4) * divide_up(shape.out_width, 4);
}

}  // namespace

void plan_winograd(ConvPlan& plan, int threads) {
  const ConvShape& shape = plan.shape;
  const TileSet& tiles = tile_set();
  const int64_t vectors = divide_up(shape.out_channels, tiles.lanes);
  const int64_t blocks_of_most = divide_up(vectors, kMaxTileVectors);
  plan.block_vectors = static_cast<int>(divide_up(vectors, blocks_of_most));
  const Geometry g(plan);
  const int64_t count = tiles_of(shape);
  if (count == 0) return;
  const int64_t fitting = kUnitFloats / (kFrequencies * (g.input_tile + g.output_tile));
  plan.unit_rows = std::max<int64_t>(fitting, tiles.max_pixels[plan.block_vectors - 1]);
  if (threads > 1) plan.unit_rows = std::min(plan.unit_rows, std::max<int64_t>(4, divide_up(count, 2 * threads)));
  plan.unit_rows = divide_up(count, divide_up(count, plan.unit_rows));
  const int64_t tile_units = divide_up(count, plan.unit_rows);
  plan.unit_blocks = g.blocks.count;
  if (threads > 1 && tile_units < threads) {
    plan.unit_blocks = divide_up(g.blocks.count, divide_up(threads, tile_units));
  }
  plan.units = tile_units * divide_up(g.blocks.count, plan.unit_blocks);
  plan.scratch_floats =
      kFrequencies * (g.input_step(plan.unit_rows) + g.output_step(plan.unit_rows)) + g.column_floats();
}

int64_t packed_floats_winograd(const ConvPlan& plan) {
  const Geometry g(plan);
  return g.bias_floats + kFrequencies * plan.shape.in_channels * g.output_tile;
}

// Weights lie as [block of output channels][frequency][input channel][output channel].
void pack_winograd(const ConvPlan& plan, const float* weights, const float* bias, float* packed) {
  const Geometry g(plan);
  const ConvShape& shape = plan.shape;
  const int64_t lanes = g.tiles.lanes;
  std::fill(packed, packed + g.bias_floats, 0.0f);
  if (bias) std::copy(bias, bias + shape.out_channels, packed);
  const auto transform = transform_weights_for_this_processor();
  for (int64_t b = 0; b < g.blocks.count; ++b) {
    const int64_t width = g.blocks.size(b) * lanes;
    float* block = packed + g.bias_floats + g.blocks.begin(b) * lanes * kFrequencies * shape.in_channels;
    for (int64_t v = 0; v < g.blocks.size(b); ++v) {
      const int64_t first = (g.blocks.begin(b) + v) * lanes;
      const int64_t count = std::min(lanes, shape.out_channels - first);
      for (int64_t i = 0; i < shape.in_channels; ++i) {
        transform(weights + (first * shape.in_channels + i) * 9, shape.in_channels * 9, count,
                  block + i * width + v * lanes, shape.in_channels * width);
      }
    }
  }
}

void run_winograd(const ConvPlan& plan, const ConvData& data, int64_t begin, int64_t end, float* scratch) {
  const Geometry g(plan);
  const ConvShape& shape = plan.shape;
  const int64_t lanes = g.tiles.lanes;
  const int64_t count = tiles_of(shape);
  const int64_t block_units = divide_up(g.blocks.count, plan.unit_blocks);

  WinogradUnit unit = {};
  unit.shape = &shape;
  unit.data = &data;
  unit.bias = data.packed;
  unit.input_tile = g.input_tile;
  unit.input_step = g.input_step(plan.unit_rows);
  unit.output_tile = g.output_tile;
  unit.output_step = g.output_step(plan.unit_rows);
  unit.inputs = scratch;
  unit.outputs = unit.inputs + kFrequencies * unit.input_step;
  unit.columns = unit.outputs + kFrequencies * unit.output_step;

  int64_t transformed = -1;
  for (int64_t u = begin; u < end; ++u) {
    const int64_t tile_unit = u / block_units;
    const int64_t block = u % block_units * plan.unit_blocks;
    const int64_t block_end = std::min(block + plan.unit_blocks, g.blocks.count);
    unit.first_tile = tile_unit * plan.unit_rows;
    unit.count = std::min(plan.unit_rows, count - unit.first_tile);
    if (tile_unit != transformed) QUENCH_SIMD_CALL(transform_inputs)(unit);
    transformed = tile_unit;

    TileArguments t = {};
    t.rows = t.steps = 1;
    t.depth = static_cast<size_t>(shape.in_channels);
    t.input_pixel = g.input_tile;
    t.output_pixel = g.output_tile;
    t.last_lanes = static_cast<size_t>(lanes);
    t.repeat = kFrequencies;
    t.input_repeat = unit.input_step;
    t.output_repeat = unit.output_step;
    for (int64_t b = block; b < block_end; ++b) {
      const int vectors = static_cast<int>(g.blocks.size(b));
      const int64_t channel = g.blocks.begin(b) * lanes;
      const Pieces pieces(unit.count, g.tiles.max_pixels[vectors - 1]);
      t.weights = data.packed + g.bias_floats + channel * kFrequencies * shape.in_channels;
      t.weights_step = vectors * lanes;
      t.weights_repeat = shape.in_channels * vectors * lanes;
      for (int64_t p = 0; p < pieces.count; ++p) {
        t.input = unit.inputs + pieces.begin(p) * g.input_tile;
        t.output = unit.outputs + pieces.begin(p) * g.output_tile + channel;
        g.tiles.function(vectors, static_cast<int>(pieces.size(p)))(t);
      }
    }
    unit.first_channel = g.blocks.begin(block) * lanes;
    unit.end_channel = std::min(g.blocks.begin(block_end) * lanes, shape.out_channels);
    QUENCH_SIMD_CALL(transform_outputs)(unit);
  }
}

}  // namespace quench::rt::fast
#endif
