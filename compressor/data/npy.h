// NumPy's files: .npy, one array (format versions 1.0 to 3.0), and .npz, a ZIP archive of them.
//
// Read: float16/32/64, signed and unsigned integers of 8 to 64 bits, bool; little-endian, C order. Fortran order,
// big-endian, structured and object arrays are refused. Members of .npz files may be stored or deflated. Headers may be
// hostile: every size is checked against the bytes that are there before memory is taken. All functions throw
// quench::Error with the file's name. Reference: numpy.lib.format; PKWARE's APPNOTE for ZIP and ZIP64.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compressor/data/array.h"

namespace quench::data {

// `name` is for messages.
Array parse_npy(std::span<const std::byte> file, std::string_view name);
Array read_npy(const std::filesystem::path& path);

// Version 1.0, byte for byte what numpy.save writes. bfloat16, which NumPy does not have, becomes float32.
std::vector<std::byte> npy_bytes(const Array& array);
void write_npy(const std::filesystem::path& path, const Array& array);

// By name without ".npy". `wanted` is asked for each name whether its array is to be read; null: all are.
using WantedArray = std::function<bool(const std::string& name, const std::vector<std::string>& names)>;
std::map<std::string, Array> parse_npz(std::span<const std::byte> file, std::string_view name,
                                       const WantedArray& wanted = nullptr);
std::map<std::string, Array> read_npz(const std::filesystem::path& path, const WantedArray& wanted = nullptr);

// Stored, not deflated; up to 4 GiB.
void write_npz(const std::filesystem::path& path, const std::vector<std::pair<std::string, Array>>& arrays);

}  // namespace quench::data
