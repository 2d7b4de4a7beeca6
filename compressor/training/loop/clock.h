// Time that only goes forward.
#pragma once

#include <chrono>

namespace quench::training {

// From any origin.
inline double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace quench::training
