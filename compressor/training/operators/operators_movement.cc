// Operators that move, repeat, cut or rename elements, or tell a shape.

#include <ATen/ExpandUtils.h>
#include <torch/torch.h>

#include <algorithm>

#include "compressor/training/operators/operators_window.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

int64_t product(torch::IntArrayRef sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return count;
}

Tensors identity(const NodeView&, const Tensors& inputs) { return {required(inputs, 0)}; }

// At inference or with a ratio of 0, as the runtime has it: the identity, with a mask that keeps all.
Tensors dropout(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const Tensor training = optional(inputs, 2), ratio = optional(inputs, 1);
  const bool keeps_all = ratio.defined() && ratio.item<double>() == 0;
  if (training.defined() && training.item<bool>() && !keeps_all) {
    throw Error::make("the node is in training mode; export the model for inference");
  }
  if (node.proto.output_size() < 2) return {x};
  return {x, at::ones_like(x, at::TensorOptions(node.opset < 10 ? x.scalar_type() : torch::kBool))};
}

Tensors reshape(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  Integers sizes = inputs.size() > 1 ? integers(required(inputs, 1)) : integers(node, "shape");
  for (size_t axis = 0; axis < sizes.size() && integer(node, "allowzero", 0) == 0; ++axis) {
    if (sizes[axis] == 0) sizes[axis] = x.size(static_cast<int64_t>(axis));
  }
  return {x.reshape(sizes)};
}

Tensors flatten(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  int64_t axis = integer(node, "axis", 1);
  if (axis < 0) axis += x.dim();
  if (axis < 0 || axis > x.dim()) throw Error::make("axis {} is outside a tensor of rank {}", axis, x.dim());
  const auto split = static_cast<size_t>(axis);
  return {x.reshape({product(x.sizes().slice(0, split)), product(x.sizes().slice(split))})};
}

// The axes of Squeeze and Unsqueeze: an attribute before version 13, an input since then. Those of a tensor of `rank`.
std::vector<bool> marked_axes(const NodeView& node, const Tensors& inputs, int64_t rank) {
  const Integers axes = node.opset < 13 ? integers(node, "axes") : integer_input(inputs, 1);
  std::vector<bool> marked(static_cast<size_t>(rank));
  for (const int64_t axis : axes) marked[static_cast<size_t>(c10::maybe_wrap_dim(axis, rank, false))] = true;
  return marked;
}

bool has_axes(const NodeView& node, const Tensors& inputs) {
  return node.opset < 13 ? has(node, "axes") : optional(inputs, 1).defined();
}

Tensors squeeze(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  if (!has_axes(node, inputs)) return {x.squeeze()};
  const std::vector<bool> dropped = marked_axes(node, inputs, x.dim());
  Tensor y = x;
  for (int64_t axis = x.dim(); axis-- > 0;) {
    if (!dropped[static_cast<size_t>(axis)]) continue;
    if (x.size(axis) != 1) throw Error::make("axis {} has {} elements, not 1", axis, x.size(axis));
    y = y.squeeze(axis);
  }
  return {y};
}

Tensors unsqueeze(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  if (!has_axes(node, inputs)) throw Error::make("the axes are missing");
  const size_t count = (node.opset < 13 ? integers(node, "axes") : integer_input(inputs, 1)).size();
  const int64_t rank = x.dim() + static_cast<int64_t>(count);
  const std::vector<bool> added = marked_axes(node, inputs, rank);
  Tensor y = x;
  for (int64_t axis = 0; axis < rank; ++axis) {
    if (added[static_cast<size_t>(axis)]) y = y.unsqueeze(axis);
  }
  return {y};
}

Tensors transpose(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  Integers order = integers(node, "perm");
  for (int64_t axis = x.dim(); axis-- > 0 && !has(node, "perm");) order.push_back(axis);
  return {x.permute(order)};
}

Tensors concat(const NodeView& node, const Tensors& inputs) {
  Tensors parts = inputs;
  to_one_device(parts);
  const int64_t rank = required(parts, 0).dim();
  return {at::cat(parts, axis_of(node, 1, rank))};
}

Tensors split(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const int64_t axis = axis_of(node, 0, x.dim());
  Integers lengths = node.opset < 13 ? integers(node, "split") : integer_input(inputs, 1);
  if (lengths.empty()) {
    // In parts of one length, the last one what is left.
    const int64_t count = node.proto.output_size();
    const int64_t length = (x.size(axis) + count - 1) / count;
    for (int64_t i = 0; i < count; ++i) {
      lengths.push_back(std::clamp<int64_t>(x.size(axis) - i * length, 0, length));
    }
  }
  return at::split_with_sizes(x, lengths, axis);
}

// Elements first, first + step ... before `end` of one axis.
Tensor slice_axis(const Tensor& x, int64_t axis, int64_t first, int64_t end, int64_t step) {
  if (step > 0) return x.slice(axis, first, end, step);
  if (step == 0) throw Error::make("the step of axis {} is 0", axis);
  const int64_t size = x.size(axis);
  first = std::clamp<int64_t>(first < 0 ? first + size : first, -1, size - 1);
  end = std::clamp<int64_t>(end < 0 ? end + size : end, -1, size - 1);
  if (first <= end) return x.slice(axis, 0, 0);
  // Torch has no negative steps: the same elements in their order, turned around.
  const int64_t count = (first - end - step - 1) / -step;
  return x.slice(axis, first + (count - 1) * step, first + 1, -step).flip(axis);
}

Tensors slice(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const bool has_inputs = node.opset >= 10;
  const Integers starts = has_inputs ? integers(required(inputs, 1)) : integers(node, "starts");
  const Integers ends = has_inputs ? integers(required(inputs, 2)) : integers(node, "ends");
  const Integers axes = has_inputs ? integer_input(inputs, 3) : integers(node, "axes");
  const Integers steps = has_inputs ? integer_input(inputs, 4) : Integers();
  const size_t count = starts.size();
  if (ends.size() != count || (!axes.empty() && axes.size() != count) || (!steps.empty() && steps.size() != count)) {
    throw Error::make("starts, ends, axes and steps differ in length");
  }
  Tensor y = x;
  for (size_t i = 0; i < count; ++i) {
    const int64_t axis = c10::maybe_wrap_dim(axes.empty() ? static_cast<int64_t>(i) : axes[i], x.dim());
    y = slice_axis(y, axis, starts[i], ends[i], steps.empty() ? 1 : steps[i]);
  }
  return {y};
}

// Where element `at` of a padded axis comes from, for the modes that repeat what is there.
int64_t padded_coordinate(std::string_view mode, int64_t at, int64_t size) {
  if (mode == "edge") return std::clamp<int64_t>(at, 0, size - 1);
  const int64_t period = mode == "wrap" ? size : std::max<int64_t>(2 * (size - 1), 1);
  const int64_t inside = (at % period + period) % period;
  return inside < size ? inside : period - inside;
}

Tensor pad_by_repeating(const Tensor& x, std::string_view mode, const Integers& begin, const Integers& end) {
  Tensor y = x;
  for (int64_t axis = 0; axis < x.dim(); ++axis) {
    const int64_t before = begin[static_cast<size_t>(axis)];
    const int64_t behind = end[static_cast<size_t>(axis)];
    if (before == 0 && behind == 0) continue;
    Integers sources;
    for (int64_t at = -before; at < x.size(axis) + behind; ++at) {
      sources.push_back(padded_coordinate(mode, at, x.size(axis)));
    }
    y = y.index_select(axis, at::tensor(sources, torch::kLong).to(x.device()));
  }
  return y;
}

Tensors pad(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const bool has_inputs = node.opset >= 11;
  const Integers pads = has_inputs          ? integers(required(inputs, 1))
                        : has(node, "pads") ? integers(node, "pads")
                                            : integers(node, "paddings");
  Integers axes = has_inputs ? integer_input(inputs, 3) : Integers();
  const bool all_axes = axes.empty();
  for (int64_t axis = 0; axis < x.dim() && all_axes; ++axis) axes.push_back(axis);
  if (pads.size() != 2 * axes.size()) throw Error::make("{} pads for {} axes", pads.size(), axes.size());
  Integers begin(static_cast<size_t>(x.dim()), 0);
  Integers end = begin;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(c10::maybe_wrap_dim(axes[i], x.dim()));
    begin[axis] = pads[i];
    end[axis] = pads[axes.size() + i];
  }
  const std::string_view mode = text(node, "mode", "constant");
  if (mode == "reflect" || mode == "edge" || mode == "wrap") return {pad_by_repeating(x, mode, begin, end)};
  if (mode != "constant") throw Error::make("mode is '{}', which ONNX does not have", mode);
  const Tensor value = has_inputs ? optional(inputs, 2) : Tensor();
  return {at::constant_pad_nd(x, pads_for_torch(begin, end),
                              value.defined() ? value.item() : at::Scalar(real(node, "value", 0)))};
}

Tensors expand(const NodeView&, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  return {x.expand(at::infer_size(x.sizes(), integers(required(inputs, 1))))};
}

Tensors tile(const NodeView&, const Tensors& inputs) {
  return {required(inputs, 0).repeat(integers(required(inputs, 1)))};
}

// Blocks of pixels as channels, and back. The channels are (row in block, column in block, C), or (C, row, column) in
// DepthToSpace's mode CRD.

int64_t block_of(const NodeView& node, const Tensor& x) {
  const int64_t block = integer(node, "blocksize", 0);
  if (block < 1 || x.dim() != 4) throw Error::make("blocksize {} for an input of rank {}", block, x.dim());
  return block;
}

Tensors depth_to_space(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const int64_t block = block_of(node, x);
  const int64_t channels = x.size(1) / (block * block);
  const Integers sizes = {x.size(0), channels, x.size(2) * block, x.size(3) * block};
  if (text(node, "mode", "DCR") == "CRD") {
    return {x.reshape({x.size(0), channels, block, block, x.size(2), x.size(3)})
                .permute({0, 1, 4, 2, 5, 3})
                .reshape(sizes)};
  }
  return {
      x.reshape({x.size(0), block, block, channels, x.size(2), x.size(3)}).permute({0, 3, 4, 1, 5, 2}).reshape(sizes)};
}

Tensors space_to_depth(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const int64_t block = block_of(node, x);
  const int64_t rows = x.size(2) / block;
  const int64_t columns = x.size(3) / block;
  return {x.reshape({x.size(0), x.size(1), rows, block, columns, block})
              .permute({0, 3, 5, 1, 2, 4})
              .reshape({x.size(0), x.size(1) * block * block, rows, columns})};
}

Tensors trilu(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const Integers offset = integer_input(inputs, 1);
  const int64_t diagonal = offset.empty() ? 0 : offset[0];
  return {integer(node, "upper", 1) != 0 ? at::triu(x, diagonal) : at::tril(x, diagonal)};
}

Tensors shape(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const auto clamped = [&](std::string_view name, int64_t fallback) {
    const int64_t axis = integer(node, name, fallback);
    return std::clamp<int64_t>(axis < 0 ? axis + x.dim() : axis, 0, x.dim());
  };
  const int64_t begin = clamped("start", 0);
  const int64_t end = std::max(begin, clamped("end", x.dim()));
  return {at::tensor(x.sizes().slice(static_cast<size_t>(begin), static_cast<size_t>(end - begin)), torch::kLong)};
}

Tensors size(const NodeView&, const Tensors& inputs) {
  return {at::scalar_tensor(required(inputs, 0).numel(), torch::kLong)};
}

constexpr OperatorEntry kMovementOperators[] = {
    {"Concat", concat},   {"DepthToSpace", depth_to_space},
    {"Dropout", dropout}, {"Expand", expand},
    {"Flatten", flatten}, {"Identity", identity},
    {"Pad", pad},         {"Reshape", reshape},
    {"Shape", shape},     {"Size", size},
    {"Slice", slice},     {"SpaceToDepth", space_to_depth},
    {"Split", split},     {"Squeeze", squeeze},
    {"Tile", tile},       {"Transpose", transpose},
    {"Trilu", trilu},     {"Unsqueeze", unsqueeze},
};

}  // namespace

std::span<const OperatorEntry> movement_operators() { return kMovementOperators; }

}  // namespace quench::training
