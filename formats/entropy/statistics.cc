#include "formats/entropy/statistics.h"

#include <cmath>
#include <cstddef>
#include <limits>

namespace quench::entropy {

namespace {

double sum(std::span<const uint64_t> counts) {
  double total = 0;
  for (const uint64_t count : counts) total += static_cast<double>(count);
  return total;
}

}  // namespace

double entropy_bits(std::span<const uint64_t> counts) { return cross_entropy_bits(counts, counts); }

double cross_entropy_bits(std::span<const uint64_t> counts, std::span<const uint64_t> model) {
  const double total = sum(counts);
  const double model_total = sum(model);
  if (total == 0) return 0;
  double bits = 0;
  for (size_t symbol = 0; symbol < counts.size(); ++symbol) {
    if (counts[symbol] == 0) continue;
    if (model[symbol] == 0) return std::numeric_limits<double>::infinity();
    bits += static_cast<double>(counts[symbol]) * std::log2(model_total / static_cast<double>(model[symbol]));
  }
  return bits / total;
}

}  // namespace quench::entropy
