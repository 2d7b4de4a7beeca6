// What the arithmetic coder knows of a level before it is coded: how large it is likely to be, and of which sign.
//
// Scale. Weights are about Laplace distributed, with a scale that is near a product of one factor per row (filter) and
// one per channel. Both are estimated from the magnitudes coded so far, and the neighbours' magnitudes are blended in.
// Sign. Neighbouring weights of a convolution kernel are strongly correlated. A linear predictor over the previous
// eight levels of the same kernel, one set of coefficients per position in the kernel, adapts by a sign-normalised LMS
// rule (Widrow and Hoff) and says which sign is likely and how surely.
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
  static constexpr uint32_t kTaps = 8;

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

  LevelContext(const StreamLayout& chunk, Memory& memory) : memory_(memory) {
    rows_ = chunk.rows;
    kernel_ = static_cast<uint32_t>(chunk.inner <= kMaxKernel ? chunk.inner : 1);
    channels_ = chunk.inner <= kMaxKernel ? chunk.channels : chunk.channels * chunk.inner;
    while ((channels_ - 1) >> channel_shift_ >= kMaxChannelBins) ++channel_shift_;
    std::memset(memory_.channel_sums, 0, (((channels_ - 1) >> channel_shift_) + 1) * sizeof(uint32_t));
    width_ = kernel_width(kernel_);
    find_neighbours();
    predicts_ = kernel_ > 1 && chunk.zero_symbol != 0;
    if (predicts_) start_coefficients();
  }

  uint64_t rows() const { return rows_; }
  uint64_t channels() const { return channels_; }
  uint32_t kernel() const { return kernel_; }
  bool predicts() const { return predicts_; }

  void begin_row() {
    const uint64_t seen = rows_seen_ * row_length();
    global_ = static_cast<uint32_t>((total_ * 256 + kPrior * 256) / (seen + kPrior)) + kFloor;
    inverse_global_ = (uint64_t{1} << 24) / global_;
    const uint64_t channel_seen = (rows_seen_ * kernel_) << channel_shift_;
    inverse_channel_ = (uint64_t{1} << 32) / (channel_seen + kPrior);
    // Coefficients move by about rate * error * level / scale^2.
    const int64_t inverse = static_cast<int64_t>(inverse_global_);
    error_gain_ = static_cast<int32_t>(std::min<int64_t>(inverse * inverse >> 15, 1 << 24));
    row_sum_ = 0;
    row_count_ = 0;
    row_scale_ = global_;
    short_sum_ = (global_ - kFloor) * 2;
  }

  void begin_channel(uint64_t channel) {
    channel_sum_ = &memory_.channel_sums[channel >> channel_shift_];
    if (kernel_ > 1 || (channel & 7) == 0) {
      row_scale_ = (row_sum_ * 256 + (global_ - kFloor) * kPrior) / (row_count_ + kPrior) + kFloor;
    }
    const uint64_t sum = uint64_t{*channel_sum_} * 256 + uint64_t{global_ - kFloor} * kPrior;
    const uint64_t channel_scale = (sum * inverse_channel_ >> 32) + kFloor;
    base_ = static_cast<uint32_t>(std::min<uint64_t>(row_scale_ * channel_scale * inverse_global_ >> 24, 1 << 18));
    if (kernel_ > 1) {
      kernel_sum_ = 0;
      std::memset(history_, 0, kTaps * sizeof history_[0]);
    }
  }

  Prediction predict(uint32_t position) {
    Prediction prediction;
    prediction.scale = scale_bucket(position);
    prediction.trust = 0;
    prediction.sign = 0;
    if (predicts_ && position != 0) {
      mean_ = predicted_mean(position);
      prediction.sign = mean_ >> 31;
      prediction.trust = trust_bucket(static_cast<uint32_t>((mean_ ^ prediction.sign) - prediction.sign));
    }
    return prediction;
  }

  void update(uint32_t position, int32_t level) {
    const uint32_t magnitude = std::min<uint32_t>(static_cast<uint32_t>(level < 0 ? -level : level), kMaxMagnitude);
    row_sum_ += magnitude;
    ++row_count_;
    if (row_count_ >= kRowMemory) {
      row_sum_ >>= 1;
      row_count_ >>= 1;
    }
    *channel_sum_ += magnitude;
    if (kernel_ == 1) {
      short_sum_ = short_sum_ - (short_sum_ >> 2) + (magnitude << 7);
      return;
    }
    if (predicts_ && position != 0) adapt(position, level);
    kernel_sum_ += magnitude;
    magnitudes_[1 + position] = static_cast<uint8_t>(magnitude);
    history_[kTaps + position] = static_cast<int16_t>(std::clamp<int32_t>(level, -kMaxTap, kMaxTap));
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
  static constexpr uint32_t kMaxMagnitude = 255;
  static constexpr int32_t kMaxTap = 127;
  static constexpr int64_t kMaxGain = 127;
  static constexpr uint32_t kBlend = 308;  // the neighbours' share of the scale, of 1024

  // Of a position in the kernel: where its neighbours' magnitudes are (0 where there is none), and how they count.
  struct Neighbours {
    uint8_t left;
    uint8_t upper;
    uint32_t base_weight;  // Q10
    uint32_t sum_weight;   // Q10 of a Q8 scale
  };

  uint64_t row_length() const { return channels_ * kernel_; }

  // Kernels are taken for square where their size allows it.
  static uint32_t kernel_width(uint32_t kernel) {
    for (uint32_t width = 2; width * width <= kernel; ++width) {
      if (width * width == kernel) return width;
    }
    return kernel;
  }

  void find_neighbours() {
    for (uint32_t position = 0; position < kernel_; ++position) {
      const bool has_left = position % width_ != 0;
      const bool has_upper = position >= width_;
      Neighbours& near = neighbours_[position];
      near.left = static_cast<uint8_t>(has_left ? position : 0);
      near.upper = static_cast<uint8_t>(has_upper ? position + 1 - width_ : 0);
      const uint32_t known = position + (has_left ? 1 : 0) + (has_upper ? 1 : 0) + 2;
      near.sum_weight = kBlend * 256 / known;
      near.base_weight = 1024 - kBlend + 2 * kBlend / known;
    }
  }

  void start_coefficients() {
    std::memset(memory_.coefficients, 0, kernel_ * sizeof memory_.coefficients[0]);
    const auto set = [&](uint32_t position, uint32_t distance, int16_t value) {
      if (distance <= kTaps) memory_.coefficients[position][kTaps - distance] = value;
    };
    for (uint32_t position = 0; position < kernel_; ++position) {
      const bool has_left = position % width_ != 0;
      const bool has_upper = position >= width_;
      if (has_left) set(position, 1, 8192);
      if (has_upper) set(position, width_, 6554);
      if (has_left && has_upper) set(position, width_ + 1, -3277);
    }
  }

  int32_t predicted_mean(uint32_t position) const {  // Q14
    int32_t mean = 0;
    for (uint32_t tap = 0; tap < kTaps; ++tap) {
      mean += int32_t{memory_.coefficients[position][tap]} * int32_t{history_[position + tap]};
    }
    return mean;
  }

  void adapt(uint32_t position, int32_t level) {
    const int32_t error = std::clamp<int32_t>(level, -kMaxMagnitude, kMaxMagnitude) * 16 - (mean_ >> 10);
    const int64_t step = int64_t{error} * error_gain_ >> 16;
    const auto gain = static_cast<uint16_t>(std::clamp<int64_t>(step, -kMaxGain, kMaxGain));
    for (uint32_t tap = 0; tap < kTaps; ++tap) {
      // Wraps where a hostile stream drives a coefficient beyond 2; the sender wraps alike.
      auto& coefficient = memory_.coefficients[position][tap];
      coefficient = static_cast<int16_t>(
          static_cast<uint16_t>(coefficient + uint32_t{gain} * static_cast<uint16_t>(history_[position + tap])));
    }
  }

  uint32_t scale_bucket(uint32_t position) const {
    uint32_t scale;
    if (kernel_ == 1) {
      scale = (base_ * 11 + short_sum_ * 5 / 2) >> 4;  // short_sum_ is four times a Q7 mean
    } else {
      const Neighbours& near = neighbours_[position];
      const uint32_t sum = kernel_sum_ + magnitudes_[near.left] + magnitudes_[near.upper];
      scale = (base_ * near.base_weight + sum * near.sum_weight) >> 10;
    }
    const uint32_t bits = static_cast<uint32_t>(std::bit_width(scale | 8));
    const uint32_t half = (scale >> (bits - 2)) & 1;
    return std::clamp<int32_t>(static_cast<int32_t>(2 * bits + half) - 11, 0, kScaleBuckets - 1);
  }
  static uint32_t trust_bucket(uint32_t mean) { return std::min<uint32_t>((mean + 4096) >> 13, kTrustBuckets - 1); }

  Memory& memory_;
  uint64_t rows_ = 0, channels_ = 0, rows_seen_ = 0, total_ = 0;
  uint64_t inverse_global_ = 0, inverse_channel_ = 0;
  uint32_t channel_shift_ = 0, kernel_ = 1, width_ = 1;
  uint32_t global_ = 0, row_sum_ = 0, row_count_ = 0, row_scale_ = 0, base_ = 0, kernel_sum_ = 0, short_sum_ = 0;
  uint32_t* channel_sum_ = nullptr;
  int32_t error_gain_ = 0, mean_ = 0;
  bool predicts_ = false;
  int16_t history_[kTaps + kMaxKernel] = {};
  uint8_t magnitudes_[1 + kMaxKernel] = {};  // [0] stays 0
  Neighbours neighbours_[kMaxKernel];
};

}  // namespace quench::entropy
