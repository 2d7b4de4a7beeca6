// Runs the real `quench` program, as a user does.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace quench::cli {

struct Outcome {
  int code = -1;  // exit code; 128 + the signal's number where a signal ended it
  std::string out, err;
};

Outcome run_program(const std::vector<std::string>& arguments);

// Started and not waited for; standard output and error are thrown away.
pid_t start_program(const std::vector<std::string>& arguments);
// Its exit code as in Outcome.
int wait_for(pid_t process);

}  // namespace quench::cli
