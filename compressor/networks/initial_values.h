// Random values that a network starts from, the same bytes on every machine and with every compiler.
//
// The values of a tensor depend on the seed and on the tensor's name only, so that networks of different depth or
// integrator start from the same values where they have the same layers.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace quench::networks {

// `count` values of mean 0 and the given standard deviation, nearly normal: each is the sum of twelve uniform numbers,
// which is exact in integers where a logarithm or a cosine would differ between C libraries. None is beyond 6
// deviations.
std::vector<float> normal_values(uint64_t seed, std::string_view name, int64_t count, double deviation);

// `count` values from [low, high).
std::vector<float> uniform_values(uint64_t seed, std::string_view name, int64_t count, double low, double high);

}  // namespace quench::networks
