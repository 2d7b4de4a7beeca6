#include "formats/base/parallel.h"

#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

namespace quench::quantizer {
namespace {

TEST(ParallelFor, CallsEachPartOnce) {
  for (const int threads : {-1, 0, 1, 2, 5}) {
    for (const size_t count : {0u, 1u, 3u, 1000u}) {
      std::vector<int> calls(count);
      parallel_for(count, threads, [&](size_t i) { ++calls[i]; });
      EXPECT_EQ(calls, std::vector<int>(count, 1));
    }
  }
}

TEST(ParallelFor, HandsAnExceptionOn) {
  for (const int threads : {1, 2, 5}) {
    EXPECT_THROW(parallel_for(100, threads,
                              [](size_t i) {
                                if (i == 17) throw std::runtime_error("part 17");
                              }),
                 std::runtime_error);
  }
}

TEST(ParallelBlocks, CoversTheRange) {
  for (const size_t count : {0u, 1u, 10u, 64u, 65u}) {
    std::vector<size_t> block_of(count, ~size_t{0});
    parallel_blocks(count, 16, 2, [&](size_t block, size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) block_of[i] = block;
    });
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(block_of[i], i / 16);
  }
}

}  // namespace
}  // namespace quench::quantizer
