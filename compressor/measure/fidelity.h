// How near a model's outputs are to the original's: the one signal-to-noise ratio that compression aims at, that it
// expects, and that evaluation and training measure.
//
//     Fidelity fidelity;
//     for (each batch) fidelity.add(original.run(inputs), compressed.run(inputs));
//     std::optional<double> decibels = fidelity.snr_db();
//
// For each output, the error is the power of the difference over the variance of the original's values, both over all
// elements of all samples that were added:
//
//     error = sum (y' - y)^2 / sum (y - mean(y))^2          SNR = -10 log10(mean of the outputs' errors)
//
// so that neither an output's scale nor its offset matters, nor how the samples are cut into batches, and each output
// counts alike. 0 dB is what the best constant in place of every output reaches.
//
// - Integer and boolean outputs (indices, classes, masks) are compared where the model has no other, as numbers.
// - An output that does not vary says nothing, and is left out; where none varies (a single number of a single sample),
//   the mean stays in: the error is over sum y^2.
// - Elements at which the original is not finite are left out; one that is finite there and not in the other model is an
//   infinite error (-infinity dB).
// - An output whose shape follows its values (as behind NonMaxSuppression) and differs from the original's is lost: its
//   error is as if it were the mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "compressor/graph/evaluator.h"

namespace quench::measure {

class Fidelity {
 public:
  // The outputs of one batch, in the same order. `samples` of `rows`: the first only, of a batch that was filled up;
  // outputs whose first dimension is not `rows` count as a whole. Throws quench::Error where the two do not have the
  // same outputs of the same types.
  void add(std::span<const graph::HostTensor> reference, std::span<const graph::HostTensor> outputs);
  void add(std::span<const graph::HostTensor> reference, std::span<const graph::HostTensor> outputs, uint64_t samples,
           uint64_t rows);

  // Values of output `index`, for those who do not have HostTensors.
  void add(size_t index, bool is_float, std::span<const double> reference, std::span<const double> output);

  // The mean of the outputs' errors: 0 if nothing differs, infinity if something is not finite; nullopt: there is
  // nothing to compare.
  std::optional<double> error() const;
  // Infinite if nothing differs.
  std::optional<double> snr_db() const;

  // What was added so far as plain sums: those of several processes, added up element by element, are those of all
  // samples. `outputs`: how many the model has, for a process that has added nothing.
  std::vector<double> sums(size_t outputs) const;
  static Fidelity from_sums(std::span<const double> sums);
  size_t outputs() const { return outputs_.size(); }

 private:
  // Sums over an output's elements. All are doubles, so that they can be added across processes.
  struct Output {
    double elements = 0, sum = 0, squares = 0;             // of the original's finite values
    double error = 0;                                      // sum of (y' - y)^2
    double broken = 0;                                     // elements that are finite in the original only
    double lost_elements = 0, lost = 0, lost_squares = 0;  // of the original, where the other has another shape
    double is_float = 0;                                   // above 0: it is

    template <typename T>
    void add(std::span<const T> reference, std::span<const T> output);
    double mean() const;
    double power(bool about_mean) const;  // 0 if it is no more than rounding
    double error_power(bool about_mean) const;
  };
  static constexpr size_t kSums = sizeof(Output) / sizeof(double);

  Output& output(size_t index, bool is_float);

  std::vector<Output> outputs_;
};

// The values of the first `samples` of `rows` as numbers; none of types that are not compared.
std::vector<double> numbers_of(const graph::HostTensor& tensor, uint64_t samples, uint64_t rows);

}  // namespace quench::measure
