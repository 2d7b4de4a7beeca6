#include "tests/formats/container/sample_file.h"

#include <cstdlib>
#include <cstring>

#include "formats/base/crc32c.h"
#include "formats/container/cursor.h"
#include "formats/container/serialize.h"
#include "formats/entropy/bytes_decoder.h"
#include "formats/entropy/encoder.h"

namespace quench::container {
namespace {

constexpr size_t kTableCrcOffset = 36;
constexpr size_t kHeaderCrcOffset = 60;

template <typename T>
T load(std::span<const std::byte> file, size_t offset) {
  T value{};
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

template <typename T>
void store(std::span<std::byte> file, size_t offset, T value) {
  std::memcpy(file.data() + offset, &value, sizeof value);
}

void append(FileBytes& out, std::span<const std::byte> bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

void seal_header(std::span<std::byte> file, std::span<const std::byte> table) {
  store(file, kTableCrcOffset, crc32c(table));
  store(file, kHeaderCrcOffset, crc32c(file.first(kHeaderCrcOffset)));
}

Status decode_tensor(const Reader& reader, uint32_t i, std::span<std::byte> scratch, FileBytes& out) {
  const TensorInfo info = reader.tensor(i);
  FileBytes bytes(element_bytes(info.type, info.element_count));
  QUENCH_RETURN_IF_ERROR(reader.decode_bytes(i, bytes, scratch));
  append(out, bytes);
  if (is_float(info.type)) {
    std::vector<float> values(info.element_count);
    QUENCH_RETURN_IF_ERROR(reader.decode_float32(i, values, scratch));
    append(out, std::as_bytes(std::span(values)));
  }
  if (info.encoding == Encoding::kQuantized) {
    std::vector<uint16_t> indices(info.index_count);
    QUENCH_RETURN_IF_ERROR(reader.decode_indices(i, indices, scratch));
    for (const uint16_t index : indices) {
      if (index >= reader.codebook(info.codebook).entries) std::abort();
    }
    append(out, std::as_bytes(std::span(indices)));
  }
  return {};
}

}  // namespace

AlignedMemory::AlignedMemory(uint64_t size)
    : memory_(static_cast<std::byte*>(std::aligned_alloc(Reader::kMemoryAlignment, (size + 64) / 64 * 64))),
      size_(static_cast<size_t>(size)) {
  if (memory_ == nullptr) std::abort();
}

void AlignedMemory::Free::operator()(std::byte* memory) const { std::free(memory); }

Result<std::unique_ptr<OpenFile>> open_file(std::span<const std::byte> file, const Limits& limits) {
  const Result<uint64_t> size = Reader::open_size(file, limits);
  if (!size.ok()) return size.status();
  auto open = std::make_unique<OpenFile>(OpenFile{AlignedMemory(*size), {}});
  const Result<Reader> reader = Reader::open(file, open->memory.span(), limits);
  if (!reader.ok()) return reader.status();
  open->reader = *reader;
  return Result<std::unique_ptr<OpenFile>>(std::move(open));
}

Result<FileBytes> decode_everything(std::span<const std::byte> file, const Limits& limits) {
  const auto open = open_file(file, limits);
  if (!open.ok()) return open.status();
  const Reader& reader = (*open)->reader;
  const AlignedMemory scratch(std::max(reader.max_scratch_size(), reader.graph_scratch_size()));
  FileBytes out(reader.graph_size());
  QUENCH_RETURN_IF_ERROR(reader.decode_graph(out, scratch.span()));
  for (uint32_t i = 0; i < reader.tensor_count(); ++i) {
    QUENCH_RETURN_IF_ERROR(decode_tensor(reader, i, scratch.span(), out));
  }
  return out;
}

Limits small_limits() {
  Limits limits;
  limits.max_table_bytes = uint64_t{1} << 24;
  limits.max_graph_bytes = uint64_t{1} << 16;
  limits.max_tensor_elements = uint64_t{1} << 16;
  limits.max_decoded_bytes = uint64_t{1} << 18;
  return limits;
}

std::vector<uint8_t> default_model(entropy::Coder coder) {
  entropy::ModelFitter fitter(coder);
  const std::vector<uint16_t> indices = {7, 7, 8, 6, 7, 7, 9, 7, 5, 7, 7, 8};
  const Status status = fitter.add({3, 2, 2, 15, 7}, indices);
  if (!status.ok()) std::abort();
  return fitter.finish();
}

FileBytes sample_file() {
  const auto check = [](const Status& status) {
    if (!status.ok()) std::abort();
  };
  Writer writer = Writer::in_memory();
  check(writer.set_graph(bytes_of("a graph, a graph, a graph, a graph: only bytes to the container")));
  check(writer.add_codebook(Codebook::uniform(0.25f, 15, 7)).status());
  check(writer.add_codebook(Codebook::table({0, 0, 0.1f, -0.2f, 0.3f, 1e-9f}, 2, 0)).status());
  check(writer.add_codebook(Codebook::table({-1.5f, 0, 0.5f, 2}, 1, 1)).status());
  for (const auto& [coder, name, use] : entropy::kCoders) {
    check(writer.add_entropy_model(default_model(coder)).status());
  }
  std::mt19937 random(1);
  std::vector<uint16_t> indices(36);
  for (uint32_t model = 0; model < 3; ++model) {
    coded::Tensor tensor;
    tensor.entropy_model = model;
    tensor.codebook = model;
    const uint32_t dimension = model == 1 ? 2 : 1;
    const uint32_t entries[] = {15, 3, 4};
    for (uint16_t& index : indices) index = static_cast<uint16_t>(random() % entries[model]);
    const uint8_t codes[] = {0, 16, 5, 40};
    tensor.element_count = indices.size() * dimension - (dimension - 1);
    tensor.indices = indices;
    tensor.rows = 4;
    tensor.channels = 3;
    tensor.inner = 3;
    tensor.scales.kind = static_cast<ScaleKind>((model + 2) % 3);
    tensor.scales.largest = 1.75f;
    tensor.scales.codes = codes;
    tensor.scales.inner = 9;
    tensor.type = model == 2 ? ElementType::kFloat16 : ElementType::kFloat32;
    check(writer.add_quantized(tensor));
  }
  const std::vector<float> floats = {1, 2, 3, 4, 5, 6, 7, 8, -0.0f, 1, 2, 3, 4, 5, 6, 7};
  check(writer.add_lossless(ElementType::kFloat32, std::as_bytes(std::span(floats)), floats.size()));
  const std::vector<int64_t> integers = {3, 2, 1, 1};
  check(writer.add_lossless(ElementType::kInt64, std::as_bytes(std::span(integers)), integers.size()));
  const std::vector<uint8_t> raw = {17, 250, 3};
  check(writer.add_lossless(ElementType::kUint8, std::as_bytes(std::span(raw)), raw.size()));
  check(writer.add_metadata("tool", "test"));
  Result<FileBytes> file = writer.finish_bytes();
  check(file.status());
  return *file;
}

void reseal(FileBytes& file) {
  if (file.size() < kHeaderSize) return;
  const auto offset = load<uint64_t>(file, 24);
  const auto length = load<uint32_t>(file, 32);
  if (offset >= kHeaderSize && offset <= file.size() && length <= file.size() - offset) {
    const auto table = std::span(file).subspan(offset, length);
    Cursor in(table);
    uint64_t position = kHeaderSize;
    while (in.remaining() > 0) {
      in.varint();
      const uint64_t flags = in.varint();
      const uint64_t stored = in.varint();
      if ((flags & kSectionCoded) != 0) in.varint();
      const size_t crc_at = length - in.remaining();
      in.fixed<uint32_t>();
      if (!in.ok() || position > offset || stored > offset - position) break;
      store(table, crc_at, crc32c(std::span(file).subspan(position, stored)));
      position += stored;
    }
    seal_header(file, table);
  } else {
    store(std::span(file), kHeaderCrcOffset, crc32c(std::span(file).first(kHeaderCrcOffset)));
  }
}

std::vector<RawSection> sections_of(std::span<const std::byte> file) {
  std::vector<RawSection> sections;
  Cursor in(file.subspan(load<uint64_t>(file, 24), load<uint32_t>(file, 32)));
  size_t position = kHeaderSize;
  while (in.remaining() > 0) {
    RawSection section;
    section.kind = in.varint();
    section.flags = in.varint();
    const uint64_t stored = in.varint();
    section.decoded = (section.flags & kSectionCoded) != 0 ? in.varint() : stored;
    in.fixed<uint32_t>();
    const auto bytes = file.subspan(position, stored);
    section.stored.assign(bytes.begin(), bytes.end());
    position += stored;
    sections.push_back(section);
  }
  return sections;
}

FileBytes assemble(std::span<const std::byte> like, const std::vector<RawSection>& sections) {
  FileBytes file(like.begin(), like.begin() + kHeaderSize);
  std::vector<uint8_t> table;
  for (const RawSection& section : sections) {
    append(file, section.stored);
    append_varint(table, section.kind);
    append_varint(table, section.flags);
    append_varint(table, section.stored.size());
    if ((section.flags & kSectionCoded) != 0) append_varint(table, section.decoded);
    append_fixed(table, crc32c(section.stored));
  }
  store(std::span(file), 12, static_cast<uint32_t>(sections.size()));
  store(std::span(file), 24, uint64_t{file.size()});
  store(std::span(file), 32, static_cast<uint32_t>(table.size()));
  append(file, std::as_bytes(std::span(table)));
  store(std::span(file), 16, uint64_t{file.size()});
  seal_header(file, std::as_bytes(std::span(table)));
  return file;
}

FileBytes without_section_coding(std::span<const std::byte> file) {
  std::vector<RawSection> sections = sections_of(file);
  const AlignedMemory scratch(entropy::kBytesScratch);
  for (RawSection& section : sections) {
    if ((section.flags & kSectionCoded) == 0) continue;
    FileBytes plain(section.decoded);
    const Status status = entropy::decompress_bytes(as_uint8(section.stored), as_writable_uint8(plain),
                                                    as_writable_uint8(scratch.span()));
    if (!status.ok()) std::abort();
    section.stored = plain;
    section.flags &= ~uint64_t{kSectionCoded};
  }
  return assemble(file, sections);
}

}  // namespace quench::container
