#include "runtime/kernels/fast/conv_parts.h"
#include "runtime/kernels/fast/elementwise.h"

namespace quench::rt::fast {
namespace {

constexpr int64_t kStripFloats = 32 * 1024;  // with its outputs and weights it stays in a second-level cache

int64_t window(int64_t outputs, int64_t stride, int64_t kernel, int64_t dilation) {
  return (outputs - 1) * stride + (kernel - 1) * dilation + 1;
}

// Pixels whose distance is a multiple of 4 KiB share one set of the first-level cache, which holds fewer than a tile
// reads.
int64_t copied_pixel(const ConvShape& shape) {
  return shape.in_channels % 1024 == 0 ? shape.in_channels + 16 : shape.in_channels;
}

// All pixels in one row: there is no window.
bool is_pointwise(const ConvShape& shape) {
  return shape.kernel_height == 1 && shape.kernel_width == 1 && shape.stride_height == 1 && shape.stride_width == 1 &&
         shape.pad_top == 0 && shape.pad_left == 0 && shape.out_height == shape.in_height &&
         shape.out_width == shape.in_width && shape.input_layout == Layout::kChannelsLast && shape.output_pixel == 0;
}

bool stays_inside(const ConvShape& shape) {
  return shape.pad_top == 0 && shape.pad_left == 0 &&
         window(shape.out_height, shape.stride_height, shape.kernel_height, shape.dilation_height) <= shape.in_height &&
         window(shape.out_width, shape.stride_width, shape.kernel_width, shape.dilation_width) <= shape.in_width;
}

struct Geometry {
  explicit Geometry(const ConvPlan& plan)
      : tiles(tile_set()),
        group_inputs(plan.shape.in_channels / plan.shape.groups),
        group_outputs(plan.shape.out_channels / plan.shape.groups),
        vectors(divide_up(group_outputs, tiles.lanes)),
        taps(plan.shape.kernel_height * plan.shape.kernel_width),
        blocks(vectors, plan.block_vectors) {}

  int64_t bias_floats(int64_t groups) const { return round_up(groups * vectors * tiles.lanes, 16); }
  // Where the weights of a vector of output channels begin; those of a block follow each other.
  int64_t weights_at(int64_t group, int64_t vector) const {
    return (group * vectors + vector) * taps * group_inputs * tiles.lanes;
  }

  const TileSet& tiles;
  int64_t group_inputs, group_outputs;
  int64_t vectors;  // of one group's outputs
  int64_t taps;
  Pieces blocks;  // of vectors
};

}  // namespace

void plan_direct(ConvPlan& plan, int threads) {
  const ConvShape& shape = plan.shape;
  const TileSet& tiles = tile_set();
  const int64_t vectors = divide_up(shape.out_channels / shape.groups, tiles.lanes);
  const int64_t sum_length = shape.kernel_height * shape.kernel_width * (shape.in_channels / shape.groups);
  const bool pointwise = is_pointwise(shape);
  const int64_t rows = pointwise ? 1 : shape.batch * shape.out_height;
  const int64_t columns = pointwise ? shape.batch * shape.out_height * shape.out_width : shape.out_width;
  plan.block_vectors = choose_block_vectors(tiles, vectors, columns, sum_length);
  plan.copies_input = shape.input_layout == Layout::kRowMajor || !(pointwise || stays_inside(shape)) ||
                      copied_pixel(shape) != shape.in_channels;
  if (rows == 0 || columns == 0) return;

  const int64_t pixel = copied_pixel(shape);
  const int64_t most_columns = std::max<int64_t>(
      12 * (pointwise ? 4 : 2), kStripFloats / pixel / shape.kernel_height / (pointwise ? 1 : shape.stride_width));
  plan.unit_columns = divide_up(columns, divide_up(columns, most_columns));
  const int64_t strip_width =
      pointwise ? plan.unit_columns
                : window(plan.unit_columns, shape.stride_width, shape.kernel_width, shape.dilation_width);
  const int64_t column_units = divide_up(columns, plan.unit_columns);

  plan.unit_rows = 1;
  if (!pointwise) {
    const int64_t fitting = kStripFloats / (strip_width * pixel) - (shape.kernel_height - 1) * shape.dilation_height;
    const int64_t fair = divide_up(shape.out_height * shape.batch * column_units, 4 * int64_t{threads});
    plan.unit_rows = std::clamp<int64_t>(fitting / shape.stride_height, 1, shape.out_height);
    if (threads > 1) plan.unit_rows = std::min(plan.unit_rows, std::max<int64_t>(fair, 1));
  } else if (threads > 1) {
    const int64_t fair = round_up(divide_up(columns, 4 * int64_t{threads}), 12);
    plan.unit_columns = std::min(plan.unit_columns, fair);
  }
  const int64_t row_units = pointwise ? 1 : shape.batch * divide_up(shape.out_height, plan.unit_rows);
  const int64_t spatial_units = row_units * divide_up(columns, plan.unit_columns);

  // With few pixels, threads share the channels.
  const int64_t blocks = divide_up(vectors, plan.block_vectors) * shape.groups;
  plan.unit_blocks = blocks;
  if (threads > 1 && spatial_units < 4 * threads) {
    plan.unit_blocks = divide_up(blocks, divide_up(4 * int64_t{threads}, spatial_units));
  }
  plan.units = spatial_units * divide_up(blocks, plan.unit_blocks);
  if (plan.copies_input) {
    const int64_t strip_height =
        pointwise ? 1 : window(plan.unit_rows, shape.stride_height, shape.kernel_height, shape.dilation_height);
    plan.scratch_floats = round_up(strip_height * strip_width * pixel, 16);
  }
}

int64_t packed_floats_direct(const ConvPlan& plan) {
  const Geometry g(plan);
  return g.bias_floats(plan.shape.groups) + g.weights_at(plan.shape.groups, 0);
}

void pack_direct(const ConvPlan& plan, const float* weights, const WeightSteps& steps, const float* bias,
                 float* packed) {
  const Geometry g(plan);
  const ConvShape& shape = plan.shape;
  const int64_t lanes = g.tiles.lanes;
  const int64_t bias_floats = g.bias_floats(shape.groups);
  std::fill(packed, packed + packed_floats_direct(plan), 0.0f);
  for (int64_t group = 0; group < shape.groups; ++group) {
    for (int64_t b = 0; b < g.blocks.count; ++b) {
      const int64_t first = g.blocks.begin(b) * lanes;
      const int64_t width = g.blocks.size(b) * lanes;
      const int64_t end = std::min(first + width, g.group_outputs);
      float* block = packed + bias_floats + g.weights_at(group, g.blocks.begin(b));
      for (int64_t o = first; o < end; ++o) {
        const int64_t channel = group * g.group_outputs + o;
        if (bias) packed[group * g.vectors * lanes + o] = bias[channel];
        const float* from = weights + group * steps.group + o * steps.output;
        float* to = block + (o - first);
        for (int64_t y = 0; y < shape.kernel_height; ++y) {
          for (int64_t x = 0; x < shape.kernel_width; ++x) {
            const float* tap = from + y * steps.row + x * steps.column;
            for (int64_t i = 0; i < g.group_inputs; ++i, to += width) *to = tap[i * steps.input];
          }
        }
      }
    }
  }
}

namespace {

// One unit's outputs: rows [row, row_end) of one image (or 0 for pointwise), columns [column, column_end).
class DirectUnit {
 public:
  DirectUnit(const ConvPlan& plan, const ConvData& data, const Geometry& geometry)
      : plan_(plan), shape_(plan.shape), data_(data), g_(geometry), pointwise_(is_pointwise(plan.shape)) {
    const bool is_dense = shape_.output_pixel == 0;
    output_pixel_ = is_dense ? shape_.out_channels : shape_.output_pixel;
    output_line_ = is_dense ? shape_.out_width * output_pixel_ : shape_.output_line;
    output_image_ = is_dense ? shape_.out_height * output_line_ : shape_.output_image;
  }

  void run(int64_t unit, float* scratch) {
    const int64_t columns = pointwise_ ? shape_.batch * shape_.out_height * shape_.out_width : shape_.out_width;
    const int64_t column_units = divide_up(columns, plan_.unit_columns);
    const int64_t all_blocks = g_.blocks.count * shape_.groups;
    const int64_t block_units = divide_up(all_blocks, plan_.unit_blocks);
    const int64_t block = unit % block_units * plan_.unit_blocks;
    const int64_t block_end = std::min(block + plan_.unit_blocks, all_blocks);
    unit /= block_units;
    column_ = unit % column_units * plan_.unit_columns;
    column_end_ = std::min(column_ + plan_.unit_columns, columns);
    unit /= column_units;
    if (pointwise_) {
      image_ = 0;
      row_ = 0;
      row_end_ = 1;
    } else {
      const int64_t row_units = divide_up(shape_.out_height, plan_.unit_rows);
      image_ = unit / row_units;
      row_ = unit % row_units * plan_.unit_rows;
      row_end_ = std::min(row_ + plan_.unit_rows, shape_.out_height);
    }
    prepare_input(scratch);
    for (int64_t b = block; b < block_end; ++b) run_block(b / g_.blocks.count, b % g_.blocks.count);
    if (!tile_activates(data_.activation.kind)) activate(block, block_end);
  }

 private:
  int64_t output_at(int64_t row, int64_t column) const {
    return image_ * output_image_ + row * output_line_ + column * output_pixel_;
  }

  void prepare_input(float* scratch) {
    pixel_ = shape_.in_channels;
    if (!plan_.copies_input) {
      const int64_t top = pointwise_ ? 0 : image_ * shape_.in_height + row_ * shape_.stride_height;
      const int64_t left = pointwise_ ? column_ : column_ * shape_.stride_width;
      line_ = shape_.in_width * pixel_;
      input_ = data_.input + top * line_ + left * pixel_;
      return;
    }
    pixel_ = copied_pixel(shape_);
    input_ = scratch;
    if (pointwise_) {
      const int64_t width = column_end_ - column_;
      ConvShape flat = shape_;
      flat.batch = flat.in_height = 1;
      flat.in_width = shape_.batch * shape_.in_height * shape_.in_width;
      line_ = width * pixel_;
      return copy_window(flat, data_.input, 0, 0, 1, column_, width, scratch, pixel_);
    }
    const int64_t height = window(row_end_ - row_, shape_.stride_height, shape_.kernel_height, shape_.dilation_height);
    const int64_t width =
        window(column_end_ - column_, shape_.stride_width, shape_.kernel_width, shape_.dilation_width);
    line_ = width * pixel_;
    copy_window(shape_, data_.input, image_, row_ * shape_.stride_height - shape_.pad_top, height,
                column_ * shape_.stride_width - shape_.pad_left, width, scratch, pixel_);
  }

  void run_block(int64_t group, int64_t block) {
    const int64_t lanes = g_.tiles.lanes;
    const int64_t vector = g_.blocks.begin(block);
    const int vectors = static_cast<int>(g_.blocks.size(block));
    const int64_t channel = group * g_.group_outputs + vector * lanes;
    const int64_t valid = std::min<int64_t>(g_.group_outputs - vector * lanes, vectors * lanes);
    const float* weights = data_.packed + g_.bias_floats(shape_.groups) + g_.weights_at(group, vector);

    TileArguments t = {};
    t.repeat = 1;
    t.input_pixel = pixel_ * shape_.stride_width;
    t.bias = data_.packed + (group * g_.vectors + vector) * lanes;
    t.output_pixel = output_pixel_;
    t.last_lanes = static_cast<size_t>(valid - (vectors - 1) * lanes);

    // Neighbours in a row of the window are neighbours in memory if nothing lies between them.
    const bool joined = shape_.dilation_width == 1 && shape_.groups == 1 && pixel_ == shape_.in_channels;
    t.rows = static_cast<size_t>(shape_.kernel_height);
    t.row_step = shape_.dilation_height * line_;
    t.steps = static_cast<size_t>(joined ? 1 : shape_.kernel_width);
    t.step = shape_.dilation_width * pixel_;
    t.depth = static_cast<size_t>(joined ? shape_.kernel_width * g_.group_inputs : g_.group_inputs);
    t.weights = weights;
    t.weights_step = vectors * lanes;
    if (tile_activates(data_.activation.kind)) t.activation = data_.activation;

    const Pieces pieces(column_end_ - column_, g_.tiles.max_pixels[vectors - 1]);
    for (int64_t row = row_; row < row_end_; ++row) {
      const float* line = input_ + (row - row_) * shape_.stride_height * line_ + group * g_.group_inputs;
      for (int64_t i = 0; i < pieces.count; ++i) {
        const int64_t at = output_at(row, column_ + pieces.begin(i)) + channel;
        t.input = line + pieces.begin(i) * t.input_pixel;
        t.output = data_.output + at;
        t.residual = data_.residual ? data_.residual + at : nullptr;
        g_.tiles.function(vectors, static_cast<int>(pieces.size(i)))(t);
      }
    }
  }

  // Channels of the blocks [block, block_end).
  void activate(int64_t block, int64_t block_end) {
    const auto first_channel = [&](int64_t b) {
      const int64_t group = b / g_.blocks.count;
      return std::min(group * g_.group_outputs + g_.blocks.begin(b % g_.blocks.count) * g_.tiles.lanes,
                      shape_.out_channels);
    };
    const int64_t first = first_channel(block);
    const int64_t count = first_channel(block_end) - first;
    for (int64_t row = row_; row < row_end_; ++row) {
      const int64_t at = output_at(row, column_) + first;
      if (count == output_pixel_) {
        activate_at(at, count * (column_end_ - column_));
        continue;
      }
      for (int64_t x = 0; x < column_end_ - column_; ++x) activate_at(at + x * output_pixel_, count);
    }
  }

  void activate_at(int64_t at, int64_t count) {
    activate_values(data_.activation, data_.output + at, data_.output + at, count);
  }

  const ConvPlan& plan_;
  const ConvShape& shape_;
  const ConvData& data_;
  const Geometry& g_;
  const bool pointwise_;
  int64_t image_ = 0, row_ = 0, row_end_ = 0, column_ = 0, column_end_ = 0;
  const float* input_ = nullptr;
  int64_t pixel_ = 0;  // floats from one input pixel to the next
  int64_t line_ = 0;   // and from one line to the next
  int64_t output_pixel_ = 0, output_line_ = 0, output_image_ = 0;
};

}  // namespace

void run_direct(const ConvPlan& plan, const ConvData& data, int64_t begin, int64_t end, float* scratch) {
  const Geometry geometry(plan);
  DirectUnit unit(plan, data, geometry);
  for (int64_t u = begin; u < end; ++u) unit.run(u, scratch);
}

}  // namespace quench::rt::fast
