// The files of golden/, by kind: how each was written, and what it must decode to, computed without the reader.
#pragma once

#include <string>
#include <vector>

#include "tests/formats/container/sample_file.h"

namespace quench::container {

struct GoldenTensor {
  ElementType type = ElementType::kFloat32;
  uint64_t element_count = 0;
  FileBytes bytes;                // as in raw_data
  std::vector<float> values;      // where the type is a float
  std::vector<uint16_t> indices;  // where it is quantized
};

struct GoldenFile {
  std::string
      name;  // golden/v0.1-<name>.quench, and v0.1-<name>-2.quench where the writer has come to write other bytes
  int written = 1;  // how many files there are: all are read, and the last is what the writer of today makes
  std::string graph;
  bool terse = false;
  std::vector<GoldenTensor> tensors;
  FileBytes file;  // what the writer of today makes of it
};

std::vector<GoldenFile> golden_files();

}  // namespace quench::container
