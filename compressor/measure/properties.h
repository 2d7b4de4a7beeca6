// What a model's file says besides the model: ONNX's metadata_props, which .onnx and .quench files have alike.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "formats/onnx/model_file.h"

namespace quench::measure {

// The value of a key; empty where there is none.
std::string property(const onnx::ModelProto& model, std::string_view key);
// Of a .onnx or .quench file. `max_memory`: as of QuenchFile. Throws quench::Error where it is neither.
std::string property(const std::filesystem::path& path, std::string_view key, uint64_t max_memory = 0);

// What a model is read from: its file and, behind it, its external data, as one row of bytes.
struct Source {
  uint64_t bytes = 0;
  uint32_t crc32c = 0;
};
Source source_of(const std::filesystem::path& model);

}  // namespace quench::measure
