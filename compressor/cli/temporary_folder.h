// A folder that goes away with the program, whatever ends it.
#pragma once

#include <sys/types.h>

#include <filesystem>

namespace quench::cli {

class TemporaryFolder {
 public:
  // In the system's place for such.
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int alive_ = -1;     // a pipe that closes when this process ends
  pid_t remover_ = 0;  // a process that waits for that
};

}  // namespace quench::cli
