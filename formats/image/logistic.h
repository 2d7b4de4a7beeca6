// Probabilities and their logits, ln(p / (1 - p)), in integers: the same on every machine. Logits are in 1/256.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace quench::image {

inline constexpr int32_t kLogitUnit = 256;
inline constexpr int32_t kMaxLogit = 11 * kLogitUnit - 1;  // beyond it, 16 bits of probability hardly change

namespace internal {

constexpr std::array<uint16_t, kMaxLogit + 1> make_upper_probabilities() {
  constexpr uint64_t kOne = uint64_t{1} << 32;
  constexpr uint64_t kDecay = 4278222805;  // 2^32 exp(-1/256), rounded down
  std::array<uint16_t, kMaxLogit + 1> table{};
  uint64_t power = kOne;  // 2^32 exp(-x/256)
  for (uint16_t& entry : table) {
    entry = static_cast<uint16_t>((kOne << 16) / (kOne + power));
    power = power * kDecay >> 32;
  }
  return table;
}

inline constexpr auto kUpperProbabilities = make_upper_probabilities();

}  // namespace internal

// The probability of a logit in 1/65536, 2 .. 65534.
constexpr uint32_t squash(int32_t logit) {
  const int32_t x = std::clamp(logit, -kMaxLogit, kMaxLogit);
  return x >= 0 ? internal::kUpperProbabilities[static_cast<size_t>(x)]
                : 65536u - internal::kUpperProbabilities[static_cast<size_t>(-x)];
}

namespace internal {

constexpr std::array<int16_t, 4096> make_logits() {
  std::array<int16_t, 4096> table{};
  int16_t logit = 0;
  for (uint32_t i = 2048; i < 4096; ++i) {
    while (squash(logit) < 16 * i + 8) ++logit;
    table[i] = logit;
    table[4095 - i] = static_cast<int16_t>(-logit);
  }
  return table;
}

inline constexpr auto kLogits = make_logits();

}  // namespace internal

// The logit of a probability in 1/65536, below 65536, to 12 bits: from 1/2 on the least logit whose probability reaches
// the middle of 16; below, that of the complement negated.
constexpr int32_t stretch(uint32_t probability) { return internal::kLogits[probability >> 4]; }

}  // namespace quench::image
