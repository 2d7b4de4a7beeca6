#include "formats/entropy/coder.h"

#include <algorithm>

namespace quench::entropy {

namespace {

uint64_t divide_up(uint64_t value, uint64_t divisor) { return (value + divisor - 1) / divisor; }

// How a stream is cut: along one dimension into parts of up to `step`, for each of `repeats` positions of the outer
// ones.
struct Cut {
  enum class Along { kRows, kChannels, kInner };
  Along along;
  uint64_t repeats;
  uint64_t extent;
  uint64_t step;
  uint64_t unit;  // symbols per step of 1
  uint64_t count() const { return divide_up(extent, step); }
};

Cut cut_of(const StreamLayout& layout) {
  const uint64_t row = layout.channels * layout.inner;
  if (row <= kMaxChunkSymbols) return {Cut::Along::kRows, 1, layout.rows, kMaxChunkSymbols / row, row};
  if (layout.inner <= kMaxChunkSymbols) {
    return {Cut::Along::kChannels, layout.rows, layout.channels, kMaxChunkSymbols / layout.inner, layout.inner};
  }
  return {Cut::Along::kInner, layout.rows * layout.channels, layout.inner, kMaxChunkSymbols, 1};
}

}  // namespace

const char* name_of(Coder coder) {
  const CoderRow* row = row_of(kCoders, coder);
  return row == nullptr ? "unknown" : row->name;
}

std::optional<Coder> coder_named(std::string_view name) {
  for (const CoderRow& row : kCoders) {
    if (name == row.name) return row.coder;
  }
  return std::nullopt;
}

Status check_layout(const StreamLayout& layout) {
  if (layout.alphabet == 0 || layout.alphabet > kMaxAlphabet) {
    return Status::error(StatusCode::kInvalidArgument, "an alphabet of %u symbols is not supported", layout.alphabet);
  }
  if (layout.zero_symbol >= layout.alphabet) {
    return Status::error(StatusCode::kInvalidArgument, "zero symbol %u lies outside the alphabet of %u",
                         layout.zero_symbol, layout.alphabet);
  }
  if (layout.trellis != Trellis::kNone && (layout.alphabet % 2 != 0 || layout.zero_symbol % 2 != 0)) {
    return Status::error(StatusCode::kInvalidArgument, "a trellis over %u entries with zero at %u", layout.alphabet,
                         layout.zero_symbol);
  }
  uint64_t symbols = 1;
  for (const uint64_t extent : {layout.rows, layout.channels, layout.inner}) {
    if (extent > kMaxSymbols) return Status::error(StatusCode::kLimit, "the stream is too long");
    if (extent != 0 && symbols > kMaxSymbols / extent)
      return Status::error(StatusCode::kLimit, "the stream is too long");
    symbols *= extent == 0 ? 1 : extent;
  }
  return Status();
}

uint64_t chunk_count(const StreamLayout& layout) {
  if (layout.symbols() == 0) return 0;
  const Cut cut = cut_of(layout);
  return cut.repeats * cut.count();
}

Chunk chunk_at(const StreamLayout& layout, uint64_t index) {
  const Cut cut = cut_of(layout);
  const uint64_t repeat = index / cut.count();
  const uint64_t first = index % cut.count() * cut.step;
  const uint64_t extent = std::min(cut.step, cut.extent - first);
  Chunk chunk;
  chunk.first_symbol = (repeat * cut.extent + first) * cut.unit;
  chunk.layout = layout;
  switch (cut.along) {
    case Cut::Along::kRows:
      chunk.layout.rows = extent;
      break;
    case Cut::Along::kChannels:
      chunk.layout.rows = 1;
      chunk.layout.channels = extent;
      break;
    case Cut::Along::kInner:
      chunk.layout.rows = 1;
      chunk.layout.channels = 1;
      chunk.layout.inner = extent;
      break;
  }
  return chunk;
}

}  // namespace quench::entropy
