#include "runtime/plan/arena.h"

#include <algorithm>

namespace quench::rt {

Status place_buffers(std::span<Buffer> buffers, bool reuse, uint64_t limit, Pool& pool, uint64_t* total) {
  *total = 0;
  std::span<uint32_t> by_size;
  std::span<uint32_t> by_offset;  // of those placed
  if (!pool.make(buffers.size(), &by_size) || !pool.make(buffers.size(), &by_offset)) return out_of_memory();
  for (size_t i = 0; i < buffers.size(); ++i) by_size[i] = static_cast<uint32_t>(i);
  std::sort(by_size.begin(), by_size.end(), [&](uint32_t a, uint32_t b) {
    return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes > buffers[b].bytes : a < b;
  });

  size_t placed = 0;
  for (uint32_t index : by_size) {
    Buffer& buffer = buffers[index];
    if (buffer.bytes > limit) return Status::error(StatusCode::kLimit, "the arena would exceed the memory limit");
    const uint64_t bytes = (std::max<uint64_t>(buffer.bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
    uint64_t end = 0;  // of what lies before, at this buffer's time
    uint64_t best = UINT64_MAX;
    uint64_t best_gap = UINT64_MAX;
    for (size_t i = 0; i < placed; ++i) {
      const Buffer& other = buffers[by_offset[i]];
      if (reuse && (other.last < buffer.first || other.first > buffer.last)) continue;
      if (other.offset > end && other.offset - end >= bytes && other.offset - end < best_gap) {
        best = end;
        best_gap = other.offset - end;
      }
      const uint64_t other_bytes = (std::max<uint64_t>(other.bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
      end = std::max(end, other.offset + other_bytes);
    }
    buffer.offset = best_gap != UINT64_MAX ? best : end;
    if (buffer.offset > limit || bytes > limit - buffer.offset) {
      return Status::error(StatusCode::kLimit, "the arena would exceed the memory limit");
    }
    *total = std::max(*total, buffer.offset + bytes);
    size_t at = placed++;
    while (at > 0 && buffers[by_offset[at - 1]].offset > buffer.offset) {
      by_offset[at] = by_offset[at - 1];
      --at;
    }
    by_offset[at] = index;
  }
  return Status();
}

}  // namespace quench::rt
