#include "compressor/data/files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "formats/base/atomic_file.h"
#include "formats/error.h"

namespace quench::data {

std::vector<std::byte> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) throw Error::make("{}: this is a folder, not a file", path.string());
  const auto close = [](FILE* file) { std::fclose(file); };
  std::unique_ptr<FILE, decltype(close)> file(std::fopen(path.c_str(), "rb"), close);
  if (!file) throw Error::make("{}: {}", path.string(), std::strerror(errno));
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) throw Error::make("{}: this is not a regular file", path.string());
  if (size > max_bytes)
    throw Error::make("{}: {} bytes are too many here (at most {})", path.string(), size, max_bytes);
  std::vector<std::byte> bytes(size);
  if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) {
    throw Error::make("{}: the file could not be read to its end", path.string());
  }
  return bytes;
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes, std::span<const std::byte> rest) {
  Result<AtomicFile> file = AtomicFile::create(path.string());
  Status status = file.ok() ? file->write(bytes) : file.status();
  if (status.ok()) status = file->write(rest);
  if (status.ok()) status = file->commit();
  if (!status.ok()) throw Error(status.detail());
}

}  // namespace quench::data
