#include "formats/entropy/encoder.h"

#include <memory>
#include <utility>

#include "formats/entropy/arithmetic_encoder.h"
#include "formats/entropy/chunk_table.h"
#include "formats/entropy/huffman_encoder.h"
#include "formats/entropy/rans_encoder.h"

namespace quench::entropy {

namespace {

template <typename Index>
Status check_indices(const StreamLayout& layout, std::span<const Index> indices) {
  QUENCH_RETURN_IF_ERROR(check_layout(layout));
  if (indices.size() != layout.symbols()) {
    return Status::error(StatusCode::kInvalidArgument, "%zu indices for a layout of %llu", indices.size(),
                         static_cast<unsigned long long>(layout.symbols()));
  }
  for (const Index index : indices) {
    if (index >= layout.alphabet) {
      return Status::error(StatusCode::kInvalidArgument, "index %u lies outside the alphabet of %u", unsigned{index},
                           layout.alphabet);
    }
  }
  return Status();
}

}  // namespace

struct ModelFitter::Statistics {
  explicit Statistics(Coder which) : coder(which) {
    if (coder == Coder::kHuffman) levels.resize(2 * size_t{kMaxAlphabet});
    if (coder == Coder::kRans) tokens = std::make_unique<RansCounts>();
    if (coder == Coder::kArithmetic) decisions = std::make_unique<LevelContexts<DecisionCount>>();
  }

  template <typename Index>
  Status add(const StreamLayout& layout, std::span<const Index> indices) {
    QUENCH_RETURN_IF_ERROR(check_indices(layout, indices));
    if (layout.alphabet == 1) return Status();
    for (uint64_t i = 0; i < chunk_count(layout); ++i) {
      const Chunk chunk = chunk_at(layout, i);
      add_chunk(chunk.layout, indices.data() + chunk.first_symbol);
    }
    return Status();
  }

  template <typename Index>
  void add_chunk(const StreamLayout& chunk, const Index* indices) {
    if (coder == Coder::kRans) {
      count_levels(chunk, indices, *tokens);
      return;
    }
    if (coder == Coder::kArithmetic) {
      count_decisions(chunk, indices, *decisions);
      return;
    }
    for (uint64_t i = 0; i < chunk.symbols(); ++i) ++levels[kMaxAlphabet + indices[i] - chunk.zero_symbol];
  }

  Coder coder;
  std::vector<uint64_t> levels;
  std::unique_ptr<RansCounts> tokens;
  std::unique_ptr<LevelContexts<DecisionCount>> decisions;
};

ModelFitter::ModelFitter(Coder coder) : statistics_(std::make_unique<Statistics>(coder)) {}
ModelFitter::~ModelFitter() = default;
ModelFitter::ModelFitter(ModelFitter&&) noexcept = default;
ModelFitter& ModelFitter::operator=(ModelFitter&&) noexcept = default;

Status ModelFitter::add(const StreamLayout& layout, std::span<const uint8_t> indices) {
  return statistics_->add(layout, indices);
}

Status ModelFitter::add(const StreamLayout& layout, std::span<const uint16_t> indices) {
  return statistics_->add(layout, indices);
}

std::vector<uint8_t> ModelFitter::finish() const {
  std::vector<uint8_t> body;
  switch (statistics_->coder) {
    case Coder::kHuffman:
      body = write_huffman_model(statistics_->levels);
      break;
    case Coder::kRans:
      body = write_rans_model(*statistics_->tokens);
      break;
    case Coder::kArithmetic:
      body = write_arithmetic_model(*statistics_->decisions);
      break;
  }
  body.insert(body.begin(), static_cast<uint8_t>(statistics_->coder));
  return body;
}

struct Encoder::Tables {
  Coder coder;
  HuffmanCode huffman;
  RansModel rans;
  LevelContexts<uint16_t> arithmetic;

  template <typename Index>
  Result<std::vector<uint8_t>> encode(const StreamLayout& layout, std::span<const Index> indices) const {
    QUENCH_RETURN_IF_ERROR(check_indices(layout, indices));
    const uint64_t chunks = chunk_count(layout);
    std::vector<uint8_t> table, body;
    for (uint64_t i = 0; i < chunks; ++i) {
      const Chunk chunk = chunk_at(layout, i);
      const std::vector<uint8_t> bytes = encode_chunk(chunk.layout, indices.data() + chunk.first_symbol);
      body.insert(body.end(), bytes.begin(), bytes.end());
      if (chunks == 1) break;
      for (uint64_t k = 0; k < kChunkEntryBytes; ++k) table.push_back(static_cast<uint8_t>(body.size() >> (8 * k)));
    }
    body.insert(body.begin(), table.begin(), table.end());
    return body;
  }

  template <typename Index>
  std::vector<uint8_t> encode_chunk(const StreamLayout& chunk, const Index* indices) const {
    if (chunk.alphabet == 1) return {};
    if (coder == Coder::kHuffman) return encode_huffman(huffman, chunk, indices);
    if (coder == Coder::kRans) return encode_rans(rans, chunk, indices);
    return encode_arithmetic(arithmetic, chunk, indices);
  }
};

Result<Encoder> Encoder::create(std::span<const uint8_t> model) {
  if (model.empty()) return Status(StatusCode::kTruncated);
  if (model.size() > kMaxModelBytes) return Status::error(StatusCode::kLimit, "the entropy model is too long");
  const auto tables = std::make_shared<Tables>();
  tables->coder = static_cast<Coder>(model[0]);
  const std::span<const uint8_t> body = model.subspan(1);
  switch (tables->coder) {
    case Coder::kHuffman: {
      HuffmanModel parsed;
      QUENCH_RETURN_IF_ERROR(parse_huffman_model(body, parsed));
      tables->huffman = make_huffman_code(parsed);
      break;
    }
    case Coder::kRans:
      QUENCH_RETURN_IF_ERROR(parse_rans_model(body, tables->rans));
      break;
    case Coder::kArithmetic:
      QUENCH_RETURN_IF_ERROR(parse_arithmetic_model(body, tables->arithmetic));
      break;
  }
  if (tables->coder != Coder::kHuffman && tables->coder != Coder::kRans && tables->coder != Coder::kArithmetic) {
    return Status::error(StatusCode::kUnsupportedFeature, "entropy coder %u is unknown", model[0]);
  }
  Encoder encoder;
  encoder.tables_ = tables;
  return encoder;
}

Coder Encoder::coder() const { return tables_->coder; }

Result<std::vector<uint8_t>> Encoder::encode(const StreamLayout& layout, std::span<const uint8_t> indices) const {
  return tables_->encode(layout, indices);
}

Result<std::vector<uint8_t>> Encoder::encode(const StreamLayout& layout, std::span<const uint16_t> indices) const {
  return tables_->encode(layout, indices);
}

}  // namespace quench::entropy
