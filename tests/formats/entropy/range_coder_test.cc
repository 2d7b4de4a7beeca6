#include <gtest/gtest.h>

#include "formats/entropy/range_decoder.h"
#include "formats/entropy/range_encoder.h"
#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy {
namespace {

struct Decision {
  uint32_t bit, probability, raw, raw_bits;
};

std::vector<Decision> draw(testing::Random& random, size_t count) {
  std::vector<Decision> decisions(count);
  const uint32_t kind = random.below(4);
  for (Decision& decision : decisions) {
    decision.probability = kind == 0 ? 1 : kind == 1 ? 65535 : 1 + random.below(65535);
    decision.bit = kind < 2 ? random.below(2) : random.below(65536) < decision.probability ? 1 : 0;
    decision.raw_bits = random.below(17);
    decision.raw = random.below(1u << decision.raw_bits);
  }
  return decisions;
}

std::vector<uint8_t> encode(const std::vector<Decision>& decisions) {
  RangeEncoder encoder;
  for (const Decision& decision : decisions) {
    encoder.encode(decision.bit, decision.probability);
    encoder.encode_raw(decision.raw, decision.raw_bits);
  }
  return encoder.finish();
}

TEST(RangeCoderTest, DecisionsComeBackAndTheEndIsExact) {
  testing::Random random(1);
  for (int round = 0; round < 3000; ++round) {
    const std::vector<Decision> decisions = draw(random, random.below(40));
    const std::vector<uint8_t> bytes = encode(decisions);
    RangeDecoder decoder(bytes);
    for (const Decision& decision : decisions) {
      ASSERT_EQ(decoder.decode(decision.probability), decision.bit);
      ASSERT_EQ(decoder.decode_raw(decision.raw_bits), decision.raw);
    }
    ASSERT_TRUE(decoder.finish().ok());
  }
}

TEST(RangeCoderTest, SizeIsWithinABitOrTwoOfWhatTheProbabilitiesSay) {
  testing::Random random(2);
  RangeEncoder encoder;
  double bits = 0;
  for (int i = 0; i < 100000; ++i) {
    const uint32_t probability = 1 + random.below(65535);
    const uint32_t bit = random.below(65536) < probability ? 1 : 0;
    encoder.encode(bit, probability);
    bits -= std::log2((bit != 0 ? probability : 65536 - probability) / 65536.0);
  }
  EXPECT_NEAR(static_cast<double>(encoder.finish().size()) * 8, bits, 12);
}

TEST(RangeCoderTest, NothingTakesNoBytes) {
  EXPECT_TRUE(RangeEncoder().finish().empty());
  EXPECT_TRUE(RangeDecoder({}).finish().ok());
}

TEST(RangeCoderTest, AnyOtherEndingIsRefused) {
  testing::Random random(3);
  for (int round = 0; round < 500; ++round) {
    const std::vector<Decision> decisions = draw(random, 1 + random.below(30));
    const std::vector<uint8_t> bytes = encode(decisions);
    for (int change = 0; change < 20; ++change) {
      std::vector<uint8_t> other = bytes;
      if (change == 0) other.push_back(0);
      if (change == 1) other.push_back(1);
      if (change == 2 && !other.empty()) other.pop_back();
      if (change > 2 && !other.empty())
        other[random.below(static_cast<uint32_t>(other.size()))] ^= static_cast<uint8_t>(1 << random.below(8));
      if (other == bytes) continue;
      RangeDecoder decoder(other);
      bool same = true;
      for (const Decision& decision : decisions) {
        same = same && decoder.decode(decision.probability) == decision.bit;
        same = same && decoder.decode_raw(decision.raw_bits) == decision.raw;
        if (!same) break;
      }
      if (same) {
        EXPECT_FALSE(decoder.finish().ok()) << "a second spelling of the same decisions";
      }
    }
  }
}

TEST(RangeCoderTest, AdaptiveEstimatesStayInsideTheirRange) {
  for (const uint32_t bit : {0u, 1u}) {
    AdaptiveBit model;
    for (int i = 0; i < 100000; ++i) {
      model.update(bit);
      ASSERT_GT(model.probability(), 0u);
      ASSERT_LT(model.probability(), 65536u);
    }
    EXPECT_NEAR(model.probability() / 65536.0, bit, 0.006);
  }
}

}  // namespace
}  // namespace quench::entropy
