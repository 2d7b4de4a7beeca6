// In which scale a model takes its pictures, where nobody says so.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "compressor/measure/input_use.h"
#include "compressor/measure/seeded_pictures.h"

namespace quench::measure {

// The one of 0 to 255, 0 to 1, -1 to 1, normalized (about zero mean and unit variance for each channel) and that divided
// by 255 that the graph undoes, where its first nodes subtract and divide; otherwise the one in which its first
// convolution answers as it did in training: with the deviations that BatchNormalization behind it says, or, where that
// was folded, with values that are not far smaller or larger than others' and than the bias. Where nothing tells,
// normalized.
// `use`: of `model`; `dims`: a shape that the model takes for `input`, with the channels along `axis` (see draw_pictures);
// `seed`: of the pictures that are tried.
PictureScale picture_scale(const OnnxModel& model, const InputUse& use, const std::string& input,
                           std::span<const int64_t> dims, int axis, uint64_t seed);

}  // namespace quench::measure
