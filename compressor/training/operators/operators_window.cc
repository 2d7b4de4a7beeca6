#include "compressor/training/operators/operators_window.h"

#include <torch/torch.h>

#include <algorithm>

#include "formats/base/error.h"

namespace quench::training {
namespace {

Integers sizes_of(const NodeView& node, std::string_view name, size_t count, int64_t fallback) {
  Integers values = integers(node, name);
  if (values.empty()) return Integers(count, fallback);
  if (values.size() != count) {
    throw Error::make("attribute '{}' has {} values where {} are needed", name, values.size(), count);
  }
  return values;
}

}  // namespace

AutoPad auto_pad_of(const NodeView& node) {
  const std::string_view name = text(node, "auto_pad", "NOTSET");
  if (name == "NOTSET" || name.empty()) return AutoPad::kNotSet;
  if (name == "SAME_UPPER") return AutoPad::kSameUpper;
  if (name == "SAME_LOWER") return AutoPad::kSameLower;
  if (name == "VALID") return AutoPad::kValid;
  throw Error::make("auto_pad is '{}', which ONNX does not have", name);
}

Window read_window(const NodeView& node, torch::IntArrayRef input, torch::IntArrayRef kernel) {
  const size_t count = input.size();
  if (count < 1 || count > 3) throw Error::make("input 0 has rank {}, not 3 to 5", count + 2);
  Window window;
  window.kernel = kernel.empty() ? integers(node, "kernel_shape") : kernel.vec();
  if (window.kernel.size() != count) {
    throw Error::make("the kernel has {} axes, the input {} behind batch and channels", window.kernel.size(), count);
  }
  window.strides = sizes_of(node, "strides", count, 1);
  window.dilations = sizes_of(node, "dilations", count, 1);
  window.begin.assign(count, 0);
  window.end.assign(count, 0);
  const AutoPad auto_pad = auto_pad_of(node);
  if (auto_pad == AutoPad::kNotSet) {
    const Integers pads = sizes_of(node, "pads", 2 * count, 0);
    window.begin.assign(pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(count));
    window.end.assign(pads.begin() + static_cast<std::ptrdiff_t>(count), pads.end());
  } else if (auto_pad != AutoPad::kValid) {
    for (size_t axis = 0; axis < count; ++axis) {
      const int64_t stride = window.strides[axis];
      const int64_t output = (input[axis] + stride - 1) / stride;
      split_padding(auto_pad, (output - 1) * stride + window.extent(axis) - input[axis], axis, window);
    }
  }
  return window;
}

void split_padding(AutoPad auto_pad, int64_t total, size_t axis, Window& window) {
  total = std::max<int64_t>(total, 0);
  window.begin[axis] = auto_pad == AutoPad::kSameUpper ? total / 2 : total - total / 2;
  window.end[axis] = total - window.begin[axis];
}

torch::IntArrayRef spatial_sizes(const torch::Tensor& x) {
  if (x.dim() < 2) throw Error::make("input 0 has rank {}, not 3 to 5", x.dim());
  return x.sizes().slice(2);
}

Integers pads_for_torch(const Integers& begin, const Integers& end) {
  Integers pads;
  for (size_t axis = begin.size(); axis-- > 0;) {
    pads.push_back(begin[axis]);
    pads.push_back(end[axis]);
  }
  return pads;
}

}  // namespace quench::training
