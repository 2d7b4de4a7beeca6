// A user's own measure: a command that is run on the outputs of two models, and whose last line is the figure.
//
//     Metric metric("python3 my.py {original} {compressed}", names);
//     for (each run) metric.add(indices, rows, original, compressed);
//     std::string figure = metric.run();
//
// {original} and {compressed} become folders with NAME/INDEX.npy for each output and sample: the output's name as `run`
// would call its file, and the sample's place in the data, of six digits or more. They are in a temporary folder that
// goes away with the program, whatever ends it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "compressor/cli/temporary_folder.h"
#include "compressor/measure/runner.h"

namespace quench::cli {

// Throws UsageError where the command does not name both folders.
void check_metric(const std::string& command);

class Metric {
 public:
  explicit Metric(std::string command) : command_(std::move(command)) {}

  // The outputs of samples `indices`, the first of `rows` along the first axis of those outputs that have so many.
  void add(std::span<const uint64_t> indices, uint64_t rows, std::span<const graph::HostTensor> original,
           std::span<const graph::HostTensor> compressed);
  // Throws quench::Error where the command fails or prints nothing.
  std::string run() const;

 private:
  void write(const char* which, std::span<const uint64_t> indices, uint64_t rows,
             std::span<const graph::HostTensor> outputs) const;

  std::string command_;
  TemporaryFolder folder_;
};

}  // namespace quench::cli
