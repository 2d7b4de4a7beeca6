#include "formats/container/reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "formats/base/crc32c.h"
#include "formats/base/float16.h"
#include "formats/container/cursor.h"
#include "formats/container/planes.h"
#include "formats/container/reader_tables.h"
#include "formats/entropy/bytes_decoder.h"
#include "formats/entropy/decoder.h"

namespace quench::container {
namespace {

struct Header {
  uint32_t section_count = 0;
  uint64_t table_offset = 0;
  uint32_t table_length = 0;
  uint32_t table_crc = 0;
  uint32_t tensor_count = 0;
  uint32_t codebook_count = 0;
  uint32_t center_values = 0;
  uint32_t scale_values = 0;
};

struct Contents {
  Header header;
  Section sections[kKnownSections];

  const Section& operator[](SectionKind kind) const { return sections[static_cast<uint32_t>(kind)]; }
};

uint64_t aligned(uint64_t size) {
  constexpr uint64_t kAlignment = Reader::kMemoryAlignment;
  return (size + kAlignment - 1) & ~(kAlignment - 1);
}

Result<Header> read_header(std::span<const std::byte> file) {
  if (file.size() < sizeof kMagic) return Status(StatusCode::kTruncated);
  if (std::memcmp(file.data(), kMagic, sizeof kMagic) != 0) return Status(StatusCode::kBadMagic).at(0);
  if (file.size() < kHeaderSize) return Status(StatusCode::kTruncated).at(file.size());
  Cursor in(file.first(kHeaderSize));
  in.take(sizeof kMagic);
  const auto major = in.fixed<uint16_t>();
  in.fixed<uint16_t>();  // minor: what it added is optional
  Header header;
  header.section_count = in.fixed<uint32_t>();
  const auto file_size = in.fixed<uint64_t>();
  header.table_offset = in.fixed<uint64_t>();
  header.table_length = in.fixed<uint32_t>();
  header.table_crc = in.fixed<uint32_t>();
  header.tensor_count = in.fixed<uint32_t>();
  header.codebook_count = in.fixed<uint32_t>();
  header.center_values = in.fixed<uint32_t>();
  header.scale_values = in.fixed<uint32_t>();
  const auto reserved = in.fixed<uint32_t>();
  const auto crc = in.fixed<uint32_t>();

  if (major > kMajorVersion) {
    return Status::error(StatusCode::kUnsupportedVersion, "file of major version %u, this reader knows %u", major,
                         kMajorVersion);
  }
  if (crc != crc32c(file.first(kHeaderSize - sizeof crc))) {
    return Status::error(StatusCode::kChecksum, "the header's checksum does not match").at(0);
  }
  if (reserved != 0) return Status(StatusCode::kUnsupportedFeature).at(56);
  if (file_size > file.size()) return Status(StatusCode::kTruncated).at(file.size());
  if (file_size < file.size()) {
    return Status::error(StatusCode::kCorrupt, "bytes follow the end of the file").at(file_size);
  }
  if (header.table_offset < kHeaderSize || header.table_offset > file_size ||
      header.table_length != file_size - header.table_offset) {
    return Status::error(StatusCode::kCorrupt, "the section table does not end the file").at(24);
  }
  if (header.section_count > kMaxSections) return Status(StatusCode::kLimit).at(12);
  return header;
}

// One entry of the section table. `offset` is where its section begins; the entry's offset is not stored, as sections
// lie back to back.
Status read_section(Cursor& in, uint64_t offset, uint64_t end, Contents& contents, uint64_t& next_offset) {
  const uint64_t kind = in.varint();
  const uint64_t flags = in.varint();
  Section section;
  section.offset = offset;
  section.stored = in.varint();
  section.decoded = (flags & kSectionCoded) != 0 ? in.varint() : section.stored;
  section.crc = in.fixed<uint32_t>();
  section.present = true;
  QUENCH_RETURN_IF_ERROR(in.status("section table"));
  if (section.stored > end - offset) {
    return Status::error(StatusCode::kCorrupt, "section %llu reaches beyond the section table",
                         static_cast<unsigned long long>(kind));
  }
  next_offset = offset + section.stored;
  const bool known = kind >= 1 && kind < kKnownSections;
  const uint32_t terse = kind == static_cast<uint64_t>(SectionKind::kGraph) ? kSectionTerse : 0;
  const bool known_flags = (flags & ~uint64_t{kSectionMandatory | kSectionCoded | terse}) == 0;
  if (!known || !known_flags) {
    if ((flags & kSectionMandatory) == 0) return {};
    return Status::error(StatusCode::kUnsupportedFeature, "section of kind %llu is unknown and mandatory",
                         static_cast<unsigned long long>(kind));
  }
  section.flags = static_cast<uint32_t>(flags);
  const bool stays_stored = kind == static_cast<uint64_t>(SectionKind::kStreams) ||
                            kind == static_cast<uint64_t>(SectionKind::kEntropyModels);
  if (contents.sections[kind].present || (section.coded() && stays_stored)) {
    return Status::error(StatusCode::kCorrupt, "section of kind %llu twice, or coded where it must not be",
                         static_cast<unsigned long long>(kind));
  }
  contents.sections[kind] = section;
  return {};
}

Result<Contents> read_contents(std::span<const std::byte> file, const Limits& limits) {
  Result<Header> header = read_header(file);
  if (!header.ok()) return header.status();
  Contents contents;
  contents.header = *header;
  const auto table = file.subspan(static_cast<size_t>(header->table_offset), header->table_length);
  if (crc32c(table) != header->table_crc) {
    return Status::error(StatusCode::kChecksum, "the section table's checksum does not match").at(header->table_offset);
  }
  Cursor in(table, header->table_offset);
  uint64_t offset = kHeaderSize;
  for (uint32_t i = 0; i < header->section_count; ++i) {
    QUENCH_RETURN_IF_ERROR(read_section(in, offset, header->table_offset, contents, offset));
  }
  if (in.remaining() != 0 || offset != header->table_offset) {
    return Status::error(StatusCode::kCorrupt, "the section table leaves bytes over").at(offset);
  }
  if (header->tensor_count > limits.max_tensors) {
    return Status::error(StatusCode::kLimit, "%u tensors, the limit is %u", header->tensor_count, limits.max_tensors);
  }
  if (header->codebook_count > limits.max_codebooks) {
    return Status::error(StatusCode::kLimit, "%u codebooks, the limit is %u", header->codebook_count,
                         limits.max_codebooks);
  }
  if (contents[SectionKind::kGraph].decoded > limits.max_graph_bytes) {
    return Status::error(StatusCode::kLimit, "the graph exceeds the limit of %llu bytes",
                         static_cast<unsigned long long>(limits.max_graph_bytes));
  }
  return contents;
}

// Calls visit(model bytes) for each entropy model.
template <typename Visit>
Status for_each_model(std::span<const std::byte> file, const Contents& contents, const Limits& limits, Visit visit) {
  const Section& section = contents[SectionKind::kEntropyModels];
  Cursor in(file.subspan(section.offset, section.stored), section.offset);
  for (uint32_t count = 0; in.remaining() > 0; ++count) {
    if (count >= limits.max_entropy_models) return Status::error(StatusCode::kLimit, "too many entropy models");
    const uint64_t size = in.varint();
    const auto model = in.take(size);
    QUENCH_RETURN_IF_ERROR(in.status("entropy models"));
    QUENCH_RETURN_IF_ERROR(visit(as_uint8(model)));
  }
  return {};
}

// Hands out pieces of the caller's memory; with no memory it only measures.
class Arena {
 public:
  explicit Arena(std::byte* base) : base_(base) {}

  template <typename T>
  std::span<T> take(uint64_t count) {
    std::byte* place = base_ == nullptr ? nullptr : base_ + used_;
    used_ += aligned(count * sizeof(T));
    if (place == nullptr) return {};
    T* items = reinterpret_cast<T*>(place);
    for (uint64_t i = 0; i < count; ++i) new (items + i) T();
    return {items, static_cast<size_t>(count)};
  }

  // Without initialization.
  std::span<std::byte> take_bytes(uint64_t count) {
    std::byte* place = base_ == nullptr ? nullptr : base_ + used_;
    used_ += aligned(count);
    return place == nullptr ? std::span<std::byte>() : std::span(place, static_cast<size_t>(count));
  }

  uint64_t used() const { return used_; }

 private:
  std::byte* base_;
  uint64_t used_ = 0;
};

// All that open() places in the caller's memory.
struct Places {
  Reader::Tables* tables = nullptr;
  std::span<TensorRecord> tensors;
  std::span<coded::Codebook> codebooks;
  std::span<float> centers;
  std::span<float> scales;
  std::span<std::byte> metadata;
  std::span<entropy::Decoder> decoders;
  std::span<std::byte> section;      // a decoded section, one after the other, while open() runs
  std::span<std::byte> scale_codes;  // the decoded section of them, while open() runs
  std::span<std::byte> scratch;      // of the byte decoder
};

uint64_t coded_length(const Section& section) { return section.coded() ? section.decoded : 0; }

// The decoders' own memory is taken by the caller, model by model, after these.
Places take_places(Arena& arena, const Contents& contents, uint64_t model_count) {
  const Header& header = contents.header;
  Places places;
  const auto tables = arena.take<Reader::Tables>(1);
  places.tables = tables.empty() ? nullptr : tables.data();
  places.tensors = arena.take<TensorRecord>(header.tensor_count);
  places.codebooks = arena.take<coded::Codebook>(header.codebook_count);
  places.centers = arena.take<float>(header.center_values);
  places.scales = arena.take<float>(header.scale_values);
  places.decoders = arena.take<entropy::Decoder>(model_count);
  places.metadata = arena.take_bytes(coded_length(contents[SectionKind::kMeta]));
  places.section = arena.take_bytes(
      std::max(coded_length(contents[SectionKind::kCodebooks]), coded_length(contents[SectionKind::kTensors])));
  places.scale_codes = arena.take_bytes(coded_length(contents[SectionKind::kScales]));
  places.scratch = arena.take_bytes(entropy::kBytesScratch);
  return places;
}

// Refuses counts that the sections cannot hold, so that memory for tables stays in proportion to the decoded sections.
Status check_counts(const Contents& contents, const Limits& limits) {
  const Header& header = contents.header;
  for (const SectionKind kind :
       {SectionKind::kCodebooks, SectionKind::kTensors, SectionKind::kMeta, SectionKind::kScales}) {
    if (contents[kind].decoded > limits.max_table_bytes) {
      return Status::error(StatusCode::kLimit, "section %u exceeds the limit for tables", static_cast<uint32_t>(kind));
    }
  }
  constexpr uint64_t kSmallestTensor = 4;    // type, form, element count, stream length
  constexpr uint64_t kSmallestCodebook = 5;  // kind, entries, zero symbol, one float16
  const uint64_t tensor_bytes = contents[SectionKind::kTensors].decoded;
  const uint64_t codebook_bytes = contents[SectionKind::kCodebooks].decoded;
  const uint64_t scale_bytes = tensor_bytes + contents[SectionKind::kScales].decoded;
  if (header.tensor_count > tensor_bytes / kSmallestTensor || header.scale_values > scale_bytes ||
      header.codebook_count > codebook_bytes / kSmallestCodebook ||
      header.center_values > uint64_t{header.codebook_count} * kMaxCodebookEntries * 8) {
    return Status::error(StatusCode::kCorrupt, "the header's counts do not fit the sections").at(40);
  }
  return {};
}

struct Sizes {
  uint64_t model_count = 0;
  uint64_t total = 0;
};

Result<Sizes> measure(std::span<const std::byte> file, const Contents& contents, const Limits& limits) {
  QUENCH_RETURN_IF_ERROR(check_counts(contents, limits));
  Sizes sizes;
  uint64_t decoder_bytes = 0;
  QUENCH_RETURN_IF_ERROR(for_each_model(file, contents, limits, [&](std::span<const uint8_t> model) -> Status {
    Result<size_t> size = entropy::Decoder::memory_bytes(model);
    if (!size.ok()) return size.status();
    decoder_bytes += aligned(*size);
    ++sizes.model_count;
    return {};
  }));
  Arena arena(nullptr);
  take_places(arena, contents, sizes.model_count);
  sizes.total = arena.used() + decoder_bytes;
  if (sizes.total > limits.max_table_bytes) {
    return Status::error(StatusCode::kLimit, "the tables need %llu bytes, the limit is %llu",
                         static_cast<unsigned long long>(sizes.total),
                         static_cast<unsigned long long>(limits.max_table_bytes));
  }
  return sizes;
}

Status check_checksums(std::span<const std::byte> file, const Contents& contents, const Limits& limits) {
  for (uint32_t kind = 0; kind < kKnownSections; ++kind) {
    const Section& section = contents.sections[kind];
    if (!section.present) continue;
    if (kind == static_cast<uint32_t>(SectionKind::kStreams) && !limits.verify_streams) continue;
    if (crc32c(file.subspan(section.offset, section.stored)) != section.crc) {
      return Status::error(StatusCode::kChecksum, "the checksum of section %u does not match", kind).at(section.offset);
    }
  }
  return {};
}

// The bytes of a section: where they lie in the file, or decoded into `room`.
Result<std::span<const std::byte>> section_bytes(std::span<const std::byte> file, const Section& section,
                                                 std::span<std::byte> room, std::span<std::byte> scratch) {
  const auto stored = file.subspan(section.offset, section.stored);
  if (!section.coded()) return stored;
  const auto out = room.first(static_cast<size_t>(section.decoded));
  const Status status = entropy::decompress_bytes(as_uint8(stored), as_writable_uint8(out), as_writable_uint8(scratch));
  if (!status.ok()) return status.at(section.offset);
  return std::span<const std::byte>(out);
}

Status read_centers(Cursor& in, coded::Codebook& codebook, std::span<float> centers) {
  if (codebook.kind == CodebookKind::kUniform) {
    codebook.step = in.fixed<float>();
    for (uint32_t j = 0; j < codebook.entries; ++j) {
      centers[j] = coded::uniform_center(codebook.step, codebook.zero_symbol, j);
    }
  } else {
    const bool half = codebook.kind == CodebookKind::kTableFloat16;
    const size_t width = half ? 2 : 4;
    const auto planes = in.take(uint64_t{centers.size()} * width);
    if (!in.ok()) return in.status("codebooks");
    for (size_t i = 0; i < centers.size(); ++i) {
      uint32_t bits = 0;
      for (size_t p = 0; p < width; ++p) bits = bits << 8 | static_cast<uint32_t>(planes[p * centers.size() + i]);
      if (half) {
        centers[i] = float32_from_float16(static_cast<uint16_t>(bits));
      } else {
        std::memcpy(&centers[i], &bits, sizeof bits);
      }
    }
  }
  QUENCH_RETURN_IF_ERROR(in.status("codebooks"));
  for (const float center : centers) {
    if (!std::isfinite(center)) return Status::error(StatusCode::kCorrupt, "a codebook's center is not finite");
  }
  codebook.centers = centers;
  return {};
}

Status read_codebook(Cursor& in, coded::Codebook& codebook, std::span<float>& room) {
  const uint32_t form = in.fixed<uint8_t>();
  const uint64_t last_entry = in.varint();
  const uint64_t zero_symbol = in.varint();
  QUENCH_RETURN_IF_ERROR(in.status("codebooks"));
  const uint32_t kind = form & 0xF;
  const uint32_t log2_dimension = form >> 4;
  if (kind > static_cast<uint32_t>(CodebookKind::kTableFloat16) || log2_dimension > 3) {
    return Status::error(StatusCode::kUnsupportedFeature, "unknown kind of codebook %u", form);
  }
  if (last_entry >= kMaxCodebookEntries || zero_symbol > last_entry || (kind == 0 && log2_dimension != 0)) {
    return Status::error(StatusCode::kCorrupt, "a codebook's sizes are out of range");
  }
  codebook.kind = static_cast<CodebookKind>(kind);
  codebook.entries = static_cast<uint32_t>(last_entry) + 1;
  codebook.dimension = 1u << log2_dimension;
  codebook.zero_symbol = static_cast<uint32_t>(zero_symbol);
  const size_t values = size_t{codebook.entries} * codebook.dimension;
  if (values > room.size()) return Status::error(StatusCode::kCorrupt, "more centers than the header says");
  QUENCH_RETURN_IF_ERROR(read_centers(in, codebook, room.first(values)));
  room = room.subspan(values);
  return {};
}

Status read_codebooks(Cursor in, std::span<coded::Codebook> codebooks, std::span<float> room) {
  for (coded::Codebook& codebook : codebooks) QUENCH_RETURN_IF_ERROR(read_codebook(in, codebook, room));
  if (in.remaining() != 0 || !room.empty()) {
    return Status::error(StatusCode::kCorrupt, "the codebooks leave bytes over");
  }
  return {};
}

// The tensor table while it is read, column by column.
struct TensorTable {
  Cursor in;
  Cursor codes;  // of scales, where they have a section of their own
  const Limits& limits;
  std::span<TensorRecord> tensors;
  std::span<const coded::Codebook> codebooks;
  std::span<const entropy::Decoder> decoders;
  std::span<float> scales;
  std::span<const std::byte> streams;
  std::span<const std::byte> forms;  // a byte per tensor

  Status status() const { return in.status("tensor table"); }
  Status corrupt(size_t index, const char* what) const {
    return Status::error(StatusCode::kCorrupt, "tensor %zu: %s", index, what);
  }
  bool quantized(size_t index) const { return tensors[index].info.encoding == Encoding::kQuantized; }
};

Status read_forms(TensorTable& table) {
  const auto types = table.in.take(table.tensors.size());
  table.forms = table.in.take(table.tensors.size());
  QUENCH_RETURN_IF_ERROR(table.status());
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    TensorInfo& info = table.tensors[i].info;
    const auto form = static_cast<uint8_t>(table.forms[i]);
    const uint8_t scale_kind = (form >> 2) & 3;
    info.type = static_cast<ElementType>(types[i]);
    info.encoding = static_cast<Encoding>(form & 3);
    const auto trellis = static_cast<uint8_t>(form >> kTrellisShift);
    if (element_bits(info.type) == 0 || scale_kind > static_cast<uint8_t>(ScaleKind::kChannel) ||
        trellis > static_cast<uint8_t>(entropy::Trellis::kAlongRows)) {
      return Status::error(StatusCode::kUnsupportedFeature, "tensor %zu: unknown type %u or form %u", i,
                           static_cast<unsigned>(info.type), form);
    }
    info.scales.kind = static_cast<ScaleKind>(scale_kind);
    info.trellis = static_cast<entropy::Trellis>(trellis);
    const bool follows = (form & kScalesFollowRows) != 0;
    const bool scaled = info.scales.kind != ScaleKind::kNone;
    if (((scaled || trellis != 0) && !table.quantized(i)) || (follows && info.scales.kind != ScaleKind::kChannel) ||
        (table.quantized(i) && !is_float(info.type)) ||
        (info.encoding == Encoding::kDeltaPlanes && unit_layout(info.type, true).rotated)) {
      return table.corrupt(i, "the form contradicts itself");
    }
  }
  return {};
}

Status read_element_counts(TensorTable& table) {
  uint64_t total = 0;
  const uint64_t most = std::min(table.limits.max_tensor_elements, kMaxElements);
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    TensorInfo& info = table.tensors[i].info;
    info.element_count = table.in.varint();
    QUENCH_RETURN_IF_ERROR(table.status());
    if (info.element_count == 0) return table.corrupt(i, "no elements");
    if (info.element_count > most) {
      return Status::error(StatusCode::kLimit, "tensor %zu: %llu elements", i,
                           static_cast<unsigned long long>(info.element_count));
    }
    const uint64_t bytes = element_bytes(info.type, info.element_count);
    if (bytes > table.limits.max_decoded_bytes - total) {
      return Status::error(StatusCode::kLimit, "tensor %zu: the decoded tensors exceed the limit", i);
    }
    total += bytes;
  }
  return {};
}

// A column of numbers of quantized tensors, stored as differences to the one before.
Status read_references(TensorTable& table, uint32_t coded::Tensor::*field, size_t count, const char* what) {
  uint64_t previous = 0;
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    if (!table.quantized(i)) continue;
    previous += static_cast<uint64_t>(table.in.signed_varint());
    QUENCH_RETURN_IF_ERROR(table.status());
    if (previous >= count) return table.corrupt(i, what);
    table.tensors[i].info.*field = static_cast<uint32_t>(previous);
  }
  return {};
}

Status read_column(TensorTable& table, uint64_t coded::Tensor::*field) {
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    if (table.quantized(i)) table.tensors[i].info.*field = table.in.varint();
  }
  return table.status();
}

Status read_index_layouts(TensorTable& table) {
  QUENCH_RETURN_IF_ERROR(
      read_references(table, &TensorInfo::codebook, table.codebooks.size(), "there is no such codebook"));
  QUENCH_RETURN_IF_ERROR(
      read_references(table, &TensorInfo::entropy_model, table.decoders.size(), "there is no such entropy model"));
  QUENCH_RETURN_IF_ERROR(read_column(table, &TensorInfo::channels));
  QUENCH_RETURN_IF_ERROR(read_column(table, &TensorInfo::inner));
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    if (!table.quantized(i)) continue;
    TensorRecord& record = table.tensors[i];
    TensorInfo& info = record.info;
    const coded::Codebook& codebook = table.codebooks[info.codebook];
    info.coder = table.decoders[info.entropy_model].coder();
    info.index_count = (info.element_count + codebook.dimension - 1) / codebook.dimension;
    if (info.channels == 0 || info.inner == 0 || info.channels > info.index_count ||
        info.inner > info.index_count / info.channels || info.index_count % (info.channels * info.inner) != 0) {
      return table.corrupt(i, "the layout does not fit the number of indices");
    }
    info.rows = info.index_count / (info.channels * info.inner);
    record.layout = {info.rows, info.channels, info.inner, codebook.entries, codebook.zero_symbol, info.trellis};
    if (info.trellis != entropy::Trellis::kNone && (codebook.entries % 2 != 0 || codebook.zero_symbol % 2 != 0))
      return table.corrupt(i, "a trellis over an odd codebook");
    QUENCH_RETURN_IF_ERROR(entropy::check_layout(record.layout));
  }
  return {};
}

// Checks a scale's channels x inner against the elements, and makes room for its values.
Status place_scales(TensorTable& table, size_t index) {
  const uint64_t elements = table.tensors[index].info.element_count;
  coded::Scales& scales = table.tensors[index].info.scales;
  if (scales.channels == 0 || scales.inner == 0 || scales.channels > elements ||
      scales.inner > elements / scales.channels || elements % (scales.channels * scales.inner) != 0) {
    return table.corrupt(index, "the scales do not fit the number of elements");
  }
  if (scales.channels > table.scales.size()) return table.corrupt(index, "more scales than the header says");
  scales.values = table.scales.first(static_cast<size_t>(scales.channels));
  table.scales = table.scales.subspan(static_cast<size_t>(scales.channels));
  return {};
}

Status read_scale_layouts(TensorTable& table) {
  for (TensorRecord& record : table.tensors) {
    if (record.info.scales.kind != ScaleKind::kNone) record.info.scales.largest = table.in.fixed<float>();
  }
  const auto has_layout = [&table](size_t i) {
    return table.tensors[i].info.scales.kind == ScaleKind::kChannel &&
           (static_cast<uint8_t>(table.forms[i]) & kScalesFollowRows) == 0;
  };
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    if (has_layout(i)) table.tensors[i].info.scales.channels = table.in.varint();
  }
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    if (has_layout(i)) table.tensors[i].info.scales.inner = table.in.varint();
  }
  QUENCH_RETURN_IF_ERROR(table.status());
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    TensorInfo& info = table.tensors[i].info;
    if (info.scales.kind == ScaleKind::kNone) continue;
    if (!std::isfinite(info.scales.largest)) return table.corrupt(i, "the scale is not finite");
    if (info.scales.kind == ScaleKind::kTensor) {
      info.scales.inner = info.element_count;
    } else if (!has_layout(i)) {
      info.scales.channels = info.rows;
      info.scales.inner = info.element_count / info.rows;
    }
    QUENCH_RETURN_IF_ERROR(place_scales(table, i));
  }
  return {};
}

Status read_streams(TensorTable& table) {
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    TensorRecord& record = table.tensors[i];
    const uint64_t size = table.in.varint();
    QUENCH_RETURN_IF_ERROR(table.status());
    if (size > table.streams.size()) return table.corrupt(i, "the stream reaches beyond its section");
    record.stream = table.streams.first(static_cast<size_t>(size));
    record.info.stored_bytes = size;
    table.streams = table.streams.subspan(static_cast<size_t>(size));
    if (record.info.encoding == Encoding::kRaw && size != element_bytes(record.info.type, record.info.element_count)) {
      return table.corrupt(i, "the stream's length does not fit the elements");
    }
    const uint64_t chunks = chunk_count(record);
    if (chunks > UINT32_MAX) return Status::error(StatusCode::kLimit, "tensor %zu: too many chunks", i);
    record.info.chunk_count = static_cast<uint32_t>(chunks);
  }
  if (!table.streams.empty()) return Status::error(StatusCode::kCorrupt, "the streams leave bytes over");
  return {};
}

Status read_scale_codes(TensorTable& table, std::span<float> scales) {
  Cursor& codes = table.codes.remaining() > 0 ? table.codes : table.in;
  size_t next = 0;
  for (const TensorRecord& record : table.tensors) {
    const bool coded = record.info.scales.kind == ScaleKind::kChannel;
    for (size_t c = 0; c < record.info.scales.values.size(); ++c, ++next) {
      scales[next] = coded ? coded::scale_from_code(record.info.scales.largest, codes.fixed<uint8_t>())
                           : record.info.scales.largest;
    }
  }
  return codes.status("scale codes");
}

Status read_tensors(TensorTable table) {
  const std::span<float> scales = table.scales;
  QUENCH_RETURN_IF_ERROR(read_forms(table));
  QUENCH_RETURN_IF_ERROR(read_element_counts(table));
  QUENCH_RETURN_IF_ERROR(read_index_layouts(table));
  QUENCH_RETURN_IF_ERROR(read_scale_layouts(table));
  QUENCH_RETURN_IF_ERROR(read_streams(table));
  QUENCH_RETURN_IF_ERROR(read_scale_codes(table, scales));
  if (table.in.remaining() != 0 || table.codes.remaining() != 0 || !table.scales.empty()) {
    return Status::error(StatusCode::kCorrupt, "the tensor table or the scale codes leave bytes over");
  }
  return {};
}

// Metadata: pairs of a key and a value, each behind its length.
Status check_metadata(Cursor in) {
  while (in.remaining() > 0) {
    in.take(in.varint());
    in.take(in.varint());
    QUENCH_RETURN_IF_ERROR(in.status("metadata"));
  }
  return {};
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Status create_decoders(std::span<const std::byte> file, const Contents& contents, const Limits& limits, Arena& arena,
                       std::span<entropy::Decoder> decoders) {
  size_t next = 0;
  return for_each_model(file, contents, limits, [&](std::span<const uint8_t> model) -> Status {
    Result<size_t> size = entropy::Decoder::memory_bytes(model);
    if (!size.ok()) return size.status();
    Result<entropy::Decoder> decoder = entropy::Decoder::create(model, as_writable_uint8(arena.take_bytes(*size)));
    if (!decoder.ok()) return decoder.status();
    decoders[next++] = *decoder;
    return {};
  });
}

Status fill_tables(std::span<const std::byte> file, const Contents& contents, const Limits& limits, Arena& arena,
                   const Places& places) {
  Reader::Tables& tables = *places.tables;
  tables.file = file;
  std::copy(std::begin(contents.sections), std::end(contents.sections), std::begin(tables.sections));
  tables.tensors = places.tensors;
  tables.codebooks = places.codebooks;
  tables.decoders = places.decoders;
  QUENCH_RETURN_IF_ERROR(create_decoders(file, contents, limits, arena, places.decoders));

  const auto read = [&](SectionKind kind, std::span<std::byte> room) {
    return section_bytes(file, contents[kind], room, places.scratch);
  };
  auto bytes = read(SectionKind::kMeta, places.metadata);
  if (!bytes.ok()) return bytes.status();
  tables.metadata = *bytes;
  QUENCH_RETURN_IF_ERROR(check_metadata(Cursor(*bytes)));
  bytes = read(SectionKind::kCodebooks, places.section);
  if (!bytes.ok()) return bytes.status();
  QUENCH_RETURN_IF_ERROR(read_codebooks(Cursor(*bytes), places.codebooks, places.centers));
  const auto codes = read(SectionKind::kScales, places.scale_codes);
  if (!codes.ok()) return codes.status();
  bytes = read(SectionKind::kTensors, places.section);
  if (!bytes.ok()) return bytes.status();
  return read_tensors(TensorTable{Cursor(*bytes),
                                  Cursor(*codes),
                                  limits,
                                  places.tensors,
                                  places.codebooks,
                                  places.decoders,
                                  places.scales,
                                  tables.stored(SectionKind::kStreams),
                                  {}});
}

}  // namespace

Limits Limits::within(uint64_t memory) {
  Limits limits;
  limits.max_table_bytes = std::min(limits.max_table_bytes, memory / 4);
  limits.max_graph_bytes = std::min(limits.max_graph_bytes, memory / 8);
  limits.max_decoded_bytes = std::min(limits.max_decoded_bytes, memory);
  return limits;
}

Result<uint64_t> Reader::open_size(std::span<const std::byte> file, const Limits& limits) {
  Result<Contents> contents = read_contents(file, limits);
  if (!contents.ok()) return contents.status();
  Result<Sizes> sizes = measure(file, *contents, limits);
  if (!sizes.ok()) return sizes.status();
  return sizes->total;
}

Result<Reader> Reader::open(std::span<const std::byte> file, std::span<std::byte> memory, const Limits& limits) {
  Result<Contents> contents = read_contents(file, limits);
  if (!contents.ok()) return contents.status();
  QUENCH_RETURN_IF_ERROR(check_checksums(file, *contents, limits));
  Result<Sizes> sizes = measure(file, *contents, limits);
  if (!sizes.ok()) return sizes.status();
  if (memory.size() < sizes->total || reinterpret_cast<uintptr_t>(memory.data()) % kMemoryAlignment != 0) {
    return Status::error(StatusCode::kInvalidArgument, "open() needs %llu bytes, aligned to %zu",
                         static_cast<unsigned long long>(sizes->total), kMemoryAlignment);
  }
  Arena arena(memory.data());
  const Places places = take_places(arena, *contents, sizes->model_count);
  QUENCH_RETURN_IF_ERROR(fill_tables(file, *contents, limits, arena, places));
  Reader reader;
  reader.tables_ = places.tables;
  return reader;
}

uint64_t Reader::graph_size() const {
  return tables_ == nullptr ? 0 : tables_->sections[static_cast<uint32_t>(SectionKind::kGraph)].decoded;
}

bool Reader::graph_is_terse() const {
  return tables_ != nullptr &&
         (tables_->sections[static_cast<uint32_t>(SectionKind::kGraph)].flags & kSectionTerse) != 0;
}

uint64_t Reader::graph_scratch_size() const { return tables_ == nullptr ? 0 : entropy::kBytesScratch; }

Status Reader::decode_graph(std::span<std::byte> out, std::span<std::byte> scratch) const {
  if (tables_ == nullptr || out.size() != graph_size()) return Status(StatusCode::kInvalidArgument);
  if (out.empty()) return {};
  const Section& section = tables_->sections[static_cast<uint32_t>(SectionKind::kGraph)];
  const auto stored = tables_->stored(SectionKind::kGraph);
  if (section.coded()) {
    return entropy::decompress_bytes(as_uint8(stored), as_writable_uint8(out), as_writable_uint8(scratch));
  }
  std::memcpy(out.data(), stored.data(), out.size());
  return {};
}

std::string_view Reader::metadata(std::string_view key) const {
  if (tables_ == nullptr) return {};
  Cursor in(tables_->metadata);
  while (in.remaining() > 0) {
    const auto name = in.take(in.varint());
    const auto value = in.take(in.varint());
    if (as_text(name) == key) return as_text(value);
  }
  return {};
}

uint32_t Reader::tensor_count() const {
  return tables_ == nullptr ? 0 : static_cast<uint32_t>(tables_->tensors.size());
}

uint32_t Reader::codebook_count() const {
  return tables_ == nullptr ? 0 : static_cast<uint32_t>(tables_->codebooks.size());
}

uint32_t Reader::entropy_model_count() const {
  return tables_ == nullptr ? 0 : static_cast<uint32_t>(tables_->decoders.size());
}

TensorInfo Reader::tensor(uint32_t index) const {
  return index < tensor_count() ? tables_->tensors[index].info : TensorInfo{};
}

coded::Codebook Reader::codebook(uint32_t index) const {
  return index < codebook_count() ? tables_->codebooks[index] : coded::Codebook{};
}

uint64_t Reader::section_stored_bytes(SectionKind kind) const {
  const auto number = static_cast<uint32_t>(kind);
  return tables_ == nullptr || number >= kKnownSections ? 0 : tables_->sections[number].stored;
}

}  // namespace quench::container
