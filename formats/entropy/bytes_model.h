// What the two ends of the byte coder share.
//
// The first byte is the mode: stored bytes; a tree of eight binary decisions per byte, in contexts of the bits before
// them and, in order 1, of the byte before; or matches (Ziv and Lempel 1977) with range coding in the manner of LZMA:
// literals, matches with a new distance, and repetitions of one of the last four distances.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quench::entropy {

enum class BytesMode : uint8_t { kStored = 0, kOrder0 = 1, kOrder1 = 2, kMatches = 3 };

// 65536 / (count + 1.5).
constexpr uint32_t adaptation_rate(uint32_t count) { return 131072 / (2 * count + 3); }

// The estimate of a decision in a context that may be seen a few times only: 12 bits of probability, 4 of a count.
class QuickBit {
 public:
  uint32_t probability() const { return value_ & 0xfff0u; }  // of a 1, in 1/65536
  uint32_t count() const { return value_ & 15u; }
  void update(uint32_t bit) {
    constexpr int32_t kMargin = 64;
    const int32_t before = static_cast<int32_t>(probability());
    const int32_t target = bit != 0 ? 65536 - kMargin : kMargin;
    const uint32_t seen = count();
    const auto rate = static_cast<int32_t>(seen < kLastCount ? adaptation_rate(seen) : kFinalRate);
    const int32_t after = before + static_cast<int32_t>((int64_t{target - before} * rate) >> 16);
    value_ = static_cast<uint16_t>((after & 0xfff0) | (seen < kLastCount ? seen + 1 : kLastCount));
  }

 private:
  static constexpr uint32_t kLastCount = 15;
  static constexpr uint32_t kFinalRate = 65536 / 24;
  uint16_t value_ = 32768;
};

// The same for a decision that is seen often: finer, and slower in the end.
class SteadyBit {
 public:
  uint32_t probability() const { return probability_; }
  void update(uint32_t bit) {
    constexpr int32_t kMargin = 32;
    const int32_t target = bit != 0 ? 65536 - kMargin : kMargin;
    const int32_t before = probability_;
    probability_ = static_cast<uint16_t>(before + static_cast<int32_t>((int64_t{target - before} * rate_) >> 16));
    if (count_ < kLastCount) rate_ = static_cast<uint16_t>(adaptation_rate(++count_));
  }

 private:
  static constexpr uint16_t kLastCount = 200;
  uint16_t probability_ = 32768;
  uint16_t rate_ = static_cast<uint16_t>(adaptation_rate(0));
  uint16_t count_ = 0;
};

inline constexpr uint32_t kRepeats = 4;
inline constexpr uint32_t kMinMatch = 2;
inline constexpr uint32_t kShortLengths = 16;  // coded in a tree; the rest by Exp-Golomb
inline constexpr uint32_t kLengthSets = 2;     // of new distances, of repetitions
inline constexpr uint32_t kMaxMatch = 65535;
inline constexpr uint32_t kDistanceSlots = 64;                     // two per octave
inline constexpr uint32_t kSlotSets = 4;                           // by the length: 2, 3, 4, more
inline constexpr uint32_t kOperations = 3;                         // literal, match, repetition
inline constexpr uint32_t kHistories = kOperations * kOperations;  // of the last two operations

struct MatchContexts {
  QuickBit is_match[kHistories];
  QuickBit is_repeat[kHistories];
  QuickBit repeat[kHistories][kRepeats - 1];
  QuickBit is_long[kLengthSets];
  QuickBit short_length[kLengthSets][kShortLengths];
  QuickBit long_exponent[kLengthSets][16];
  QuickBit long_mantissa[kLengthSets][16];  // the highest bit
  QuickBit slot[kSlotSets][kDistanceSlots];
  QuickBit low_distance[kDistanceSlots][2];  // the two lowest bits
  QuickBit literal0[kOperations][256];
  QuickBit literal1[256][256];
};

inline uint32_t slot_set(uint32_t length) {
  return length - kMinMatch < kSlotSets ? length - kMinMatch : kSlotSets - 1;
}

// A slot holds the distances (less 1) with the same highest two bits.
inline uint32_t slot_bits(uint32_t slot) { return slot < 4 ? 0 : slot / 2 - 1; }
inline uint32_t slot_base(uint32_t slot) { return slot < 4 ? slot : (2 + slot % 2) << slot_bits(slot); }

// A literal is coded by the context of the byte before it once that has been seen, until then without.
inline const QuickBit& literal_estimate(const QuickBit& order0, const QuickBit& order1) {
  return order1.count() < 2 ? order0 : order1;
}

}  // namespace quench::entropy
