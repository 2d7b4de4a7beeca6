// Which constants of a model are learned, and may be trained and quantized; the others are masks, tables of indices,
// coordinates, thresholds, and are to be kept as they are.
#pragma once

#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::graph {

// For each weight of the model. A constant is learned where an operator has it in the place of a weight or a bias, or of
// a statistic, if its values are not all alike; where it is added, multiplied, gathered from or moved about, or used by an
// operator that Quench does not know, if its values look like it: many of them different, and not whole numbers. Never
// where a value is NaN, infinite or near the largest of its type (a mask's), or where it is the default value of an input.
// Reads the values.
std::vector<bool> learned_weights(const OnnxModel& model);

}  // namespace quench::graph
