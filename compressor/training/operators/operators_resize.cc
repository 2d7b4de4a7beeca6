// Resize and Upsample: by torch's functions where they compute the same, otherwise an axis at a time, a weighted sum
// of a few selections.

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "compressor/graph/graph_index.h"
#include "compressor/training/operators/operators_support.h"
#include "formats/error.h"
#include "formats/operators/resize.h"

namespace quench::training {
namespace {

using operators::AxisSampling;
using operators::Coordinate;
using operators::Resampling;
using operators::Rounding;
using operators::Transformation;
using torch::Tensor;
using Axis = operators::ResizeAxis;
using Mode = operators::ResizeMode;

Resampling read_resampling(const NodeView& node) {
  Resampling resampling;
  const Status status =
      operators::read_resampling(graph::attributes_of(node.proto), static_cast<int>(node.opset), &resampling);
  if (!status.ok()) throw Error::make("{}, which cannot be trained", status.detail());
  return resampling;
}

std::vector<float> real_input(const Tensors& inputs, size_t index) {
  const Tensor tensor = optional(inputs, index);
  if (!tensor.defined()) return {};
  const Tensor values = tensor.to(torch::kCPU, torch::kFloat).contiguous();
  return std::vector<float>(values.data_ptr<float>(), values.data_ptr<float>() + values.numel());
}

void check_count(size_t count, size_t axes, std::string_view what) {
  if (count != axes) throw Error::make("there are {} {} for {} axes", count, what, axes);
}

// The axes of the input, with what the node says of those that it names, which without `axes` are all.
std::vector<Axis> read_axes(const NodeView& node, const Tensors& inputs, const Resampling& resampling) {
  const Tensor& x = required(inputs, 0);
  std::vector<Axis> axes;
  for (const int64_t size : x.sizes()) axes.push_back({size, size});
  std::vector<Axis*> named;
  for (const int64_t axis : integers(node, "axes")) {
    named.push_back(&axes[static_cast<size_t>(c10::maybe_wrap_dim(axis, x.dim()))]);
  }
  for (size_t axis = 0; axis < axes.size() && !has(node, "axes"); ++axis) named.push_back(&axes[axis]);

  const Integers sizes = node.opset >= 11 ? integer_input(inputs, 3) : Integers();
  const std::vector<float> scales = node.opset >= 11                ? real_input(inputs, 2)
                                    : optional(inputs, 1).defined() ? real_input(inputs, 1)
                                                                    : reals(node, "scales");
  if (!sizes.empty()) {
    check_count(sizes.size(), named.size(), "sizes");
  } else {
    check_count(scales.size(), named.size(), "scales");
  }
  for (size_t i = 0; i < named.size(); ++i) {
    Axis& axis = *named[i];
    const auto in_size = static_cast<float>(axis.in_size);
    axis.scale = sizes.empty() ? scales[i] : static_cast<float>(sizes[i]) / in_size;
    axis.out_size = sizes.empty() ? static_cast<int64_t>(std::floor(in_size * axis.scale)) : sizes[i];
  }
  if (resampling.transformation == Transformation::kTfCropAndResize) {
    const std::vector<float> region = real_input(inputs, 1);
    check_count(region.size(), 2 * named.size(), "limits of the region");
    for (size_t i = 0; i < named.size(); ++i) {
      named[i]->crop_begin = region[i];
      named[i]->crop_end = region[named.size() + i];
    }
  }
  return axes;
}

// By torch's functions

bool is_power_of_two(float scale) { return scale >= 1 && std::exp2(std::round(std::log2(scale))) == scale; }

// Nearest neighbors that any rounding finds in the same place, however exact the coordinates are.
bool torch_finds_nearest(const Resampling& resampling, const Axis& axis) {
  const bool rounds_down = resampling.rounding == Rounding::kFloor || resampling.rounding == Rounding::kSimple;
  const bool rounds_to_nearest =
      resampling.rounding == Rounding::kPreferFloor || resampling.rounding == Rounding::kPreferCeil;
  return is_power_of_two(axis.scale) &&
         ((resampling.transformation == Transformation::kAsymmetric && rounds_down) ||
          (resampling.transformation == Transformation::kHalfPixel && rounds_to_nearest));
}

bool torch_interpolates(const Resampling& resampling, const Axis& axis) {
  if (resampling.transformation == Transformation::kHalfPixel) return true;
  // Torch aligns the corners of the rounded size, ONNX those of the size as it is.
  return resampling.transformation == Transformation::kAlignCorners &&
         static_cast<float>(axis.in_size) * axis.scale == static_cast<float>(axis.out_size);
}

bool torch_can_resize(const Resampling& resampling, const std::vector<Axis>& axes, const Tensor& x) {
  if (x.dim() < 3 || x.dim() > 5 || !at::isFloatingType(x.scalar_type())) return false;
  if (resampling.mode == Mode::kCubic &&
      (x.dim() != 4 || resampling.cubic_a != -0.75f || resampling.excludes_outside)) {
    return false;
  }
  bool can = axes[0].scale == 1 && axes[1].scale == 1;
  for (size_t axis = 2; axis < axes.size(); ++axis) {
    can = can && (resampling.mode == Mode::kNearest ? torch_finds_nearest(resampling, axes[axis])
                                                    : torch_interpolates(resampling, axes[axis]));
  }
  return can;
}

Tensor resize_by_torch(const Resampling& resampling, const std::vector<Axis>& axes, const Tensor& x) {
  Integers sizes;
  std::vector<double> scale;
  for (size_t axis = 2; axis < axes.size(); ++axis) {
    sizes.push_back(axes[axis].out_size);
    scale.push_back(static_cast<double>(axes[axis].scale));
  }
  const torch::IntArrayRef size = sizes;
  const bool corners = resampling.transformation == Transformation::kAlignCorners;
  if (resampling.mode == Mode::kCubic) {
    // Torch 1.13 has coordinates in the type of the data, too rough where that is 16 bits.
    const bool is_short = x.scalar_type() == torch::kHalf || x.scalar_type() == torch::kBFloat16;
    const Tensor values = is_short ? x.to(torch::kFloat) : x;
    return at::upsample_bicubic2d(values, size, corners, scale[0], scale[1]).to(x.scalar_type());
  }
  const bool nearest = resampling.mode == Mode::kNearest;
  switch (size.size()) {
    case 1:
      return nearest ? at::upsample_nearest1d(x, size, scale[0]) : at::upsample_linear1d(x, size, corners, scale[0]);
    case 2:
      return nearest ? at::upsample_nearest2d(x, size, scale[0], scale[1])
                     : at::upsample_bilinear2d(x, size, corners, scale[0], scale[1]);
    default:
      return nearest ? at::upsample_nearest3d(x, size, scale[0], scale[1], scale[2])
                     : at::upsample_trilinear3d(x, size, corners, scale[0], scale[1], scale[2]);
  }
}

// An axis at a time

// What the outputs along an axis take: output i has the sum over k of weights[k][i] times input coordinates[k][i].
struct Taps {
  std::vector<Integers> coordinates;
  std::vector<std::vector<float>> weights;

  explicit Taps(size_t count) : coordinates(count), weights(count) {}
  void add(size_t tap, int64_t coordinate, float weight, int64_t size) {
    coordinates[tap].push_back(std::clamp<int64_t>(coordinate, 0, std::max<int64_t>(size - 1, 0)));
    weights[tap].push_back(weight);
  }
};

Taps linear_taps(const std::vector<Coordinate>& coordinates, int64_t size) {
  Taps taps(2);
  for (const Coordinate& x : coordinates) {
    const int64_t whole = std::clamp<int64_t>(x.whole, 0, size - 1);
    const float weight = x.whole == whole && whole + 1 < size ? x.fraction : 0;
    taps.add(0, whole, 1 - weight, size);
    taps.add(1, whole + 1, weight, size);
  }
  return taps;
}

// Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981.
Taps cubic_taps(const std::vector<Coordinate>& coordinates, int64_t size, float a, bool excludes_outside) {
  const auto near = [a](float s) { return ((a + 2) * s - (a + 3)) * s * s + 1; };
  const auto far = [a](float s) { return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a; };
  Taps taps(4);
  for (const Coordinate& x : coordinates) {
    const float t = x.fraction;
    std::array<float, 4> weights = {far(1 + t), near(t), near(1 - t), far(2 - t)};
    float sum = 0;
    for (size_t k = 0; k < 4; ++k) {
      const int64_t coordinate = x.whole + static_cast<int64_t>(k) - 1;
      if (excludes_outside && (coordinate < 0 || coordinate >= size)) weights[k] = 0;
      sum += weights[k];
    }
    for (size_t k = 0; k < 4; ++k) {
      taps.add(k, x.whole + static_cast<int64_t>(k) - 1, excludes_outside ? weights[k] / sum : weights[k], size);
    }
  }
  return taps;
}

Taps nearest_taps(const std::vector<Coordinate>& coordinates, const Axis& axis, Rounding rounding) {
  Taps taps(1);
  for (const Coordinate& x : coordinates) taps.add(0, operators::nearest(rounding, x, axis.scale), 1, axis.in_size);
  return taps;
}

// `shape` has the taps' number of elements along the axis, and 1 along the others.
Tensor resample_axis(const Tensor& x, int64_t axis, const Taps& taps, torch::IntArrayRef shape) {
  Tensor sum;
  for (size_t k = 0; k < taps.coordinates.size(); ++k) {
    const Tensor indices = at::tensor(taps.coordinates[k], torch::kLong).to(x.device());
    const Tensor selected = x.index_select(axis, indices);
    if (taps.coordinates.size() == 1) return selected;
    const Tensor term = selected * at::tensor(taps.weights[k], torch::kFloat).to(x.options()).reshape(shape);
    sum = sum.defined() ? sum + term : term;
  }
  return sum;
}

Tensor resize_by_axes(const Resampling& resampling, const std::vector<Axis>& axes, const Tensor& x) {
  if (resampling.mode != Mode::kNearest && !at::isFloatingType(x.scalar_type())) {
    throw Error::make("integers can only be resized to their nearest neighbors");
  }
  const bool crops = resampling.transformation == Transformation::kTfCropAndResize;
  Tensor y = x;
  Tensor is_outside;
  for (size_t i = 0; i < axes.size(); ++i) {
    const Axis& axis = axes[i];
    // An axis that stays as it is takes no part, whatever the transformation.
    if (axis.in_size == axis.out_size && axis.scale == 1 && !crops) continue;
    const AxisSampling sampling(resampling.transformation, axis);
    std::vector<Coordinate> coordinates;
    for (int64_t at = 0; at < axis.out_size; ++at) coordinates.push_back(sampling.at(at));
    Integers shape(axes.size(), 1);
    shape[i] = axis.out_size;
    const Taps taps = resampling.mode == Mode::kLinear ? linear_taps(coordinates, axis.in_size)
                      : resampling.mode == Mode::kCubic
                          ? cubic_taps(coordinates, axis.in_size, resampling.cubic_a, resampling.excludes_outside)
                          : nearest_taps(coordinates, axis, resampling.rounding);
    y = resample_axis(y, static_cast<int64_t>(i), taps, shape);
    if (!crops) continue;
    std::vector<uint8_t> outside;
    for (const Coordinate& at : coordinates) {
      const bool behind = at.whole >= axis.in_size || (at.whole == axis.in_size - 1 && !at.is_whole);
      outside.push_back(at.whole < 0 || behind ? 1 : 0);
    }
    const Tensor beyond = at::tensor(outside, torch::kByte).to(torch::kBool).to(x.device()).reshape(shape);
    is_outside = is_outside.defined() ? at::logical_or(is_outside, beyond) : beyond;
  }
  return is_outside.defined() ? at::masked_fill(y, is_outside, resampling.outside_value) : y;
}

Tensors resize(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const Resampling resampling = read_resampling(node);
  const std::vector<Axis> axes = read_axes(node, inputs, resampling);
  if (torch_can_resize(resampling, axes, x)) return {resize_by_torch(resampling, axes, x)};
  return {resize_by_axes(resampling, axes, x)};
}

constexpr OperatorEntry kResizeOperators[] = {{"Resize", resize}, {"Upsample", resize}};

}  // namespace

std::span<const OperatorEntry> resize_operators() { return kResizeOperators; }

}  // namespace quench::training
