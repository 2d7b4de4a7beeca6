// Which lane of the rANS coder codes which part of a chunk, and the context of each level.
//
// The context is a bucket of the level's likely magnitude and one of how surely its sign is known. The likely magnitude
// is the product of the row's and the channel's running means over the chunk's, blended with the neighbours'
// magnitudes; the sign comes from the left, upper and upper left neighbours in a convolution kernel. In contrast to
// level_context.h all lanes run in step, so that the formulas work on vectors: logarithms are the bits of
// floating-point numbers, which every IEEE 754 machine converts alike.
//
// This is the plain version: the encoder, the fit and the reference decoder use it. rans_decoder.cc has it in vectors.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "formats/entropy/coder.h"
#include "formats/entropy/rans_model.h"

namespace quench::entropy {

// How a chunk is spread over lanes. Each lane takes a row at a time; rows of a chunk with few of them are first cut
// into segments, which then count as rows.
struct RansGrid {
  uint32_t lanes;
  uint32_t lines;     // rows times segments
  uint32_t segments;  // per row
  uint32_t channels;  // per row of the chunk
  uint32_t segment_channels;
  uint32_t kernel;
  uint32_t width;  // of the kernel
  bool predicts;   // signs

  static constexpr uint32_t kMaxKernel = 64;  // a longer inner dimension is no kernel
  static constexpr uint32_t kMinSegment = 128;

  explicit RansGrid(const StreamLayout& chunk) {
    const bool has_kernel = chunk.inner <= kMaxKernel;
    const auto rows = static_cast<uint32_t>(chunk.rows);
    kernel = static_cast<uint32_t>(has_kernel ? chunk.inner : 1);
    channels = static_cast<uint32_t>(has_kernel ? chunk.channels : chunk.channels * chunk.inner);
    width = kernel;
    for (uint32_t side = 2; side * side <= kernel; ++side) {
      if (side * side == kernel) width = side;
    }
    predicts = kernel > 1 && chunk.zero_symbol != 0;

    const uint64_t symbols = chunk.symbols();
    const uint32_t wanted = symbols >= 16384 ? kRansLanes : symbols >= 4096 ? 16 : 8;
    segments = std::clamp((wanted + rows - 1) / rows, 1u, std::max(1u, channels / kMinSegment));
    segment_channels = (channels + segments - 1) / segments;
    segments = (channels + segment_channels - 1) / segment_channels;
    lines = rows * segments;
    lanes = std::min(wanted, lines);
  }

  // Of a line: its first symbol in the chunk, and its channels.
  uint32_t first_symbol(uint32_t line) const {
    return (line / segments * channels + line % segments * segment_channels) * kernel;
  }
  uint32_t line_channels(uint32_t line) const {
    return std::min(segment_channels, channels - line % segments * segment_channels);
  }
};

// What the plain and the vector version have in common: everything that is not per lane.
class RansStatistics {
 public:
  static constexpr uint32_t kMaxBins = 4096;
  static constexpr uint32_t kPrior = 8;  // the weight of what is assumed, in symbols
  static constexpr int32_t kMaxMagnitude = 127;
  static constexpr uint32_t kBlend = 19;  // the neighbours' share of the magnitude, of 64
  static constexpr uint32_t kBlendBase = 64 - kBlend;

  RansStatistics(const RansGrid& grid, uint32_t* bins) : grid_(grid), bins_(bins) {
    while ((grid.segment_channels - 1) >> shift_ >= kMaxBins) ++shift_;
    std::memset(bins, 0, (((grid.segment_channels - 1) >> shift_) + 1) * sizeof(uint32_t));
  }

  void begin_block() { row_count_ = 0; }

  void begin_channel(uint32_t channel) {
    bin_ = &bins_[channel >> shift_];
    if (grid_.kernel > 1 || channel % 8 == 0)
      mean_ = static_cast<uint32_t>((total_ + kPrior) * 16 / (count_ + kPrior)) + 1;
  }

  void end_channel(uint32_t sum, uint32_t active) {
    *bin_ += sum;
    total_ += sum;
    count_ += active * grid_.kernel;
    row_count_ += grid_.kernel;
  }

  void end_block(uint32_t lanes) { rows_seen_ += lanes; }

  // What is added to the bits of row_weight() + 16 * (a row's sum) to get those of the likely magnitude in 1/64.
  // `sum` is the channel's over all lanes before `position`.
  uint32_t scale_bits(uint32_t position, uint32_t sum, uint32_t active) const {
    uint32_t magnitudes = mean_ * kPrior;
    uint32_t count = kPrior;
    if (grid_.segments == 1) {
      magnitudes += (*bin_ + sum) * 16;
      count += ((rows_seen_ * grid_.kernel) << shift_) + position * active;
    }
    magnitudes += count / 2;
    // Each logarithm comes with the exponent's bias; one must remain in the sum of a product.
    return bits(magnitudes) - bits(count) - bits(mean_) - bits(row_count_ + kPrior) + bits(4) + bits(1);
  }
  uint32_t row_weight() const { return mean_ * kPrior + (row_count_ + kPrior) / 2; }
  uint32_t mean64() const { return (mean_ - 1) * 4; }

  // The bits of a number as IEEE 754 single precision: about its logarithm.
  static uint32_t bits(uint32_t value) {
    return std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(value)));
  }

 private:
  const RansGrid& grid_;
  uint32_t* bins_;
  uint32_t* bin_ = nullptr;
  uint32_t shift_ = 0;
  uint64_t total_ = 0, count_ = 0;
  uint32_t rows_seen_ = 0, row_count_ = 0, mean_ = 17;
};

// How a position's neighbours count.
struct RansPosition {
  bool has_left, has_upper;
  uint32_t base_weight, sum_weight;  // of sums of magnitudes, to get 1/4096

  RansPosition(const RansGrid& grid, uint32_t position) {
    has_left = position % grid.width != 0;
    has_upper = position >= grid.width;
    const uint32_t known = position + (has_left ? 1 : 0) + (has_upper ? 1 : 0) + 2;
    sum_weight = RansStatistics::kBlend * 64 / known;
    base_weight = RansStatistics::kBlendBase + 2 * RansStatistics::kBlend / known;
    if (grid.kernel == 1) {
      sum_weight = RansStatistics::kBlend;
      base_weight = RansStatistics::kBlendBase;
    }
  }
};

inline constexpr uint32_t kLowestBase = 0x3f800000;         // the bits of 1
inline constexpr uint32_t kHighestBase = 0x48000000;        // of 2^17
inline constexpr uint32_t kScaleOffset = 0x44000000 >> 22;  // of 512: bucket 0 is below about 1/8

class RansContext {
 public:
  struct Memory {
    uint32_t bins[RansStatistics::kMaxBins];
    int32_t history[RansGrid::kMaxKernel][kRansLanes];
  };

  RansContext(const RansGrid& grid, Memory& memory) : grid_(grid), memory_(memory), statistics_(grid, memory.bins) {}

  void begin_block(uint32_t lanes) {
    lanes_ = lanes;
    statistics_.begin_block();
    std::fill_n(row_sum_, kRansLanes, 0);
  }

  void begin_channel(uint32_t channel, uint32_t active) {
    statistics_.begin_channel(channel);
    if (channel == 0) std::fill_n(short_sum_, kRansLanes, statistics_.mean64());
    std::fill_n(channel_sum_, kRansLanes, 0);
    active_ = active;
  }

  // Before the levels of all lanes at `position`.
  void begin_position(uint32_t position) {
    if (position % grid_.width != 0) return;
    uint32_t sum = 0;
    for (uint32_t lane = 0; lane < lanes_; ++lane) sum += channel_sum_[lane];
    const uint32_t scale = statistics_.scale_bits(position, sum, active_);
    for (uint32_t lane = 0; lane < lanes_; ++lane) {
      const uint32_t bits = RansStatistics::bits(row_sum_[lane] * 16 + statistics_.row_weight()) + scale;
      const auto clamped =
          std::clamp(static_cast<int32_t>(bits), static_cast<int32_t>(kLowestBase), static_cast<int32_t>(kHighestBase));
      base_[lane] = static_cast<uint32_t>(std::bit_cast<float>(clamped));
    }
  }

  // The context of a lane's level; `sign` becomes -1 where the level is coded negated, otherwise 0.
  uint32_t context(uint32_t lane, uint32_t position, int32_t& sign) const {
    const RansPosition near(grid_, position);
    const int32_t left = near.has_left ? memory_.history[position - 1][lane] : 0;
    const int32_t upper = near.has_upper ? memory_.history[position - grid_.width][lane] : 0;
    const int32_t corner = near.has_left && near.has_upper ? memory_.history[position - grid_.width - 1][lane] : 0;
    const uint32_t sum = grid_.kernel == 1 ? short_sum_[lane] : channel_sum_[lane] + magnitude(left) + magnitude(upper);
    const uint32_t scale = RansStatistics::bits(base_[lane] * near.base_weight + sum * near.sum_weight) >> 22;
    const int32_t bucket = std::clamp<int32_t>(static_cast<int32_t>(scale - kScaleOffset), 0, kRansScales - 1);
    const int32_t mean = grid_.predicts ? 8 * left + 6 * upper - 3 * corner : 0;
    sign = mean >> 31;
    const uint32_t trust = std::min<uint32_t>((magnitude(mean) + 4) >> 3, kRansTrusts - 1);
    return static_cast<uint32_t>(bucket) * kRansTrusts + trust;
  }

  void update(uint32_t lane, uint32_t position, int32_t level) {
    const int32_t clipped = std::clamp(level, -RansStatistics::kMaxMagnitude, RansStatistics::kMaxMagnitude);
    memory_.history[position][lane] = clipped;
    channel_sum_[lane] += magnitude(clipped);
    short_sum_[lane] += (magnitude(clipped) << 4) - (short_sum_[lane] >> 2);
  }

  void end_channel() {
    uint32_t sum = 0;
    for (uint32_t lane = 0; lane < lanes_; ++lane) {
      sum += channel_sum_[lane];
      row_sum_[lane] += channel_sum_[lane];
    }
    statistics_.end_channel(sum, active_);
  }

  void end_block() { statistics_.end_block(lanes_); }

 private:
  static uint32_t magnitude(int32_t value) { return static_cast<uint32_t>(value < 0 ? -value : value); }

  const RansGrid& grid_;
  Memory& memory_;
  RansStatistics statistics_;
  uint32_t lanes_ = 0, active_ = 0;
  uint32_t row_sum_[kRansLanes] = {}, channel_sum_[kRansLanes] = {}, short_sum_[kRansLanes] = {},
           base_[kRansLanes] = {};
};

// Calls visit(line, symbol, lane, position) for each symbol in coding order, and end_of_column(position) behind the
// lanes of a column, with the context kept up to date: visit returns the level. False from end_of_column ends the walk.
template <typename Visit, typename EndOfColumn>
bool walk_rans(const RansGrid& grid, RansContext& context, Visit&& visit, EndOfColumn&& end_of_column) {
  for (uint32_t first = 0; first < grid.lines; first += grid.lanes) {
    const uint32_t lanes = std::min(grid.lanes, grid.lines - first);
    context.begin_block(lanes);
    for (uint32_t channel = 0; channel < grid.segment_channels; ++channel) {
      bool is_active[kRansLanes];
      uint32_t active = 0;
      for (uint32_t lane = 0; lane < lanes; ++lane) {
        is_active[lane] = channel < grid.line_channels(first + lane);
        active += is_active[lane] ? 1 : 0;
      }
      context.begin_channel(channel, active);
      for (uint32_t position = 0; position < grid.kernel; ++position) {
        context.begin_position(position);
        int32_t levels[kRansLanes] = {};
        for (uint32_t lane = 0; lane < lanes; ++lane) {
          if (!is_active[lane]) continue;
          int32_t sign;
          const uint32_t which = context.context(lane, position, sign);
          levels[lane] = visit(lane, grid.first_symbol(first + lane) + channel * grid.kernel + position, which, sign);
        }
        if (!end_of_column(levels)) return false;
        for (uint32_t lane = 0; lane < lanes; ++lane) {
          if (is_active[lane]) context.update(lane, position, levels[lane]);
        }
      }
      context.end_channel();
    }
    context.end_block();
  }
  return true;
}

}  // namespace quench::entropy
