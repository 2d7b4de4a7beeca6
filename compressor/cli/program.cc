#include "compressor/cli/program.h"

#include <fmt/format.h>
#include <quench/quench.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <new>

#include "compressor/cli/options.h"
#include "formats/base/atomic_file.h"
#include "formats/base/printable.h"

namespace quench::cli {
namespace {

constexpr size_t kLongestMessage = 4000;

std::span<char*> all_arguments;

// Whatever a message holds, it is one line.
int fail(std::string message, int code) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  fmt::print(stderr, "quench: error: {}\n", printable(message, kLongestMessage));
  return code;
}

std::string commands_of(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands({})) names += (names.empty() ? "" : ", ") + command->get_name();
  return names;
}

void on_signal(int number) {
  remove_temporary_files();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

// A signal that ends the program takes its temporary files along. A file that grows beyond the limit is an error of the
// write, not a signal.
void set_signals() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    if (std::signal(number, on_signal) == SIG_IGN) std::signal(number, SIG_IGN);  // nohup
  }
  std::signal(SIGXFSZ, SIG_IGN);
}

int fail_usage(const CLI::App& app, const std::string& message) {
  std::string command = "quench";
  for (const CLI::App* chosen = &app; !chosen->get_subcommands().empty();) {
    chosen = chosen->get_subcommands().front();
    command += " " + chosen->get_name();
  }
  return fail(fmt::format("{} (see {} --help)", message, command), 2);
}

}  // namespace

void set_up(CLI::App& app) {
  app.name("quench");
  app.set_version_flag("--version", std::string("quench ") + quench_version());
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error&) { return std::string(); });
  app.footer("quench COMMAND --help lists a command's options.");
}

std::span<char*> command_line() { return all_arguments; }

int run_program(CLI::App& app, int argc, char** argv) {
  all_arguments = {argv, static_cast<size_t>(argc)};
  set_signals();
  guard_options(app);
  try {
    if (argc < 2) throw UsageError("a command is needed: " + commands_of(app));
    const std::string first = argv[1];
    const auto commands = app.get_subcommands({});
    const bool is_command = std::any_of(commands.begin(), commands.end(),
                                        [&](const CLI::App* command) { return command->get_name() == first; });
    if (!first.starts_with('-') && !is_command)
      throw UsageError(fmt::format("there is no command '{}'; there are {}", printable(first), commands_of(app)));
    guard_empty_values(app, {argv, static_cast<size_t>(argc)});
    int code = 0;
    try {
      app.parse(argc, argv);
    } catch (const Finished& finished) {
      code = finished.code;
    }
    if (std::fflush(stdout) != 0) return fail("the output could not be written", 1);
    return code;
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return fail_usage(app, error.what());
  } catch (const UsageError& error) {
    return fail_usage(app, error.what());
  } catch (const std::bad_alloc&) {
    return fail("out of memory", 1);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}

}  // namespace quench::cli
