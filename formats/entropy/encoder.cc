#include "formats/entropy/encoder.h"

#include <memory>
#include <utility>

#include "formats/entropy/arithmetic_encoder.h"
#include "formats/entropy/chunk_table.h"
#include "formats/entropy/huffman_encoder.h"
#include "formats/entropy/rans_encoder.h"
#include "formats/entropy/trellis.h"

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

// Calls use(layout, symbols) for what is coded of each chunk, in order, until one gives an error.
template <typename Index, typename Use>
Status for_each_chunk(const StreamLayout& layout, std::span<const Index> indices, Use use) {
  QUENCH_RETURN_IF_ERROR(check_indices(layout, indices));
  std::vector<Index> symbols;
  for (uint64_t c = 0; c < chunk_count(layout); ++c) {
    const Chunk chunk = chunk_at(layout, c);
    const Index* const own = indices.data() + chunk.first_symbol;
    if (layout.trellis == Trellis::kNone) {
      use(chunk.layout, own);
      continue;
    }
    symbols.resize(chunk.layout.symbols());
    bool follows = true;
    follow_trellis(chunk.layout, [&](uint64_t i, uint32_t state) {
      follows = follows && (own[i] & 1u) == (state & 1);
      return symbols[i] = static_cast<Index>(own[i] / 2);
    });
    if (!follows) return Status::error(StatusCode::kInvalidArgument, "the indices do not follow the trellis");
    use(symbol_layout(chunk.layout), symbols.data());
  }
  return Status();
}

struct Huffman {
  struct Counts {
    std::vector<uint64_t> of_level = std::vector<uint64_t>(2 * size_t{kMaxAlphabet});
  };
  using Tables = HuffmanCode;
  template <typename Index>
  static void count(const StreamLayout& chunk, const Index* indices, Counts& counts) {
    for (uint64_t i = 0; i < chunk.symbols(); ++i) ++counts.of_level[kMaxAlphabet + indices[i] - chunk.zero_symbol];
  }
  static std::vector<uint8_t> write_model(const Counts& counts) { return write_huffman_model(counts.of_level); }
  static Status parse(std::span<const uint8_t> body, Tables& tables) {
    HuffmanModel parsed;
    QUENCH_RETURN_IF_ERROR(parse_huffman_model(body, parsed));
    tables = make_huffman_code(parsed);
    return Status();
  }
  template <typename Index>
  static std::vector<uint8_t> encode(const Tables& tables, const StreamLayout& chunk, const Index* indices) {
    return encode_huffman(tables, chunk, indices);
  }
};

struct Rans {
  using Counts = RansCounts;
  using Tables = RansModel;
  template <typename Index>
  static void count(const StreamLayout& chunk, const Index* indices, Counts& counts) {
    count_levels(chunk, indices, counts);
  }
  static std::vector<uint8_t> write_model(const Counts& counts) { return write_rans_model(counts); }
  static Status parse(std::span<const uint8_t> body, Tables& tables) { return parse_rans_model(body, tables); }
  template <typename Index>
  static std::vector<uint8_t> encode(const Tables& tables, const StreamLayout& chunk, const Index* indices) {
    return encode_rans(tables, chunk, indices);
  }
};

struct Arithmetic {
  using Counts = LevelContexts<DecisionCount>;
  using Tables = LevelContexts<uint16_t>;
  template <typename Index>
  static void count(const StreamLayout& chunk, const Index* indices, Counts& counts) {
    count_decisions(chunk, indices, counts);
  }
  static std::vector<uint8_t> write_model(const Counts& counts) { return write_arithmetic_model(counts); }
  static Status parse(std::span<const uint8_t> body, Tables& tables) { return parse_arithmetic_model(body, tables); }
  template <typename Index>
  static std::vector<uint8_t> encode(const Tables& tables, const StreamLayout& chunk, const Index* indices) {
    return encode_arithmetic(tables, chunk, indices);
  }
};

// The encoding end of one coder. `counts` and `tables` are what the functions above them returned; `body` is a model
// without its coder byte.
struct EncoderRow {
  template <typename Index>
  using Count = void (*)(const StreamLayout& chunk, const Index* indices, void* counts);
  template <typename Index>
  using Encode = std::vector<uint8_t> (*)(const void* tables, const StreamLayout& chunk, const Index* indices);

  Coder coder;
  std::shared_ptr<void> (*make_counts)();
  Count<uint8_t> count_narrow;
  Count<uint16_t> count_wide;
  std::vector<uint8_t> (*write_model)(const void* counts);
  Result<std::shared_ptr<const void>> (*make_tables)(std::span<const uint8_t> body);
  Encode<uint8_t> encode_narrow;
  Encode<uint16_t> encode_wide;

  void count(const StreamLayout& chunk, const uint8_t* indices, void* counts) const {
    count_narrow(chunk, indices, counts);
  }
  void count(const StreamLayout& chunk, const uint16_t* indices, void* counts) const {
    count_wide(chunk, indices, counts);
  }
  std::vector<uint8_t> encode(const void* tables, const StreamLayout& chunk, const uint8_t* indices) const {
    return encode_narrow(tables, chunk, indices);
  }
  std::vector<uint8_t> encode(const void* tables, const StreamLayout& chunk, const uint16_t* indices) const {
    return encode_wide(tables, chunk, indices);
  }
};

template <typename End>
std::shared_ptr<void> make_counts() {
  return std::make_shared<typename End::Counts>();
}

template <typename End, typename Index>
void count(const StreamLayout& chunk, const Index* indices, void* counts) {
  End::count(chunk, indices, *static_cast<typename End::Counts*>(counts));
}

template <typename End>
std::vector<uint8_t> write_model(const void* counts) {
  return End::write_model(*static_cast<const typename End::Counts*>(counts));
}

template <typename End>
Result<std::shared_ptr<const void>> make_tables(std::span<const uint8_t> body) {
  auto tables = std::make_shared<typename End::Tables>();
  QUENCH_RETURN_IF_ERROR(End::parse(body, *tables));
  return std::shared_ptr<const void>(std::move(tables));
}

template <typename End, typename Index>
std::vector<uint8_t> encode(const void* tables, const StreamLayout& chunk, const Index* indices) {
  return End::encode(*static_cast<const typename End::Tables*>(tables), chunk, indices);
}

template <typename End>
constexpr EncoderRow row(Coder coder) {
  return {coder,
          make_counts<End>,
          count<End, uint8_t>,
          count<End, uint16_t>,
          write_model<End>,
          make_tables<End>,
          encode<End, uint8_t>,
          encode<End, uint16_t>};
}

constexpr EncoderRow kEncoders[] = {
    row<Huffman>(Coder::kHuffman),
    row<Rans>(Coder::kRans),
    row<Arithmetic>(Coder::kArithmetic),
};
static_assert(has_all_coders(kEncoders));

}  // namespace

struct ModelFitter::Statistics {
  explicit Statistics(Coder coder) : row(*row_of(kEncoders, coder)), counts(row.make_counts()) {}

  template <typename Index>
  Status add(const StreamLayout& layout, std::span<const Index> indices) {
    return for_each_chunk(layout, indices, [this](const StreamLayout& chunk, const Index* symbols) {
      if (chunk.alphabet > 1) row.count(chunk, symbols, counts.get());
    });
  }

  const EncoderRow& row;
  std::shared_ptr<void> counts;
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
  std::vector<uint8_t> body = statistics_->row.write_model(statistics_->counts.get());
  body.insert(body.begin(), static_cast<uint8_t>(statistics_->row.coder));
  return body;
}

struct Encoder::Tables {
  const EncoderRow& row;
  std::shared_ptr<const void> tables;

  template <typename Index>
  Result<std::vector<uint8_t>> encode(const StreamLayout& layout, std::span<const Index> indices) const {
    std::vector<uint8_t> table, body;
    QUENCH_RETURN_IF_ERROR(for_each_chunk(layout, indices, [&](const StreamLayout& chunk, const Index* symbols) {
      const std::vector<uint8_t> bytes = encode_chunk(chunk, symbols);
      body.insert(body.end(), bytes.begin(), bytes.end());
      for (uint64_t k = 0; k < kChunkEntryBytes; ++k) table.push_back(static_cast<uint8_t>(body.size() >> (8 * k)));
    }));
    if (table.size() == kChunkEntryBytes) return body;
    body.insert(body.begin(), table.begin(), table.end());
    return body;
  }

  template <typename Index>
  std::vector<uint8_t> encode_chunk(const StreamLayout& chunk, const Index* indices) const {
    if (chunk.alphabet == 1) return {};
    return row.encode(tables.get(), chunk, indices);
  }
};

Result<Encoder> Encoder::create(std::span<const uint8_t> model) {
  if (model.empty()) return Status(StatusCode::kTruncated);
  if (model.size() > kMaxModelBytes) return Status::error(StatusCode::kLimit, "the entropy model is too long");
  const EncoderRow* row = row_of(kEncoders, static_cast<Coder>(model[0]));
  if (row == nullptr) {
    return Status::error(StatusCode::kUnsupportedFeature, "entropy coder %u is unknown", unsigned{model[0]});
  }
  Result<std::shared_ptr<const void>> tables = row->make_tables(model.subspan(1));
  if (!tables.ok()) return tables.status();
  Encoder encoder;
  encoder.tables_ = std::make_shared<const Tables>(Tables{*row, std::move(*tables)});
  return encoder;
}

Coder Encoder::coder() const { return tables_->row.coder; }

Result<std::vector<uint8_t>> Encoder::encode(const StreamLayout& layout, std::span<const uint8_t> indices) const {
  return tables_->encode(layout, indices);
}

Result<std::vector<uint8_t>> Encoder::encode(const StreamLayout& layout, std::span<const uint16_t> indices) const {
  return tables_->encode(layout, indices);
}

}  // namespace quench::entropy
