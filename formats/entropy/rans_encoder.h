// The encoding end of the rANS coder, and the fit of its tables.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/entropy/coder.h"
#include "formats/entropy/rans_model.h"

namespace quench::entropy {

// How often each level, after its sign was put right by the context, occurs in each context.
struct RansCounts {
  using Tokens = std::array<uint64_t, kRansTokens>;
  std::array<Tokens, kRansContexts> of_signed{};    // level + 127; the escape counts the others
  std::array<Tokens, kRansContexts> of_unsigned{};  // level
  bool is_signed = false;
};

template <typename Index>
void count_levels(const StreamLayout& chunk, const Index* indices, RansCounts& counts);

// The model without its coder byte.
std::vector<uint8_t> write_rans_model(const RansCounts& counts);

template <typename Index>
std::vector<uint8_t> encode_rans(const RansModel& model, const StreamLayout& chunk, const Index* indices);

}  // namespace quench::entropy
