// Small networks with the values that training might have left, and what comes out of them.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "compressor/training/graph_module.h"
#include "formats/onnx/model_file.h"

namespace quench::training {

// An odenet of depth 8 with statistics, scales of both signs and biases drawn at random; variances span two decades.
OnnxModel residual_network(const std::string& integrator, bool negative_scales = true);

// Convolutions with BatchNormalization behind them: plain, grouped, with a bias; then a Gemm.
OnnxModel convolutional_network();

// From ONNX's text format, where what is declared beside the nodes (float[16,3] w) are weights: matrices, or vectors
// whose names begin with v for variances, with s for scales, else offsets.
OnnxModel network_of(const std::string& graph);

torch::Tensor random_inputs(std::vector<int64_t> dims, int seed = 4);

// By the runtime: the first output.
torch::Tensor run_model(const OnnxModel& model, const torch::Tensor& inputs);
torch::Tensor run_file(const std::filesystem::path& path, const torch::Tensor& inputs);
// By torch.
torch::Tensor run_module(GraphModule& module, const torch::Tensor& inputs, GraphModule::Mode mode,
                         const NamedTensors& weights = {});

double snr_db(const torch::Tensor& actual, const torch::Tensor& expected);

}  // namespace quench::training
