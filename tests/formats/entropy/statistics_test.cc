#include "formats/entropy/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace quench::entropy {
namespace {

TEST(StatisticsTest, EntropyOfKnownDistributions) {
  EXPECT_EQ(entropy_bits({}), 0);
  EXPECT_EQ(entropy_bits(std::vector<uint64_t>{0, 0}), 0);
  EXPECT_EQ(entropy_bits(std::vector<uint64_t>{7}), 0);
  EXPECT_DOUBLE_EQ(entropy_bits(std::vector<uint64_t>{5, 5, 0, 5, 5}), 2);
  EXPECT_DOUBLE_EQ(entropy_bits(std::vector<uint64_t>{4, 2, 1, 1}), 1.75);
}

TEST(StatisticsTest, CrossEntropyIsLeastForTheTrueDistribution) {
  const std::vector<uint64_t> counts = {4, 2, 1, 1};
  EXPECT_DOUBLE_EQ(cross_entropy_bits(counts, std::vector<uint64_t>{1, 1, 1, 1}), 2);
  EXPECT_DOUBLE_EQ(cross_entropy_bits(counts, std::vector<uint64_t>{8, 4, 2, 2}), 1.75);
  EXPECT_TRUE(std::isinf(cross_entropy_bits(counts, std::vector<uint64_t>{1, 1, 1, 0})));
  EXPECT_DOUBLE_EQ(cross_entropy_bits(std::vector<uint64_t>{1, 0}, std::vector<uint64_t>{1, 0}), 0);
}

}  // namespace
}  // namespace quench::entropy
