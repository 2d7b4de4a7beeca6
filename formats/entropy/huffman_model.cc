#include "formats/entropy/huffman_model.h"

#include "formats/entropy/range_decoder.h"

namespace quench::entropy {

Status parse_huffman_model(std::span<const uint8_t> body, HuffmanModel& model) {
  if (body.size() < 4) return Status(StatusCode::kTruncated);
  model.tokens = body[0] | uint32_t{body[1]} << 8;
  model.first_level = static_cast<int16_t>(body[2] | uint32_t{body[3]} << 8);
  if (model.tokens < 2 || model.tokens > kMaxTokens || model.first_level < -kMaxFirstLevel || model.first_level > 0) {
    return Status::error(StatusCode::kCorrupt, "the entropy model has %u tokens from level %d", model.tokens,
                         model.first_level);
  }
  RangeDecoder decoder(body.subspan(4));
  LengthContexts<AdaptiveBit> contexts;
  uint32_t sum = 0, before = 0;
  for (uint32_t token = 0; token < model.tokens; ++token) {
    uint32_t node = 1;
    while (node < 1u << kLengthBits) node = node << 1 | decoder.decode(contexts.node[before][node]);
    before = node - (1u << kLengthBits);
    if (before > kMaxCodeLength) return Status::error(StatusCode::kCorrupt, "a code of the entropy model is too long");
    model.lengths[token] = static_cast<uint8_t>(before);
    if (before != 0) sum += 1u << (kMaxCodeLength - before);
  }
  QUENCH_RETURN_IF_ERROR(decoder.finish());
  if (sum != 1u << kMaxCodeLength || model.lengths[model.tokens - 1] == 0) {
    return Status::error(StatusCode::kCorrupt, "the code lengths of the entropy model are no complete prefix code");
  }
  return Status();
}

}  // namespace quench::entropy
