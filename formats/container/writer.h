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

// A tensor as indices into a codebook. Element e = d * i + k of the tensor in memory order is
// scale(e) * centers[indices[i] * d + k]; there are ceil(element_count / d) indices = rows * channels * inner of the
// layout.
struct QuantizedTensor {
  ElementType type = ElementType::kFloat32;  // the type it had: float32, float16, bfloat16 or float64
  uint64_t element_count = 0;
  uint32_t codebook = 0;       // numbers from add_codebook and add_entropy_model
  uint32_t entropy_model = 0;  // which also says the coder
  std::span<const uint16_t> indices;
  uint64_t rows = 1;  // the layout that the coder's contexts see: a filter's rows, input channels, kernel positions
  uint64_t channels = 1;
  uint64_t inner = 1;

  // kNone: 1. kTensor: `largest`. kChannel: scale_from_code(largest, scale_codes[(e / scale_inner) %
  // scale_codes.size()]).
  ScaleKind scale_kind = ScaleKind::kNone;
  float largest = 1;
  std::span<const uint8_t> scale_codes;
  uint64_t scale_inner = 1;
};

// A tensor's record and stream, ready to be appended.
struct EncodedTensor {
  ElementType type = ElementType::kFloat32;
  Encoding encoding = Encoding::kRaw;
  uint64_t element_count = 0;
  std::vector<uint8_t> stream;

  // Quantized tensors only; as in QuantizedTensor.
  uint32_t codebook = 0;
  uint32_t entropy_model = 0;
  uint64_t rows = 1;
  uint64_t channels = 1;
  uint64_t inner = 1;
  ScaleKind scale_kind = ScaleKind::kNone;
  float largest = 1;
  std::vector<uint8_t> scale_codes;
  uint64_t scale_inner = 1;
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

  // The ModelProto with its stripped tensors. Once, at any time before finish().
  Status set_graph(std::span<const std::byte> model_proto);

  // Before the first tensor that uses it.
  Result<uint32_t> add_codebook(const Codebook& codebook);
  // `serialized`: a model as entropy::ModelFitter::finish() gives it.
  Result<uint32_t> add_entropy_model(std::span<const uint8_t> serialized);

  // `key` up to 255 bytes, `value` up to 65535. Every byte counts: keep it short.
  Status add_metadata(std::string_view key, std::string_view value);

  // Appends the next tensor, bit-exactly: as planes or raw, whichever is smallest. `bytes`: the elements as in
  // raw_data, at least one.
  Status add_lossless(ElementType type, std::span<const std::byte> bytes, uint64_t element_count);
  Status add_quantized(const QuantizedTensor& tensor);

  // The same in two steps: encode on any thread, append in order.
  static Result<EncodedTensor> encode_lossless(ElementType type, std::span<const std::byte> bytes,
                                               uint64_t element_count);
  Result<EncodedTensor> encode_quantized(const QuantizedTensor& tensor) const;
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
