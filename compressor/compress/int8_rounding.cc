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

Codebook integer_codebook(float step, int32_t least, int32_t most) {
  Codebook codebook;
  const auto first = static_cast<int32_t>(std::floor(static_cast<float>(least) / step));
  const auto last = static_cast<int32_t>(std::ceil(static_cast<float>(most) / step));
  for (int32_t multiple = first; multiple <= last; ++multiple) {
    const float integer = std::clamp(std::nearbyint(static_cast<float>(multiple) * step), static_cast<float>(least),
                                     static_cast<float>(most));
    if (!codebook.centers.empty() && codebook.centers.back() == integer / step) continue;
    if (multiple == 0) codebook.zero_symbol = static_cast<uint32_t>(codebook.centers.size());
    codebook.centers.push_back(integer / step);
  }
  codebook.bits.assign(codebook.centers.size(), 0.0f);
  return codebook;
}

}  // namespace quench::quantizer
