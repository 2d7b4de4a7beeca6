// Decoding of tensors: chunk by chunk, from the streams of an open file.
#include <algorithm>
#include <cstring>

#include "formats/base/crc32c.h"
#include "formats/base/float16.h"
#include "formats/container/cursor.h"
#include "formats/container/planes.h"
#include "formats/container/reader.h"
#include "formats/container/reader_tables.h"
#include "formats/entropy/bytes_decoder.h"
#include "formats/entropy/decoder.h"

namespace quench::container {
namespace {

constexpr size_t kBlock = 1024;  // values that are converted at a time, on the stack

uint64_t aligned(uint64_t size) {
  return (size + Reader::kMemoryAlignment - 1) & ~uint64_t{Reader::kMemoryAlignment - 1};
}

bool is_quantized(const TensorRecord& record) { return record.info.encoding == Encoding::kQuantized; }

uint64_t total_bytes(const TensorRecord& record) { return element_bytes(record.info.type, record.info.element_count); }

uint64_t chunk_bytes(const TensorRecord& record) { return kChunkUnits * unit_layout(record.info.type, false).width; }

// Indices are kept in a byte each where the codebook allows it.
uint64_t index_size(const TensorRecord& record) { return record.layout.alphabet <= 256 ? 1 : 2; }

// The element bytes of a chunk: [first, first + size) of the tensor's.
struct ByteRange {
  uint64_t first = 0;
  uint64_t size = 0;
};

ByteRange byte_range(const TensorRecord& record, uint64_t chunk) {
  const uint64_t first = chunk * chunk_bytes(record);
  return {first, std::min(chunk_bytes(record), total_bytes(record) - first)};
}

// The stored bytes of a chunk of planes. With more than one chunk, the stream opens with the offset of each one's end,
// counted from the end of this directory.
Result<std::span<const std::byte>> stored_chunk(const TensorRecord& record, uint64_t chunk) {
  const uint64_t chunks = record.info.chunk_count;
  if (chunks == 1) return record.stream;
  const uint64_t directory = chunks * sizeof(uint64_t);
  if (directory > record.stream.size()) return Status(StatusCode::kTruncated);
  const auto bodies = record.stream.subspan(static_cast<size_t>(directory));
  const auto end_of = [&record](uint64_t index) {
    uint64_t end;
    std::memcpy(&end, record.stream.data() + index * sizeof end, sizeof end);
    return end;
  };
  const uint64_t begin = chunk == 0 ? 0 : end_of(chunk - 1);
  const uint64_t end = end_of(chunk);
  const bool last = chunk + 1 == chunks;
  if (begin > end || end > bodies.size() || (last && end != bodies.size())) {
    return Status::error(StatusCode::kCorrupt, "the chunk directory contradicts itself");
  }
  return bodies.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

Status decode_plane(Cursor& in, PlaneForm form, uint64_t coded_size, std::span<std::byte> plane,
                    std::span<std::byte> scratch) {
  if (form == PlaneForm::kConstant) {
    std::fill(plane.begin(), plane.end(), in.fixed<std::byte>());
    return in.status("plane");
  }
  const auto stored = in.take(form == PlaneForm::kCoded ? coded_size : plane.size());
  QUENCH_RETURN_IF_ERROR(in.status("plane"));
  if (form == PlaneForm::kCoded) {
    return entropy::decompress_bytes(as_uint8(stored), as_writable_uint8(plane), as_writable_uint8(scratch));
  }
  std::memcpy(plane.data(), stored.data(), stored.size());
  return {};
}

Status decode_planes(std::span<const std::byte> stored, uint32_t width, std::span<std::byte> planes,
                     std::span<std::byte> scratch) {
  Cursor in(stored);
  const auto forms = in.fixed<uint16_t>();
  const auto form_of = [forms](uint32_t plane) { return static_cast<PlaneForm>((forms >> (2 * plane)) & 3); };
  uint64_t coded_sizes[8] = {};
  if (forms >> (2 * width) != 0) return Status::error(StatusCode::kCorrupt, "more planes than the type has");
  for (uint32_t p = 0; p < width; ++p) {
    if (form_of(p) > PlaneForm::kConstant) return Status(StatusCode::kUnsupportedFeature);
    if (form_of(p) == PlaneForm::kCoded) coded_sizes[p] = in.varint();
  }
  QUENCH_RETURN_IF_ERROR(in.status("planes"));
  const size_t size = planes.size() / width;
  for (uint32_t p = 0; p < width; ++p) {
    QUENCH_RETURN_IF_ERROR(decode_plane(in, form_of(p), coded_sizes[p], planes.subspan(p * size, size), scratch));
  }
  if (in.remaining() != 0) return Status::error(StatusCode::kCorrupt, "the planes leave bytes over");
  return {};
}

// Scratch: the planes, then (for conversions) the units, then the byte decoder's.
Status decode_exact_bytes(const TensorRecord& record, uint64_t chunk, std::span<std::byte> out,
                          std::span<std::byte> scratch) {
  if (record.info.encoding == Encoding::kRaw) {
    std::memcpy(out.data(), record.stream.data() + byte_range(record, chunk).first, out.size());
    return {};
  }
  const auto stored = stored_chunk(record, chunk);
  if (!stored.ok()) return stored.status();
  const UnitLayout units = unit_layout(record.info.type, record.info.encoding == Encoding::kDeltaPlanes);
  const auto planes = scratch.first(out.size());
  const auto rest = scratch.subspan(static_cast<size_t>(aligned(out.size())));
  QUENCH_RETURN_IF_ERROR(decode_planes(*stored, units.width, planes, rest.last(entropy::kBytesScratch)));
  merge_planes(planes, units, out);
  return {};
}

Status decode_exact_float32(const TensorRecord& record, uint64_t chunk, std::span<float> out,
                            std::span<std::byte> scratch) {
  if (record.info.type == ElementType::kFloat32) {
    return decode_exact_bytes(record, chunk, std::as_writable_bytes(out), scratch);
  }
  const ByteRange range = byte_range(record, chunk);
  if (record.info.encoding == Encoding::kRaw) {
    return convert_to_float32(record.stream.subspan(static_cast<size_t>(range.first), static_cast<size_t>(range.size)),
                              record.info.type, out);
  }
  const auto units = scratch.subspan(static_cast<size_t>(aligned(range.size)), static_cast<size_t>(range.size));
  QUENCH_RETURN_IF_ERROR(decode_exact_bytes(record, chunk, units, scratch));
  return convert_to_float32(units, record.info.type, out);
}

// Decodes the indices of a chunk into scratch, then calls use(values), where values(first, out) gives the elements from
// `first` on.
template <typename Index, typename Use>
Status with_indices(const Reader::Tables& tables, const TensorRecord& record, uint64_t chunk,
                    std::span<std::byte> scratch, Use use) {
  const entropy::Chunk range = entropy::chunk_at(record.layout, chunk);
  const size_t count = static_cast<size_t>(range.layout.symbols());
  const std::span<Index> indices(reinterpret_cast<Index*>(scratch.data()), count);
  const auto rest = scratch.last(entropy::kDecodeScratch);
  QUENCH_RETURN_IF_ERROR(tables.decoders[record.info.entropy_model].decode_chunk(
      as_uint8(record.stream), record.layout, chunk, indices, as_writable_uint8(rest)));
  return use([&](uint64_t first, std::span<float> out) {
    coded::dequantize(record.info, tables.codebooks[record.info.codebook], std::span<const Index>(indices),
                      range.first_symbol, first, out);
  });
}

template <typename Use>
Status with_values(const Reader::Tables& tables, const TensorRecord& record, uint64_t chunk,
                   std::span<std::byte> scratch, Use use) {
  return index_size(record) == 1 ? with_indices<uint8_t>(tables, record, chunk, scratch, use)
                                 : with_indices<uint16_t>(tables, record, chunk, scratch, use);
}

// Calls decode(chunk, its part of `out`) for all chunks, which size_of() must cut `out` into exactly.
template <typename T, typename SizeOf, typename Decode>
Status for_each_chunk(uint32_t chunk_count, std::span<T> out, SizeOf size_of, Decode decode) {
  for (uint32_t chunk = 0; chunk < chunk_count; ++chunk) {
    const uint64_t size = size_of(chunk);
    if (size > out.size()) return Status(StatusCode::kInvalidArgument);
    QUENCH_RETURN_IF_ERROR(decode(chunk, out.first(static_cast<size_t>(size))));
    out = out.subspan(static_cast<size_t>(size));
  }
  return out.empty() ? Status() : Status(StatusCode::kInvalidArgument);
}

}  // namespace

uint64_t chunk_count(const TensorRecord& record) {
  if (is_quantized(record)) return entropy::chunk_count(record.layout);
  return (total_bytes(record) + chunk_bytes(record) - 1) / chunk_bytes(record);
}

uint64_t scratch_size(const TensorRecord& record) {
  if (is_quantized(record)) {
    const uint64_t indices = std::min(record.info.index_count, entropy::kMaxChunkSymbols);
    return aligned(indices * index_size(record)) + entropy::kDecodeScratch;
  }
  if (record.info.encoding == Encoding::kRaw) return 0;
  const bool converts = is_float(record.info.type) && record.info.type != ElementType::kFloat32;
  const uint64_t bytes = aligned(std::min(chunk_bytes(record), total_bytes(record)));
  return bytes * (converts ? 2 : 1) + entropy::kBytesScratch;
}

uint64_t Reader::scratch_size(uint32_t tensor) const {
  return tensor < tensor_count() ? container::scratch_size(tables_->tensors[tensor]) : 0;
}

uint64_t Reader::max_scratch_size() const {
  uint64_t largest = 0;
  for (uint32_t i = 0; i < tensor_count(); ++i) largest = std::max(largest, scratch_size(i));
  return largest;
}

ChunkRange Reader::chunk(uint32_t tensor, uint32_t chunk) const {
  if (tensor >= tensor_count()) return {};
  const TensorRecord& record = tables_->tensors[tensor];
  if (chunk >= record.info.chunk_count) return {};
  if (!is_quantized(record)) {
    const ByteRange range = byte_range(record, chunk);
    const uint64_t bits = element_bits(record.info.type);
    const uint64_t first = range.first * 8 / bits;
    return {first, std::min(range.size * 8 / bits, record.info.element_count - first), 0, 0};
  }
  const entropy::Chunk indices = entropy::chunk_at(record.layout, chunk);
  const uint64_t dimension = tables_->codebooks[record.info.codebook].dimension;
  const uint64_t count = indices.layout.symbols();
  const uint64_t first = indices.first_symbol * dimension;
  return {first, std::min(count * dimension, record.info.element_count - first), indices.first_symbol, count};
}

Status Reader::check_call(uint32_t tensor, uint32_t chunk, std::span<std::byte> scratch) const {
  if (tensor >= tensor_count() || chunk >= tables_->tensors[tensor].info.chunk_count) {
    return Status::error(StatusCode::kInvalidArgument, "there is no tensor %u with a chunk %u", tensor, chunk);
  }
  if (scratch.size() < scratch_size(tensor) || reinterpret_cast<uintptr_t>(scratch.data()) % kMemoryAlignment != 0) {
    return Status::error(StatusCode::kInvalidArgument, "the scratch is too small or not aligned");
  }
  return {};
}

Status Reader::decode_chunk_float32(uint32_t tensor, uint32_t chunk, std::span<float> out,
                                    std::span<std::byte> scratch) const {
  QUENCH_RETURN_IF_ERROR(check_call(tensor, chunk, scratch));
  const TensorRecord& record = tables_->tensors[tensor];
  const ChunkRange range = this->chunk(tensor, chunk);
  if (!is_float(record.info.type)) return Status(StatusCode::kUnsupportedType);
  if (out.size() != range.element_count) return Status(StatusCode::kInvalidArgument);
  scratch = scratch.first(static_cast<size_t>(container::scratch_size(record)));
  if (!is_quantized(record)) return decode_exact_float32(record, chunk, out, scratch);
  return with_values(*tables_, record, chunk, scratch, [&](const auto& values) -> Status {
    values(range.first_element, out);
    return {};
  });
}

Status Reader::decode_chunk_bytes(uint32_t tensor, uint32_t chunk, std::span<std::byte> out,
                                  std::span<std::byte> scratch) const {
  QUENCH_RETURN_IF_ERROR(check_call(tensor, chunk, scratch));
  const TensorRecord& record = tables_->tensors[tensor];
  const ChunkRange range = this->chunk(tensor, chunk);
  if (out.size() != element_bytes(record.info.type, range.element_count)) return Status(StatusCode::kInvalidArgument);
  scratch = scratch.first(static_cast<size_t>(container::scratch_size(record)));
  if (!is_quantized(record)) return decode_exact_bytes(record, chunk, out, scratch);
  return with_values(*tables_, record, chunk, scratch, [&](const auto& values) -> Status {
    float block[kBlock];
    for (uint64_t done = 0; done < range.element_count;) {
      const auto part =
          std::span(block).first(static_cast<size_t>(std::min<uint64_t>(kBlock, range.element_count - done)));
      values(range.first_element + done, part);
      const auto bytes = out.subspan(static_cast<size_t>(element_bytes(record.info.type, done)),
                                     static_cast<size_t>(element_bytes(record.info.type, part.size())));
      QUENCH_RETURN_IF_ERROR(convert_from_float32(part, record.info.type, bytes));
      done += part.size();
    }
    return {};
  });
}

Status Reader::decode_chunk_indices(uint32_t tensor, uint32_t chunk, std::span<uint16_t> out,
                                    std::span<std::byte> scratch) const {
  QUENCH_RETURN_IF_ERROR(check_call(tensor, chunk, scratch));
  const TensorRecord& record = tables_->tensors[tensor];
  if (!is_quantized(record)) return Status(StatusCode::kUnsupportedType);
  if (out.size() != this->chunk(tensor, chunk).index_count) return Status(StatusCode::kInvalidArgument);
  return tables_->decoders[record.info.entropy_model].decode_chunk(as_uint8(record.stream), record.layout, chunk, out,
                                                                   as_writable_uint8(scratch));
}

Status Reader::decode_float32(uint32_t tensor, std::span<float> out, std::span<std::byte> scratch) const {
  return for_each_chunk(
      this->tensor(tensor).chunk_count, out, [&](uint32_t c) { return chunk(tensor, c).element_count; },
      [&](uint32_t c, std::span<float> part) { return decode_chunk_float32(tensor, c, part, scratch); });
}

Status Reader::decode_bytes(uint32_t tensor, std::span<std::byte> out, std::span<std::byte> scratch) const {
  const TensorInfo info = this->tensor(tensor);
  return for_each_chunk(
      info.chunk_count, out, [&](uint32_t c) { return element_bytes(info.type, chunk(tensor, c).element_count); },
      [&](uint32_t c, std::span<std::byte> part) { return decode_chunk_bytes(tensor, c, part, scratch); });
}

Status Reader::decode_indices(uint32_t tensor, std::span<uint16_t> out, std::span<std::byte> scratch) const {
  return for_each_chunk(
      this->tensor(tensor).chunk_count, out, [&](uint32_t c) { return chunk(tensor, c).index_count; },
      [&](uint32_t c, std::span<uint16_t> part) { return decode_chunk_indices(tensor, c, part, scratch); });
}

}  // namespace quench::container
