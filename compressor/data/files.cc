#include "compressor/data/files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>

#include "formats/base/atomic_file.h"
#include "formats/base/printable.h"
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

namespace {

std::string safe_name(const std::string& name) {
  constexpr size_t kLongest = 200;
  std::string safe = printable(name, kLongest);
  std::replace_if(
      safe.begin(), safe.end(), [](char c) { return c == '/' || c == '\\' || c == '?'; }, '_');
  return safe.empty() || safe.front() == '.' ? "_" + safe : safe;
}

}  // namespace

std::vector<std::string> file_names_of(const std::vector<std::string>& names, std::string_view suffix) {
  std::vector<std::string> files(names.size());
  std::set<std::string> taken;
  for (size_t i = 0; i < names.size(); ++i) {
    if (safe_name(names[i]) == names[i] && taken.insert(names[i]).second) files[i] = names[i];
  }
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string wish = safe_name(names[i]);
    for (size_t number = 2; files[i].empty(); ++number) {
      const std::string name = number == 2 && wish != names[i] ? wish : fmt::format("{}_{}", wish, number);
      if (taken.insert(name).second) files[i] = name;
    }
  }
  for (std::string& file : files) file += suffix;
  return files;
}

}  // namespace quench::data
