#include "formats/entropy/bytes_decoder.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "formats/entropy/bytes_model.h"
#include "formats/entropy/range_decoder.h"

namespace quench::entropy {

namespace {

static_assert(sizeof(MatchContexts) <= kBytesScratch);
static_assert(sizeof(QuickBit) * 256 * 256 <= kBytesScratch);

template <typename Bit>
uint32_t decode_bit(RangeDecoder& decoder, Bit& context) {
  const uint32_t bit = decoder.decode(context.probability());
  context.update(bit);
  return bit;
}

template <typename Bit>
uint32_t decode_tree(RangeDecoder& decoder, Bit* contexts, uint32_t leaves) {
  uint32_t node = 1;
  while (node < leaves) node = node << 1 | decode_bit(decoder, contexts[node]);
  return node - leaves;
}

// Calls decode() for every byte of `out`, as long as the coded bytes last.
template <typename Decode>
Status decode_each(RangeDecoder& decoder, std::span<uint8_t> out, Decode decode) {
  constexpr size_t kBlock = 4096;  // between two looks at the end
  while (!out.empty()) {
    const std::span<uint8_t> block = out.first(std::min(kBlock, out.size()));
    for (uint8_t& byte : block) byte = decode();
    if (decoder.exhausted()) return Status(StatusCode::kTruncated);
    out = out.subspan(block.size());
  }
  return decoder.finish();
}

Status decode_order0(std::span<const uint8_t> bytes, std::span<uint8_t> out, void* scratch) {
  struct Contexts {
    SteadyBit node[256];
  };
  auto* contexts = new (scratch) Contexts;
  RangeDecoder decoder(bytes);
  return decode_each(decoder, out, [&] { return static_cast<uint8_t>(decode_tree(decoder, contexts->node, 256)); });
}

Status decode_order1(std::span<const uint8_t> bytes, std::span<uint8_t> out, void* scratch) {
  struct Contexts {
    QuickBit node[256][256];
  };
  auto* contexts = new (scratch) Contexts;
  RangeDecoder decoder(bytes);
  uint8_t before = 0;
  return decode_each(decoder, out, [&] {
    before = static_cast<uint8_t>(decode_tree(decoder, contexts->node[before], 256));
    return before;
  });
}

class MatchDecoder {
 public:
  MatchDecoder(std::span<const uint8_t> bytes, std::span<uint8_t> out, MatchContexts& contexts)
      : decoder_(bytes), out_(out), contexts_(contexts) {}

  Status decode() {
    uint64_t position = 0;
    uint32_t history = 0;
    while (position < out_.size()) {
      if (decoder_.exhausted()) return Status(StatusCode::kTruncated);
      if (decode_bit(decoder_, contexts_.is_match[history]) == 0) {
        out_[position] = decode_literal(position, history % kOperations);
        ++position;
        history = history * kOperations % kHistories;
        continue;
      }
      const bool repeats = decode_bit(decoder_, contexts_.is_repeat[history]) != 0;
      const uint32_t operation = repeats ? 2 : 1;
      const uint32_t repeat = repeats ? decode_repeat(history) : kRepeats - 1;
      const uint32_t length = decode_length(repeats ? 1 : 0);
      const uint32_t distance = repeats ? distances_[repeat] : decode_distance(slot_set(length));
      for (uint32_t i = repeat; i > 0; --i) distances_[i] = distances_[i - 1];
      distances_[0] = distance;
      if (distance >= position || length > out_.size() - position) {
        return Status::error(StatusCode::kCorrupt, "a match reaches beyond the bytes").at(position);
      }
      copy(position, distance, length);
      position += length;
      history = (history * kOperations + operation) % kHistories;
    }
    return decoder_.finish();
  }

 private:
  uint8_t decode_literal(uint64_t position, uint32_t operation) {
    QuickBit* order0 = contexts_.literal0[operation];
    QuickBit* order1 = contexts_.literal1[position > 0 ? out_[position - 1] : 0];
    uint32_t node = 1;
    while (node < 256) {
      const uint32_t bit = decoder_.decode(literal_estimate(order0[node], order1[node]).probability());
      order0[node].update(bit);
      order1[node].update(bit);
      node = node << 1 | bit;
    }
    return static_cast<uint8_t>(node);
  }

  uint32_t decode_repeat(uint32_t history) {
    uint32_t repeat = 0;
    while (repeat < kRepeats - 1 && decode_bit(decoder_, contexts_.repeat[history][repeat]) != 0) ++repeat;
    return repeat;
  }

  uint32_t decode_length(uint32_t set) {
    if (decode_bit(decoder_, contexts_.is_long[set]) == 0) {
      return kMinMatch + decode_tree(decoder_, contexts_.short_length[set], kShortLengths);
    }
    uint32_t exponent = 0;
    while (exponent < 15 && decode_bit(decoder_, contexts_.long_exponent[set][exponent]) != 0) ++exponent;
    uint32_t value = 1;
    if (exponent > 0) {
      value = 2 | decode_bit(decoder_, contexts_.long_mantissa[set][exponent]);
      value = value << (exponent - 1) | decoder_.decode_raw(exponent - 1);
    }
    return kMinMatch + kShortLengths - 1 + value;
  }

  uint32_t decode_distance(uint32_t set) {  // less 1
    const uint32_t slot = decode_tree(decoder_, contexts_.slot[set], kDistanceSlots);
    const uint32_t bits = slot_bits(slot);
    uint32_t rest = 0;
    if (bits > 2) {
      const uint32_t upper = bits - 2 > 16 ? bits - 18 : 0;
      rest = decoder_.decode_raw(upper);
      rest = rest << (bits - 2 - upper) | decoder_.decode_raw(bits - 2 - upper);
    }
    for (uint32_t i = 0; i < 2 && i < bits; ++i)
      rest = rest << 1 | decode_bit(decoder_, contexts_.low_distance[slot][i]);
    return slot_base(slot) + rest;
  }

  void copy(uint64_t position, uint32_t distance, uint32_t length) {
    uint8_t* to = out_.data() + position;
    const uint8_t* from = to - distance - 1;
    if (distance + uint64_t{1} >= length) {
      std::memcpy(to, from, length);
      return;
    }
    for (uint32_t i = 0; i < length; ++i) to[i] = from[i];
  }

  RangeDecoder decoder_;
  std::span<uint8_t> out_;
  MatchContexts& contexts_;
  uint32_t distances_[kRepeats] = {};  // less 1
};

Status decode_stored(std::span<const uint8_t> bytes, std::span<uint8_t> out) {
  if (bytes.size() < out.size()) return Status(StatusCode::kTruncated);
  if (bytes.size() > out.size()) return Status::error(StatusCode::kCorrupt, "more bytes are stored than announced");
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size());
  return Status();
}

}  // namespace

Status decompress_bytes(std::span<const uint8_t> coded, std::span<uint8_t> out, std::span<uint8_t> scratch) {
  if (scratch.size() < kBytesScratch || reinterpret_cast<uintptr_t>(scratch.data()) % 64 != 0) {
    return Status::error(StatusCode::kInvalidArgument, "the scratch memory is too small or not aligned");
  }
  if (coded.empty()) return Status(StatusCode::kTruncated);
  const std::span<const uint8_t> body = coded.subspan(1);
  switch (static_cast<BytesMode>(coded[0])) {
    case BytesMode::kStored:
      return decode_stored(body, out);
    case BytesMode::kOrder0:
      return decode_order0(body, out, scratch.data());
    case BytesMode::kOrder1:
      return decode_order1(body, out, scratch.data());
    case BytesMode::kMatches:
      return MatchDecoder(body, out, *new (scratch.data()) MatchContexts).decode();
  }
  return Status::error(StatusCode::kUnsupportedFeature, "byte coding mode %u is unknown", coded[0]);
}

}  // namespace quench::entropy
