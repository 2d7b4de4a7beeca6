// The lock of a model; nothing in a build without threads. Not std::mutex, which would need the C++ library: the
// runtime links into plain C programs.
#pragma once

#if !defined(QUENCH_NO_THREADS)
#include <pthread.h>
#endif

namespace quench::rt {

class Lock {
 public:
  Lock() = default;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

#if defined(QUENCH_NO_THREADS)
  void lock() {}
  void unlock() {}
#else
  ~Lock() { pthread_mutex_destroy(&mutex_); }
  void lock() { pthread_mutex_lock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
#endif
};

class LockGuard {
 public:
  explicit LockGuard(Lock& lock) : lock_(lock) { lock_.lock(); }
  ~LockGuard() { lock_.unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  Lock& lock_;
};

}  // namespace quench::rt
