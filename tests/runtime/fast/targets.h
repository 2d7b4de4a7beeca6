// The instruction sets that a test of the fast kernels has to go through.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/base/simd_dispatch.h"

namespace quench::rt::fast {

// Those that are compiled in and that this processor has.
inline std::vector<int64_t> targets() {
  std::vector<int64_t> usable;
  for (int64_t target : {HWY_SCALAR, HWY_EMU128, HWY_SSE4, HWY_AVX2, HWY_AVX3, HWY_NEON}) {
    if ((target & (HWY_TARGETS)&simd::supported_targets()) != 0) usable.push_back(target);
  }
  return usable;
}

}  // namespace quench::rt::fast
