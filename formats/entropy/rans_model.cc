#include "formats/entropy/rans_model.h"

#include <cstring>

#include "formats/entropy/range_decoder.h"

namespace quench::entropy {

namespace {

uint32_t decode_tree(RangeDecoder& decoder, AdaptiveBit* contexts, uint32_t leaves) {
  uint32_t node = 1;
  while (node < leaves) node = node << 1 | decoder.decode(contexts[node]);
  return node - leaves;
}

}  // namespace

Status parse_rans_model(std::span<const uint8_t> body, RansModel& model) {
  if (body.empty()) return Status(StatusCode::kTruncated);
  std::memset(&model, 0, sizeof model);
  model.is_signed = (body[0] & 1) != 0;
  model.tables = rans_table_count(body[0]);
  if (model.tables > kRansTables) return Status::error(StatusCode::kCorrupt, "the entropy model has too many tables");

  RangeDecoder decoder(body.subspan(1));
  RansModelContexts<AdaptiveBit> contexts;
  uint32_t before = 0;
  for (uint8_t& table : model.table_of_context) {
    before = decode_tree(decoder, contexts.table[before], kRansTables);
    if (before >= model.tables) return Status::error(StatusCode::kCorrupt, "the entropy model lacks a table");
    table = static_cast<uint8_t>(before);
  }
  for (uint32_t table = 0; table < model.tables; ++table) {
    uint32_t sum = 0;
    uint32_t width = 0;
    for (uint16_t& frequency : model.frequencies[table]) {
      width = decode_tree(decoder, contexts.width[width], 1u << kWidthBits);
      if (width > kRansPrecision + 1) return Status::error(StatusCode::kCorrupt, "a frequency is too large");
      if (width > 0) frequency = static_cast<uint16_t>(1u << (width - 1) | decoder.decode_raw(width - 1));
      sum += frequency;
    }
    if (sum != kRansTotal || model.frequencies[table][kRansEscape] == 0) {
      return Status::error(StatusCode::kCorrupt, "the frequencies of an entropy table do not sum to %u", kRansTotal);
    }
  }
  return decoder.finish();
}

}  // namespace quench::entropy
