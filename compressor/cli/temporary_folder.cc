#include "compressor/cli/temporary_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>

#include "formats/error.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kShell = "/bin/sh";

// Removes a folder when its input ends.
constexpr const char* kRemover = "exec > /dev/null 2>&1; cat; exec rm -rf -- \"$1\"";

// A shell with `input`, which no signal to the group reaches, from before its first instruction on. Returns 0 or an error.
int start_remover(const std::string& folder, int input, pid_t& process) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::array<std::string, 5> words = {kShell, "-c", kRemover, kShell, folder};
  std::array<char*, 6> argv{};
  for (size_t i = 0; i < words.size(); ++i) argv[i] = words[i].data();
  const int error = ::posix_spawn(&process, kShell, &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

fs::path new_path() {
  std::error_code error;
  const fs::path folder = fs::temp_directory_path(error);
  if (error) throw Error("there is no folder for temporary files: TMPDIR names none");
  std::random_device random;
  std::string name = "quench-";
  for (int i = 0; i < 4; ++i) name += fmt::format("{:08x}", random());
  return folder / name;
}

}  // namespace

// The remover first, so that there is no moment at which the folder would stay.
TemporaryFolder::TemporaryFolder() : path_(new_path()) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw Error::make("no pipe can be made: {}", std::strerror(errno));
  const int error = start_remover(path_.string(), ends[0], remover_);
  ::close(ends[0]);
  alive_ = ends[1];
  if (error == 0 && ::mkdir(path_.c_str(), 0700) == 0) return;
  const int reason = error != 0 ? error : errno;
  ::close(alive_);
  throw Error::make("{}: cannot be made: {}", path_.string(), std::strerror(reason));
}

TemporaryFolder::~TemporaryFolder() {
  ::close(alive_);
  int status = 0;
  while (::waitpid(remover_, &status, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace quench::cli
