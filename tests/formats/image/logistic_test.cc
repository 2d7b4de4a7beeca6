#include "formats/image/logistic.h"

#include <gtest/gtest.h>

#include <cmath>

namespace quench::image {
namespace {

TEST(Logistic, SquashIsTheLogisticFunction) {
  for (int32_t logit = -kMaxLogit; logit <= kMaxLogit; ++logit) {
    EXPECT_NEAR(squash(logit), 65536 / (1 + std::exp(-logit / 256.0)), 1) << logit;
    EXPECT_EQ(squash(logit) + squash(-logit), 65536u) << logit;
  }
  EXPECT_EQ(squash(0), 32768u);
  EXPECT_EQ(squash(kMaxLogit + 1000), squash(kMaxLogit));
  EXPECT_EQ(squash(-kMaxLogit - 1000), squash(-kMaxLogit));
  EXPECT_GT(squash(-kMaxLogit), 0u);
}

TEST(Logistic, StretchIsItsInverse) {
  for (uint32_t i = 0; i < 4096; ++i) {
    const double probability = (i + 0.5) / 4096;
    EXPECT_NEAR(stretch(16 * i), 256 * std::log(probability / (1 - probability)), 1) << i;
    EXPECT_EQ(stretch(16 * i), stretch(16 * i + 15));
  }
}

// What all decoders must have: QIM.md names these numbers.
TEST(Logistic, TablesAreAsSpecified) {
  EXPECT_EQ(squash(1), 32831u);
  EXPECT_EQ(squash(256), 47910u);
  EXPECT_EQ(squash(kMaxLogit), 65534u);
  EXPECT_EQ(stretch(0), -2307);
  EXPECT_EQ(stretch(65535), 2307);
  uint64_t sum = 0;
  for (int32_t logit = 0; logit <= kMaxLogit; ++logit) sum += squash(logit) * static_cast<uint64_t>(logit + 1);
  EXPECT_EQ(sum, 256392551451u);
  int64_t logits = 0;
  for (int64_t i = 0; i < 4096; ++i) logits += stretch(static_cast<uint32_t>(16 * i)) * (i + 1);
  EXPECT_EQ(logits, 2149246594);
}

}  // namespace
}  // namespace quench::image
