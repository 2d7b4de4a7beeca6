#include "compressor/networks/initial_values.h"

namespace quench::networks {
namespace {

// splitmix64 (Steele, Lea and Flood 2014).
class Random {
 public:
  Random(uint64_t seed, std::string_view name) {
    uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
    for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
    state_ = hash;
    state_ = next() + seed;
  }

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

// The sum of twelve uniform numbers of 16 bits has the variance 2^32 - 1.
double nearly_normal(Random& random) {
  int64_t sum = 0;
  for (int word = 0; word < 3; ++word) {
    const uint64_t bits = random.next();
    for (int shift = 0; shift < 64; shift += 16) sum += static_cast<int64_t>(bits >> shift & 0xffff);
  }
  return static_cast<double>(2 * sum - 12 * 0xffff) / 0x20000;
}

}  // namespace

std::vector<float> normal_values(uint64_t seed, std::string_view name, int64_t count, double deviation) {
  Random random(seed, name);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(deviation * nearly_normal(random));
  return values;
}

std::vector<float> uniform_values(uint64_t seed, std::string_view name, int64_t count, double low, double high) {
  Random random(seed, name);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    const double unit = static_cast<double>(random.next() >> 11) / (uint64_t{1} << 53);
    value = static_cast<float>(low + (high - low) * unit);
  }
  return values;
}

}  // namespace quench::networks
