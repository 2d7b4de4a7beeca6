// The lock of a model; nothing in a build without threads.
#pragma once

#if !defined(QUENCH_NO_THREADS)
#include <mutex>
#endif

namespace quench::rt {

#if defined(QUENCH_NO_THREADS)
struct Lock {};
struct LockGuard {
  explicit LockGuard(Lock&) {}
};
#else
using Lock = std::mutex;
using LockGuard = std::lock_guard<std::mutex>;
#endif

}  // namespace quench::rt
