#include "runtime/contract/memory.h"

#include <cstdlib>

namespace quench::rt {
namespace {

constexpr uint64_t kFirstChunk = 8 << 10;
constexpr uint64_t kLargestChunk = 1 << 20;

uint64_t round_up(uint64_t value, uint64_t step) { return (value + step - 1) / step * step; }

}  // namespace

void* Memory::allocate(uint64_t bytes) {
  if (bytes == 0) bytes = 1;
  if (bytes > SIZE_MAX / 2 || bytes > limit_ || used_ > limit_ - bytes) return nullptr;
  void* block = allocator_.allocate ? allocator_.allocate(allocator_.user, static_cast<size_t>(bytes), kAlignment)
                                    : std::aligned_alloc(kAlignment, round_up(bytes, kAlignment));
  if (!block) return nullptr;
  used_ += bytes;
  if (used_ > peak_) peak_ = used_;
  return block;
}

void Memory::release(void* block, uint64_t bytes) {
  if (!block) return;
  if (bytes == 0) bytes = 1;
  used_ -= bytes;
  if (allocator_.allocate) {
    if (allocator_.release) allocator_.release(allocator_.user, block, static_cast<size_t>(bytes));
  } else {
    std::free(block);
  }
}

void* Pool::allocate(uint64_t bytes, size_t alignment) {
  if (bytes > SIZE_MAX / 2) return nullptr;
  uint64_t begin = round_up(next_, alignment);
  if (!chunks_ || begin + bytes > end_) {
    uint64_t size = chunks_ ? chunks_->bytes * 2 : kFirstChunk;
    if (size > kLargestChunk) size = kLargestChunk;
    if (size < bytes + kAlignment) size = bytes + kAlignment;
    auto* chunk = static_cast<Chunk*>(memory_->allocate(size));
    if (!chunk) return nullptr;
    chunk->next = chunks_;
    chunk->bytes = size;
    chunks_ = chunk;
    end_ = size;
    begin = round_up(sizeof(Chunk), alignment);
  }
  next_ = begin + bytes;
  void* block = reinterpret_cast<std::byte*>(chunks_) + begin;
  std::memset(block, 0, static_cast<size_t>(bytes));
  return block;
}

void Pool::clear() {
  while (chunks_) {
    Chunk* next = chunks_->next;
    memory_->release(chunks_, chunks_->bytes);
    chunks_ = next;
  }
  next_ = 0;
  end_ = 0;
}

}  // namespace quench::rt
