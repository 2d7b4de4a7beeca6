#include "formats/entropy/arithmetic_encoder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

#include "formats/entropy/range_encoder.h"

namespace quench::entropy {

namespace {

// Where the decisions of a level go: to a range encoder, or into counts.
struct EncodingSink {
  using Bit = AdaptiveBit;
  RangeEncoder encoder;
  void code(uint32_t bit, AdaptiveBit& context) { encoder.encode(bit, context); }
  void raw(uint32_t value, uint32_t count) { encoder.encode_raw(value, count); }
};

struct CountingSink {
  using Bit = DecisionCount;
  void code(uint32_t bit, DecisionCount& context) { ++context.of[bit]; }
  void raw(uint32_t, uint32_t) {}
};

template <typename Sink>
void code_tail(Sink& sink, TailContexts<typename Sink::Bit>& contexts, uint32_t value) {
  const auto exponent = static_cast<uint32_t>(std::bit_width(value)) - 1;
  for (uint32_t i = 0; i < exponent; ++i) sink.code(1, contexts.exponent[i]);
  if (exponent < kMaxExponent) sink.code(0, contexts.exponent[exponent]);
  if (exponent == 0) return;
  const uint32_t first = value >> (exponent - 1) & 1;
  sink.code(first, contexts.mantissa[exponent][0]);
  if (exponent == 1) return;
  sink.code(value >> (exponent - 2) & 1, contexts.mantissa[exponent][1 + first]);
  sink.raw(value & ((1u << (exponent - 2)) - 1), exponent - 2);
}

template <typename Sink>
void code_level(Sink& sink, LevelContexts<typename Sink::Bit>& contexts, const LevelContext::Prediction& near,
                bool is_signed, int32_t level) {
  sink.code(level == 0 ? 1 : 0, contexts.zero[near.trust][near.scale]);
  if (level == 0) return;
  const auto magnitude = static_cast<uint32_t>(level < 0 ? -level : level);
  const uint32_t contrary = (level < 0) != (near.sign < 0) ? 1 : 0;
  if (is_signed) sink.code(contrary, contexts.contrary[near.trust][near.scale]);
  if (near.scale >= kWideScale) {
    code_tail(sink, contexts.tail[1 + near.scale - kWideScale], magnitude);
    return;
  }
  auto& above = contexts.above[contrary][near.trust];
  for (uint32_t size = 1; size <= kUnaryFlags; ++size) {
    sink.code(magnitude > size ? 1 : 0, above[size - 1][near.scale]);
    if (magnitude == size) return;
  }
  code_tail(sink, contexts.tail[0], magnitude - kUnaryFlags);
}

template <LevelContext::Kind kKind, typename Sink, typename Index>
void code_levels(Sink& sink, LevelContexts<typename Sink::Bit>& contexts, const StreamLayout& chunk,
                 const Index* indices) {
  const auto memory = std::make_unique<LevelContext::Memory>();
  LevelContext context(chunk, *memory);
  const bool is_signed = chunk.zero_symbol != 0;
  for (uint64_t row = 0; row < context.rows(); ++row) {
    context.begin_row();
    for (uint64_t channel = 0; channel < context.channels(); ++channel) {
      context.begin_channel(channel);
      for (uint32_t position = 0; position < context.kernel(); ++position) {
        const int32_t level = static_cast<int32_t>(*indices++) - static_cast<int32_t>(chunk.zero_symbol);
        code_level(sink, contexts, context.predict<kKind>(position), is_signed, level);
        context.update<kKind>(position, level);
      }
      context.end_channel();
    }
    context.end_row();
  }
}

template <typename Sink, typename Index>
void code_chunk(Sink& sink, LevelContexts<typename Sink::Bit>& contexts, const StreamLayout& chunk,
                const Index* indices) {
  using Kind = LevelContext::Kind;
  switch (LevelContext::kind(chunk)) {
    case Kind::kNoKernel:
      return code_levels<Kind::kNoKernel>(sink, contexts, chunk, indices);
    case Kind::kUnsignedKernel:
      return code_levels<Kind::kUnsignedKernel>(sink, contexts, chunk, indices);
    case Kind::kSignedKernel:
      return code_levels<Kind::kSignedKernel>(sink, contexts, chunk, indices);
  }
}

// Bits of a decision, 0 or 1, at each initial probability.
using DecisionBits = std::array<std::array<double, 2>, kProbabilitySteps>;

DecisionBits decision_bits() {
  DecisionBits bits;
  for (size_t step = 0; step < kProbabilitySteps; ++step) {
    const double one = kStepProbability[step] / 65536.0;
    bits[step] = {-std::log2(1 - one), -std::log2(one)};
  }
  return bits;
}

// The steps of `count` contexts that code the decisions and themselves in the fewest bits, where each is expected to be
// the one before it and the first `expected` (Viterbi's algorithm). A change is taken to cost kChange bits and one for
// each step of it: 4 to 8 give files of equal size within 0.1 %.
void find_steps(const DecisionCount* counts, size_t count, uint32_t expected, uint8_t* steps) {
  constexpr double kChange = 6;
  static const DecisionBits bits = decision_bits();
  using Costs = std::array<double, kProbabilitySteps>;
  using Origins = std::array<uint8_t, kProbabilitySteps>;
  Costs cost;
  cost.fill(std::numeric_limits<double>::infinity());
  cost[expected] = 0;
  std::array<Origins, kScaleBuckets> from;
  for (size_t i = 0; i < count; ++i) {
    Costs change = cost;  // of the cheapest way that ends with a change to this step
    Origins origin;
    std::iota(origin.begin(), origin.end(), uint8_t{0});
    const auto relax = [&](size_t to, size_t neighbour) {
      if (change[neighbour] + 1 >= change[to]) return;
      change[to] = change[neighbour] + 1;
      origin[to] = origin[neighbour];
    };
    for (size_t step = 1; step < kProbabilitySteps; ++step) relax(step, step - 1);
    for (size_t step = kProbabilitySteps - 1; step-- > 0;) relax(step, step + 1);
    for (uint32_t step = 0; step < kProbabilitySteps; ++step) {
      const bool stays = cost[step] <= change[step] + kChange;
      from[i][step] = stays ? static_cast<uint8_t>(step) : origin[step];
      cost[step] = (stays ? cost[step] : change[step] + kChange) +
                   static_cast<double>(counts[i].of[0]) * bits[step][0] +
                   static_cast<double>(counts[i].of[1]) * bits[step][1];
    }
  }
  size_t step = static_cast<size_t>(std::min_element(cost.begin(), cost.end()) - cost.begin());
  for (size_t i = count; i-- > 0;) {
    steps[i] = static_cast<uint8_t>(step);
    step = from[i][step];
  }
}

}  // namespace

template <typename Index>
void count_decisions(const StreamLayout& chunk, const Index* indices, LevelContexts<DecisionCount>& counts) {
  CountingSink sink;
  code_chunk(sink, counts, chunk, indices);
}

std::vector<uint8_t> write_arithmetic_model(const LevelContexts<DecisionCount>& counts) {
  const auto* count = reinterpret_cast<const DecisionCount*>(&counts);
  RangeEncoder encoder;
  StepContexts<AdaptiveBit> contexts;
  std::vector<uint8_t> steps(kLevelContexts);
  uint32_t changed = 0;
  for (size_t i = 0; i < kLevelContexts; ++i) {
    const uint32_t expected = expected_step(steps, i);
    if (i % kScaleBuckets == 0) {
      find_steps(count + i, std::min<size_t>(kScaleBuckets, kLevelContexts - i), expected, steps.data() + i);
    }
    const uint32_t step = steps[i];
    AdaptiveBit& context = contexts.changed[changed];
    changed = step != expected ? 1 : 0;
    encoder.encode(changed, context);
    if (changed == 0) continue;
    encoder.encode(step < expected ? 1 : 0, contexts.negative);
    const uint32_t difference = step > expected ? step - expected : expected - step;
    for (uint32_t size = 1; size <= difference; ++size) encoder.encode(size < difference ? 1 : 0, contexts.above[size]);
  }
  return encoder.finish();
}

template <typename Index>
std::vector<uint8_t> encode_arithmetic(const LevelContexts<uint16_t>& initial, const StreamLayout& chunk,
                                       const Index* indices) {
  const auto contexts = std::make_unique<LevelContexts<AdaptiveBit>>();
  const auto* probability = reinterpret_cast<const uint16_t*>(&initial);
  auto* bit = reinterpret_cast<AdaptiveBit*>(contexts.get());
  for (size_t i = 0; i < kLevelContexts; ++i) bit[i] = AdaptiveBit(probability[i]);
  EncodingSink sink;
  code_chunk(sink, *contexts, chunk, indices);
  return sink.encoder.finish();
}

template void count_decisions(const StreamLayout&, const uint8_t*, LevelContexts<DecisionCount>&);
template void count_decisions(const StreamLayout&, const uint16_t*, LevelContexts<DecisionCount>&);
template std::vector<uint8_t> encode_arithmetic(const LevelContexts<uint16_t>&, const StreamLayout&, const uint8_t*);
template std::vector<uint8_t> encode_arithmetic(const LevelContexts<uint16_t>&, const StreamLayout&, const uint16_t*);

}  // namespace quench::entropy
