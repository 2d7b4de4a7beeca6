#include "formats/base/atomic_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

// Of files that are being written. Nothing of the target's name is in it, which may be as long as names can be.
constexpr const char* kTemporaryPrefix = ".quench-tmp-";

std::string temporary_name(const std::string& folder) {
  static std::atomic<unsigned> counter{0};
  return folder + "/" + kTemporaryPrefix + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
}

// Names to remove if a signal ends the process. A slot is taken by whoever sets `used`, and seen when `named` is set.
struct Slot {
  std::atomic<bool> used{false}, named{false};
  char name[PATH_MAX];
};
Slot slots[8];

void remember(const std::string& name) {
  if (name.size() >= PATH_MAX) return;
  for (Slot& slot : slots) {
    if (slot.used.exchange(true)) continue;
    std::memcpy(slot.name, name.c_str(), name.size() + 1);
    slot.named = true;
    return;
  }
}

void forget(const std::string& name) {
  for (Slot& slot : slots) {
    if (!slot.named || name != slot.name) continue;
    slot.named = false;
    slot.used = false;
  }
}

// Who writes a file holds its lock, so one that can be locked was left by a process that is gone.
void remove_stale(const std::string& folder) {
  DIR* entries = ::opendir(folder.c_str());
  if (entries == nullptr) return;
  while (const dirent* entry = ::readdir(entries)) {
    if (std::strncmp(entry->d_name, kTemporaryPrefix, std::strlen(kTemporaryPrefix)) != 0) continue;
    const std::string name = folder + "/" + entry->d_name;
    const int descriptor = ::open(name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) continue;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) ::unlink(name.c_str());
    ::close(descriptor);
  }
  ::closedir(entries);
}

// By which a nameless file can be linked; of the forked child's own, which is the same file.
std::string descriptor_link(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

// A file without a name, which goes with its process; -1 where the system or the file system has none.
int open_nameless(const std::string& folder) {
#ifdef O_TMPFILE
  const int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (descriptor < 0) return -1;
  // Without /proc it could get no name in the end.
  if (::access(descriptor_link(descriptor).c_str(), F_OK) == 0) return descriptor;
  ::close(descriptor);
#else
  static_cast<void>(folder);
#endif
  return -1;
}

// Gives a nameless file its name, which must be free.
bool link_nameless(int descriptor, const std::string& name) {
  return ::linkat(AT_FDCWD, descriptor_link(descriptor).c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

// Gives a nameless file first a name that is free and then that of `path`, which exists: a link replaces nothing, a
// rename does. 0 or the error's number. Only system calls: it may run in a forked child of a process with threads.
int link_and_rename(const char* link, const char* name, const char* path) {
  if (::linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW) != 0) return errno;
  if (::rename(name, path) == 0) return 0;
  const int error = errno;
  ::unlink(name);
  return error;
}

// The same by a child with all signals blocked, since what ends this process between the two calls would leave `name`
// behind. Where there can be no child, by this process.
int link_and_rename_unkilled(const std::string& link, const std::string& name, const std::string& path) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(link_and_rename(link.c_str(), name.c_str(), path.c_str()));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return link_and_rename(link.c_str(), name.c_str(), path.c_str());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return errno;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : ECANCELED;
}

// Opens a new file in the folder. Between its making and its lock, another process may have swept it away: then again.
int open_named(const std::string& folder, std::string& name) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    name = temporary_name(folder);
    const int descriptor = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0 && errno == EEXIST) continue;
    if (descriptor < 0) break;
    remember(name);
    struct stat own {};
    if (::flock(descriptor, LOCK_EX) != 0 || ::fstat(descriptor, &own) != 0 || own.st_nlink > 0) return descriptor;
    forget(name);
    ::close(descriptor);
  }
  name.clear();
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
  if (!temporary_.empty()) {
    ::unlink(temporary_.c_str());
    forget(temporary_);
  }
  temporary_.clear();
}

Status AtomicFile::fail(const char* action) {
  return Status::error(StatusCode::kIo, "cannot %s %s: %s", action, path_.c_str(), std::strerror(errno));
}

Result<AtomicFile> AtomicFile::create(const std::string& path, Temporary temporary) {
  AtomicFile file;
  file.path_ = resolved(path);
  struct stat old {};
  const bool exists = ::stat(file.path_.c_str(), &old) == 0;
  if (!exists && errno != ENOENT) return file.fail("write");  // a name that is too long, say
  if (!exists && ::lstat(file.path_.c_str(), &old) == 0) {
    return Status::error(StatusCode::kIo, "cannot write %s: it is a link to a file that does not exist",
                         file.path_.c_str());
  }
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
  const std::string folder = folder_of(file.path_);
  remove_stale(folder);
  if (temporary == Temporary::kNameless) file.descriptor_ = open_nameless(folder);
  if (file.descriptor_ < 0) {
    file.descriptor_ = open_named(folder, file.temporary_);
  } else {
    ::flock(file.descriptor_, LOCK_EX);  // for the moment in which it has a temporary name
  }
  if (file.descriptor_ < 0) return file.fail("write");
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

bool AtomicFile::take_place() {
  if (temporary_.empty()) {
    if (link_nameless(descriptor_, path_)) return true;
    if (errno != EEXIST) return false;
    errno = link_and_rename_unkilled(descriptor_link(descriptor_), temporary_name(folder_of(path_)), path_);
    return errno == 0;
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return false;
  forget(temporary_);
  temporary_.clear();
  return true;
}

Status AtomicFile::commit() {
  if (descriptor_ < 0) return Status::error(StatusCode::kInvalidArgument, "no file is open");
  QUENCH_RETURN_IF_ERROR(flush());
  if (in_place_) {
    if (::close(std::exchange(descriptor_, -1)) != 0) return fail("write");
    return {};
  }
  if (::fsync(descriptor_) != 0) return fail("sync");
  if (!take_place()) return fail("replace");
  if (::close(std::exchange(descriptor_, -1)) != 0) return fail("write");
  const std::string folder = folder_of(path_);
  const int folder_descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_descriptor < 0) return fail("sync the folder of");
  // Some file systems cannot sync a folder; the rename has happened all the same.
  const bool synced = ::fsync(folder_descriptor) == 0 || errno == EINVAL || errno == EROFS;
  ::close(folder_descriptor);
  return synced ? Status() : fail("sync the folder of");
}

void remove_temporary_files() noexcept {
  for (Slot& slot : slots) {
    if (slot.named) ::unlink(slot.name);
  }
}

}  // namespace quench
