#include "compressor/cli/provenance.h"

#include <fmt/format.h>
#include <quench/quench.h>

#include <set>

#include "compressor/cli/program.h"
#include "compressor/measure/properties.h"

namespace quench::cli {
namespace {

// Where things lie and how the work is done, which is not what is made.
bool is_told(const std::string& option) {
  static const std::set<std::string> kUntold = {
      "-o",        "--output", "--json",   "--threads", "--checkpoint", "--checkpoint-minutes", "--resume",
      "--metrics", "--page",   "--device", "--data",    "--labels",     "--test-data",          "--teacher"};
  return !kUntold.contains(option);
}

std::string options_of(const CLI::App& command) {
  const std::span<char*> arguments = command_line();
  std::string text;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string argument = arguments[i];
    const std::string name = argument.substr(0, argument.find('='));
    const CLI::Option* option = name.starts_with('-') ? command.get_option_no_throw(name) : nullptr;
    if (!option) continue;
    const bool has_value = name.size() == argument.size() && option->get_expected_min() > 0 && i + 1 < arguments.size();
    if (has_value) ++i;
    if (!is_told(name)) continue;
    text += (text.empty() ? "" : " ") + argument;
    if (has_value) text += std::string(" ") + arguments[i];
  }
  return text;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> provenance(const std::filesystem::path& model,
                                                            const CLI::App& command) {
  const measure::Source source = measure::source_of(model);
  std::vector<std::pair<std::string, std::string>> notes = {{"tool", fmt::format("quench {}", quench_version())}};
  const std::string options = options_of(command);
  notes.emplace_back("options", options.empty() ? command.get_name() : command.get_name() + " " + options);
  notes.emplace_back("source_bytes", std::to_string(source.bytes));
  notes.emplace_back("source_crc32c", fmt::format("{:08x}", source.crc32c));
  return notes;
}

}  // namespace quench::cli
