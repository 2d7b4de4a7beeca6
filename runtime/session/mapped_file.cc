#include "runtime/session/mapped_file.h"

#if !defined(QUENCH_NO_FILES)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace quench::rt {

#if defined(QUENCH_NO_FILES)

MappedFile::~MappedFile() = default;

Status MappedFile::map(const char*) {
  return Status::error(StatusCode::kUnsupportedFeature, "this runtime is built without files");
}

#else

namespace {

// The last 120 bytes of the path: where it is cut, the name of the file is what matters.
const char* tail(const char* path) {
  const size_t length = std::strlen(path);
  return length > 120 ? path + (length - 120) : path;
}

Status io_error(const char* path) { return Status::error(StatusCode::kIo, "%s: %s", tail(path), std::strerror(errno)); }

Status map_open_file(int file, const char* path, Bytes& bytes) {
  struct stat info {};
  if (fstat(file, &info) != 0) return io_error(path);
  if (!S_ISREG(info.st_mode)) return Status::error(StatusCode::kIo, "%s: not a regular file", tail(path));
  if (info.st_size == 0) return Status::error(StatusCode::kTruncated, "%s: the file is empty", tail(path));
  const auto size = static_cast<size_t>(info.st_size);
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  if (address == MAP_FAILED) return io_error(path);
  bytes = {static_cast<const std::byte*>(address), size};
  return Status();
}

}  // namespace

MappedFile::~MappedFile() {
  if (bytes_.data()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

Status MappedFile::map(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // O_NONBLOCK: a pipe must not make us wait
  if (file < 0) return io_error(path);
  const Status status = map_open_file(file, path, bytes_);
  close(file);
  return status;
}

#endif

}  // namespace quench::rt
