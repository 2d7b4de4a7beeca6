#include "formats/entropy/rans_decoder.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "formats/entropy/decoder.h"
#include "formats/entropy/rans_context.h"

// clang-format off: the order matters
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "formats/entropy/rans_decoder.cc"
#include "formats/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#ifndef QUENCH_ENTROPY_WORD_OF_LANE
#define QUENCH_ENTROPY_WORD_OF_LANE
namespace quench::entropy {
namespace {

// By a mask of eight lanes: how many lanes before each are selected.
struct WordOfLane {
  uint8_t rank[256][8];
  constexpr WordOfLane() : rank() {
    for (uint32_t mask = 0; mask < 256; ++mask) {
      uint8_t count = 0;
      for (uint32_t lane = 0; lane < 8; ++lane) {
        rank[mask][lane] = count;
        count = static_cast<uint8_t>(count + (mask >> lane & 1));
      }
    }
  }
};
[[maybe_unused]] constexpr WordOfLane kWordOfLane;

}  // namespace
}  // namespace quench::entropy
#endif

HWY_BEFORE_NAMESPACE();
namespace quench::entropy {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128 || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__

template <typename Index>
Status decode(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
              std::span<uint8_t> scratch) {
  return decode_rans_reference(tables, bytes, chunk, out, scratch);
}

#else

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<int32_t>;
using UnsignedTag = hn::RebindToUnsigned<Tag>;
using FloatTag = hn::RebindToFloat<Tag>;
using Vector = hn::Vec<Tag>;
using Mask = hn::Mask<Tag>;
constexpr uint32_t kLanes = static_cast<uint32_t>(hn::MaxLanes(Tag()));
constexpr uint32_t kTile = 64;  // columns that are gathered before they are written row by row

template <typename Index>
struct alignas(64) Workspace {
  int32_t zeros[kRansLanes];
  int32_t history[RansGrid::kMaxKernel][kRansLanes];
  int32_t lane_values[kRansLanes];
  int32_t lane_flags[kRansLanes];
  uint32_t bins[RansStatistics::kMaxBins];
  Index tile[kTile][kRansLanes];
  uint8_t words[512];  // the last ones, with zeros behind
};

HWY_INLINE Vector load(const int32_t* from) { return hn::Load(Tag(), from); }
HWY_INLINE Vector set(uint32_t value) { return hn::Set(Tag(), static_cast<int32_t>(value)); }

// About log2 in steps of 2^-23.
HWY_INLINE Vector log_bits(Vector value) { return hn::BitCast(Tag(), hn::ConvertTo(FloatTag(), value)); }
template <int kCount>
HWY_INLINE Vector shift_right(Vector value) {
  return hn::BitCast(Tag(), hn::ShiftRight<kCount>(hn::BitCast(UnsignedTag(), value)));
}
HWY_INLINE Vector clamp(Vector value, Vector low, Vector high) { return hn::Min(hn::Max(value, low), high); }

// Appends the next word to each state that `mask` selects, in the order of lanes.
HWY_INLINE Vector take_words(Vector states, Mask mask, const uint8_t*& words) {
  const Vector shifted = hn::ShiftLeft<16>(states);
  const hn::Rebind<uint16_t, Tag> word_tag;
  const Vector next = hn::PromoteTo(Tag(), hn::LoadU(word_tag, reinterpret_cast<const uint16_t*>(words)));
#if HWY_TARGET == HWY_AVX3
  words += 2 * static_cast<size_t>(__builtin_popcount(mask.raw));
  const Vector spread{_mm512_maskz_expand_epi32(mask.raw, next.raw)};
#else
  alignas(16) uint8_t bits[8];
  hn::StoreMaskBits(Tag(), mask, bits);
  const uint32_t selected = bits[0];
  const hn::Rebind<uint8_t, Tag> byte_tag;
  const Vector order = hn::PromoteTo(Tag(), hn::LoadU(byte_tag, kWordOfLane.rank[selected]));
  words += 2 * static_cast<size_t>(__builtin_popcount(selected));
  const Vector spread = hn::TableLookupLanes(next, hn::IndicesFromVec(Tag(), order));
#endif
  return hn::IfThenElse(mask, hn::Or(shifted, spread), states);
}

template <typename Index, uint32_t kVectors, bool kHasKernel>
class VectorDecoder {
 public:
  VectorDecoder(const RansTables& tables, const RansGrid& grid, std::span<const uint8_t> bytes,
                const StreamLayout& chunk, Index* out, Workspace<Index>& workspace)
      : tables_(tables), grid_(grid), chunk_(chunk), out_(out), work_(workspace), statistics_(grid, workspace.bins) {
    std::fill_n(work_.zeros, kRansLanes, 0);
    for (uint32_t position = 0; position < grid.kernel; ++position) describe(position);
    std::fill_n(work_.lane_values, kRansLanes, static_cast<int32_t>(kRansLowest));
    std::memcpy(work_.lane_values, bytes.data(), grid.lanes * sizeof(uint32_t));
    for (uint32_t v = 0; v < kVectors; ++v) states_[v] = load(work_.lane_values + v * kLanes);
    words_ = bytes.data() + grid.lanes * sizeof(uint32_t);
    words_end_ = bytes.data() + bytes.size();
  }

  Status decode() {
    for (uint32_t v = 0; v < kVectors; ++v) {
      if (!hn::AllFalse(Tag(), hn::Eq(shift_right<16>(states_[v]), hn::Zero(Tag())))) {
        return Status::error(StatusCode::kCorrupt, "a state of the rANS coder is too small");
      }
    }
    for (uint32_t first = 0; first < grid_.lines; first += grid_.lanes) {
      if (!decode_block(first, std::min(grid_.lanes, grid_.lines - first))) return Status(StatusCode::kTruncated);
    }
    if (outside_ < 0) {
      return Status::error(StatusCode::kCorrupt, "a symbol of the rANS stream lies outside the alphabet");
    }
    if (words_ > words_end_) return Status(StatusCode::kTruncated);
    bool finished = words_ == words_end_;
    for (uint32_t v = 0; v < kVectors; ++v) {
      finished = finished && hn::AllTrue(Tag(), hn::Eq(states_[v], set(kRansLowest)));
    }
    if (!finished) return Status::error(StatusCode::kCorrupt, "the final state of the rANS coder is wrong");
    return Status();
  }

 private:
  // A column takes up to two words per lane, and a load may reach a vector further.
  static constexpr size_t kMargin = 3 * kRansLanes * sizeof(uint16_t);
  static_assert(2 * kMargin <= sizeof(Workspace<Index>::words));

  struct Position {
    const int32_t* left;
    const int32_t* upper;
    const int32_t* corner;
    int32_t* here;
    uint32_t base_weight, sum_weight;
    bool begins_row;
  };

  void describe(uint32_t position) {
    const RansPosition near(grid_, position);
    Position& entry = positions_[position];
    entry.left = near.has_left ? work_.history[position - 1] : work_.zeros;
    entry.upper = near.has_upper ? work_.history[position - grid_.width] : work_.zeros;
    entry.corner = near.has_left && near.has_upper ? work_.history[position - grid_.width - 1] : work_.zeros;
    entry.here = work_.history[position];
    entry.base_weight = near.base_weight;
    entry.sum_weight = near.sum_weight;
    entry.begins_row = position % grid_.width == 0;
  }

  // Sees to it that a column's words can be read without looking; false when they were missing already.
  bool prepare_words() {
    if (static_cast<size_t>(words_end_ - words_) >= kMargin && words_ <= words_end_) [[likely]]
      return true;
    if (in_tail_) return words_ <= words_end_;
    const auto left = static_cast<size_t>(words_end_ - words_);
    std::memset(work_.words, 0, sizeof work_.words);
    if (left > 0) std::memcpy(work_.words, words_, left);
    words_ = work_.words;
    words_end_ = work_.words + left;
    in_tail_ = true;
    return true;
  }

  bool decode_block(uint32_t first, uint32_t lanes) {
    statistics_.begin_block();
    for (uint32_t lane = 0; lane < kRansLanes; ++lane) {
      work_.lane_values[lane] = lane < lanes ? static_cast<int32_t>(grid_.line_channels(first + lane)) : 0;
    }
    Vector row_sums[kVectors], line_channels[kVectors];
    for (uint32_t v = 0; v < kVectors; ++v) {
      row_sums[v] = hn::Zero(Tag());
      line_channels[v] = load(work_.lane_values + v * kLanes);
    }
    tile_columns_ = 0;
    uint32_t written = 0;
    for (uint32_t channel = 0; channel < grid_.segment_channels; ++channel) {
      uint32_t active = 0;
      for (uint32_t v = 0; v < kVectors; ++v) {
        active_[v] = hn::Lt(set(channel), line_channels[v]);
        active += static_cast<uint32_t>(hn::CountTrue(Tag(), active_[v]));
      }
      statistics_.begin_channel(channel);
      for (uint32_t v = 0; v < kVectors; ++v) {
        channel_sums_[v] = hn::Zero(Tag());
        if (channel == 0) short_sums_[v] = set(statistics_.mean64());
      }
      for (uint32_t position = 0; position < grid_.kernel; ++position) {
        if (!prepare_words()) return false;
        const Position& near = positions_[position];
        if (near.begins_row) estimate(position, active, row_sums);
        decode_column(near);
        if (++tile_columns_ == kTile) {
          write_tile(first, lanes, written);
          written += kTile;
        }
      }
      for (uint32_t v = 0; v < kVectors; ++v) row_sums[v] = hn::Add(row_sums[v], channel_sums_[v]);
      statistics_.end_channel(total_of_channel(), active);
    }
    write_tile(first, lanes, written);
    statistics_.end_block(lanes);
    return true;
  }

  uint32_t total_of_channel() const {
    Vector sum = channel_sums_[0];
    for (uint32_t v = 1; v < kVectors; ++v) sum = hn::Add(sum, channel_sums_[v]);
    return static_cast<uint32_t>(hn::GetLane(hn::SumOfLanes(Tag(), sum)));
  }

  void estimate(uint32_t position, uint32_t active, const Vector* row_sums) {
    const Vector scale = set(statistics_.scale_bits(position, position == 0 ? 0 : total_of_channel(), active));
    const Vector weight = set(statistics_.row_weight());
    for (uint32_t v = 0; v < kVectors; ++v) {
      const Vector bits = hn::Add(log_bits(hn::Add(hn::ShiftLeft<4>(row_sums[v]), weight)), scale);
      const Vector bounded = clamp(bits, set(kLowestBase), set(kHighestBase));
      bases_[v] = hn::ConvertTo(Tag(), hn::BitCast(FloatTag(), bounded));
    }
  }

  HWY_INLINE void decode_column(const Position& near) {
    Vector levels[kVectors];
    Mask escapes[kVectors];
    Vector outside = hn::Zero(Tag());
    const Vector zero_symbol = set(chunk_.zero_symbol);
    const Vector last = set(chunk_.alphabet - 1);
    for (uint32_t v = 0; v < kVectors; ++v) {
      Vector sign = hn::Zero(Tag());
      const Vector context = context_of(near, v, sign);
      const Vector base = hn::GatherIndex(Tag(), reinterpret_cast<const int32_t*>(tables_.slot_base), context);
      const Vector state = states_[v];
      const Vector slot = hn::GatherIndex(Tag(), reinterpret_cast<const int32_t*>(tables_.slots),
                                          hn::Add(base, hn::And(state, set(kRansTotal - 1))));
      const Vector frequency = hn::Add(hn::And(shift_right<12>(slot), set(kRansTotal - 1)), set(1));
      const Vector next =
          hn::Add(hn::Mul(frequency, shift_right<kRansPrecision>(state)), hn::And(slot, set(kRansTotal - 1)));
      states_[v] = hn::IfThenElse(active_[v], next, state);
      const Vector token = shift_right<24>(slot);
      const Mask escape = hn::And(active_[v], hn::Eq(token, set(kRansEscape)));
      const Vector coded = hn::Add(token, set(static_cast<uint32_t>(tables_.first_level)));
      const Vector level = hn::Sub(hn::Xor(coded, sign), sign);
      levels[v] = hn::IfThenElseZero(hn::AndNot(escape, active_[v]), level);
      escapes[v] = escape;
      const Vector index = hn::Add(levels[v], zero_symbol);
      outside = hn::Or(outside, hn::Or(index, hn::Sub(last, index)));
    }
    for (uint32_t v = 0; v < kVectors; ++v) {
      states_[v] = take_words(states_[v], hn::Eq(shift_right<16>(states_[v]), hn::Zero(Tag())), words_);
    }
    outside_ |= any_negative(outside);
    Mask any_escape = escapes[0];
    for (uint32_t v = 1; v < kVectors; ++v) any_escape = hn::Or(any_escape, escapes[v]);
    if (!hn::AllFalse(Tag(), any_escape)) [[unlikely]]
      read_escapes(escapes, levels);
    for (uint32_t v = 0; v < kVectors; ++v) update(near, v, levels[v]);
  }

  HWY_INLINE Vector context_of(const Position& near, uint32_t v, Vector& sign) const {
    Vector sum = short_sums_[v];
    Vector trust = hn::Zero(Tag());
    if (kHasKernel) {
      const Vector left = load(near.left + v * kLanes);
      const Vector upper = load(near.upper + v * kLanes);
      sum = hn::Add(channel_sums_[v], hn::Add(hn::Abs(left), hn::Abs(upper)));
      if (grid_.predicts) {
        const Vector corner = load(near.corner + v * kLanes);
        const Vector double_upper = hn::Add(upper, upper);
        const Vector mean =
            hn::Sub(hn::Add(hn::ShiftLeft<3>(left), hn::Add(hn::ShiftLeft<1>(double_upper), double_upper)),
                    hn::Add(hn::Add(corner, corner), corner));
        sign = hn::ShiftRight<31>(mean);
        trust = hn::Min(shift_right<3>(hn::Add(hn::Abs(mean), set(4))), set(kRansTrusts - 1));
      }
    }
    const Vector magnitude = hn::Add(hn::Mul(bases_[v], set(near.base_weight)), hn::Mul(sum, set(near.sum_weight)));
    const Vector scale = hn::Sub(shift_right<22>(log_bits(magnitude)), set(kScaleOffset));
    const Vector bucket = clamp(scale, hn::Zero(Tag()), set(kRansScales - 1));
    return hn::Add(hn::ShiftLeft<3>(bucket), trust);
  }

  HWY_INLINE void update(const Position& near, uint32_t v, Vector level) {
    const hn::Rebind<Index, Tag> index_tag;
    const Vector index = hn::Add(level, set(chunk_.zero_symbol));
    hn::StoreU(hn::DemoteTo(index_tag, index), index_tag, work_.tile[tile_columns_] + v * kLanes);
    const Vector clipped =
        clamp(level, hn::Set(Tag(), -RansStatistics::kMaxMagnitude), hn::Set(Tag(), RansStatistics::kMaxMagnitude));
    const Vector magnitude = hn::Abs(clipped);
    channel_sums_[v] = hn::Add(channel_sums_[v], magnitude);
    if (kHasKernel) {
      hn::Store(clipped, Tag(), near.here + v * kLanes);
    } else {
      short_sums_[v] = hn::Add(short_sums_[v], hn::Sub(hn::ShiftLeft<4>(magnitude), shift_right<2>(short_sums_[v])));
    }
  }

  static int32_t any_negative(Vector value) { return hn::AllFalse(Tag(), hn::Lt(value, hn::Zero(Tag()))) ? 0 : -1; }

  HWY_NOINLINE void read_escapes(const Mask* escapes, Vector* levels) {
    for (uint32_t v = 0; v < kVectors; ++v) {
      int32_t* values = work_.lane_values;
      int32_t* escaped = work_.lane_flags;
      hn::Store(levels[v], Tag(), values);
      hn::Store(hn::IfThenElseZero(escapes[v], set(1)), Tag(), escaped);
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        if (escaped[lane] == 0) continue;
        const uint32_t index = words_[0] | uint32_t{words_[1]} << 8;
        words_ += 2;
        if (index >= chunk_.alphabet) outside_ = -1;
        values[lane] = static_cast<int32_t>(index) - static_cast<int32_t>(chunk_.zero_symbol);
      }
      levels[v] = load(values);
    }
  }

  // From columns side by side to rows.
  void write_tile(uint32_t first, uint32_t lanes, uint32_t written) {
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      const uint32_t line = first + lane;
      const uint32_t length = grid_.line_channels(line) * grid_.kernel;
      if (length <= written) continue;
      Index* to = out_ + grid_.first_symbol(line) + written;
      const uint32_t columns = std::min(tile_columns_, length - written);
      for (uint32_t column = 0; column < columns; ++column) to[column] = work_.tile[column][lane];
    }
    tile_columns_ = 0;
  }

  const RansTables& tables_;
  const RansGrid& grid_;
  const StreamLayout& chunk_;
  Index* out_;
  Workspace<Index>& work_;
  RansStatistics statistics_;
  Position positions_[RansGrid::kMaxKernel];
  Vector states_[kVectors], channel_sums_[kVectors], short_sums_[kVectors], bases_[kVectors];
  Mask active_[kVectors];
  const uint8_t* words_ = nullptr;
  const uint8_t* words_end_ = nullptr;
  uint32_t tile_columns_ = 0;
  int32_t outside_ = 0;  // negative once a symbol was
  bool in_tail_ = false;
};

template <typename Index, uint32_t kVectors>
Status decode_with(const RansTables& tables, const RansGrid& grid, std::span<const uint8_t> bytes,
                   const StreamLayout& chunk, Index* out, Workspace<Index>& workspace) {
  if (grid.kernel > 1) {
    return VectorDecoder<Index, kVectors, true>(tables, grid, bytes, chunk, out, workspace).decode();
  }
  return VectorDecoder<Index, kVectors, false>(tables, grid, bytes, chunk, out, workspace).decode();
}

template <typename Index>
Status decode(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
              std::span<uint8_t> scratch) {
  static_assert(sizeof(Workspace<Index>) <= kDecodeScratch);
  const RansGrid grid(chunk);
  if (bytes.size() < grid.lanes * sizeof(uint32_t)) return Status(StatusCode::kTruncated);
  auto& workspace = *new (scratch.data()) Workspace<Index>;
  constexpr uint32_t kMost = kRansLanes / kLanes;
  if (grid.lanes * 4 <= kRansLanes && kMost >= 4)
    return decode_with<Index, (kMost + 3) / 4>(tables, grid, bytes, chunk, out, workspace);
  if (grid.lanes * 2 <= kRansLanes)
    return decode_with<Index, (kMost + 1) / 2>(tables, grid, bytes, chunk, out, workspace);
  return decode_with<Index, kMost>(tables, grid, bytes, chunk, out, workspace);
}

#endif

Status decode_bytes(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, uint8_t* out,
                    std::span<uint8_t> scratch) {
  return decode(tables, bytes, chunk, out, scratch);
}

Status decode_words(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, uint16_t* out,
                    std::span<uint8_t> scratch) {
  return decode(tables, bytes, chunk, out, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::entropy
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::entropy {

QUENCH_SIMD_EXPORT(decode_bytes);
QUENCH_SIMD_EXPORT(decode_words);

template <>
Status decode_rans(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, uint8_t* out,
                   std::span<uint8_t> scratch) {
  return QUENCH_SIMD_CALL(decode_bytes)(tables, bytes, chunk, out, scratch);
}

template <>
Status decode_rans(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, uint16_t* out,
                   std::span<uint8_t> scratch) {
  return QUENCH_SIMD_CALL(decode_words)(tables, bytes, chunk, out, scratch);
}

}  // namespace quench::entropy
#endif
