// What the writer writes, the reader reads: every type, encoding, codebook, scale and coder.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <thread>

#include "formats/base/crc32c.h"
#include "formats/base/float16.h"
#include "formats/entropy/encoder.h"
#include "tests/formats/container/sample_file.h"

namespace quench::container {
namespace {

constexpr ElementType kAllTypes[] = {ElementType::kFloat32,
                                     ElementType::kUint8,
                                     ElementType::kInt8,
                                     ElementType::kUint16,
                                     ElementType::kInt16,
                                     ElementType::kInt32,
                                     ElementType::kInt64,
                                     ElementType::kBool,
                                     ElementType::kFloat16,
                                     ElementType::kFloat64,
                                     ElementType::kUint32,
                                     ElementType::kUint64,
                                     ElementType::kComplex64,
                                     ElementType::kComplex128,
                                     ElementType::kBfloat16,
                                     ElementType::kFloat8E4M3FN,
                                     ElementType::kFloat8E4M3FNUZ,
                                     ElementType::kFloat8E5M2,
                                     ElementType::kFloat8E5M2FNUZ,
                                     ElementType::kUint4,
                                     ElementType::kInt4,
                                     ElementType::kFloat4E2M1,
                                     ElementType::kFloat8E8M0,
                                     ElementType::kUint2,
                                     ElementType::kInt2};

FileBytes finished(Writer& writer) {
  Result<FileBytes> file = writer.finish_bytes();
  EXPECT_TRUE(file.ok()) << file.status().detail();
  return *file;
}

std::unique_ptr<OpenFile> opened(std::span<const std::byte> file) {
  auto open = open_file(file);
  EXPECT_TRUE(open.ok()) << open.status().detail();
  return std::move(*open);
}

FileBytes bytes_of_tensor(const Reader& reader, uint32_t tensor) {
  const AlignedMemory scratch(reader.scratch_size(tensor));
  const TensorInfo info = reader.tensor(tensor);
  FileBytes out(element_bytes(info.type, info.element_count));
  const Status status = reader.decode_bytes(tensor, out, scratch.span());
  EXPECT_TRUE(status.ok()) << status.detail();
  return out;
}

std::vector<float> floats_of_tensor(const Reader& reader, uint32_t tensor) {
  const AlignedMemory scratch(reader.scratch_size(tensor));
  std::vector<float> out(reader.tensor(tensor).element_count);
  const Status status = reader.decode_float32(tensor, out, scratch.span());
  EXPECT_TRUE(status.ok()) << status.detail();
  return out;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

TEST(Lossless, GivesBackEveryBitOfEveryType) {
  std::mt19937_64 random(3);
  std::vector<FileBytes> tensors;
  Writer writer = Writer::in_memory();
  for (const ElementType type : kAllTypes) {
    for (const uint64_t count : {1, 2, 3, 64, 1000}) {
      for (const bool noisy : {false, true}) {
        FileBytes bytes(element_bytes(type, count));
        for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(noisy ? random() : i / 16 % 7);
        ASSERT_TRUE(writer.add_lossless(type, bytes, count).ok());
        tensors.push_back(bytes);
      }
    }
  }
  const FileBytes file = finished(writer);
  const auto open = opened(file);
  ASSERT_EQ(open->reader.tensor_count(), tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) EXPECT_EQ(bytes_of_tensor(open->reader, i), tensors[i]) << i;
}

TEST(Lossless, KeepsNanPayloadsInfinitiesSubnormalsAndNegativeZero) {
  const std::vector<uint32_t> bits = {0x80000000, 0x7FC00001, 0xFFC12345, 0x7F800001, 0x7F800000, 0xFF800000,
                                      1,          0x807FFFFF, 0x7F7FFFFF, 0x00800000, 0,          0xFFFFFFFF};
  const std::vector<uint64_t> wide = {uint64_t{1} << 63, 0x7FF0000000000001, 0xFFF8000000000123, 1, 0x7FF0000000000000};
  const std::vector<uint16_t> half = {0x8000, 0x7C01, 0xFE17, 0x7C00, 0xFC00, 1, 0x83FF};
  Writer writer = Writer::in_memory();
  ASSERT_TRUE(writer.add_lossless(ElementType::kFloat32, std::as_bytes(std::span(bits)), bits.size()).ok());
  ASSERT_TRUE(writer.add_lossless(ElementType::kFloat64, std::as_bytes(std::span(wide)), wide.size()).ok());
  ASSERT_TRUE(writer.add_lossless(ElementType::kFloat16, std::as_bytes(std::span(half)), half.size()).ok());
  ASSERT_TRUE(writer.add_lossless(ElementType::kBfloat16, std::as_bytes(std::span(half)), half.size()).ok());
  const FileBytes file = finished(writer);
  const auto open = opened(file);
  const auto same = [&](uint32_t tensor, std::span<const std::byte> expected) {
    const FileBytes bytes = bytes_of_tensor(open->reader, tensor);
    return std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end());
  };
  EXPECT_TRUE(same(0, std::as_bytes(std::span(bits))));
  EXPECT_TRUE(same(1, std::as_bytes(std::span(wide))));
  EXPECT_TRUE(same(2, std::as_bytes(std::span(half))));
  EXPECT_TRUE(same(3, std::as_bytes(std::span(half))));
  const std::vector<float> values = floats_of_tensor(open->reader, 0);
  EXPECT_EQ(std::memcmp(values.data(), bits.data(), 4 * bits.size()), 0);
  EXPECT_TRUE(std::isinf(floats_of_tensor(open->reader, 2)[3]));
  EXPECT_TRUE(std::signbit(floats_of_tensor(open->reader, 1)[0]));
}

TEST(Lossless, CutsLargeTensorsIntoChunksThatDecodeAlone) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> values(3 * kChunkUnits + 17);
  for (float& value : values) value = normal(random);
  std::vector<int32_t> counter(kChunkUnits + 5);
  for (size_t i = 0; i < counter.size(); ++i) counter[i] = static_cast<int32_t>(3 * i);
  std::vector<uint16_t> half(kChunkUnits * 2);
  for (uint16_t& value : half) value = float16_from_float32(normal(random));
  FileBytes four_bit(kChunkUnits + 3);
  for (std::byte& byte : four_bit) byte = static_cast<std::byte>(random());
  Writer writer = Writer::in_memory();
  ASSERT_TRUE(writer.add_lossless(ElementType::kFloat32, std::as_bytes(std::span(values)), values.size()).ok());
  ASSERT_TRUE(writer.add_lossless(ElementType::kInt32, std::as_bytes(std::span(counter)), counter.size()).ok());
  ASSERT_TRUE(writer.add_lossless(ElementType::kFloat16, std::as_bytes(std::span(half)), half.size()).ok());
  ASSERT_TRUE(writer.add_lossless(ElementType::kInt4, four_bit, 2 * four_bit.size() - 1).ok());
  const FileBytes file = finished(writer);
  const auto open = opened(file);
  const Reader& reader = open->reader;

  EXPECT_EQ(reader.tensor(0).chunk_count, 4u);
  EXPECT_EQ(reader.tensor(0).encoding, Encoding::kPlanes);
  EXPECT_LT(reader.tensor(0).stored_bytes, values.size() * 4 * 9 / 10);
  EXPECT_TRUE(same_bits(floats_of_tensor(reader, 0), values));
  EXPECT_EQ(reader.tensor(1).encoding, Encoding::kDeltaPlanes);
  EXPECT_LT(reader.tensor(1).stored_bytes, 200u);
  const FileBytes counter_bytes = bytes_of_tensor(reader, 1);
  EXPECT_EQ(std::memcmp(counter_bytes.data(), counter.data(), counter_bytes.size()), 0);
  const std::vector<float> widened = floats_of_tensor(reader, 2);
  for (size_t i = 0; i < half.size(); ++i) ASSERT_EQ(float16_from_float32(widened[i]), half[i]);
  EXPECT_EQ(reader.tensor(3).chunk_count, 2u);
  EXPECT_EQ(bytes_of_tensor(reader, 3), four_bit);

  const AlignedMemory scratch(reader.scratch_size(0));
  for (const uint32_t c : {3u, 1u, 0u, 2u}) {
    const ChunkRange range = reader.chunk(0, c);
    std::vector<float> part(range.element_count);
    ASSERT_TRUE(reader.decode_chunk_float32(0, c, part, scratch.span()).ok());
    EXPECT_TRUE(same_bits(part, std::span(values).subspan(range.first_element, range.element_count)));
  }
}

TEST(Lossless, RefusesWrongSizesAndTypes) {
  Writer writer = Writer::in_memory();
  const FileBytes bytes(8);
  EXPECT_EQ(writer.add_lossless(ElementType::kFloat32, bytes, 3).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(writer.add_lossless(ElementType::kFloat32, {}, 0).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(writer.add_lossless(static_cast<ElementType>(8), bytes, 1).code(), StatusCode::kUnsupportedType);
}

// A quantized tensor as a test draws it, and the values that it must decode to.
struct Drawn {
  Codebook codebook;
  std::vector<uint16_t> indices;
  std::vector<uint8_t> codes;
  coded::Tensor tensor;
  std::vector<float> expected;
};

// `dimension` of 0: any.
Drawn draw(std::mt19937& random, uint64_t rows, uint64_t channels, uint64_t inner, ScaleKind scale_kind,
           uint32_t dimension = 0) {
  const auto below = [&random](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  Drawn drawn;
  const uint32_t entries = below(10) == 0 ? 257 + below(1000) : 1 + below(60);
  if (dimension == 0) dimension = below(2) == 0 ? 1 : 1u << below(4);
  const uint32_t zero = below(entries);
  std::vector<float> centers(size_t{entries} * dimension);
  if (dimension == 1 && below(2) == 0) {
    drawn.codebook = Codebook::uniform(0.013f, entries, zero);
    for (uint32_t j = 0; j < entries; ++j) {
      centers[j] = 0.013f * static_cast<float>(static_cast<int>(j) - static_cast<int>(zero));
    }
  } else {
    const bool half = below(2) == 0;
    std::normal_distribution<float> normal;
    for (float& center : centers) {
      center = normal(random);
      if (half) center = float32_from_float16(float16_from_float32(center));
    }
    drawn.codebook = Codebook::table(centers, dimension, zero);
  }
  const uint64_t indices = rows * channels * inner;
  std::geometric_distribution<uint32_t> geometric(0.3);
  for (uint64_t i = 0; i < indices; ++i) {
    drawn.indices.push_back(static_cast<uint16_t>((zero + geometric(random)) % entries));
  }
  coded::Tensor& tensor = drawn.tensor;
  constexpr ElementType kFloats[] = {ElementType::kFloat32, ElementType::kFloat16, ElementType::kBfloat16,
                                     ElementType::kFloat64};
  tensor.type = kFloats[below(4)];
  tensor.rows = rows;
  tensor.channels = channels;
  tensor.inner = inner;
  tensor.element_count = indices * dimension - below(dimension);
  tensor.scales.kind = scale_kind;
  tensor.scales.largest = 0.3f + static_cast<float>(below(100));
  if (tensor.scales.kind == ScaleKind::kChannel) {
    // Any split of the elements that comes out even, among them a scale per row and a scale per last axis.
    uint64_t scale_channels = below(2) == 0 ? rows : inner;
    if (tensor.element_count % scale_channels != 0) scale_channels = 1;
    const uint64_t rest = tensor.element_count / scale_channels;
    tensor.scales.inner = scale_channels == rows || below(2) == 0 ? rest : 1;
    for (uint64_t c = 0; c < scale_channels; ++c) drawn.codes.push_back(static_cast<uint8_t>(below(60)));
  }
  for (uint64_t e = 0; e < tensor.element_count; ++e) {
    float scale = 1;
    if (tensor.scales.kind == ScaleKind::kTensor) scale = tensor.scales.largest;
    if (tensor.scales.kind == ScaleKind::kChannel) {
      scale = coded::scale_from_code(tensor.scales.largest, drawn.codes[e / tensor.scales.inner % drawn.codes.size()]);
    }
    drawn.expected.push_back(scale * centers[drawn.indices[e / dimension] * dimension + e % dimension]);
  }
  // The value is the product rounded to the declared type, also where it is asked for as float32.
  FileBytes narrow(element_bytes(tensor.type, drawn.expected.size()));
  EXPECT_TRUE(convert_from_float32(drawn.expected, tensor.type, narrow).ok());
  EXPECT_TRUE(convert_to_float32(narrow, tensor.type, drawn.expected).ok());
  return drawn;
}

TEST(Quantized, DecodesToScaleTimesCenterToTheBit) {
  std::mt19937 random(5);
  for (const auto& [coder, name, use] : entropy::kCoders) {
    Writer writer = Writer::in_memory();
    ASSERT_TRUE(writer.add_entropy_model(default_model(coder)).ok());
    std::vector<Drawn> all;
    for (int i = 0; i < 80; ++i) {
      const auto scale_kind = static_cast<ScaleKind>(random() % 3);
      Drawn drawn = draw(random, 1 + random() % 20, 1 + random() % 20, 1 + random() % 10, scale_kind);
      const auto codebook = writer.add_codebook(drawn.codebook);
      ASSERT_TRUE(codebook.ok()) << codebook.status().detail();
      drawn.tensor.codebook = *codebook;
      drawn.tensor.indices = drawn.indices;
      drawn.tensor.scales.codes = drawn.codes;
      const Status status = writer.add_quantized(drawn.tensor);
      ASSERT_TRUE(status.ok()) << status.detail();
      all.push_back(std::move(drawn));
    }
    const FileBytes file = finished(writer);
    const auto open = opened(file);
    const AlignedMemory scratch(open->reader.max_scratch_size());
    for (uint32_t i = 0; i < all.size(); ++i) {
      const Drawn& drawn = all[i];
      EXPECT_TRUE(same_bits(floats_of_tensor(open->reader, i), drawn.expected)) << i;
      FileBytes converted(element_bytes(drawn.tensor.type, drawn.expected.size()));
      ASSERT_TRUE(convert_from_float32(drawn.expected, drawn.tensor.type, converted).ok());
      EXPECT_EQ(bytes_of_tensor(open->reader, i), converted) << i;
      std::vector<uint16_t> indices(drawn.indices.size());
      ASSERT_TRUE(open->reader.decode_indices(i, indices, scratch.span()).ok());
      EXPECT_EQ(indices, drawn.indices);
      const TensorInfo info = open->reader.tensor(i);
      EXPECT_EQ(info.coder, coder);
      EXPECT_EQ(info.index_count, drawn.indices.size());
      EXPECT_EQ(info.rows * info.channels * info.inner, info.index_count);
    }
  }
}

TEST(Quantized, ChunksOfALargeTensorDecodeAloneAndInParallel) {
  std::mt19937 random(6);
  Drawn drawn = draw(random, 700, 128, 9, ScaleKind::kChannel, 2);
  Writer writer = Writer::in_memory();
  drawn.tensor.codebook = *writer.add_codebook(drawn.codebook);
  drawn.tensor.entropy_model = *writer.add_entropy_model(default_model(entropy::Coder::kRans));
  drawn.tensor.indices = drawn.indices;
  drawn.tensor.scales.codes = drawn.codes;
  ASSERT_TRUE(writer.add_quantized(drawn.tensor).ok());
  const FileBytes file = finished(writer);
  const auto open = opened(file);
  const Reader& reader = open->reader;
  const uint32_t chunks = reader.tensor(0).chunk_count;
  ASSERT_GT(chunks, 2u);
  std::vector<float> values(drawn.expected.size());
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      const AlignedMemory scratch(reader.scratch_size(0));
      for (uint32_t c = t; c < chunks; c += 2) {
        const ChunkRange range = reader.chunk(0, c);
        const Status status = reader.decode_chunk_float32(
            0, c, std::span(values).subspan(range.first_element, range.element_count), scratch.span());
        EXPECT_TRUE(status.ok()) << status.detail();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(same_bits(values, drawn.expected));
  EXPECT_TRUE(same_bits(floats_of_tensor(reader, 0), drawn.expected));
}

TEST(Quantized, OneCodebookServesManyTensors) {
  Writer writer = Writer::in_memory();
  const uint32_t codebook = *writer.add_codebook(Codebook::uniform(0.5f, 3, 1));
  const uint32_t model = *writer.add_entropy_model(default_model(entropy::Coder::kArithmetic));
  const std::vector<uint16_t> indices = {0, 1, 2, 1};
  coded::Tensor tensor;
  tensor.element_count = 4;
  tensor.codebook = codebook;
  tensor.entropy_model = model;
  tensor.indices = indices;
  tensor.inner = 4;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(writer.add_quantized(tensor).ok());
  const FileBytes file = finished(writer);
  const auto open = opened(file);
  EXPECT_EQ(open->reader.codebook_count(), 1u);
  const coded::Codebook info = open->reader.codebook(0);
  EXPECT_EQ(info.entries, 3u);
  EXPECT_EQ(info.zero_symbol, 1u);
  EXPECT_EQ(info.step, 0.5f);
  EXPECT_EQ(std::vector<float>(info.centers.begin(), info.centers.end()), (std::vector<float>{-0.5f, 0, 0.5f}));
  EXPECT_EQ(floats_of_tensor(open->reader, 2), (std::vector<float>{-0.5f, 0, 0.5f, 0}));
}

TEST(Writer, RefusesWhatCannotBeDecoded) {
  Writer writer = Writer::in_memory();
  EXPECT_FALSE(writer.add_codebook(Codebook::uniform(0.1f, 0, 0)).ok());
  EXPECT_FALSE(writer.add_codebook(Codebook::uniform(0.1f, 65537, 0)).ok());
  EXPECT_FALSE(writer.add_codebook(Codebook::uniform(0.1f, 3, 3)).ok());
  EXPECT_FALSE(writer.add_codebook(Codebook::uniform(std::numeric_limits<float>::infinity(), 3, 0)).ok());
  EXPECT_FALSE(writer.add_codebook(Codebook::table({1, 2, 3}, 3, 0)).ok());
  EXPECT_FALSE(writer.add_codebook(Codebook::table({1, 2, 3}, 2, 0)).ok());
  EXPECT_FALSE(writer.add_codebook(Codebook::table({1, NAN}, 1, 0)).ok());
  EXPECT_FALSE(writer.add_codebook(Codebook::table({1, 2}, 0, 0)).ok());
  EXPECT_FALSE(writer.add_entropy_model(std::vector<uint8_t>{0xFF, 0xFF, 0xFF}).ok());

  const uint32_t codebook = *writer.add_codebook(Codebook::uniform(0.5f, 3, 1));
  const uint32_t model = *writer.add_entropy_model(default_model(entropy::Coder::kRans));
  const std::vector<uint16_t> indices = {0, 1, 2, 1};
  coded::Tensor good;
  good.element_count = 4;
  good.codebook = codebook;
  good.entropy_model = model;
  good.indices = indices;
  good.inner = 4;
  EXPECT_TRUE(writer.add_quantized(good).ok());
  const auto refuses = [&writer, good](auto change) {
    coded::Tensor bad = good;
    change(bad);
    return !writer.add_quantized(bad).ok();
  };
  const std::vector<uint16_t> outside = {0, 1, 3, 1};
  EXPECT_TRUE(refuses([](coded::Tensor& t) { t.element_count = 5; }));
  EXPECT_TRUE(refuses([](coded::Tensor& t) { t.codebook = 1; }));
  EXPECT_TRUE(refuses([](coded::Tensor& t) { t.entropy_model = 1; }));
  EXPECT_TRUE(refuses([](coded::Tensor& t) { t.inner = 2; }));
  EXPECT_TRUE(refuses([](coded::Tensor& t) { t.channels = 0; }));
  EXPECT_TRUE(refuses([&](coded::Tensor& t) { t.indices = outside; }));
  EXPECT_TRUE(refuses([](coded::Tensor& t) { t.type = ElementType::kInt8; }));
  EXPECT_TRUE(refuses([](coded::Tensor& t) { t.scales.kind = ScaleKind::kChannel; }));
  EXPECT_TRUE(refuses([](coded::Tensor& t) {
    t.scales.kind = ScaleKind::kTensor;
    t.scales.largest = NAN;
  }));
}

TEST(Reader, HandsOutGraphAndMetadata) {
  const std::string graph(10000, 'g');
  Writer writer = Writer::in_memory();
  ASSERT_TRUE(writer.set_graph(bytes_of(graph)).ok());
  EXPECT_FALSE(writer.set_graph(bytes_of(graph)).ok());
  ASSERT_TRUE(writer.add_metadata("tool", "quench 0.1").ok());
  ASSERT_TRUE(writer.add_metadata("empty", "").ok());
  ASSERT_TRUE(writer.add_metadata("source_bytes", "12345").ok());
  EXPECT_FALSE(writer.add_metadata("", "x").ok());
  const FileBytes file = finished(writer);
  EXPECT_LT(file.size(), 300u);
  const auto open = opened(file);
  EXPECT_EQ(open->reader.tensor_count(), 0u);
  EXPECT_EQ(open->reader.metadata("source_bytes"), "12345");
  EXPECT_EQ(open->reader.metadata("tool"), "quench 0.1");
  EXPECT_EQ(open->reader.metadata("other"), "");
  ASSERT_EQ(open->reader.graph_size(), graph.size());
  FileBytes out(graph.size());
  const AlignedMemory scratch(open->reader.graph_scratch_size());
  ASSERT_TRUE(open->reader.decode_graph(out, scratch.span()).ok());
  EXPECT_EQ(std::memcmp(out.data(), graph.data(), graph.size()), 0);
}

TEST(Reader, ReadsAnEmptyFileOfTheFormat) {
  Writer writer = Writer::in_memory();
  const FileBytes file = finished(writer);
  EXPECT_EQ(file.size(), kHeaderSize);
  const auto open = opened(file);
  EXPECT_EQ(open->reader.tensor_count(), 0u);
  EXPECT_EQ(open->reader.graph_size(), 0u);
  EXPECT_TRUE(open->reader.decode_graph({}, {}).ok());
}

TEST(Reader, RefusesWrongArguments) {
  const FileBytes file = sample_file();
  const auto open = opened(file);
  const Reader& reader = open->reader;
  const AlignedMemory scratch(reader.max_scratch_size() + 1);
  std::vector<float> values(reader.tensor(0).element_count);
  const auto code = [](const Status& status) { return status.code(); };
  EXPECT_EQ(code(reader.decode_float32(0, values, scratch.span())), StatusCode::kOk);
  EXPECT_EQ(code(reader.decode_float32(99, values, scratch.span())), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(reader.decode_float32(0, std::span(values).first(3), scratch.span())), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(reader.decode_float32(0, values, scratch.span().first(100))), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(reader.decode_float32(0, values, scratch.span().subspan(1))), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(reader.decode_chunk_float32(0, 1, values, scratch.span())), StatusCode::kInvalidArgument);
  std::vector<float> integers(4);
  EXPECT_EQ(code(reader.decode_float32(4, integers, scratch.span())), StatusCode::kUnsupportedType);
  std::vector<uint16_t> indices(16);
  EXPECT_NE(code(reader.decode_indices(3, indices, scratch.span())), StatusCode::kOk);

  AlignedMemory memory(*Reader::open_size(file) + 64);
  EXPECT_EQ(code(Reader::open(file, memory.span().subspan(1)).status()), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Reader::open(file, memory.span().first(64)).status()), StatusCode::kInvalidArgument);
}

TEST(Reader, WithoutAFileHasNothing) {
  const Reader reader;
  EXPECT_EQ(reader.tensor_count(), 0u);
  EXPECT_EQ(reader.graph_size(), 0u);
  EXPECT_EQ(reader.metadata("tool"), "");
  EXPECT_EQ(reader.tensor(0).element_count, 0u);
  EXPECT_EQ(reader.section_stored_bytes(SectionKind::kGraph), 0u);
}

TEST(Writer, WritesTheSameBytesToDiskAndToMemory) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "quench-round-trip-test";
  std::filesystem::create_directories(folder);
  const std::string path = folder / "a.quench";
  std::mt19937 random(7);
  std::vector<float> values(100000);
  for (float& value : values) value = static_cast<float>(random()) * 1e-9f;
  const auto fill = [&](Writer& writer) {
    ASSERT_TRUE(writer.set_graph(bytes_of("graph")).ok());
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(writer.add_lossless(ElementType::kFloat32, std::as_bytes(std::span(values)), values.size()).ok());
    }
  };
  Writer in_memory = Writer::in_memory();
  fill(in_memory);
  Result<Writer> on_disk = Writer::create(path);
  ASSERT_TRUE(on_disk.ok()) << on_disk.status().detail();
  fill(*on_disk);
  EXPECT_GT(on_disk->stream_bytes(), 0u);
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(on_disk->finish().ok());
  std::ifstream stream(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  const FileBytes expected = finished(in_memory);
  ASSERT_EQ(text.size(), expected.size());
  EXPECT_EQ(std::memcmp(text.data(), expected.data(), text.size()), 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()), 1);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace quench::container
