// Operators that address elements by indices, which count from the end where they are negative.

#include <torch/torch.h>

#include "compressor/training/operators/operators_support.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

// Indices into an axis of `size` elements, from 0 up, beside the data. Torch checks their range.
Tensor from_zero(const Tensor& indices, int64_t size, const Tensor& data) {
  const Tensor values = indices.to(data.device(), torch::kLong);
  return at::where(values < 0, values + size, values);
}

Tensors gather(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const Tensor& indices = required(inputs, 1);
  const int64_t axis = axis_of(node, 0, x.dim());
  Integers sizes = x.sizes().vec();
  const auto at = sizes.erase(sizes.begin() + axis);
  sizes.insert(at, indices.sizes().begin(), indices.sizes().end());
  return {x.index_select(axis, from_zero(indices, x.size(axis), x).reshape(-1)).reshape(sizes)};
}

Tensors gather_elements(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const int64_t axis = axis_of(node, 0, x.dim());
  return {at::gather(x, axis, from_zero(required(inputs, 1), x.size(axis), x))};
}

// Torch's name for what a scattered value does to the one that it meets; null where it takes its place.
const char* reduction_of(const NodeView& node) {
  const std::string_view name = text(node, "reduction", "none");
  if (name == "none") return nullptr;
  if (name == "add") return "sum";
  if (name == "mul") return "prod";
  if (name == "max") return "amax";
  if (name == "min") return "amin";
  throw Error::make("reduction is '{}', which ONNX does not have", name);
}

// Data and updates of one type, which under autocast they may not have.
Tensor updates_for(const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  return required(inputs, 2).to(x.device(), x.scalar_type());
}

Tensors scatter_elements(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const int64_t axis = axis_of(node, 0, x.dim());
  const Tensor indices = from_zero(required(inputs, 1), x.size(axis), x);
  const Tensor updates = updates_for(inputs);
  const char* reduction = reduction_of(node);
  if (!reduction) return {at::scatter(x, axis, indices, updates)};
  return {at::scatter_reduce(x, axis, indices, updates, reduction)};
}

// GatherND and ScatterND: each row of the indices' last axis names a slice of the data's leading axes, behind
// `batch_axes` that data and indices share. In terms of data whose axes before the slices are one:
struct Slices {
  Tensor data;      // slices x a slice's sizes
  Tensor numbers;   // of the slices that are named, one axis
  Integers output;  // the indices' leading axes, then a slice's
};

Slices name_slices(const Tensor& x, const Tensor& indices, int64_t batch_axes) {
  if (indices.dim() < 1) throw Error::make("the indices are a scalar");
  const int64_t tuple = indices.size(-1);
  const int64_t first = batch_axes + tuple;
  if (batch_axes < 0 || batch_axes >= indices.dim() || first > x.dim()) {
    throw Error::make("{} indices and {} batch axes for data of rank {}", tuple, batch_axes, x.dim());
  }
  const torch::IntArrayRef slice = x.sizes().slice(static_cast<size_t>(first));
  const torch::IntArrayRef rows = indices.sizes().slice(0, static_cast<size_t>(indices.dim() - 1));
  int64_t batches = 1;
  for (int64_t axis = 0; axis < batch_axes; ++axis) batches *= x.size(axis);
  // Batches x rows of each, as numbers of slices.
  Tensor numbers = at::arange(batches, at::TensorOptions(x.device()).dtype(torch::kLong)).unsqueeze(1);
  const Tensor tuples = indices.reshape({batches, -1, tuple});
  int64_t count = batches;
  for (int64_t k = 0; k < tuple; ++k) {
    const int64_t size = x.size(batch_axes + k);
    const Tensor index = from_zero(tuples.select(2, k), size, x);
    if (at::logical_or(index < 0, index >= size).any().item<bool>()) {
      throw Error::make("an index is outside an axis of {} elements", size);
    }
    numbers = numbers * size + index;
    count *= size;
  }
  Slices slices;
  Integers sizes = {count};
  sizes.insert(sizes.end(), slice.begin(), slice.end());
  slices.data = x.reshape(sizes);
  slices.numbers = numbers.expand({batches, tuples.size(1)}).reshape(-1);
  slices.output = rows.vec();
  slices.output.insert(slices.output.end(), slice.begin(), slice.end());
  return slices;
}

Tensors gather_nd(const NodeView& node, const Tensors& inputs) {
  const Slices slices = name_slices(required(inputs, 0), required(inputs, 1), integer(node, "batch_dims", 0));
  return {slices.data.index_select(0, slices.numbers).reshape(slices.output)};
}

Tensors scatter_nd(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  const Slices slices = name_slices(x, required(inputs, 1), 0);
  Integers sizes = slices.data.sizes().vec();
  sizes[0] = slices.numbers.numel();
  const Tensor updates = updates_for(inputs).reshape(sizes);
  const char* reduction = reduction_of(node);
  Tensor y;
  if (!reduction) {
    y = at::index_copy(slices.data, 0, slices.numbers, updates);
  } else if (std::string_view(reduction) == "sum") {
    y = at::index_add(slices.data, 0, slices.numbers, updates);
  } else {
    y = at::index_reduce(slices.data, 0, slices.numbers, updates, reduction);
  }
  return {y.reshape(x.sizes())};
}

constexpr OperatorEntry kGatherOperators[] = {
    {"Gather", gather},
    {"GatherElements", gather_elements},
    {"GatherND", gather_nd},
    {"Scatter", scatter_elements},
    {"ScatterElements", scatter_elements},
    {"ScatterND", scatter_nd},
};

}  // namespace

std::span<const OperatorEntry> gather_operators() { return kGatherOperators; }

}  // namespace quench::training
