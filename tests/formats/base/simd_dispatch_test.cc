#include "formats/base/simd_dispatch.h"

#include <gtest/gtest.h>

namespace quench::simd {
namespace {

int best() { return 3; }
int good() { return 2; }
int plain() { return 1; }

TEST(SimdDispatchTest, TheFirstTargetThatTheProcessorHasIsChosen) {
  using Function = int (*)();
  const int64_t known = supported_targets();
  const int64_t unknown = int64_t{1} << 40;
  ASSERT_EQ(known & unknown, 0);
  const Candidate<Function> candidates[] = {{unknown, &best}, {HWY_STATIC_TARGET, nullptr}, {HWY_STATIC_TARGET, &good}};
  EXPECT_EQ(choose<Function>(candidates, &plain)(), 2);
}

TEST(SimdDispatchTest, TargetsCanBeTakenAwayAndComeBack) {
  using Function = int (*)();
  const Candidate<Function> candidates[] = {{HWY_STATIC_TARGET, &good}};
  {
    const RestrictTargets only(int64_t{1} << 40);
    EXPECT_FALSE(only.possible());
    EXPECT_EQ(choose<Function>(candidates, &plain)(), 1);
  }
  EXPECT_EQ(choose<Function>(candidates, &plain)(), 2);
  const RestrictTargets only(HWY_STATIC_TARGET);
  EXPECT_TRUE(only.possible());
}

TEST(SimdDispatchTest, TargetsIncludeTheBaselineAndBuildOnEachOther) {
  const int64_t targets = supported_targets();
  EXPECT_NE(targets & HWY_STATIC_TARGET, 0);
  if ((targets & HWY_AVX3) != 0) {
    EXPECT_NE(targets & HWY_AVX2, 0);
  }
  if ((targets & HWY_AVX2) != 0) {
    EXPECT_NE(targets & HWY_SSE4, 0);
  }
#if HWY_ARCH_X86
  EXPECT_EQ((targets & HWY_AVX2) != 0, __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ((targets & HWY_AVX3) != 0,
            __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0);
#endif
}

}  // namespace
}  // namespace quench::simd
