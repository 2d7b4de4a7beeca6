#include "formats/entropy/decoder.h"

#include <algorithm>
#include <new>

#include "formats/entropy/arithmetic_decoder.h"
#include "formats/entropy/chunk_table.h"
#include "formats/entropy/huffman_decoder.h"
#include "formats/entropy/rans_decoder.h"

namespace quench::entropy {

namespace {

constexpr size_t kAlignment = 64;

// The slots of the tables follow.
struct alignas(kAlignment) RansMemory {
  RansTables tables;
  RansModel model;
};

bool is_usable(std::span<const uint8_t> memory, size_t needed) {
  return memory.size() >= needed && reinterpret_cast<uintptr_t>(memory.data()) % kAlignment == 0;
}

Status unknown_coder(uint32_t coder) {
  return Status::error(StatusCode::kUnsupportedFeature, "entropy coder %u is unknown", coder);
}

}  // namespace

Result<size_t> Decoder::memory_bytes(std::span<const uint8_t> model) {
  if (model.empty()) return Status(StatusCode::kTruncated);
  switch (static_cast<Coder>(model[0])) {
    case Coder::kHuffman:
      return sizeof(HuffmanTables);
    case Coder::kRans:
      if (model.size() < 2) return Status(StatusCode::kTruncated);
      return sizeof(RansMemory) + rans_slots(std::min(rans_table_count(model[1]), kRansTables)) * sizeof(uint32_t);
    case Coder::kArithmetic:
      return sizeof(ArithmeticTables);
  }
  return unknown_coder(model[0]);
}

Result<Decoder> Decoder::create(std::span<const uint8_t> model, std::span<uint8_t> memory) {
  const Result<size_t> needed = memory_bytes(model);
  if (!needed.ok()) return needed.status();
  if (model.size() > kMaxModelBytes) return Status::error(StatusCode::kLimit, "the entropy model is too long");
  if (!is_usable(memory, *needed)) {
    return Status::error(StatusCode::kInvalidArgument, "the entropy decoder needs %zu bytes, aligned to %zu", *needed,
                         kAlignment);
  }
  Decoder decoder;
  decoder.coder_ = static_cast<Coder>(model[0]);
  const std::span<const uint8_t> body = model.subspan(1);
  if (decoder.coder_ == Coder::kHuffman) {
    auto* tables = new (memory.data()) HuffmanTables;
    HuffmanModel parsed;
    QUENCH_RETURN_IF_ERROR(parse_huffman_model(body, parsed));
    build_huffman_tables(parsed, *tables);
    decoder.huffman_ = tables;
  } else if (decoder.coder_ == Coder::kRans) {
    auto* rans = new (memory.data()) RansMemory;
    QUENCH_RETURN_IF_ERROR(parse_rans_model(body, rans->model));
    build_rans_tables(rans->model, reinterpret_cast<uint32_t*>(rans + 1), rans->tables);
    decoder.rans_ = &rans->tables;
  } else {
    auto* tables = new (memory.data()) ArithmeticTables;
    QUENCH_RETURN_IF_ERROR(parse_arithmetic_model(body, tables->initial));
    decoder.arithmetic_ = tables;
  }
  return decoder;
}

template <typename Index>
Status Decoder::decode_part(std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                            std::span<uint8_t> scratch) const {
  if (chunk.alphabet == 1) {
    if (!bytes.empty()) return Status::error(StatusCode::kCorrupt, "a stream of a single symbol has bytes");
    for (uint64_t i = 0; i < chunk.symbols(); ++i) out[i] = 0;
    return Status();
  }
  if (huffman_ != nullptr) {
    return reference_ ? decode_huffman_reference(*huffman_, bytes, chunk, out)
                      : decode_huffman(*huffman_, bytes, chunk, out);
  }
  if (rans_ != nullptr) {
    return reference_ ? decode_rans_reference(*rans_, bytes, chunk, out, scratch)
                      : decode_rans(*rans_, bytes, chunk, out, scratch);
  }
  if (arithmetic_ != nullptr) {
    return reference_ ? decode_arithmetic_reference(*arithmetic_, bytes, chunk, out, scratch)
                      : decode_arithmetic(*arithmetic_, bytes, chunk, out, scratch);
  }
  return Status::error(StatusCode::kNotReady, "the entropy decoder has no model");
}

template <typename Index>
Status Decoder::check_call(const StreamLayout& layout, uint64_t symbols, std::span<Index> out,
                           std::span<uint8_t> scratch) {
  if (layout.alphabet > (uint32_t{1} << (8 * sizeof(Index)))) {
    return Status::error(StatusCode::kInvalidArgument, "an alphabet of %u symbols needs wider indices",
                         layout.alphabet);
  }
  if (out.size() < symbols || !is_usable(scratch, kDecodeScratch)) {
    return Status::error(StatusCode::kInvalidArgument, "output or scratch of the entropy decoder is too small");
  }
  return Status();
}

template <typename Index>
Status Decoder::decode_all(std::span<const uint8_t> stream, const StreamLayout& layout, std::span<Index> out,
                           std::span<uint8_t> scratch) const {
  QUENCH_RETURN_IF_ERROR(check_layout(layout));
  QUENCH_RETURN_IF_ERROR(check_call(layout, layout.symbols(), out, scratch));
  const uint64_t chunks = chunk_count(layout);
  if (chunks == 0 && !stream.empty()) return Status::error(StatusCode::kCorrupt, "an empty stream has bytes");
  for (uint64_t i = 0; i < chunks; ++i) {
    const Chunk chunk = chunk_at(layout, i);
    const Result<std::span<const uint8_t>> bytes = chunk_bytes(stream, chunks, i);
    if (!bytes.ok()) return bytes.status();
    QUENCH_RETURN_IF_ERROR(decode_part(*bytes, chunk.layout, out.data() + chunk.first_symbol, scratch));
  }
  return Status();
}

template <typename Index>
Status Decoder::decode_one(std::span<const uint8_t> stream, const StreamLayout& layout, uint64_t index,
                           std::span<Index> out, std::span<uint8_t> scratch) const {
  QUENCH_RETURN_IF_ERROR(check_layout(layout));
  const uint64_t chunks = chunk_count(layout);
  if (index >= chunks) return Status::error(StatusCode::kInvalidArgument, "there is no such chunk");
  const Chunk chunk = chunk_at(layout, index);
  QUENCH_RETURN_IF_ERROR(check_call(layout, chunk.layout.symbols(), out, scratch));
  const Result<std::span<const uint8_t>> bytes = chunk_bytes(stream, chunks, index);
  if (!bytes.ok()) return bytes.status();
  return decode_part(*bytes, chunk.layout, out.data(), scratch);
}

Status Decoder::decode(std::span<const uint8_t> stream, const StreamLayout& layout, std::span<uint8_t> out,
                       std::span<uint8_t> scratch) const {
  return decode_all(stream, layout, out, scratch);
}

Status Decoder::decode(std::span<const uint8_t> stream, const StreamLayout& layout, std::span<uint16_t> out,
                       std::span<uint8_t> scratch) const {
  return decode_all(stream, layout, out, scratch);
}

Status Decoder::decode_chunk(std::span<const uint8_t> stream, const StreamLayout& layout, uint64_t index,
                             std::span<uint8_t> out, std::span<uint8_t> scratch) const {
  return decode_one(stream, layout, index, out, scratch);
}

Status Decoder::decode_chunk(std::span<const uint8_t> stream, const StreamLayout& layout, uint64_t index,
                             std::span<uint16_t> out, std::span<uint8_t> scratch) const {
  return decode_one(stream, layout, index, out, scratch);
}

}  // namespace quench::entropy
