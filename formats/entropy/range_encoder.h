// Writes binary decisions; the counterpart of range_decoder.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "formats/entropy/binary_model.h"

namespace quench::entropy {

// Bytes: std::vector<uint8_t>, or what has its push_back, pop_back, back, size and [].
template <typename Bytes>
class RangeEncoderTo {
 public:
  RangeEncoderTo() = default;
  explicit RangeEncoderTo(Bytes bytes) : bytes_(std::move(bytes)) {}

  // `probability` of a 1 in 1/65536, 1 .. 65535.
  void encode(uint32_t bit, uint32_t probability) {
    const uint64_t bound = (range_ >> 16) * probability;
    if (bit != 0) {
      range_ = bound;
    } else {
      add(bound);
      range_ -= bound;
    }
    normalize();
  }

  void encode(uint32_t bit, AdaptiveBit& model) {
    encode(bit, model.probability());
    model.update(bit);
  }

  // The lowest `count` <= 16 bits of `value`, as equally likely.
  void encode_raw(uint32_t value, uint32_t count) {
    if (count == 0) return;
    const uint64_t unit = range_ >> count;
    const uint64_t last = (uint64_t{1} << count) - 1;
    add(value * unit);
    range_ = value == last ? range_ - last * unit : unit;
    normalize();
  }

  // The shortest bytes that decode to what was encoded. Call once.
  Bytes finish() {
    for (int zeros = 8; zeros >= 0; --zeros) {
      const uint64_t mask = zeros == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * zeros)) - 1;
      const uint64_t value = (low_ + mask) & ~mask;
      if (value - low_ >= range_) continue;
      add(value - low_);
      break;
    }
    for (int shift = 56; shift >= 0; shift -= 8) bytes_.push_back(static_cast<uint8_t>(low_ >> shift));
    const size_t least = bytes_.size() - 8;
    while (bytes_.size() > least && bytes_.back() == 0) bytes_.pop_back();
    return std::move(bytes_);
  }

 private:
  void add(uint64_t amount) {
    low_ += amount;
    if (low_ >= amount) return;
    size_t i = bytes_.size();  // a carry; there is a byte below 255, since the number stays below 1
    while (++bytes_[--i] == 0) {
    }
  }

  void normalize() {
    if (range_ >= uint64_t{1} << 32) return;
    for (int shift = 56; shift >= 32; shift -= 8) bytes_.push_back(static_cast<uint8_t>(low_ >> shift));
    low_ <<= 32;
    range_ <<= 32;
  }

  Bytes bytes_;
  uint64_t low_ = 0;
  uint64_t range_ = ~uint64_t{0};
};

using RangeEncoder = RangeEncoderTo<std::vector<uint8_t>>;

}  // namespace quench::entropy
