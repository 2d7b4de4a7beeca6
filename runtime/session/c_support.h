// What C APIs over the runtime share: how they report, read their options and make their objects.
#pragma once

#include <quench/quench.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "formats/base/status.h"
#include "runtime/contract/memory.h"

namespace quench::rt {

// Fills the caller's status, which may be NULL, and returns its code.
quench_code report(const Status& from, quench_status* to);

Status null_argument(const char* what);

// Fields beyond what the caller's header knew keep their defaults.
template <typename Options>
Status read_options(const Options* given, Options& options) {
  std::memset(&options, 0, sizeof options);
  if (!given) return Status();
  if (given->size < sizeof given->size || given->size > 4096) {
    return Status::error(StatusCode::kInvalidArgument, "options.size is not set");
  }
  std::memcpy(&options, given, std::min(given->size, sizeof options));
  return Status();
}

Status read_allocator(const quench_allocator& given, Allocator& allocator);

// An object that was made by make().
template <typename T>
void destroy(T* object) {
  Memory memory = object->memory;
  object->~T();
  memory.release(object, sizeof(T));
}

// An object with a `memory`, from the caller's allocator, still empty.
template <typename T>
T* make(const Allocator& allocator) {
  Memory memory(allocator, UINT64_MAX);
  void* block = memory.allocate(sizeof(T));
  return block ? new (block) T(memory) : nullptr;
}

}  // namespace quench::rt
