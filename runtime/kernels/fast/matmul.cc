#include "runtime/kernels/fast/matmul.h"

#include <algorithm>
#include <cstring>

#include "runtime/kernels/fast/blocking.h"
#include "runtime/kernels/fast/elementwise.h"
#include "runtime/kernels/fast/tile.h"

namespace quench::rt::fast {
namespace {

// The sum is taken in pieces of this length, so that the weights of a piece and a block of columns stay in a cache.
constexpr int64_t kDepth = 512;
// Rows of a unit: its piece of x stays in a second-level cache.
constexpr int64_t kUnitRows = 96;
// Weights that are not packed are copied if so many rows or more use them.
constexpr int64_t kCopiesWeights = 8;

struct Geometry {
  explicit Geometry(const MatMulPlan& plan)
      : tiles(tile_set()),
        vectors(divide_up(plan.shape.columns, tiles.lanes)),
        blocks(vectors, plan.block_vectors),
        depths(plan.shape.inner, kDepth),
        bias_floats(round_up(vectors * tiles.lanes, 16)) {}

  const TileSet& tiles;
  int64_t vectors;  // of columns
  Pieces blocks;    // of vectors
  Pieces depths;    // of the sum
  int64_t bias_floats;
};

// Rows whose distance is a multiple of 4 KiB share one set of the first-level cache, which holds fewer than a tile
// reads.
constexpr int64_t kCopiedRow = kDepth + 16;
bool copies_rows(const Matrix& x) { return x.column != 1 || x.row % 1024 == 0; }

void copy_matrix(const Matrix& from, int64_t rows, int64_t columns, float scale, float* to, int64_t to_row) {
  if (from.column == 1 && scale == 1.0f) {
    for (int64_t i = 0; i < rows; ++i) memcpy(to + i * to_row, from.data + i * from.row, sizeof(float) * columns);
    return;
  }
  // In squares, so that both sides use their cache lines whole.
  constexpr int64_t kSquare = 16;
  for (int64_t i0 = 0; i0 < rows; i0 += kSquare) {
    for (int64_t j0 = 0; j0 < columns; j0 += kSquare) {
      for (int64_t i = i0; i < std::min(rows, i0 + kSquare); ++i) {
        for (int64_t j = j0; j < std::min(columns, j0 + kSquare); ++j) {
          to[i * to_row + j] = scale * from.data[i * from.row + j * from.column];
        }
      }
    }
  }
}

Matrix part(const Matrix& whole, int64_t row, int64_t column) {
  return {whole.data + row * whole.row + column * whole.column, whole.row, whole.column};
}

}  // namespace

MatMulPlan plan_matmul(const MatMulShape& shape, bool packed, int threads) {
  MatMulPlan plan;
  plan.shape = shape;
  plan.packed = packed;
  const TileSet& tiles = tile_set();
  const int64_t vectors = divide_up(shape.columns, tiles.lanes);
  plan.block_vectors =
      choose_block_vectors(tiles, vectors, std::min(shape.rows, kUnitRows), std::min(shape.inner, kDepth));
  if (shape.rows == 0 || shape.columns == 0) return plan;

  const Geometry g(plan);
  const int64_t pixels = tiles.max_pixels[plan.block_vectors - 1];
  plan.unit_rows = std::min(shape.rows, round_up(kUnitRows, pixels));
  if (threads > 1) {
    const int64_t fair = round_up(divide_up(shape.rows, 2 * int64_t{threads}), pixels);
    plan.unit_rows = std::min(plan.unit_rows, fair);
  }
  const int64_t row_units = divide_up(shape.rows, plan.unit_rows);
  plan.unit_blocks = g.blocks.count;
  if (threads > 1 && row_units < 2 * threads) {
    plan.unit_blocks = divide_up(g.blocks.count, divide_up(2 * int64_t{threads}, row_units));
  }
  plan.units = row_units * divide_up(g.blocks.count, plan.unit_blocks);
  plan.scratch_floats = plan.unit_rows * kCopiedRow;
  if (!packed) plan.scratch_floats += kDepth * kMaxTileVectors * tiles.lanes;
  plan.scratch_floats = round_up(plan.scratch_floats, 16);
  return plan;
}

int64_t packed_floats(const MatMulPlan& plan) {
  const Geometry g(plan);
  return g.bias_floats + plan.shape.inner * g.vectors * g.tiles.lanes;
}

// Weights lie as [block of columns][inner][column].
void pack_matmul(const MatMulPlan& plan, const Matrix& weights, float scale, const float* bias, float* packed) {
  const Geometry g(plan);
  const int64_t lanes = g.tiles.lanes;
  std::fill(packed, packed + packed_floats(plan), 0.0f);
  if (bias) std::copy(bias, bias + plan.shape.columns, packed);
  for (int64_t b = 0; b < g.blocks.count; ++b) {
    const int64_t column = g.blocks.begin(b) * lanes;
    const int64_t width = g.blocks.size(b) * lanes;
    copy_matrix(part(weights, 0, column), plan.shape.inner, std::min(width, plan.shape.columns - column), scale,
                packed + g.bias_floats + column * plan.shape.inner, width);
  }
}

namespace {

class Unit {
 public:
  Unit(const MatMulPlan& plan, const MatMulData& data, const Geometry& geometry, float* scratch)
      : plan_(plan),
        shape_(plan.shape),
        data_(data),
        g_(geometry),
        rows_scratch_(scratch),
        weights_scratch_(scratch + plan.unit_rows * kCopiedRow) {}

  void run(int64_t unit) {
    const int64_t block_units = divide_up(g_.blocks.count, plan_.unit_blocks);
    const int64_t block = unit % block_units * plan_.unit_blocks;
    const int64_t block_end = std::min(block + plan_.unit_blocks, g_.blocks.count);
    row_ = unit / block_units * plan_.unit_rows;
    row_end_ = std::min(row_ + plan_.unit_rows, shape_.rows);
    // With nothing to sum there is still one piece, an empty one.
    pieces_ = std::max<int64_t>(g_.depths.count, 1);
    const int64_t column = g_.blocks.begin(block) * g_.tiles.lanes;
    const int64_t column_end = std::min(g_.blocks.begin(block_end) * g_.tiles.lanes, shape_.columns);
    if (pieces_ > 1 && data_.residual && data_.residual != data_.output) {
      for (int64_t row = row_; row < row_end_; ++row) {
        memcpy(data_.output + row * shape_.columns + column, data_.residual + row * shape_.columns + column,
               sizeof(float) * (column_end - column));
      }
    }
    for (piece_ = 0; piece_ < pieces_; ++piece_) {
      depth_ = g_.depths.count > 0 ? g_.depths.begin(piece_) : 0;
      depth_size_ = g_.depths.count > 0 ? g_.depths.size(piece_) : 0;
      rows_ = part(data_.x, row_, depth_);
      if (copies_rows(data_.x)) {
        copy_matrix(rows_, row_end_ - row_, depth_size_, 1.0f, rows_scratch_, kCopiedRow);
        rows_ = {rows_scratch_, kCopiedRow, 1};
      }
      for (int64_t b = block; b < block_end; ++b) run_block(b);
    }
    if (tile_activates(data_.activation.kind)) return;
    for (int64_t row = row_; row < row_end_; ++row) {
      float* values = data_.output + row * shape_.columns + column;
      activate_values(data_.activation, values, values, column_end - column);
    }
  }

 private:
  void run_block(int64_t block) {
    const int64_t lanes = g_.tiles.lanes;
    const int64_t column = g_.blocks.begin(block) * lanes;
    const int vectors = static_cast<int>(g_.blocks.size(block));
    const int64_t columns = std::min(vectors * lanes, shape_.columns - column);
    if (plan_.packed) {
      const float* weights = data_.packed + g_.bias_floats + column * shape_.inner + depth_ * vectors * lanes;
      return run_tiles(vectors, column, columns, weights, vectors * lanes);
    }
    const Matrix weights = part(data_.weights, depth_, column);
    if (weights.column == 1 && columns == vectors * lanes && row_end_ - row_ < kCopiesWeights) {
      return run_tiles(vectors, column, columns, weights.data, weights.row);
    }
    if (columns < vectors * lanes) memset(weights_scratch_, 0, sizeof(float) * depth_size_ * vectors * lanes);
    copy_matrix(weights, depth_size_, columns, 1.0f, weights_scratch_, vectors * lanes);
    run_tiles(vectors, column, columns, weights_scratch_, vectors * lanes);
  }

  void run_tiles(int vectors, int64_t column, int64_t columns, const float* weights, int64_t weights_step) {
    TileArguments t = {};
    t.input_pixel = rows_.row;
    t.rows = t.steps = 1;
    t.depth = static_cast<size_t>(depth_size_);
    t.weights = weights;
    t.weights_step = weights_step;
    t.bias = piece_ == 0 && plan_.packed ? data_.packed + column : nullptr;
    t.output_pixel = shape_.columns;
    t.last_lanes = static_cast<size_t>(columns - (vectors - 1) * g_.tiles.lanes);
    t.accumulate = piece_ > 0 || data_.accumulate || (pieces_ > 1 && data_.residual);
    t.repeat = 1;
    if (piece_ + 1 == pieces_ && tile_activates(data_.activation.kind)) t.activation = data_.activation;
    const Pieces pieces(row_end_ - row_, g_.tiles.max_pixels[vectors - 1]);
    for (int64_t p = 0; p < pieces.count; ++p) {
      const int64_t at = (row_ + pieces.begin(p)) * shape_.columns + column;
      t.input = rows_.data + pieces.begin(p) * rows_.row;
      t.output = data_.output + at;
      t.residual = pieces_ == 1 && data_.residual ? data_.residual + at : nullptr;
      g_.tiles.function(vectors, static_cast<int>(pieces.size(p)))(t);
    }
  }

  const MatMulPlan& plan_;
  const MatMulShape& shape_;
  const MatMulData& data_;
  const Geometry& g_;
  float* rows_scratch_;
  float* weights_scratch_;
  Matrix rows_;  // this unit's rows, from the current depth on
  int64_t row_ = 0, row_end_ = 0;
  int64_t piece_ = 0, pieces_ = 0;
  int64_t depth_ = 0, depth_size_ = 0;
};

}  // namespace

void run_matmul(const MatMulPlan& plan, const MatMulData& data, int64_t begin, int64_t end, float* scratch) {
  const Geometry geometry(plan);
  Unit unit(plan, data, geometry, scratch);
  for (int64_t u = begin; u < end; ++u) unit.run(u);
}

}  // namespace quench::rt::fast
