#include "compressor/quantizer/soft_quantization.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "compressor/quantizer/parallel.h"
#include "compressor/quantizer/soft_assignment.h"

namespace quench::quantizer {
namespace {

using Eigen::ArrayXf;
using Eigen::ArrayXXf;
using Eigen::Index;

constexpr size_t kBlock = 4096;  // vectors a thread takes at a time

// One vector's assignment to the centers [first, first + count).
struct Window {
  Index first = 0;
  Index count = 0;
};

// Centers with a coordinate of all of them contiguous, and room for one vector's phi.
class Assigner {
 public:
  explicit Assigner(const SoftQuantization& quantization)
      : quantization_(quantization),
        centers_(Eigen::Map<const Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
            quantization.centers.data(), size(), quantization.dimension)),
        penalties_(Eigen::Map<const ArrayXf>(quantization.penalties.data(), size())),
        phi_(size()) {}

  Index size() const { return static_cast<Index>(quantization_.penalties.size()); }
  const ArrayXXf& centers() const { return centers_; }

  Window assign(const float* z) {
    const Window window = quantization_.dimension == 1 ? near(*z) : Window{0, size()};
    soft_assign(z, centers_.middleRows(window.first, window.count), penalties_.segment(window.first, window.count),
                quantization_.sigma, phi_.head(window.count));
    return window;
  }
  auto phi(const Window& window) const { return phi_.head(window.count); }
  auto window_centers(const Window& window) const { return centers_.middleRows(window.first, window.count); }

 private:
  // Penalties are at least 0, so that a center this far cannot matter beside the cheapest bound known: the nearest
  // center's distance and price.
  Window near(float z) const {
    const float* begin = centers_.data();
    const float* end = begin + size();
    const float* right = std::lower_bound(begin, end, z);
    const float* nearest = right == end || (right != begin && z - right[-1] <= *right - z) ? right - 1 : right;
    const float distance = z - *nearest;
    const float reach =
        std::sqrt(distance * distance + penalties_[nearest - begin] + kNegligible / quantization_.sigma);
    const float* first = nearest;
    while (first != begin && z - first[-1] <= reach) --first;
    const float* last = nearest + 1;
    while (last != end && *last - z <= reach) ++last;
    return {first - begin, last - first};
  }

  const SoftQuantization& quantization_;
  ArrayXXf centers_;  // L x d
  ArrayXf penalties_;
  ArrayXf phi_;
};

size_t blocks_of(size_t count) { return (count + kBlock - 1) / kBlock; }

}  // namespace

void soft_quantize(const SoftQuantization& quantization, std::span<const float> z,
                   const SoftQuantizationOutputs& outputs, int threads) {
  const auto d = static_cast<size_t>(quantization.dimension);
  const size_t count = z.size() / d, centers = quantization.penalties.size();
  std::vector<Eigen::ArrayXd> masses(outputs.mass.empty() ? 0 : blocks_of(count));
  parallel_blocks(count, kBlock, threads, [&](size_t block, size_t begin, size_t end) {
    Assigner assigner(quantization);
    Eigen::ArrayXd mass = Eigen::ArrayXd::Zero(static_cast<Index>(centers));
    for (size_t i = begin; i < end; ++i) {
      const Window window = assigner.assign(&z[i * d]);
      const auto phi = assigner.phi(window);
      if (!outputs.soft.empty()) soft_value(phi, assigner.window_centers(window), &outputs.soft[i * d]);
      if (!masses.empty()) mass.segment(window.first, window.count) += phi.cast<double>();
      if (outputs.hard.empty() && outputs.indices.empty()) continue;
      Index best = 0;
      phi.maxCoeff(&best);
      best += window.first;
      if (!outputs.indices.empty()) outputs.indices[i] = static_cast<uint16_t>(best);
      for (size_t k = 0; k < d && !outputs.hard.empty(); ++k)
        outputs.hard[i * d + k] = assigner.centers()(best, static_cast<Index>(k));
    }
    if (!masses.empty()) masses[block] = std::move(mass);
  });
  std::fill(outputs.mass.begin(), outputs.mass.end(), 0.0);
  for (const Eigen::ArrayXd& mass : masses)
    for (size_t j = 0; j < centers; ++j) outputs.mass[j] += mass[static_cast<Index>(j)];
}

// With s_j = -sigma (||z - c_j||^2 + penalty_j), g the gradient of the value and m_j that of the mass, the loss has the
// derivative a_j = <g, c_j> + m_j in phi_j, b_j = phi_j (a_j - sum_k phi_k a_k) in s_j; hence 2 sigma sum_j b_j c_j in
// z (the terms in z cancel, since b sums to 0) and phi_j g + 2 sigma b_j (z - c_j) in c_j.
void soft_quantize_backward(const SoftQuantization& quantization, std::span<const float> z,
                            std::span<const float> grad_values, std::span<const float> grad_mass,
                            std::span<float> grad_z, std::span<float> grad_centers, int threads) {
  const auto d = static_cast<size_t>(quantization.dimension);
  const size_t count = z.size() / d;
  const auto centers = static_cast<Index>(quantization.penalties.size());
  const Eigen::Map<const ArrayXf> mass_gradient(grad_mass.data(), centers);
  std::vector<Eigen::ArrayXXd> sums(blocks_of(count));
  parallel_blocks(count, kBlock, threads, [&](size_t block, size_t begin, size_t end) {
    Assigner assigner(quantization);
    ArrayXf b(centers);
    Eigen::ArrayXXd sum = Eigen::ArrayXXd::Zero(centers, static_cast<Index>(d));
    for (size_t i = begin; i < end; ++i) {
      const Window window = assigner.assign(&z[i * d]);
      const auto phi = assigner.phi(window);
      const auto near = assigner.window_centers(window);
      auto slope = b.head(window.count);
      slope = mass_gradient.segment(window.first, window.count);
      for (size_t k = 0; k < d; ++k) slope += near.col(static_cast<Index>(k)) * grad_values[i * d + k];
      const float mean = (phi * slope).sum();
      slope = phi * (slope - mean) * (2 * quantization.sigma);
      for (size_t k = 0; k < d; ++k) {
        const auto column = static_cast<Index>(k);
        grad_z[i * d + k] = (slope * near.col(column)).sum();
        sum.col(column).segment(window.first, window.count) +=
            (phi * grad_values[i * d + k] + slope * (z[i * d + k] - near.col(column))).cast<double>();
      }
    }
    sums[block] = std::move(sum);
  });
  Eigen::ArrayXXd total = Eigen::ArrayXXd::Zero(centers, static_cast<Index>(d));
  for (const Eigen::ArrayXXd& sum : sums) total += sum;
  for (Index j = 0; j < centers; ++j)
    for (size_t k = 0; k < d; ++k)
      grad_centers[static_cast<size_t>(j) * d + k] = static_cast<float>(total(j, static_cast<Index>(k)));
}

}  // namespace quench::quantizer
