// Operators that read an image at places that are inputs: GridSample, RoiAlign, MaxRoiPool.

#include <algorithm>
#include <cmath>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/window.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// GridSample: X is batch x channels x up to three spatial axes; for each output element the grid has a place in it, in
// [-1, 1] along every axis, the last axis first.

enum class Interpolation : uint8_t { kNearest, kLinear, kCubic };
enum class Outside : uint8_t { kZeros, kBorder, kReflection };

struct GridState {
  Interpolation interpolation;
  Outside outside;
  bool aligns_corners;
};

// The elements of an axis that a place is made of.
struct Taps {
  int count = 0;
  int64_t index[4] = {};
  double weight[4] = {};

  void add(int64_t at, double factor) {
    index[count] = at;
    weight[count++] = factor;
  }
};

// Mirrored at low and high until it lies between them.
double reflect(double x, double low, double high) {
  const double width = high - low;
  if (width <= 0) return low;
  const double turns = std::floor((x - low) / width);
  const double rest = x - low - turns * width;
  return std::fmod(turns, 2) == 0 ? low + rest : high - rest;
}

// The weight of an element at a distance, by cubic convolution with a = -0.75.
double cubic(double distance) {
  constexpr double kA = -0.75;
  const double d = std::fabs(distance);
  if (d <= 1) return ((kA + 2) * d - (kA + 3)) * d * d + 1;
  return d < 2 ? ((d - 5) * d + 8) * d * kA - 4 * kA : 0;
}

class GridAxis {
 public:
  GridAxis(const GridState& state, int64_t size)
      : state_(state),
        size_(size),
        low_(state.aligns_corners ? 0 : -0.5),
        high_(static_cast<double>(size) - (state.aligns_corners ? 1 : 0.5)) {}

  Taps taps(float place) const {
    Taps taps;
    double x = state_.aligns_corners ? (place + 1.0) / 2 * (high_ - low_) : (place + 1.0) * (high_ - low_) / 2 - 0.5;
    // NaN lies outside, and what is far outside is not farther than integers go.
    constexpr double kFar = 0x1p50;
    x = x < kFar ? x > -kFar ? x : -kFar : x >= kFar ? kFar : -kFar;
    if (state_.interpolation == Interpolation::kNearest) x = std::nearbyint(x);
    if (x < low_ || x > high_) x = inside(x);
    const double floor = std::floor(x);
    const auto first = static_cast<int64_t>(floor);
    const double rest = x - floor;
    switch (state_.interpolation) {
      case Interpolation::kNearest:
        add(first, 1, &taps);
        break;
      case Interpolation::kLinear:
        add(first, 1 - rest, &taps);
        add(first + 1, rest, &taps);
        break;
      case Interpolation::kCubic:
        for (int i = -1; i < 3; ++i) add(first + i, cubic(rest - i), &taps);
        break;
    }
    return taps;
  }

 private:
  double inside(double x) const {
    if (state_.outside == Outside::kBorder) return std::clamp(x, 0.0, static_cast<double>(size_ - 1));
    return state_.outside == Outside::kReflection ? reflect(x, low_, high_) : x;
  }
  void add(int64_t at, double weight, Taps* taps) const {
    if (at >= 0 && at < size_) return taps->add(at, weight);
    if (state_.outside == Outside::kZeros) return taps->add(0, 0);
    const auto moved = static_cast<int64_t>(inside(static_cast<double>(at)));
    taps->add(std::clamp<int64_t>(moved, 0, size_ - 1), weight);
  }

  const GridState& state_;
  int64_t size_;
  double low_;
  double high_;
};

Status read_grid_state(const Attributes& attributes, GridState* state) {
  const std::string_view mode = attributes.get_string("mode", "linear");
  const std::string_view padding = attributes.get_string("padding_mode", "zeros");
  // Version 20 has other names for two of them.
  if (mode == "nearest") {
    state->interpolation = Interpolation::kNearest;
  } else if (mode == "linear" || mode == "bilinear") {
    state->interpolation = Interpolation::kLinear;
  } else if (mode == "cubic" || mode == "bicubic") {
    state->interpolation = Interpolation::kCubic;
  } else {
    return Status::error(StatusCode::kInvalidArgument, "mode is none of nearest, linear and cubic");
  }
  if (padding == "zeros") {
    state->outside = Outside::kZeros;
  } else if (padding == "border") {
    state->outside = Outside::kBorder;
  } else if (padding == "reflection") {
    state->outside = Outside::kReflection;
  } else {
    return Status::error(StatusCode::kInvalidArgument, "padding_mode is none of zeros, border and reflection");
  }
  state->aligns_corners = attributes.get_int("align_corners", 0) != 0;
  return Status();
}

Status infer_grid_sample(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  QUENCH_RETURN_IF_ERROR(read_grid_state(context.attributes(), &context.state<GridState>()));
  const Shape& x = context.input(0)->shape;
  const Shape& grid = context.input(1)->shape;
  const int spatial = x.rank - 2;
  if (spatial < 1 || spatial > kSpatialAxes || grid.rank != x.rank || grid[0] != x[0] || grid[x.rank - 1] != spatial) {
    return Status::error(StatusCode::kShape, "the grid does not fit input 0 of rank %d", x.rank);
  }
  if (x.elements(2, x.rank) == 0) return Status::error(StatusCode::kShape, "input 0 has no elements to sample");
  Shape shape = x;
  for (int axis = 2; axis < x.rank; ++axis) shape[axis] = grid[axis - 1];
  return context.set_output(0, ElementType::kFloat32, shape);
}

// The value of a plane at the place that each axis has its taps for.
double sample(const float* plane, const Taps taps[kSpatialAxes], const int64_t strides[kSpatialAxes]) {
  double sum = 0;
  for (int z = 0; z < taps[0].count; ++z) {
    for (int y = 0; y < taps[1].count; ++y) {
      const float* row = plane + taps[0].index[z] * strides[0] + taps[1].index[y] * strides[1];
      const double weight = taps[0].weight[z] * taps[1].weight[y];
      if (weight == 0) continue;
      for (int i = 0; i < taps[2].count; ++i) {
        if (taps[2].weight[i] != 0) sum += weight * taps[2].weight[i] * row[taps[2].index[i]];
      }
    }
  }
  return sum;
}

Status run_grid_sample(RunContext& context) {
  const GridState& state = context.state<GridState>();
  const Shape& x = context.input(0)->shape;
  const int spatial = x.rank - 2;
  const int64_t plane = x.elements(2, x.rank);
  const int64_t places = context.output(0)->shape.elements(2, x.rank);
  const int64_t strides[kSpatialAxes] = {spatial == 3 ? x[3] * x[4] : 0, spatial > 1 ? x[x.rank - 1] : 0, 1};
  context.parallel_for(x[0] * places, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      Taps taps[kSpatialAxes];
      for (int k = 0; k < kSpatialAxes; ++k) {
        const int axis = x.rank - kSpatialAxes + k;  // of X, if it has as many
        if (k < kSpatialAxes - spatial) {
          taps[k].add(0, 1);
        } else {
          const int64_t at = i * spatial + kSpatialAxes - 1 - k;
          taps[k] = GridAxis(state, x[axis]).taps(context.input(1)->as<float>()[at]);
        }
      }
      for (int64_t channel = i / places * x[1]; channel < (i / places + 1) * x[1]; ++channel) {
        const float* from = context.input(0)->as<float>() + channel * plane;
        context.output(0)->as<float>()[channel * places + i % places] = static_cast<float>(sample(from, taps, strides));
      }
    }
  });
  return Status();
}

// RoiAlign: each region of an image becomes output_height x output_width values, each made of a grid of samples.

struct RoiState {
  int64_t sampling;  // samples along an axis of an output element; 0: as many as the element has of the image's
  float scale;
  double offset;
  bool takes_largest;
  bool is_at_least_one;  // a region is at least an element wide and high
};

Status infer_roi_align(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 3, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 2, kIndexTypes));
  const Attributes& attributes = context.attributes();
  const std::string_view mode = attributes.get_string("mode", "avg");
  // Before version 16 there was one way to count coordinates.
  const std::string_view coordinates = attributes.get_string("coordinate_transformation_mode",
                                                             context.opset() < 16 ? "output_half_pixel" : "half_pixel");
  if ((mode != "avg" && mode != "max") || (coordinates != "half_pixel" && coordinates != "output_half_pixel")) {
    return Status::error(StatusCode::kInvalidArgument, "mode or coordinate_transformation_mode is unknown");
  }
  const bool half = coordinates == "half_pixel";
  RoiState& state = context.state<RoiState>();
  state = {attributes.get_int("sampling_ratio", 0), attributes.get_float("spatial_scale", 1), half ? 0.5 : 0,
           mode == "max", !half};
  constexpr int64_t kMostSamples = 256;
  if (state.sampling < 0 || state.sampling > kMostSamples) {
    return Status::error(StatusCode::kLimit, "sampling_ratio is not from 0 to %lld",
                         static_cast<long long>(kMostSamples));
  }
  const Shape& x = context.input(0)->shape;
  const Shape& rois = context.input(1)->shape;
  const Shape& batches = context.input(2)->shape;
  if (x.rank != 4 || x[2] < 1 || x[3] < 1 || rois.rank != 2 || rois[1] != 4 || batches.rank != 1 ||
      batches[0] != rois[0]) {
    return Status::error(StatusCode::kShape, "input 0 is no images, or inputs 1 and 2 are no regions of such");
  }
  const int64_t height = attributes.get_int("output_height", 1);
  const int64_t width = attributes.get_int("output_width", 1);
  if (height < 1 || width < 1) return Status::error(StatusCode::kShape, "the output has no elements");
  return context.set_output(0, ElementType::kFloat32, {rois[0], x[1], height, width});
}

// A region along one axis of the image.
struct Interval {
  double start;
  double each;      // of an output element
  int64_t samples;  // in one

  double place(int64_t element, int64_t sample) const {
    return start +
           each * (static_cast<double>(element) + (static_cast<double>(sample) + 0.5) / static_cast<double>(samples));
  }
};

// False for a region that is much larger than the image, which would take forever, or is none.
bool make_interval(const RoiState& state, float begin, float end, int64_t size, int64_t outputs, Interval* interval) {
  const double start = static_cast<double>(begin) * state.scale - state.offset;
  double length = static_cast<double>(end) * state.scale - state.offset - start;
  if (state.is_at_least_one) length = std::max(length, 1.0);
  const double most = 16 * (static_cast<double>(size) + 1);
  if (!(std::fabs(start) <= most && std::fabs(length) <= most)) return false;
  interval->start = start;
  interval->each = length / static_cast<double>(outputs);
  interval->samples = state.sampling > 0 ? state.sampling : static_cast<int64_t>(std::ceil(interval->each));
  return true;
}

// The two elements that a place lies between; those of the border reach one element further.
Taps border_taps(double x, int64_t size) {
  Taps taps;
  if (!(x >= -1 && x <= static_cast<double>(size))) {
    taps.add(0, 0);
    taps.add(0, 0);
    return taps;
  }
  x = std::clamp(x, 0.0, static_cast<double>(size - 1));
  const auto first = static_cast<int64_t>(x);
  taps.add(first, 1 - (x - static_cast<double>(first)));
  taps.add(std::min(first + 1, size - 1), x - static_cast<double>(first));
  return taps;
}

float roi_value(const RoiState& state, const float* plane, const Shape& x, const Interval& rows,
                const Interval& columns, int64_t row, int64_t column) {
  double sum = 0;
  double largest = 0;
  for (int64_t i = 0; i < rows.samples; ++i) {
    const Taps y_taps = border_taps(rows.place(row, i), x[2]);
    for (int64_t k = 0; k < columns.samples; ++k) {
      const Taps x_taps = border_taps(columns.place(column, k), x[3]);
      // The largest of the four weighed elements, not of their sums, is what ONNX takes.
      for (int tap = 0; tap < 4; ++tap) {
        const double weight = y_taps.weight[tap / 2] * x_taps.weight[tap % 2];
        const double value = weight * plane[y_taps.index[tap / 2] * x[3] + x_taps.index[tap % 2]];
        sum += value;
        largest = i == 0 && k == 0 && tap == 0 ? value : std::max(largest, value);
      }
    }
  }
  const int64_t count = std::max<int64_t>(rows.samples, 0) * std::max<int64_t>(columns.samples, 0);
  return static_cast<float>(state.takes_largest ? largest : sum / static_cast<double>(std::max<int64_t>(count, 1)));
}

Status run_roi_align(RunContext& context) {
  const RoiState& state = context.state<RoiState>();
  const Shape& x = context.input(0)->shape;
  const Shape& shape = context.output(0)->shape;
  const Tensor& batches = *context.input(2);
  float* y = context.output(0)->as<float>();
  for (int64_t roi = 0; roi < shape[0]; ++roi) {
    const int64_t batch = batches.type == ElementType::kInt32 ? batches.as<int32_t>()[roi] : batches.as<int64_t>()[roi];
    const float* corners = context.input(1)->as<float>() + roi * 4;
    Interval rows;
    Interval columns;
    if (batch < 0 || batch >= x[0] || !make_interval(state, corners[1], corners[3], x[2], shape[2], &rows) ||
        !make_interval(state, corners[0], corners[2], x[3], shape[3], &columns)) {
      return Status::error(StatusCode::kInvalidArgument, "region number %lld lies in no image",
                           static_cast<long long>(roi));
    }
    context.parallel_for(x[1] * shape[2], 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t line = begin; line < end; ++line) {
        const float* plane = context.input(0)->as<float>() + (batch * x[1] + line / shape[2]) * x[2] * x[3];
        for (int64_t column = 0; column < shape[3]; ++column) {
          y[(roi * x[1] * shape[2] + line) * shape[3] + column] =
              roi_value(state, plane, x, rows, columns, line % shape[2], column);
        }
      }
    });
  }
  return Status();
}

// MaxRoiPool: the largest value of each part of a region, whose corners are rounded to elements. A row of input 1 is the
// number of an image and two corners; the second one belongs to the region.

Status infer_max_roi_pool(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  const Shape& x = context.input(0)->shape;
  const Shape& rois = context.input(1)->shape;
  IntList pooled;
  QUENCH_RETURN_IF_ERROR(read_attribute(context, "pooled_shape", &pooled));
  if (x.rank != 4 || rois.rank != 2 || rois[1] != 5 || pooled.count != 2 || pooled[0] < 1 || pooled[1] < 1) {
    return Status::error(StatusCode::kShape, "input 0 is no images, input 1 no regions, or pooled_shape no size");
  }
  return context.set_output(0, ElementType::kFloat32, {rois[0], x[1], pooled[0], pooled[1]});
}

// Part `part` of `parts` of a region from `begin` to `end`, as far as it lies in an axis of `size`.
Range part_of(double begin, double end, int64_t size, int64_t part, int64_t parts) {
  const double each = std::max(end - begin + 1, 1.0) / static_cast<double>(parts);
  const auto inside = [&](double at) { return static_cast<int64_t>(std::clamp(at, 0.0, static_cast<double>(size))); };
  return {inside(begin + std::floor(static_cast<double>(part) * each)),
          inside(begin + std::ceil(static_cast<double>(part + 1) * each))};
}

Status run_max_roi_pool(RunContext& context) {
  const Shape& x = context.input(0)->shape;
  const Shape& shape = context.output(0)->shape;
  const float scale = context.attributes().get_float("spatial_scale", 1);
  for (int64_t i = 0, count = shape.elements(); i < count; ++i) {
    const int64_t roi = i / shape.elements(1, 4);
    const float* row = context.input(1)->as<float>() + roi * 5;
    double corners[4];
    bool is_region = row[0] >= 0 && row[0] < static_cast<float>(x[0]);
    for (int k = 0; k < 4; ++k) {
      corners[k] = std::round(row[k + 1] * scale);
      is_region = is_region && std::fabs(corners[k]) < 0x1p40;
    }
    if (!is_region) {
      return Status::error(StatusCode::kInvalidArgument, "region number %lld lies in no image",
                           static_cast<long long>(roi));
    }
    const Range rows = part_of(corners[1], corners[3], x[2], i / shape[3] % shape[2], shape[2]);
    const Range columns = part_of(corners[0], corners[2], x[3], i % shape[3], shape[3]);
    const int64_t plane = static_cast<int64_t>(row[0]) * x[1] + i / (shape[2] * shape[3]) % x[1];
    const float* from = context.input(0)->as<float>() + plane * x[2] * x[3];
    const bool is_empty = rows.begin >= rows.end || columns.begin >= columns.end;
    float largest = is_empty ? 0 : from[rows.begin * x[3] + columns.begin];
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      for (int64_t c = columns.begin; c < columns.end; ++c) largest = std::max(largest, from[r * x[3] + c]);
    }
    context.output(0)->as<float>()[i] = largest;
  }
  return Status();
}

// Regions are not folded: no size says what their samples cost.
constexpr Kernel kKernels[] = {
    {.op = "GridSample", .infer = infer_grid_sample, .run = run_grid_sample, .state_bytes = sizeof(GridState)},
    {.op = "RoiAlign",
     .infer = infer_roi_align,
     .run = run_roi_align,
     .state_bytes = sizeof(RoiState),
     .flags = kNotFolded},
    {.op = "MaxRoiPool", .infer = infer_max_roi_pool, .run = run_max_roi_pool, .flags = kNotFolded},
};

}  // namespace

std::span<const Kernel> sampling_kernels() { return kKernels; }

}  // namespace quench::rt
