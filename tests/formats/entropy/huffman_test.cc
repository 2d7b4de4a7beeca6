#include <gtest/gtest.h>

#include <algorithm>
#include <queue>

#include "formats/entropy/huffman_encoder.h"
#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy {
namespace {

uint64_t cost(std::span<const uint64_t> counts, std::span<const uint8_t> lengths) {
  uint64_t bits = 0;
  for (size_t i = 0; i < counts.size(); ++i) bits += counts[i] * lengths[i];
  return bits;
}

// The cost of Huffman's own code, without a limit on lengths: each merge adds a bit to all it holds.
uint64_t unlimited_cost(std::span<const uint64_t> counts) {
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue;
  for (const uint64_t count : counts) {
    if (count != 0) queue.push(count);
  }
  uint64_t bits = 0;
  while (queue.size() > 1) {
    const uint64_t a = queue.top();
    queue.pop();
    const uint64_t b = queue.top();
    queue.pop();
    bits += a + b;
    queue.push(a + b);
  }
  return bits;
}

// The cheapest complete code with limited lengths, by trying all that fall with rising counts.
uint64_t best_by_search(const std::vector<uint64_t>& descending, size_t symbol, uint32_t shortest, uint32_t limit,
                        uint32_t room) {
  if (symbol == descending.size()) return room == 0 ? 0 : ~uint64_t{0} / 2;
  uint64_t best = ~uint64_t{0} / 2;
  for (uint32_t length = shortest; length <= limit; ++length) {
    const uint32_t share = 1u << (limit - length);
    if (share > room) continue;
    best = std::min(best,
                    descending[symbol] * length + best_by_search(descending, symbol + 1, length, limit, room - share));
  }
  return best;
}

void expect_complete(std::span<const uint8_t> lengths, uint32_t limit) {
  uint64_t sum = 0;
  for (const uint8_t length : lengths) {
    ASSERT_LE(length, limit);
    if (length != 0) sum += uint64_t{1} << (limit - length);
  }
  EXPECT_EQ(sum, uint64_t{1} << limit);
}

TEST(HuffmanTest, CodesAreAsShortAsHuffmansWhereTheLimitDoesNotBind) {
  testing::Random random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<uint64_t> counts(2 + random.below(60));
    for (uint64_t& count : counts) count = 1 + random.below(50);
    const std::vector<uint8_t> lengths = limited_code_lengths(counts, 12);
    expect_complete(lengths, 12);
    EXPECT_EQ(cost(counts, lengths), unlimited_cost(counts));
  }
}

TEST(HuffmanTest, CodesAreOptimalUnderALimitThatBinds) {
  testing::Random random(2);
  for (int round = 0; round < 60; ++round) {
    std::vector<uint64_t> counts(3 + random.below(7));
    for (uint64_t& count : counts) count = uint64_t{1} << random.below(14);
    const std::vector<uint8_t> lengths = limited_code_lengths(counts, 4);
    expect_complete(lengths, 4);
    std::vector<uint64_t> descending = counts;
    std::sort(descending.rbegin(), descending.rend());
    EXPECT_EQ(cost(counts, lengths), best_by_search(descending, 0, 1, 4, 16));
  }
}

TEST(HuffmanTest, SymbolsThatDoNotOccurGetNoCode) {
  const std::vector<uint64_t> counts = {5, 0, 3, 0, 0, 1};
  const std::vector<uint8_t> lengths = limited_code_lengths(counts, 12);
  EXPECT_EQ(lengths, (std::vector<uint8_t>{1, 0, 2, 0, 0, 2}));
}

}  // namespace
}  // namespace quench::entropy
