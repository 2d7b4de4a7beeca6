// Random numbers for built-in data: the n-th number of a key depends on both alone, and is the same on every machine.
#pragma once

#include <cstdint>

namespace quench::data {

// Draw n of a key is the SplitMix64 finalizer (Steele, Lea, Flood, 2014) of key + n * gamma.
class CounterRandom {
 public:
  CounterRandom(uint64_t seed, uint64_t split, uint64_t index) : key_(mix(mix(mix(seed) + split) + index)) {}

  uint64_t next() { return mix(key_ + kGamma * ++counter_); }
  // Uniform in 0 to bound - 1, for small bounds.
  int below(int bound) { return static_cast<int>(((next() >> 32) * static_cast<uint64_t>(bound)) >> 32); }
  int between(int low, int high) { return low + below(high - low + 1); }
  double uniform(double low, double high) { return low + (high - low) * (static_cast<double>(next() >> 11) * 0x1p-53); }

  // Of mean 0 and variance 1, nearly normal: the sum of twelve uniform numbers of 16 bits, which is exact in integers
  // where a logarithm or a cosine would differ between C libraries. None is beyond 6.
  double nearly_normal() {
    int64_t sum = 0;
    for (int word = 0; word < 3; ++word) {
      const uint64_t bits = next();
      for (int shift = 0; shift < 64; shift += 16) sum += static_cast<int64_t>(bits >> shift & 0xffff);
    }
    return static_cast<double>(2 * sum - 12 * 0xffff) / 0x20000;
  }

 private:
  static constexpr uint64_t kGamma = 0x9e3779b97f4a7c15u;

  static uint64_t mix(uint64_t z) {
    z += kGamma;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace quench::data
