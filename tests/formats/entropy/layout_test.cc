#include <gtest/gtest.h>

#include "formats/entropy/coder.h"

namespace quench::entropy {
namespace {

TEST(LayoutTest, ChunksCoverTheStreamInOrderAndAreBounded) {
  for (const uint64_t rows : {0ull, 1ull, 2ull, 7ull, 600ull, 300000ull}) {
    for (const uint64_t channels : {0ull, 1ull, 3ull, 512ull, 400000ull}) {
      for (const uint64_t inner : {0ull, 1ull, 9ull, 300000ull}) {
        const StreamLayout layout{rows, channels, inner, 16, 8};
        if (rows * channels * inner > kMaxSymbols) continue;
        ASSERT_TRUE(check_layout(layout).ok());
        const uint64_t count = chunk_count(layout);
        EXPECT_EQ(count == 0, layout.symbols() == 0);
        const uint64_t step = count > 5000 ? count / 5000 : 1;
        for (uint64_t i = 0; i < count; i += step) {
          const Chunk chunk = chunk_at(layout, i);
          EXPECT_GT(chunk.layout.symbols(), 0u);
          EXPECT_LE(chunk.layout.symbols(), kMaxChunkSymbols);
          EXPECT_EQ(chunk.layout.alphabet, layout.alphabet);
          EXPECT_EQ(chunk.layout.zero_symbol, layout.zero_symbol);
          const uint64_t end = chunk.first_symbol + chunk.layout.symbols();
          EXPECT_EQ(end, i + 1 < count ? chunk_at(layout, i + 1).first_symbol : layout.symbols());
          if (i == 0) {
            EXPECT_EQ(chunk.first_symbol, 0u);
          }
        }
      }
    }
  }
}

TEST(LayoutTest, RowsStayWholeWhereTheyFit) {
  const StreamLayout layout{1000, 512, 9, 16, 8};
  for (uint64_t i = 0; i < chunk_count(layout); ++i) {
    const Chunk chunk = chunk_at(layout, i);
    EXPECT_EQ(chunk.layout.channels, 512u);
    EXPECT_EQ(chunk.layout.inner, 9u);
    EXPECT_EQ(chunk.first_symbol % (512 * 9), 0u);
  }
}

TEST(LayoutTest, AbsurdSizesAreRefused) {
  const uint64_t huge = ~uint64_t{0};
  EXPECT_EQ(check_layout({huge, huge, huge, 2, 0}).code(), StatusCode::kLimit);
  EXPECT_EQ(check_layout({uint64_t{1} << 21, uint64_t{1} << 20, 1, 2, 0}).code(), StatusCode::kLimit);
  EXPECT_EQ(check_layout({uint64_t{1} << 32, uint64_t{1} << 32, 0, 2, 0}).code(), StatusCode::kLimit);
  EXPECT_TRUE(check_layout({uint64_t{1} << 20, uint64_t{1} << 20, 1, 2, 0}).ok());
  EXPECT_EQ(check_layout({1, 1, 1, 0, 0}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(check_layout({1, 1, 1, 65537, 0}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(check_layout({1, 1, 1, 5, 5}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(check_layout({1, 1, 1, 5, 2, Trellis::kAlongRows}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(check_layout({1, 1, 1, 6, 3, Trellis::kDownColumns}).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(check_layout({1, 1, 1, 6, 2, Trellis::kDownColumns}).ok());
}

}  // namespace
}  // namespace quench::entropy
