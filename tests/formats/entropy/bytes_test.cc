#include <gtest/gtest.h>

#include <cstring>

#include "formats/entropy/bytes_decoder.h"
#include "formats/entropy/bytes_encoder.h"
#include "formats/entropy/bytes_model.h"
#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy {
namespace {

using Bytes = std::vector<uint8_t>;

Status decompress(std::span<const uint8_t> coded, Bytes& out) {
  static const auto scratch = std::make_unique<std::array<uint8_t, kBytesScratch + 64>>();
  const auto address = reinterpret_cast<uintptr_t>(scratch->data());
  return decompress_bytes(coded, out, std::span(*scratch).subspan((64 - address % 64) % 64, kBytesScratch));
}

// Records with fields that repeat or count up, as in a serialized graph.
Bytes make_records(testing::Random& random, size_t count) {
  Bytes bytes;
  for (size_t i = 0; i < count; ++i) {
    const std::string name = "layer" + std::to_string(i / 7) + ".conv" + std::to_string(i % 7) + ".weight";
    bytes.insert(bytes.end(), {0x0a, static_cast<uint8_t>(name.size())});
    bytes.insert(bytes.end(), name.begin(), name.end());
    bytes.insert(bytes.end(),
                 {0x12, 0x04, 'C', 'o', 'n', 'v', 0x1a, static_cast<uint8_t>(random.below(8)), 3, 3, 1, 1});
  }
  return bytes;
}

std::vector<Bytes> samples() {
  testing::Random random(1);
  std::vector<Bytes> all = {{}, {0}, {7, 7}, Bytes(1000, 42), Bytes(100000, 0)};
  for (const size_t count : {3, 40, 1000}) all.push_back(make_records(random, count));
  for (const size_t size : {1, 5, 300, 20000}) {
    Bytes noise(size), skewed(size), text(size), walk(size);
    uint8_t level = 0;
    for (size_t i = 0; i < size; ++i) {
      noise[i] = static_cast<uint8_t>(random.next());
      skewed[i] = static_cast<uint8_t>(120 + 3 * random.laplace());
      text[i] = static_cast<uint8_t>("the quick brown fox "[random.below(20)]);
      level = static_cast<uint8_t>(level + random.below(3));
      walk[i] = level;
    }
    all.insert(all.end(), {noise, skewed, text, walk});
  }
  Bytes period;
  for (int i = 0; i < 70000; ++i) period.push_back(static_cast<uint8_t>(i % 300));
  all.push_back(period);
  Bytes far = all.back();
  far.insert(far.end(), all[8].begin(), all[8].end());
  all.push_back(far);
  return all;
}

TEST(BytesTest, EverythingComesBack) {
  for (const Bytes& bytes : samples()) {
    const Bytes coded = compress_bytes(bytes);
    EXPECT_LE(coded.size(), bytes.size() + 1);
    Bytes out(bytes.size());
    const Status status = decompress(coded, out);
    ASSERT_TRUE(status.ok()) << status.detail() << ", mode " << int{coded[0]};
    ASSERT_EQ(out, bytes);
    EXPECT_EQ(compress_bytes(bytes), coded);
  }
}

TEST(BytesTest, EveryModeIsUsedWhereItFits) {
  testing::Random random(2);
  Bytes noise(5000), skewed(5000), walk(50000);
  uint8_t level = 0;
  for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random.next());
  for (uint8_t& byte : skewed) byte = static_cast<uint8_t>(120 + 3 * random.laplace());
  for (uint8_t& byte : walk) byte = level = static_cast<uint8_t>(level + random.below(20));
  EXPECT_EQ(compress_bytes(noise)[0], static_cast<uint8_t>(BytesMode::kStored));
  EXPECT_EQ(compress_bytes(skewed)[0], static_cast<uint8_t>(BytesMode::kOrder0));
  EXPECT_EQ(compress_bytes(walk)[0], static_cast<uint8_t>(BytesMode::kOrder1));
  EXPECT_EQ(compress_bytes(make_records(random, 100))[0], static_cast<uint8_t>(BytesMode::kMatches));
}

TEST(BytesTest, RepetitionsCostLittle) {
  testing::Random random(3);
  const Bytes records = make_records(random, 1000);
  EXPECT_LT(compress_bytes(records).size() * 12, records.size());
  EXPECT_LT(compress_bytes(Bytes(1000000, 5)).size(), 40u);
}

TEST(BytesTest, EveryPrefixIsRefused) {
  testing::Random random(4);
  Bytes skewed(400), walk(3000);
  uint8_t level = 0;
  for (uint8_t& byte : skewed) byte = static_cast<uint8_t>(120 + 3 * random.laplace());
  for (uint8_t& byte : walk) byte = level = static_cast<uint8_t>(level + random.below(4));
  Bytes noise(100);
  for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random.next());
  for (const Bytes& bytes : {make_records(random, 60), skewed, walk, noise}) {
    const Bytes coded = compress_bytes(bytes);
    for (size_t size = 0; size < coded.size(); ++size) {
      Bytes out(bytes.size());
      const bool decodes = decompress(Bytes(coded.begin(), coded.begin() + static_cast<ptrdiff_t>(size)), out).ok();
      if (size > 9 && size + 8 < coded.size()) {
        EXPECT_FALSE(decodes) << size;
      } else if (decodes) {
        EXPECT_NE(out, bytes);
      }
    }
  }
}

TEST(BytesTest, AFewBytesThatAnnounceAGigabyteEndWhenTheyDo) {
  Bytes out(size_t{1} << 30);
  for (const BytesMode mode : {BytesMode::kOrder0, BytesMode::kOrder1, BytesMode::kMatches}) {
    for (const uint8_t value : {0, 1, 128, 255}) {
      Bytes coded(20, value);
      coded[0] = static_cast<uint8_t>(mode);
      std::fill(out.begin(), out.begin() + (1 << 16), uint8_t{99});
      out[out.size() / 2] = 99;
      EXPECT_FALSE(decompress(coded, out).ok());
      EXPECT_EQ(out[out.size() / 2], 99) << "it went on without bytes in mode " << int{coded[0]};
    }
  }
}

TEST(BytesTest, BytesThatAreLeftOverAreRefused) {
  testing::Random random(5);
  const Bytes records = make_records(random, 60);
  const Bytes coded = compress_bytes(records);
  for (const size_t size : {size_t{0}, size_t{1}, records.size() / 2, records.size() * 9 / 10}) {
    Bytes out(size);
    EXPECT_FALSE(decompress(coded, out).ok()) << size;
  }
  for (const size_t more : {1, 9}) {
    for (const uint8_t value : {0, 77}) {
      Bytes longer = coded;
      longer.resize(coded.size() + more, value);
      Bytes out(records.size());
      EXPECT_FALSE(decompress(longer, out).ok());
    }
  }
}

TEST(BytesTest, DamageNeverReachesBeyondTheOutput) {
  testing::Random random(6);
  const Bytes records = make_records(random, 80);
  const Bytes coded = compress_bytes(records);
  for (int round = 0; round < 4000; ++round) {
    Bytes damaged = coded;
    for (uint32_t flips = 1 + random.below(4); flips > 0; --flips) {
      damaged[random.below(static_cast<uint32_t>(damaged.size()))] ^= static_cast<uint8_t>(1 << random.below(8));
    }
    Bytes out(records.size());
    static_cast<void>(decompress(damaged, out));
  }
  for (int round = 0; round < 2000; ++round) {
    Bytes noise(1 + random.below(200));
    for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random.next());
    noise[0] = static_cast<uint8_t>(random.below(5));
    Bytes out(random.below(3000));
    static_cast<void>(decompress(noise, out));
  }
}

TEST(BytesTest, WrongArgumentsAreRefused) {
  alignas(64) static uint8_t scratch[kBytesScratch];
  Bytes out(1);
  EXPECT_EQ(decompress_bytes(Bytes{0, 1}, out, std::span(scratch).first(100)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(decompress_bytes(Bytes{}, out, scratch).code(), StatusCode::kTruncated);
  EXPECT_EQ(decompress_bytes(Bytes{4, 1}, out, scratch).code(), StatusCode::kUnsupportedFeature);
}

}  // namespace
}  // namespace quench::entropy
