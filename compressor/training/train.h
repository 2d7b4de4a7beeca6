// Trains a residual network (compressor/networks) from its initial values, or any ONNX model from those that it has.
#pragma once

#include <filesystem>
#include <functional>

#include "compressor/training/loop/options.h"
#include "compressor/training/reports.h"
#include "compressor/training/run_key.h"
#include "formats/onnx/model_file.h"

namespace quench::training {

// Writes the trained model to `output`, an .onnx file with BatchNormalization as nodes, whose statistics are those of
// the training data. `network`: what the model was made by, so that a run that goes on names what differs there.
// `column`, from 1: of a network of columns (formats/onnx/columns.h), the one to write alone; 0: the whole network.
// `finish`, where there is one, makes the model that is written and measured of the trained one; `judged` the one that is
// measured after each epoch. Throws quench::Error. The output appears complete or not at all.
TrainReport train(const OnnxModel& model, const std::filesystem::path& output, const LoopOptions& options,
                  const RunKey& network = {}, int column = 0,
                  const std::function<OnnxModel(const OnnxModel&)>& finish = nullptr,
                  const std::function<OnnxModel(const OnnxModel&)>& judged = nullptr);

}  // namespace quench::training
