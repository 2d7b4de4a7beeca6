// Damaged streams and models: an error or other indices, but nothing out of range, and all decoders of one mind.
#include <gtest/gtest.h>

#include "formats/base/simd_dispatch.h"
#include "tests/formats/entropy/every_coder.h"
#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy::testing {
namespace {

class DamageTest : public ::testing::TestWithParam<Coder> {
 protected:
  DamageTest() {
    Random random(21);
    samples_.push_back(make_stream(random, {20, 6, 9, 31, 15}, 1.5));
    samples_.push_back(make_stream(random, {70, 9, 1, 16, 0}, 3));
    samples_.push_back(make_stream(random, {1, 1, 40, 2001, 1000}, 300));
    samples_.push_back(make_stream(random, {1, 1, 700, 5, 2}, 0.6));
    model_ = fit(GetParam(), samples_);
    for (const SampleStream& sample : samples_) {
      streams_.push_back(*Encoder::create(model_)->encode(sample.layout, std::span<const uint16_t>(sample.indices)));
    }
  }

  // Decodes with all the decoders there are; they agree on success and on the result, which is in range.
  bool decode_everywhere(OwnedDecoder& decoder, std::span<const uint8_t> stream, const StreamLayout& layout,
                         std::vector<uint16_t>& indices) {
    const bool expected = decoder.decode(stream, layout, indices, true).ok();
    for (const int64_t target : {HWY_SCALAR, HWY_SSE4, HWY_AVX2, HWY_AVX3, HWY_NEON}) {
      const simd::RestrictTargets only(target);
      if (!only.possible() || (GetParam() != Coder::kRans && target != HWY_AVX2)) continue;
      std::vector<uint16_t> again;
      EXPECT_EQ(decoder.decode(stream, layout, again).ok(), expected) << "target " << target;
      if (expected) {
        EXPECT_EQ(again, indices);
      }
    }
    if (expected) {
      for (const uint16_t index : indices) EXPECT_LT(index, layout.alphabet);
    }
    return expected;
  }

  std::vector<SampleStream> samples_;
  std::vector<uint8_t> model_;
  std::vector<std::vector<uint8_t>> streams_;
};

// Copies to the heap at the exact size, so that AddressSanitizer sees any read behind the end.
std::vector<uint8_t> exact(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

// A range coder's number that is cut by a few digits is another number: then the symbols differ.
size_t undetected_cut(Coder coder) { return coder == Coder::kArithmetic ? 8 : 0; }

TEST_P(DamageTest, EveryPrefixIsRefused) {
  OwnedDecoder decoder(model_);
  for (size_t i = 0; i < samples_.size(); ++i) {
    for (size_t size = 0; size < streams_[i].size(); ++size) {
      std::vector<uint16_t> indices;
      const std::vector<uint8_t> prefix = exact(std::span(streams_[i]).first(size));
      const bool decodes = decode_everywhere(decoder, prefix, samples_[i].layout, indices);
      if (size + undetected_cut(GetParam()) < streams_[i].size()) {
        EXPECT_FALSE(decodes) << "stream " << i << ", " << size << " bytes";
      } else if (decodes) {
        EXPECT_NE(indices, samples_[i].indices);
      }
    }
  }
}

TEST_P(DamageTest, BytesBehindTheEndAreRefused) {
  OwnedDecoder decoder(model_);
  for (size_t i = 0; i < samples_.size(); ++i) {
    for (const size_t more : {1, 2, 4, 64, 500}) {
      for (const uint8_t value : {0, 1, 255}) {
        std::vector<uint8_t> longer = streams_[i];
        longer.resize(longer.size() + more, value);
        std::vector<uint16_t> indices;
        const bool decodes = decode_everywhere(decoder, longer, samples_[i].layout, indices);
        if (more > undetected_cut(GetParam())) {
          EXPECT_FALSE(decodes) << "stream " << i << ", " << more;
        } else if (decodes) {
          EXPECT_NE(indices, samples_[i].indices) << "stream " << i << ", " << more;
        }
      }
    }
  }
}

TEST_P(DamageTest, FlippedBitsNeverGiveIndicesOutOfRange) {
  OwnedDecoder decoder(model_);
  Random random(31);
  for (int round = 0; round < 1500; ++round) {
    const size_t i = random.below(static_cast<uint32_t>(samples_.size()));
    std::vector<uint8_t> damaged = streams_[i];
    for (uint32_t flips = 1 + random.below(3); flips > 0; --flips) {
      damaged[random.below(static_cast<uint32_t>(damaged.size()))] ^= static_cast<uint8_t>(1 << random.below(8));
    }
    std::vector<uint16_t> indices;
    decode_everywhere(decoder, damaged, samples_[i].layout, indices);
  }
}

TEST_P(DamageTest, RandomBytesNeverGiveIndicesOutOfRange) {
  OwnedDecoder decoder(model_);
  Random random(41);
  for (int round = 0; round < 300; ++round) {
    const SampleStream& sample = samples_[random.below(static_cast<uint32_t>(samples_.size()))];
    std::vector<uint8_t> bytes(random.below(600));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.next());
    std::vector<uint16_t> indices;
    decode_everywhere(decoder, bytes, sample.layout, indices);
  }
}

// Or it is that of another model, which a range coder's number may be.
TEST_P(DamageTest, EveryPrefixOfTheModelIsRefused) {
  for (size_t size = 0; size + 8 < model_.size(); ++size) {
    const std::vector<uint8_t> prefix = exact(std::span(model_).first(size));
    OwnedDecoder decoder(prefix);
    EXPECT_EQ(Encoder::create(prefix).ok(), decoder.status().ok()) << size;
    if (GetParam() != Coder::kArithmetic) {
      EXPECT_FALSE(decoder.status().ok()) << size;
    }
    if (!decoder.status().ok()) continue;
    bool same = true;
    for (size_t i = 0; i < samples_.size(); ++i) {
      std::vector<uint16_t> indices;
      same = decode_everywhere(decoder, streams_[i], samples_[i].layout, indices) && indices == samples_[i].indices &&
             same;
    }
    EXPECT_FALSE(same) << size;
  }
}

TEST_P(DamageTest, AModelWithFlippedBitsIsRefusedOrWorks) {
  Random random(51);
  for (int round = 0; round < 400; ++round) {
    std::vector<uint8_t> damaged = model_;
    damaged[random.below(static_cast<uint32_t>(damaged.size()))] ^= static_cast<uint8_t>(1 << random.below(8));
    OwnedDecoder decoder(damaged);
    if (!decoder.status().ok()) continue;
    for (size_t i = 0; i < samples_.size(); ++i) {
      std::vector<uint16_t> indices;
      if (damaged[0] == model_[0]) decode_everywhere(decoder, streams_[i], samples_[i].layout, indices);
    }
  }
}

TEST_P(DamageTest, ADamagedTableOfChunksIsRefused) {
  Random random(61);
  const SampleStream sample = make_stream(random, {3, 100000, 1, 3, 1}, 0.2);
  const std::vector<uint8_t> model = fit(GetParam(), {&sample, 1});
  const std::vector<uint8_t> stream =
      *Encoder::create(model)->encode(sample.layout, std::span<const uint16_t>(sample.indices));
  OwnedDecoder decoder(model);
  std::vector<uint8_t> out;
  ASSERT_TRUE(decoder.decode(stream, sample.layout, out).ok());
  for (size_t byte = 0; byte < 8 * chunk_count(sample.layout); ++byte) {
    for (const int bit : {0, 4, 7}) {
      std::vector<uint8_t> damaged = stream;
      damaged[byte] ^= static_cast<uint8_t>(1 << bit);
      EXPECT_FALSE(decoder.decode(damaged, sample.layout, out).ok()) << "byte " << byte << " bit " << bit;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Coders, DamageTest, ::testing::ValuesIn(every_coder()), coder_name);

}  // namespace
}  // namespace quench::entropy::testing
