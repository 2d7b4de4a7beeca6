#include "compressor/measure/evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "formats/base/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;

constexpr uint64_t kSeededSamples = 64;

// Scores of the first output, if it is one row of scores per sample: [samples, classes], also with dimensions of 1
// behind.
std::optional<std::span<const float>> score_rows(const std::vector<HostTensor>& outputs, uint64_t samples,
                                                 uint64_t& classes) {
  if (outputs.empty() || !is_float_type(outputs[0].dtype)) return std::nullopt;
  const std::vector<int64_t>& dims = outputs[0].dims;
  if (dims.size() < 2 || dims[0] < static_cast<int64_t>(samples) || dims[1] < 2) return std::nullopt;
  for (size_t d = 2; d < dims.size(); ++d) {
    if (dims[d] != 1) return std::nullopt;
  }
  classes = static_cast<uint64_t>(dims[1]);
  return outputs[0].floats();
}

uint64_t best(std::span<const float> scores) {
  return static_cast<uint64_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

double cross_entropy(std::span<const float> logits, uint64_t label) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - highest);
  return std::log(sum) + highest - logits[label];
}

class AccuracyMeter {
 public:
  explicit AccuracyMeter(const std::string& model) : model_(model) {}

  void add(const std::vector<HostTensor>& outputs, std::span<const int64_t> labels) {
    uint64_t classes = 0;
    const auto scores = score_rows(outputs, labels.size(), classes);
    if (!scores)
      throw Error::make("{}: the first output is not one row of scores per sample, so that labels say nothing", model_);
    for (size_t i = 0; i < labels.size(); ++i) {
      const auto label = static_cast<uint64_t>(labels[i]);
      if (label >= classes) throw Error::make("{}: label {} is beyond the model's {} classes", model_, label, classes);
      const std::span<const float> row = scores->subspan(i * classes, classes);
      right_ += best(row) == label;
      loss_ += cross_entropy(row, label);
    }
    samples_ += labels.size();
  }

  std::optional<Accuracy> result() const {
    if (samples_ == 0) return std::nullopt;
    const auto count = static_cast<double>(samples_);
    return Accuracy{static_cast<double>(right_) / count, loss_ / count};
  }

 private:
  std::string model_;
  uint64_t samples_ = 0, right_ = 0;
  double loss_ = 0;
};

class FidelityMeter {
 public:
  // `padded` over `samples`: the rows of a batch that was filled up, of which only the first count.
  void add(const std::vector<HostTensor>& outputs, const std::vector<HostTensor>& reference, uint64_t samples,
           uint64_t padded) {
    if (outputs.size() != reference.size())
      throw Error("the two models have different outputs, and cannot be compared");
    for (size_t i = 0; i < outputs.size(); ++i) add_output(outputs[i], reference[i], samples, padded);
    uint64_t classes = 0, reference_classes = 0;
    const auto rows = score_rows(outputs, samples, classes),
               expected = score_rows(reference, samples, reference_classes);
    if (!rows || !expected || classes != reference_classes) return;
    for (uint64_t i = 0; i < samples; ++i) {
      agreed_ += best(rows->subspan(i * classes, classes)) == best(expected->subspan(i * classes, classes));
    }
    compared_ += samples;
  }

  std::optional<double> snr_db() const {
    if (!has_floats_) return std::nullopt;
    if (noise_ == 0) return std::numeric_limits<double>::infinity();
    return 10 * std::log10(signal_ / noise_);
  }

  std::optional<double> agreement() const {
    if (compared_ == 0) return std::nullopt;
    return static_cast<double>(agreed_) / static_cast<double>(compared_);
  }

 private:
  void add_output(const HostTensor& output, const HostTensor& reference, uint64_t samples, uint64_t padded) {
    if (output.dims != reference.dims || output.dtype != reference.dtype) {
      throw Error::make("output '{}' has another shape or type than '{}' of the model to compare with", output.name,
                        reference.name);
    }
    if (!is_float_type(output.dtype)) return;
    has_floats_ = true;
    std::span<const float> values = output.floats(), expected = reference.floats();
    const bool batched = !output.dims.empty() && output.dims[0] == static_cast<int64_t>(padded);
    const size_t count = batched ? values.size() / padded * samples : values.size();
    for (size_t i = 0; i < count; ++i) {
      const double error = static_cast<double>(values[i]) - expected[i];
      signal_ += static_cast<double>(expected[i]) * expected[i];
      noise_ += error * error;
    }
  }

  bool has_floats_ = false;
  double signal_ = 0, noise_ = 0;
  uint64_t agreed_ = 0, compared_ = 0;
};

class Comparison {
 public:
  Comparison(const std::filesystem::path& model, const std::filesystem::path& against, int threads)
      : model_(Runner::open(model, threads)),
        against_(against.empty() ? nullptr : Runner::open(against, threads)),
        accuracy_(model.string()),
        against_accuracy_(against.string()) {}

  const Runner& model() const { return *model_; }
  bool has_against() const { return against_ != nullptr; }

  void add(std::span<const HostTensor> inputs, std::span<const int64_t> labels, uint64_t samples, uint64_t padded) {
    const std::vector<HostTensor> outputs = model_->run(inputs);
    if (!labels.empty()) accuracy_.add(outputs, labels);
    if (!against_) return;
    const std::vector<HostTensor> reference = against_->run(inputs);
    if (!labels.empty()) against_accuracy_.add(reference, labels);
    fidelity_.add(outputs, reference, samples, padded);
  }

  Evaluation result(uint64_t samples) const {
    Evaluation evaluation{samples, accuracy_.result(), {}, {}, {}};
    if (!against_) return evaluation;
    evaluation.against = against_accuracy_.result();
    evaluation.snr_db = fidelity_.snr_db();
    evaluation.agreement = fidelity_.agreement();
    return evaluation;
  }

 private:
  std::unique_ptr<Runner> model_, against_;
  AccuracyMeter accuracy_, against_accuracy_;
  FidelityMeter fidelity_;
};

Evaluation evaluate_on_data(Comparison& comparison, const EvaluationOptions& options) {
  const BatchSource source(comparison.model().name(), comparison.model().inputs(), options.data, options.preprocessing);
  const uint64_t size = source.dataset().size();
  if (source.dataset().class_count() == 0 && !comparison.has_against()) {
    throw Error::make("{}: there are no labels in it; give a model to compare with (--against)", options.data);
  }
  const uint64_t total = options.samples == 0 ? size : std::min(options.samples, size);
  const uint64_t batch_size = source.batch_size(options.batch);
  for (uint64_t first = 0; first < total; first += batch_size) {
    if (options.progress) options.progress(static_cast<double>(first) / static_cast<double>(total));
    BatchSource::Batch batch = source.batch(first, std::min(batch_size, total - first));
    comparison.add({&batch.input, 1}, batch.labels, batch.samples, static_cast<uint64_t>(batch.input.dims[0]));
  }
  return comparison.result(total);
}

Evaluation evaluate_on_seeded_inputs(Comparison& comparison, const EvaluationOptions& options) {
  if (!comparison.has_against()) throw Error("give data with labels (--data), or a model to compare with (--against)");
  const uint64_t total = options.samples == 0 ? kSeededSamples : options.samples;
  uint64_t done = 0;
  for (uint64_t index = 0; done < total; ++index) {
    if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(total));
    const auto wanted = static_cast<int64_t>(std::min(static_cast<uint64_t>(options.batch), total - done));
    const std::vector<HostTensor> inputs =
        comparison.model().seeded_inputs(options.shapes, wanted, options.seed, index);
    const bool is_batch = !inputs.empty() && !inputs[0].dims.empty() && inputs[0].dims[0] > 0;
    const uint64_t samples = is_batch ? static_cast<uint64_t>(inputs[0].dims[0]) : 1;
    comparison.add(inputs, {}, samples, samples);
    done += samples;
  }
  return comparison.result(done);
}

}  // namespace

BatchSource::BatchSource(const std::string& model_name, const std::vector<ValueSpec>& inputs, const std::string& data,
                         const data::DatasetOptions& preprocessing) {
  if (inputs.size() != 1) {
    throw Error::make("{}: the model has {} inputs; data can be given to models with one", model_name, inputs.size());
  }
  input_ = inputs[0];
  data::DatasetOptions options = preprocessing;
  if (input_.has_dims) options.model_input = input_.dims;
  dataset_ = data::open_dataset(data, options);
}

uint64_t BatchSource::batch_size(int64_t fallback) const {
  const bool fixed = input_.has_dims && !input_.dims.empty() && input_.dims[0] > 0;
  return static_cast<uint64_t>(std::max<int64_t>(1, fixed ? input_.dims[0] : fallback));
}

BatchSource::Batch BatchSource::batch(uint64_t first, uint64_t count) const {
  Batch batch;
  if (first >= dataset_->size()) return batch;
  batch.samples = std::min(count, dataset_->size() - first);
  const uint64_t rows = batch_size(static_cast<int64_t>(batch.samples));
  batch.samples = std::min(batch.samples, rows);
  std::vector<uint64_t> indices;
  for (uint64_t i = 0; i < rows; ++i)
    indices.push_back(data::spread_index(first + std::min(i, batch.samples - 1), dataset_->size()));
  std::vector<int64_t> dims = {static_cast<int64_t>(rows)};
  dims.insert(dims.end(), dataset_->sample_shape().begin(), dataset_->sample_shape().end());
  batch.input = HostTensor::float32(input_.name, dims);
  if (dataset_->class_count() > 0) batch.labels.resize(rows);
  dataset_->fill(indices, batch.input.floats(), batch.labels);
  if (!batch.labels.empty()) batch.labels.resize(batch.samples);
  return batch;
}

Evaluation evaluate(const std::filesystem::path& model, const std::filesystem::path& against,
                    const EvaluationOptions& options) {
  Comparison comparison(model, against, options.threads);
  return options.data.empty() ? evaluate_on_seeded_inputs(comparison, options) : evaluate_on_data(comparison, options);
}

}  // namespace quench::measure
