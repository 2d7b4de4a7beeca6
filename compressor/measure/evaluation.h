// How good a model is, and how near it is to another one: run on data by the runtime that ships.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compressor/data/dataset.h"
#include "compressor/measure/accuracy.h"
#include "compressor/measure/output_comparison.h"
#include "compressor/measure/runner.h"
#include "compressor/measure/samples.h"
#include "formats/error.h"

namespace quench::measure {

struct EvaluationOptions {
  std::vector<std::string> data;  // see samples.h; empty: inputs drawn from a seed, without labels
  data::DatasetOptions preprocessing;
  std::filesystem::path reference;  // a folder in place of a model to compare with (see reference_outputs.h)
  Samples::Part part = Samples::Part::kAll;
  uint64_t samples = 0;  // 0: all of them; without data, 64
  int64_t batch = 64;    // where the model leaves it open
  int threads = 1;
  uint64_t seed = 1;
  uint64_t max_memory = 0;  // bytes, as of Runner::open
  InputShapes shapes;       // for inputs whose declared shape is open
  std::function<void(double share)> progress;
  // Is given all outputs, with a model or a folder to compare with: of the samples `indices`, the first of `rows`.
  using Outputs = std::span<const graph::HostTensor>;
  std::function<void(std::span<const uint64_t> indices, uint64_t rows, Outputs reference, Outputs own)> on_outputs;
};

// A sample whose class is another than before.
struct ChangedSample {
  uint64_t index = 0;  // in the data, from 0
  int64_t before = 0, after = 0;
  std::string file = {};  // that has it alone; empty: none has
};

struct Evaluation {
  uint64_t samples = 0;
  std::optional<Accuracy> accuracy;  // needs labels, and an output with one row of scores per sample (see scores.h)
  // With a model to compare with:
  std::optional<Accuracy> against;
  std::optional<double> snr_db;     // of the outputs (see fidelity.h); infinite: they are equal
  std::optional<double> agreement;  // share of samples (of places, where there are several) that get the same class
  std::optional<Interval> agreement_interval;  // where there is one class for each sample
  std::vector<OutputComparison> outputs;
  std::optional<std::string> metric;   // what a command of the user's says of the outputs
  std::vector<ChangedSample> changed;  // in the data's order; of outputs with one class for each sample
  bool on_seeded_inputs = false;       // no data was given (see seeded_inputs.h)
};

// Outputs that are not finite, of which nothing can be said.
struct NotFinite : Error {
  using Error::Error;
};

// `against` empty: none, or options.reference. Throws quench::Error.
Evaluation evaluate(const std::filesystem::path& model, const std::filesystem::path& against,
                    const EvaluationOptions& options);

}  // namespace quench::measure
