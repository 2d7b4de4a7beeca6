// Trains a residual network (compressor/networks) from its initial values, or any ONNX model from those that it has.
#pragma once

#include <filesystem>

#include "compressor/training/loop/options.h"
#include "compressor/training/reports.h"
#include "formats/onnx/model_file.h"

namespace quench::training {

// Writes the trained model to `output`, an .onnx file with BatchNormalization as nodes, whose statistics are those of
// the training data. Throws quench::Error. The output appears complete or not at all.
TrainReport train(const OnnxModel& model, const std::filesystem::path& output, const LoopOptions& options);

}  // namespace quench::training
