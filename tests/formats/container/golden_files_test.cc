// Files of every kind, kept in the tree: they must decode for ever, to the bit, and the writer must go on writing them.
//
// The files were written by the writer of version 0.1, with QUENCH_WRITE_GOLDEN_FILES=folder. They are never written
// again: what changes the bytes of one is a new version with new files beside these.
#include "tests/formats/container/golden_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

namespace quench::container {
namespace {

const std::string kFolder = QUENCH_SOURCE_DIR "/tests/formats/container/golden/";

FileBytes content(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const auto bytes = bytes_of(text);
  return {bytes.begin(), bytes.end()};
}

std::string path_of(const std::string& folder, const GoldenFile& golden, int written) {
  return folder + "v0.1-" + golden.name + (written > 1 ? "-" + std::to_string(written) : "") + ".quench";
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

const std::vector<GoldenFile>& files() {
  static const std::vector<GoldenFile> all = golden_files();
  return all;
}

class GoldenFiles : public ::testing::TestWithParam<size_t> {
 protected:
  const GoldenFile& golden() const { return files()[GetParam()]; }
};

TEST_P(GoldenFiles, AreStillWritten) {
  if (const char* folder = std::getenv("QUENCH_WRITE_GOLDEN_FILES")) {
    std::ofstream(path_of(std::string(folder) + "/", golden(), golden().written), std::ios::binary)
        .write(reinterpret_cast<const char*>(golden().file.data()), static_cast<std::streamsize>(golden().file.size()));
  }
  const FileBytes kept = content(path_of(kFolder, golden(), golden().written));
  ASSERT_EQ(golden().file.size(), kept.size());
  const auto different = std::mismatch(kept.begin(), kept.end(), golden().file.begin()).first;
  EXPECT_TRUE(different == kept.end()) << "the first different byte is " << different - kept.begin();
}

void decodes_as_a_whole(const GoldenFile& golden, const FileBytes& kept) {
  const auto open = open_file(kept);
  ASSERT_TRUE(open.ok()) << open.status().detail();
  const Reader& reader = (*open)->reader;
  const AlignedMemory scratch(std::max(reader.max_scratch_size(), reader.graph_scratch_size()));
  FileBytes graph(reader.graph_size());
  ASSERT_TRUE(reader.decode_graph(graph, scratch.span()).ok());
  EXPECT_TRUE(std::ranges::equal(graph, bytes_of(golden.graph)));
  EXPECT_EQ(reader.graph_is_terse(), golden.terse);
  ASSERT_EQ(reader.tensor_count(), golden.tensors.size());
  for (uint32_t i = 0; i < reader.tensor_count(); ++i) {
    const GoldenTensor& expected = golden.tensors[i];
    EXPECT_EQ(reader.tensor(i).type, expected.type);
    ASSERT_EQ(reader.tensor(i).element_count, expected.element_count);
    FileBytes bytes(expected.bytes.size());
    ASSERT_TRUE(reader.decode_bytes(i, bytes, scratch.span()).ok());
    EXPECT_TRUE(same_bits(bytes, expected.bytes)) << "bytes of tensor " << i;
    std::vector<float> values(expected.values.size());
    EXPECT_EQ(reader.decode_float32(i, values, scratch.span()).ok(), !values.empty());
    EXPECT_TRUE(same_bits(values, expected.values)) << "values of tensor " << i;
    std::vector<uint16_t> indices(expected.indices.size());
    EXPECT_EQ(reader.decode_indices(i, indices, scratch.span()).ok(), !indices.empty());
    EXPECT_EQ(indices, expected.indices) << "indices of tensor " << i;
  }
}

void decodes_by_chunk(const GoldenFile& golden, const FileBytes& kept) {
  const auto open = open_file(kept);
  ASSERT_TRUE(open.ok()) << open.status().detail();
  const Reader& reader = (*open)->reader;
  for (uint32_t i = 0; i < reader.tensor_count(); ++i) {
    const GoldenTensor& expected = golden.tensors[i];
    const AlignedMemory scratch(reader.scratch_size(i));
    // From the last to the first: a chunk decodes on its own.
    for (uint32_t c = reader.tensor(i).chunk_count; c-- > 0;) {
      const ChunkRange range = reader.chunk(i, c);
      FileBytes bytes(element_bytes(expected.type, range.element_count));
      ASSERT_TRUE(reader.decode_chunk_bytes(i, c, bytes, scratch.span()).ok());
      const uint64_t first_byte = element_bytes(expected.type, range.first_element);
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), expected.bytes.begin() + static_cast<ptrdiff_t>(first_byte)));
      if (!expected.values.empty()) {
        std::vector<float> values(range.element_count);
        ASSERT_TRUE(reader.decode_chunk_float32(i, c, values, scratch.span()).ok());
        const auto begin = expected.values.begin() + static_cast<ptrdiff_t>(range.first_element);
        EXPECT_TRUE(same_bits(values, {begin, begin + static_cast<ptrdiff_t>(values.size())})) << i << ", chunk " << c;
      }
      if (!expected.indices.empty()) {
        std::vector<uint16_t> indices(range.index_count);
        ASSERT_TRUE(reader.decode_chunk_indices(i, c, indices, scratch.span()).ok());
        EXPECT_TRUE(std::equal(indices.begin(), indices.end(),
                               expected.indices.begin() + static_cast<ptrdiff_t>(range.first_index)));
      }
    }
  }
}

TEST_P(GoldenFiles, DecodeToTheirValues) {
  for (int written = 1; written <= golden().written; ++written) {
    SCOPED_TRACE(written);
    const FileBytes kept = content(path_of(kFolder, golden(), written));
    decodes_as_a_whole(golden(), kept);
    decodes_by_chunk(golden(), kept);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, GoldenFiles, ::testing::Range(size_t{0}, size_t{14}),
                         [](const ::testing::TestParamInfo<size_t>& tested) {
                           std::string name = files()[tested.param].name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(GoldenFilesTogether, AreAllTested) { EXPECT_EQ(files().size(), 14u); }

// What has no file among them is pinned by nothing.
TEST(GoldenFilesTogether, HaveEveryFormCoderAndType) {
  std::set<uint32_t> encodings, scales, coders, types, dimensions, codebooks;
  for (const GoldenFile& golden : files()) {
    const auto open = open_file(golden.file);
    ASSERT_TRUE(open.ok());
    const Reader& reader = (*open)->reader;
    for (uint32_t i = 0; i < reader.tensor_count(); ++i) {
      const TensorInfo info = reader.tensor(i);
      types.insert(static_cast<uint32_t>(info.type));
      encodings.insert(static_cast<uint32_t>(info.encoding));
      scales.insert(static_cast<uint32_t>(info.scales.kind));
      if (info.encoding == Encoding::kQuantized) coders.insert(static_cast<uint32_t>(info.coder));
    }
    for (uint32_t i = 0; i < reader.codebook_count(); ++i) {
      dimensions.insert(reader.codebook(i).dimension);
      codebooks.insert(static_cast<uint32_t>(reader.codebook(i).kind));
    }
  }
  EXPECT_EQ(encodings, (std::set<uint32_t>{0, 1, 2, 3}));
  EXPECT_EQ(scales, (std::set<uint32_t>{0, 1, 2}));
  EXPECT_EQ(coders, (std::set<uint32_t>{1, 2, 3}));
  EXPECT_EQ(dimensions, (std::set<uint32_t>{1, 2, 4, 8}));
  EXPECT_EQ(codebooks, (std::set<uint32_t>{0, 1, 2}));
  EXPECT_EQ(types.size(), 21u);
}

}  // namespace
}  // namespace quench::container
