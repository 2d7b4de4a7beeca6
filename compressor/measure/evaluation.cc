#include "compressor/measure/evaluation.h"

#include <algorithm>
#include <cmath>

#include "compressor/measure/fidelity.h"
#include "compressor/measure/scores.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;

constexpr uint64_t kSeededSamples = 64;

// Accuracy of one model, whose scores are found in its first outputs.
class AccuracyMeter {
 public:
  void add(const Runner& model, const std::vector<HostTensor>& outputs, std::span<const int64_t> labels) {
    const std::optional<Scores> scores = find_scores(model.graph(), outputs);
    const auto samples = static_cast<int64_t>(labels.size());
    if (!scores || !is_one_per_sample(*scores, outputs[scores->output].dims) ||
        outputs[scores->output].dims[0] < samples) {
      throw Error::make("{}: no output is one row of scores per sample, so that labels say nothing", model.name());
    }
    const HostTensor& output = outputs[scores->output];
    if (scores->is_class) {
      sum_.add(classes_of(*scores, output), labels);
      return;
    }
    const int64_t classes = output.dims[1];
    for (const int64_t label : labels) {
      if (label >= classes)
        throw Error::make("{}: label {} is beyond the model's {} classes", model.name(), label, classes);
    }
    sum_.add(output.floats(), static_cast<size_t>(classes), labels);
  }

  std::optional<Accuracy> result() const { return sum_.result(); }

 private:
  AccuracySum sum_;
};

// What no accuracy, agreement or distance can be said of.
void check_numbers(const Runner& model, const std::vector<HostTensor>& outputs) {
  for (const HostTensor& output : outputs) {
    if (output.dtype != onnx::TensorProto::FLOAT) continue;
    const std::span<const float> values = output.floats();
    const auto count = std::count_if(values.begin(), values.end(), [](float value) { return std::isnan(value); });
    if (count == 0) continue;
    throw Error::make("{}: {} of {} values of output '{}' are NaN, so that nothing can be said of it", model.name(),
                      count, values.size(), printable(output.name));
  }
}

void check_same_outputs(const std::vector<HostTensor>& outputs, const std::vector<HostTensor>& reference) {
  if (outputs.size() != reference.size()) throw Error("the two models have different outputs, and cannot be compared");
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].dims == reference[i].dims && outputs[i].dtype == reference[i].dtype) continue;
    throw Error::make("output '{}' has another shape or type than '{}' of the model to compare with", outputs[i].name,
                      reference[i].name);
  }
}

class Comparison {
 public:
  Comparison(const std::filesystem::path& model, const std::filesystem::path& against, const EvaluationOptions& options)
      : model_(Runner::open(model, options.threads, options.max_memory)),
        against_(against.empty() ? nullptr : Runner::open(against, options.threads, options.max_memory)) {}

  const Runner& model() const { return *model_; }
  bool has_against() const { return against_ != nullptr; }

  // `rows`: of the inputs, of which the first `samples` count.
  void add(std::span<const HostTensor> inputs, std::span<const int64_t> labels, uint64_t samples, uint64_t rows) {
    const std::vector<HostTensor> outputs = model_->run(inputs);
    check_numbers(*model_, outputs);
    if (!labels.empty()) accuracy_.add(*model_, outputs, labels);
    if (!against_) return;
    const std::vector<HostTensor> reference = against_->run(inputs);
    check_numbers(*against_, reference);
    if (!labels.empty()) against_accuracy_.add(*against_, reference, labels);
    check_same_outputs(outputs, reference);
    fidelity_.add(reference, outputs, samples, rows);
    if (const std::optional<Scores> scores = find_scores(against_->graph(), reference))
      agreement_.add(*scores, reference[scores->output], outputs[scores->output], samples, rows);
  }

  Evaluation result(uint64_t samples) const {
    Evaluation evaluation{samples, accuracy_.result(), {}, {}, {}};
    if (!against_) return evaluation;
    evaluation.against = against_accuracy_.result();
    evaluation.snr_db = fidelity_.snr_db();
    evaluation.agreement = agreement_.result();
    return evaluation;
  }

 private:
  std::unique_ptr<Runner> model_, against_;
  AccuracyMeter accuracy_, against_accuracy_;
  Fidelity fidelity_;
  AgreementSum agreement_;
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
  Evaluation evaluation = comparison.result(done);
  evaluation.on_seeded_inputs = true;
  return evaluation;
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
    indices.push_back(data::spread_index(first + i % batch.samples, dataset_->size()));
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
  Comparison comparison(model, against, options);
  return options.data.empty() ? evaluate_on_seeded_inputs(comparison, options) : evaluate_on_data(comparison, options);
}

}  // namespace quench::measure
