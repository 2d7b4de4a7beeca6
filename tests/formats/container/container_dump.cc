// Prints what a .quench file decodes to, as sums: container_dump FILE...
//
// tests/second_reader.py prints the same lines; golden/checksums.txt keeps them.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/formats/container/sample_file.h"
#include "tests/formats/plain_crc32c.h"

namespace quench::container {
namespace {

uint32_t sum_of(std::span<const std::byte> bytes) { return plain_crc32c(as_uint8(bytes)); }

template <typename T>
uint32_t sum_of(const std::vector<T>& values) {
  return sum_of(std::as_bytes(std::span(values)));
}

Status print_tensor(const Reader& reader, uint32_t i, std::span<std::byte> scratch) {
  const TensorInfo info = reader.tensor(i);
  FileBytes bytes(element_bytes(info.type, info.element_count));
  QUENCH_RETURN_IF_ERROR(reader.decode_bytes(i, bytes, scratch));
  std::printf("tensor %" PRIu32 ": type %u, %" PRIu64 " elements, bytes %08" PRIx32, i,
              static_cast<unsigned>(info.type), info.element_count, sum_of(bytes));
  if (is_float(info.type)) {
    std::vector<float> values(info.element_count);
    QUENCH_RETURN_IF_ERROR(reader.decode_float32(i, values, scratch));
    std::printf(", float32 %08" PRIx32, sum_of(values));
  }
  if (info.encoding == Encoding::kQuantized) {
    std::vector<uint16_t> indices(info.index_count);
    QUENCH_RETURN_IF_ERROR(reader.decode_indices(i, indices, scratch));
    std::printf(", indices %08" PRIx32, sum_of(indices));
  }
  std::printf("\n");
  return {};
}

Status print(std::span<const std::byte> file) {
  const auto open = open_file(file);
  if (!open.ok()) return open.status();
  const Reader& reader = (*open)->reader;
  const AlignedMemory scratch(std::max(reader.max_scratch_size(), reader.graph_scratch_size()));
  FileBytes graph(reader.graph_size());
  QUENCH_RETURN_IF_ERROR(reader.decode_graph(graph, scratch.span()));
  std::printf("graph: %zu bytes, %08" PRIx32 "\n", graph.size(), sum_of(graph));
  for (const std::string_view key : {"tool", "options", "source_bytes", "source_crc32c"}) {
    const std::string_view value = reader.metadata(key);
    if (!value.empty()) {
      std::printf("metadata %s: %s\n", std::string(key).c_str(), std::string(value).c_str());
    }
  }
  for (uint32_t i = 0; i < reader.codebook_count(); ++i) {
    const coded::Codebook codebook = reader.codebook(i);
    std::printf("codebook %" PRIu32 ": %" PRIu32 " entries of %" PRIu32 ", zero symbol %" PRIu32 ", centers %08" PRIx32
                "\n",
                i, codebook.entries, codebook.dimension, codebook.zero_symbol, sum_of(std::as_bytes(codebook.centers)));
  }
  for (uint32_t i = 0; i < reader.tensor_count(); ++i) {
    QUENCH_RETURN_IF_ERROR(print_tensor(reader, i, scratch.span()));
  }
  return {};
}

}  // namespace
}  // namespace quench::container

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::ifstream stream(argv[i], std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    std::printf("%s\n", argv[i]);
    const quench::Status status = quench::container::print(quench::container::bytes_of(text));
    if (!status.ok()) {
      std::fflush(stdout);
      std::fprintf(stderr, "%s: %s\n", argv[i], status.detail());
      return 1;
    }
  }
  return 0;
}
