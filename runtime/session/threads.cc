#include "runtime/session/threads.h"

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

constexpr int kMostTasks = 0xFFFF;

uint64_t round_of(uint64_t state) { return state >> 32; }
int tasks_of(uint64_t state) { return static_cast<int>(state >> 16 & 0xFFFF); }
int next_of(uint64_t state) { return static_cast<int>(state & 0xFFFF); }

}  // namespace

void ThreadPool::work(uint64_t round) {
  uint64_t state = state_.load(std::memory_order_acquire);
  while (round_of(state) == round && next_of(state) < tasks_of(state)) {
    if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire)) continue;
    // While this task is not done the round cannot end, so that task_ and argument_ are those of the round.
    task_(argument_, next_of(state));
    done_.fetch_add(1, std::memory_order_release);
    state = state_.load(std::memory_order_acquire);
  }
}

// The number of a round after `seen`.
uint64_t ThreadPool::wait_for_round(uint64_t seen) {
  for (int spin = 0; spin < kSpins; ++spin) {
    const uint64_t round = round_of(state_.load(std::memory_order_acquire));
    if (round != seen) return round;
    pause_briefly();
  }
  pthread_mutex_lock(&mutex_);
  while (round_of(state_.load(std::memory_order_acquire)) == seen) pthread_cond_wait(&wake_, &mutex_);
  const uint64_t round = round_of(state_.load(std::memory_order_acquire));
  pthread_mutex_unlock(&mutex_);
  return round;
}

void ThreadPool::announce_round(int tasks) {
  pthread_mutex_lock(&mutex_);
  const uint64_t round = round_of(state_.load(std::memory_order_relaxed)) + 1;
  state_.store(round << 32 | static_cast<uint64_t>(tasks) << 16, std::memory_order_release);
  pthread_cond_broadcast(&wake_);
  pthread_mutex_unlock(&mutex_);
}

void* ThreadPool::main(void* argument) {
  auto& pool = *static_cast<ThreadPool*>(argument);
  uint64_t round = 0;
  while (true) {
    round = pool.wait_for_round(round);
    if (pool.stop_.load(std::memory_order_acquire)) return nullptr;
    pool.work(round);
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
  pool->announce_round(0);
  for (int i = 0; i < pool->started_; ++i) pthread_join(pool->threads_[i], nullptr);
  pthread_cond_destroy(&pool->wake_);
  pthread_mutex_destroy(&pool->mutex_);
  pool->~ThreadPool();
  memory.release(pool, sizeof(ThreadPool));
}

void ThreadPool::run(void* user, int tasks, void (*task)(void* argument, int index), void* argument) {
  auto& pool = *static_cast<ThreadPool*>(user);
  for (; tasks > kMostTasks; --tasks) task(argument, tasks - 1);
  pool.task_ = task;
  pool.argument_ = argument;
  pool.done_.store(0, std::memory_order_relaxed);
  pool.announce_round(tasks);
  pool.work(round_of(pool.state_.load(std::memory_order_relaxed)));
  for (int spin = 0; pool.done_.load(std::memory_order_acquire) < tasks; ++spin) {
    if (spin < kSpins) {
      pause_briefly();
    } else {
      sched_yield();
    }
  }
}

#endif

}  // namespace quench::rt
