// An adaptive estimate of how likely a binary decision is 1: the mean of a fast and a slow exponential average, both of
// 16 bits. Shared by the range coder's two ends.
#pragma once

#include <cstdint>

namespace quench::entropy {

struct AdaptiveBit {
  uint16_t fast = 32768;
  uint16_t slow = 32768;

  // Of a 1, in 1/65536. Never 0 and never 65536: update() stops short of both.
  uint32_t probability() const { return (uint32_t{fast} + slow) >> 1; }

  void update(uint32_t bit) {
    fast = step<kFastShift>(fast, bit);
    slow = step<kSlowShift>(slow, bit);
  }

 private:
  static constexpr int kFastShift = 6;
  static constexpr int kSlowShift = 9;

  template <int kShift>
  static uint16_t step(uint16_t value, uint32_t bit) {
    constexpr int32_t kLow = (1 << kShift) - 1;
    const int32_t target = kLow + (static_cast<int32_t>(0u - bit) & (65535 - kLow));
    return static_cast<uint16_t>(value + ((target - value) >> kShift));
  }
};

}  // namespace quench::entropy
