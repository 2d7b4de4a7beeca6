#include "formats/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace quench {
namespace {

constexpr size_t kBufferSize = 1 << 16;

Status write_all(int descriptor, const char* bytes, size_t size, const std::string& path) {
  while (size > 0) {
    const ssize_t written = ::write(descriptor, bytes, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      return Status::error(StatusCode::kIo, "cannot write %s: %s", path.c_str(), std::strerror(errno));
    }
    bytes += written;
    size -= static_cast<size_t>(written);
  }
  return {};
}

// The file that `path` names once links are followed; `path` itself where it does not exist.
std::string resolved(const std::string& path) {
  char buffer[PATH_MAX];
  return ::realpath(path.c_str(), buffer) != nullptr ? std::string(buffer) : path;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Opens a new file beside `path`. The name carries the process id and a counter, so that several writers do not meet.
int open_temporary(const std::string& path, std::string& name) {
  static std::atomic<unsigned> counter{0};
  for (int attempt = 0; attempt < 100; ++attempt) {
    name = path + ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
    const int descriptor = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0 || errno != EEXIST) return descriptor;
  }
  return -1;
}

}  // namespace

AtomicFile::AtomicFile(AtomicFile&& other) noexcept { *this = std::move(other); }

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this == &other) return *this;
  discard();
  descriptor_ = std::exchange(other.descriptor_, -1);
  in_place_ = other.in_place_;
  size_ = other.size_;
  path_ = std::move(other.path_);
  temporary_ = std::exchange(other.temporary_, {});
  buffer_ = std::move(other.buffer_);
  return *this;
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

Status AtomicFile::fail(const char* action) {
  return Status::error(StatusCode::kIo, "cannot %s %s: %s", action, path_.c_str(), std::strerror(errno));
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  AtomicFile file;
  file.path_ = resolved(path);
  struct stat old {};
  const bool exists = ::stat(file.path_.c_str(), &old) == 0;
  if (exists && S_ISDIR(old.st_mode)) {
    errno = EISDIR;
    return file.fail("write");
  }
  file.in_place_ = exists && !S_ISREG(old.st_mode);
  if (file.in_place_) {
    file.descriptor_ = ::open(file.path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (file.descriptor_ < 0) return file.fail("write");
    return file;
  }
  file.descriptor_ = open_temporary(file.path_, file.temporary_);
  if (file.descriptor_ < 0) {
    file.temporary_.clear();  // it is not ours to remove
    return file.fail("write");
  }
  if (exists && ::fchmod(file.descriptor_, old.st_mode & 0777) != 0) return file.fail("set the permissions of");
  return file;
}

Status AtomicFile::flush() {
  QUENCH_RETURN_IF_ERROR(write_all(descriptor_, buffer_.data(), buffer_.size(), path_));
  buffer_.clear();
  return {};
}

Status AtomicFile::write(std::string_view text) { return write(std::as_bytes(std::span(text))); }

Status AtomicFile::write(std::span<const std::byte> bytes) {
  if (descriptor_ < 0) return Status::error(StatusCode::kInvalidArgument, "no file is open");
  const char* data = reinterpret_cast<const char*>(bytes.data());
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() < kBufferSize) {
    buffer_.append(data, bytes.size());
    return {};
  }
  QUENCH_RETURN_IF_ERROR(flush());
  return write_all(descriptor_, data, bytes.size(), path_);
}

Status AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  if (descriptor_ < 0 || offset > size_ || bytes.size() > size_ - offset) {
    return Status::error(StatusCode::kInvalidArgument, "write_at covers bytes that are not written yet");
  }
  QUENCH_RETURN_IF_ERROR(flush());
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno == ESPIPE) return Status::error(StatusCode::kUnsupportedFeature, "%s cannot seek", path_.c_str());
      return fail("write");
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return {};
}

Status AtomicFile::commit() {
  if (descriptor_ < 0) return Status::error(StatusCode::kInvalidArgument, "no file is open");
  QUENCH_RETURN_IF_ERROR(flush());
  if (in_place_) {
    if (::close(std::exchange(descriptor_, -1)) != 0) return fail("write");
    return {};
  }
  if (::fsync(descriptor_) != 0) return fail("sync");
  if (::close(std::exchange(descriptor_, -1)) != 0) return fail("write");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return fail("replace");
  temporary_.clear();
  const std::string folder = folder_of(path_);
  const int folder_descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_descriptor < 0) return fail("sync the folder of");
  // Some file systems cannot sync a folder; the rename has happened all the same.
  const bool synced = ::fsync(folder_descriptor) == 0 || errno == EINVAL || errno == EROFS;
  ::close(folder_descriptor);
  return synced ? Status() : fail("sync the folder of");
}

}  // namespace quench
