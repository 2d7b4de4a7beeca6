// One output of a model against the same output of another, over samples.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compressor/measure/accuracy.h"
#include "compressor/measure/fidelity.h"
#include "compressor/measure/scores.h"

namespace quench::measure {

struct OutputComparison {
  std::string name;
  std::optional<double> snr_db;         // see fidelity.h; infinite: they are equal
  std::optional<double> largest_error;  // of all its values, absolute
  std::optional<double> agreement;      // the share of places that get the same class, where it has classes
  uint64_t other_shapes = 0;            // runs in which it had another shape than the other model's
};

class OutputMeter {
 public:
  explicit OutputMeter(std::string name) : name_(std::move(name)) {}

  // The first `samples` of `rows`, as of Fidelity. `scores`: nullopt where the output has no classes.
  void add(const std::optional<Scores>& scores, const graph::HostTensor& reference, const graph::HostTensor& output,
           uint64_t samples, uint64_t rows);
  OutputComparison result() const;

 private:
  std::string name_;
  Fidelity fidelity_;
  AgreementSum agreement_;
  std::optional<double> largest_error_;
  uint64_t other_shapes_ = 0;
};

}  // namespace quench::measure
