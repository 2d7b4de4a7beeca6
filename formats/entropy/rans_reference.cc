#include <new>

#include "formats/entropy/decoder.h"
#include "formats/entropy/rans_context.h"
#include "formats/entropy/rans_decoder.h"

namespace quench::entropy {

namespace {

class WordReader {
 public:
  explicit WordReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  // 0 behind the end.
  uint32_t read() {
    if (bytes_.size() < 2) {
      ended_ = true;
      return 0;
    }
    const uint32_t word = bytes_[0] | uint32_t{bytes_[1]} << 8;
    bytes_ = bytes_.subspan(2);
    return word;
  }
  bool ended() const { return ended_; }
  bool is_empty() const { return bytes_.empty(); }

 private:
  std::span<const uint8_t> bytes_;
  bool ended_ = false;
};

}  // namespace

void build_rans_tables(const RansModel& model, uint32_t* slots, RansTables& tables) {
  tables.slots = slots;
  tables.first_level = model.first_level();
  for (uint32_t table = 0; table < model.tables; ++table) {
    for (uint32_t token = 0; token < kRansTokens; ++token) {
      const uint32_t frequency = model.frequencies[table][token];
      for (uint32_t i = 0; i < frequency; ++i) {
        *slots++ = token << RansTables::kTokenShift | frequency << RansTables::kFrequencyShift | i;
      }
    }
  }
  for (uint32_t scale = 0; scale < kRansScales; ++scale) {
    uint32_t packed = 0;
    for (uint32_t trust = 0; trust < kRansTrusts; ++trust) {
      packed |= uint32_t{model.table_of_context[scale * kRansTrusts + trust]} << (4 * trust);
    }
    tables.packed_tables[scale] = static_cast<int32_t>(packed);
  }
}

template <typename Index>
Status decode_rans_reference(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk,
                             Index* out, std::span<uint8_t> scratch) {
  const RansGrid grid(chunk);
  if (bytes.size() < grid.lanes * sizeof(uint32_t)) return Status(StatusCode::kTruncated);
  static_assert(sizeof(RansContext::Memory) <= kDecodeScratch);
  RansContext context(grid, *new (scratch.data()) RansContext::Memory);
  WordReader reader(bytes);
  uint32_t states[kRansLanes];
  for (uint32_t lane = 0; lane < grid.lanes; ++lane) {
    states[lane] = reader.read();
    states[lane] |= reader.read() << 16;
    if (states[lane] < kRansLowest)
      return Status::error(StatusCode::kCorrupt, "a state of the rANS coder is too small");
  }

  bool escaped[kRansLanes] = {};
  uint32_t symbols[kRansLanes] = {};
  bool inside = true;
  const auto decode_level = [&](uint32_t lane, uint32_t symbol, uint32_t which, int32_t sign) {
    uint32_t& state = states[lane];
    const uint32_t table =
        static_cast<uint32_t>(tables.packed_tables[which / kRansTrusts]) >> which % kRansTrusts * 4 & 15;
    const uint32_t slot = tables.slots[table * kRansTotal + state % kRansTotal];
    const uint32_t frequency = slot >> RansTables::kFrequencyShift & RansTables::kFieldMask;
    state = frequency * (state >> kRansPrecision) + (slot & RansTables::kFieldMask);
    if (state < kRansLowest) state = state << 16 | reader.read();
    const uint32_t token = slot >> RansTables::kTokenShift;
    escaped[lane] = token == kRansEscape;
    symbols[lane] = symbol;
    const int32_t level = ((static_cast<int32_t>(token) + tables.first_level) ^ sign) - sign;
    const uint32_t index = chunk.zero_symbol + static_cast<uint32_t>(level);
    if (escaped[lane]) return 0;
    inside = inside && index < chunk.alphabet;
    out[symbol] = static_cast<Index>(index);
    return level;
  };
  const auto read_escapes = [&](int32_t* levels) {
    for (uint32_t lane = 0; lane < grid.lanes; ++lane) {
      if (!escaped[lane]) continue;
      escaped[lane] = false;
      const uint32_t index = reader.read();
      inside = inside && index < chunk.alphabet;
      out[symbols[lane]] = static_cast<Index>(index);
      levels[lane] = static_cast<int32_t>(index) - static_cast<int32_t>(chunk.zero_symbol);
    }
    return inside && !reader.ended();
  };
  if (!walk_rans(grid, context, decode_level, read_escapes)) {
    if (reader.ended()) return Status(StatusCode::kTruncated);
    return Status::error(StatusCode::kCorrupt, "a symbol of the rANS stream lies outside the alphabet");
  }
  bool finished = reader.is_empty();
  for (uint32_t lane = 0; lane < grid.lanes; ++lane) finished = finished && states[lane] == kRansLowest;
  if (!finished) return Status::error(StatusCode::kCorrupt, "the final state of the rANS coder is wrong");
  return Status();
}

template Status decode_rans_reference(const RansTables&, std::span<const uint8_t>, const StreamLayout&, uint8_t*,
                                      std::span<uint8_t>);
template Status decode_rans_reference(const RansTables&, std::span<const uint8_t>, const StreamLayout&, uint16_t*,
                                      std::span<uint8_t>);

}  // namespace quench::entropy
