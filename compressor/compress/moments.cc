#include "compressor/compress/moments.h"

#include <algorithm>

#include "compressor/quantizer/outer_products.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

using graph::HostTensor;
using operators::Window;

constexpr auto kVectorBatch = static_cast<int64_t>(kOuterProductBatch);

// Vectors that a second moment is estimated from. Of 32, 64, 128 and 1000 for each column, ResNet-20's file at 16.0 dB
// has 97.5, 98.2, 98.2 and 97.7 kB: the search's own noise.
constexpr int64_t kLeastSamples = 4096;
constexpr int64_t kSamplesPerColumn = 32;

// The window over an activation of one size.
Window place(const WeightUse& use, const HostTensor& activation) {
  Window window = *use.window;
  window.set_input(activation.dims.data() + 2, static_cast<int>(activation.dims.size()) - 2);
  const Status status = operators::place_windows(/*ceil_mode=*/false, &window);
  if (!status.ok()) throw Error::make("activation '{}': {}", use.activation, status.detail());
  return window;
}

// Writes the patch at output position (y, x) of channels [first, first + count) to `out`, in the weight's column order.
void copy_patch(const Window& window, const float* image, int64_t y, int64_t x, int64_t first, int64_t count,
                float* out) {
  const int64_t height = window.input[1], width = window.input[2];
  const int64_t y0 = window.coordinate(1, y, 0), x0 = window.coordinate(2, x, 0);
  const bool inside_row = window.dilation[2] == 1 && x0 >= 0 && x0 + window.kernel[2] <= width;
  for (int64_t c = first; c < first + count; ++c) {
    const float* plane = image + c * height * width;
    for (int64_t i = 0; i < window.kernel[1]; ++i) {
      const int64_t yy = y0 + i * window.dilation[1];
      if (inside_row && yy >= 0 && yy < height) {
        const float* from = plane + yy * width + x0;
        for (int64_t j = 0; j < window.kernel[2]; ++j) *out++ = from[j];
        continue;
      }
      for (int64_t j = 0; j < window.kernel[2]; ++j) {
        const int64_t xx = x0 + j * window.dilation[2];
        const bool inside = yy >= 0 && yy < height && xx >= 0 && xx < width;
        *out++ = inside ? plane[yy * width + xx] : 0.0f;
      }
    }
  }
}

}  // namespace

Moments::Moments(const WeightUse& use, int64_t largest_block) : use_(use) {
  const int64_t blocks = (use.view.columns + largest_block - 1) / largest_block;
  for (int64_t b = 0; b <= blocks; ++b) {
    // Whole vectors of up to 8 columns stay in one block.
    starts_.push_back(b == blocks ? use.view.columns : b * use.view.columns / blocks / 8 * 8);
  }
  for (int64_t g = 0; g < use.view.groups; ++g) {
    for (int64_t b = 0; b < blocks; ++b) sums_.emplace_back(static_cast<size_t>(block_size(b) * block_size(b)), 0.0f);
    totals_.push_back(Eigen::VectorXd::Zero(use.view.columns));
  }
}

uint64_t Moments::bytes(const WeightUse& use, int64_t largest_block) {
  return static_cast<uint64_t>(use.view.groups * use.view.columns * std::min(use.view.columns, largest_block)) *
         sizeof(float);
}

// Vectors x that the activation has, for each group.
int64_t Moments::positions(const HostTensor& activation) const {
  if (use_.window) {
    const bool fits = activation.dims.size() >= 3 && activation.dims.size() <= 4 &&
                      activation.dims[1] * use_.window->kernel_elements() == use_.view.columns * use_.view.groups;
    if (!fits) throw Error::make("activation '{}' does not fit its convolution", use_.activation);
    return activation.dims[0] * place(use_, activation).output_elements();
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
  const Window window = place(use_, activation);
  const int64_t places = window.output_elements();
  const int64_t taken = std::min(all, samples);
  const int64_t image_size = activation.dims[1] * window.input_elements();
  const int64_t channels = activation.dims[1] / use_.view.groups;
  std::vector<float> patches(static_cast<size_t>(std::min(taken, kVectorBatch) * use_.view.columns));
  for (int64_t g = 0; g < use_.view.groups; ++g) {
    for (int64_t begin = 0; begin < taken; begin += kVectorBatch) {
      const int64_t count = std::min(kVectorBatch, taken - begin);
      for (int64_t s = 0; s < count; ++s) {
        // Spread evenly over samples and places.
        const int64_t position = ((begin + s) * all + all / 2) / taken;
        const int64_t n = position / places, y = position % places / window.output[2], x = position % window.output[2];
        copy_patch(window, activation.floats().data() + n * image_size, y, x, g * channels, channels,
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
