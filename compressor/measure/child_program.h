// Programs of others, run with a list of words: no shell reads them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace quench::measure {

// Whether PATH leads to a program of this name.
bool is_installed(const std::string& program);

// Runs a program that PATH leads to, without input, and waits for it; `log` gets what it prints. Throws quench::Error
// with the program's name and the last line that it printed where it cannot be started or ends with another exit code
// than 0.
void run_program(const std::vector<std::string>& words, const std::filesystem::path& log);

}  // namespace quench::measure
