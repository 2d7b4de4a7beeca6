// A small pool of threads for sessions without a parallel-for hook of the caller's. In a build for a device without
// threads (QUENCH_NO_THREADS) create() fails with kUnsupportedFeature.
#pragma once

#if !defined(QUENCH_NO_THREADS)
#include <pthread.h>  // std::thread throws when no thread can be had

#include <atomic>
#endif

#include "runtime/contract/memory.h"

namespace quench::rt {

class ThreadPool {
 public:
  static constexpr int kMaxThreads = 256;

  // `threads` counts the caller's, so threads - 1 are started. Errors: kOutOfMemory, also if a thread cannot be
  // started.
  static Status create(Memory& memory, int threads, ThreadPool** pool);
  static void destroy(Memory& memory, ThreadPool* pool);

  // A ParallelFunction; `user` is the pool. The caller works too, and waits for tasks that others are at, but not for
  // threads that have not come yet: on a busy machine it does all of it. One call at a time.
  static void run(void* user, int tasks, void (*task)(void* argument, int index), void* argument);

#if !defined(QUENCH_NO_THREADS)
 private:
  ThreadPool() = default;
  ~ThreadPool() = default;

  static void* main(void* pool);
  void work(uint64_t round);
  uint64_t wait_for_round(uint64_t seen);
  void announce_round(int tasks);

  // A round is one call of run. Its number (upper 32 bits), its number of tasks and the next one to take (16 bits each)
  // change together, so that a thread that comes late cannot take a task of another round.
  std::atomic<uint64_t> state_{0};
  std::atomic<int> done_{0};                           // tasks of this round that are finished
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;  // for the start of a round
  pthread_cond_t wake_ = PTHREAD_COND_INITIALIZER;
  std::atomic<bool> stop_{false};
  void (*task_)(void*, int) = nullptr;
  void* argument_ = nullptr;
  int started_ = 0;
  pthread_t threads_[kMaxThreads];
#endif
};

}  // namespace quench::rt
