// Weights of 8 bits, rounded to nearest: what is widely taken for as good as the original, and so the measure of others.
#pragma once

#include <cstdint>
#include <span>

#include "formats/operators/operator.h"

namespace quench::quantizer {

// Each value becomes the nearest multiple of a 127th of the largest absolute value of its output channel; of all, where
// the map has no channels. Values are finite.
void round_to_int8(std::span<float> values, const operators::ChannelMap& map);

// Bytes of a weight so stored: one an element, a float32 for each scale.
uint64_t int8_bytes(uint64_t elements, const operators::ChannelMap& map);

}  // namespace quench::quantizer
