// What a model does to the errors of its weights, measured by running it: how much each weight's error moves the
// outputs, and which directions of it matter.
//
// The inputs are given (real data), or seeded (see measure/seeded_inputs.h). With seeded inputs, the statistics in the
// model's BatchNormalization nodes say what real activations look like: a *twin* of the model has them replaced by the
// statistics of the seeded inputs, so that every normalised activation has the mean and variance that it has on real
// data, whatever the inputs are. (The idea of using BatchNorm statistics in place of data: Nagel et al. 2019, Cai et
// al. 2020.)
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compressor/compress/moments.h"
#include "compressor/measure/seeded_inputs.h"

namespace quench::quantizer {

struct CalibrationOptions {
  uint64_t seed = 1;
  int threads = 1;
  measure::SeededShapes shapes;
  // Batch `index` of real inputs; empty: seeded ones. Returns no tensors when there are no more.
  std::function<std::vector<graph::HostTensor>(uint64_t index, int64_t batch)> data;
  std::function<void(double)> progress;
};

// A weight as it is used, with the moments of its activation.
struct CalibratedUse {
  WeightUse use;
  Moments moments;
};

class Calibration {
 public:
  // `original`: the model as loaded; `model`: the same, simplified, whose weights are to be quantized, and which must
  // outlive this object with its weights as they are. `simplify` is what turns the former into the latter.
  // `candidates`: indices of the weights whose sensitivity is wanted. Throws quench::Error when the runtime cannot run
  // the model.
  Calibration(const OnnxModel& original, const OnnxModel& model, const std::function<void(OnnxModel&)>& simplify,
              const std::vector<size_t>& candidates, const CalibrationOptions& options);

  // The relative squared error of the outputs (see output_error) per unit of variance of independent errors in the
  // weight's elements. 0 where the weight does not move the outputs.
  double sensitivity(size_t weight) const { return sensitivity_[weight]; }

  // Matrices with moments; nullptr for other weights.
  const CalibratedUse* use(size_t weight) const;

  // The relative squared error of the outputs when weights have the values that `values` gives (nullopt: the model's
  // own), as measure/fidelity.h defines it.
  double output_error(const std::function<std::optional<std::vector<float>>(size_t weight)>& values) const;

  // True if the only float output is a matrix of scores, batch x classes, so that what matters is their order.
  bool is_classifier() const;

 private:
  struct Batch {
    std::vector<graph::HostTensor> inputs;
    std::vector<graph::HostTensor> outputs;
  };

  void make_twin(const OnnxModel& original, const std::function<void(OnnxModel&)>& simplify);
  void gather_moments();
  void measure_sensitivities(const std::vector<size_t>& candidates);
  std::vector<graph::HostTensor> inputs(uint64_t index, int64_t batch) const;
  double operations() const;
  std::vector<float> perturbed(size_t weight, double deviation) const;
  double error_against_reference(const std::function<std::optional<std::vector<float>>(size_t)>& values,
                                 size_t batches) const;
  void report(double share) const;

  CalibrationOptions options_;
  const OnnxModel& model_;
  std::optional<OnnxModel> twin_;           // set if BatchNormalization was recalibrated
  std::vector<std::vector<float>> ratios_;  // per weight: twin's row over the model's row; empty: 1
  std::vector<double> sensitivity_;
  std::vector<CalibratedUse> uses_;
  std::vector<int> use_of_;  // weight -> index into uses_, -1
  std::vector<Batch> batches_;
};

}  // namespace quench::quantizer
