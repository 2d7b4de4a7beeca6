// Gzipped IDX files, the form of MNIST (LeCun, Cortes and Burges) and of sets that stand in for it: bytes in an array of
// any rank, with a big-endian header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace quench::data {

struct IdxArray {
  std::vector<int64_t> dims;
  std::vector<std::byte> bytes;  // row-major, as many as the product of dims
};

// An array of unsigned bytes. Throws quench::Error, with the file's name, for files that are missing, no gzip, no IDX of
// bytes of this rank, damaged, too short or too long, or above 1 GiB.
IdxArray read_idx(const std::filesystem::path& path, size_t rank);

}  // namespace quench::data
