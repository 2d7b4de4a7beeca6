// Round trips of index streams through every coder.
#include <gtest/gtest.h>

#include "formats/base/simd_dispatch.h"
#include "tests/formats/entropy/every_coder.h"
#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy::testing {
namespace {

constexpr int64_t kTargets[] = {HWY_SCALAR, HWY_EMU128, HWY_SSE4, HWY_AVX2, HWY_AVX3, HWY_NEON};

class StreamTest : public ::testing::TestWithParam<Coder> {};

std::string describe(const StreamLayout& layout) {
  return std::to_string(layout.rows) + "x" + std::to_string(layout.channels) + "x" + std::to_string(layout.inner) +
         " alphabet " + std::to_string(layout.alphabet) + " zero " + std::to_string(layout.zero_symbol) + " trellis " +
         std::to_string(static_cast<int>(layout.trellis));
}

std::vector<uint8_t> encode(const Encoder& encoder, const SampleStream& sample) {
  Result<std::vector<uint8_t>> stream = encoder.encode(sample.layout, std::span<const uint16_t>(sample.indices));
  EXPECT_TRUE(stream.ok()) << stream.status().detail();
  return *stream;
}

void expect_round_trip(const Encoder& encoder, OwnedDecoder& decoder, const SampleStream& sample) {
  SCOPED_TRACE(describe(sample.layout));
  const std::vector<uint8_t> stream = encode(encoder, sample);
  for (const bool reference : {true, false}) {
    std::vector<uint16_t> wide;
    const Status status = decoder.decode(stream, sample.layout, wide, reference);
    ASSERT_TRUE(status.ok()) << status.detail() << (reference ? " (reference)" : "");
    ASSERT_EQ(wide, sample.indices);
    if (sample.layout.alphabet > 256) continue;
    std::vector<uint8_t> narrow;
    ASSERT_TRUE(decoder.decode(stream, sample.layout, narrow, reference).ok());
    ASSERT_EQ(narrow, sample.narrow());
    EXPECT_EQ(*encoder.encode(sample.layout, std::span<const uint8_t>(narrow)), stream);
  }
}

TEST_P(StreamTest, EveryStreamComesBackUnderOneModelForAll) {
  const std::vector<SampleStream> samples = sample_streams();
  const std::vector<uint8_t> model = fit(GetParam(), samples);
  const Result<Encoder> encoder = Encoder::create(model);
  ASSERT_TRUE(encoder.ok()) << encoder.status().detail();
  OwnedDecoder decoder(model);
  ASSERT_TRUE(decoder.status().ok()) << decoder.status().detail();
  for (const SampleStream& sample : samples) expect_round_trip(*encoder, decoder, sample);
}

TEST_P(StreamTest, EveryStreamComesBackUnderAModelFittedToNothing) {
  const std::vector<uint8_t> model = fit(GetParam(), {});
  const Result<Encoder> encoder = Encoder::create(model);
  ASSERT_TRUE(encoder.ok()) << encoder.status().detail();
  OwnedDecoder decoder(model);
  ASSERT_TRUE(decoder.status().ok()) << decoder.status().detail();
  const std::vector<SampleStream> samples = sample_streams();
  for (size_t i = 0; i < samples.size(); i += 5) expect_round_trip(*encoder, decoder, samples[i]);
}

TEST_P(StreamTest, EveryStreamComesBackUnderAModelOfIndicesWithoutSign) {
  Random random(3);
  const SampleStream unsigned_sample = make_stream(random, {64, 100, 1, 256, 0}, 25);
  const std::vector<uint8_t> model = fit(GetParam(), {&unsigned_sample, 1});
  const Result<Encoder> encoder = Encoder::create(model);
  ASSERT_TRUE(encoder.ok());
  OwnedDecoder decoder(model);
  ASSERT_TRUE(decoder.status().ok());
  expect_round_trip(*encoder, decoder, unsigned_sample);
  const std::vector<SampleStream> samples = sample_streams();
  for (size_t i = 0; i < samples.size(); i += 7) expect_round_trip(*encoder, decoder, samples[i]);
}

TEST_P(StreamTest, EverySimdTargetDecodesLikeTheReference) {
  const std::vector<SampleStream> samples = sample_streams();
  const std::vector<uint8_t> model = fit(GetParam(), samples);
  const Result<Encoder> encoder = Encoder::create(model);
  ASSERT_TRUE(encoder.ok());
  OwnedDecoder decoder(model);
  int tried = 0;
  for (const int64_t target : kTargets) {
    const simd::RestrictTargets only(target);
    if (!only.possible()) continue;
    ++tried;
    SCOPED_TRACE("target " + std::to_string(target));
    for (size_t i = 0; i < samples.size(); i += 2) expect_round_trip(*encoder, decoder, samples[i]);
  }
  EXPECT_GT(tried, 0);
}

TEST_P(StreamTest, ChunksDecodeAloneAndInAnyOrder) {
  Random random(5);
  for (const StreamLayout& layout :
       {StreamLayout{600, 500, 1, 31, 15}, StreamLayout{2, 300000, 1, 31, 15}, StreamLayout{1, 1, 600001, 31, 15},
        StreamLayout{90, 400, 9, 31, 15}, StreamLayout{90, 400, 9, 32, 16, Trellis::kDownColumns},
        StreamLayout{600, 500, 1, 32, 16, Trellis::kAlongRows},
        StreamLayout{2, 300000, 1, 32, 16, Trellis::kAlongRows}}) {
    SCOPED_TRACE(describe(layout));
    SampleStream sample = make_stream(random, layout, 1.5);
    if (layout.trellis != Trellis::kNone) put_on_trellis(sample);
    const std::vector<uint8_t> model = fit(GetParam(), {&sample, 1});
    const Result<Encoder> encoder = Encoder::create(model);
    ASSERT_TRUE(encoder.ok());
    OwnedDecoder decoder(model);
    const std::vector<uint8_t> stream = encode(*encoder, sample);
    const uint64_t count = chunk_count(layout);
    ASSERT_GT(count, 1u);
    std::vector<uint8_t> whole;
    ASSERT_TRUE(decoder.decode(stream, layout, whole).ok());
    ASSERT_EQ(whole, sample.narrow());
    std::vector<uint8_t> parts(layout.symbols());
    for (uint64_t i = count; i-- > 0;) {
      const Chunk chunk = chunk_at(layout, i);
      const std::span<uint8_t> out = std::span(parts).subspan(chunk.first_symbol, chunk.layout.symbols());
      ASSERT_TRUE((*decoder).decode_chunk(stream, layout, i, out, decoder.scratch()).ok());
    }
    ASSERT_EQ(parts, whole);
    EXPECT_EQ((*decoder).decode_chunk(stream, layout, count, std::span(parts), decoder.scratch()).code(),
              StatusCode::kInvalidArgument);
  }
}

TEST_P(StreamTest, TheSameInputGivesTheSameBytes) {
  const std::vector<SampleStream> samples = sample_streams();
  const std::vector<uint8_t> model = fit(GetParam(), samples);
  EXPECT_EQ(model, fit(GetParam(), samples));
  const Result<Encoder> a = Encoder::create(model), b = Encoder::create(model);
  for (size_t i = 0; i < samples.size(); i += 3) EXPECT_EQ(encode(*a, samples[i]), encode(*b, samples[i]));
}

TEST_P(StreamTest, WrongArgumentsAreRefused) {
  const std::vector<uint8_t> model = fit(GetParam(), {});
  const Result<Encoder> encoder = Encoder::create(model);
  const std::vector<uint16_t> indices = {0, 1, 2, 3};
  EXPECT_EQ(encoder->encode({1, 1, 5, 9, 0}, std::span<const uint16_t>(indices)).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(encoder->encode({1, 1, 4, 3, 0}, std::span<const uint16_t>(indices)).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(encoder->encode({1, 1, 4, 4, 4}, std::span<const uint16_t>(indices)).status().code(),
            StatusCode::kInvalidArgument);

  OwnedDecoder decoder(model);
  const std::vector<uint8_t> stream = *encoder->encode({1, 1, 4, 4, 0}, std::span<const uint16_t>(indices));
  std::vector<uint8_t> out(4);
  EXPECT_EQ((*decoder).decode(stream, {1, 1, 5, 4, 0}, std::span(out), decoder.scratch()).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ((*decoder).decode(stream, {1, 1, 4, 257, 0}, std::span(out), decoder.scratch()).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ((*decoder).decode(stream, {1, 1, 4, 4, 0}, std::span(out), decoder.scratch().subspan(64)).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(Decoder().decode(stream, {1, 1, 4, 4, 0}, std::span(out), decoder.scratch()).code(), StatusCode::kNotReady);
  std::vector<uint8_t> memory(1 << 20);
  EXPECT_EQ(Decoder::create(model, std::span(memory).first(10)).status().code(), StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Coders, StreamTest, ::testing::ValuesIn(every_coder()), coder_name);

// Weights of a small convolutional net: what each coder must reach, including the model.
double size_over_entropy(Coder coder, double scale) {
  Random random(11);
  std::vector<SampleStream> samples;
  for (int i = 0; i < 6; ++i) samples.push_back(make_stream(random, {32, 32, 9, 63, 31}, scale));
  std::vector<uint64_t> counts(63);
  size_t symbols = 0;
  for (const SampleStream& sample : samples) {
    for (const uint16_t index : sample.indices) ++counts[index];
    symbols += sample.indices.size();
  }
  double total = 0;
  for (const uint64_t count : counts) {
    if (count != 0)
      total -= static_cast<double>(count) * std::log2(static_cast<double>(count) / static_cast<double>(symbols));
  }
  const std::vector<uint8_t> model = fit(coder, samples);
  const Result<Encoder> encoder = Encoder::create(model);
  size_t bytes = model.size();
  for (const SampleStream& sample : samples) bytes += encode(*encoder, sample).size();
  return static_cast<double>(bytes) * 8 / total;
}

TEST(CompressionTest, ScalesOfRowsAndChannelsAndCorrelationAreMadeUseOf) {
  for (const double scale : {0.4, 1.5}) {
    EXPECT_LT(size_over_entropy(Coder::kHuffman, scale), 1.08);
    EXPECT_LT(size_over_entropy(Coder::kRans, scale), 0.98);
    EXPECT_LT(size_over_entropy(Coder::kArithmetic, scale), 0.95);
  }
}

TEST(CompressionTest, MostlyZerosAndAllEqualTakeNextToNothing) {
  const SampleStream constant = make_constant_stream({64, 64, 9, 31, 15}, 15);
  for (const Coder coder : {Coder::kRans, Coder::kArithmetic}) {
    const std::vector<uint8_t> model = fit(coder, {&constant, 1});
    const Result<Encoder> encoder = Encoder::create(model);
    EXPECT_LT(encode(*encoder, constant).size(), 400u);
  }
}

}  // namespace
}  // namespace quench::entropy::testing
