// The one home of the order-0 entropy, for the coders, the quantizer and the reports.
#pragma once

#include <cstdint>
#include <span>

namespace quench::entropy {

// Bits per symbol of a memoryless source with these counts: -sum p log2 p (Shannon 1948). 0 when the counts sum to 0.
double entropy_bits(std::span<const uint64_t> counts);

// Bits per symbol that a code made for `model` spends on `counts` (cross entropy); infinite where a symbol that occurs
// has a model count of 0. Both spans have the same length.
double cross_entropy_bits(std::span<const uint64_t> counts, std::span<const uint64_t> model);

}  // namespace quench::entropy
