// Reads binary decisions from a range coder's bytes (Martin 1979; carries are resolved by the encoder, so the decoder
// needs none).
//
// The encoder names a number in the final interval with as few bytes as possible; of the last eight bytes, zeros at the
// end are not stored. Bytes that are cut short, or continued, are another number: mostly one that no encoder writes, which
// finish() finds out, but it may also be that of other decisions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/entropy/binary_model.h"

namespace quench::entropy {

class RangeDecoder {
 public:
  explicit RangeDecoder(std::span<const uint8_t> bytes) : bytes_(bytes) {
    code_ = uint64_t{next_word()} << 32;
    code_ |= next_word();
  }

  // `probability` of a 1 in 1/65536, 1 .. 65535.
  [[gnu::always_inline]] uint32_t decode(uint32_t probability) {
    const uint64_t bound = (range_ >> 16) * probability;
    const uint32_t bit = code_ < bound ? 1 : 0;
    if (bit != 0) {
      range_ = bound;
    } else {
      code_ -= bound;
      range_ -= bound;
    }
    if (range_ < kMinRange) [[unlikely]] {
      range_ <<= 32;
      code_ = code_ << 32 | next_word();
    }
    return bit;
  }

  [[gnu::always_inline]] uint32_t decode(AdaptiveBit& model) {
    const uint32_t bit = decode(model.probability());
    model.update(bit);
    return bit;
  }

  // `count` <= 16 equally likely bits, highest first.
  uint32_t decode_raw(uint32_t count) {
    if (count == 0) return 0;
    const uint64_t unit = range_ >> count;
    uint64_t value = code_ / unit;
    const uint64_t last = (uint64_t{1} << count) - 1;
    if (value > last) value = last;
    code_ -= value * unit;
    range_ = value == last ? range_ - last * unit : unit;
    if (range_ < kMinRange) {
      range_ <<= 32;
      code_ = code_ << 32 | next_word();
    }
    return static_cast<uint32_t>(value);
  }

  // Decisions were read from behind the end, where not even the zeros that are left out can have been. Long loops ask, so
  // that a few bytes that announce a billion symbols end when the bytes do.
  bool exhausted() const { return position_ > bytes_.size() + 8; }

  // After the last decision: whether the bytes are exactly what the encoder writes for the decisions read.
  Status finish() const {
    if (exhausted()) return Status(StatusCode::kTruncated);
    if (bytes_.size() > position_ || (bytes_.size() + 8 > position_ && bytes_.back() == 0)) {
      return Status::error(StatusCode::kCorrupt, "bytes are left over behind the last symbol");
    }
    uint64_t value = 0;
    for (size_t i = position_ - 8; i < position_; ++i) value = value << 8 | (i < bytes_.size() ? bytes_[i] : 0);
    if (code_ >= range_) return wrong_state();
    if (value == 0) return Status();
    const int zeros = std::countr_zero(value) & ~7;
    const uint64_t mask = ~uint64_t{0} >> (56 - zeros);
    const uint64_t rest = value & mask;
    const bool shortest = rest > code_ && mask - rest >= range_ - code_ - 1;
    if (code_ >> zeros != 0 || !shortest) return wrong_state();
    return Status();
  }

 private:
  static constexpr uint64_t kMinRange = uint64_t{1} << 32;

  static Status wrong_state() {
    return Status::error(StatusCode::kCorrupt, "the final state of the range coder is wrong");
  }

  uint32_t next_word() {
    if (bytes_.size() >= 4 && position_ <= bytes_.size() - 4) {
      const uint8_t* p = bytes_.data() + position_;
      position_ += 4;
      return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
    }
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i, ++position_) word = word << 8 | (position_ < bytes_.size() ? bytes_[position_] : 0);
    return word;
  }

  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
  uint64_t range_ = ~uint64_t{0};
  uint64_t code_ = 0;
};

}  // namespace quench::entropy
