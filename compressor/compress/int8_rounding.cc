#include "compressor/compress/int8_rounding.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace quench::quantizer {

void round_to_int8(std::span<float> values, const operators::ChannelMap& map) {
  const auto channels = static_cast<size_t>(map.axis < 0 ? 1 : map.channels);
  const size_t inner = map.axis < 0 ? values.size() : static_cast<size_t>(map.inner);
  std::vector<float> largest(channels, 0.0f);
  const auto channel = [&](size_t e) { return e / inner % channels; };
  for (size_t e = 0; e < values.size(); ++e) largest[channel(e)] = std::max(largest[channel(e)], std::abs(values[e]));
  for (size_t e = 0; e < values.size(); ++e) {
    const float step = largest[channel(e)] / 127;
    if (step > 0) values[e] = std::nearbyint(values[e] / step) * step;
  }
}

uint64_t int8_bytes(uint64_t elements, const operators::ChannelMap& map) {
  return elements + sizeof(float) * static_cast<uint64_t>(map.axis < 0 ? 1 : map.channels);
}

}  // namespace quench::quantizer
