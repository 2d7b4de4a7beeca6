#include "runtime/plan/arena.h"

#include <algorithm>

namespace quench::rt {
namespace {

// The search for the tightest gap looks at all buffers for each one. Beyond so many, which no network that is known
// has, the time would be the file's to choose: 8192 take 0.1 s, 131072 half a minute.
constexpr size_t kMostSearched = 8192;

struct Slot {
  int last = 0;  // step in which it is used last
  uint64_t offset = 0;
};

Status too_large() { return Status::error(StatusCode::kLimit, "the arena would exceed the memory limit"); }

uint64_t rounded(const Buffer& buffer) {
  return (std::max<uint64_t>(buffer.bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
}

Status check_sizes(std::span<const Buffer> buffers, uint64_t limit) {
  for (const Buffer& buffer : buffers) {
    if (buffer.bytes > limit) return too_large();
  }
  return Status();
}

// Sets *total; false if it exceeds the limit.
bool grow(uint64_t offset, uint64_t bytes, uint64_t limit, uint64_t* total) {
  if (offset > limit || bytes > limit - offset) return false;
  *total = std::max(*total, offset + bytes);
  return true;
}

Status place_by_size(std::span<Buffer> buffers, bool reuse, uint64_t limit, std::span<uint32_t> order, Pool& pool,
                     uint64_t* total) {
  std::span<uint32_t> by_offset;  // of those placed
  if (!pool.make(buffers.size(), &by_offset)) return out_of_memory();
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes > buffers[b].bytes : a < b;
  });
  size_t placed = 0;
  for (uint32_t index : order) {
    Buffer& buffer = buffers[index];
    const uint64_t bytes = rounded(buffer);
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
      end = std::max(end, other.offset + rounded(other));
    }
    buffer.offset = best_gap != UINT64_MAX ? best : end;
    if (!grow(buffer.offset, bytes, limit, total)) return too_large();
    size_t at = placed++;
    while (at > 0 && buffers[by_offset[at - 1]].offset > buffer.offset) {
      by_offset[at] = by_offset[at - 1];
      --at;
    }
    by_offset[at] = index;
  }
  return Status();
}

// Buffers of one size share slots, each taken by the next buffer in time once its last user is done: O(n log n).
Status place_in_slots(std::span<Buffer> buffers, bool reuse, uint64_t limit, std::span<uint32_t> order, Pool& pool,
                      uint64_t* total) {
  std::span<Slot> slots;  // of the current size, a heap with the one that is free first on top
  if (!pool.make(buffers.size(), &slots)) return out_of_memory();
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const uint64_t left = rounded(buffers[a]);
    const uint64_t right = rounded(buffers[b]);
    if (left != right) return left > right;
    return buffers[a].first != buffers[b].first ? buffers[a].first < buffers[b].first : a < b;
  });
  const auto later = [](const Slot& a, const Slot& b) { return a.last > b.last; };
  const auto begin = slots.begin();
  std::ptrdiff_t count = 0;
  uint64_t size = 0;
  for (uint32_t index : order) {
    Buffer& buffer = buffers[index];
    if (rounded(buffer) != size) count = 0;
    size = rounded(buffer);
    buffer.offset = *total;
    if (reuse && count > 0 && begin->last < buffer.first) {
      std::pop_heap(begin, begin + count--, later);
      buffer.offset = begin[count].offset;
    }
    begin[count++] = {buffer.last, buffer.offset};
    std::push_heap(begin, begin + count, later);
    if (!grow(buffer.offset, size, limit, total)) return too_large();
  }
  return Status();
}

}  // namespace

Status place_buffers(std::span<Buffer> buffers, bool reuse, uint64_t limit, Pool& pool, uint64_t* total) {
  *total = 0;
  QUENCH_RETURN_IF_ERROR(check_sizes(buffers, limit));
  std::span<uint32_t> order;
  if (!pool.make(buffers.size(), &order)) return out_of_memory();
  for (size_t i = 0; i < buffers.size(); ++i) order[i] = static_cast<uint32_t>(i);
  return buffers.size() <= kMostSearched ? place_by_size(buffers, reuse, limit, order, pool, total)
                                         : place_in_slots(buffers, reuse, limit, order, pool, total);
}

}  // namespace quench::rt
