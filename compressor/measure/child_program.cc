#include "compressor/measure/child_program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestLine = 300;  // bytes of a message

// Returns 0 or an error.
int spawn(const std::vector<std::string>& words, const fs::path& log, pid_t& process) {
  std::vector<std::string> copies = words;
  std::vector<char*> argv(copies.size() + 1);  // the last is null
  std::transform(copies.begin(), copies.end(), argv.begin(), [](std::string& word) { return word.data(); });
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error = ::posix_spawnp(&process, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

std::string last_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string last;
  for (std::string line; std::getline(stream, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  }
  return printable(last, kLongestLine);
}

}  // namespace

bool is_installed(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path file = fs::path(folder.empty() ? "." : folder) / program;
    std::error_code error;
    if (fs::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0) return true;
  }
  return false;
}

void run_program(const std::vector<std::string>& words, const fs::path& log) {
  pid_t process = 0;
  const int error = spawn(words, log, process);
  if (error != 0) throw Error::make("{}: cannot be started: {}", words[0], std::strerror(error));
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  const std::string line = last_line(log);
  throw Error::make("{}: ended with {} {}{}{}", words[0], WIFSIGNALED(status) ? "signal" : "exit code",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), line.empty() ? "" : ": ", line);
}

}  // namespace quench::measure
