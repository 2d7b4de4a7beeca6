#include "formats/container/writer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "formats/base/atomic_file.h"
#include "formats/base/crc32c.h"
#include "formats/base/float16.h"
#include "formats/container/planes.h"
#include "formats/container/serialize.h"
#include "formats/entropy/bytes_encoder.h"
#include "formats/entropy/encoder.h"

namespace quench::container {
namespace {

using Bytes = std::vector<uint8_t>;

std::span<const std::byte> as_bytes(const Bytes& bytes) { return std::as_bytes(std::span(bytes)); }

// Where the file goes: to disk, or into memory.
class Sink {
 public:
  Sink() = default;
  explicit Sink(AtomicFile file) : file_(std::move(file)), on_disk_(true) {}

  bool on_disk() const { return on_disk_; }
  uint64_t size() const { return on_disk_ ? file_.size() : memory_.size(); }

  Status write(std::span<const std::byte> bytes) {
    if (on_disk_) return file_.write(bytes);
    memory_.insert(memory_.end(), bytes.begin(), bytes.end());
    return {};
  }

  Status write_at_start(std::span<const std::byte> bytes) {
    if (on_disk_) return file_.write_at(0, bytes);
    std::copy(bytes.begin(), bytes.end(), memory_.begin());
    return {};
  }

  Status commit() { return file_.commit(); }
  std::vector<std::byte> take() { return std::move(memory_); }

 private:
  AtomicFile file_;
  std::vector<std::byte> memory_;
  bool on_disk_ = false;
};

struct SectionEntry {
  SectionKind kind;
  uint32_t flags = kSectionMandatory;
  uint64_t stored = 0;
  uint64_t decoded = 0;
  uint32_t crc = 0;
};

// Bytes of equal significance together, the most significant first: neighbouring centers differ little in those.
template <typename T>
void append_planes(Bytes& out, std::span<const T> values) {
  for (size_t p = sizeof(T); p-- > 0;) {
    for (const T value : values) out.push_back(static_cast<uint8_t>(value >> (8 * p)));
  }
}

bool exact_as_float16(float value) {
  return std::bit_cast<uint32_t>(float32_from_float16(float16_from_float32(value))) == std::bit_cast<uint32_t>(value);
}

Bytes serialize(const Codebook& codebook) {
  CodebookKind kind = CodebookKind::kUniform;
  if (!codebook.is_uniform) {
    const bool half = std::all_of(codebook.centers.begin(), codebook.centers.end(), exact_as_float16);
    kind = half ? CodebookKind::kTableFloat16 : CodebookKind::kTableFloat32;
  }
  Bytes out;
  out.push_back(static_cast<uint8_t>(static_cast<uint32_t>(kind) |
                                     static_cast<uint32_t>(std::countr_zero(codebook.dimension)) << 4));
  append_varint(out, codebook.entries - 1);
  append_varint(out, codebook.zero_symbol);
  if (kind == CodebookKind::kUniform) {
    append_fixed(out, codebook.step);
  } else if (kind == CodebookKind::kTableFloat16) {
    std::vector<uint16_t> bits;
    for (const float center : codebook.centers) bits.push_back(float16_from_float32(center));
    append_planes<uint16_t>(out, bits);
  } else {
    std::vector<uint32_t> bits;
    for (const float center : codebook.centers) bits.push_back(std::bit_cast<uint32_t>(center));
    append_planes<uint32_t>(out, bits);
  }
  return out;
}

bool is_valid(const Codebook& codebook) {
  if (codebook.entries == 0 || codebook.entries > kMaxCodebookEntries || codebook.zero_symbol >= codebook.entries) {
    return false;
  }
  if (codebook.is_uniform) {
    const float last = coded::uniform_center(codebook.step, codebook.zero_symbol, codebook.entries - 1);
    const float first = coded::uniform_center(codebook.step, codebook.zero_symbol, 0);
    return codebook.dimension == 1 && std::isfinite(codebook.step) && std::isfinite(first) && std::isfinite(last);
  }
  const uint32_t d = codebook.dimension;
  return (d == 1 || d == 2 || d == 4 || d == 8) && codebook.centers.size() == size_t{codebook.entries} * d &&
         std::all_of(codebook.centers.begin(), codebook.centers.end(), [](float c) { return std::isfinite(c); });
}

// True where a * b divides `total` and both are at least 1.
bool divides(uint64_t a, uint64_t b, uint64_t total) {
  return a > 0 && b > 0 && a <= total && b <= total / a && total % (a * b) == 0;
}

bool has_valid_scales(const coded::Tensor& tensor) {
  const coded::Scales& scales = tensor.scales;
  if (scales.kind == ScaleKind::kNone) return true;
  if (!std::isfinite(scales.largest)) return false;
  return scales.kind == ScaleKind::kTensor || divides(scales.codes.size(), scales.inner, tensor.element_count);
}

bool is_scaled(const EncodedTensor& encoded) { return encoded.tensor.scales.kind != ScaleKind::kNone; }

bool scales_follow_rows(const EncodedTensor& encoded) {
  const coded::Tensor& tensor = encoded.tensor;
  return tensor.scales.kind == ScaleKind::kChannel && encoded.scale_codes.size() == tensor.rows &&
         tensor.element_count % tensor.rows == 0 && tensor.scales.inner == tensor.element_count / tensor.rows;
}

bool has_scale_layout(const EncodedTensor& encoded) {
  return encoded.tensor.scales.kind == ScaleKind::kChannel && !scales_follow_rows(encoded);
}

uint8_t form_of(const EncodedTensor& encoded) {
  const coded::Tensor& tensor = encoded.tensor;
  const uint32_t kinds = static_cast<uint32_t>(tensor.encoding) | static_cast<uint32_t>(tensor.scales.kind) << 2;
  return static_cast<uint8_t>(kinds | (scales_follow_rows(encoded) ? kScalesFollowRows : 0u) |
                              static_cast<uint32_t>(tensor.trellis) << kTrellisShift);
}

uint64_t scale_count(const EncodedTensor& encoded) {
  if (!is_scaled(encoded)) return 0;
  return encoded.tensor.scales.kind == ScaleKind::kTensor ? 1 : encoded.scale_codes.size();
}

// The tensor table, column by column, without the scale codes (FORMAT.md, "Tensors").
Bytes serialize(std::span<const EncodedTensor> tensors, std::span<const uint64_t> stream_sizes) {
  Bytes out;
  const auto quantized = [](const EncodedTensor& t) { return t.tensor.encoding == Encoding::kQuantized; };
  const auto column = [&](auto applies, auto append) {
    for (const EncodedTensor& tensor : tensors) {
      if (applies(tensor)) append(tensor);
    }
  };
  const auto always = [](const EncodedTensor&) { return true; };
  const auto reference = [&](uint32_t coded::Tensor::*field) {
    int64_t previous = 0;
    column(quantized, [&, field](const EncodedTensor& t) {
      append_signed_varint(out, int64_t{t.tensor.*field} - previous);
      previous = t.tensor.*field;
    });
  };
  column(always, [&](const EncodedTensor& t) { out.push_back(static_cast<uint8_t>(t.tensor.type)); });
  column(always, [&](const EncodedTensor& t) { out.push_back(form_of(t)); });
  column(always, [&](const EncodedTensor& t) { append_varint(out, t.tensor.element_count); });
  reference(&coded::Tensor::codebook);
  reference(&coded::Tensor::entropy_model);
  column(quantized, [&](const EncodedTensor& t) { append_varint(out, t.tensor.channels); });
  column(quantized, [&](const EncodedTensor& t) { append_varint(out, t.tensor.inner); });
  column(is_scaled, [&](const EncodedTensor& t) { append_fixed(out, t.tensor.scales.largest); });
  column(has_scale_layout, [&](const EncodedTensor& t) { append_varint(out, t.scale_codes.size()); });
  column(has_scale_layout, [&](const EncodedTensor& t) { append_varint(out, t.tensor.scales.inner); });
  for (const uint64_t size : stream_sizes) append_varint(out, size);
  return out;
}

Bytes all_scale_codes(std::span<const EncodedTensor> tensors) {
  Bytes out;
  for (const EncodedTensor& t : tensors) out.insert(out.end(), t.scale_codes.begin(), t.scale_codes.end());
  return out;
}

}  // namespace

Codebook Codebook::uniform(float step, uint32_t entries, uint32_t zero_symbol) {
  Codebook codebook;
  codebook.entries = entries;
  codebook.zero_symbol = zero_symbol;
  codebook.step = step;
  return codebook;
}

Codebook Codebook::table(std::vector<float> centers, uint32_t dimension, uint32_t zero_symbol) {
  Codebook codebook;
  codebook.is_uniform = false;
  codebook.dimension = dimension;
  codebook.entries = dimension == 0 ? 0 : static_cast<uint32_t>(centers.size() / dimension);
  codebook.zero_symbol = zero_symbol;
  codebook.centers = std::move(centers);
  return codebook;
}

struct Writer::State {
  Sink sink;
  Status status;  // the first error of writing; nothing is written after it
  std::vector<Codebook> codebooks;
  std::vector<entropy::Encoder> encoders;
  Bytes models;
  Bytes graph;
  bool graph_is_terse = false;
  Bytes metadata;
  std::vector<EncodedTensor> tensors;  // without their streams
  std::vector<uint64_t> stream_sizes;
  uint64_t stream_bytes = 0;
  uint32_t stream_crc = 0;
  std::vector<SectionEntry> sections;

  Status begin();
  Status write(std::span<const std::byte> bytes);
  Status write_section(SectionKind kind, const Bytes& bytes, bool may_be_coded, uint32_t flags);
  Status write_sections();
  Status write_tensor_table();
  Status write_table_and_header();
};

Status Writer::State::begin() {
  const Bytes placeholder(kHeaderSize);
  return write(as_bytes(placeholder));
}

Status Writer::State::write(std::span<const std::byte> bytes) {
  if (status.ok()) status = sink.write(bytes);
  return status;
}

Status Writer::State::write_section(SectionKind kind, const Bytes& bytes, bool may_be_coded, uint32_t flags) {
  if (bytes.empty()) return {};
  SectionEntry entry{kind, flags, bytes.size(), bytes.size(), 0};
  Bytes coded;
  if (may_be_coded) coded = entropy::compress_bytes(bytes);
  const bool is_coded = may_be_coded && coded.size() + varint_size(bytes.size()) < bytes.size();
  const Bytes& stored = is_coded ? coded : bytes;
  if (is_coded) entry.flags |= kSectionCoded;
  entry.stored = stored.size();
  entry.crc = crc32c(as_bytes(stored));
  sections.push_back(entry);
  return write(as_bytes(stored));
}

Status Writer::State::write_sections() {
  if (stream_bytes > 0) {
    sections.push_back({SectionKind::kStreams, kSectionMandatory, stream_bytes, stream_bytes, stream_crc});
  }
  Bytes codebook_bytes;
  for (const Codebook& codebook : codebooks) {
    const Bytes bytes = serialize(codebook);
    codebook_bytes.insert(codebook_bytes.end(), bytes.begin(), bytes.end());
  }
  const uint32_t graph_flags = kSectionMandatory | (graph_is_terse ? kSectionTerse : 0);
  QUENCH_RETURN_IF_ERROR(write_section(SectionKind::kGraph, graph, true, graph_flags));
  QUENCH_RETURN_IF_ERROR(write_section(SectionKind::kCodebooks, codebook_bytes, true, kSectionMandatory));
  QUENCH_RETURN_IF_ERROR(write_section(SectionKind::kEntropyModels, models, false, kSectionMandatory));
  QUENCH_RETURN_IF_ERROR(write_tensor_table());
  return write_section(SectionKind::kMeta, metadata, true, 0);
}

// Scale codes behind the table's other columns or in a section of their own, whichever is smaller: bytes that are alike
// in their distribution and nothing else suffer from company, and a section's entry takes some eight bytes.
Status Writer::State::write_tensor_table() {
  constexpr size_t kEntryBytes = 8;
  Bytes table = serialize(tensors, stream_sizes);
  Bytes together = table;
  Bytes codes = all_scale_codes(tensors);
  together.insert(together.end(), codes.begin(), codes.end());
  const auto size = [](const Bytes& bytes) { return std::min(bytes.size(), entropy::compress_bytes(bytes).size()); };
  const bool apart = !codes.empty() && size(table) + size(codes) + kEntryBytes < size(together);
  if (!apart) codes.clear();
  QUENCH_RETURN_IF_ERROR(write_section(SectionKind::kTensors, apart ? table : together, true, kSectionMandatory));
  return write_section(SectionKind::kScales, codes, true, kSectionMandatory);
}

Status Writer::State::write_table_and_header() {
  Bytes table;
  for (const SectionEntry& section : sections) {
    append_varint(table, static_cast<uint32_t>(section.kind));
    append_varint(table, section.flags);
    append_varint(table, section.stored);
    if ((section.flags & kSectionCoded) != 0) append_varint(table, section.decoded);
    append_fixed(table, section.crc);
  }
  uint64_t center_values = 0;
  for (const Codebook& codebook : codebooks) center_values += uint64_t{codebook.entries} * codebook.dimension;
  uint64_t scale_values = 0;
  for (const EncodedTensor& tensor : tensors) scale_values += scale_count(tensor);
  if (std::max({center_values, scale_values, uint64_t{tensors.size()}, uint64_t{codebooks.size()}}) > UINT32_MAX) {
    return Status::error(StatusCode::kLimit, "more tensors, centers or scales than a file can hold");
  }
  const uint64_t table_offset = sink.size();
  QUENCH_RETURN_IF_ERROR(write(as_bytes(table)));

  Bytes header(std::begin(kMagic), std::end(kMagic));
  append_fixed(header, kMajorVersion);
  append_fixed(header, kMinorVersion);
  append_fixed(header, static_cast<uint32_t>(sections.size()));
  append_fixed(header, sink.size());
  append_fixed(header, table_offset);
  append_fixed(header, static_cast<uint32_t>(table.size()));
  append_fixed(header, crc32c(as_bytes(table)));
  append_fixed(header, static_cast<uint32_t>(tensors.size()));
  append_fixed(header, static_cast<uint32_t>(codebooks.size()));
  append_fixed(header, static_cast<uint32_t>(center_values));
  append_fixed(header, static_cast<uint32_t>(scale_values));
  append_fixed(header, uint32_t{0});
  append_fixed(header, crc32c(as_bytes(header)));
  return sink.write_at_start(as_bytes(header));
}

Writer::Writer() = default;
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;
Writer::~Writer() = default;

Result<Writer> Writer::create(const std::string& path) {
  Result<AtomicFile> file = AtomicFile::create(path);
  if (!file.ok()) return file.status();
  Writer writer;
  writer.state_ = std::make_unique<State>();
  writer.state_->sink = Sink(std::move(*file));
  QUENCH_RETURN_IF_ERROR(writer.state_->begin());
  return Result<Writer>(std::move(writer));
}

Writer Writer::in_memory() {
  Writer writer;
  writer.state_ = std::make_unique<State>();
  writer.state_->status = writer.state_->begin();
  return writer;
}

Status Writer::set_graph(std::span<const std::byte> model_proto, bool terse) {
  if (!state_->graph.empty()) return Status::error(StatusCode::kInvalidArgument, "the graph is set already");
  const auto bytes = as_uint8(model_proto);
  state_->graph.assign(bytes.begin(), bytes.end());
  state_->graph_is_terse = terse;
  return {};
}

Result<uint32_t> Writer::add_codebook(const Codebook& codebook) {
  if (!is_valid(codebook)) {
    return Status::error(StatusCode::kInvalidArgument,
                         "a codebook of %u entries of dimension %u with %zu centers, zero symbol %u is not valid",
                         codebook.entries, codebook.dimension, codebook.centers.size(), codebook.zero_symbol);
  }
  state_->codebooks.push_back(codebook);
  return static_cast<uint32_t>(state_->codebooks.size() - 1);
}

Result<uint32_t> Writer::add_entropy_model(std::span<const uint8_t> serialized) {
  Result<entropy::Encoder> encoder = entropy::Encoder::create(serialized);
  if (!encoder.ok()) return encoder.status();
  state_->encoders.push_back(std::move(*encoder));
  append_varint(state_->models, serialized.size());
  state_->models.insert(state_->models.end(), serialized.begin(), serialized.end());
  return static_cast<uint32_t>(state_->encoders.size() - 1);
}

Status Writer::add_metadata(std::string_view key, std::string_view value) {
  if (key.empty() || key.size() > 255 || value.size() > 65535) {
    return Status::error(StatusCode::kInvalidArgument, "metadata of %zu and %zu bytes", key.size(), value.size());
  }
  for (const std::string_view text : {key, value}) {
    append_varint(state_->metadata, text.size());
    state_->metadata.insert(state_->metadata.end(), text.begin(), text.end());
  }
  return {};
}

Result<EncodedTensor> Writer::encode_quantized(const coded::Tensor& tensor) const {
  if (tensor.codebook >= state_->codebooks.size() || tensor.entropy_model >= state_->encoders.size()) {
    return Status::error(StatusCode::kInvalidArgument, "there is no codebook %u or no entropy model %u",
                         tensor.codebook, tensor.entropy_model);
  }
  if (!is_float(tensor.type)) return Status(StatusCode::kUnsupportedType);
  const Codebook& codebook = state_->codebooks[tensor.codebook];
  const uint64_t indices = tensor.indices.size();
  const bool fits = tensor.element_count > 0 && tensor.element_count <= kMaxElements &&
                    indices == (tensor.element_count + codebook.dimension - 1) / codebook.dimension &&
                    divides(tensor.channels, tensor.inner, indices) &&
                    indices / (tensor.channels * tensor.inner) == tensor.rows;
  if (!fits || !has_valid_scales(tensor)) {
    return Status::error(StatusCode::kInvalidArgument, "%llu indices do not fit %llu elements, their layout or scales",
                         static_cast<unsigned long long>(indices),
                         static_cast<unsigned long long>(tensor.element_count));
  }
  const entropy::StreamLayout layout{tensor.rows,      tensor.channels,      tensor.inner,
                                     codebook.entries, codebook.zero_symbol, tensor.trellis};
  Result<std::vector<uint8_t>> stream = state_->encoders[tensor.entropy_model].encode(layout, tensor.indices);
  if (!stream.ok()) return stream.status();
  EncodedTensor encoded;
  encoded.tensor = tensor;
  encoded.tensor.encoding = Encoding::kQuantized;
  encoded.tensor.indices = {};
  encoded.tensor.scales.codes = {};
  encoded.stream = std::move(*stream);
  if (tensor.scales.kind == ScaleKind::kChannel) {
    encoded.scale_codes.assign(tensor.scales.codes.begin(), tensor.scales.codes.end());
  }
  return encoded;
}

Status Writer::append(EncodedTensor tensor) {
  const auto stream = as_bytes(tensor.stream);
  QUENCH_RETURN_IF_ERROR(state_->write(stream));
  state_->stream_crc = crc32c(stream, state_->stream_crc);
  state_->stream_bytes += stream.size();
  state_->stream_sizes.push_back(stream.size());
  tensor.stream = Bytes();
  state_->tensors.push_back(std::move(tensor));
  return {};
}

Status Writer::add_lossless(ElementType type, std::span<const std::byte> bytes, uint64_t element_count) {
  Result<EncodedTensor> encoded = encode_lossless(type, bytes, element_count);
  if (!encoded.ok()) return encoded.status();
  return append(std::move(*encoded));
}

Status Writer::add_quantized(const coded::Tensor& tensor) {
  Result<EncodedTensor> encoded = encode_quantized(tensor);
  if (!encoded.ok()) return encoded.status();
  return append(std::move(*encoded));
}

uint64_t Writer::stream_bytes() const { return state_->stream_bytes; }

Status Writer::finish() {
  if (!state_->sink.on_disk()) return Status(StatusCode::kInvalidArgument);
  QUENCH_RETURN_IF_ERROR(state_->write_sections());
  QUENCH_RETURN_IF_ERROR(state_->write_table_and_header());
  return state_->sink.commit();
}

Result<std::vector<std::byte>> Writer::finish_bytes() {
  if (state_->sink.on_disk()) return Status(StatusCode::kInvalidArgument);
  QUENCH_RETURN_IF_ERROR(state_->write_sections());
  QUENCH_RETURN_IF_ERROR(state_->write_table_and_header());
  return state_->sink.take();
}

}  // namespace quench::container
