// Weights of 8 bits: rounded to nearest, what is widely taken for as good as the original, and so the measure of others;
// and those that were 8-bit integers before, rounded to fewer of them.
#pragma once

#include <cstdint>
#include <span>

#include "compressor/quantizer/codebook.h"
#include "formats/operators/operator.h"

namespace quench::quantizer {

// Each value becomes the nearest multiple of a 127th of the largest absolute value of its output channel; of all, where
// the map has no channels. Values are finite.
void round_to_int8(std::span<float> values, const operators::ChannelMap& map);

// Bytes of a weight so stored: one an element, a float32 for each scale.
uint64_t int8_bytes(uint64_t elements, const operators::ChannelMap& map);

// For integers in [least, most], which holds 0, in units of `step`, at least 1: the integers nearest to its multiples, the
// last ones in place of those beyond. With a step of 1, all of them. Code lengths are 0.
Codebook integer_codebook(float step, int32_t least, int32_t most);

}  // namespace quench::quantizer
