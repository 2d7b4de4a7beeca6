#include "compressor/cli/codec_files.h"

#include <algorithm>

#include "compressor/cli/temporary_folder.h"
#include "compressor/compress/codec_compression.h"
#include "compressor/data/files.h"
#include "compressor/measure/quench_file.h"
#include "formats/error.h"

namespace quench::cli {

namespace fs = std::filesystem;

fs::path codec_file(const std::string& prefix, const std::string& side) {
  fs::path quench_file = prefix + "." + side + ".quench", onnx_file = prefix + "." + side + ".onnx";
  std::error_code error;
  if (fs::exists(quench_file, error)) return quench_file;
  if (fs::exists(onnx_file, error)) return onnx_file;
  throw Error::make("{}: there is no such codec: neither {} nor {}", prefix, quench_file.string(), onnx_file.string());
}

std::vector<std::byte> read_network(const fs::path& file) {
  if (measure::is_quench_file(file)) return data::read_file(file);
  const TemporaryFolder folder;
  return quantizer::lossless_network(file, folder.path());
}

std::vector<fs::path> files_in(const fs::path& folder, bool (*fits)(const fs::path&)) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && fits(entry.path())) files.push_back(entry.path());
  }
  if (files.empty()) throw Error::make("{}: there is nothing in the folder to work on", folder.string());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace quench::cli
