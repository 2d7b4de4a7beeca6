#include "formats/entropy/bytes_encoder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "formats/entropy/bytes_model.h"
#include "formats/entropy/range_encoder.h"

namespace quench::entropy {

namespace {

constexpr size_t kMaxMatchInput = size_t{1} << 28;  // longer inputs are not searched for matches

// How hard to look for matches.
struct Effort {
  int passes;
  uint32_t search_depth;
  uint32_t good_match;  // as long a match is taken at once, without looking for anything better inside

  static Effort for_size(size_t size) { return size <= size_t{1} << 18 ? Effort{3, 48, 128} : Effort{2, 16, 32}; }
};

template <typename Bit>
void encode_bit(RangeEncoder& encoder, uint32_t bit, Bit& context) {
  encoder.encode(bit, context.probability());
  context.update(bit);
}

template <typename Bit>
void encode_tree(RangeEncoder& encoder, Bit* contexts, uint32_t leaves, uint32_t leaf) {
  uint32_t node = 1;
  for (uint32_t half = leaves / 2; half > 0; half /= 2) {
    const uint32_t bit = (leaf & half) != 0 ? 1 : 0;
    encode_bit(encoder, bit, contexts[node]);
    node = node << 1 | bit;
  }
}

std::vector<uint8_t> encode_order0(std::span<const uint8_t> bytes) {
  std::vector<SteadyBit> contexts(256);
  RangeEncoder encoder;
  for (const uint8_t byte : bytes) encode_tree(encoder, contexts.data(), 256, byte);
  return encoder.finish();
}

std::vector<uint8_t> encode_order1(std::span<const uint8_t> bytes) {
  std::vector<QuickBit> contexts(256 * 256);
  RangeEncoder encoder;
  uint8_t before = 0;
  for (const uint8_t byte : bytes) {
    encode_tree(encoder, &contexts[size_t{before} * 256], 256, byte);
    before = byte;
  }
  return encoder.finish();
}

// What is done at a position: a literal (length 1, no distance), or a copy.
struct Step {
  uint32_t length = 1;
  uint32_t distance = 0;  // 0: a literal
};

using Distances = std::array<uint32_t, kRepeats>;

uint32_t find_repeat(const Distances& distances, uint32_t distance) {
  return static_cast<uint32_t>(std::find(distances.begin(), distances.end(), distance) - distances.begin());
}

void remember(Distances& distances, uint32_t distance) {
  const uint32_t found = std::min(find_repeat(distances, distance), kRepeats - 1);
  for (uint32_t i = found; i > 0; --i) distances[i] = distances[i - 1];
  distances[0] = distance;
}

uint32_t distance_slot(uint32_t distance) {  // of a distance less 1
  if (distance < 4) return distance;
  const auto top = static_cast<uint32_t>(std::bit_width(distance)) - 1;
  return 2 * top + (distance >> (top - 1) & 1);
}

// Turns steps into bytes.
class MatchEncoder {
 public:
  explicit MatchEncoder(std::span<const uint8_t> bytes) : bytes_(bytes), contexts_(std::make_unique<MatchContexts>()) {}

  std::vector<uint8_t> encode(std::span<const Step> steps) {
    size_t position = 0;
    for (const Step& step : steps) {
      encode_step(position, step);
      position += step.length;
    }
    return encoder_.finish();
  }

 private:
  void encode_step(size_t position, const Step& step) {
    encode_bit(encoder_, step.distance != 0 ? 1 : 0, contexts_->is_match[history_]);
    if (step.distance == 0) {
      encode_literal(position);
      history_ = history_ * kOperations % kHistories;
      return;
    }
    const uint32_t distance = step.distance - 1;
    const uint32_t repeat = find_repeat(distances_, distance);
    const bool repeats = repeat < kRepeats;
    encode_bit(encoder_, repeats ? 1 : 0, contexts_->is_repeat[history_]);
    if (repeats) {
      for (uint32_t i = 0; i < repeat; ++i) encode_bit(encoder_, 1, contexts_->repeat[history_][i]);
      if (repeat < kRepeats - 1) encode_bit(encoder_, 0, contexts_->repeat[history_][repeat]);
    }
    encode_length(repeats ? 1 : 0, step.length);
    if (!repeats) encode_distance(slot_set(step.length), distance);
    remember(distances_, distance);
    history_ = (history_ * kOperations + (repeats ? 2 : 1)) % kHistories;
  }

  void encode_literal(size_t position) {
    QuickBit* order0 = contexts_->literal0[history_ % kOperations];
    QuickBit* order1 = contexts_->literal1[position > 0 ? bytes_[position - 1] : 0];
    uint32_t node = 1;
    for (uint32_t half = 128; half > 0; half /= 2) {
      const uint32_t bit = (bytes_[position] & half) != 0 ? 1 : 0;
      encoder_.encode(bit, literal_estimate(order0[node], order1[node]).probability());
      order0[node].update(bit);
      order1[node].update(bit);
      node = node << 1 | bit;
    }
  }

  void encode_length(uint32_t set, uint32_t length) {
    const bool is_long = length >= kMinMatch + kShortLengths;
    encode_bit(encoder_, is_long ? 1 : 0, contexts_->is_long[set]);
    if (!is_long) {
      encode_tree(encoder_, contexts_->short_length[set], kShortLengths, length - kMinMatch);
      return;
    }
    const uint32_t value = length - (kMinMatch + kShortLengths - 1);
    const auto exponent = static_cast<uint32_t>(std::bit_width(value)) - 1;
    for (uint32_t i = 0; i < exponent; ++i) encode_bit(encoder_, 1, contexts_->long_exponent[set][i]);
    if (exponent < 15) encode_bit(encoder_, 0, contexts_->long_exponent[set][exponent]);
    if (exponent == 0) return;
    encode_bit(encoder_, value >> (exponent - 1) & 1, contexts_->long_mantissa[set][exponent]);
    encoder_.encode_raw(value & ((1u << (exponent - 1)) - 1), exponent - 1);
  }

  void encode_distance(uint32_t set, uint32_t distance) {
    const uint32_t slot = distance_slot(distance);
    encode_tree(encoder_, contexts_->slot[set], kDistanceSlots, slot);
    const uint32_t bits = slot_bits(slot);
    const uint32_t rest = distance - slot_base(slot);
    if (bits > 2) {
      const uint32_t upper = bits - 2 > 16 ? bits - 18 : 0;
      const uint32_t lower = bits - 2 - upper;
      encoder_.encode_raw(rest >> (2 + lower), upper);
      encoder_.encode_raw(rest >> 2 & ((1u << lower) - 1), lower);
    }
    const uint32_t low = std::min<uint32_t>(bits, 2);
    for (uint32_t i = 0; i < low; ++i)
      encode_bit(encoder_, rest >> (low - 1 - i) & 1, contexts_->low_distance[slot][i]);
  }

  std::span<const uint8_t> bytes_;
  std::unique_ptr<MatchContexts> contexts_;
  RangeEncoder encoder_;
  Distances distances_{};
  uint32_t history_ = 0;
};

// Earlier occurrences of the bytes at a position: the last one of two and of three equal bytes, and a chain of those of
// four.
class MatchFinder {
 public:
  MatchFinder(std::span<const uint8_t> bytes, const Effort& effort)
      : bytes_(bytes),
        effort_(effort),
        hash_bits_(std::clamp(static_cast<uint32_t>(std::bit_width(bytes.size())), 8u, 20u)),
        last_of_two_(size_t{1} << hash_bits_, kNone),
        last_of_three_(size_t{1} << hash_bits_, kNone),
        last_of_four_(size_t{1} << hash_bits_, kNone),
        previous_(bytes.size(), kNone) {}

  void insert(size_t position) {
    if (position + 4 > bytes_.size()) return;
    const auto here = static_cast<uint32_t>(position);
    last_of_two_[hash(position, 2)] = here;
    last_of_three_[hash(position, 3)] = here;
    uint32_t& head = last_of_four_[hash(position, 4)];
    previous_[position] = head;
    head = here;
  }

  // Calls visit(length, distance) for ever longer matches at `position`, the nearest of each length.
  template <typename Visit>
  void find(size_t position, Visit&& visit) const {
    if (position + 4 > bytes_.size()) return;
    uint32_t longest = kMinMatch - 1;
    const auto consider = [&](uint32_t candidate) {
      if (candidate == kNone) return;
      const uint32_t length = match_length(candidate, position);
      if (length <= longest) return;
      longest = length;
      visit(length, static_cast<uint32_t>(position - candidate));
    };
    consider(last_of_two_[hash(position, 2)]);
    consider(last_of_three_[hash(position, 3)]);
    uint32_t candidate = last_of_four_[hash(position, 4)];
    for (uint32_t depth = 0; depth < effort_.search_depth && candidate != kNone; ++depth) {
      if (longest >= effort_.good_match) return;
      consider(candidate);
      candidate = previous_[candidate];
    }
  }

  uint32_t match_length(size_t candidate, size_t position) const {
    const size_t limit = std::min<size_t>(bytes_.size() - position, kMaxMatch);
    size_t length = 0;
    while (length < limit && bytes_[candidate + length] == bytes_[position + length]) ++length;
    return static_cast<uint32_t>(length);
  }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};

  size_t hash(size_t position, uint32_t count) const {
    uint32_t key = 0;
    for (uint32_t i = 0; i < count; ++i) key = key << 8 | bytes_[position + i];
    return (key * 2654435761u) >> (32 - hash_bits_);
  }

  std::span<const uint8_t> bytes_;
  const Effort& effort_;
  uint32_t hash_bits_;
  std::vector<uint32_t> last_of_two_, last_of_three_, last_of_four_, previous_;
};

// About how many bits each kind of step costs; learnt from the steps of the pass before.
class Prices {
 public:
  Prices() {
    literal_.fill(6);
    for (auto& lengths : length_) lengths.fill(4);
    slot_.fill(5);
  }

  void learn(std::span<const uint8_t> bytes, std::span<const Step> steps) {
    std::array<double, 256> literals{};
    std::array<std::array<double, kLengths>, kLengthSets> lengths{};
    std::array<double, kDistanceSlots> slots{};
    std::array<double, 3> kinds{};
    Distances distances{};
    size_t position = 0;
    for (const Step& step : steps) {
      if (step.distance == 0) {
        ++literals[bytes[position]];
        ++kinds[0];
      } else {
        const bool repeats = find_repeat(distances, step.distance - 1) < kRepeats;
        ++kinds[repeats ? 2 : 1];
        ++lengths[repeats ? 1 : 0][length_class(step.length)];
        if (!repeats) ++slots[distance_slot(step.distance - 1)];
        remember(distances, step.distance - 1);
      }
      position += step.length;
    }
    // Contexts (the byte before, the steps before) make literals cheaper than their frequencies say.
    to_bits(literals, literal_);
    for (double& price : literal_) price *= 0.85;
    for (uint32_t set = 0; set < kLengthSets; ++set) to_bits(lengths[set], length_[set]);
    to_bits(slots, slot_);
    to_bits(kinds, kind_);
  }

  double literal(uint8_t byte) const { return kind_[0] + literal_[byte]; }
  double repeat(uint32_t repeat, uint32_t length) const { return kind_[2] + 0.5 + repeat + length_bits(1, length); }
  double match(uint32_t distance, uint32_t length) const {
    const uint32_t slot = distance_slot(distance);
    return kind_[1] + length_bits(0, length) + slot_[slot] + slot_bits(slot);
  }

 private:
  static constexpr uint32_t kLengths = 32;

  static uint32_t length_class(uint32_t length) {
    const uint32_t rest = length - kMinMatch;
    return rest < kShortLengths ? rest
                                : kShortLengths - 1 + static_cast<uint32_t>(std::bit_width(rest - kShortLengths + 1));
  }
  double length_bits(uint32_t set, uint32_t length) const {
    const uint32_t index = length_class(length);
    return length_[set][index] + (index > kShortLengths ? index - kShortLengths : 0);
  }

  template <size_t kSize>
  static void to_bits(const std::array<double, kSize>& counts, std::array<double, kSize>& bits) {
    double total = 0;
    for (const double count : counts) total += count + 0.3;
    for (size_t i = 0; i < kSize; ++i) bits[i] = std::log2(total / (counts[i] + 0.3));
  }

  std::array<double, 256> literal_;
  std::array<std::array<double, kLengths>, kLengthSets> length_;
  std::array<double, kDistanceSlots> slot_;
  std::array<double, 3> kind_{1, 2, 2};
};

// The cheapest steps by `prices` (a shortest path through the positions; the last distances are those of the cheapest
// way to each).
class Parser {
 public:
  Parser(std::span<const uint8_t> bytes, const Prices& prices, const Effort& effort)
      : bytes_(bytes), prices_(prices), effort_(effort), finder_(bytes, effort) {}

  std::vector<Step> parse() {
    nodes_.resize(bytes_.size() + 1);
    nodes_[0].price = 0;
    size_t covered = 0;  // by a match too good to look inside
    for (size_t position = 0; position < bytes_.size(); ++position) {
      if (position >= covered) covered = relax(position);
      finder_.insert(position);
    }
    return backtrack();
  }

 private:
  struct Node {
    double price = std::numeric_limits<double>::infinity();
    Step step;
    Distances distances{};  // behind the step
  };

  size_t relax(size_t position) {
    const Node here = nodes_[position];
    offer(position, here, prices_.literal(bytes_[position]), Step{});
    uint32_t longest = 1;
    for (uint32_t repeat = 0; repeat < kRepeats; ++repeat) {
      const uint32_t distance = here.distances[repeat];
      if (distance >= position) continue;
      const uint32_t length = finder_.match_length(position - distance - 1, position);
      longest = std::max(longest, length);
      for_lengths(kMinMatch, length, [&](uint32_t taken) {
        offer(position, here, prices_.repeat(repeat, taken), Step{taken, distance + 1});
      });
    }
    uint32_t shortest = kMinMatch;
    finder_.find(position, [&](uint32_t length, uint32_t distance) {
      longest = std::max(longest, length);
      for_lengths(shortest, length, [&](uint32_t taken) {
        offer(position, here, prices_.match(distance - 1, taken), Step{taken, distance});
      });
      shortest = length + 1;
    });
    return longest >= effort_.good_match ? position + longest : position;
  }

  // All lengths of a short match; of a good one the whole only.
  template <typename Take>
  void for_lengths(uint32_t shortest, uint32_t length, Take&& take) const {
    if (length >= effort_.good_match) {
      take(length);
      return;
    }
    for (uint32_t taken = shortest; taken <= length; ++taken) take(taken);
  }

  void offer(size_t position, const Node& here, double price, const Step& step) {
    Node& there = nodes_[position + step.length];
    if (here.price + price >= there.price) return;
    there.price = here.price + price;
    there.step = step;
    there.distances = here.distances;
    if (step.distance != 0) remember(there.distances, step.distance - 1);
  }

  std::vector<Step> backtrack() const {
    std::vector<Step> steps;
    for (size_t position = bytes_.size(); position > 0; position -= nodes_[position].step.length) {
      steps.push_back(nodes_[position].step);
    }
    std::reverse(steps.begin(), steps.end());
    return steps;
  }

  std::span<const uint8_t> bytes_;
  const Prices& prices_;
  const Effort& effort_;
  MatchFinder finder_;
  std::vector<Node> nodes_;
};

std::vector<uint8_t> encode_matches(std::span<const uint8_t> bytes) {
  const Effort effort = Effort::for_size(bytes.size());
  Prices prices;
  std::vector<uint8_t> best;
  for (int pass = 0; pass < effort.passes; ++pass) {
    const std::vector<Step> steps = Parser(bytes, prices, effort).parse();
    std::vector<uint8_t> coded = MatchEncoder(bytes).encode(steps);
    if (pass == 0 || coded.size() < best.size()) best = std::move(coded);
    prices.learn(bytes, steps);
  }
  return best;
}

}  // namespace

std::vector<uint8_t> compress_bytes(std::span<const uint8_t> bytes, bool search_matches) {
  std::vector<uint8_t> best(bytes.begin(), bytes.end());
  BytesMode mode = BytesMode::kStored;
  const auto consider = [&](BytesMode candidate, std::vector<uint8_t> coded) {
    if (coded.size() >= best.size()) return;
    best = std::move(coded);
    mode = candidate;
  };
  if (!bytes.empty()) {
    consider(BytesMode::kOrder0, encode_order0(bytes));
    consider(BytesMode::kOrder1, encode_order1(bytes));
    if (search_matches && bytes.size() <= kMaxMatchInput) consider(BytesMode::kMatches, encode_matches(bytes));
  }
  best.insert(best.begin(), static_cast<uint8_t>(mode));
  return best;
}

}  // namespace quench::entropy
