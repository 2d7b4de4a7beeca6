// Whole files in and out of memory, with errors that name the file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

namespace quench::data {

// Throws quench::Error where the file is missing, not a regular file, unreadable, or above `max_bytes`.
std::vector<std::byte> read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 36);

// `bytes`, then `rest`; appears complete or not at all. Throws quench::Error.
void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes,
                std::span<const std::byte> rest = {});

}  // namespace quench::data
