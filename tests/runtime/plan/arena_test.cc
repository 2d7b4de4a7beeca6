#include "runtime/plan/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace quench::rt {
namespace {

bool meet(const Buffer& a, const Buffer& b) { return a.first <= b.last && b.first <= a.last; }

// Most bytes that are needed at one time: no placement can do with less.
uint64_t lower_bound(const std::vector<Buffer>& buffers) {
  uint64_t most = 0;
  for (const Buffer& at : buffers) {
    uint64_t sum = 0;
    for (const Buffer& other : buffers) {
      if (other.first <= at.first && at.first <= other.last) sum += (std::max<uint64_t>(other.bytes, 1) + 63) / 64 * 64;
    }
    most = std::max(most, sum);
  }
  return most;
}

TEST(Arena, ManyBuffersTakeNoQuadraticTime) {
  std::mt19937 random(11);
  std::vector<Buffer> buffers(1 << 18);  // a search among all of them would take minutes
  for (size_t i = 0; i < buffers.size(); ++i) {
    buffers[i].bytes = 1 + random() % 300;
    buffers[i].first = static_cast<int>(i);
    buffers[i].last = buffers[i].first + static_cast<int>(random() % 50);
  }
  Memory memory;
  Pool pool(memory);
  uint64_t total = 0;
  ASSERT_TRUE(place_buffers(buffers, true, 1 << 30, pool, &total).ok());
  EXPECT_LE(total, 3 * lower_bound({buffers.begin(), buffers.begin() + 2000}));
  for (size_t i = 0; i < buffers.size(); ++i) {
    for (size_t j = i > 50 ? i - 50 : 0; j < i; ++j) {
      const Buffer& a = buffers[i];
      const Buffer& b = buffers[j];
      ASSERT_TRUE(!meet(a, b) || a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset) << i << ", " << j;
    }
  }
}

TEST(Arena, LiveBuffersNeverOverlap) {
  std::mt19937 random(7);
  double used = 0;
  double needed = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<Buffer> buffers(1 + random() % 60);
    for (Buffer& buffer : buffers) {
      buffer.bytes = random() % 4 == 0 ? random() % 3 : random() % 5000;
      buffer.first = static_cast<int>(random() % 50);
      buffer.last = buffer.first + static_cast<int>(random() % (random() % 3 == 0 ? 40 : 4));
    }
    Memory memory;
    Pool pool(memory);
    uint64_t total = 0;
    ASSERT_TRUE(place_buffers(buffers, true, 1 << 30, pool, &total).ok());
    for (size_t i = 0; i < buffers.size(); ++i) {
      const Buffer& a = buffers[i];
      EXPECT_EQ(a.offset % kAlignment, 0u);
      EXPECT_LE(a.offset + a.bytes, total);
      for (size_t j = 0; j < i; ++j) {
        const Buffer& b = buffers[j];
        if (!meet(a, b)) continue;
        EXPECT_NE(a.offset, b.offset);  // also buffers without bytes have an address of their own
        EXPECT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset)
            << round << ": " << i << ", " << j;
      }
    }
    EXPECT_GE(total, lower_bound(buffers));
    used += static_cast<double>(total);
    needed += static_cast<double>(lower_bound(buffers));
  }
  EXPECT_LT(used / needed, 1.15);
}

TEST(Arena, SharesMemoryOverTime) {
  std::vector<Buffer> chain(10);
  for (int i = 0; i < 10; ++i) chain[static_cast<size_t>(i)] = {.bytes = 640, .first = i, .last = i + 1};
  Memory memory;
  Pool pool(memory);
  uint64_t total = 0;
  ASSERT_TRUE(place_buffers(chain, true, 1 << 20, pool, &total).ok());
  EXPECT_EQ(total, 1280u);
  ASSERT_TRUE(place_buffers(chain, false, 1 << 20, pool, &total).ok());
  EXPECT_EQ(total, 6400u);
}

TEST(Arena, RefusesWhatExceedsTheLimit) {
  Memory memory;
  Pool pool(memory);
  uint64_t total = 0;
  std::vector<Buffer> huge = {{.bytes = UINT64_MAX, .first = 0, .last = 0}};
  EXPECT_EQ(place_buffers(huge, true, UINT64_MAX - 100, pool, &total).code(), StatusCode::kLimit);
  std::vector<Buffer> two = {{.bytes = 600, .first = 0, .last = 1}, {.bytes = 600, .first = 1, .last = 2}};
  EXPECT_EQ(place_buffers(two, true, 1000, pool, &total).code(), StatusCode::kLimit);
}

}  // namespace
}  // namespace quench::rt
