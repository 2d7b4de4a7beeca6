#include "formats/entropy/arithmetic_decoder.h"

#include <algorithm>
#include <new>

#include "formats/entropy/decoder.h"
#include "formats/entropy/range_decoder.h"

namespace quench::entropy {

namespace {

struct Workspace {
  LevelContexts<AdaptiveBit> contexts;
  LevelContext::Memory levels;
};
static_assert(sizeof(Workspace) <= kDecodeScratch);

void start_contexts(const ArithmeticTables& tables, LevelContexts<AdaptiveBit>& contexts) {
  const auto* initial = reinterpret_cast<const uint16_t*>(&tables.initial);
  auto* bits = reinterpret_cast<AdaptiveBit*>(&contexts);
  for (size_t i = 0; i < kLevelContexts; ++i) bits[i] = AdaptiveBit(initial[i]);
}

// Exp-Golomb code of a value >= 1; at most 2^17 - 1 for any bytes.
uint32_t decode_tail(RangeDecoder& decoder, TailContexts<AdaptiveBit>& contexts) {
  uint32_t exponent = 0;
  while (exponent < kMaxExponent && decoder.decode(contexts.exponent[exponent]) != 0) ++exponent;
  uint32_t value = 1;
  uint32_t left = exponent;
  if (left > 0) {
    const uint32_t bit = decoder.decode(contexts.mantissa[exponent][0]);
    value = value << 1 | bit;
    --left;
    if (left > 0) {
      value = value << 1 | decoder.decode(contexts.mantissa[exponent][1 + bit]);
      --left;
    }
  }
  return value << left | decoder.decode_raw(left);
}

// A RangeDecoder whose address is not taken stays in registers; the rare calls that need it in memory go by way of a
// copy.
[[gnu::noinline]] RangeDecoder decode_tail_of(RangeDecoder decoder, TailContexts<AdaptiveBit>& contexts,
                                              uint32_t& value) {
  value = decode_tail(decoder, contexts);
  return decoder;
}

template <bool kSigned>
[[gnu::always_inline]] inline int32_t decode_level(RangeDecoder& decoder, LevelContexts<AdaptiveBit>& contexts,
                                                   const LevelContext::Prediction& near) {
  if (decoder.decode(contexts.zero[near.trust][near.scale]) != 0) return 0;
  const uint32_t contrary = kSigned ? decoder.decode(contexts.contrary[near.trust][near.scale]) : 0;
  uint32_t magnitude = 1;
  if (near.scale >= kWideScale) [[unlikely]] {
    decoder = decode_tail_of(decoder, contexts.tail[1 + near.scale - kWideScale], magnitude);
  } else {
    auto& above = contexts.above[contrary][near.trust];
    while (magnitude <= kUnaryFlags && decoder.decode(above[magnitude - 1][near.scale]) != 0) ++magnitude;
    if (magnitude > kUnaryFlags) [[unlikely]] {
      uint32_t tail;
      decoder = decode_tail_of(decoder, contexts.tail[0], tail);
      magnitude = kUnaryFlags + tail;
    }
  }
  const int32_t sign = near.sign ^ -static_cast<int32_t>(contrary);
  return (static_cast<int32_t>(magnitude) ^ sign) - sign;
}

}  // namespace

template <LevelContext::Kind kKind, bool kSigned, typename Index>
Status decode_levels(const ArithmeticTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                     Index* out, Workspace& workspace) {
  start_contexts(tables, workspace.contexts);
  LevelContext context(chunk, workspace.levels);
  RangeDecoder decoder(bytes);
  const uint32_t kernel = context.kernel();
  uint32_t largest = 0;
  for (uint64_t row = 0; row < context.rows(); ++row) {
    context.begin_row();
    for (uint64_t channel = 0; channel < context.channels(); ++channel) {
      context.begin_channel(channel);
      for (uint32_t position = 0; position < kernel; ++position) {
        const LevelContext::Prediction near = context.predict<kKind>(position);
        const int32_t level = decode_level<kSigned>(decoder, workspace.contexts, near);
        const uint32_t index = chunk.zero_symbol + static_cast<uint32_t>(level);
        largest = std::max(largest, index);
        *out++ = static_cast<Index>(index);
        context.update<kKind>(position, level);
      }
      context.end_channel();
    }
    context.end_row();
    if (decoder.exhausted()) return Status(StatusCode::kTruncated);
  }
  if (largest >= chunk.alphabet) {
    return Status::error(StatusCode::kCorrupt, "a symbol of the arithmetic stream lies outside the alphabet");
  }
  return decoder.finish();
}

template <typename Index>
Status decode_arithmetic(const ArithmeticTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                         Index* out, std::span<uint8_t> scratch) {
  auto& workspace = *new (scratch.data()) Workspace;
  using Kind = LevelContext::Kind;
  switch (LevelContext::kind(chunk)) {
    case Kind::kSignedKernel:
      return decode_levels<Kind::kSignedKernel, true>(tables, bytes, chunk, out, workspace);
    case Kind::kUnsignedKernel:
      return decode_levels<Kind::kUnsignedKernel, false>(tables, bytes, chunk, out, workspace);
    case Kind::kNoKernel:
      break;
  }
  if (chunk.zero_symbol != 0) return decode_levels<Kind::kNoKernel, true>(tables, bytes, chunk, out, workspace);
  return decode_levels<Kind::kNoKernel, false>(tables, bytes, chunk, out, workspace);
}

template Status decode_arithmetic(const ArithmeticTables&, std::span<const uint8_t>, const StreamLayout&, uint8_t*,
                                  std::span<uint8_t>);
template Status decode_arithmetic(const ArithmeticTables&, std::span<const uint8_t>, const StreamLayout&, uint16_t*,
                                  std::span<uint8_t>);

}  // namespace quench::entropy
