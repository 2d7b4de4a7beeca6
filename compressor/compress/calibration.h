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
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compressor/compress/error_feedback.h"
#include "compressor/compress/resident_weights.h"
#include "compressor/measure/saturation.h"
#include "compressor/measure/seeded_inputs.h"

namespace quench::quantizer {

// What a calibration may take; larger models are measured in less detail.
struct CalibrationBudget {
  uint64_t memory = uint64_t{2} << 30;           // of a run's activations; more are seen in several runs
  uint64_t moment_memory = uint64_t{768} << 20;  // of the second moments of all activations; more are cut into blocks
  double sensitivity_operations = 4e12;          // multiply-accumulates; with more, neighbours are measured together
};

struct CalibrationOptions {
  CalibrationBudget budget;
  uint64_t seed = 1;
  int threads = 1;
  measure::SeededShapes shapes;
  bool vectors = false;  // codebooks of a dimension above 1 are to come
  // All of the model, if values do not decide its shapes: outputs of other shapes cannot be compared. Or the part in front
  // of those that do, and of what the runtime cannot run (graph/runnable_part.h). Or all of it in any case.
  enum Extent { kOfFixedShapes, kPart, kAll } extent = kAll;
  // Batch `index` of real inputs; empty: seeded ones. Returns no tensors when there are no more.
  std::function<std::vector<graph::HostTensor>(uint64_t index, int64_t batch)> data;
  std::function<void(double)> progress;
};

// A weight as it is used, with what the moments of its activation come to.
struct CalibratedUse {
  WeightUse use;
  std::optional<ErrorFeedback> feedback;   // none where the activation is not float32, or empty
  std::vector<Eigen::VectorXd> mean = {};  // E[x] for each group
};

// Of a model that is not calibrated to the extent that was asked for.
struct ShapedByValues : Error {
  using Error::Error;
  static ShapedByValues of(const std::string& model) {
    return ShapedByValues(model + ": values decide shapes in it, so that its outputs cannot be compared");
  }
};

// Values of a weight in place of its own; nullptr: its own.
using WeightValues = std::function<SharedValues(size_t weight)>;

class Calibration {
 public:
  // `original`: the model as loaded; `weights`: those of the same model, simplified, which are to be quantized; they must
  // outlive this object. `simplify` is what turns the former into the latter.
  // `candidates`: indices of the weights whose sensitivity is wanted. Throws ShapedByValues with kOfFixedShapes, where it
  // runs in stages (runtime/plan/plan.h), and quench::Error when the runtime cannot run
  // the model to that extent, or no part of it that has a tenth of the candidates' elements.
  Calibration(const OnnxModel& original, const ResidentWeights& weights,
              const std::function<void(OnnxModel&)>& simplify, const std::vector<size_t>& candidates,
              const CalibrationOptions& options);

  // The relative squared error of the outputs (see output_error) per unit of variance of independent errors in the
  // weight's elements. 0 where the weight does not move the outputs. Of one in a subgraph, that would say no more than that
  // these inputs do not take the branch: it counts as the other weights do on average, in proportion to their size. So
  // does one behind a cut.
  double sensitivity(size_t weight) const { return sensitivity_[weight]; }

  // With kPart, what the first node behind it is called.
  const std::string& cut_at() const { return cut_at_; }

  // Matrices whose activation was seen; nullptr for other weights.
  const CalibratedUse* use(size_t weight) const;

  // The relative squared error of the outputs when weights have the values that `values` gives (nullptr: the model's
  // own), as measure/fidelity.h defines it. An output that saturates says too little on seeded inputs, and on real ones
  // that leave it at its end: there, of what is in front of it (measure/saturation.h).
  double output_error(const WeightValues& values) const;

  // True if the model's only output has scores of classes (see measure/scores.h), so that what matters is their order.
  bool is_classifier() const;
  // True on real data, and on pictures where the statistics of BatchNormalization bring the activations of at least half
  // of the linear nodes to their real size. Otherwise what seeded inputs say is a guess, and needs a margin.
  bool is_anchored() const { return is_anchored_; }

  // False if all that is known was measured on seeded inputs.
  bool on_real_data() const { return static_cast<bool>(options_.data); }

  struct Batch {
    std::vector<graph::HostTensor> inputs;
    std::vector<graph::HostTensor> outputs;  // the graph's, then telling_.inner
  };
  // What output_error is measured on; the outputs are the model's (its twin's) own.
  const std::vector<Batch>& batches() const { return batches_; }

 private:
  struct Batches {
    uint64_t moments = 1, search = 1;
  };
  // Of uses_, whose activations are seen in one run.
  struct Range {
    size_t begin = 0, end = 0;
  };
  // What a weight's rows have in the twin over what they have in the model; nothing: 1.
  struct RowRatios {
    std::vector<float> rows;
    size_t stride = 1;  // of a row, in elements
    float at(size_t element) const { return rows.empty() ? 1.0f : rows[element / stride % rows.size()]; }
  };
  // Batch 0 of `samples`, or of a quarter, and so on, if so many cannot be run; sets batch_.
  Batch run_first(graph::Evaluator& evaluator, int64_t samples);
  void check_part(const std::vector<size_t>& candidates) const;
  void make_twin(const OnnxModel& original, const std::function<void(OnnxModel&)>& simplify);
  void scale_errors_of(const onnx::NodeProto& norm, const std::map<std::string, size_t>& weights);
  std::vector<Moments> blank_moments() const;
  void gather_moments();
  void gather_moments(Range range, std::vector<Moments>& moments);
  std::vector<std::string> watched(Range range) const;
  void for_each_activation(Range range, const graph::Evaluator& evaluator, const Batch& batch,
                           const std::function<void(size_t use, const graph::HostTensor&)>& visit) const;
  void measure_cost(Range range, const graph::Evaluator& evaluator, const Batch& batch,
                    const std::vector<Moments>& moments);
  Batches affordable_batches() const;
  SharedValues run_values(size_t weight) const;
  graph::EvaluatorOptions evaluator_options() const;
  void measure_sensitivities(const std::vector<size_t>& candidates);
  void measure_sensitivity(const std::vector<size_t>& group, const std::vector<double>& rms, size_t batches);
  std::vector<std::vector<size_t>> measured_together(std::vector<size_t> candidates, size_t batches) const;
  void guess_unseen(const std::vector<size_t>& candidates, const std::vector<double>& rms);
  std::vector<graph::HostTensor> inputs(uint64_t index, int64_t batch) const;
  SharedValues perturbed(size_t weight, double deviation) const;
  bool saturating_outputs_move() const;
  void measure_at_outputs();
  std::vector<graph::HostTensor> telling(std::vector<graph::HostTensor> values) const;
  double error_against_reference(const WeightValues& values, size_t batches) const;
  void report(double share) const;

  CalibrationOptions options_;
  std::optional<measure::SeededInputs> seeded_;  // none on real data
  std::string cut_at_;                           // with kPart, the first node that is not in it
  std::optional<OnnxModel> part_;                // with kPart
  const OnnxModel& model_;                       // that, or the whole
  const ResidentWeights& weights_;
  measure::TellingValues telling_;  // nothing: all outputs
  std::optional<OnnxModel> twin_;   // set if BatchNormalization was recalibrated
  bool is_anchored_ = false;
  std::optional<ResidentWeights> twin_weights_;
  std::vector<RowRatios> ratios_;  // per weight
  std::vector<double> sensitivity_;
  int64_t batch_ = 1;      // samples that are asked for at once
  double operations_ = 0;  // multiply-accumulates of a batch
  int64_t samples_ = 1;    // of a batch
  std::vector<CalibratedUse> uses_;
  std::vector<int> use_of_;  // weight -> index into uses_, -1
  std::vector<Batch> batches_;
};

}  // namespace quench::quantizer
