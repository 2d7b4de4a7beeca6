#include "tests/compressor/cli/kill_sweep.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/compressor/cli/program.h"
#include "tests/compressor/compress/small_model.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using quantizer::read_bytes;

int moments_of(int by_default) {
  const char* text = std::getenv("QUENCH_KILL_MOMENTS");
  return text != nullptr ? std::max(1, std::atoi(text)) : by_default;
}

// Name of a file that should not lie in the folder of `output`. The child of the program that puts the new file in its
// place may live a moment longer than the program.
std::string left_beside(const fs::path& output, const std::set<std::string>& beside) {
  std::string left;
  for (int tries = 0; tries < 100; ++tries) {
    left.clear();
    for (const auto& entry : fs::directory_iterator(output.parent_path())) {
      if (entry.path() != output && !beside.contains(entry.path().filename())) left = entry.path().filename();
    }
    if (left.empty()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return left;
}

}  // namespace

void expect_old_or_new(const std::vector<std::string>& command, const std::string& output, int signal, int moments,
                       const std::set<std::string>& beside) {
  const auto begin = Clock::now();
  const Outcome outcome = run_program(command);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto time = Clock::now() - begin;
  const std::string whole = read_bytes(output);
  const int count = moments_of(moments);
  int alive = 0, finished = 0;
  for (int moment = 0; moment < count; ++moment) {
    std::ofstream(output, std::ios::binary | std::ios::trunc) << "old";
    const pid_t process = start_program(command);
    std::this_thread::sleep_for(time * moment / std::max(1, count - 1));  // from its beginning to its end
    ::kill(process, signal);
    alive += wait_for(process) != 0;
    const std::string left = read_bytes(output);
    finished += left == whole;
    ASSERT_TRUE(left == "old" || left == whole) << command[0] << " " << moment << ": " << left.size() << " bytes";
    ASSERT_EQ(left_beside(fs::path(output), beside), "") << command[0] << " " << moment;
  }
  EXPECT_GT(alive, 0) << command[0] << " was never hit alive";
  std::printf("%s: signal %d at %d moments in %.2f s: %d ended by it, %d new files, %d old ones\n", command[0].c_str(),
              signal, count, std::chrono::duration<double>(time).count(), alive, finished, count - finished);
}

}  // namespace quench::cli
