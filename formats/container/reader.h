// Reads a .quench file that lies in memory or is mapped (mmap): a borrowed span, no copy, no heap, no exceptions.
//
//     Result<uint64_t> size = Reader::open_size(file);              // memory for the decoded tables
//     if (!size.ok()) return size.status();
//     std::span<std::byte> memory = allocate(*size);                // aligned to kMemoryAlignment, outlives the reader
//     Result<Reader> reader = Reader::open(file, memory);
//     if (!reader.ok()) return reader.status();
//     for (uint32_t i = 0; i < reader->tensor_count(); ++i) {
//       TensorInfo info = reader->tensor(i);
//       std::span<std::byte> scratch = allocate(reader->scratch_size(i));
//       QUENCH_RETURN_IF_ERROR(reader->decode_float32(i, values_of(info.element_count), scratch));
//     }
//
// The file may be hostile: whatever its bytes say, no call reads or writes out of bounds, loops without end, or asks
// for more memory than `Limits` allows. A file that passes open() can still fail while a tensor decodes; the status
// says why.
//
// A reader is a small immutable value. Any number of threads may decode from one at once, each with a scratch of its
// own; tensors and chunks are independent of each other.
//
// Tensor i belongs to the i-th stripped tensor of the graph: see FORMAT.md, "Which tensor is which".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "formats/base/status.h"
#include "formats/container/layout.h"
#include "formats/entropy/coder.h"

namespace quench::container {

// What a caller is willing to spend on a file. A file that would exceed one of these is refused with kLimit.
struct Limits {
  uint64_t max_table_bytes = uint64_t{1} << 30;      // memory for Reader::open
  uint64_t max_graph_bytes = uint64_t{1} << 30;      // decoded graph
  uint64_t max_tensor_elements = uint64_t{1} << 34;  // elements of one tensor
  uint64_t max_decoded_bytes = uint64_t{1} << 38;    // all tensors together, as their declared types
  uint32_t max_tensors = 1u << 20;
  uint32_t max_codebooks = 1u << 16;
  uint32_t max_entropy_models = 1u << 16;
  // For whoever spends so many bytes of memory on a file in all: a graph takes many times its bytes once it is parsed.
  static Limits within(uint64_t memory);

  // Checks the sum over the streams, which are most of the file, in open(). Turn it off to open a large mapped file
  // without touching all of its pages: decoding stays safe, but damage then shows only where it makes a stream
  // contradict itself.
  bool verify_streams = true;
};

// What a file may cost in memory unless its user says otherwise: little enough for a phone, and several times what a
// network takes whose weights were compressed to a fortieth.
constexpr uint64_t default_memory(uint64_t file_bytes) {
  constexpr uint64_t kLeast = uint64_t{128} << 20;
  constexpr uint64_t kPerByte = 64;
  return file_bytes > (UINT64_MAX - kLeast) / kPerByte ? UINT64_MAX : kLeast + kPerByte * file_bytes;
}

// A tensor as the file describes it; scales are worked out, and lie in the memory given to open(). Indices come from
// Reader::decode_*.
struct TensorInfo : coded::Tensor {
  uint64_t stored_bytes = 0;  // of its stream
  uint32_t chunk_count = 1;

  // Quantized tensors only.
  entropy::Coder coder{};
  uint64_t index_count = 0;
};

// The part of a tensor that one chunk decodes to. Chunks tile the tensor in order.
struct ChunkRange {
  uint64_t first_element = 0;
  uint64_t element_count = 0;
  uint64_t first_index = 0;  // quantized tensors only
  uint64_t index_count = 0;
};

class Reader {
 public:
  static constexpr size_t kMemoryAlignment = 64;

  Reader() = default;  // holds no file: tensor_count() is 0

  // Bytes that open() needs for `file`, from the header, the section table and the entropy models' first bytes. Errors:
  // as of open().
  static Result<uint64_t> open_size(std::span<const std::byte> file, const Limits& limits = {});

  // Checks the whole file and decodes its tables into `memory` (open_size() bytes, aligned to kMemoryAlignment). Both
  // spans must outlive the reader. Errors: kBadMagic, kUnsupportedVersion, kTruncated, kChecksum, kCorrupt, kLimit,
  // kUnsupportedFeature (an unknown mandatory section, encoding or coder), kInvalidArgument (memory too small or
  // misaligned).
  static Result<Reader> open(std::span<const std::byte> file, std::span<std::byte> memory, const Limits& limits = {});

  // The graph: the bytes of a ModelProto whose stripped tensors have no data field; whether its names are terse is
  // graph_is_terse() (FORMAT.md, "Terse names"). `out` has graph_size() bytes, `scratch` graph_scratch_size().
  uint64_t graph_size() const;
  bool graph_is_terse() const;
  uint64_t graph_scratch_size() const;
  Status decode_graph(std::span<std::byte> out, std::span<std::byte> scratch) const;

  // Value of a key in the optional metadata, empty where there is none. Keys in use: "tool", "options", "source_bytes",
  // "source_crc32c".
  std::string_view metadata(std::string_view key) const;

  uint32_t tensor_count() const;
  uint32_t codebook_count() const;
  uint32_t entropy_model_count() const;

  // `index` below tensor_count() / codebook_count(), otherwise an empty description is returned. A codebook's centers are
  // all there, uniform ones expanded; they lie in the memory given to open().
  TensorInfo tensor(uint32_t index) const;
  coded::Codebook codebook(uint32_t index) const;

  // Stored bytes of a section (0 where the file has none): for a report of where the bytes go.
  uint64_t section_stored_bytes(SectionKind kind) const;

  // Scratch that any decode call for this tensor needs, whole or by chunk; aligned to kMemoryAlignment by the caller.
  uint64_t scratch_size(uint32_t tensor) const;
  // The largest of them over all tensors.
  uint64_t max_scratch_size() const;

  // `chunk` below chunk_count.
  ChunkRange chunk(uint32_t tensor, uint32_t chunk) const;

  // Decoding a chunk. `out` has exactly the chunk's elements (its indices for decode_indices).
  // float32: types for which is_float() holds, rounded to the declared type (see coded::dequantize). bytes: the declared type, as in raw_data; out has element_bytes() bytes.
  // indices: quantized tensors; each is below the codebook's entries. A vector codebook's last index may cover surplus
  // values. Errors: kInvalidArgument (sizes, numbers), kUnsupportedType, and whatever damage shows in the stream.
  Status decode_chunk_float32(uint32_t tensor, uint32_t chunk, std::span<float> out,
                              std::span<std::byte> scratch) const;
  Status decode_chunk_bytes(uint32_t tensor, uint32_t chunk, std::span<std::byte> out,
                            std::span<std::byte> scratch) const;
  Status decode_chunk_indices(uint32_t tensor, uint32_t chunk, std::span<uint16_t> out,
                              std::span<std::byte> scratch) const;

  // The same for a whole tensor, one chunk after the other.
  Status decode_float32(uint32_t tensor, std::span<float> out, std::span<std::byte> scratch) const;
  Status decode_bytes(uint32_t tensor, std::span<std::byte> out, std::span<std::byte> scratch) const;
  Status decode_indices(uint32_t tensor, std::span<uint16_t> out, std::span<std::byte> scratch) const;

  struct Tables;  // the decoded tables, at the start of the memory given to open()

 private:
  Status check_call(uint32_t tensor, uint32_t chunk, std::span<std::byte> scratch) const;

  const Tables* tables_ = nullptr;
};

}  // namespace quench::container
