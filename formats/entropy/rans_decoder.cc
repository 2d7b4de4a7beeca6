#include "formats/entropy/rans_decoder.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "formats/entropy/decoder.h"
#include "formats/entropy/rans_context.h"

// The order of these lines matters.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "formats/entropy/rans_decoder.cc"
#include "formats/base/simd_dispatch.h"
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

struct alignas(64) Workspace {
  int32_t zeros[kRansLanes];
  int32_t states[kRansLanes];
  int32_t lane_values[kRansLanes];
  int32_t lane_flags[kRansLanes];
  int32_t history[RansGrid::kMaxKernel][kRansLanes];
  int32_t tile[kTile][kRansLanes];
  uint32_t bins[RansStatistics::kMaxBins];
  uint8_t words[512];  // the last ones, with zeros behind
};
static_assert(sizeof(Workspace) <= kDecodeScratch);

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
                const StreamLayout& chunk, Index* out, Workspace& workspace)
      : tables_(tables), grid_(grid), chunk_(chunk), out_(out), work_(workspace), statistics_(grid, workspace.bins) {
    std::fill_n(work_.zeros, kRansLanes, 0);
    for (uint32_t position = 0; position < grid.kernel; ++position) describe(position);
    std::fill_n(work_.states, kRansLanes, static_cast<int32_t>(kRansLowest));
    std::memcpy(work_.states, bytes.data(), grid.lanes * sizeof(uint32_t));
    words_ = bytes.data() + grid.lanes * sizeof(uint32_t);
    words_end_ = bytes.data() + bytes.size();
  }

  Status decode() {
    for (const int32_t state : work_.states) {
      if (static_cast<uint32_t>(state) < kRansLowest) {
        return Status::error(StatusCode::kCorrupt, "a state of the rANS coder is too small");
      }
    }
    for (uint32_t first = 0; first < grid_.lines; first += grid_.lanes) {
      if (!decode_block(first, std::min(grid_.lanes, grid_.lines - first))) return Status(StatusCode::kTruncated);
    }
    if (is_outside_) {
      return Status::error(StatusCode::kCorrupt, "a symbol of the rANS stream lies outside the alphabet");
    }
    if (words_ > words_end_) return Status(StatusCode::kTruncated);
    bool finished = words_ == words_end_;
    for (const int32_t state : work_.states) finished = finished && static_cast<uint32_t>(state) == kRansLowest;
    if (!finished) return Status::error(StatusCode::kCorrupt, "the final state of the rANS coder is wrong");
    return Status();
  }

 private:
  // A column takes up to two words per lane, and a load may reach a vector further.
  static constexpr size_t kMargin = 3 * kRansLanes * sizeof(uint16_t);
  static_assert(2 * kMargin <= sizeof(Workspace::words));
  static constexpr uint32_t kPacked = sizeof(uint32_t) / sizeof(Index);
  static constexpr int kIndexBits = 8 * sizeof(Index);

  struct Position {
    const int32_t* left;
    const int32_t* upper;
    const int32_t* corner;
    int32_t* here;
    uint32_t base_weight, sum_weight;
    bool begins_row;
  };

  // What changes from column to column, kept in registers.
  struct Lanes {
    Vector state[kVectors], channel_sum[kVectors], short_sum[kVectors], base[kVectors], packed[kVectors];
    Mask active[kVectors];
    Vector outside;  // negative where a symbol was
    const uint8_t* words;
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

  // Near their end the words move to where reading further does no harm; false when they were used up before.
  HWY_NOINLINE bool move_words(const uint8_t*& words) {
    if (in_tail_ || words > words_end_) return words <= words_end_;
    const auto left = static_cast<size_t>(words_end_ - words);
    std::memset(work_.words, 0, sizeof work_.words);
    if (left > 0) std::memcpy(work_.words, words, left);
    words = work_.words;
    words_end_ = work_.words + left;
    in_tail_ = true;
    return true;
  }

  bool decode_block(uint32_t first, uint32_t lanes) {
    Lanes now;
    Vector row_sum[kVectors], line_channels[kVectors];
    for (uint32_t lane = 0; lane < kRansLanes; ++lane) {
      work_.lane_values[lane] = lane < lanes ? static_cast<int32_t>(grid_.line_channels(first + lane)) : 0;
    }
    HWY_UNROLL(8)
    for (uint32_t v = 0; v < kVectors; ++v) {
      now.state[v] = load(work_.states + v * kLanes);
      now.packed[v] = row_sum[v] = hn::Zero(Tag());
      line_channels[v] = load(work_.lane_values + v * kLanes);
    }
    now.outside = hn::Zero(Tag());
    now.words = words_;
    statistics_.begin_block();
    uint32_t columns = 0, written = 0;
    for (uint32_t channel = 0; channel < grid_.segment_channels; ++channel) {
      statistics_.begin_channel(channel);
      uint32_t active = 0;
      HWY_UNROLL(8)
      for (uint32_t v = 0; v < kVectors; ++v) {
        now.active[v] = hn::Lt(set(channel), line_channels[v]);
        active += static_cast<uint32_t>(hn::CountTrue(Tag(), now.active[v]));
        now.channel_sum[v] = hn::Zero(Tag());
        if (channel == 0) now.short_sum[v] = set(statistics_.mean64());
      }
      for (uint32_t position = 0; position < grid_.kernel; ++position) {
        if (words_end_ - now.words < static_cast<ptrdiff_t>(kMargin)) [[unlikely]] {
          const uint8_t* words = now.words;
          if (!move_words(words)) return false;
          now.words = words;
        }
        const Position& near = positions_[position];
        if (near.begins_row) estimate(position, active, row_sum, now);
        decode_column(near, now);
        store_packed(columns, now);
        if (++columns == kTile) {
          write_tile(first, lanes, written, columns);
          written += columns;
          columns = 0;
        }
      }
      HWY_UNROLL(8)
      for (uint32_t v = 0; v < kVectors; ++v) row_sum[v] = hn::Add(row_sum[v], now.channel_sum[v]);
      statistics_.end_channel(total(now.channel_sum), active);
    }
    write_tile(first, lanes, written, columns);
    statistics_.end_block(lanes);
    words_ = now.words;
    for (uint32_t v = 0; v < kVectors; ++v) hn::Store(now.state[v], Tag(), work_.states + v * kLanes);
    if (!hn::AllFalse(Tag(), hn::Lt(now.outside, hn::Zero(Tag())))) is_outside_ = true;
    return true;
  }

  static HWY_INLINE uint32_t total(const Vector* values) {
    Vector sum = values[0];
    HWY_UNROLL(8)
    for (uint32_t v = 1; v < kVectors; ++v) sum = hn::Add(sum, values[v]);
    return static_cast<uint32_t>(hn::GetLane(hn::SumOfLanes(Tag(), sum)));
  }

  HWY_INLINE void estimate(uint32_t position, uint32_t active, const Vector* row_sum, Lanes& now) const {
    const uint32_t sum = position == 0 ? 0 : total(now.channel_sum);
    const Vector scale = set(statistics_.scale_bits(position, sum, active));
    const Vector weight = set(statistics_.row_weight());
    HWY_UNROLL(8)
    for (uint32_t v = 0; v < kVectors; ++v) {
      const Vector bits = hn::Add(log_bits(hn::Add(hn::ShiftLeft<4>(row_sum[v]), weight)), scale);
      const Vector bounded = clamp(bits, set(kLowestBase), set(kHighestBase));
      now.base[v] = hn::ConvertTo(Tag(), hn::BitCast(FloatTag(), bounded));
    }
  }

  HWY_INLINE void decode_column(const Position& near, Lanes& now) {
    Vector level[kVectors];
    Mask escape[kVectors];
    const Vector low_bits = set(kRansTotal - 1);
    HWY_UNROLL(8)
    for (uint32_t v = 0; v < kVectors; ++v) {
      Vector sign = hn::Zero(Tag());
      const Vector table = table_of(near, v, now, sign);
      const Vector state = now.state[v];
      const Vector where = hn::Or(hn::ShiftLeft<kRansPrecision>(table), hn::And(state, low_bits));
      const Vector slot = hn::GatherIndex(Tag(), reinterpret_cast<const int32_t*>(tables_.slots), where);
      const Vector frequency = hn::And(shift_right<RansTables::kFrequencyShift>(slot), set(RansTables::kFieldMask));
      const Vector distance = hn::And(slot, set(RansTables::kFieldMask));
      const Vector next = hn::Add(hn::Mul(frequency, shift_right<kRansPrecision>(state)), distance);
      now.state[v] = hn::IfThenElse(now.active[v], next, state);
      const Vector token = shift_right<RansTables::kTokenShift>(slot);
      escape[v] = hn::And(now.active[v], hn::Eq(token, set(kRansEscape)));
      const Vector coded = hn::Add(token, set(static_cast<uint32_t>(tables_.first_level)));
      level[v] = hn::IfThenElseZero(now.active[v], hn::Sub(hn::Xor(coded, sign), sign));
    }
    Mask any_escape = escape[0];
    HWY_UNROLL(8)
    for (uint32_t v = 0; v < kVectors; ++v) {
      const Mask is_low = hn::Eq(shift_right<16>(now.state[v]), hn::Zero(Tag()));
      now.state[v] = take_words(now.state[v], is_low, now.words);
      any_escape = hn::Or(any_escape, escape[v]);
    }
    if (!hn::AllFalse(Tag(), any_escape)) [[unlikely]] {
      HWY_UNROLL(8)
      for (uint32_t v = 0; v < kVectors; ++v) {
        hn::Store(level[v], Tag(), work_.lane_values + v * kLanes);
        hn::Store(hn::IfThenElseZero(escape[v], set(1)), Tag(), work_.lane_flags + v * kLanes);
      }
      now.words = read_escapes(now.words);
      HWY_UNROLL(8)
      for (uint32_t v = 0; v < kVectors; ++v) level[v] = load(work_.lane_values + v * kLanes);
    }
    HWY_UNROLL(8)
    for (uint32_t v = 0; v < kVectors; ++v) update(near, v, level[v], now);
  }

  // The table for the next level of each lane; `sign` becomes -1 where that is coded negated.
  HWY_INLINE Vector table_of(const Position& near, uint32_t v, const Lanes& now, Vector& sign) const {
    Vector sum = now.short_sum[v];
    Vector trust = hn::Zero(Tag());
    if (kHasKernel) {
      const Vector left = load(near.left + v * kLanes);
      const Vector upper = load(near.upper + v * kLanes);
      sum = hn::Add(now.channel_sum[v], hn::Add(hn::Abs(left), hn::Abs(upper)));
      if (grid_.predicts) {
        const Vector corner = load(near.corner + v * kLanes);
        const Vector upper2 = hn::Add(upper, upper);
        const Vector upper6 = hn::Add(hn::ShiftLeft<1>(upper2), upper2);
        const Vector corner3 = hn::Add(hn::Add(corner, corner), corner);
        const Vector mean = hn::Sub(hn::Add(hn::ShiftLeft<3>(left), upper6), corner3);
        sign = hn::ShiftRight<31>(mean);
        trust = hn::Min(shift_right<3>(hn::Add(hn::Abs(mean), set(4))), set(kRansTrusts - 1));
      }
    }
    const Vector magnitude = hn::Add(hn::Mul(now.base[v], set(near.base_weight)), hn::Mul(sum, set(near.sum_weight)));
    const Vector scale = hn::Sub(shift_right<22>(log_bits(magnitude)), set(kScaleOffset));
    const Vector bucket = clamp(scale, hn::Zero(Tag()), set(kRansScales - 1));
#if HWY_TARGET == HWY_AVX3
    const Vector packed = hn::TableLookupLanes(load(tables_.packed_tables), hn::IndicesFromVec(Tag(), bucket));
#else
    const Vector packed = hn::GatherIndex(Tag(), tables_.packed_tables, bucket);
#endif
    const auto shifted =
        hn::Shr(hn::BitCast(UnsignedTag(), packed), hn::BitCast(UnsignedTag(), hn::ShiftLeft<2>(trust)));
    return hn::And(hn::BitCast(Tag(), shifted), set(kRansTables - 1));
  }

  HWY_INLINE void update(const Position& near, uint32_t v, Vector level, Lanes& now) const {
    const Vector index = hn::Add(level, set(chunk_.zero_symbol));
    now.outside = hn::Or(now.outside, hn::Or(index, hn::Sub(set(chunk_.alphabet - 1), index)));
    now.packed[v] = hn::Or(shift_right<kIndexBits>(now.packed[v]), hn::ShiftLeft<32 - kIndexBits>(index));
    constexpr int32_t kMost = RansStatistics::kMaxMagnitude;
    const Vector clipped = clamp(level, hn::Set(Tag(), -kMost), hn::Set(Tag(), kMost));
    const Vector magnitude = hn::Abs(clipped);
    now.channel_sum[v] = hn::Add(now.channel_sum[v], magnitude);
    if (kHasKernel) {
      hn::Store(clipped, Tag(), near.here + v * kLanes);
    } else {
      const Vector gain = hn::Sub(hn::ShiftLeft<4>(magnitude), shift_right<2>(now.short_sum[v]));
      now.short_sum[v] = hn::Add(now.short_sum[v], gain);
    }
  }

  // The escapes' indices, from work_.lane_flags to levels in work_.lane_values.
  HWY_NOINLINE const uint8_t* read_escapes(const uint8_t* words) {
    for (uint32_t lane = 0; lane < kVectors * kLanes; ++lane) {
      if (work_.lane_flags[lane] == 0) continue;
      const uint32_t index = words[0] | uint32_t{words[1]} << 8;
      words += 2;
      work_.lane_values[lane] = static_cast<int32_t>(index) - static_cast<int32_t>(chunk_.zero_symbol);
    }
    return words;
  }

  HWY_INLINE void store_packed(uint32_t column, const Lanes& now) {
    HWY_UNROLL(8)
    for (uint32_t v = 0; v < kVectors; ++v) hn::Store(now.packed[v], Tag(), work_.tile[column / kPacked] + v * kLanes);
  }

  // From columns side by side to rows; kPacked columns share a number.
  void write_tile(uint32_t first, uint32_t lanes, uint32_t written, uint32_t columns) {
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      const uint32_t line = first + lane;
      const uint32_t length = grid_.line_channels(line) * grid_.kernel;
      if (length <= written) continue;
      Index* to = out_ + grid_.first_symbol(line) + written;
      const uint32_t count = std::min(columns, length - written);
      for (uint32_t group = 0; group < count / kPacked; ++group) {
        std::memcpy(to + group * kPacked, &work_.tile[group][lane], sizeof(uint32_t));
      }
      const uint32_t rest = count % kPacked;
      if (rest == 0) continue;
      const uint32_t group = count / kPacked;
      // A group that was not filled up holds its columns in the highest bits.
      const uint32_t filled = std::min(columns - group * kPacked, kPacked);
      const uint32_t packed = static_cast<uint32_t>(work_.tile[group][lane]) >> (kPacked - filled) * kIndexBits;
      std::memcpy(to + group * kPacked, &packed, rest * sizeof(Index));
    }
  }

  const RansTables& tables_;
  const RansGrid& grid_;
  const StreamLayout& chunk_;
  Index* out_;
  Workspace& work_;
  RansStatistics statistics_;
  Position positions_[RansGrid::kMaxKernel];
  const uint8_t* words_ = nullptr;
  const uint8_t* words_end_ = nullptr;
  bool is_outside_ = false;
  bool in_tail_ = false;
};

template <typename Index, uint32_t kVectors>
Status decode_with(const RansTables& tables, const RansGrid& grid, std::span<const uint8_t> bytes,
                   const StreamLayout& chunk, Index* out, Workspace& workspace) {
  if (grid.kernel > 1) {
    return VectorDecoder<Index, kVectors, true>(tables, grid, bytes, chunk, out, workspace).decode();
  }
  return VectorDecoder<Index, kVectors, false>(tables, grid, bytes, chunk, out, workspace).decode();
}

template <typename Index>
Status decode(const RansTables& tables, std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
              std::span<uint8_t> scratch) {
  const RansGrid grid(chunk);
  if (bytes.size() < grid.lanes * sizeof(uint32_t)) return Status(StatusCode::kTruncated);
  auto& workspace = *new (scratch.data()) Workspace;
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
