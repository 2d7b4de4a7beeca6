// The encoding end of the adaptive arithmetic coder, and the fit of its initial probabilities.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "formats/entropy/arithmetic_model.h"
#include "formats/entropy/coder.h"

namespace quench::entropy {

struct DecisionCount {
  uint64_t of[2] = {0, 0};
};

// Adds how often each decision of one chunk falls either way.
template <typename Index>
void count_decisions(const StreamLayout& chunk, const Index* indices, LevelContexts<DecisionCount>& counts);

// The model without its coder byte.
std::vector<uint8_t> write_arithmetic_model(const LevelContexts<DecisionCount>& counts);

// `initial` as in a parsed model; the indices are below the alphabet.
template <typename Index>
std::vector<uint8_t> encode_arithmetic(const LevelContexts<uint16_t>& initial, const StreamLayout& chunk,
                                       const Index* indices);

}  // namespace quench::entropy
