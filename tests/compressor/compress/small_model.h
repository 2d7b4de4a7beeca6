// A convolutional network with random weights, written to a file: conv, batch normalization, relu, a residual block,
// pool, gemm.
#pragma once

#include <filesystem>

#include "formats/onnx/model_file.h"

namespace quench::quantizer {

struct SmallModelOptions {
  int channels = 32;
  bool nan_weight = false;
};

onnx::ModelProto make_small_model(const SmallModelOptions& options = {});

// A fresh folder for one test, removed at its end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

void write_model(const std::filesystem::path& path, const onnx::ModelProto& model);
std::string read_bytes(const std::filesystem::path& path);

}  // namespace quench::quantizer
