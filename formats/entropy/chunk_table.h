// Where the chunks of an encoded stream lie. A stream of one chunk is that chunk's bytes; a longer one starts with the
// end offset of each chunk, counted from the end of this table, as 64-bit little-endian numbers.
#pragma once

#include <cstdint>
#include <span>

#include "formats/base/status.h"

namespace quench::entropy {

inline constexpr uint64_t kChunkEntryBytes = 8;

inline uint64_t read_chunk_end(std::span<const uint8_t> stream, uint64_t index) {
  uint64_t end = 0;
  for (uint64_t i = 0; i < kChunkEntryBytes; ++i) end |= uint64_t{stream[index * kChunkEntryBytes + i]} << (8 * i);
  return end;
}

// The bytes of chunk `index` of `count`. Read one after the other without error, the chunks cover the stream without
// gap.
inline Result<std::span<const uint8_t>> chunk_bytes(std::span<const uint8_t> stream, uint64_t count, uint64_t index) {
  if (count == 1) return stream;
  if (stream.size() / kChunkEntryBytes < count) return Status(StatusCode::kTruncated);
  const std::span<const uint8_t> body = stream.subspan(count * kChunkEntryBytes);
  const uint64_t begin = index == 0 ? 0 : read_chunk_end(stream, index - 1);
  const uint64_t end = read_chunk_end(stream, index);
  if (end > body.size()) return Status(StatusCode::kTruncated);
  if (begin > end || (index + 1 == count && end != body.size())) {
    return Status::error(StatusCode::kCorrupt, "the table of chunks of an index stream contradicts itself");
  }
  return body.subspan(begin, end - begin);
}

}  // namespace quench::entropy
