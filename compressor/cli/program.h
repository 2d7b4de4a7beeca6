// What all programs of Quench have in common: exit code 0 for success, 1 for errors, 2 for wrong usage; errors are one
// line on stderr.
#pragma once

#include <CLI/CLI.hpp>

namespace quench::cli {

// Parses the command line and runs the command that was chosen; to be returned from main().
int run_program(CLI::App& app, int argc, char** argv);

// Makes a program out of `app`: name, version, messages.
void set_up(CLI::App& app);

}  // namespace quench::cli
