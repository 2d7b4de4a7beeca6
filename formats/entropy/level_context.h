// What the arithmetic coder knows of a level before it is coded: how large it is likely to be, and of which sign.
//
// Scale. Weights are about Laplace distributed, with a scale that is near a product of one factor per row (filter) and
// one per channel. Both are estimated from the magnitudes coded so far, and the neighbours' magnitudes are blended in.
// Sign. Neighbouring weights of a convolution kernel are strongly correlated. A linear predictor over the left, upper
// right, upper and upper left neighbours (the last four levels where the kernel is not square), one set of coefficients
// per position in the kernel, adapts by an LMS rule (Widrow and Hoff) and says which sign is likely and how surely.
//
// Integers only, and every operation is defined for every input: encoder and decoder agree on any machine, whatever the
// bytes say.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "formats/entropy/coder.h"

namespace quench::entropy {

inline constexpr uint32_t kScaleBuckets = 16;
inline constexpr uint32_t kTrustBuckets = 8;

class LevelContext {
 public:
  static constexpr uint32_t kMaxChannelBins = 4096;
  static constexpr uint32_t kMaxKernel = 64;  // a longer inner dimension is no kernel
  static constexpr uint32_t kTaps = 4;

  struct Memory {
    uint32_t channel_sums[kMaxChannelBins];
    int16_t coefficients[kMaxKernel][kTaps];  // of Q14
  };

  // What is known about the next level.
  struct Prediction {
    uint32_t scale;  // below kScaleBuckets; half an octave each
    uint32_t trust;  // below kTrustBuckets; 0: nothing is known about the sign
    int32_t sign;    // -1 when a negative level is likely, otherwise 0
  };

  // What there is to know: nothing but magnitudes where no kernel or no sign is.
  enum class Kind { kNoKernel, kUnsignedKernel, kSignedKernel };
  static Kind kind(const StreamLayout& chunk) {
    if (chunk.inner <= 1 || chunk.inner > kMaxKernel) return Kind::kNoKernel;
    return chunk.zero_symbol != 0 ? Kind::kSignedKernel : Kind::kUnsignedKernel;
  }

  LevelContext(const StreamLayout& chunk, Memory& memory) : memory_(memory) {
    rows_ = chunk.rows;
    kernel_ = static_cast<uint32_t>(chunk.inner <= kMaxKernel ? chunk.inner : 1);
    channels_ = chunk.inner <= kMaxKernel ? chunk.channels : chunk.channels * chunk.inner;
    while ((channels_ - 1) >> channel_shift_ >= kMaxChannelBins) ++channel_shift_;
    std::memset(memory_.channel_sums, 0, (((channels_ - 1) >> channel_shift_) + 1) * sizeof(uint32_t));
    describe_kernel();
  }

  uint64_t rows() const { return rows_; }
  uint64_t channels() const { return channels_; }
  uint32_t kernel() const { return kernel_; }

  void begin_row() {
    const uint64_t seen = rows_seen_ * channels_ * kernel_;
    global_ = static_cast<uint32_t>((total_ * 256 + kPrior * 256) / (seen + kPrior)) + kFloor;
    inverse_global_ = (uint64_t{1} << 24) / global_;
    const uint64_t channel_seen = (rows_seen_ * kernel_) << channel_shift_;
    inverse_channel_ = (uint64_t{1} << 32) / (channel_seen + kPrior);
    // Coefficients move by about error * level / (500 scale^2).
    const auto inverse = static_cast<int64_t>(inverse_global_);
    error_gain_ = static_cast<int32_t>(std::min<int64_t>(inverse * inverse >> 15, 1 << 24));
    row_sum_ = 0;
    row_count_ = 0;
    row_scale_ = global_;
    short_sum_ = (global_ - kFloor) * 2;
  }

  [[gnu::always_inline]] void begin_channel(uint64_t channel) {
    channel_sum_ = &memory_.channel_sums[channel >> channel_shift_];
    if (kernel_ > 1 || channel % 8 == 0) {
      row_scale_ = (row_sum_ * 256 + (global_ - kFloor) * kPrior) / (row_count_ + kPrior) + kFloor;
    }
    const uint64_t sum = uint64_t{*channel_sum_} * 256 + uint64_t{global_ - kFloor} * kPrior;
    const uint64_t channel_scale = (sum * inverse_channel_ >> 32) + kFloor;
    base_ = static_cast<uint32_t>(std::min<uint64_t>(row_scale_ * channel_scale * inverse_global_ >> 24, kHighestBase));
    kernel_sum_ = 0;
  }

  // kKind: that of the chunk.
  template <Kind kKind>
  [[gnu::always_inline]] Prediction predict(uint32_t position) {
    Prediction prediction{0, 0, 0};
    if constexpr (kKind == Kind::kNoKernel) {
      prediction.scale = scale_bucket((base_ * 11 + short_sum_ * 5 / 2) >> 4);  // short_sum_ is four times a Q7 mean
      return prediction;
    }
    const Position& near = positions_[position];
    const int32_t* const end = history_ + kPadding + position;
    const uint32_t left = magnitude(end[-1]) & near.left_mask;
    const uint32_t upper = magnitude(end[-distances_[2]]) & near.upper_mask;
    prediction.scale = scale_bucket((base_ * near.base_weight + (kernel_sum_ + left + upper) * near.sum_weight) >> 10);
    if constexpr (kKind == Kind::kSignedKernel) {
      mean_ = 0;
      for (uint32_t tap = 0; tap < kTaps; ++tap) {
        taps_[tap] = end[-distances_[tap]];
        mean_ += memory_.coefficients[position][tap] * taps_[tap];
      }
      prediction.sign = mean_ >> 31;
      prediction.trust = std::min((magnitude(mean_) + 4096) >> 13, kTrustBuckets - 1);
    }
    return prediction;
  }

  template <Kind kKind>
  [[gnu::always_inline]] void update(uint32_t position, int32_t level) {
    const int32_t clipped = std::clamp(level, -kMaxMagnitude, kMaxMagnitude);
    kernel_sum_ += magnitude(clipped);
    if constexpr (kKind == Kind::kNoKernel) {
      short_sum_ = short_sum_ - (short_sum_ >> 2) + (magnitude(clipped) << 7);
      return;
    }
    history_[kPadding + position] = clipped;
    if constexpr (kKind == Kind::kSignedKernel) {
      const int64_t error = int64_t{clipped * 16 - (mean_ >> 10)} * error_gain_ >> 16;
      const auto gain = static_cast<uint32_t>(std::clamp<int64_t>(error, -kMaxMagnitude, kMaxMagnitude));
      for (uint32_t tap = 0; tap < kTaps; ++tap) {
        // Wraps where a hostile stream drives a coefficient beyond 2, at both ends alike.
        int16_t& coefficient = memory_.coefficients[position][tap];
        const uint32_t moved = static_cast<uint16_t>(coefficient) + gain * static_cast<uint32_t>(taps_[tap]);
        coefficient = static_cast<int16_t>(static_cast<uint16_t>(moved));
      }
    }
  }

  [[gnu::always_inline]] void end_channel() {
    *channel_sum_ += kernel_sum_;
    row_sum_ += kernel_sum_;
    row_count_ += kernel_;
    if (row_count_ >= kRowMemory) {
      row_sum_ >>= 1;
      row_count_ >>= 1;
    }
  }

  void end_row() {
    ++rows_seen_;
    total_ = 0;
    const uint64_t bins = ((channels_ - 1) >> channel_shift_) + 1;
    for (uint64_t bin = 0; bin < bins; ++bin) total_ += memory_.channel_sums[bin];
  }

 private:
  static constexpr uint32_t kPrior = 8;  // the weight of what is assumed, in symbols
  static constexpr uint32_t kFloor = 8;  // keeps scales (Q8) away from 0
  static constexpr uint32_t kRowMemory = 4096;
  static constexpr uint32_t kHighestBase = 1 << 18;
  static constexpr int32_t kMaxMagnitude = 127;
  static constexpr uint32_t kBlend = 308;  // the neighbours' share of the scale, of 1024
  static constexpr uint32_t kPadding = 16;

  struct Position {
    uint32_t left_mask, upper_mask;    // all ones where there is such a neighbour
    uint32_t base_weight, sum_weight;  // Q10, and Q10 of a Q8 scale
  };

  static uint32_t magnitude(int32_t value) { return static_cast<uint32_t>(value < 0 ? -value : value); }

  static uint32_t scale_bucket(uint32_t scale) {  // Q8; bucket 0 is below 1/8
    const auto bits = static_cast<uint32_t>(std::bit_width(scale | 8));
    const uint32_t half = scale >> (bits - 2) & 1;
    return static_cast<uint32_t>(std::clamp<int32_t>(static_cast<int32_t>(2 * bits + half) - 11, 0, kScaleBuckets - 1));
  }

  // Kernels are taken for square where their size allows it.
  void describe_kernel() {
    uint32_t width = kernel_;
    for (uint32_t side = 2; side * side <= kernel_; ++side) {
      if (side * side == kernel_) width = side;
    }
    const bool is_square = width < kernel_;
    for (uint32_t tap = 0; tap < kTaps; ++tap) {
      distances_[tap] = static_cast<int32_t>(is_square && tap > 0 ? width + tap - 2 : tap + 1);
    }
    for (uint32_t position = 0; position < kernel_; ++position) {
      const bool has_left = position % width != 0;
      const bool has_upper = position >= width;
      Position& near = positions_[position];
      near.left_mask = has_left ? ~0u : 0u;
      near.upper_mask = has_upper ? ~0u : 0u;
      const uint32_t known = position + (has_left ? 1 : 0) + (has_upper ? 1 : 0) + 2;
      near.sum_weight = kBlend * 256 / known;
      near.base_weight = 1024 - kBlend + 2 * kBlend / known;
      int16_t* coefficients = memory_.coefficients[position];
      coefficients[0] = has_left ? 8192 : 0;
      coefficients[1] = 0;
      coefficients[2] = has_upper ? 6554 : 0;
      coefficients[3] = has_left && has_upper ? -3277 : 0;
    }
  }

  Memory& memory_;
  uint64_t rows_ = 0, channels_ = 0, rows_seen_ = 0, total_ = 0;
  uint64_t inverse_global_ = 0, inverse_channel_ = 0;
  uint32_t channel_shift_ = 0, kernel_ = 1;
  uint32_t global_ = 0, row_sum_ = 0, row_count_ = 0, row_scale_ = 0, base_ = 0, kernel_sum_ = 0, short_sum_ = 0;
  uint32_t* channel_sum_ = nullptr;
  int32_t error_gain_ = 0, mean_ = 0;
  int32_t distances_[kTaps], taps_[kTaps] = {};
  int32_t history_[kPadding + kMaxKernel] = {};  // the padding stays 0
  Position positions_[kMaxKernel];
};

}  // namespace quench::entropy
