#include "formats/onnx/apart.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "formats/error.h"

namespace quench {
namespace {

constexpr rlim_t kMemory = rlim_t{1} << 30;
constexpr rlim_t kProcessorSeconds = 4;
constexpr auto kLongest = std::chrono::seconds(8);

// Of this process, in bytes; 0 where the system does not say.
rlim_t address_space() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  unsigned long pages = 0;
  const bool is_read = std::fscanf(file, "%lu", &pages) == 1;
  std::fclose(file);
  return is_read ? rlim_t{pages} * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

// Whether who started this process allows it less memory than the child would get.
bool is_limited() {
  struct rlimit now {};
  return ::getrlimit(RLIMIT_AS, &now) == 0 && now.rlim_cur != RLIM_INFINITY && now.rlim_cur < address_space() + kMemory;
}

void limit(int resource, rlim_t value) {
  struct rlimit now {};
  if (::getrlimit(resource, &now) != 0) return;
  if (now.rlim_cur != RLIM_INFINITY && now.rlim_cur < value) value = now.rlim_cur;
  now.rlim_cur = now.rlim_max = value;
  ::setrlimit(resource, &now);
}

// A signal ends the child alone, without a core file; what it prints is of no use to anyone.
void confine() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGPIPE}) {
    std::signal(number, SIG_DFL);
  }
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere >= 0) {
    ::dup2(nowhere, STDOUT_FILENO);
    ::dup2(nowhere, STDERR_FILENO);
  }
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, kProcessorSeconds);
  if (const rlim_t now = address_space(); now != 0) limit(RLIMIT_AS, now + kMemory);
}

bool write_all(int descriptor, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t count = ::write(descriptor, text.data() + at, text.size() - at);
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) at += static_cast<size_t>(count);
  }
  return true;
}

[[noreturn]] void work_and_exit(const std::function<std::string()>& work, int result) {
  confine();
  std::string text;
  try {
    text = "+" + work();
  } catch (const std::exception& error) {
    text = std::string("-") + error.what();
  }
  // The last byte says that nothing is missing.
  ::_exit(write_all(result, text) && write_all(result, ".") ? 0 : 1);
}

// Everything that comes until the other end is closed; false where that takes too long.
bool read_all(int descriptor, std::string& text) {
  const auto end = std::chrono::steady_clock::now() + kLongest;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    struct pollfd wait {
      descriptor, POLLIN, 0
    };
    if (left.count() <= 0) return false;
    const int ready = ::poll(&wait, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    char buffer[65536];
    const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
    if (count == 0) return true;
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) text.append(buffer, static_cast<size_t>(count));
  }
}

}  // namespace

std::optional<Outcome> run_apart(const std::function<std::string()>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error::make("no pipe can be made: {}", std::strerror(errno));
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    work_and_exit(work, ends[1]);
  }
  ::close(ends[1]);
  std::string text;
  const bool is_read = child > 0 && read_all(ends[0], text);
  ::close(ends[0]);
  if (child < 0) throw Error::make("no process can be made: {}", std::strerror(errno));
  if (!is_read) ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  const bool is_whole = is_read && text.size() >= 2 && text.back() == '.';
  // Short memory is an error, as everywhere: without what the child would have found, the result would be another one.
  if (is_limited() && (!is_whole || text.starts_with("-std::bad_alloc"))) throw std::bad_alloc();
  if (!is_whole) return std::nullopt;
  text.pop_back();
  return Outcome{text.substr(1), text.front() == '-'};
}

}  // namespace quench
