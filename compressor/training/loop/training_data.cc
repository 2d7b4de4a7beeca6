#include "compressor/training/loop/training_data.h"

#include <algorithm>
#include <cmath>

#include "compressor/measure/runner.h"
#include "compressor/training/loop/measure.h"
#include "formats/error.h"

namespace quench::training {
namespace {

constexpr std::string_view kSynthetic = "synthetic:", kTrainingSplit = ",split=train";
constexpr std::string_view kSplitSets[] = {"cifar10", "mnist"};  // NAME:DIR and NAME-train:DIR

// Empty where the spec is of none of them.
std::string_view split_set_of(std::string_view spec) {
  for (const std::string_view name : kSplitSets) {
    if (spec.starts_with(name) && spec.substr(name.size()).starts_with(':')) return name;
  }
  return {};
}

// "cifar10:DIR" becomes "cifar10-train:DIR", "mnist:DIR" likewise, "synthetic:shapes" gets its training split.
std::string training_spec(const std::string& spec) {
  if (const std::string_view name = split_set_of(spec); !name.empty()) {
    return fmt::format("{}-train{}", name, spec.substr(name.size()));
  }
  if (spec.starts_with(kSynthetic) && spec.find(",split=") == std::string::npos) {
    return spec + std::string(kTrainingSplit);
  }
  return spec;
}

// Empty: none.
std::string test_spec(const LoopOptions& options) {
  if (!options.test_data.empty()) return options.test_data;
  if (!split_set_of(options.data).empty()) return options.data;
  if (!options.data.starts_with(kSynthetic)) return "";
  std::string spec = options.data;
  if (const size_t at = spec.find(kTrainingSplit); at != std::string::npos) spec.erase(at, kTrainingSplit.size());
  return spec;
}

// For the model's only input, or the one before the noise.
data::DatasetOptions preprocessing_of(const OnnxModel& model, const LoopOptions& options) {
  const std::vector<measure::ValueSpec> inputs = measure::declared_inputs(model.proto.graph());
  if (inputs.size() != 1 && !(options.likelihood && inputs.size() == 2 && inputs[1].dims == inputs[0].dims)) {
    throw Error::make("{}: has {} inputs; training takes models with one", model.name, inputs.size());
  }
  data::DatasetOptions preprocessing = options.preprocessing;
  preprocessing.model_input = inputs.front().dims;
  return preprocessing;
}

void check_finite(const data::Dataset& dataset, const std::string& spec) {
  std::vector<float> sample(dataset.sample_elements());
  for (uint64_t i = 0; i < dataset.size(); ++i) {
    dataset.fill(std::span(&i, 1), sample, {});
    if (std::ranges::all_of(sample, [](float value) { return std::isfinite(value); })) continue;
    throw Error::make("{}: sample {} is not finite, and has no density: leave it out", spec, i);
  }
}

}  // namespace

TrainingData::TrainingData(const OnnxModel& model, const LoopOptions& options, bool has_teacher,
                           const Communicator& communicator)
    : training_(data::open_dataset(training_spec(options.data), preprocessing_of(model, options))) {
  if (options.validation > 0) {
    data::Split parts = data::split(std::move(training_), options.validation);
    training_ = std::move(parts.rest);
    judging_ = std::move(parts.taken);
  } else {
    judging_ = open_test_data(model, options);
  }
  if (options.likelihood) {
    check_finite(*training_, options.data);
    if (judging_) check_finite(*judging_, options.validation > 0 ? options.data : options.test_data);
  }
  const int64_t own_batch = options.batch / communicator.size();
  if (const int64_t batch = input_batch(model); has_teacher && batch > 0 && batch != own_batch) {
    throw Error::make("{}: takes batches of {}: give --batch {}", model.name, batch, batch * communicator.size());
  }
  BatchOptions batches;
  batches.batch = options.batch;
  batches.samples = options.samples;
  batches.augment = options.augment;
  batches.noise = measure::declared_inputs(model.proto.graph()).size() > 1;
  batches.seed = options.seed;
  batches.rank = communicator.rank();
  batches.ranks = communicator.size();
  batches_ = std::make_unique<Batches>(*training_, batches);
  if (!has_teacher && !options.likelihood && class_count() == 0) {
    throw Error::make("{}: there are no labels: a teacher is needed to learn from", options.data);
  }
}

std::unique_ptr<data::Dataset> open_test_data(const OnnxModel& model, const LoopOptions& options) {
  const std::string spec = test_spec(options);
  return spec.empty() ? nullptr : data::open_dataset(spec, preprocessing_of(model, options));
}

std::unique_ptr<data::Dataset> open_validation_data(const OnnxModel& model, const LoopOptions& options) {
  if (options.validation == 0) return nullptr;
  return data::split(data::open_dataset(training_spec(options.data), preprocessing_of(model, options)),
                     options.validation)
      .taken;
}

}  // namespace quench::training
