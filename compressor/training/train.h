// Trains a residual network (compressor/odenet) from its initial values, or any ONNX model from those that it has.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "compressor/training/options.h"
#include "formats/onnx/model_file.h"

namespace quench::training {

struct TrainReport {
  uint64_t parameters = 0;
  std::optional<double> accuracy;  // 0 to 1, of the file on the test data
  std::vector<report::TrainingRecord> records;
};

// Writes the trained model to `output`, an .onnx file with BatchNormalization as nodes, whose statistics are those of
// the training data. Throws quench::Error. The output appears complete or not at all.
TrainReport train(const OnnxModel& model, const std::filesystem::path& output, const LoopOptions& options);

}  // namespace quench::training
