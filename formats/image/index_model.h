// What the two ends of the index coder share: how a symbol falls into decisions, what they are conditioned on, and how
// their probabilities are mixed. QIM.md says the same in words.
//
// A tile's indices are coded channel by channel, each in rows. An index is a walk through a fixed tree of levels - 1
// decisions, away from the index that stands for zero. The probability of a decision is mixed from estimates, each of
// which has seen the decisions under one context of the neighbours that are known (logistic mixing: Mahoney 2005). All
// arithmetic is in integers.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "formats/base/status.h"
#include "formats/image/logistic.h"

namespace quench::image {

inline constexpr uint32_t kMinLevels = 2;
inline constexpr uint32_t kMaxLevels = 16;
inline constexpr uint32_t kMaxChannels = 256;
inline constexpr uint32_t kTileSide = 128;      // latents
inline constexpr uint32_t kPriorContexts = 16;  // activities that the prior tells apart

// The indices of one tile: channels x height x width, row-major, each below `levels`.
struct IndexLayout {
  uint32_t channels = 0;           // 1 .. kMaxChannels
  uint32_t levels = 0;             // kMinLevels .. kMaxLevels
  uint32_t zero = 0;               // the index that stands for nothing, below `levels`
  uint32_t height = 0, width = 0;  // 1 .. kTileSide

  size_t symbols() const { return size_t{channels} * height * width; }
  size_t channel_prior() const { return size_t{kPriorContexts} * (levels - 1); }
  size_t prior_size() const { return channels * channel_prior(); }
};

Status check_index_layout(const IndexLayout& layout);

// Which decisions make an index. Node 0: is it zero? Then, where zero has indices on both sides, node 1: is it above?
// Then outward one by one, each side with nodes of its own: is it this one? The last of a side needs no asking.
class IndexTree {
 public:
  IndexTree(uint32_t levels, uint32_t zero)
      : zero_(static_cast<int32_t>(zero)), above_(levels - 1 - zero), below_(zero) {}

  // Calls decide(node, bit) for each decision until the index is known, and returns that. `bit` is how the decision falls
  // if `index` is the one; decide() returns how it does fall: a decoder ignores the argument.
  template <typename Decide>
  uint8_t walk(uint8_t index, Decide&& decide) const {
    const int32_t level = index - zero_;
    if (decide(0, level == 0)) return static_cast<uint8_t>(zero_);
    const bool two_sides = above_ > 0 && below_ > 0;
    const bool is_above = two_sides ? decide(1, level > 0) : above_ > 0;
    const uint32_t most = is_above ? above_ : below_;
    uint32_t node = two_sides ? 2 : 1;
    if (!is_above && two_sides) node += above_ - 1;
    int32_t distance = 1;
    while (static_cast<uint32_t>(distance) < most && !decide(node, std::abs(level) == distance)) {
      ++node;
      ++distance;
    }
    return static_cast<uint8_t>(is_above ? zero_ + distance : zero_ - distance);
  }

 private:
  int32_t zero_;
  uint32_t above_, below_;  // indices on either side
};

// How many magnitudes are told apart, on a scale of 1.45^n, and the scale's first numbers.
inline constexpr uint32_t kActivities = kPriorContexts;
inline constexpr uint16_t kActivitySteps[kActivities - 1] = {1, 2, 3, 4, 5, 7, 10, 14, 20, 29, 42, 60, 87, 126, 182};

constexpr std::array<uint8_t, 256> make_activities() {
  std::array<uint8_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    for (const uint16_t step : kActivitySteps) table[i] = static_cast<uint8_t>(table[i] + (i >= step ? 1 : 0));
  }
  return table;
}
inline constexpr auto kActivityTable = make_activities();
constexpr uint32_t activity(uint32_t magnitude) { return kActivityTable[std::min(magnitude, 255u)]; }

// The contexts of the estimates that are mixed, in their order.
inline constexpr uint32_t kContextSizes[] = {
    kActivities,               // the activity around, near and in the channels before
    5 * 5,                     // left and above
    kActivities* kActivities,  // the activity near, and in the channels before
    kActivities,               // the activity in the channels before
    3 * 3 * 3 * 3,             // signs of left, above, above left, above right
    15 * kActivities,          // their sum, and the activity around
    5 * 5,                     // the same place in the two channels before
};
inline constexpr uint32_t kContexts = std::size(kContextSizes);
constexpr uint32_t context_offset(uint32_t which) {
  uint32_t offset = 0;
  for (uint32_t i = 0; i < which; ++i) offset += kContextSizes[i];
  return offset;
}

// What is known of a symbol before its first decision.
struct IndexContext {
  uint32_t activity;           // selects the prior
  uint32_t places[kContexts];  // each below kContextSizes, plus context_offset()
};

// The levels (index - zero) that contexts look at, with a border of zeros: those of the channel at hand and of the two
// before it, and sums of magnitudes over all channels before.
class LevelPlanes {
 public:
  void begin_tile() { std::memset(this, 0, sizeof *this); }

  // `channel` follows the one before. What it looks at of its own plane it has set before.
  void begin_channel(uint32_t channel) {
    channel_ = channel;
    current_ = levels_[channel % 3];
    before_[0] = levels_[(channel + 2) % 3];
    before_[1] = levels_[(channel + 1) % 3];
  }

  IndexContext context(uint32_t row, uint32_t column) const {
    const size_t at = place(row, column);
    const int8_t* here = current_ + at;
    const int32_t left = here[-1], above = here[-kStride];
    const int32_t above_left = here[-kStride - 1], above_right = here[-kStride + 1];
    const uint32_t near = 16 * (magnitude(left) + magnitude(above)) +
                          8 * (magnitude(above_left) + magnitude(above_right)) +
                          6 * (magnitude(here[-2]) + magnitude(here[-2 * kStride]));
    const uint16_t* sum = sums_ + at;
    const uint32_t around = uint32_t{sum[-1]} + sum[1] + sum[-kStride] + sum[kStride];
    const uint32_t across = channel_ > 0 ? (64 * sum[0] + 4 * around) * 4 / channel_ : 0;

    const uint32_t all_activity = activity((near + across) / 8);
    const uint32_t across_activity = activity(across / 4);
    const int32_t lean = std::clamp(2 * (left + above) + above_left + above_right, -7, 7);
    IndexContext context;
    context.activity = all_activity;
    uint32_t i = 0, offset = 0;
    const auto add = [&](uint32_t value) {
      context.places[i] = offset + value;
      offset += kContextSizes[i++];
    };
    add(all_activity);
    add(clipped(left, 2) * 5 + clipped(above, 2));
    add(activity(near / 4) * kActivities + across_activity);
    add(across_activity);
    add(((clipped(left, 1) * 3 + clipped(above, 1)) * 3 + clipped(above_left, 1)) * 3 + clipped(above_right, 1));
    add(clipped(lean, 7) * kActivities + all_activity);
    add(clipped(before_[0][at], 2) * 5 + clipped(before_[1][at], 2));
    return context;
  }

  void set(uint32_t row, uint32_t column, int32_t level) { current_[place(row, column)] = static_cast<int8_t>(level); }

  void end_channel(uint32_t height, uint32_t width) {
    for (uint32_t row = 0; row < height; ++row) {
      const int8_t* level = current_ + place(row, 0);
      uint16_t* sum = sums_ + place(row, 0);
      for (uint32_t column = 0; column < width; ++column) {
        sum[column] = static_cast<uint16_t>(sum[column] + magnitude(level[column]));
      }
    }
  }

 private:
  static constexpr ptrdiff_t kBorder = 2;
  static constexpr ptrdiff_t kStride = kTileSide + 2 * kBorder;

  static size_t place(uint32_t row, uint32_t column) { return (size_t{row} + kBorder) * kStride + column + kBorder; }
  static uint32_t magnitude(int32_t level) { return static_cast<uint32_t>(std::abs(level)); }
  // 0 .. 2 * most.
  static uint32_t clipped(int32_t level, int32_t most) {
    return static_cast<uint32_t>(std::clamp(level, -most, most) + most);
  }

  uint32_t channel_;
  int8_t* current_;
  const int8_t* before_[2];
  int8_t levels_[3][kStride * kStride];
  uint16_t sums_[kStride * kStride];
};

// An estimate of a decision that has been seen a few times or often: the more often, the slower it moves.
class Estimate {
 public:
  bool is_new() const { return probability_ == 0; }
  void begin(uint32_t probability) {
    probability_ = static_cast<uint16_t>(std::clamp(probability, kLeast, 65535 - kLeast));
    count_ = kBelief;
  }
  uint32_t probability() const { return probability_; }
  void update(uint32_t bit) {
    const int32_t target = bit != 0 ? 65535 - static_cast<int32_t>(kLeast) : static_cast<int32_t>(kLeast);
    const int32_t rate = kRates[count_];
    probability_ = static_cast<uint16_t>(probability_ + ((target - probability_) * rate >> 16));
    if (count_ < kLastCount) ++count_;
  }

 private:
  static constexpr uint32_t kLeast = 32;
  static constexpr uint16_t kBelief = 3;  // what the prior counts for, in decisions
  static constexpr uint16_t kLastCount = 255;
  static constexpr auto kRates = [] {
    std::array<uint16_t, kLastCount + 1> rates{};
    for (uint32_t i = 0; i < rates.size(); ++i) rates[i] = static_cast<uint16_t>(131072 / (2 * i + 3));
    return rates;
  }();
  static_assert(uint32_t{kRates[kBelief]} * 65536 < uint32_t{1} << 31);

  uint16_t probability_ = 0;
  uint16_t count_ = 0;
};

// Mixes the estimates of a decision. Its sums of products stay below 2^63, whatever bits it is fed.
class IndexMixer {
 public:
  void begin_tile(uint32_t levels) {
    nodes_ = levels - 1;
    std::memset(static_cast<void*>(shared_), 0, sizeof shared_);
    for (Weights& weights : weights_) weights = Weights();
  }

  // `prior`: that of the channel, kPriorContexts x nodes.
  void begin_channel(const uint8_t* prior) {
    prior_ = prior;
    std::memset(static_cast<void*>(own_), 0, sizeof own_);
  }

  // Probability of a 1 in 1/65536.
  uint32_t predict(const IndexContext& context, uint32_t node) {
    const int32_t prior = (prior_[context.activity * nodes_ + node] - 128) * (kLogitUnit / 16);
    for (uint32_t i = 0; i < kContexts; ++i) use(i, own_[context.places[i]][node], prior);
    const auto trust = static_cast<uint32_t>(std::clamp((prior + 2048) >> 8, 0, 15));
    use(kContexts, shared_[trust][context.activity][node], prior);
    logits_[kContexts + 1] = prior;
    logits_[kContexts + 2] = kLogitUnit;
    weights_now_ = &weights_[node];
    int64_t sum = 0;
    for (uint32_t i = 0; i < kInputs; ++i) sum += int64_t{weights_now_->of[i]} * logits_[i];
    probability_ = squash(static_cast<int32_t>(std::clamp<int64_t>(sum >> 16, -kMaxLogit, kMaxLogit)));
    return probability_;
  }

  // Of the decision that was predicted last.
  void update(uint32_t bit) {
    const int32_t error = static_cast<int32_t>(bit << 16) - static_cast<int32_t>(probability_);
    Weights& weights = *weights_now_;
    const int64_t step = int64_t{error} * kRate;
    for (uint32_t i = 0; i < kInputs; ++i) {
      const auto moved = static_cast<int32_t>(weights.of[i] + (logits_[i] * step >> 18));
      weights.of[i] = std::clamp(moved, -kMaxWeight, kMaxWeight);
    }
    for (Estimate* estimate : estimates_) estimate->update(bit);
  }

 private:
  static constexpr uint32_t kEstimates = kContexts + 1;
  static constexpr uint32_t kInputs = kEstimates + 2;  // the prior, and a constant
  static constexpr int32_t kRate = 6;
  static constexpr int32_t kMaxWeight = 1 << 20;

  struct Weights {
    std::array<int32_t, kInputs> of;  // in 1/65536
    Weights() { of.fill(65536 / 8); }
  };

  void use(uint32_t input, Estimate& estimate, int32_t prior) {
    if (estimate.is_new()) estimate.begin(squash(prior));
    estimates_[input] = &estimate;
    logits_[input] = stretch(estimate.probability());
  }

  uint32_t nodes_ = 0;
  const uint8_t* prior_ = nullptr;
  uint32_t probability_ = 0;
  Weights* weights_now_ = nullptr;
  Estimate* estimates_[kEstimates] = {};
  int32_t logits_[kInputs] = {};
  Weights weights_[kMaxLevels - 1];
  Estimate own_[context_offset(kContexts)][kMaxLevels - 1];  // of one channel
  Estimate shared_[16][kActivities][kMaxLevels - 1];         // by the prior's logit and the activity
};

// What either end keeps of a tile.
struct IndexState {
  LevelPlanes planes;
  IndexMixer mixer;
};

inline constexpr size_t kIndexScratch = size_t{512} << 10;
static_assert(sizeof(IndexState) <= kIndexScratch);

// What both ends ask of a call: numbers of bytes in the prior and of indices, and scratch for an IndexState.
Status check_index_call(const IndexLayout& layout, size_t prior, size_t indices, std::span<const uint8_t> scratch);

// Goes over the symbols of a tile in coding order. visit(context, symbol) sets or reads the symbol; false from end_of_row()
// ends the walk.
template <typename Index, typename BeginChannel, typename Visit, typename EndOfRow>
bool walk_indices(const IndexLayout& layout, LevelPlanes& planes, Index* indices, BeginChannel&& begin_channel,
                  Visit&& visit, EndOfRow&& end_of_row) {
  planes.begin_tile();
  for (uint32_t channel = 0; channel < layout.channels; ++channel) {
    planes.begin_channel(channel);
    begin_channel(channel);
    for (uint32_t row = 0; row < layout.height; ++row) {
      for (uint32_t column = 0; column < layout.width; ++column, ++indices) {
        visit(planes.context(row, column), *indices);
        planes.set(row, column, static_cast<int32_t>(*indices) - static_cast<int32_t>(layout.zero));
      }
      if (!end_of_row()) return false;
    }
    planes.end_channel(layout.height, layout.width);
  }
  return true;
}

}  // namespace quench::image
