// Writes a .quench file: tensors one at a time, so that memory stays near one tensor; the file appears complete or not
// at all.
//
//     Result<Writer> writer = Writer::create("model.quench");       // or Writer::in_memory()
//     if (!writer.ok()) return writer.status();
//     Result<uint32_t> codebook = writer->add_codebook(Codebook::uniform(0.01f, 15, 7));
//     Result<uint32_t> model = writer->add_entropy_model(serialized);   // bytes from formats/entropy
//     QUENCH_RETURN_IF_ERROR(writer->add_quantized({.codebook = *codebook, .entropy_model = *model, ...}));
//     QUENCH_RETURN_IF_ERROR(writer->add_lossless(ElementType::kFloat32, bias_bytes));
//     QUENCH_RETURN_IF_ERROR(writer->set_graph(model_proto_bytes));
//     QUENCH_RETURN_IF_ERROR(writer->finish());
//
// Tensors must be added in the order of the graph's stripped tensors (FORMAT.md, "Which tensor is which"). Encoding is
// a pure function of its input, so threads may call encode_*() at once and hand the results to append() in order. After
// an error the writer must be dropped; a writer that is dropped before finish() removes its temporary file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/base/status.h"
#include "formats/container/layout.h"
#include "formats/entropy/coder.h"

namespace quench::container {

// L centers of dimension d (1, 2, 4 or 8), 1 <= L <= 65536, all finite.
struct Codebook {
  bool is_uniform = true;
  uint32_t entries = 1;
  uint32_t dimension = 1;
  uint32_t zero_symbol = 0;  // the index that stands for zero
  float step = 1;            // uniform: center j = step * (j - zero_symbol)
  std::vector<float>
      centers;  // table: entries * dimension values; stored as float16 where that is exact for all of them

  static Codebook uniform(float step, uint32_t entries, uint32_t zero_symbol);
  static Codebook table(std::vector<float> centers, uint32_t dimension, uint32_t zero_symbol);
};

// A tensor's record and stream, ready to be appended.
struct EncodedTensor {
  coded::Tensor tensor;  // without indices; its scale codes are those below
  std::vector<uint8_t> stream;
  std::vector<uint8_t> scale_codes;
};

class Writer {
 public:
  Writer();
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;
  ~Writer();

  // Writes to a temporary file beside `path` until finish(). Errors: kIo, with the path and the system's reason.
  static Result<Writer> create(const std::string& path);
  static Writer in_memory();

  // The ModelProto with its stripped tensors; `terse`: its names are (FORMAT.md, "Terse names"). Once, at any time
  // before finish().
  Status set_graph(std::span<const std::byte> model_proto, bool terse = false);

  // Before the first tensor that uses it.
  Result<uint32_t> add_codebook(const Codebook& codebook);
  // `serialized`: a model as entropy::ModelFitter::finish() gives it.
  Result<uint32_t> add_entropy_model(std::span<const uint8_t> serialized);

  // `key` up to 255 bytes, `value` up to 65535. Every byte counts: keep it short.
  Status add_metadata(std::string_view key, std::string_view value);

  // Appends the next tensor, bit-exactly: as planes or raw, whichever is smallest. `bytes`: the elements as in
  // raw_data, at least one.
  Status add_lossless(ElementType type, std::span<const std::byte> bytes, uint64_t element_count);
  // With all of its indices.
  Status add_quantized(const coded::Tensor& tensor);

  // The same in two steps: encode on any thread, append in order.
  static Result<EncodedTensor> encode_lossless(ElementType type, std::span<const std::byte> bytes,
                                               uint64_t element_count);
  Result<EncodedTensor> encode_quantized(const coded::Tensor& tensor) const;
  Status append(EncodedTensor tensor);

  // Bytes of the streams so far.
  uint64_t stream_bytes() const;

  // Writes the tables and the header, syncs, and renames. create() only.
  Status finish();
  // The whole file. in_memory() only.
  Result<std::vector<std::byte>> finish_bytes();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quench::container
