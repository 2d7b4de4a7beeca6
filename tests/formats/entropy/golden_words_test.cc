// What each coder writes, to the bit. The bytes lie in users' files: whoever changes them makes a new format, with a
// new number and a new test, and leaves this one alone. STREAMS.md says in words what these bytes say in examples.
//
// A model is pinned by itself, and what is encoded by a pinned model: fitting takes logarithms, coding takes none. The
// samples are drawn in integers only, so that they are the same on any machine.
//
// golden_words.inc holds the words. With QUENCH_WRITE_GOLDEN_WORDS=path they are written there as the coders give them,
// which is how the file entered the tree.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "formats/entropy/bytes_decoder.h"
#include "formats/entropy/bytes_encoder.h"
#include "tests/formats/entropy/sample_streams.h"
#include "tests/formats/plain_crc32c.h"

namespace quench::entropy::testing {
namespace {

using Bytes = std::vector<uint8_t>;

std::string hex(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

Bytes from_hex(std::string_view text) {
  Bytes bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

// Bytes up to 40 as they are, longer ones by how they begin, their number and their sum.
std::string words(std::span<const uint8_t> bytes) {
  if (bytes.size() <= 40) return hex(bytes);
  char rest[64];
  std::snprintf(rest, sizeof rest, ".. %zu bytes, CRC-32C %08x", bytes.size(), plain_crc32c(bytes));
  return hex(bytes.first(24)) + rest;
}

// 0 in half of the cases, 1 in a quarter, and so on up to `most`; `skip` makes that much more often 0.
uint32_t draw_magnitude(Random& random, uint32_t most, uint32_t skip) {
  const auto zeros = static_cast<uint32_t>(std::countr_zero(random.next() | uint64_t{1} << 63));
  const uint32_t magnitude = zeros > skip ? zeros - skip : 0;
  return magnitude < most ? magnitude : most;
}

// Small levels, half of the left neighbour's added; rows and channels of different scale.
SampleStream small_levels(StreamLayout layout, uint64_t seed, uint32_t skip = 0) {
  Random random(seed);
  SampleStream sample{layout, {}};
  const int32_t zero = static_cast<int32_t>(layout.zero_symbol);
  const int32_t last = static_cast<int32_t>(layout.alphabet) - 1;
  for (uint64_t i = 0, before = 0; i < layout.symbols(); ++i) {
    const uint64_t row = i / (layout.channels * layout.inner), channel = i / layout.inner % layout.channels;
    auto level = static_cast<int32_t>(draw_magnitude(random, 60, skip) * (1 + (row + channel) % 3 / 2));
    if (layout.inner > 1 && i % layout.inner != 0) level += static_cast<int32_t>(before) / 2;
    before = static_cast<uint64_t>(level);
    if (zero != 0 && random.below(4) == 0) level = -level;
    sample.indices.push_back(static_cast<uint16_t>(std::clamp(zero + level, 0, last)));
  }
  return sample;
}

// Any index, most of them far from zero.
SampleStream any_indices(StreamLayout layout, uint64_t seed) {
  Random random(seed);
  return make_uniform_stream(random, layout);
}

// Large levels in one row and one channel and none elsewhere: where both meet, the product of their means is beyond all
// bounds.
SampleStream crossing(StreamLayout layout, uint64_t row, uint64_t channel) {
  SampleStream sample = make_constant_stream(layout, static_cast<uint16_t>(layout.zero_symbol));
  for (uint64_t i = 0; i < layout.symbols(); ++i) {
    const bool hit = i / (layout.channels * layout.inner) == row || i / layout.inner % layout.channels == channel;
    if (hit) sample.indices[i] = static_cast<uint16_t>(layout.zero_symbol + 150);
  }
  return sample;
}

struct Sample {
  const char* name;
  SampleStream stream;
  char model;  // 's' fitted to small signed levels, 'u' to unsigned ones, 'n' to nothing
};

// Every path of meaning that a layout, an alphabet or a level can open.
const std::vector<Sample>& samples() {
  static const std::vector<Sample> all = {
      {"no symbol", {{0, 4, 9, 15, 7}, {}}, 's'},
      {"a single center", make_constant_stream({5, 2, 3, 1, 0}, 0), 's'},
      {"one symbol", {{1, 1, 1, 3, 1}, {2}}, 's'},
      {"square kernel", small_levels({4, 3, 9, 31, 15}, 1), 's'},
      {"kernel of a row", small_levels({3, 4, 5, 31, 15}, 2), 's'},
      {"largest kernel", small_levels({1, 2, 64, 31, 15}, 3), 's'},
      {"too long for a kernel", small_levels({1, 2, 65, 31, 15}, 4), 's'},
      {"matrix", small_levels({6, 20, 1, 31, 15}, 5), 's'},
      {"more rows than lanes", small_levels({19, 2, 4, 31, 15}, 6), 's'},
      {"segments", small_levels({3, 700, 1, 3, 1}, 7, 1), 's'},
      {"segments of one row", small_levels({1, 1100, 1, 3, 1}, 8, 1), 's'},
      {"too short for segments", small_levels({1, 255, 1, 3, 1}, 28, 1), 's'},
      {"just long enough for segments", small_levels({1, 256, 1, 3, 1}, 29, 1), 's'},
      {"511 symbols", small_levels({7, 73, 1, 3, 1}, 9), 's'},
      {"512 symbols", small_levels({8, 64, 1, 3, 1}, 10), 's'},
      {"4095 symbols", small_levels({45, 91, 1, 3, 1}, 11, 1), 's'},
      {"4096 symbols", small_levels({64, 64, 1, 3, 1}, 12, 1), 's'},
      {"16383 symbols", small_levels({43, 381, 1, 3, 1}, 13, 2), 's'},
      {"16384 symbols", small_levels({64, 64, 4, 3, 1}, 14, 2), 's'},
      {"more channels than bins", small_levels({33, 5000, 1, 3, 1}, 15, 4), 's'},
      {"wide levels", any_indices({3, 5, 9, 401, 200}, 16), 's'},
      {"any 16-bit index", any_indices({2, 3, 9, 65536, 32768}, 17), 's'},
      {"where a large row meets a large channel", crossing({40, 40, 1, 401, 200}, 20, 30), 's'},
      {"where they meet in kernels", crossing({40, 20, 4, 401, 200}, 20, 15), 's'},
      {"unsigned kernel", small_levels({4, 3, 9, 16, 0}, 18), 'u'},
      {"unsigned matrix", small_levels({6, 20, 1, 16, 0}, 19), 'u'},
      {"unsigned wide levels", any_indices({2, 20, 1, 65536, 0}, 20), 'u'},
      {"zero symbol at the end", small_levels({4, 10, 1, 16, 15}, 21), 's'},
      {"signed, by the unsigned model", small_levels({2, 3, 9, 31, 15}, 22), 'u'},
      {"unsigned, by the signed model", small_levels({2, 3, 9, 16, 0}, 23), 's'},
      {"by a model of nothing", small_levels({2, 3, 9, 31, 15}, 24), 'n'},
      {"chunks of rows", small_levels({3, 100000, 1, 3, 1}, 25, 8), 's'},
      {"chunks of channels", small_levels({2, 30000, 9, 3, 1}, 26, 8), 's'},
      {"chunks of a channel", small_levels({1, 2, 262145, 3, 1}, 27, 8), 's'},
      {"chunks of a single center", make_constant_stream({3, 100000, 1, 1, 0}, 0), 's'},
  };
  return all;
}

Bytes fit_model(Coder coder, char which) {
  ModelFitter fitter(coder);
  for (const Sample& sample : samples()) {
    // Wide levels stay out: they must find a model that has no code for them.
    if (sample.model != which || which == 'n' || sample.stream.layout.alphabet > 31) continue;
    if (sample.stream.layout.symbols() > 20000) continue;
    EXPECT_TRUE(fitter.add(sample.stream.layout, std::span<const uint16_t>(sample.stream.indices)).ok());
  }
  return fitter.finish();
}

// What is pinned of a coder: its three models, then the words of each sample.
struct Pinned {
  Coder coder;
  const char* models[3];
  std::vector<const char*> words;

  Bytes model(char which) const { return from_hex(models[std::string_view("sun").find(which)]); }
};

#include "tests/formats/entropy/golden_words.inc"

std::vector<const Pinned*> all_pinned() {
  std::vector<const Pinned*> all;
  for (const Pinned& each : kPinned) all.push_back(&each);
  return all;
}

class GoldenWords : public ::testing::TestWithParam<const Pinned*> {};

TEST_P(GoldenWords, ModelsAreFittedAsEver) {
  for (const char which : {'s', 'u', 'n'}) {
    EXPECT_EQ(hex(fit_model(GetParam()->coder, which)), hex(GetParam()->model(which))) << "model " << which;
  }
}

TEST_P(GoldenWords, StreamsAreWrittenAsEver) {
  ASSERT_EQ(GetParam()->words.size(), samples().size());
  for (size_t i = 0; i < samples().size(); ++i) {
    const Sample& sample = samples()[i];
    const Result<Encoder> encoder = Encoder::create(GetParam()->model(sample.model));
    ASSERT_TRUE(encoder.ok());
    const Bytes wide = *encoder->encode(sample.stream.layout, std::span<const uint16_t>(sample.stream.indices));
    EXPECT_EQ(words(wide), GetParam()->words[i]) << sample.name;
    if (sample.stream.layout.alphabet > 256) continue;
    EXPECT_EQ(*encoder->encode(sample.stream.layout, std::span<const uint8_t>(sample.stream.narrow())), wide);
  }
}

// The words that are short enough to stand here are decoded from here, the others from what was just encoded.
TEST_P(GoldenWords, StreamsAreReadAsEver) {
  ASSERT_EQ(GetParam()->words.size(), samples().size());
  for (size_t i = 0; i < samples().size(); ++i) {
    const Sample& sample = samples()[i];
    const Bytes model = GetParam()->model(sample.model);
    const std::string_view pinned = GetParam()->words[i];
    const bool whole = pinned.find('.') == std::string_view::npos;
    const Bytes stream =
        whole ? from_hex(pinned)
              : *Encoder::create(model)->encode(sample.stream.layout, std::span<const uint16_t>(sample.stream.indices));
    OwnedDecoder decoder(model);
    ASSERT_TRUE(decoder.status().ok());
    for (const bool reference : {false, true}) {
      std::vector<uint16_t> indices;
      const Status status = decoder.decode(stream, sample.stream.layout, indices, reference);
      ASSERT_TRUE(status.ok()) << sample.name << ": " << status.detail();
      EXPECT_TRUE(indices == sample.stream.indices) << sample.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Coders, GoldenWords, ::testing::ValuesIn(all_pinned()),
                         [](const ::testing::TestParamInfo<const Pinned*>& tested) {
                           return std::string(name_of(tested.param->coder));
                         });

TEST(GoldenWordsTest, EveryCoderIsPinned) {
  for (const CoderRow& row : kCoders) EXPECT_NE(row_of(kPinned, row.coder), nullptr) << row.name;
}

// Byte mode.

struct ByteSample {
  const char* name;
  Bytes bytes;
};

Bytes text_of(std::string_view text) { return {text.begin(), text.end()}; }

Bytes repeated(std::string_view text, size_t times) {
  Bytes bytes;
  for (size_t i = 0; i < times; ++i) bytes.insert(bytes.end(), text.begin(), text.end());
  return bytes;
}

template <typename Draw>
Bytes drawn(uint64_t seed, size_t size, Draw draw) {
  Random random(seed);
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(draw(random));
  return bytes;
}

// Fields that repeat or count up, as in a serialized graph: new distances and the last four again.
Bytes records(size_t count) {
  Bytes bytes;
  for (size_t i = 0; i < count; ++i) {
    const std::string name = "layer" + std::to_string(i / 7) + (i % 2 == 0 ? ".conv" : ".bn") + std::to_string(i % 7);
    bytes.push_back(static_cast<uint8_t>(name.size()));
    bytes.insert(bytes.end(), name.begin(), name.end());
    bytes.insert(bytes.end(), {0x12, 4, 'C', 'o', 'n', 'v', 0x1a, static_cast<uint8_t>(i * i % 8), 3, 3, 1, 1});
  }
  return bytes;
}

// A passage, noise, and the passage again, so far away that a distance takes more than 16 raw bits.
Bytes far_apart() {
  const Bytes passage = drawn(5, 300, [](Random& random) { return random.next(); });
  Bytes bytes = passage;
  bytes.resize((size_t{1} << 20) + 70000, 0);
  bytes.insert(bytes.end(), passage.begin(), passage.end());
  return bytes;
}

std::vector<ByteSample> byte_samples() {
  uint8_t level = 0;
  return {
      {"nothing", {}},
      {"a byte", {7}},
      {"two bytes", {7, 7}},
      {"noise", drawn(1, 30, [](Random& random) { return random.next(); })},
      {"skewed", drawn(2, 600, [](Random& random) { return 120 + draw_magnitude(random, 9, 0); })},
      {"walk",
       drawn(3, 3000, [&level](Random& random) { return level = static_cast<uint8_t>(level + random.below(2)); })},
      {"text", text_of("the ModelProto without its weights, and the weights without their ModelProto")},
      {"three times", repeated("initializer", 3)},
      {"records", records(60)},
      {"one byte for long", Bytes(100000, 42)},
      {"far apart", far_apart()},
  };
}

TEST(GoldenBytes, AreWrittenAndReadAsEver) {
  const std::vector<ByteSample> all = byte_samples();
  ASSERT_EQ(std::size(kByteWords), all.size());
  const auto memory = std::make_unique<uint8_t[]>(kBytesScratch + 64);
  const std::span<uint8_t> scratch(memory.get() + (64 - reinterpret_cast<uintptr_t>(memory.get()) % 64) % 64,
                                   kBytesScratch);
  for (size_t i = 0; i < all.size(); ++i) {
    const Bytes coded = compress_bytes(all[i].bytes);
    EXPECT_EQ(words(coded), kByteWords[i]) << all[i].name;
    const std::string_view pinned = kByteWords[i];
    const Bytes stored = pinned.find('.') == std::string_view::npos ? from_hex(pinned) : coded;
    Bytes again(all[i].bytes.size());
    ASSERT_TRUE(decompress_bytes(stored, again, scratch).ok()) << all[i].name;
    EXPECT_TRUE(again == all[i].bytes) << all[i].name;
  }
}

TEST(GoldenBytes, AreWrittenAsEverWithoutASearchForMatches) {
  const std::vector<ByteSample> all = byte_samples();
  ASSERT_EQ(std::size(kByteWordsWithoutMatches), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(words(compress_bytes(all[i].bytes, false)), kByteWordsWithoutMatches[i]) << all[i].name;
  }
}

// A literal of C++, cut into lines.
std::string quoted(const std::string& text) {
  std::string literal = "\"";
  for (size_t i = 0; i < text.size(); ++i) {
    if (i > 0 && i % 110 == 0) literal += "\"\n    \"";
    literal += text[i];
  }
  return literal + "\"";
}

TEST(GoldenWords, WriteThemWhereAsked) {
  const char* path = std::getenv("QUENCH_WRITE_GOLDEN_WORDS");
  if (path == nullptr) return;
  std::ofstream out(path);
  out << "// Written by golden_words_test.cc; see there.\n\nconst Pinned kPinned[] = {\n";
  for (const auto& [coder, name, use] : kCoders) {
    out << "    {*coder_named(\"" << name << "\"),\n    {";
    for (const char which : {'s', 'u', 'n'}) out << quoted(hex(fit_model(coder, which))) << ",\n    ";
    out << "},\n    {\n";
    for (const Sample& sample : samples()) {
      const Encoder encoder = *Encoder::create(fit_model(coder, sample.model));
      const Bytes stream = *encoder.encode(sample.stream.layout, std::span<const uint16_t>(sample.stream.indices));
      out << "    // " << sample.name << "\n    " << quoted(words(stream)) << ",\n";
    }
    out << "    }},\n";
  }
  out << "};\n";
  for (const bool matches : {true, false}) {
    out << "\nconstexpr const char* kByteWords" << (matches ? "" : "WithoutMatches") << "[] = {\n";
    for (const ByteSample& sample : byte_samples()) {
      out << "    // " << sample.name << "\n    " << quoted(words(compress_bytes(sample.bytes, matches))) << ",\n";
    }
    out << "};\n";
  }
}

// All four modes are among the words above; a mode that no sample takes would be pinned by nothing.
TEST(GoldenBytes, EveryModeIsPinned) {
  for (const std::string_view mode : {"00", "01", "02", "03"}) {
    EXPECT_TRUE(std::any_of(std::begin(kByteWords), std::end(kByteWords), [mode](const char* pinned) {
      return std::string_view(pinned).substr(0, 2) == mode;
    })) << mode;
  }
}

}  // namespace
}  // namespace quench::entropy::testing
