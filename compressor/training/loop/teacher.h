// A model that is only run: what a network learns to imitate, or what is measured. On the CPU it runs in the runtime,
// which is several times as fast as torch there and takes any operator that it has; on other devices in torch.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>

#include "compressor/training/operators/operators.h"
#include "formats/onnx/model_file.h"

namespace quench::training {

class Teacher {
 public:
  virtual ~Teacher() = default;
  // Outputs for a batch of inputs, without gradients, on the teacher's device.
  virtual Tensors outputs(const torch::Tensor& inputs) = 0;
};

// From an .onnx or .quench file with one input. Throws quench::Error.
std::unique_ptr<Teacher> open_teacher(const std::filesystem::path& path, const torch::Device& device, int threads);

// The same for a model in memory, which must outlive the teacher; always by the runtime.
std::unique_ptr<Teacher> runtime_teacher(const OnnxModel& model, int threads);

}  // namespace quench::training
