#include "formats/entropy/rans_encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>

#include "formats/entropy/range_encoder.h"
#include "formats/entropy/rans_context.h"

namespace quench::entropy {

namespace {

using Tokens = RansCounts::Tokens;

uint32_t token_of(int32_t level, int32_t first_level) {
  return std::min(static_cast<uint32_t>(level - first_level), kRansEscape);
}

template <typename Index, typename Visit, typename EndOfColumn>
void walk_indices(const StreamLayout& chunk, const Index* indices, Visit&& visit, EndOfColumn&& end_of_column) {
  const RansGrid grid(chunk);
  const auto memory = std::make_unique<RansContext::Memory>();
  RansContext context(grid, *memory);
  const auto see = [&](uint32_t lane, uint32_t symbol, uint32_t which, int32_t sign) {
    const int32_t level = static_cast<int32_t>(indices[symbol]) - static_cast<int32_t>(chunk.zero_symbol);
    visit(lane, which, (level ^ sign) - sign, indices[symbol]);
    return level;
  };
  walk_rans(grid, context, see, [&](const int32_t*) {
    end_of_column();
    return true;
  });
}

double entropy(const Tokens& counts) {
  double total = 0, bits = 0;
  for (const uint64_t count : counts) {
    if (count == 0) continue;
    const auto value = static_cast<double>(count);
    total += value;
    bits -= value * std::log2(value);
  }
  return total > 0 ? bits + total * std::log2(total) : 0;
}

size_t used_tokens(const Tokens& counts) {
  return static_cast<size_t>(std::count_if(counts.begin(), counts.end(), [](uint64_t count) { return count != 0; }));
}

Tokens sum(const Tokens& a, const Tokens& b) {
  Tokens both;
  for (size_t i = 0; i < both.size(); ++i) both[i] = a[i] + b[i];
  return both;
}

// Merges the contexts whose tables are most alike, until kRansTables are left and no further merge saves bytes.
class Clusters {
 public:
  explicit Clusters(const std::array<Tokens, kRansContexts>& counts) {
    for (uint32_t context = 0; context < kRansContexts; ++context) {
      if (used_tokens(counts[context]) == 0) continue;
      clusters_.push_back({counts[context], entropy(counts[context]), {context}});
    }
    if (clusters_.empty()) clusters_.push_back({Tokens{}, 0, {}});
    losses_.assign(clusters_.size(), std::vector<double>(clusters_.size(), 0));
    for (size_t i = 0; i < clusters_.size(); ++i) measure(i);
    while (clusters_.size() > 1 && merge_best()) {
    }
  }

  size_t size() const { return clusters_.size(); }
  const Tokens& counts(size_t cluster) const { return clusters_[cluster].counts; }

  // A context that never occurs goes with the one before it.
  std::array<uint8_t, kRansContexts> map() const {
    std::array<uint8_t, kRansContexts> tables;
    tables.fill(kRansTables);
    for (size_t i = 0; i < clusters_.size(); ++i) {
      for (const uint32_t context : clusters_[i].contexts) tables[context] = static_cast<uint8_t>(i);
    }
    uint8_t before = 0;
    for (uint8_t& table : tables) before = table = table == kRansTables ? before : table;
    return tables;
  }

 private:
  static constexpr double kBitsPerFrequency = 7;

  struct Cluster {
    Tokens counts;
    double bits;
    std::vector<uint32_t> contexts;
  };

  void measure(size_t i) {
    for (size_t j = 0; j < clusters_.size(); ++j) {
      if (j == i) continue;
      const Tokens both = sum(clusters_[i].counts, clusters_[j].counts);
      const double saved =
          kBitsPerFrequency *
          static_cast<double>(used_tokens(clusters_[i].counts) + used_tokens(clusters_[j].counts) - used_tokens(both));
      losses_[i][j] = losses_[j][i] = entropy(both) - clusters_[i].bits - clusters_[j].bits - saved;
    }
  }

  bool merge_best() {
    double least = std::numeric_limits<double>::infinity();
    size_t a = 0, b = 1;
    for (size_t i = 0; i < clusters_.size(); ++i) {
      for (size_t j = i + 1; j < clusters_.size(); ++j) {
        if (losses_[i][j] < least) {
          least = losses_[i][j];
          a = i;
          b = j;
        }
      }
    }
    if (clusters_.size() <= kRansTables && least >= 0) return false;
    clusters_[a].counts = sum(clusters_[a].counts, clusters_[b].counts);
    clusters_[a].bits = entropy(clusters_[a].counts);
    clusters_[a].contexts.insert(clusters_[a].contexts.end(), clusters_[b].contexts.begin(),
                                 clusters_[b].contexts.end());
    clusters_.erase(clusters_.begin() + static_cast<ptrdiff_t>(b));
    losses_.erase(losses_.begin() + static_cast<ptrdiff_t>(b));
    for (auto& row : losses_) row.erase(row.begin() + static_cast<ptrdiff_t>(b));
    measure(a);
    return true;
  }

  std::vector<Cluster> clusters_;
  std::vector<std::vector<double>> losses_;
};

// Frequencies that sum to kRansTotal, at least 1 for what occurs and for the escape.
std::array<uint16_t, kRansTokens> normalize(Tokens counts) {
  counts[kRansEscape] = std::max<uint64_t>(counts[kRansEscape], 1);
  uint64_t total = 0;
  for (const uint64_t count : counts) total += count;
  std::array<uint16_t, kRansTokens> frequencies{};
  int32_t left = kRansTotal;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    const double share = static_cast<double>(counts[i]) / static_cast<double>(total) * kRansTotal;
    frequencies[i] = static_cast<uint16_t>(std::max(1.0, std::floor(share + 0.5)));
    left -= frequencies[i];
  }
  // One step at a time where it costs the fewest bits, or saves the most.
  while (left != 0) {
    const int32_t step = left > 0 ? 1 : -1;
    size_t best = kRansTokens;
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < counts.size(); ++i) {
      if (frequencies[i] == 0 || frequencies[i] + step < 1) continue;
      const double cost =
          static_cast<double>(counts[i]) * std::log2(static_cast<double>(frequencies[i]) / (frequencies[i] + step));
      if (cost < least) {
        least = cost;
        best = i;
      }
    }
    frequencies[best] = static_cast<uint16_t>(frequencies[best] + step);
    left -= step;
  }
  return frequencies;
}

void encode_tree(RangeEncoder& encoder, AdaptiveBit* contexts, uint32_t leaves, uint32_t leaf) {
  uint32_t node = 1;
  for (uint32_t half = leaves / 2; half > 0; half /= 2) {
    const uint32_t bit = (leaf & half) != 0 ? 1 : 0;
    encoder.encode(bit, contexts[node]);
    node = node << 1 | bit;
  }
}

struct CodedLevel {
  uint8_t lane;
  uint8_t table;
  uint8_t token;
  uint16_t index;
};

}  // namespace

template <typename Index>
void count_levels(const StreamLayout& chunk, const Index* indices, RansCounts& counts) {
  const auto visit = [&](uint32_t, uint32_t context, int32_t level, Index) {
    if (level < 0) counts.is_signed = true;
    ++counts.of_signed[context][token_of(level, kRansSignedFirst)];
    ++counts.of_unsigned[context][token_of(level, 0)];
  };
  walk_indices(chunk, indices, visit, [] {});
}

std::vector<uint8_t> write_rans_model(const RansCounts& counts) {
  const Clusters clusters(counts.is_signed ? counts.of_signed : counts.of_unsigned);
  RangeEncoder encoder;
  RansModelContexts<AdaptiveBit> contexts;
  uint32_t before = 0;
  for (const uint8_t table : clusters.map()) {
    encode_tree(encoder, contexts.table[before], kRansTables, table);
    before = table;
  }
  for (size_t table = 0; table < clusters.size(); ++table) {
    uint32_t width = 0;
    for (const uint16_t frequency : normalize(clusters.counts(table))) {
      const auto bits = static_cast<uint32_t>(std::bit_width(frequency));
      encode_tree(encoder, contexts.width[width], 1u << kWidthBits, bits);
      if (bits > 0) encoder.encode_raw(frequency & ((1u << (bits - 1)) - 1), bits - 1);
      width = bits;
    }
  }
  std::vector<uint8_t> model = encoder.finish();
  model.insert(model.begin(), static_cast<uint8_t>((clusters.size() - 1) << 1 | (counts.is_signed ? 1 : 0)));
  return model;
}

template <typename Index>
std::vector<uint8_t> encode_rans(const RansModel& model, const StreamLayout& chunk, const Index* indices) {
  std::vector<CodedLevel> levels;
  std::vector<size_t> column_ends;
  const auto visit = [&](uint32_t lane, uint32_t context, int32_t level, Index index) {
    const uint8_t table = model.table_of_context[context];
    uint32_t token = token_of(level, model.first_level());
    if (model.frequencies[table][token] == 0) token = kRansEscape;
    levels.push_back({static_cast<uint8_t>(lane), table, static_cast<uint8_t>(token), static_cast<uint16_t>(index)});
  };
  walk_indices(chunk, indices, visit, [&] { column_ends.push_back(levels.size()); });

  std::array<std::array<uint16_t, kRansTokens>, kRansTables> starts{};
  for (uint32_t table = 0; table < model.tables; ++table) {
    for (uint32_t token = 1; token < kRansTokens; ++token) {
      starts[table][token] = static_cast<uint16_t>(starts[table][token - 1] + model.frequencies[table][token - 1]);
    }
  }

  // Backwards, because the decoder takes off first what was put on last.
  std::array<uint32_t, kRansLanes> states;
  states.fill(kRansLowest);
  std::vector<uint16_t> words;
  for (size_t column = column_ends.size(); column-- > 0;) {
    const size_t first = column == 0 ? 0 : column_ends[column - 1];
    for (size_t i = column_ends[column]; i-- > first;) {
      if (levels[i].token == kRansEscape) words.push_back(levels[i].index);
    }
    for (size_t i = column_ends[column]; i-- > first;) {
      const CodedLevel& level = levels[i];
      uint32_t& state = states[level.lane];
      const uint32_t frequency = model.frequencies[level.table][level.token];
      if (state >= uint64_t{frequency} << (32 - kRansPrecision)) {
        words.push_back(static_cast<uint16_t>(state));
        state >>= 16;
      }
      state = (state / frequency << kRansPrecision) + state % frequency + starts[level.table][level.token];
    }
  }

  std::vector<uint8_t> bytes;
  const RansGrid grid(chunk);
  for (uint32_t lane = 0; lane < grid.lanes; ++lane) {
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<uint8_t>(states[lane] >> shift));
  }
  for (size_t i = words.size(); i-- > 0;) {
    bytes.push_back(static_cast<uint8_t>(words[i]));
    bytes.push_back(static_cast<uint8_t>(words[i] >> 8));
  }
  return bytes;
}

template void count_levels(const StreamLayout&, const uint8_t*, RansCounts&);
template void count_levels(const StreamLayout&, const uint16_t*, RansCounts&);
template std::vector<uint8_t> encode_rans(const RansModel&, const StreamLayout&, const uint8_t*);
template std::vector<uint8_t> encode_rans(const RansModel&, const StreamLayout&, const uint16_t*);

}  // namespace quench::entropy
