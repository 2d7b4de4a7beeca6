// Decodes index streams. No heap, no exceptions; every byte may be hostile.
//
//     // A few KiB to 300 KiB, never above kMaxDecoderMemory.
//     Result<size_t> needed = Decoder::memory_bytes(model_bytes);
//     // Once per file; then const and shared by threads.
//     Result<Decoder> decoder = Decoder::create(model_bytes, memory);
//     decoder->decode(stream_bytes, layout, out, scratch);           // the whole stream, or
//     decoder->decode_chunk(stream_bytes, layout, i, out, scratch);  // chunk i alone, in any order, on any thread
//
// `memory` and `model_bytes` must outlive the Decoder; `scratch` (kDecodeScratch bytes) is one thread's working memory
// during a call. Both must be aligned to 64 bytes.
//
// Errors: kTruncated when bytes are missing; kCorrupt when they contradict themselves (an index outside the alphabet,
// bytes left over, a wrong final state, tables that don't add up); kUnsupportedFeature for an unknown coder;
// kInvalidArgument when `out`, `memory` or `scratch` is too small. After an error the contents of `out` are
// unspecified, but each index written is below the alphabet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/entropy/coder.h"

namespace quench::entropy {

inline constexpr size_t kMaxDecoderMemory = size_t{1} << 20;
inline constexpr size_t kDecodeScratch = size_t{1} << 16;

struct DecoderRow;

class Decoder {
 public:
  Decoder() = default;

  // How much memory create() needs for this model. Looks at the model's first bytes only.
  static Result<size_t> memory_bytes(std::span<const uint8_t> model);
  // Checks the whole model and builds its decoding tables in `memory`.
  static Result<Decoder> create(std::span<const uint8_t> model, std::span<uint8_t> memory);

  // Of a decoder that create() made.
  Coder coder() const;

  // Decodes all of `stream` into `out`, which holds layout.symbols() indices. The variant with bytes needs an alphabet
  // of at most 256.
  Status decode(std::span<const uint8_t> stream, const StreamLayout& layout, std::span<uint8_t> out,
                std::span<uint8_t> scratch) const;
  Status decode(std::span<const uint8_t> stream, const StreamLayout& layout, std::span<uint16_t> out,
                std::span<uint8_t> scratch) const;

  // Decodes chunk `index` < chunk_count(layout) alone; `out` holds chunk_at(layout, index).layout.symbols() indices.
  Status decode_chunk(std::span<const uint8_t> stream, const StreamLayout& layout, uint64_t index,
                      std::span<uint8_t> out, std::span<uint8_t> scratch) const;
  Status decode_chunk(std::span<const uint8_t> stream, const StreamLayout& layout, uint64_t index,
                      std::span<uint16_t> out, std::span<uint8_t> scratch) const;

  // The same decoder with the plain version of the coder, which the fast one is tested against.
  Decoder reference() const {
    Decoder decoder = *this;
    decoder.reference_ = true;
    return decoder;
  }

 private:
  template <typename Index>
  static Status check_call(const StreamLayout& layout, uint64_t symbols, std::span<Index> out,
                           std::span<uint8_t> scratch);
  template <typename Index>
  Status decode_all(std::span<const uint8_t> stream, const StreamLayout& layout, std::span<Index> out,
                    std::span<uint8_t> scratch) const;
  template <typename Index>
  Status decode_one(std::span<const uint8_t> stream, const StreamLayout& layout, uint64_t index, std::span<Index> out,
                    std::span<uint8_t> scratch) const;
  template <typename Index>
  Status decode_part(std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                     std::span<uint8_t> scratch) const;
  template <typename Index>
  Status decode_symbols(std::span<const uint8_t> bytes, const StreamLayout& chunk, Index* out,
                        std::span<uint8_t> scratch) const;

  const DecoderRow* row_ = nullptr;  // of the model's coder
  const void* tables_ = nullptr;     // what the row built in `memory`
  bool reference_ = false;
};

}  // namespace quench::entropy
