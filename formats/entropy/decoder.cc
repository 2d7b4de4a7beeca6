#include "formats/entropy/decoder.h"

#include <algorithm>
#include <new>

#include "formats/entropy/arithmetic_decoder.h"
#include "formats/entropy/chunk_table.h"
#include "formats/entropy/huffman_decoder.h"
#include "formats/entropy/rans_decoder.h"
#include "formats/entropy/trellis.h"

namespace quench::entropy {

namespace {

constexpr size_t kAlignment = 64;

bool is_usable(std::span<const uint8_t> memory, size_t needed) {
  return memory.size() >= needed && reinterpret_cast<uintptr_t>(memory.data()) % kAlignment == 0;
}

struct Huffman {
  using Tables = HuffmanTables;
  static Result<size_t> memory_bytes(std::span<const uint8_t>) { return sizeof(HuffmanTables); }
  static Result<const Tables*> build(std::span<const uint8_t> body, uint8_t* memory) {
    HuffmanModel parsed;
    QUENCH_RETURN_IF_ERROR(parse_huffman_model(body, parsed));
    auto* tables = new (memory) HuffmanTables;
    build_huffman_tables(parsed, *tables);
    return tables;
  }
  template <typename Index>
  static Status decode(const Tables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                       std::span<uint8_t>, bool reference) {
    return reference ? decode_huffman_reference(tables, bytes, chunk, out) : decode_huffman(tables, bytes, chunk, out);
  }
};

struct Rans {
  using Tables = RansTables;
  // The slots of the tables follow.
  struct alignas(kAlignment) Memory {
    RansTables tables;
    RansModel model;
  };
  static Result<size_t> memory_bytes(std::span<const uint8_t> body) {
    if (body.empty()) return Status(StatusCode::kTruncated);
    return sizeof(Memory) + rans_slots(std::min(rans_table_count(body[0]), kRansTables)) * sizeof(uint32_t);
  }
  static Result<const Tables*> build(std::span<const uint8_t> body, uint8_t* memory) {
    auto* rans = new (memory) Memory;
    QUENCH_RETURN_IF_ERROR(parse_rans_model(body, rans->model));
    build_rans_tables(rans->model, reinterpret_cast<uint32_t*>(rans + 1), rans->tables);
    return &rans->tables;
  }
  template <typename Index>
  static Status decode(const Tables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                       std::span<uint8_t> scratch, bool reference) {
    return reference ? decode_rans_reference(tables, bytes, chunk, out, scratch)
                     : decode_rans(tables, bytes, chunk, out, scratch);
  }
};

struct Arithmetic {
  using Tables = ArithmeticTables;
  static Result<size_t> memory_bytes(std::span<const uint8_t>) { return sizeof(ArithmeticTables); }
  static Result<const Tables*> build(std::span<const uint8_t> body, uint8_t* memory) {
    auto* tables = new (memory) ArithmeticTables;
    QUENCH_RETURN_IF_ERROR(parse_arithmetic_model(body, tables->initial));
    return tables;
  }
  template <typename Index>
  static Status decode(const Tables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                       std::span<uint8_t> scratch, bool reference) {
    return reference ? decode_arithmetic_reference(tables, bytes, chunk, out, scratch)
                     : decode_arithmetic(tables, bytes, chunk, out, scratch);
  }
};

}  // namespace

// The decoding end of one coder. `body` is a model without its coder byte; `tables` is what build() returned.
struct DecoderRow {
  template <typename Index>
  using Decode = Status (*)(const void* tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                            std::span<uint8_t> scratch, bool reference);

  Coder coder;
  Result<size_t> (*memory_bytes)(std::span<const uint8_t> body);
  Result<const void*> (*build)(std::span<const uint8_t> body, uint8_t* memory);
  Decode<uint8_t> decode_narrow;
  Decode<uint16_t> decode_wide;
};

namespace {

template <typename End>
Result<const void*> build(std::span<const uint8_t> body, uint8_t* memory) {
  const Result<const typename End::Tables*> tables = End::build(body, memory);
  if (!tables.ok()) return tables.status();
  return static_cast<const void*>(*tables);
}

template <typename End, typename Index>
Status decode(const void* tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
              std::span<uint8_t> scratch, bool reference) {
  return End::decode(*static_cast<const typename End::Tables*>(tables), bytes, chunk, out, scratch, reference);
}

template <typename End>
constexpr DecoderRow row(Coder coder) {
  return {coder, End::memory_bytes, build<End>, decode<End, uint8_t>, decode<End, uint16_t>};
}

constexpr DecoderRow kDecoders[] = {
    row<Huffman>(Coder::kHuffman),
    row<Rans>(Coder::kRans),
    row<Arithmetic>(Coder::kArithmetic),
};
static_assert(has_all_coders(kDecoders));

Result<const DecoderRow*> row_for(std::span<const uint8_t> model) {
  if (model.empty()) return Status(StatusCode::kTruncated);
  const DecoderRow* row = row_of(kDecoders, static_cast<Coder>(model[0]));
  if (row == nullptr) {
    return Status::error(StatusCode::kUnsupportedFeature, "entropy coder %u is unknown", unsigned{model[0]});
  }
  return row;
}

}  // namespace

Coder Decoder::coder() const { return row_->coder; }

Result<size_t> Decoder::memory_bytes(std::span<const uint8_t> model) {
  const Result<const DecoderRow*> row = row_for(model);
  if (!row.ok()) return row.status();
  return (*row)->memory_bytes(model.subspan(1));
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
  decoder.row_ = *row_for(model);
  const Result<const void*> tables = decoder.row_->build(model.subspan(1), memory.data());
  if (!tables.ok()) return tables.status();
  decoder.tables_ = *tables;
  return decoder;
}

template <typename Index>
Status Decoder::decode_part(std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                            std::span<uint8_t> scratch) const {
  QUENCH_RETURN_IF_ERROR(decode_symbols(bytes, symbol_layout(chunk), out, scratch));
  if (chunk.trellis != Trellis::kNone) {
    follow_trellis(chunk, [out](uint64_t i, uint32_t state) {
      const uint32_t symbol = out[i];
      out[i] = static_cast<Index>(2 * symbol + (state & 1));
      return symbol;
    });
  }
  return Status();
}

template <typename Index>
Status Decoder::decode_symbols(std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                               std::span<uint8_t> scratch) const {
  if (chunk.alphabet == 1) {
    if (!bytes.empty()) return Status::error(StatusCode::kCorrupt, "a stream of a single symbol has bytes");
    for (uint64_t i = 0; i < chunk.symbols(); ++i) out[i] = 0;
    return Status();
  }
  if (row_ == nullptr) return Status::error(StatusCode::kNotReady, "the entropy decoder has no model");
  if constexpr (sizeof(Index) == 1) {
    return row_->decode_narrow(tables_, bytes, chunk, out, scratch, reference_);
  } else {
    return row_->decode_wide(tables_, bytes, chunk, out, scratch, reference_);
  }
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
