// The arithmetic decoder as the format describes it, a byte and a decision at a time.
#include <new>

#include "formats/entropy/arithmetic_decoder.h"
#include "formats/entropy/decoder.h"

namespace quench::entropy {

namespace {

struct PlainBit {
  uint16_t fast, slow;

  void update(uint32_t bit) {
    if (bit != 0) {
      fast = static_cast<uint16_t>(fast + ((65535 - fast) >> 6));
      slow = static_cast<uint16_t>(slow + ((65535 - slow) >> 9));
    } else {
      fast = static_cast<uint16_t>(fast - (fast >> 6));
      slow = static_cast<uint16_t>(slow - (slow >> 9));
    }
  }
};

// `above_` is how far the stored number lies above the interval's lower end, in units of the last byte read.
class PlainRangeDecoder {
 public:
  explicit PlainRangeDecoder(std::span<const uint8_t> bytes) : bytes_(bytes) {
    for (int i = 0; i < 8; ++i) take_byte();
  }

  uint32_t decode(PlainBit& model) {
    const uint32_t probability = (model.fast + uint32_t{model.slow}) / 2;
    const uint64_t share = range_ / 65536 * probability;
    const uint32_t bit = above_ < share ? 1 : 0;
    if (bit == 0) above_ -= share;
    range_ = bit != 0 ? share : range_ - share;
    widen();
    model.update(bit);
    return bit;
  }

  uint32_t decode_raw(uint32_t count) {
    const uint64_t parts = uint64_t{1} << count;
    const uint64_t part = range_ / parts;
    uint64_t value = 0;
    while (value + 1 < parts && above_ >= part) {
      above_ -= part;
      range_ -= part;
      ++value;
    }
    if (value + 1 < parts) range_ = part;
    widen();
    return static_cast<uint32_t>(value);
  }

  // Whether no shorter number lies in the last interval, and all bytes were used.
  Status finish() const {
    if (bytes_.size() + 8 < position_) return Status(StatusCode::kTruncated);
    if (bytes_.size() > position_ || (bytes_.size() + 8 > position_ && bytes_.back() == 0)) return corrupt();
    uint64_t number = 0;
    for (size_t i = position_ - 8; i < position_; ++i) number = number * 256 + byte_at(i);
    if (above_ >= range_) return corrupt();
    if (number == 0) return Status();
    uint64_t unit = 1;
    while (unit < kLargestUnit && number % (unit * 256) == 0) unit *= 256;
    if (above_ >= unit) return corrupt();
    // The neighbours with one byte less: the one below lies before the interval, the one above behind it.
    const uint64_t below = unit == kLargestUnit ? number : number % (unit * 256);
    const uint64_t up = unit == kLargestUnit ? ~number + 1 : unit * 256 - below;
    if (below <= above_ || up < range_ - above_) return corrupt();
    return Status();
  }

 private:
  static constexpr uint64_t kLargestUnit = uint64_t{1} << 56;

  static Status corrupt() { return Status::error(StatusCode::kCorrupt, "the final state of the range coder is wrong"); }
  uint8_t byte_at(size_t position) const { return position < bytes_.size() ? bytes_[position] : uint8_t{0}; }
  void take_byte() { above_ = above_ << 8 | byte_at(position_++); }
  void widen() {
    if (range_ >= uint64_t{1} << 32) return;
    for (int i = 0; i < 4; ++i) take_byte();
    range_ <<= 32;
  }

  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
  uint64_t range_ = ~uint64_t{0};
  uint64_t above_ = 0;
};

struct PlainWorkspace {
  LevelContexts<PlainBit> contexts;
  LevelContext::Memory levels;
};
static_assert(sizeof(PlainWorkspace) <= kDecodeScratch);

uint32_t decode_tail(PlainRangeDecoder& decoder, TailContexts<PlainBit>& contexts) {
  uint32_t exponent = 0;
  while (exponent < kMaxExponent && decoder.decode(contexts.exponent[exponent]) != 0) ++exponent;
  uint32_t value = 1;
  for (uint32_t i = 0; i < exponent; ++i) {
    uint32_t bit;
    if (i == 0) {
      bit = decoder.decode(contexts.mantissa[exponent][0]);
    } else if (i == 1) {
      bit = decoder.decode(contexts.mantissa[exponent][1 + value % 2]);
    } else {
      return value << (exponent - i) | decoder.decode_raw(exponent - i);
    }
    value = value * 2 + bit;
  }
  return value;
}

uint32_t decode_magnitude(PlainRangeDecoder& decoder, LevelContexts<PlainBit>& contexts,
                          const LevelContext::Prediction& near, uint32_t contrary) {
  if (near.scale >= kWideScale) return decode_tail(decoder, contexts.tail[1 + near.scale - kWideScale]);
  for (uint32_t magnitude = 1; magnitude <= kUnaryFlags; ++magnitude) {
    if (decoder.decode(contexts.above[contrary][near.trust][magnitude - 1][near.scale]) == 0) return magnitude;
  }
  return kUnaryFlags + decode_tail(decoder, contexts.tail[0]);
}

template <LevelContext::Kind kKind, typename Index>
Status decode_levels(const StreamLayout& chunk, PlainRangeDecoder& decoder, PlainWorkspace& workspace, Index* out) {
  LevelContext context(chunk, workspace.levels);
  for (uint64_t row = 0; row < context.rows(); ++row) {
    context.begin_row();
    for (uint64_t channel = 0; channel < context.channels(); ++channel) {
      context.begin_channel(channel);
      for (uint32_t position = 0; position < context.kernel(); ++position) {
        const LevelContext::Prediction near = context.predict<kKind>(position);
        int32_t level = 0;
        if (decoder.decode(workspace.contexts.zero[near.trust][near.scale]) == 0) {
          const bool is_signed = chunk.zero_symbol != 0;
          const uint32_t contrary = is_signed ? decoder.decode(workspace.contexts.contrary[near.trust][near.scale]) : 0;
          const auto magnitude = static_cast<int32_t>(decode_magnitude(decoder, workspace.contexts, near, contrary));
          level = (near.sign < 0) == (contrary == 0) ? -magnitude : magnitude;
        }
        const uint32_t index = chunk.zero_symbol + static_cast<uint32_t>(level);
        if (index >= chunk.alphabet) {
          return Status::error(StatusCode::kCorrupt, "a symbol of the arithmetic stream lies outside the alphabet");
        }
        *out++ = static_cast<Index>(index);
        context.update<kKind>(position, level);
      }
      context.end_channel();
    }
    context.end_row();
  }
  return decoder.finish();
}

}  // namespace

template <typename Index>
Status decode_arithmetic_reference(const ArithmeticTables& tables, std::span<const uint8_t> bytes,
                                   const StreamLayout& chunk, Index* out, std::span<uint8_t> scratch) {
  auto& workspace = *new (scratch.data()) PlainWorkspace;
  const auto* initial = reinterpret_cast<const uint16_t*>(&tables.initial);
  auto* contexts = reinterpret_cast<PlainBit*>(&workspace.contexts);
  for (size_t i = 0; i < kLevelContexts; ++i) contexts[i] = {initial[i], initial[i]};
  PlainRangeDecoder decoder(bytes);
  using Kind = LevelContext::Kind;
  switch (LevelContext::kind(chunk)) {
    case Kind::kSignedKernel:
      return decode_levels<Kind::kSignedKernel>(chunk, decoder, workspace, out);
    case Kind::kUnsignedKernel:
      return decode_levels<Kind::kUnsignedKernel>(chunk, decoder, workspace, out);
    case Kind::kNoKernel:
      break;
  }
  return decode_levels<Kind::kNoKernel>(chunk, decoder, workspace, out);
}

template Status decode_arithmetic_reference(const ArithmeticTables&, std::span<const uint8_t>, const StreamLayout&,
                                            uint8_t*, std::span<uint8_t>);
template Status decode_arithmetic_reference(const ArithmeticTables&, std::span<const uint8_t>, const StreamLayout&,
                                            uint16_t*, std::span<uint8_t>);

}  // namespace quench::entropy
