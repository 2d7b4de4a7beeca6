// Threads for loops whose parts are independent. Which thread runs a part never shows in the result: parts are cut by
// size, not by the number of threads, and whoever reduces them does so in their order.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace quench {

// Calls body(i) once for each i in [0, count), on up to `threads` threads, the calling one included. The first
// exception is thrown again here, after all threads have stopped; parts not yet begun are then skipped.
template <typename Body>
void parallel_for(size_t count, int threads, const Body& body) {
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      try {
        body(i);
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        if (!failure) failure = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::jthread> others;
  const size_t wanted = std::min(count, static_cast<size_t>(std::max(threads, 1)));
  for (size_t t = 1; t < wanted; ++t) others.emplace_back(work);
  work();
  others.clear();
  if (failure) std::rethrow_exception(failure);
}

// The same over blocks of a range: body(block, begin, end) with end - begin = block_size but for the last.
template <typename Body>
void parallel_blocks(size_t count, size_t block_size, int threads, const Body& body) {
  parallel_for((count + block_size - 1) / block_size, threads,
               [&](size_t block) { body(block, block * block_size, std::min(count, (block + 1) * block_size)); });
}

}  // namespace quench
