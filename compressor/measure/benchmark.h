// What a .quench file costs to load and to run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "compressor/measure/runner.h"

namespace quench::measure {

struct BenchmarkOptions {
  int threads = 1;
  int runs = 50;
  InputShapes shapes;  // for inputs whose declared shape is open
  uint64_t seed = 1;
  uint64_t max_memory = 0;  // bytes, as of Runner::open
};

struct Benchmark {
  uint64_t file_bytes = 0;
  int threads = 1;
  int runs = 0;
  double load_ms = 0;          // open the file, plan, decode and pack the weights: until the model can run
  double first_result_ms = 0;  // the same and the first run
  double decode_ms = 0;        // entropy decoding of all tensors to values, one thread; median
  uint64_t weights = 0;        // elements that this decodes
  double median_ms = 0;        // a run
  double min_ms = 0;
  uint64_t arena_bytes = 0;  // activations and scratch
  uint64_t peak_bytes =
      0;  // most that model and session took from the allocator at a time; the mapped file not counted
};

// Inputs are drawn from a seed. Throws quench::Error.
Benchmark benchmark(const std::filesystem::path& model, const BenchmarkOptions& options);

}  // namespace quench::measure
