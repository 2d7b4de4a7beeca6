// What all programs of Quench have in common: exit code 0 for success, 1 for errors, 2 for wrong usage, 3 for a model
// that does not run, which is what was asked; errors are one line on stderr.
#pragma once

#include <CLI/CLI.hpp>
#include <span>

namespace quench::cli {

constexpr int kDoesNotRun = 3;

// Thrown by a command that has done its work, and ends with another exit code than 0.
struct Finished {
  int code = 0;
};

// Parses the command line and runs the command that was chosen; to be returned from main().
int run_program(CLI::App& app, int argc, char** argv);

// The arguments that run_program has been given.
std::span<char*> command_line();

// Makes a program out of `app`: name, version, messages.
void set_up(CLI::App& app);

}  // namespace quench::cli
