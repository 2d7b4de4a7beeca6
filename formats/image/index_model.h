// What the two ends of the index coder share: how a symbol falls into decisions, what they are conditioned on, and how
// their probabilities are mixed. QIM.md says the same in words.
//
// A tile's indices are coded channel by channel, each in rows. An index is a walk through a tree of levels - 1 decisions,
// away from a center: the index that stands for zero, or in channels that change slowly, as the mean brightness does, the one
// that is predicted. Two linear predictions, of its level and of the distance to the center, by weights of the codec's, see
// all channels before it. The probability of a decision is mixed from estimates, each of which
// has seen the decisions under one context of the predictions and of the neighbours that are known (logistic mixing:
// Mahoney 2005). All arithmetic is in integers.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "formats/base/status.h"
#include "formats/image/logistic.h"

namespace quench::image {

inline constexpr uint32_t kMinLevels = 2;
inline constexpr uint32_t kMaxLevels = 255;
inline constexpr uint32_t kMaxLevel = 127;  // to either side of zero
inline constexpr uint32_t kMaxChannels = 256;
inline constexpr uint32_t kTileSide = 128;   // latents
inline constexpr uint32_t kActivities = 16;  // sizes of the predicted magnitude that the prior tells apart

// A channel's weights of the predictions, as bytes with 128 for 0: how far either prediction is shifted (bytes from 0),
// whether its lowest bit says that levels are counted from their prediction, the distance's constant, both predictions'
// weights of neighbours in the channel, and for each channel before kChannelWeights: of the distance at the same place and
// around it, and of the level at the same place, its slope to the right and its slope downward.
inline constexpr uint32_t kNeighbours = 6;  // left, above, above left, above right, two to the left, two above
inline constexpr uint32_t kFixedWeights = 4 + 2 * kNeighbours;
inline constexpr uint32_t kChannelWeights = 5;
inline constexpr int32_t kMaxShift = 10;  // predictions are in 1/2^kMaxShift
constexpr uint32_t weight_count(uint32_t channel) { return kFixedWeights + kChannelWeights * channel; }

// Rows of levels - 1 bytes that each channel has in the prior: the decisions' probabilities by activity, then its weights.
constexpr uint32_t prior_rows(uint32_t channels, uint32_t levels) {
  return kActivities + (weight_count(channels - 1) + levels - 2) / (levels - 1);
}

// The indices of one tile: channels x height x width, row-major, each below `levels`.
struct IndexLayout {
  uint32_t channels = 0;           // 1 .. kMaxChannels
  uint32_t levels = 0;             // kMinLevels .. kMaxLevels
  uint32_t zero = 0;               // the index that stands for nothing, below `levels`
  uint32_t height = 0, width = 0;  // 1 .. kTileSide

  size_t symbols() const { return size_t{channels} * height * width; }
  size_t channel_prior() const { return size_t{prior_rows(channels, levels)} * (levels - 1); }
  size_t prior_size() const { return channels * channel_prior(); }
};

Status check_index_layout(const IndexLayout& layout);

// Which decisions make an index, from a center outward. Node 0: is it the center? Then, where that has indices on both
// sides, node 1: is it above? Then one by one, each side with nodes of its own: is it this one? The last of a side needs no
// asking. Each side has as many nodes as zero's sides need; beyond those, a center that is not zero has the last one again.
class IndexTree {
 public:
  IndexTree(uint32_t levels, uint32_t zero)
      : last_(static_cast<int32_t>(levels) - 1),
        zero_(static_cast<int32_t>(zero)),
        two_sides_(zero_ > 0 && zero_ < last_),
        above_nodes_(std::max(last_ - zero_ - 1, 0)),
        below_nodes_(std::max(zero_ - 1, 0)) {}

  // Whether a center may be another index than zero.
  bool can_move() const { return above_nodes_ > 0 && below_nodes_ > 0; }

  // Calls decide(node, bit) for each decision until the index is known, and returns that. `bit` is how the decision falls
  // if `index` is the one; decide() returns how it does fall: a decoder ignores the argument. `center`: a level.
  template <typename Decide>
  uint8_t walk(uint8_t index, int32_t center, Decide&& decide) const {
    const int32_t from = zero_ + center, offset = index - from;
    if (decide(0, offset == 0)) return static_cast<uint8_t>(from);
    const bool is_above = from > 0 && from < last_ ? decide(1, offset > 0) : from == 0;
    const int32_t most = is_above ? last_ - from : from, nodes = is_above ? above_nodes_ : below_nodes_;
    const int32_t first = (two_sides_ ? 2 : 1) + (!is_above && two_sides_ ? above_nodes_ : 0);
    int32_t distance = 1;
    while (distance < most &&
           !decide(static_cast<uint32_t>(first + std::min(distance, nodes) - 1), std::abs(offset) == distance)) {
      ++distance;
    }
    return static_cast<uint8_t>(is_above ? from + distance : from - distance);
  }

 private:
  int32_t last_, zero_;
  bool two_sides_;
  int32_t above_nodes_, below_nodes_;
};

// Where a number, at least 1, is on a scale with 2^kBits steps an octave.
template <uint32_t kBits>
constexpr uint32_t log_step(uint32_t number) {
  const auto top = static_cast<uint32_t>(std::bit_width(number)) - 1;
  return (top << kBits) + ((number << kBits >> top) & ((1u << kBits) - 1));
}

inline constexpr uint32_t kMagnitudeSteps = 40;
inline constexpr uint32_t kLeanSteps = 12;  // to either side, zero counted

// The contexts of the estimates that are mixed, in their order.
inline constexpr uint32_t kContextSizes[] = {
    1,                                   // nothing
    (2 * kLeanSteps - 1) * kActivities,  // both predictions
    63,                                  // the predicted level, in even steps from the center
    kMagnitudeSteps,                     // the predicted distance, finely
    7 * 7,                               // distances at the same place in the two channels before
    7 * 7,                               // and in the two before these
    3 * 3 * 3 * 3,                       // signs of those to the left, above, above left, above right
};
inline constexpr uint32_t kContexts = std::size(kContextSizes);
constexpr uint32_t context_offset(uint32_t which) {
  uint32_t offset = 0;
  for (uint32_t i = 0; i < which; ++i) offset += kContextSizes[i];
  return offset;
}

// What is known of a symbol before its first decision.
struct IndexContext {
  int32_t center;              // a level
  uint32_t activity;           // selects the prior
  uint32_t places[kContexts];  // each below kContextSizes, plus context_offset()
};

// The levels (index - zero) of a tile and their distances to the centers, with a border of zeros, and what is predicted
// from them.
class LevelPlanes {
 public:
  static constexpr ptrdiff_t kBorder = 2;
  static constexpr ptrdiff_t kStride = kTileSide + 2 * kBorder;
  static constexpr size_t kPlane = kStride * kStride;
  static constexpr size_t planes_size(uint32_t channels) { return 2 * channels * kPlane; }

  // `levels`: room for planes_size() of them.
  void begin_tile(const IndexLayout& layout, int8_t* levels) {
    std::memset(static_cast<void*>(this), 0, sizeof *this);
    std::memset(levels, 0, planes_size(layout.channels));
    levels_ = levels;
    distances_ = levels + layout.channels * kPlane;
    lowest_ = -static_cast<int32_t>(layout.zero);
    highest_ = static_cast<int32_t>(layout.levels - 1 - layout.zero);
    can_move_ = IndexTree(layout.levels, layout.zero).can_move();
    height_ = layout.height;
    width_ = layout.width;
  }

  // `channel` follows the one before; `weights`: its weight_count(channel).
  void begin_channel(uint32_t channel, const uint8_t* weights) {
    channel_ = channel;
    current_ = levels_ + channel * kPlane;
    current_distances_ = distances_ + channel * kPlane;
    magnitude_shift_ = kMaxShift - std::min<int32_t>(weights[0], kMaxShift);
    level_shift_ = kMaxShift - std::min<int32_t>(weights[1], kMaxShift);
    is_moved_ = can_move_ && weights[2] % 2 == 1;
    constant_ = weight(weights[3]);
    for (uint32_t i = 0; i < kNeighbours; ++i) {
      magnitude_weights_[i] = weight(weights[4 + i]);
      level_weights_[i] = weight(weights[4 + kNeighbours + i]);
    }
    for (uint32_t row = 0; row < height_; ++row) sum_row(place(row, 0), weights + kFixedWeights);
  }

  IndexContext context(uint32_t row, uint32_t column) const {
    const size_t at = place(row, column);
    const auto neighbours = [at](const int8_t* plane) {
      const int8_t* here = plane + at;
      return std::array<int32_t, kNeighbours>{here[-1],           here[-kStride], here[-kStride - 1],
                                              here[-kStride + 1], here[-2],       here[-2 * kStride]};
    };
    const std::array<int32_t, kNeighbours> near = neighbours(current_distances_), levels = neighbours(current_);
    int32_t magnitude = constant_ + same_magnitude_[at] + around_magnitude_[at - 1] + around_magnitude_[at + 1] +
                        around_magnitude_[at - kStride] + around_magnitude_[at + kStride];
    int32_t level = same_level_[at] + slope_right_[at + 1] - slope_right_[at - 1] + slope_down_[at + kStride] -
                    slope_down_[at - kStride];
    for (uint32_t i = 0; i < kNeighbours; ++i) {
      magnitude += magnitude_weights_[i] * std::abs(near[i]);
      level += level_weights_[i] * levels[i];
    }
    magnitude = std::max(magnitude, 0) * (1 << magnitude_shift_);
    level = level * (1 << level_shift_);
    IndexContext context;
    context.center = is_moved_ ? std::clamp((level + 512) >> kMaxShift, lowest_, highest_) : 0;
    level -= context.center * (1 << kMaxShift);

    const uint32_t fine = std::min(log_step<2>(static_cast<uint32_t>(magnitude) + 16) - 16, kMagnitudeSteps - 1);
    const uint32_t lean = std::min(log_step<1>(static_cast<uint32_t>(std::abs(level)) + 64) - 12, kLeanSteps - 1);
    const auto before = [&](uint32_t distance) {
      return channel_ >= distance ? (current_distances_ - distance * kPlane)[at] : int8_t{0};
    };
    context.activity = std::min(fine / 2, kActivities - 1);
    uint32_t i = 0, offset = 0;
    const auto add = [&](uint32_t value) {
      context.places[i] = offset + value;
      offset += kContextSizes[i++];
    };
    add(0);
    add((level < 0 ? kLeanSteps - 1 - lean : kLeanSteps - 1 + lean) * kActivities + context.activity);
    add(clipped((level + 128) >> 8, 31));
    add(fine);
    add(clipped(before(1), 3) * 7 + clipped(before(2), 3));
    add(clipped(before(3), 3) * 7 + clipped(before(4), 3));
    add(((clipped(near[0], 1) * 3 + clipped(near[1], 1)) * 3 + clipped(near[2], 1)) * 3 + clipped(near[3], 1));
    return context;
  }

  void set(uint32_t row, uint32_t column, int32_t level, int32_t center) {
    constexpr auto kMost = static_cast<int32_t>(kMaxLevel);
    current_[place(row, column)] = static_cast<int8_t>(level);
    current_distances_[place(row, column)] = static_cast<int8_t>(std::clamp(level - center, -kMost, kMost));
  }

 private:
  static size_t place(uint32_t row, uint32_t column) { return (size_t{row} + kBorder) * kStride + column + kBorder; }
  static int16_t weight(uint8_t byte) { return static_cast<int16_t>(byte - 128); }
  // 0 .. 2 * most.
  static uint32_t clipped(int32_t level, int32_t most) {
    return static_cast<uint32_t>(std::clamp(level, -most, most) + most);
  }

  // Sums over the channels before, of a row. They wrap around at 16 bits, which only weights that no codec has let happen.
  void sum_row(size_t first, const uint8_t* weights) {
    // Vectors of the compiler's, for any machine; what is behind the row is 0.
    constexpr size_t kLanes = 8;
    using Bytes = int8_t __attribute__((vector_size(kLanes)));
    using Signed = int16_t __attribute__((vector_size(2 * kLanes)));
    using Lanes = uint16_t __attribute__((vector_size(2 * kLanes)));
    for (size_t column = 0; column < width_; column += kLanes) {
      const size_t at = first + column;
      Lanes sums[kChannelWeights] = {};
      for (uint32_t before = 0; before < channel_; ++before) {
        const uint8_t* of = weights + size_t{kChannelWeights} * before;
        const auto lanes = [&](const int8_t* planes) {
          Bytes bytes;
          std::memcpy(&bytes, planes + before * kPlane + at, sizeof bytes);
          return __builtin_convertvector(bytes, Signed);
        };
        const Signed level = lanes(levels_), distance = lanes(distances_), sign = distance >> 15;
        const auto magnitude = (Lanes)((distance ^ sign) - sign);
        sums[0] += magnitude * static_cast<uint16_t>(weight(of[0]));
        sums[1] += magnitude * static_cast<uint16_t>(weight(of[1]));
        sums[2] += (Lanes)level * static_cast<uint16_t>(weight(of[2]));
        sums[3] += (Lanes)level * static_cast<uint16_t>(weight(of[3]));
        sums[4] += (Lanes)level * static_cast<uint16_t>(weight(of[4]));
      }
      int16_t* const to[kChannelWeights] = {same_magnitude_, around_magnitude_, same_level_, slope_right_, slope_down_};
      for (uint32_t i = 0; i < kChannelWeights; ++i) std::memcpy(to[i] + at, &sums[i], sizeof sums[i]);
    }
  }

  uint32_t channel_, height_, width_;
  int8_t *levels_, *distances_;
  int8_t *current_, *current_distances_;  // of the channel
  int32_t lowest_, highest_;              // levels
  bool can_move_, is_moved_;              // the centers
  int32_t magnitude_shift_, level_shift_, constant_;
  int32_t magnitude_weights_[kNeighbours], level_weights_[kNeighbours];
  int16_t same_magnitude_[kPlane], around_magnitude_[kPlane], same_level_[kPlane], slope_right_[kPlane],
      slope_down_[kPlane];
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

  // `prior`: the channel's probabilities, kActivities x nodes.
  void begin_channel(const uint8_t* prior) {
    prior_ = prior;
    std::memset(static_cast<void*>(own_), 0, sizeof own_);
  }

  // Probability of a 1 in 1/65536.
  uint32_t predict(const IndexContext& context, uint32_t node) {
    const int32_t prior = (prior_[context.activity * nodes_ + node] - 128) * (kLogitUnit / 16);
    for (uint32_t i = 0; i < kContexts; ++i) use(i, own_[node][context.places[i]], prior);
    const auto trust = static_cast<uint32_t>(std::clamp((prior + 2048) >> 8, 0, 15));
    use(kContexts, shared_[node][trust][context.activity], prior);
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
  // By node, as few of these are asked often: those are near each other then.
  Estimate own_[kMaxLevels - 1][context_offset(kContexts)];  // of one channel
  Estimate shared_[kMaxLevels - 1][16][kActivities];         // by the prior's logit and the activity
};

// What either end keeps of a tile.
struct IndexState {
  LevelPlanes planes;
  IndexMixer mixer;
};

// Bytes of scratch for either end: an IndexState, then the planes of all channels.
constexpr size_t index_scratch_size(uint32_t channels) {
  return sizeof(IndexState) + LevelPlanes::planes_size(channels);
}

// What both ends ask of a call: numbers of bytes in the prior and of indices, and scratch.
Status check_index_call(const IndexLayout& layout, size_t prior, size_t indices, std::span<const uint8_t> scratch);

// Goes over the symbols of a tile in coding order. `levels`: as of LevelPlanes; visit(context, symbol) sets or reads the
// symbol; false from end_of_row() ends the walk.
template <typename Index, typename BeginChannel, typename Visit, typename EndOfRow>
bool walk_indices(const IndexLayout& layout, LevelPlanes& planes, int8_t* levels, const uint8_t* prior, Index* indices,
                  BeginChannel&& begin_channel, Visit&& visit, EndOfRow&& end_of_row) {
  planes.begin_tile(layout, levels);
  for (uint32_t channel = 0; channel < layout.channels; ++channel) {
    const uint8_t* of_channel = prior + layout.channel_prior() * channel;
    planes.begin_channel(channel, of_channel + size_t{kActivities} * (layout.levels - 1));
    begin_channel(channel);
    for (uint32_t row = 0; row < layout.height; ++row) {
      for (uint32_t column = 0; column < layout.width; ++column, ++indices) {
        const IndexContext context = planes.context(row, column);
        visit(context, *indices);
        planes.set(row, column, static_cast<int32_t>(*indices) - static_cast<int32_t>(layout.zero), context.center);
      }
      if (!end_of_row()) return false;
    }
  }
  return true;
}

}  // namespace quench::image
