// What a file that is made says of where it comes from.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace quench::cli {

// For the file's metadata (FORMAT.md, section 6): the program and its version, the options that change what is in the
// file, bytes and checksum of the source: the same for the same file and options, whatever it is called and wherever it
// lies.
std::vector<std::pair<std::string, std::string>> provenance(const std::filesystem::path& model,
                                                            const CLI::App& command);

}  // namespace quench::cli
