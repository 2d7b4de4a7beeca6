#include "compressor/measure/output_comparison.h"

#include <algorithm>
#include <cmath>

namespace quench::measure {

using graph::HostTensor;

void OutputMeter::add(const std::optional<Scores>& scores, const HostTensor& reference, const HostTensor& output,
                      uint64_t samples, uint64_t rows) {
  fidelity_.add({&reference, 1}, {&output, 1}, samples, rows);
  if (reference.dims != output.dims) {
    ++other_shapes_;
    return;
  }
  if (scores) agreement_.add(*scores, reference, output, samples, rows);
  const std::vector<double> expected = numbers_of(reference, samples, rows), actual = numbers_of(output, samples, rows);
  for (size_t i = 0; i < expected.size(); ++i)
    largest_error_ = std::max(largest_error_.value_or(0), std::abs(actual[i] - expected[i]));
}

OutputComparison OutputMeter::result() const {
  return {name_, fidelity_.snr_db(), largest_error_, agreement_.result(), other_shapes_};
}

}  // namespace quench::measure
