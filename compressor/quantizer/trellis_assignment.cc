#include "compressor/quantizer/trellis_assignment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "formats/base/parallel.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

using entropy::kTrellisStates;

// The two ways into a state, the one from the lower state first.
struct Way {
  uint8_t state, subset;
};
constexpr std::array<std::array<Way, 2>, kTrellisStates> ways_in() {
  std::array<std::array<Way, 2>, kTrellisStates> ways{};
  std::array<size_t, kTrellisStates> found{};
  for (uint8_t state = 0; state < kTrellisStates; ++state) {
    for (uint8_t parity = 0; parity < 2; ++parity) {
      const size_t next = entropy::kNextState[state][parity];
      ways[next][found[next]++] = {state, static_cast<uint8_t>(2 * parity + state % 2)};
    }
  }
  return ways;
}
constexpr auto kWays = ways_in();

}  // namespace

Codebook trellis_codebook(uint32_t reach) {
  Codebook symbols{1, {}, std::vector<float>(2 * size_t{reach} + 1, 0.0f), reach};
  for (uint32_t c = 0; c <= 2 * reach; ++c)
    symbols.centers.push_back(kTrellisSpacing * (static_cast<float>(c) - static_cast<float>(reach)));
  return symbols;
}

// Symbols that belong to odd states lie half a spacing higher than the codebook says.
TrellisAssigner::Subset TrellisAssigner::subset(const Codebook& symbols, float beta, uint32_t residue) {
  Codebook own;
  const float shift = residue % 2 != 0 ? kTrellisSpacing / 2 : 0.0f;
  std::vector<float> prices;
  for (size_t k = residue / 2; k < symbols.size(); k += 2) {
    own.centers.push_back(symbols.centers[k] + shift);
    own.bits.push_back(symbols.bits[k]);
    prices.push_back(beta * symbols.bits[k]);
  }
  HardAssigner assigner(own, beta);
  return {std::move(assigner), std::move(own.centers), std::move(prices)};
}

TrellisAssigner::TrellisAssigner(const Codebook& symbols, float beta)
    : zero_(2 * static_cast<float>(symbols.zero_symbol)) {
  if (symbols.dimension != 1 || symbols.size() < 3) throw Error("a trellis needs three scalar symbols or more");
  for (uint32_t residue = 0; residue < 4; ++residue) subsets_.push_back(subset(symbols, beta, residue));
}

void TrellisAssigner::assign(std::span<const float> values, uint32_t& state, std::span<uint32_t> indices,
                             Workspace& workspace) const {
  if (values.size() != indices.size()) throw Error("a trellis gives an index for each value");
  std::array<float, kTrellisStates> costs, next;
  costs.fill(std::numeric_limits<float>::infinity());
  costs[state] = 0;
  workspace.steps.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    Workspace::Step& step = workspace.steps[i];
    float prices[4];
    // Where costs overflowed, the way back would be none.
    const float value = std::isnan(values[i]) ? 0.0f : std::clamp(values[i], -kMaxMagnitude, kMaxMagnitude);
    for (uint32_t residue = 0; residue < 4; ++residue) {
      const Subset& subset = subsets_[residue];
      const uint32_t best = subset.assigner.assign(value);
      const float distance = value - subset.centers[best];
      step.symbols[residue] = best;
      prices[residue] = distance * distance + subset.prices[best];
    }
    uint32_t later = 0;
    for (uint32_t s = 0; s < kTrellisStates; ++s) {
      const float first = costs[kWays[s][0].state] + prices[kWays[s][0].subset];
      const float second = costs[kWays[s][1].state] + prices[kWays[s][1].subset];
      later |= (second < first ? 1u : 0u) << s;
      next[s] = std::min(first, second);
    }
    step.later = static_cast<uint8_t>(later);
    // Costs stay near 0, where a float32 resolves them.
    const float least = *std::min_element(next.begin(), next.end());
    for (uint32_t s = 0; s < kTrellisStates; ++s) costs[s] = next[s] - least;
  }
  uint32_t back = static_cast<uint32_t>(std::min_element(costs.begin(), costs.end()) - costs.begin());
  state = back;
  for (size_t i = values.size(); i-- > 0;) {
    const Workspace::Step& step = workspace.steps[i];
    const Way& way = kWays[back][step.later >> back & 1];
    indices[i] = 4 * step.symbols[way.subset] + way.subset;
    back = way.state;
  }
}

void TrellisAssigner::assign_all(std::span<const float> values, const entropy::StreamLayout& layout,
                                 std::span<uint32_t> indices, int threads) const {
  const uint64_t row = layout.channels * layout.inner, run = entropy::trellis_run(layout);
  const bool along = layout.trellis == entropy::Trellis::kAlongRows;
  // Line l is row l, or column l.
  const uint64_t lines = along ? layout.rows : row, length = along ? row : layout.rows;
  const uint64_t line_stride = along ? row : 1, stride = along ? 1 : row;
  constexpr size_t kLines = 64;  // at a time
  parallel_blocks(lines, kLines, threads, [&](size_t, size_t begin, size_t end) {
    Workspace workspace;
    std::vector<float> own(std::min(run, length));
    std::vector<uint32_t> chosen(own.size());
    for (uint64_t line = begin; line < end; ++line) {
      for (uint64_t first = 0; first < length; first += run) {
        const uint64_t count = std::min(run, length - first), origin = line * line_stride + first * stride;
        for (uint64_t i = 0; i < count; ++i) own[i] = values[origin + i * stride];
        uint32_t state = 0;
        assign(std::span(own).first(count), state, std::span(chosen).first(count), workspace);
        for (uint64_t i = 0; i < count; ++i) indices[origin + i * stride] = chosen[i];
      }
    }
  });
}

}  // namespace quench::quantizer
