// The file that FORMAT.md shows, kept in the tree: it must decode for ever, and the document must stay true to it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "formats/entropy/encoder.h"
#include "tests/formats/container/sample_file.h"

namespace quench::container {
namespace {

const std::string kSource = QUENCH_SOURCE_DIR;
const std::string kGolden = kSource + "/tests/formats/container/golden/v0.1-tiny.quench";
constexpr std::string_view kGraph = "the ModelProto without its weights";

std::string content(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

// As `hexdump -C` prints it.
std::string hexdump(std::string_view bytes) {
  std::string out;
  char text[24];
  const auto print = [&](const char* format, size_t value) {
    std::snprintf(text, sizeof text, format, value);
    out += text;
  };
  for (size_t line = 0; line < bytes.size(); line += 16) {
    print("%08zx ", line);
    for (size_t i = line; i < line + 16; ++i) {
      if (i == line + 8) out += ' ';
      if (i < bytes.size()) {
        print(" %02zx", static_cast<uint8_t>(bytes[i]));
      } else {
        out += "   ";
      }
    }
    out += "  |";
    for (size_t i = line; i < std::min(line + 16, bytes.size()); ++i) {
      out += bytes[i] >= 0x20 && bytes[i] < 0x7F ? bytes[i] : '.';
    }
    out += "|\n";
  }
  print("%08zx\n", bytes.size());
  return out;
}

FileBytes write_tiny() {
  Writer writer = Writer::in_memory();
  const auto check = [](const Status& status) { EXPECT_TRUE(status.ok()) << status.detail(); };
  const std::vector<uint16_t> indices = {1, 1, 2, 1, 0, 1, 1, 2};
  entropy::ModelFitter fitter(entropy::Coder::kArithmetic);
  check(fitter.add({2, 4, 1, 3, 1}, indices));
  check(writer.set_graph(bytes_of(kGraph)));
  coded::Tensor tensor;
  tensor.codebook = *writer.add_codebook(Codebook::uniform(0.5f, 3, 1));
  tensor.entropy_model = *writer.add_entropy_model(fitter.finish());
  tensor.element_count = 8;
  tensor.indices = indices;
  tensor.rows = 2;
  tensor.channels = 4;
  const uint8_t codes[] = {0, 16};
  tensor.scales.kind = ScaleKind::kChannel;
  tensor.scales.largest = 3;
  tensor.scales.codes = codes;
  tensor.scales.inner = 4;
  check(writer.add_quantized(tensor));
  const int64_t shape[] = {2, -1};
  check(writer.add_lossless(ElementType::kInt64, std::as_bytes(std::span(shape)), 2));
  check(writer.add_metadata("tool", "quench 0.1"));
  return *writer.finish_bytes();
}

TEST(Golden, TinyFileOfVersion01Decodes) {
  const std::string file = content(kGolden);
  const auto open = open_file(bytes_of(file));
  ASSERT_TRUE(open.ok()) << open.status().detail();
  const Reader& reader = (*open)->reader;
  const AlignedMemory scratch(std::max(reader.max_scratch_size(), reader.graph_scratch_size()));
  FileBytes graph(reader.graph_size());
  ASSERT_TRUE(reader.decode_graph(graph, scratch.span()).ok());
  EXPECT_TRUE(std::equal(graph.begin(), graph.end(), bytes_of(kGraph).begin(), bytes_of(kGraph).end()));
  ASSERT_EQ(reader.tensor_count(), 2u);
  std::vector<float> values(8);
  ASSERT_TRUE(reader.decode_float32(0, values, scratch.span()).ok());
  EXPECT_EQ(values, (std::vector<float>{0, 0, 1.5f, 0, -0.75f, 0, 0, 0.75f}));
  std::vector<int64_t> shape(2);
  ASSERT_TRUE(reader.decode_bytes(1, std::as_writable_bytes(std::span(shape)), scratch.span()).ok());
  EXPECT_EQ(shape, (std::vector<int64_t>{2, -1}));
  EXPECT_EQ(reader.metadata("tool"), "quench 0.1");
}

// With QUENCH_WRITE_GOLDEN=path the file is written there, as it was when it entered the tree.
TEST(Golden, WriterStillWritesTheTinyFile) {
  const FileBytes file = write_tiny();
  const std::string text(reinterpret_cast<const char*>(file.data()), file.size());
  if (const char* path = std::getenv("QUENCH_WRITE_GOLDEN")) std::ofstream(path, std::ios::binary) << text;
  EXPECT_EQ(hexdump(text), hexdump(content(kGolden)));
}

TEST(Golden, FormatDocumentShowsTheTinyFile) {
  const std::string document = content(kSource + "/formats/container/FORMAT.md");
  EXPECT_NE(document.find(hexdump(content(kGolden))), std::string::npos) << "FORMAT.md must contain:\n"
                                                                         << hexdump(content(kGolden));
}

}  // namespace
}  // namespace quench::container
