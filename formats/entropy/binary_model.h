// An adaptive estimate of how likely a binary decision is 1: the mean of a fast and a slow exponential average, both of
// 16 bits. Shared by the range coder's two ends.
#pragma once

#include <cstdint>

namespace quench::entropy {

class AdaptiveBit {
 public:
  AdaptiveBit() : AdaptiveBit(32768) {}
  explicit AdaptiveBit(uint16_t probability) : both_(uint32_t{probability} << 16 | probability) {}

  // Of a 1, in 1/65536. Never 0 and never 65536: update() stops short of both.
  uint32_t probability() const { return ((both_ & 0xffff) + (both_ >> 16)) >> 1; }

  void update(uint32_t bit) {
    const uint32_t mask = 0u - bit;
    const uint32_t away = both_ ^ mask;  // from the bit, each average in its half
    both_ = (away - (away >> kFastShift & 0xffff >> kFastShift) - (away >> kSlowShift & 0xffffu >> kSlowShift << 16)) ^
            mask;
  }

 private:
  static constexpr int kFastShift = 6;
  static constexpr int kSlowShift = 9;

  uint32_t both_;  // the fast average in the lower half, the slow one in the upper
};

}  // namespace quench::entropy
