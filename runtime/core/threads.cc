#include "runtime/core/threads.h"

#if !defined(QUENCH_NO_THREADS)
#include <sched.h>
#endif

namespace quench::rt {

#if defined(QUENCH_NO_THREADS)

Status ThreadPool::create(Memory&, int, ThreadPool** pool) {
  *pool = nullptr;
  return Status::error(StatusCode::kUnsupportedFeature, "this runtime is built without threads");
}
void ThreadPool::destroy(Memory&, ThreadPool*) {}
void ThreadPool::run(void*, int, void (*)(void*, int), void*) {}

#else

namespace {

// How long a thread looks for work, or for the end of the others', before it sleeps or yields: some microseconds, the
// time between two steps of a plan.
constexpr int kSpins = 2000;

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void ThreadPool::work() {
  for (int index = next_.fetch_add(1, std::memory_order_relaxed); index < tasks_;
       index = next_.fetch_add(1, std::memory_order_relaxed)) {
    task_(argument_, index);
  }
}

void ThreadPool::wait_for_round(uint64_t seen) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (round_.load(std::memory_order_acquire) != seen) return;
    pause_briefly();
  }
  pthread_mutex_lock(&mutex_);
  while (round_.load(std::memory_order_acquire) == seen) pthread_cond_wait(&wake_, &mutex_);
  pthread_mutex_unlock(&mutex_);
}

void ThreadPool::announce_round() {
  pthread_mutex_lock(&mutex_);
  round_.fetch_add(1, std::memory_order_release);
  pthread_cond_broadcast(&wake_);
  pthread_mutex_unlock(&mutex_);
}

void* ThreadPool::main(void* argument) {
  auto& pool = *static_cast<ThreadPool*>(argument);
  for (uint64_t seen = 0;; ++seen) {
    pool.wait_for_round(seen);
    if (pool.stop_.load(std::memory_order_acquire)) return nullptr;
    pool.work();
    pool.working_.fetch_sub(1, std::memory_order_release);
  }
}

Status ThreadPool::create(Memory& memory, int threads, ThreadPool** pool) {
  *pool = nullptr;
  void* block = memory.allocate(sizeof(ThreadPool));
  if (!block) return out_of_memory();
  auto* made = new (block) ThreadPool();
  while (made->started_ < threads - 1) {
    if (pthread_create(&made->threads_[made->started_], nullptr, main, made) != 0) {
      destroy(memory, made);
      return Status::error(StatusCode::kOutOfMemory, "a thread could not be started");
    }
    ++made->started_;
  }
  *pool = made;
  return Status();
}

void ThreadPool::destroy(Memory& memory, ThreadPool* pool) {
  pool->stop_.store(true, std::memory_order_release);
  pool->announce_round();
  for (int i = 0; i < pool->started_; ++i) pthread_join(pool->threads_[i], nullptr);
  pthread_cond_destroy(&pool->wake_);
  pthread_mutex_destroy(&pool->mutex_);
  pool->~ThreadPool();
  memory.release(pool, sizeof(ThreadPool));
}

void ThreadPool::run(void* user, int tasks, void (*task)(void* argument, int index), void* argument) {
  auto& pool = *static_cast<ThreadPool*>(user);
  pool.tasks_ = tasks;
  pool.task_ = task;
  pool.argument_ = argument;
  pool.next_.store(0, std::memory_order_relaxed);
  pool.working_.store(pool.started_, std::memory_order_relaxed);
  pool.announce_round();
  pool.work();
  for (int spin = 0; pool.working_.load(std::memory_order_acquire) > 0; ++spin) {
    if (spin < kSpins) {
      pause_briefly();
    } else {
      sched_yield();
    }
  }
}

#endif

}  // namespace quench::rt
