// Models that contradict themselves, made by hand.
#include <gtest/gtest.h>

#include "formats/entropy/huffman_model.h"
#include "formats/entropy/range_encoder.h"
#include "formats/entropy/rans_model.h"
#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy::testing {
namespace {

void encode_tree(RangeEncoder& encoder, AdaptiveBit* contexts, uint32_t bits, uint32_t leaf) {
  uint32_t node = 1;
  for (uint32_t i = bits; i-- > 0;) {
    const uint32_t bit = leaf >> i & 1;
    encoder.encode(bit, contexts[node]);
    node = node << 1 | bit;
  }
}

std::vector<uint8_t> huffman_model(uint32_t tokens, int32_t first_level, const std::vector<uint8_t>& lengths) {
  std::vector<uint8_t> model = {static_cast<uint8_t>(Coder::kHuffman), static_cast<uint8_t>(tokens),
                                static_cast<uint8_t>(tokens >> 8), static_cast<uint8_t>(first_level),
                                static_cast<uint8_t>(first_level >> 8)};
  RangeEncoder encoder;
  LengthContexts<AdaptiveBit> contexts;
  uint32_t before = 0;
  for (const uint8_t length : lengths) {
    encode_tree(encoder, contexts.node[before], kLengthBits, length);
    before = std::min<uint32_t>(length, kMaxCodeLength);
  }
  const std::vector<uint8_t> coded = encoder.finish();
  model.insert(model.end(), coded.begin(), coded.end());
  return model;
}

TEST(ModelTest, HuffmanCodesMustBeComplete) {
  EXPECT_TRUE(OwnedDecoder(huffman_model(3, -1, {2, 1, 2})).status().ok());
  EXPECT_FALSE(OwnedDecoder(huffman_model(3, -1, {2, 2, 2})).status().ok());  // too few
  EXPECT_FALSE(OwnedDecoder(huffman_model(3, -1, {1, 1, 2})).status().ok());  // too many
  EXPECT_FALSE(OwnedDecoder(huffman_model(3, -1, {1, 1, 0})).status().ok());  // no escape
  EXPECT_FALSE(OwnedDecoder(huffman_model(3, -1, {2, 13, 1})).status().ok());
  EXPECT_FALSE(OwnedDecoder(huffman_model(3, -600, {2, 1, 2})).status().ok());
  EXPECT_FALSE(OwnedDecoder(huffman_model(3, 1, {2, 1, 2})).status().ok());
  EXPECT_FALSE(OwnedDecoder(huffman_model(1, 0, {1})).status().ok());
  EXPECT_FALSE(OwnedDecoder(huffman_model(2000, 0, std::vector<uint8_t>(2000, 11))).status().ok());
}

std::vector<uint8_t> rans_model(uint8_t head, const std::vector<uint16_t>& frequencies,
                                uint32_t last_context_table = 0) {
  RangeEncoder encoder;
  RansModelContexts<AdaptiveBit> contexts;
  for (uint32_t context = 0; context < kRansContexts; ++context) {
    encode_tree(encoder, contexts.table[0], 4, context + 1 < kRansContexts ? 0 : last_context_table);
  }
  uint32_t before = 0;
  for (const uint16_t frequency : frequencies) {
    const auto width = static_cast<uint32_t>(std::bit_width(frequency));
    encode_tree(encoder, contexts.width[before], kWidthBits, width);
    if (width > 0) encoder.encode_raw(frequency & ((1u << (width - 1)) - 1), width - 1);
    before = std::min(width, kRansPrecision + 1);
  }
  std::vector<uint8_t> model = encoder.finish();
  model.insert(model.begin(), {static_cast<uint8_t>(Coder::kRans), head});
  return model;
}

TEST(ModelTest, RansFrequenciesMustSumToThePowerOfTwo) {
  std::vector<uint16_t> frequencies(kRansTokens, kRansTotal / kRansTokens);
  EXPECT_TRUE(OwnedDecoder(rans_model(1, frequencies)).status().ok());
  EXPECT_FALSE(OwnedDecoder(rans_model(1, frequencies, 1)).status().ok());  // a table that is not there
  EXPECT_FALSE(OwnedDecoder(rans_model(255, frequencies)).status().ok());
  frequencies[3] += 1;
  EXPECT_FALSE(OwnedDecoder(rans_model(1, frequencies)).status().ok());
  frequencies[3] -= 2;
  EXPECT_FALSE(OwnedDecoder(rans_model(1, frequencies)).status().ok());
  frequencies[3] = 2 * kRansTotal / kRansTokens;
  frequencies[kRansEscape] = 0;
  EXPECT_FALSE(OwnedDecoder(rans_model(1, frequencies)).status().ok());  // no escape
  std::vector<uint16_t> single(kRansTokens, 0);
  single[kRansEscape] = kRansTotal;
  EXPECT_TRUE(OwnedDecoder(rans_model(1, single)).status().ok());
  single[0] = 2 * kRansTotal - 1;
  EXPECT_FALSE(OwnedDecoder(rans_model(1, single)).status().ok());
}

TEST(ModelTest, UnknownCodersAndOverlongModelsAreRefused) {
  for (const int coder : {0, 4, 17, 255}) {
    const std::vector<uint8_t> model = {static_cast<uint8_t>(coder), 0, 0, 0};
    EXPECT_EQ(OwnedDecoder(model).status().code(), StatusCode::kUnsupportedFeature);
    EXPECT_EQ(Encoder::create(model).status().code(), StatusCode::kUnsupportedFeature);
  }
  EXPECT_FALSE(OwnedDecoder(std::vector<uint8_t>()).status().ok());
  EXPECT_FALSE(OwnedDecoder(std::vector<uint8_t>(kMaxModelBytes + 1, 3)).status().ok());
}

TEST(ModelTest, MemoryIsBounded) {
  for (int head = 0; head < 256; ++head) {
    for (const uint8_t coder : {1, 2, 3}) {
      const std::vector<uint8_t> model = {coder, static_cast<uint8_t>(head)};
      const Result<size_t> bytes = Decoder::memory_bytes(model);
      ASSERT_TRUE(bytes.ok());
      EXPECT_LE(*bytes, kMaxDecoderMemory);
    }
  }
}

}  // namespace
}  // namespace quench::entropy::testing
