// A column of a network of columns (formats/onnx/columns.h) as a network.
#pragma once

#include "formats/onnx/model_file.h"

namespace quench::graph {

// The model with nothing but column `column`, from 1: joins hand on the value of that column, and what only the others
// need is gone. Throws quench::Error, with the columns that there are, for another one.
OnnxModel column_alone(const OnnxModel& model, int column);

}  // namespace quench::graph
