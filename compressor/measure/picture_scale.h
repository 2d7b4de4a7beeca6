// In which scale a model takes its pictures, where nobody says so.
#pragma once

#include "compressor/graph/evaluator.h"
#include "compressor/measure/input_use.h"
#include "compressor/measure/seeded_pictures.h"

namespace quench::measure {

// The one of 0 to 255, 0 to 1, -1 to 1, normalized (about zero mean and unit variance for each channel) and that divided
// by 255 that the graph undoes, where its first nodes subtract and divide; otherwise the one in which its first
// convolution answers as it did in training: with the deviations that BatchNormalization behind it says, or, where that
// was folded, with values that are neither all bias nor without any. Where nothing tells, normalized.
// `use`: of `model`; `pictures`: some of its input of that name, normalized, of a shape that the model takes.
PictureScale picture_scale(const OnnxModel& model, const InputUse& use, const graph::HostTensor& pictures);

}  // namespace quench::measure
