// Rate-distortion-optimised assignment on the line: which center wins where.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quench::quantizer {

// winners[i] has the least (z - c)^2 + beta * bits for z in (thresholds[i - 1], thresholds[i]]; ties go to the lower
// index. The first interval begins at -infinity, the last threshold is +infinity. Centers that win nowhere are left
// out.
struct Envelope {
  std::vector<uint32_t> winners;
  std::vector<float> thresholds;
};

// centers ascend (equal ones are fine); bits are finite; at least one center.
Envelope lower_envelope(std::span<const float> centers, std::span<const float> bits, float beta);

}  // namespace quench::quantizer
