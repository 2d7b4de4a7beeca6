// A file that appears complete or not at all: written to a temporary file in the same folder, synced, then put in the
// target's place. A process that is killed while writing leaves the old file as it was, and nothing else: the temporary
// file has no name until it is complete, and then a child process gives it the target's. Where the file system has no
// nameless files (Linux's O_TMPFILE), it is called ".quench-tmp-*", is locked, and goes with the next file that is
// written into the folder if its process is gone.
//
//     Result<AtomicFile> file = AtomicFile::create("report.json");
//     if (!file.ok()) return file.status();
//     QUENCH_RETURN_IF_ERROR(file->write(bytes));
//     QUENCH_RETURN_IF_ERROR(file->commit());
//
// Dropped before commit(), it removes the temporary file. A target that exists and is no regular file (/dev/stdout, a
// pipe) is written in place, since it cannot be renamed over. A symbolic link is followed: the file that it names is
// replaced, and must be there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "formats/base/status.h"

namespace quench {

class AtomicFile {
 public:
  AtomicFile() = default;
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  enum class Temporary { kNameless, kNamed };  // nameless: where there is it

  // The new file gets the permissions of the one that it replaces, or 0666 less the umask. Errors: kIo with the path
  // and the system's reason.
  static Result<AtomicFile> create(const std::string& path, Temporary temporary = Temporary::kNameless);

  // Appends. Buffered: an error may be that of an earlier write. After an error only the destructor does anything.
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);

  // Overwrites bytes that write() has written already; kUnsupportedFeature where the target cannot seek.
  Status write_at(uint64_t offset, std::span<const std::byte> bytes);

  // Bytes written so far.
  uint64_t size() const { return size_; }

  // Flushes, syncs the file, puts it in the target's place, syncs the folder.
  Status commit();

 private:
  Status flush();
  Status fail(const char* action);
  void discard();
  bool take_place();

  int descriptor_ = -1;
  bool in_place_ = false;
  uint64_t size_ = 0;
  std::string path_;
  std::string temporary_;
  std::string buffer_;
};

// For a handler of a signal that ends the process: removes the temporary files that have names. Safe in one.
void remove_temporary_files() noexcept;

}  // namespace quench
