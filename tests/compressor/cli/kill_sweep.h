// Kills the program at moments spread over the time that a command takes.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace quench::cli {

// Runs `command`, which writes `output`, to its end, and then again and again, each time ended by `signal` a little
// later, over an `output` that holds "old". Whatever the moment, `output` must be the old file or the whole new one,
// and its folder hold nothing else but files of the names `beside`. As many moments as QUENCH_KILL_MOMENTS says, by
// default `moments`; the test fails if none of them hit the program alive.
void expect_old_or_new(const std::vector<std::string>& command, const std::string& output, int signal, int moments,
                       const std::set<std::string>& beside = {});

}  // namespace quench::cli
