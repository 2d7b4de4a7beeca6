// Random numbers from counters: what is drawn depends on seed, epoch, step and place alone, so that a run that was
// broken off goes on as if it had not been, and all processes draw the same.
#pragma once

#include <cstdint>

namespace quench::training {

// SplitMix64's finalizer (Steele, Lea and Flood 2014): a hash of counters.
inline uint64_t mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

inline uint64_t mix(uint64_t a, uint64_t b) { return mix(mix(a) ^ b); }

// From [0, 1).
inline double unit(uint64_t mixed) { return static_cast<double>(mixed >> 11) / (uint64_t{1} << 53); }

}  // namespace quench::training
