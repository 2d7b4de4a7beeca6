#include "compressor/data/files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "formats/base/atomic_file.h"
#include "formats/error.h"

namespace quench::data {

std::vector<std::byte> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  const std::string name = path.string();
  // O_NONBLOCK: a named pipe would otherwise wait for a writer before it can be refused.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw Error::make("{}: {}", name, std::strerror(errno));
  const auto close = [](FILE* file) { std::fclose(file); };
  const std::unique_ptr<FILE, decltype(close)> file(::fdopen(descriptor, "rb"), close);
  struct stat status {};
  if (!file || ::fstat(descriptor, &status) != 0) throw Error::make("{}: {}", name, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) throw Error::make("{}: this is a folder, not a file", name);
  if (!S_ISREG(status.st_mode)) throw Error::make("{}: this is not a regular file", name);
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > max_bytes) throw Error::make("{}: {} bytes are too many here (at most {})", name, size, max_bytes);
  std::vector<std::byte> bytes(size);
  if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) {
    throw Error::make("{}: the file could not be read to its end", name);
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
