#include "compressor/networks/lapped_transform.h"

#include <cmath>

namespace quench::networks {
namespace {

constexpr size_t kSide = kLappedSide, kHalf = kSide / 2;

double cosine(size_t frequency, size_t at, size_t size) {
  const auto angle = static_cast<double>(frequency * (2 * at + 1)), length = static_cast<double>(size);
  return std::sqrt((frequency == 0 ? 1.0 : 2.0) / length) * std::cos(M_PI * angle / (2 * length));
}

// What is done to the eight values around a border between blocks before the cosine transform: the mean of two that the
// border mirrors stays, and their differences go through V = J C2^T C4 J, of the cosine transforms of types 2 and 4.
// Orthonormal.
using Filter = std::array<std::array<double, kSide>, kSide>;

Filter border_filter() {
  Filter filter{};
  for (size_t i = 0; i < kHalf; ++i) {
    for (size_t j = 0; j < kHalf; ++j) {
      double v = 0;
      for (size_t k = 0; k < kHalf; ++k) {
        const auto angle = static_cast<double>((2 * k + 1) * (2 * (kHalf - 1 - j) + 1));
        v += cosine(k, kHalf - 1 - i, kHalf) * std::sqrt(2.0 / kHalf) * std::cos(M_PI * angle / (4 * kHalf));
      }
      const double mean = i == j ? 0.5 : 0;
      filter[kHalf - 1 - i][kHalf - 1 - j] = filter[kHalf + i][kHalf + j] = mean + v / 2;
      filter[kHalf - 1 - i][kHalf + j] = filter[kHalf + i][kHalf - 1 - j] = mean - v / 2;
    }
  }
  return filter;
}

}  // namespace

LappedWaves lapped_waves() {
  const Filter filter = border_filter();
  LappedWaves waves{};
  for (size_t frequency = 0; frequency < kSide; ++frequency) {
    for (size_t at = 0; at < kSide; ++at) {
      const size_t first_tap = at < kHalf ? 0 : kSide;
      for (size_t tap = 0; tap < kSide; ++tap) {
        waves[frequency][first_tap + tap] += cosine(frequency, at, kSide) * filter[(at + kHalf) % kSide][tap];
      }
    }
  }
  return waves;
}

}  // namespace quench::networks
