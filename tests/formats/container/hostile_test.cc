// Damaged, absurd and malicious files: each is refused with a status, or decodes to what it always was.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include "formats/container/serialize.h"
#include "tests/formats/container/sample_file.h"

namespace quench::container {
namespace {

StatusCode code_of(std::span<const std::byte> file, const Limits& limits = small_limits()) {
  return decode_everything(file, limits).status().code();
}

template <typename T>
FileBytes with(const FileBytes& file, size_t offset, T value) {
  FileBytes changed = file;
  std::memcpy(changed.data() + offset, &value, sizeof value);
  reseal(changed);
  return changed;
}

FileBytes as_file_bytes(const std::vector<uint8_t>& bytes) {
  const auto span = std::as_bytes(std::span(bytes));
  return {span.begin(), span.end()};
}

TEST(Hostile, SampleItselfIsSound) {
  const FileBytes file = sample_file();
  const auto decoded = decode_everything(file, small_limits());
  ASSERT_TRUE(decoded.ok()) << decoded.status().detail();
  EXPECT_GT(decoded->size(), 500u);
  FileBytes resealed = file;
  reseal(resealed);
  EXPECT_EQ(resealed, file);
  EXPECT_EQ(assemble(file, sections_of(file)), file);
}

TEST(Hostile, EveryPrefixIsRefused) {
  const FileBytes file = sample_file();
  for (size_t size = 0; size < file.size(); ++size) {
    const FileBytes prefix(file.begin(), file.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_EQ(code_of(prefix), StatusCode::kTruncated) << size;
    // With a header that agrees with the shorter length, the prefix is still missing its section table.
    if (size < kHeaderSize) continue;
    EXPECT_NE(code_of(with(prefix, 16, uint64_t{size})), StatusCode::kOk) << size;
  }
}

TEST(Hostile, BytesBehindTheEndAreRefused) {
  FileBytes file = sample_file();
  file.push_back(std::byte{0});
  EXPECT_EQ(code_of(file), StatusCode::kCorrupt);
}

TEST(Hostile, BitFlipsAreNoticedByTheChecksums) {
  const FileBytes file = sample_file();
  const FileBytes expected = *decode_everything(file, small_limits());
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    FileBytes damaged = file;
    damaged[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    const auto decoded = decode_everything(damaged, small_limits());
    EXPECT_FALSE(decoded.ok()) << bit;
  }
  std::mt19937 random(8);
  for (int round = 0; round < 10000; ++round) {
    FileBytes damaged = file;
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
      const size_t bit = random() % (file.size() * 8);
      damaged[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    }
    const auto decoded = decode_everything(damaged, small_limits());
    EXPECT_TRUE(!decoded.ok() || *decoded == expected) << round;
  }
}

// The parser itself under attack: whatever passes must stay within its bounds, which the sanitizers watch.
int count_refused_after_damage(const FileBytes& file, uint32_t seed, int rounds) {
  std::mt19937 random(seed);
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    FileBytes damaged = file;
    for (uint32_t flips = 1 + random() % 3; flips > 0; --flips) {
      const size_t bit = random() % (file.size() * 8);
      damaged[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    }
    reseal(damaged);
    refused += decode_everything(damaged, small_limits()).ok() ? 0 : 1;
  }
  return refused;
}

TEST(Hostile, BitFlipsUnderMatchingChecksumsDoNoHarm) {
  EXPECT_GT(count_refused_after_damage(sample_file(), 9, 5000), 500);
}

TEST(Hostile, BitFlipsInPlainTablesUnderMatchingChecksumsDoNoHarm) {
  const FileBytes file = without_section_coding(sample_file());
  EXPECT_EQ(*decode_everything(file, small_limits()), *decode_everything(sample_file(), small_limits()));
  EXPECT_GT(count_refused_after_damage(file, 10, 5000), 500);
}

TEST(Hostile, HeaderFieldsAreChecked) {
  const FileBytes file = sample_file();
  FileBytes magic = file;
  magic[4] = std::byte{'\n'};  // what a transfer as text does to CR LF
  EXPECT_EQ(code_of(magic), StatusCode::kBadMagic);
  EXPECT_EQ(code_of(with(file, 8, uint16_t{1})), StatusCode::kUnsupportedVersion);
  EXPECT_EQ(code_of(with(file, 10, uint16_t{999})), StatusCode::kOk);
  EXPECT_EQ(code_of(with(file, 12, uint32_t{65})), StatusCode::kLimit);
  EXPECT_EQ(code_of(with(file, 12, uint32_t{1})), StatusCode::kCorrupt);
  EXPECT_NE(code_of(with(file, 12, uint32_t{20})), StatusCode::kOk);
  for (const uint64_t value : {uint64_t{0}, uint64_t{63}, uint64_t{65}, uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_NE(code_of(with(file, 16, value)), StatusCode::kOk) << value;
    EXPECT_NE(code_of(with(file, 24, value)), StatusCode::kOk) << value;
  }
  for (const size_t field : {32, 40, 44, 48, 52, 56}) {
    for (const uint32_t value : {0u, 1u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
      uint32_t old;
      std::memcpy(&old, file.data() + field, sizeof old);
      if (old == value) continue;
      EXPECT_NE(code_of(with(file, field, value)), StatusCode::kOk) << field << " " << value;
    }
  }
}

TEST(Hostile, LimitsAreKept) {
  const FileBytes file = sample_file();
  const auto refused = [&file](auto change) {
    Limits limits = small_limits();
    change(limits);
    return code_of(file, limits) == StatusCode::kLimit;
  };
  EXPECT_TRUE(refused([](Limits& l) { l.max_table_bytes = 1000; }));
  EXPECT_TRUE(refused([](Limits& l) { l.max_graph_bytes = 10; }));
  EXPECT_TRUE(refused([](Limits& l) { l.max_tensor_elements = 20; }));
  EXPECT_TRUE(refused([](Limits& l) { l.max_decoded_bytes = 200; }));
  EXPECT_TRUE(refused([](Limits& l) { l.max_tensors = 5; }));
  EXPECT_TRUE(refused([](Limits& l) { l.max_codebooks = 2; }));
  EXPECT_TRUE(refused([](Limits& l) { l.max_entropy_models = 2; }));
}

TEST(Hostile, DamagedStreamsMayBeOpenedUncheckedButDecodeSafely) {
  const FileBytes file = sample_file();
  Limits unchecked = small_limits();
  unchecked.verify_streams = false;
  ASSERT_EQ(sections_of(file)[0].kind, static_cast<uint64_t>(SectionKind::kStreams));
  const size_t streams = sections_of(file)[0].stored.size();
  for (size_t i = 0; i < streams; ++i) {
    FileBytes damaged = file;
    damaged[kHeaderSize + i] ^= std::byte{0x55};
    EXPECT_EQ(open_file(damaged, small_limits()).status().code(), StatusCode::kChecksum);
    EXPECT_TRUE(open_file(damaged, unchecked).ok());
    static_cast<void>(decode_everything(damaged, unchecked));
  }
}

TEST(Hostile, UnknownMandatorySectionIsRefusedAndUnknownOptionalOneSkipped) {
  const FileBytes file = sample_file();
  const FileBytes expected = *decode_everything(file, small_limits());
  for (const uint64_t kind : {uint64_t{0}, uint64_t{8}, uint64_t{1000}, ~uint64_t{0}}) {
    std::vector<RawSection> sections = sections_of(file);
    const RawSection unknown{kind, 0, FileBytes(10, std::byte{0xAB}), 10};
    sections.insert(sections.begin() + 1, unknown);
    const auto decoded = decode_everything(assemble(file, sections), small_limits());
    ASSERT_TRUE(decoded.ok()) << decoded.status().detail();
    EXPECT_EQ(*decoded, expected);
    sections[1].flags = kSectionMandatory;
    EXPECT_EQ(code_of(assemble(file, sections)), StatusCode::kUnsupportedFeature);
  }
}

TEST(Hostile, UnknownFlagsOfAMandatorySectionAreRefused) {
  const FileBytes file = sample_file();
  std::vector<RawSection> sections = sections_of(file);
  sections[0].flags |= 4;
  EXPECT_EQ(code_of(assemble(file, sections)), StatusCode::kUnsupportedFeature);
}

TEST(Hostile, SectionTwiceOrMissingOrWronglyCodedIsRefused) {
  const FileBytes file = sample_file();
  const std::vector<RawSection> sections = sections_of(file);
  for (size_t i = 0; i < sections.size(); ++i) {
    const uint64_t kind = sections[i].kind;
    std::vector<RawSection> twice = sections;
    twice.push_back(sections[i]);
    EXPECT_EQ(code_of(assemble(file, twice)), StatusCode::kCorrupt) << kind;
    const bool needed =
        kind != static_cast<uint64_t>(SectionKind::kMeta) && kind != static_cast<uint64_t>(SectionKind::kGraph);
    std::vector<RawSection> missing = sections;
    missing.erase(missing.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_EQ(code_of(assemble(file, missing)) != StatusCode::kOk, needed) << kind;
    if (kind == static_cast<uint64_t>(SectionKind::kGraph)) continue;  // whose bytes mean nothing to the container
    std::vector<RawSection> longer = sections;
    longer[i].stored.push_back(std::byte{0});
    ++longer[i].decoded;
    EXPECT_NE(code_of(assemble(file, longer)), StatusCode::kOk) << kind;
  }
  for (RawSection changed : sections) {
    const bool stays_stored = changed.kind == static_cast<uint64_t>(SectionKind::kStreams) ||
                              changed.kind == static_cast<uint64_t>(SectionKind::kEntropyModels);
    if (!stays_stored) continue;
    std::vector<RawSection> coded = sections;
    for (RawSection& section : coded) {
      if (section.kind == changed.kind) section.flags |= kSectionCoded;
    }
    EXPECT_EQ(code_of(assemble(file, coded)), StatusCode::kCorrupt);
  }
}

TEST(Hostile, AbsurdDecodedLengthsOfSectionsAreRefusedBeforeAnyMemoryIsAskedFor) {
  const FileBytes file = sample_file();
  for (const SectionKind kind :
       {SectionKind::kGraph, SectionKind::kCodebooks, SectionKind::kTensors, SectionKind::kMeta}) {
    for (const uint64_t length : {uint64_t{1} << 32, ~uint64_t{0}}) {
      std::vector<RawSection> sections = sections_of(file);
      for (RawSection& section : sections) {
        if (section.kind != static_cast<uint64_t>(kind)) continue;
        section.flags |= kSectionCoded;
        section.decoded = length;
      }
      EXPECT_EQ(Reader::open_size(assemble(file, sections), small_limits()).status().code(), StatusCode::kLimit)
          << static_cast<uint32_t>(kind);
    }
  }
}

// A file of one hand-made tensor table, with the counts that a header needs.
FileBytes file_with_table(const std::vector<uint8_t>& table, uint32_t tensors, uint32_t scales = 0) {
  Writer writer = Writer::in_memory();
  const FileBytes empty = *writer.finish_bytes();
  FileBytes file =
      assemble(empty, {{static_cast<uint64_t>(SectionKind::kTensors), kSectionMandatory, as_file_bytes(table), 0}});
  file = with(file, 40, tensors);
  return with(file, 52, scales);
}

TEST(Hostile, WhatASmallFileMayCostIsInProportionToIt) {
  EXPECT_EQ(default_memory(0), uint64_t{128} << 20);
  EXPECT_EQ(default_memory(1000), (uint64_t{128} << 20) + 64000);
  EXPECT_EQ(default_memory(UINT64_MAX), UINT64_MAX);
  const Limits limits = Limits::within(default_memory(200));
  const FileBytes empty = *Writer::in_memory().finish_bytes();
  const FileBytes nothing = as_file_bytes({1, 0, 0, 0, 0, 0, 0, 0, 0});
  for (const SectionKind kind : {SectionKind::kGraph, SectionKind::kCodebooks, SectionKind::kTensors}) {
    const FileBytes file =
        assemble(empty, {{static_cast<uint64_t>(kind), kSectionMandatory | kSectionCoded, nothing, uint64_t{1} << 29}});
    EXPECT_EQ(Reader::open_size(file, limits).status().code(), StatusCode::kLimit) << static_cast<uint32_t>(kind);
  }
  // A gigabyte of one value in a few bytes.
  std::vector<uint8_t> table = {1, static_cast<uint8_t>(Encoding::kPlanes)};
  append_varint(table, uint64_t{1} << 28);
  table.push_back(0);
  EXPECT_EQ(code_of(file_with_table(table, 1), limits), StatusCode::kLimit);
  EXPECT_TRUE(decode_everything(sample_file(), limits).ok());
}

TEST(Hostile, TensorTableWithoutElementsOrWithTooManyIsRefused) {
  const auto planes = static_cast<uint8_t>(Encoding::kPlanes);
  std::vector<uint8_t> table = {1, planes, 4, 0};
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kTruncated);  // opens; its stream is empty
  table = {1, planes, 0, 0};
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kCorrupt);
  table = {1, planes};
  append_varint(table, uint64_t{1} << 60);
  table.push_back(0);
  EXPECT_EQ(code_of(file_with_table(table, 1), Limits{}), StatusCode::kLimit);
  Limits none;
  none.max_tensor_elements = ~uint64_t{0};
  none.max_decoded_bytes = ~uint64_t{0};
  EXPECT_EQ(code_of(file_with_table(table, 1), none), StatusCode::kLimit);
  table = {1, planes, 0x84, 0x00, 0};  // 4, in a longer form than needed
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kCorrupt);
  table = {1, planes, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0};
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kCorrupt);
  table = {8, planes, 4, 0};  // strings
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kUnsupportedFeature);
  table = {1, planes | 1 << kTrellisShift, 4, 0};
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kCorrupt);
  table = {1, static_cast<uint8_t>(Encoding::kQuantized) | 3 << kTrellisShift, 4, 0, 0, 1, 1, 0};
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kUnsupportedFeature);
  table = {1, static_cast<uint8_t>(Encoding::kDeltaPlanes), 4, 0};
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kCorrupt);
  table = {1, static_cast<uint8_t>(Encoding::kQuantized), 4, 0, 0, 1, 1, 0};  // no codebook 0
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kCorrupt);
  table = {1, static_cast<uint8_t>(Encoding::kRaw), 4, 0};
  EXPECT_EQ(code_of(file_with_table(table, 1)), StatusCode::kCorrupt);
  table = {1, planes, 4, 0};
  EXPECT_EQ(code_of(file_with_table(table, 2)), StatusCode::kCorrupt);
  EXPECT_EQ(code_of(file_with_table(table, 1, 1)), StatusCode::kCorrupt);
}

// A file of one quantized tensor with one scale of 1.7, and the codebook that is written here by hand.
FileBytes file_with_codebook(const std::vector<uint8_t>& codebook, float largest = 1.7f) {
  Writer writer = Writer::in_memory();
  coded::Tensor tensor;
  tensor.codebook = *writer.add_codebook(Codebook::uniform(0.5f, 3, 1));
  tensor.entropy_model = *writer.add_entropy_model(default_model(entropy::Coder::kHuffman));
  const std::vector<uint16_t> indices = {1, 1, 2, 0};
  tensor.indices = indices;
  tensor.element_count = tensor.channels = 4;
  tensor.scales.kind = ScaleKind::kTensor;
  tensor.scales.largest = 1.7f;
  EXPECT_TRUE(writer.add_quantized(tensor).ok());
  const FileBytes file = without_section_coding(*writer.finish_bytes());
  std::vector<RawSection> sections = sections_of(file);
  for (RawSection& section : sections) {
    if (section.kind == static_cast<uint64_t>(SectionKind::kCodebooks)) section.stored = as_file_bytes(codebook);
    if (section.kind != static_cast<uint64_t>(SectionKind::kTensors)) continue;
    // types, forms, elements, codebook, entropy model, channels and inner are a byte each
    std::memcpy(section.stored.data() + 7, &largest, sizeof largest);
  }
  return assemble(file, sections);
}

std::vector<uint8_t> uniform_codebook(float step, uint8_t zero_symbol = 1) {
  std::vector<uint8_t> bytes = {0, 2, zero_symbol, 0, 0, 0, 0};
  std::memcpy(bytes.data() + 3, &step, sizeof step);
  return bytes;
}

// Three centers, the most significant bytes of all first.
template <typename Bits>
std::vector<uint8_t> table_codebook(uint8_t form, Bits a, Bits b, Bits c) {
  std::vector<uint8_t> bytes = {form, 2, 1};
  for (size_t p = sizeof(Bits); p-- > 0;) {
    for (const Bits center : {a, b, c}) bytes.push_back(static_cast<uint8_t>(center >> (8 * p)));
  }
  return bytes;
}

TEST(Hostile, CentersThatAreNotFiniteAreRefused) {
  EXPECT_EQ(code_of(file_with_codebook(uniform_codebook(0.5f))), StatusCode::kOk);
  for (const float step : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(code_of(file_with_codebook(uniform_codebook(step))), StatusCode::kCorrupt) << step;
  }
  // A step that is finite, and twice that which is not.
  EXPECT_EQ(code_of(file_with_codebook(uniform_codebook(3e38f, 1))), StatusCode::kOk);
  EXPECT_EQ(code_of(file_with_codebook(uniform_codebook(3e38f, 0))), StatusCode::kCorrupt);
  EXPECT_EQ(code_of(file_with_codebook(uniform_codebook(3e38f, 2))), StatusCode::kCorrupt);

  constexpr uint32_t kOne = 0x3F800000;
  EXPECT_EQ(code_of(file_with_codebook(table_codebook<uint32_t>(1, kOne, 0, 0x7F7FFFFF))), StatusCode::kOk);
  for (const uint32_t center : {0x7FC00000u, 0x7F800001u, 0xFFC00000u, 0x7F800000u, 0xFF800000u}) {
    EXPECT_EQ(code_of(file_with_codebook(table_codebook(1, center, kOne, kOne))), StatusCode::kCorrupt) << center;
    EXPECT_EQ(code_of(file_with_codebook(table_codebook(1, kOne, kOne, center))), StatusCode::kCorrupt) << center;
  }
  constexpr uint16_t kHalfOne = 0x3C00;
  EXPECT_EQ(code_of(file_with_codebook(table_codebook<uint16_t>(2, kHalfOne, 0, 0x7BFF))), StatusCode::kOk);
  for (const uint16_t center : std::initializer_list<uint16_t>{0x7E00, 0x7C01, 0xFE00, 0x7C00, 0xFC00}) {
    EXPECT_EQ(code_of(file_with_codebook(table_codebook(2, center, kHalfOne, kHalfOne))), StatusCode::kCorrupt);
    EXPECT_EQ(code_of(file_with_codebook(table_codebook(2, kHalfOne, kHalfOne, center))), StatusCode::kCorrupt);
  }
}

TEST(Hostile, ScalesThatAreNotFiniteAreRefused) {
  for (const float largest : {1.7f, -1.7f, 0.0f, 1e-40f, std::numeric_limits<float>::max()}) {
    EXPECT_EQ(code_of(file_with_codebook(uniform_codebook(0.5f), largest)), StatusCode::kOk) << largest;
  }
  for (const float largest : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(code_of(file_with_codebook(uniform_codebook(0.5f), largest)), StatusCode::kCorrupt) << largest;
  }
}

// A tensor of two chunks of planes alone in a file, with `change` made to its stream.
template <typename Change>
FileBytes file_with_directory(Change change) {
  const std::vector<uint8_t> elements(kChunkUnits + 2, 7);
  EncodedTensor tensor =
      *Writer::encode_lossless(ElementType::kUint8, std::as_bytes(std::span(elements)), elements.size());
  EXPECT_EQ(tensor.tensor.encoding, Encoding::kPlanes);
  EXPECT_EQ(tensor.stream.size(), 2 * sizeof(uint64_t) + 2 * 3);  // two chunks: forms, and the byte that fills all
  change(tensor.stream);
  Writer writer = Writer::in_memory();
  EXPECT_TRUE(writer.append(std::move(tensor)).ok());
  return *writer.finish_bytes();
}

StatusCode code_with_ends(uint64_t first, uint64_t second) {
  return code_of(file_with_directory([&](std::vector<uint8_t>& stream) {
                   std::memcpy(stream.data(), &first, sizeof first);
                   std::memcpy(stream.data() + sizeof first, &second, sizeof second);
                 }),
                 Limits{});
}

TEST(Hostile, ADirectoryOfChunksMustAgreeWithItsStream) {
  EXPECT_EQ(code_with_ends(3, 6), StatusCode::kOk);
  for (const uint64_t end : {uint64_t{0}, uint64_t{2}, uint64_t{5}, uint64_t{7}, uint64_t{1000}, uint64_t{1} << 40,
                             ~uint64_t{0}, ~uint64_t{0} - 15}) {
    EXPECT_EQ(code_with_ends(3, end), StatusCode::kCorrupt) << "last end " << end;
  }
  for (const uint64_t end : {uint64_t{7}, uint64_t{1000}, uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{0} - 15}) {
    EXPECT_EQ(code_with_ends(end, 6), StatusCode::kCorrupt) << "first end " << end;
  }
}

TEST(Hostile, BytesBehindTheLastChunkOfPlanesAreRefused) {
  for (const size_t more : {1, 3, 100}) {
    const FileBytes file =
        file_with_directory([more](std::vector<uint8_t>& stream) { stream.resize(stream.size() + more); });
    EXPECT_EQ(code_of(file, Limits{}), StatusCode::kCorrupt) << more;
  }
  const FileBytes shorter = file_with_directory([](std::vector<uint8_t>& stream) { stream.pop_back(); });
  EXPECT_EQ(code_of(shorter, Limits{}), StatusCode::kCorrupt);
  const FileBytes none = file_with_directory([](std::vector<uint8_t>& stream) { stream.resize(15); });
  EXPECT_EQ(code_of(none, Limits{}), StatusCode::kTruncated);
}

// Half of the codebook's indices belong to each state, so there must be an even number of them, with zero at an even one.
TEST(Hostile, TrellisesOverOddCodebooksAreRefused) {
  const std::vector<uint16_t> indices = {8, 8, 8, 8};
  Writer writer = Writer::in_memory();
  coded::Tensor tensor;
  tensor.codebook = *writer.add_codebook(Codebook::uniform(0.5f, 16, 8));
  tensor.entropy_model = *writer.add_entropy_model(default_model(entropy::Coder::kArithmetic));
  tensor.indices = indices;
  tensor.element_count = tensor.channels = 4;
  tensor.trellis = entropy::Trellis::kDownColumns;
  const EncodedTensor encoded = *writer.encode_quantized(tensor);
  for (const auto& [entries, zero] : {std::pair(16u, 8u), {15u, 8u}, {16u, 7u}, {17u, 9u}}) {
    Writer other = Writer::in_memory();
    ASSERT_TRUE(other.add_codebook(Codebook::uniform(0.5f, entries, zero)).ok());
    ASSERT_TRUE(other.add_entropy_model(default_model(entropy::Coder::kArithmetic)).ok());
    ASSERT_TRUE(other.append(encoded).ok());
    const StatusCode expected = entries == 16 && zero == 8 ? StatusCode::kOk : StatusCode::kCorrupt;
    EXPECT_EQ(code_of(*other.finish_bytes()), expected) << entries << " " << zero;
  }
}

// A stream of 15 symbols under a codebook of fewer: what lies behind the centers must not be read as a center.
TEST(Hostile, IndicesBeyondTheCodebookAreRefused) {
  for (const auto& [coder, name, use] : entropy::kCoders) {
    const std::vector<uint16_t> indices = {7, 7, 14, 7, 6, 8, 7, 7};
    Writer writer = Writer::in_memory();
    coded::Tensor tensor;
    tensor.codebook = *writer.add_codebook(Codebook::uniform(0.5f, 15, 7));
    tensor.entropy_model = *writer.add_entropy_model(default_model(coder));
    tensor.indices = indices;
    tensor.element_count = tensor.channels = 8;
    EncodedTensor encoded = *writer.encode_quantized(tensor);
    for (const uint32_t entries : {15u, 14u, 9u, 8u}) {
      Writer other = Writer::in_memory();
      ASSERT_TRUE(other.add_codebook(Codebook::uniform(0.5f, entries, 7)).ok());
      ASSERT_TRUE(other.add_entropy_model(default_model(coder)).ok());
      ASSERT_TRUE(other.append(encoded).ok());
      const StatusCode expected = entries == 15 ? StatusCode::kOk : StatusCode::kCorrupt;
      EXPECT_EQ(code_of(*other.finish_bytes()), expected) << entries;
    }
  }
}

}  // namespace
}  // namespace quench::container
