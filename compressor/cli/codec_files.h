// What the commands of `quench codec` share: the files of a codec, and those of a folder.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace quench::cli {

// The file of one side ("encoder" or "decoder") of a codec: PREFIX.encoder.quench, or else PREFIX.encoder.onnx. Throws
// quench::Error where there is neither.
std::filesystem::path codec_file(const std::string& prefix, const std::string& side);

// As a .quench file; an .onnx file becomes one without loss. Throws quench::Error.
std::vector<std::byte> read_network(const std::filesystem::path& file);

// Those whose names fit, in the order of their names. Throws quench::Error where there are none.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder,
                                            bool (*fits)(const std::filesystem::path&));

}  // namespace quench::cli
