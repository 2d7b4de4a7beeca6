// What a decoder must refuse although every byte before the end makes sense: one test for each check, with damage that
// no other check sees.
#include <gtest/gtest.h>

#include "tests/formats/entropy/every_coder.h"
#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy::testing {
namespace {

class ChecksTest : public ::testing::TestWithParam<Coder> {
 protected:
  ChecksTest()
      : sample_{{3, 2, 2, 15, 7}, {7, 7, 8, 6, 7, 7, 9, 7, 5, 7, 7, 8}}, model_(fit(GetParam(), {&sample_, 1})) {}

  std::vector<uint8_t> encode(const SampleStream& sample) const {
    return *Encoder::create(model_)->encode(sample.layout, std::span<const uint16_t>(sample.indices));
  }

  // By the fast and by the plain decoder, which agree.
  StatusCode decode(std::span<const uint8_t> stream, const StreamLayout& layout) const {
    OwnedDecoder decoder(model_);
    std::vector<uint16_t> indices;
    const StatusCode code = decoder.decode(stream, layout, indices).code();
    EXPECT_EQ(decoder.decode(stream, layout, indices, true).code(), code);
    return code;
  }

  SampleStream sample_;
  std::vector<uint8_t> model_;
};

// The last two of a small alphabet, by codes; and of one so large that they follow an escape.
TEST_P(ChecksTest, IndicesBeyondTheAlphabetAreRefused) {
  for (const uint32_t last : {14u, 400u}) {
    for (const uint64_t symbols : {1, 40, 5000}) {
      SampleStream sample = make_constant_stream({1, symbols, 1, last + 1, 7}, 7);
      sample.indices.back() = static_cast<uint16_t>(last);
      const std::vector<uint8_t> stream = encode(sample);
      EXPECT_EQ(decode(stream, sample.layout), StatusCode::kOk);
      sample.layout.alphabet = last;
      EXPECT_EQ(decode(stream, sample.layout), StatusCode::kCorrupt) << last << " in " << symbols;
    }
  }
}

TEST_P(ChecksTest, IndicesOffTheTrellisAreRefused) {
  SampleStream sample = make_constant_stream({3, 4, 1, 16, 8, Trellis::kDownColumns}, 8);
  put_on_trellis(sample);
  const Encoder encoder = *Encoder::create(model_);
  EXPECT_TRUE(encoder.encode(sample.layout, std::span<const uint16_t>(sample.indices)).ok());
  sample.indices[7] ^= 1;
  ModelFitter fitter(GetParam());
  EXPECT_EQ(fitter.add(sample.layout, std::span<const uint16_t>(sample.indices)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(encoder.encode(sample.layout, std::span<const uint16_t>(sample.indices)).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_P(ChecksTest, IndicesBelowZeroAreRefused) {
  SampleStream sample = make_constant_stream({1, 40, 1, 15, 7}, 7);
  sample.indices.back() = 5;
  const std::vector<uint8_t> stream = encode(sample);
  sample.layout.zero_symbol = 2;
  EXPECT_EQ(decode(stream, sample.layout), StatusCode::kOk);
  sample.layout.zero_symbol = 1;
  EXPECT_EQ(decode(stream, sample.layout), StatusCode::kCorrupt);
}

// Each chunk decodes as it should; what is left over belongs to none.
TEST_P(ChecksTest, BytesBehindTheLastChunkAreRefused) {
  for (const uint32_t alphabet : {1u, 15u}) {
    const SampleStream sample = make_constant_stream({3, 100000, 1, alphabet, alphabet / 2}, alphabet / 2);
    const std::vector<uint8_t> stream = encode(sample);
    ASSERT_EQ(decode(stream, sample.layout), StatusCode::kOk);
    for (const size_t more : {1, 2, 100}) {
      std::vector<uint8_t> longer = stream;
      longer.resize(longer.size() + more);
      EXPECT_EQ(decode(longer, sample.layout), StatusCode::kCorrupt) << alphabet << ", " << more;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Coders, ChecksTest, ::testing::ValuesIn(every_coder()), coder_name);

class RansChecksTest : public ChecksTest {};

// The lowest 11 bits of a state choose the token; a change above them changes nothing but the state at the end.
TEST_P(RansChecksTest, AStateThatDoesNotEndAsItBeganIsRefused) {
  for (const uint64_t rows : {1, 3, 8}) {
    const SampleStream sample = make_constant_stream({rows, 1, 1, 15, 7}, 7);
    const std::vector<uint8_t> stream = encode(sample);
    ASSERT_EQ(decode(stream, sample.layout), StatusCode::kOk);
    for (uint32_t bit = 20; bit < 31; ++bit) {
      std::vector<uint8_t> other = stream;
      other[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      EXPECT_EQ(decode(other, sample.layout), StatusCode::kCorrupt) << rows << " rows, bit " << bit;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Coders, RansChecksTest, ::testing::Values(Coder::kRans));

class HuffmanChecksTest : public ChecksTest {};

TEST_P(HuffmanChecksTest, BitsThatFillTheLastByteMustBeZero) {
  for (const uint64_t symbols : {1, 2, 3}) {
    const SampleStream sample = make_constant_stream({1, symbols, 1, 15, 7}, 7);
    const std::vector<uint8_t> stream = encode(sample);
    ASSERT_EQ(decode(stream, sample.layout), StatusCode::kOk);
    std::vector<uint8_t> other = stream;
    ASSERT_FALSE(other.empty());
    other[other.size() - 1] |= 0x80;
    if (other != stream) {
      EXPECT_EQ(decode(other, sample.layout), StatusCode::kCorrupt) << symbols;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Coders, HuffmanChecksTest, ::testing::Values(Coder::kHuffman));

class ArithmeticChecksTest : public ChecksTest {};

// Another number in the last interval says the same symbols; there is one spelling only.
TEST_P(ArithmeticChecksTest, ALongerSpellingIsRefused) {
  const std::vector<uint8_t> stream = encode(sample_);
  ASSERT_LT(stream.size(), 8u);
  for (const uint8_t more : {0, 1, 128, 255}) {
    std::vector<uint8_t> longer = stream;
    longer.push_back(more);
    EXPECT_EQ(decode(longer, sample_.layout), StatusCode::kCorrupt) << unsigned{more};
  }
}

INSTANTIATE_TEST_SUITE_P(Coders, ArithmeticChecksTest, ::testing::Values(Coder::kArithmetic));

}  // namespace
}  // namespace quench::entropy::testing
