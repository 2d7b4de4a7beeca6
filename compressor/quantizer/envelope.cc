#include "compressor/quantizer/envelope.h"

#include <cmath>
#include <limits>

namespace quench::quantizer {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The largest float that is not above the value: z <= value and z <= round_down(value) say the same of a float z.
float round_down(double value) {
  const float nearest = static_cast<float>(value);
  return static_cast<double>(nearest) > value ? std::nextafter(nearest, -INFINITY) : nearest;
}

}  // namespace

Envelope lower_envelope(std::span<const float> centers, std::span<const float> bits, float beta) {
  const auto penalty = [&](size_t j) { return static_cast<double>(beta) * bits[j]; };
  // Where center j begins to be strictly better than center i, for c_i <= c_j.
  const auto crossing = [&](size_t i, size_t j) {
    const double gap = static_cast<double>(centers[j]) - centers[i];
    if (gap == 0) return penalty(j) < penalty(i) ? -kInfinity : kInfinity;
    return 0.5 * (static_cast<double>(centers[i]) + centers[j]) + 0.5 * (penalty(j) - penalty(i)) / gap;
  };

  Envelope envelope;
  std::vector<double> begins;  // of each winner's interval
  for (size_t j = 0; j < centers.size(); ++j) {
    double begin = -kInfinity;
    while (!envelope.winners.empty()) {
      begin = crossing(envelope.winners.back(), j);
      if (begin > begins.back()) break;
      envelope.winners.pop_back();
      begins.pop_back();
      begin = -kInfinity;
    }
    if (begin == kInfinity) continue;
    envelope.winners.push_back(static_cast<uint32_t>(j));
    begins.push_back(begin);
  }
  for (size_t i = 1; i < begins.size(); ++i) envelope.thresholds.push_back(round_down(begins[i]));
  envelope.thresholds.push_back(std::numeric_limits<float>::infinity());
  return envelope;
}

}  // namespace quench::quantizer
