// Memory of the runtime: every byte comes from the caller's allocator and is counted against a limit.
//
// Memory    blocks for weights, packed weights and the arena.
// Pool      many small things that live and die together (a graph, a plan): chunks, freed as a whole.
// List<T>   a growing array inside a Pool.
// Nothing throws: a failed allocation gives nullptr or false, and the caller returns StatusCode::kOutOfMemory.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>

#include "formats/base/status.h"
#include "runtime/contract/tensor.h"

namespace quench::rt {

// The caller's hooks. `allocate` returns nullptr on failure; `release` gets what allocate was asked for.
struct Allocator {
  void* (*allocate)(void* user, size_t bytes, size_t alignment) = nullptr;  // nullptr: the system's allocator
  void (*release)(void* user, void* block, size_t bytes) = nullptr;
  void* user = nullptr;
};

inline Status out_of_memory() { return Status(StatusCode::kOutOfMemory); }

// Not safe for use by several threads at once.
class Memory {
 public:
  Memory() = default;
  Memory(const Allocator& allocator, uint64_t limit) : allocator_(allocator), limit_(limit) {}

  // kAlignment-aligned, not cleared; nullptr if the allocator fails or the limit would be exceeded.
  void* allocate(uint64_t bytes);
  void release(void* block, uint64_t bytes);  // nullptr is fine

  void set_limit(uint64_t limit) { limit_ = limit; }
  uint64_t limit() const { return limit_; }
  uint64_t used() const { return used_; }
  uint64_t peak() const { return peak_; }

 private:
  Allocator allocator_;
  uint64_t limit_ = UINT64_MAX;
  uint64_t used_ = 0;
  uint64_t peak_ = 0;
};

// An element by a number of any integer type, which must be in range: the numbers of nodes, values and axes are ints.
template <typename T, std::integral Number>
T& at(std::span<T> elements, Number number) {
  return elements[static_cast<size_t>(number)];
}

// A block that releases itself.
class Block {
 public:
  Block() = default;
  Block(Memory& memory, uint64_t bytes) : memory_(&memory), bytes_(bytes), data_(memory.allocate(bytes)) {}
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { reset(); }

  explicit operator bool() const { return data_ != nullptr; }
  void* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  std::span<std::byte> span() const { return {static_cast<std::byte*>(data_), static_cast<size_t>(bytes_)}; }

  bool allocate(Memory& memory, uint64_t bytes) {
    reset();
    memory_ = &memory;
    bytes_ = bytes;
    data_ = memory.allocate(bytes);
    return data_ != nullptr;
  }
  void reset() {
    if (data_) memory_->release(data_, bytes_);
    data_ = nullptr;
    bytes_ = 0;
  }
  // Hands the block over to the caller, who releases it.
  void* take() {
    void* data = data_;
    data_ = nullptr;
    return data;
  }

 private:
  Memory* memory_ = nullptr;
  uint64_t bytes_ = 0;
  void* data_ = nullptr;
};

class Pool {
 public:
  explicit Pool(Memory& memory) : memory_(&memory) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() { clear(); }

  // Zeroed memory, aligned to `alignment` (at most kAlignment); nullptr if there is none.
  void* allocate(uint64_t bytes, size_t alignment);

  // `count` value-initialized elements in `out`; false if there is no memory.
  template <typename T>
  bool make(size_t count, std::span<T>* out) {
    static_assert(std::is_trivially_destructible_v<T>);
    *out = {};
    if (count == 0) return true;
    constexpr size_t kBytes = sizeof(T);  // NOLINT(bugprone-sizeof-expression): T may well be a pointer
    if (count > SIZE_MAX / 2 / kBytes) return false;
    void* block = allocate(count * kBytes, alignof(T));
    if (!block) return false;
    T* first = static_cast<T*>(block);
    for (size_t i = 0; i < count; ++i) new (first + i) T();
    *out = {first, count};
    return true;
  }

  void clear();

 private:
  struct Chunk {
    Chunk* next;
    uint64_t bytes;
  };
  Memory* memory_;
  Chunk* chunks_ = nullptr;
  uint64_t next_ = 0;  // free part of the first chunk, as offsets from its start
  uint64_t end_ = 0;
};

// Elements move when the list grows: keep indices, not pointers.
template <typename T>
class List {
 public:
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
  explicit List(Pool& pool) : pool_(&pool) {}

  bool push(const T& element) {
    if (size_ == room_.size()) {
      std::span<T> larger;
      if (!pool_->make(size_ == 0 ? 16 : size_ * 2, &larger)) return false;
      for (size_t i = 0; i < size_; ++i) larger[i] = room_[i];
      room_ = larger;
    }
    room_[size_++] = element;
    return true;
  }
  bool reserve(size_t count) { return count <= room_.size() || (size_ == 0 && pool_->make(count, &room_)); }

  void truncate(size_t count) { size_ = count < size_ ? count : size_; }

  size_t size() const { return size_; }
  int count() const { return static_cast<int>(size_); }  // also the number of the next element
  T& operator[](std::integral auto i) { return at(room_, i); }
  const T& operator[](std::integral auto i) const { return at(room_, i); }
  std::span<T> span() const { return room_.first(size_); }
  T* begin() { return room_.data(); }
  T* end() { return room_.data() + size_; }
  const T* begin() const { return room_.data(); }
  const T* end() const { return room_.data() + size_; }

 private:
  Pool* pool_;
  std::span<T> room_;
  size_t size_ = 0;
};

}  // namespace quench::rt
