// Draws that do not depend on the standard library's distributions, so that a seed gives the same values everywhere.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>

namespace quench::measure {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1p-53;
  }
  double normal(double deviation) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform(0, 1)));
    return deviation * radius * std::cos(2.0 * std::numbers::pi * uniform(0, 1));
  }
  // Nearly normal, without a tail beyond 3.5 deviations: a sum of four uniform values of 16 bits out of one draw. For
  // what is drawn by the pixel, where normal() took a quarter of compressing vittrack.
  double grain(double deviation) {
    const uint64_t draw = engine_();
    const uint64_t sum = (draw & 0xffff) + (draw >> 16 & 0xffff) + (draw >> 32 & 0xffff) + (draw >> 48);
    return deviation * (static_cast<double>(sum) - kGrainMean) * kGrainScale;
  }
  bool coin() { return (engine_() >> 63) != 0; }
  int64_t below(int64_t end) { return static_cast<int64_t>(uniform(0, static_cast<double>(end))); }

 private:
  static constexpr double kGrainMean = 2 * 65535.0;
  static constexpr double kGrainScale = std::numbers::sqrt3 / 65536;  // 1 / sqrt(4 * 65536^2 / 12)

  std::mt19937_64 engine_;
};

}  // namespace quench::measure
