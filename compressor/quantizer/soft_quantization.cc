#include "compressor/quantizer/soft_quantization.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "formats/base/parallel.h"

// The order of these lines matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compressor/quantizer/soft_quantization.cc"
#include "formats/base/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#ifndef QUENCH_SOFT_QUANTIZATION_SHARED
#define QUENCH_SOFT_QUANTIZATION_SHARED
namespace quench::quantizer {

// A block of vectors, and where its results go.
struct SoftForwardBlock {
  const float* z;
  size_t count;
  float* soft;  // null: not wanted, as the next two
  float* hard;
  uint16_t* indices;
  double* mass;  // L
};

struct SoftBackwardBlock {
  const float* z;
  const float* grad_values;
  const float* grad_mass;  // L
  size_t count;
  float* grad_z;
  double* grad_centers;  // L x d
};

}  // namespace quench::quantizer
#endif

HWY_BEFORE_NAMESPACE();
namespace quench::quantizer {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;
constexpr size_t kMostLanes = hn::MaxLanes(Tag());
constexpr size_t kMostDimensions = 8;

// 2^x for x in [-100, 0], to 1e-7 of its value: a degree-5 polynomial (of least relative error) in the distance to the
// nearest integer, which goes to the exponent. Half as long as a library's exponential, which must take any argument.
Vector exp2_of_negative(Vector x) {
  const Tag tag;
  const hn::RebindToSigned<Tag> integers;
  const Vector shifter = hn::Set(tag, 0x1.8p23f);  // leaves the nearest integer in the low bits of the mantissa
  const Vector shifted = hn::Add(x, shifter);
  const Vector f = hn::Sub(x, hn::Sub(shifted, shifter));
  Vector value = hn::MulAdd(f, hn::Set(tag, 1.327647129073739e-3f), hn::Set(tag, 9.675540961325169e-3f));
  value = hn::MulAdd(value, f, hn::Set(tag, 5.550713092088699e-2f));
  value = hn::MulAdd(value, f, hn::Set(tag, 2.402212023735046e-1f));
  value = hn::MulAdd(value, f, hn::Set(tag, 6.931469440460205e-1f));
  value = hn::MulAdd(value, f, hn::Set(tag, 1.0000001192092896f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(integers, shifted));
  return hn::BitCast(tag, hn::Add(hn::BitCast(integers, value), exponent));
}

// As many vectors as there are lanes, a coordinate of all of them in one register.
class Lanes {
 public:
  explicit Lanes(const SoftQuantization& quantization)
      : d_(static_cast<size_t>(quantization.dimension)),
        centers_(quantization.penalties.size()),
        quantization_(quantization),
        lanes_(hn::Lanes(Tag())),
        phi_(centers_ * lanes_) {}

  size_t lanes() const { return lanes_; }
  size_t centers() const { return centers_; }
  size_t dimension() const { return d_; }
  float center(size_t j, size_t k) const { return quantization_.centers[j * d_ + k]; }
  float* phi(size_t j) { return phi_.data() + j * lanes_; }

  // Rows [first, first + lanes) of n x d values by column; rows from `count` on repeat the last one.
  void load(const float* values, size_t first, size_t count, float (*columns)[kMostLanes]) const {
    if (d_ == 1 && first + lanes_ <= count) {
      hn::Store(hn::LoadU(Tag(), values + first), Tag(), columns[0]);
      return;
    }
    for (size_t i = 0; i < lanes_; ++i) {
      const size_t row = std::min(first + i, count - 1);
      for (size_t k = 0; k < d_; ++k) columns[k][i] = values[row * d_ + k];
    }
  }

  // The hard assignment. phi(j) receives ||z - c_j||^2 + penalty_j, `least` the least of them.
  Vector nearest(const float (*z)[kMostLanes], Vector& least) {
    const Tag tag;
    Vector best = hn::Zero(tag);
    least = hn::Set(tag, std::numeric_limits<float>::max());
    for (size_t j = 0; j < centers_; ++j) {
      Vector score = hn::Set(tag, quantization_.penalties[j]);
      for (size_t k = 0; k < d_; ++k) {
        const Vector difference = hn::Sub(hn::Load(tag, z[k]), hn::Set(tag, center(j, k)));
        score = hn::MulAdd(difference, difference, score);
      }
      const auto nearer = hn::Lt(score, least);
      least = hn::IfThenElse(nearer, score, least);
      best = hn::IfThenElse(nearer, hn::Set(tag, static_cast<float>(j)), best);
      hn::StoreU(score, tag, phi(j));
    }
    return best;
  }

  // After nearest(), the formula of soft_assignment.h: phi(j) receives exponentials, whose sum is returned.
  Vector soften(Vector least) {
    const Tag tag;
    constexpr float kLog2OfE = 1.44269504f;
    const Vector sigma = hn::Set(tag, quantization_.sigma * kLog2OfE), floor = hn::Set(tag, -100.0f);
    Vector sum = hn::Zero(tag);
    for (size_t j = 0; j < centers_; ++j) {
      const Vector exponent = hn::Mul(hn::Sub(least, hn::LoadU(tag, phi(j))), sigma);
      const Vector e = exp2_of_negative(hn::Max(exponent, floor));
      hn::StoreU(e, tag, phi(j));
      sum = hn::Add(sum, e);
    }
    return sum;
  }

 private:
  size_t d_, centers_;
  const SoftQuantization& quantization_;
  size_t lanes_;
  std::vector<float> phi_;  // centers x lanes
};

void soft_forward_block(const SoftQuantization& quantization, const SoftForwardBlock& block) {
  const Tag tag;
  Lanes lanes(quantization);
  const size_t n = lanes.lanes(), d = lanes.dimension();
  std::vector<float> mass(block.mass ? lanes.centers() * n : 0, 0.0f);
  HWY_ALIGN float z[kMostDimensions][kMostLanes], values[kMostLanes], valid[kMostLanes];
  for (size_t first = 0; first < block.count; first += n) {
    const size_t count = std::min(n, block.count - first);
    lanes.load(block.z, first, block.count, z);
    for (size_t i = 0; i < n; ++i) valid[i] = i < count ? 1.0f : 0.0f;
    Vector least;
    const Vector best = lanes.nearest(z, least);
    const bool softens = block.soft || block.mass;
    const Vector inverse = softens ? hn::Div(hn::Set(tag, 1.0f), lanes.soften(least)) : hn::Zero(tag);
    for (size_t k = 0; k < d && block.soft; ++k) {
      Vector value = hn::Zero(tag);
      for (size_t j = 0; j < lanes.centers(); ++j)
        value = hn::MulAdd(hn::LoadU(tag, lanes.phi(j)), hn::Set(tag, lanes.center(j, k)), value);
      hn::Store(hn::Mul(value, inverse), tag, values);
      for (size_t i = 0; i < count; ++i) block.soft[(first + i) * d + k] = values[i];
    }
    if (block.mass) {
      const Vector share = hn::Mul(inverse, hn::Load(tag, valid));
      for (size_t j = 0; j < lanes.centers(); ++j) {
        float* sum = mass.data() + j * n;
        hn::StoreU(hn::MulAdd(hn::LoadU(tag, lanes.phi(j)), share, hn::LoadU(tag, sum)), tag, sum);
      }
    }
    if (!block.hard && !block.indices) continue;
    hn::Store(best, tag, values);
    for (size_t i = 0; i < count; ++i) {
      const auto index = static_cast<size_t>(values[i]);
      if (block.indices) block.indices[first + i] = static_cast<uint16_t>(index);
      for (size_t k = 0; k < d && block.hard; ++k) block.hard[(first + i) * d + k] = lanes.center(index, k);
    }
  }
  for (size_t e = 0; block.mass && e < mass.size(); ++e) block.mass[e / n] += static_cast<double>(mass[e]);
}

// With s_j = -sigma (||z - c_j||^2 + penalty_j), g the gradient of the value and m_j that of the mass, the loss has the
// derivative a_j = <g, c_j> + m_j in phi_j, b_j = phi_j (a_j - sum_k phi_k a_k) in s_j; hence 2 sigma sum_j b_j c_j in
// z (the terms in z cancel, since b sums to 0) and phi_j g + 2 sigma b_j (z - c_j) in c_j.
void soft_backward_block(const SoftQuantization& quantization, const SoftBackwardBlock& block) {
  const Tag tag;
  Lanes lanes(quantization);
  const size_t n = lanes.lanes(), d = lanes.dimension();
  std::vector<float> sums(lanes.centers() * d * n, 0.0f);
  HWY_ALIGN float z[kMostDimensions][kMostLanes], g[kMostDimensions][kMostLanes], values[kMostLanes];
  const Vector twice_sigma = hn::Set(tag, 2 * quantization.sigma);
  const auto slope = [&](size_t j) HWY_ATTR {
    Vector a = hn::Set(tag, block.grad_mass[j]);
    for (size_t k = 0; k < d; ++k) a = hn::MulAdd(hn::Load(tag, g[k]), hn::Set(tag, lanes.center(j, k)), a);
    return a;
  };
  for (size_t first = 0; first < block.count; first += n) {
    const size_t count = std::min(n, block.count - first);
    lanes.load(block.z, first, block.count, z);
    lanes.load(block.grad_values, first, block.count, g);
    Vector least;
    lanes.nearest(z, least);
    Vector inverse = hn::Div(hn::Set(tag, 1.0f), lanes.soften(least));
    Vector mean = hn::Zero(tag);
    for (size_t j = 0; j < lanes.centers(); ++j) mean = hn::MulAdd(hn::LoadU(tag, lanes.phi(j)), slope(j), mean);
    mean = hn::Mul(mean, inverse);
    // Rows that only fill up the register count for nothing.
    for (size_t i = 0; i < n; ++i) values[i] = i < count ? 1.0f : 0.0f;
    inverse = hn::Mul(inverse, hn::Load(tag, values));
    Vector grad_z[kMostDimensions];
    for (size_t k = 0; k < d; ++k) grad_z[k] = hn::Zero(tag);
    for (size_t j = 0; j < lanes.centers(); ++j) {
      const Vector phi = hn::Mul(hn::LoadU(tag, lanes.phi(j)), inverse);
      const Vector b = hn::Mul(hn::Mul(phi, hn::Sub(slope(j), mean)), twice_sigma);
      for (size_t k = 0; k < d; ++k) {
        const Vector center = hn::Set(tag, lanes.center(j, k));
        grad_z[k] = hn::MulAdd(b, center, grad_z[k]);
        float* sum = sums.data() + (j * d + k) * n;
        const Vector part = hn::MulAdd(b, hn::Sub(hn::Load(tag, z[k]), center), hn::Mul(phi, hn::Load(tag, g[k])));
        hn::StoreU(hn::Add(part, hn::LoadU(tag, sum)), tag, sum);
      }
    }
    for (size_t k = 0; k < d; ++k) {
      hn::Store(grad_z[k], tag, values);
      for (size_t i = 0; i < count; ++i) block.grad_z[(first + i) * d + k] = values[i];
    }
  }
  for (size_t e = 0; e < sums.size(); ++e) block.grad_centers[e / n] += static_cast<double>(sums[e]);
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::quantizer
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::quantizer {

QUENCH_SIMD_EXPORT(soft_forward_block);
QUENCH_SIMD_EXPORT(soft_backward_block);

namespace {

// Vectors that a thread takes at a time: few enough sums to add up whatever the number of vectors is.
size_t block_size(size_t count) { return std::max<size_t>(4096, (count + 63) / 64); }

// Sums of all blocks, in their order.
void add_up(const std::vector<std::vector<double>>& blocks, std::vector<double>& total) {
  for (const std::vector<double>& block : blocks)
    for (size_t j = 0; j < block.size(); ++j) total[j] += block[j];
}

}  // namespace

void soft_quantize(const SoftQuantization& quantization, std::span<const float> z,
                   const SoftQuantizationOutputs& outputs, int threads) {
  const auto d = static_cast<size_t>(quantization.dimension);
  const size_t count = z.size() / d, centers = quantization.penalties.size(), size = block_size(count);
  std::vector<std::vector<double>> masses((count + size - 1) / size);
  parallel_blocks(count, size, threads, [&](size_t number, size_t begin, size_t end) {
    SoftForwardBlock block{};
    block.z = z.data() + begin * d;
    block.count = end - begin;
    if (!outputs.soft.empty()) block.soft = outputs.soft.data() + begin * d;
    if (!outputs.hard.empty()) block.hard = outputs.hard.data() + begin * d;
    if (!outputs.indices.empty()) block.indices = outputs.indices.data() + begin;
    if (!outputs.mass.empty()) {
      masses[number].resize(centers);
      block.mass = masses[number].data();
    }
    QUENCH_SIMD_CALL(soft_forward_block)(quantization, block);
  });
  if (outputs.mass.empty()) return;
  std::vector<double> total(centers);
  add_up(masses, total);
  std::copy(total.begin(), total.end(), outputs.mass.begin());
}

void soft_quantize_backward(const SoftQuantization& quantization, std::span<const float> z,
                            std::span<const float> grad_values, std::span<const float> grad_mass,
                            std::span<float> grad_z, std::span<float> grad_centers, int threads) {
  const auto d = static_cast<size_t>(quantization.dimension);
  const size_t count = z.size() / d, size = block_size(count);
  std::vector<std::vector<double>> sums((count + size - 1) / size);
  parallel_blocks(count, size, threads, [&](size_t number, size_t begin, size_t end) {
    sums[number].resize(grad_centers.size());
    QUENCH_SIMD_CALL(soft_backward_block)
    (quantization, {z.data() + begin * d, grad_values.data() + begin * d, grad_mass.data(), end - begin,
                    grad_z.data() + begin * d, sums[number].data()});
  });
  std::vector<double> total(grad_centers.size());
  add_up(sums, total);
  std::transform(total.begin(), total.end(), grad_centers.begin(), [](double sum) { return static_cast<float>(sum); });
}

}  // namespace quench::quantizer
#endif  // HWY_ONCE
