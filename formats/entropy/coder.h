// What the encoders and the decoders of index streams agree on: the coders, the shape of a stream, and its chunks.
//
// An index stream holds the codebook index of every vector of a tensor, in row-major order rows x channels x inner:
//     Conv weight [O, I, kh, kw]   rows = O, channels = I, inner = kh * kw
//     MatMul weight [K, N]         rows = K, channels = N, inner = 1
//     1-D tensor [N]               rows = 1, channels = 1, inner = N
// `zero_symbol` is the index of the center nearest 0. The coders model level = index - zero_symbol, and rely on
// magnitudes that vary from row to row and from channel to channel. Vector codebooks (no natural order) sort their
// centers by norm and use zero_symbol = 0: then no level is negative and no sign is coded.
//
// kCoders is the table of coders, from which all others have their names. encoder.h writes streams, decoder.h reads
// them; neither knows the other, and each has a table of its ends of the coders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "formats/base/status.h"

namespace quench::entropy {

// The numbers are stored in files and never change.
enum class Coder : uint8_t { kHuffman = 1, kRans = 2, kArithmetic = 3 };

struct CoderRow {
  Coder coder;
  const char* name;  // on the command line and in reports
  const char* use;   // what it is best at, for the help
};

// By number. Sizes over the order-0 entropy: a little above 1, well below 1, smallest.
inline constexpr CoderRow kCoders[] = {
    {Coder::kHuffman, "huffman", "plainest decoder"},
    {Coder::kRans, "rans", "loads fast"},
    {Coder::kArithmetic, "arithmetic", "smallest file"},
};
inline constexpr Coder kDefaultCoder = Coder::kArithmetic;

// "unknown" for a number that is no coder's.
const char* name_of(Coder coder);
std::optional<Coder> coder_named(std::string_view name);

// The row of a coder in a table of rows with a member `coder`; null where there is none.
template <typename Row, size_t kCount>
constexpr const Row* row_of(const Row (&rows)[kCount], Coder coder) {
  for (const Row& row : rows) {
    if (row.coder == coder) return &row;
  }
  return nullptr;
}

// For a static_assert behind the table of an end.
template <typename Row, size_t kCount>
constexpr bool has_all_coders(const Row (&rows)[kCount]) {
  for (const CoderRow& each : kCoders) {
    if (row_of(rows, each.coder) == nullptr) return false;
  }
  return true;
}

inline constexpr uint32_t kMaxAlphabet = 65536;
inline constexpr uint64_t kMaxSymbols = uint64_t{1} << 40;       // of one stream
inline constexpr uint64_t kMaxChunkSymbols = uint64_t{1} << 18;  // chunks are at most this long
inline constexpr uint64_t kMaxModelBytes = uint64_t{1} << 16;    // of a serialized entropy model

// Which states of a trellis the indices follow, if any (trellis.h). The numbers are part of the file format.
enum class Trellis : uint8_t { kNone = 0, kDownColumns = 1, kAlongRows = 2 };

struct StreamLayout {
  uint64_t rows = 0;
  uint64_t channels = 0;
  uint64_t inner = 0;
  uint32_t alphabet = 1;             // indices are 0 .. alphabet - 1; 1 .. kMaxAlphabet
  uint32_t zero_symbol = 0;          // < alphabet
  Trellis trellis = Trellis::kNone;  // otherwise alphabet and zero_symbol are even
  // Valid after check_layout() only.
  uint64_t symbols() const { return rows * channels * inner; }
};

// kLimit when there are more than kMaxSymbols symbols, kInvalidArgument when the alphabet or zero_symbol is out of
// range, or odd with a trellis. A dimension of 0 (an empty stream) is fine.
Status check_layout(const StreamLayout& layout);

// A part of a stream that decodes on its own: whole rows, or whole channels of one row, or a piece of one channel.
struct Chunk {
  uint64_t first_symbol = 0;
  StreamLayout layout;  // rows x channels x inner of this part; same alphabet and zero_symbol
};

// How many chunks a (checked) layout has; 0 for an empty stream. Depends on nothing but the layout.
uint64_t chunk_count(const StreamLayout& layout);
// `index` < chunk_count(layout). The chunks follow each other without gap, in order.
Chunk chunk_at(const StreamLayout& layout, uint64_t index);

}  // namespace quench::entropy
