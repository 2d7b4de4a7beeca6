#include "formats/entropy/arithmetic_decoder.h"

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
  for (size_t i = 0; i < kLevelContexts; ++i) bits[i] = {initial[i], initial[i]};
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

int32_t decode_level(RangeDecoder& decoder, LevelContexts<AdaptiveBit>& contexts, const LevelContext::Prediction& near,
                     bool is_signed) {
  if (decoder.decode(contexts.zero[near.trust][near.scale]) != 0) return 0;
  const uint32_t contrary = is_signed ? decoder.decode(contexts.contrary[near.trust][near.scale]) : 0;
  uint32_t magnitude;
  if (near.scale >= kWideScale) {
    magnitude = decode_tail(decoder, contexts.tail[1 + near.scale - kWideScale]);
  } else {
    magnitude = 1;
    auto& above = contexts.above[contrary][near.trust];
    while (magnitude <= kUnaryFlags && decoder.decode(above[magnitude - 1][near.scale]) != 0) ++magnitude;
    if (magnitude > kUnaryFlags) magnitude = kUnaryFlags + decode_tail(decoder, contexts.tail[0]);
  }
  const int32_t sign = near.sign ^ -static_cast<int32_t>(contrary);
  return (static_cast<int32_t>(magnitude) ^ sign) - sign;
}

Status outside_alphabet(uint64_t symbol) {
  return Status::error(StatusCode::kCorrupt, "symbol %llu lies outside the alphabet",
                       static_cast<unsigned long long>(symbol));
}

}  // namespace

template <typename Index>
Status decode_arithmetic_reference(const ArithmeticTables& tables, std::span<const uint8_t> bytes,
                                   const StreamLayout& chunk, Index* out, std::span<uint8_t> scratch) {
  auto* workspace = new (scratch.data()) Workspace;
  start_contexts(tables, workspace->contexts);
  LevelContext context(chunk, workspace->levels);
  RangeDecoder decoder(bytes);
  const bool is_signed = chunk.zero_symbol != 0;
  const Index* const begin = out;
  for (uint64_t row = 0; row < context.rows(); ++row) {
    context.begin_row();
    for (uint64_t channel = 0; channel < context.channels(); ++channel) {
      context.begin_channel(channel);
      for (uint32_t position = 0; position < context.kernel(); ++position) {
        const int32_t level = decode_level(decoder, workspace->contexts, context.predict(position), is_signed);
        const uint32_t index = chunk.zero_symbol + static_cast<uint32_t>(level);
        if (index >= chunk.alphabet) return outside_alphabet(static_cast<uint64_t>(out - begin));
        *out++ = static_cast<Index>(index);
        context.update(position, level);
      }
    }
    context.end_row();
  }
  return decoder.finish();
}

template <typename Index>
Status decode_arithmetic(const ArithmeticTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                         Index* out, std::span<uint8_t> scratch) {
  return decode_arithmetic_reference(tables, bytes, chunk, out, scratch);
}

template Status decode_arithmetic(const ArithmeticTables&, std::span<const uint8_t>, const StreamLayout&, uint8_t*,
                                  std::span<uint8_t>);
template Status decode_arithmetic(const ArithmeticTables&, std::span<const uint8_t>, const StreamLayout&, uint16_t*,
                                  std::span<uint8_t>);

template Status decode_arithmetic_reference(const ArithmeticTables&, std::span<const uint8_t>, const StreamLayout&,
                                            uint8_t*, std::span<uint8_t>);
template Status decode_arithmetic_reference(const ArithmeticTables&, std::span<const uint8_t>, const StreamLayout&,
                                            uint16_t*, std::span<uint8_t>);

}  // namespace quench::entropy
