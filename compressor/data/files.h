// Whole files in and out of memory, with errors that name the file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quench::data {

// Throws quench::Error where the file is missing, not a regular file, unreadable, or above `max_bytes`.
std::vector<std::byte> read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 36);

// `bytes`, then `rest`; appears complete or not at all. Throws quench::Error.
void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes,
                std::span<const std::byte> rest = {});

// A file for each name, which may hold anything ('/' would lead elsewhere). Those whose names are safe keep them; others
// get a number where theirs is taken.
std::vector<std::string> file_names_of(const std::vector<std::string>& names, std::string_view suffix);

}  // namespace quench::data
