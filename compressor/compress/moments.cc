#include "compressor/compress/moments.h"

#include <algorithm>

#include "compressor/compress/outer_products.h"
#include "formats/base/error.h"

namespace quench::quantizer {
namespace {

using graph::HostTensor;

constexpr auto kVectorBatch = static_cast<int64_t>(kOuterProductBatch);

// Vectors that a second moment is estimated from. Twice as many, or ten times, left the size of ResNet-20, UltraFace and
// DTLN at the default quality within 0.3 % of what these give.
constexpr int64_t kLeastSamples = 4096;
constexpr int64_t kSamplesPerColumn = 32;

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
  const bool inside_row = window.dilation[1] == 1 && x0 >= 0 && x0 + window.kernel[1] <= place.size[1];
  for (int64_t c = first; c < first + count; ++c) {
    const float* plane = image + c * place.size[0] * place.size[1];
    for (int64_t i = 0; i < window.kernel[0]; ++i) {
      const int64_t yy = y0 + i * window.dilation[0];
      if (inside_row && yy >= 0 && yy < place.size[0]) {
        const float* from = plane + yy * place.size[1] + x0;
        for (int64_t j = 0; j < window.kernel[1]; ++j) *out++ = from[j];
        continue;
      }
      for (int64_t j = 0; j < window.kernel[1]; ++j) {
        const int64_t xx = x0 + j * window.dilation[1];
        const bool inside = yy >= 0 && yy < place.size[0] && xx >= 0 && xx < place.size[1];
        *out++ = inside ? plane[yy * place.size[1] + xx] : 0.0f;
      }
    }
  }
}

}  // namespace

Moments::Moments(const WeightUse& use) : use_(use) {
  const int64_t blocks = (use.view.columns + kMaxBlock - 1) / kMaxBlock;
  for (int64_t b = 0; b <= blocks; ++b) {
    // Whole vectors of up to 8 columns stay in one block.
    starts_.push_back(b == blocks ? use.view.columns : b * use.view.columns / blocks / 8 * 8);
  }
  for (int64_t g = 0; g < use.view.groups; ++g) {
    for (int64_t b = 0; b < blocks; ++b) sums_.emplace_back(static_cast<size_t>(block_size(b) * block_size(b)), 0.0f);
    totals_.push_back(Eigen::VectorXd::Zero(use.view.columns));
  }
}

// Vectors x that the activation has, for each group.
int64_t Moments::positions(const HostTensor& activation) const {
  if (use_.window) {
    const Window& window = *use_.window;
    const bool fits = activation.dims.size() >= 3 && activation.dims.size() <= 4 &&
                      activation.dims[1] * window.kernel[0] * window.kernel[1] == use_.view.columns * use_.view.groups;
    if (!fits) throw Error::make("activation '{}' does not fit its convolution", use_.activation);
    const Placement placement = place(window, activation);
    return activation.dims[0] * placement.out[0] * placement.out[1];
  }
  const size_t axis = use_.activation_transposed ? 0 : activation.dims.size() - 1;
  if (activation.dims.empty() || activation.dims[axis] != use_.view.columns) {
    throw Error::make("activation '{}' does not fit its matrix", use_.activation);
  }
  return activation.elements() / use_.view.columns;
}

double Moments::operations(const HostTensor& activation) const {
  return static_cast<double>(positions(activation)) * static_cast<double>(use_.view.rows) *
         static_cast<double>(use_.view.columns);
}

int64_t Moments::enough_samples() const {
  return std::max(kLeastSamples, kSamplesPerColumn * std::min(use_.view.columns, kMaxBlock));
}

void Moments::add(const HostTensor& activation, int64_t samples) {
  if (activation.elements() == 0) return;
  use_.window ? add_convolution(activation, samples) : add_rows(activation, samples);
}

void Moments::add_convolution(const HostTensor& activation, int64_t samples) {
  const int64_t all = positions(activation);
  if (all == 0) return;
  const Window& window = *use_.window;
  const Placement placement = place(window, activation);
  const int64_t places = placement.out[0] * placement.out[1];
  const int64_t taken = std::min(all, samples);
  const int64_t image_size = placement.channels * placement.size[0] * placement.size[1];
  const int64_t channels = placement.channels / use_.view.groups;
  std::vector<float> patches(static_cast<size_t>(std::min(taken, kVectorBatch) * use_.view.columns));
  for (int64_t g = 0; g < use_.view.groups; ++g) {
    for (int64_t begin = 0; begin < taken; begin += kVectorBatch) {
      const int64_t count = std::min(kVectorBatch, taken - begin);
      for (int64_t s = 0; s < count; ++s) {
        // Spread evenly over samples and places.
        const int64_t position = ((begin + s) * all + all / 2) / taken;
        const int64_t n = position / places, y = position % places / placement.out[1], x = position % placement.out[1];
        copy_patch(window, placement, activation.floats().data() + n * image_size, y, x, g * channels, channels,
                   patches.data() + s * use_.view.columns);
      }
      add_vectors(patches.data(), count, g);
    }
  }
  count_ += taken;
}

void Moments::add_rows(const HostTensor& activation, int64_t samples) {
  const int64_t columns = use_.view.columns;
  const int64_t all = positions(activation);
  if (all == 0) return;
  const int64_t taken = std::min(all, samples);
  const float* values = activation.floats().data();
  std::vector<float> rows(static_cast<size_t>(std::min(taken, kVectorBatch) * columns));
  for (int64_t begin = 0; begin < taken; begin += kVectorBatch) {
    const int64_t count = std::min(kVectorBatch, taken - begin);
    for (int64_t s = 0; s < count; ++s) {
      const int64_t row = (begin + s) * all / taken;
      float* out = rows.data() + s * columns;
      if (!use_.activation_transposed) {
        std::copy_n(values + row * columns, columns, out);
      } else {
        for (int64_t c = 0; c < columns; ++c) out[c] = values[c * all + row];
      }
    }
    add_vectors(rows.data(), count, 0);
  }
  count_ += taken;
}

void Moments::add_vectors(const float* vectors, int64_t count, int64_t group) {
  const int64_t columns = use_.view.columns;
  for (int64_t b = 0; b < blocks_per_group(); ++b) {
    add_outer_products(vectors + block_begin(b), static_cast<size_t>(count), static_cast<size_t>(columns),
                       static_cast<size_t>(block_size(b)),
                       sums_[static_cast<size_t>(group * blocks_per_group() + b)].data());
  }
  const Eigen::Map<const Eigen::MatrixXf> all(vectors, columns, count);
  totals_[static_cast<size_t>(group)] += all.rowwise().sum().cast<double>();
}

Eigen::MatrixXd Moments::second_moment(int64_t group, int64_t block) const {
  const std::vector<float>& sum = sums_[static_cast<size_t>(group * blocks_per_group() + block)];
  // Row-major and upper is column-major and lower.
  const Eigen::Map<const Eigen::MatrixXf> lower(sum.data(), block_size(block), block_size(block));
  const Eigen::MatrixXd wide = lower.cast<double>();
  return Eigen::MatrixXd(wide.selfadjointView<Eigen::Lower>()) / static_cast<double>(std::max<int64_t>(count_, 1));
}

Eigen::VectorXd Moments::mean(int64_t group) const {
  return totals_[static_cast<size_t>(group)] / static_cast<double>(std::max<int64_t>(count_, 1));
}

}  // namespace quench::quantizer
