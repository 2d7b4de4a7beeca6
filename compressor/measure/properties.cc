#include "compressor/measure/properties.h"

#include <algorithm>

#include "compressor/measure/quench_file.h"
#include "formats/base/crc32c.h"
#include "formats/onnx/input_file.h"

namespace quench::measure {

std::string property(const onnx::ModelProto& model, std::string_view key) {
  for (const onnx::StringStringEntryProto& each : model.metadata_props()) {
    if (each.key() == key) return each.value();
  }
  return "";
}

std::string property(const std::filesystem::path& path, std::string_view key, uint64_t max_memory) {
  return is_quench_file(path) ? property(QuenchFile(path, max_memory).graph(), key) : property(load(path).proto, key);
}

Source source_of(const std::filesystem::path& model) {
  Source source;
  std::vector<std::byte> part(size_t{1} << 20);
  std::vector<std::filesystem::path> files = external_files(model);
  files.insert(files.begin(), model);
  for (const std::filesystem::path& path : files) {
    const std::shared_ptr<const InputFile> file = InputFile::open(path);
    for (uint64_t at = 0; at < file->size();) {
      const std::span<std::byte> next = std::span(part).first(std::min<uint64_t>(part.size(), file->size() - at));
      file->read(at, next);
      source.crc32c = crc32c(next, source.crc32c);
      at += next.size();
    }
    source.bytes += file->size();
  }
  return source;
}

}  // namespace quench::measure
