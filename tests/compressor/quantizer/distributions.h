// Values like those of trained weights, drawn from a seed: the same on every machine.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <numbers>
#include <random>
#include <string>
#include <vector>

namespace quench::quantizer {

// The standard library fixes its generators but not its distributions.
class Draw {
 public:
  explicit Draw(uint64_t seed) : generator_(seed) {}

  double uniform() { return (static_cast<double>(generator_() >> 11) + 0.5) * 0x1p-53; }  // in (0, 1)
  double gaussian() { return std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform()); }
  double laplacian() { return (uniform() < 0.5 ? -1 : 1) * -std::log(uniform()) / std::numbers::sqrt2; }
  double student(int freedom) {
    double chi = 0;
    for (int i = 0; i < freedom; ++i) chi += std::pow(gaussian(), 2);
    return gaussian() / std::sqrt(chi / freedom);
  }

 private:
  std::mt19937_64 generator_;
};

struct Distribution {
  std::string name;
  std::function<std::vector<float>(size_t count, double scale)> draw;
};

inline Distribution independent(std::string name, const std::function<double(Draw&)>& one) {
  return {std::move(name), [one](size_t count, double scale) {
            Draw draw(7);
            std::vector<float> values(count);
            for (float& value : values) value = static_cast<float>(scale * one(draw));
            return values;
          }};
}

// Filters of a network: Gaussian, their deviation varies from filter to filter and from input channel to input channel.
inline std::vector<float> filters(size_t count, double scale) {
  Draw draw(9);
  constexpr size_t kKernel = 9, kChannels = 16;
  std::vector<double> channel(kChannels);
  for (double& gain : channel) gain = std::exp(0.4 * draw.gaussian());
  std::vector<float> values(count);
  double filter = 1;
  for (size_t i = 0; i < count; ++i) {
    if (i % (kKernel * kChannels) == 0) filter = std::exp(0.5 * draw.gaussian());
    values[i] = static_cast<float>(scale * filter * channel[i / kKernel % kChannels] * draw.gaussian());
  }
  return values;
}

inline std::vector<Distribution> distributions() {
  return {independent("Gaussian", [](Draw& draw) { return draw.gaussian(); }),
          independent("Laplacian", [](Draw& draw) { return draw.laplacian(); }),
          independent("Student", [](Draw& draw) { return draw.student(3); }),
          independent("bimodal", [](Draw& draw) { return (draw.uniform() < 0.5 ? -1 : 1) + 0.2 * draw.gaussian(); }),
          independent("sparse", [](Draw& draw) { return draw.uniform() < 0.7 ? 0 : draw.gaussian(); }),
          {"filters", filters}};
}

}  // namespace quench::quantizer
