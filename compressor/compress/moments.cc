#include "compressor/compress/moments.h"

#include <algorithm>

#include "formats/base/error.h"

namespace quench::quantizer {
namespace {

using graph::HostTensor;

// Where the window lies over an activation of one size.
struct Placement {
  int64_t channels, size[2], out[2], pad[2];
};

Placement place(const Window& window, const HostTensor& activation) {
  Placement placement{activation.dims[1], {1, 1}, {1, 1}, {0, 0}};
  for (size_t axis = 0; axis + 2 < activation.dims.size(); ++axis) {
    const int64_t size = activation.dims[axis + 2];
    const int64_t extent = (window.kernel[axis] - 1) * window.dilation[axis] + 1;
    int64_t total = window.pad_begin[axis] + window.pad_end[axis];
    int64_t begin = window.pad_begin[axis];
    if (window.same_padding) {
      const int64_t out = (size + window.stride[axis] - 1) / window.stride[axis];
      total = std::max<int64_t>(0, (out - 1) * window.stride[axis] + extent - size);
      begin = window.same_lower ? (total + 1) / 2 : total / 2;
    }
    placement.size[axis] = size;
    placement.pad[axis] = begin;
    placement.out[axis] = std::max<int64_t>(0, (size + total - extent) / window.stride[axis] + 1);
  }
  return placement;
}

// Writes the patch at output position (y, x) of channels [first, first + count) to `out`, in the weight's column order.
void copy_patch(const Window& window, const Placement& place, const float* image, int64_t y, int64_t x, int64_t first,
                int64_t count, float* out) {
  const int64_t y0 = y * window.stride[0] - place.pad[0], x0 = x * window.stride[1] - place.pad[1];
  for (int64_t c = first; c < first + count; ++c) {
    const float* plane = image + c * place.size[0] * place.size[1];
    for (int64_t i = 0; i < window.kernel[0]; ++i) {
      const int64_t yy = y0 + i * window.dilation[0];
      for (int64_t j = 0; j < window.kernel[1]; ++j) {
        const int64_t xx = x0 + j * window.dilation[1];
        const bool inside = yy >= 0 && yy < place.size[0] && xx >= 0 && xx < place.size[1];
        *out++ = inside ? plane[yy * place.size[1] + xx] : 0.0f;
      }
    }
  }
}

}  // namespace

Moments::Moments(const WeightUse& use, int64_t samples) : use_(use), samples_(samples) {
  const int64_t blocks = (use.view.columns + kMaxBlock - 1) / kMaxBlock;
  for (int64_t b = 0; b <= blocks; ++b) {
    // Whole vectors of up to 8 columns stay in one block.
    starts_.push_back(b == blocks ? use.view.columns : b * use.view.columns / blocks / 8 * 8);
  }
  for (int64_t g = 0; g < use.view.groups; ++g) {
    for (int64_t b = 0; b < blocks; ++b) sums_.push_back(Eigen::MatrixXd::Zero(block_size(b), block_size(b)));
    totals_.push_back(Eigen::VectorXd::Zero(use.view.columns));
  }
}

void Moments::add(const HostTensor& activation) {
  if (activation.elements() == 0) return;
  ++calls_;
  if (use_.window) {
    add_convolution(activation);
  } else {
    add_rows(activation);
  }
}

void Moments::add_convolution(const HostTensor& activation) {
  const Window& window = *use_.window;
  const bool fits = activation.dims.size() >= 3 && activation.dims.size() <= 4 &&
                    activation.dims[1] * window.kernel[0] * window.kernel[1] == use_.view.columns * use_.view.groups;
  if (!fits) throw Error::make("activation '{}' does not fit its convolution", use_.activation);
  const Placement placement = place(window, activation);
  const int64_t places = placement.out[0] * placement.out[1];
  const int64_t all = activation.dims[0] * places;
  if (all == 0) return;
  operations_ +=
      static_cast<double>(all) * static_cast<double>(use_.view.rows) * static_cast<double>(use_.view.columns);
  const int64_t taken = std::min(all, samples_);
  const int64_t image_size = placement.channels * placement.size[0] * placement.size[1];
  const int64_t channels = placement.channels / use_.view.groups;
  Eigen::MatrixXf patches(use_.view.columns, taken);
  for (int64_t g = 0; g < use_.view.groups; ++g) {
    for (int64_t s = 0; s < taken; ++s) {
      const int64_t position = (s * all + all / 2) / taken;  // spread evenly over samples and places
      const int64_t n = position / places, y = position % places / placement.out[1], x = position % placement.out[1];
      copy_patch(window, placement, activation.floats().data() + n * image_size, y, x, g * channels, channels,
                 patches.col(s).data());
    }
    add_patches(patches, g);
  }
  count_ += taken;
}

void Moments::add_rows(const HostTensor& activation) {
  const int64_t columns = use_.view.columns;
  const size_t axis = use_.activation_transposed ? 0 : activation.dims.size() - 1;
  if (activation.dims.empty() || activation.dims[axis] != columns) {
    throw Error::make("activation '{}' does not fit its matrix", use_.activation);
  }
  const int64_t all = activation.elements() / columns;
  operations_ += static_cast<double>(all) * static_cast<double>(use_.view.rows) * static_cast<double>(columns);
  const int64_t taken = std::min(all, samples_);
  const float* values = activation.floats().data();
  Eigen::MatrixXf patches(columns, taken);
  for (int64_t s = 0; s < taken; ++s) {
    const int64_t row = s * all / taken;
    for (int64_t c = 0; c < columns; ++c) {
      patches(c, s) = use_.activation_transposed ? values[c * all + row] : values[row * columns + c];
    }
  }
  add_patches(patches, 0);
  count_ += taken;
}

void Moments::add_patches(const Eigen::MatrixXf& patches, int64_t group) {
  for (int64_t b = 0; b < blocks_per_group(); ++b) {
    const auto rows = patches.middleRows(block_begin(b), block_size(b));
    Eigen::MatrixXf product = Eigen::MatrixXf::Zero(block_size(b), block_size(b));
    product.selfadjointView<Eigen::Lower>().rankUpdate(rows);
    sums_[static_cast<size_t>(group * blocks_per_group() + b)] += product.cast<double>();
  }
  totals_[static_cast<size_t>(group)] += patches.cast<double>().rowwise().sum();
}

Eigen::MatrixXd Moments::second_moment(int64_t group, int64_t block) const {
  const Eigen::MatrixXd& sum = sums_[static_cast<size_t>(group * blocks_per_group() + block)];
  return Eigen::MatrixXd(sum.selfadjointView<Eigen::Lower>()) / static_cast<double>(std::max<int64_t>(count_, 1));
}

Eigen::VectorXd Moments::mean(int64_t group) const {
  return totals_[static_cast<size_t>(group)] / static_cast<double>(std::max<int64_t>(count_, 1));
}

}  // namespace quench::quantizer
