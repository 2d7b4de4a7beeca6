#include "compressor/measure/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compressor/measure/fidelity.h"
#include "compressor/measure/reference_outputs.h"
#include "compressor/measure/scores.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;

constexpr uint64_t kSeededSamples = 64;

// Accuracy of one model, whose scores are found in its first outputs.
class AccuracyMeter {
 public:
  // `rows`: of the inputs, the first of which have the labels. Outputs that labels say nothing of are left out.
  // `model`: the one that has the outputs, or such ones.
  void add(const Runner& model, const std::vector<HostTensor>& outputs, std::span<const int64_t> labels,
           uint64_t rows) {
    const std::optional<Scores> scores = find_scores(model.graph(), outputs);
    if (labels.empty() || !scores || !is_one_per_sample(*scores, outputs[scores->output].dims)) return;
    if (outputs[scores->output].dims[0] != static_cast<int64_t>(rows)) return;
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
void check_numbers(const std::string& model, const std::vector<HostTensor>& outputs) {
  for (const HostTensor& output : outputs) {
    if (output.dtype != onnx::TensorProto::FLOAT) continue;
    const std::span<const float> values = output.floats();
    const auto count = std::ranges::count_if(values, [](float value) { return !std::isfinite(value); });
    if (count == 0) continue;
    throw NotFinite(
        fmt::format("{}: {} of {} values of output '{}' are NaN or infinite, so that nothing can be said of it", model,
                    count, values.size(), printable(output.name)));
  }
}

// Shapes may follow the values where the model leaves them open.
bool may_have_shape(const onnx::ValueInfoProto& output, std::span<const int64_t> dims) {
  const onnx::TypeProto::Tensor& type = output.type().tensor_type();
  if (!type.has_shape()) return true;
  bool fits = type.shape().dim_size() == static_cast<int>(dims.size());
  for (int d = 0; fits && d < type.shape().dim_size(); ++d) {
    const auto& dim = type.shape().dim(d);
    fits = !dim.has_dim_value() || dim.dim_value() <= 0 || dim.dim_value() == dims[static_cast<size_t>(d)];
  }
  return fits;
}

void check_same_outputs(const onnx::GraphProto& graph, const std::vector<HostTensor>& outputs,
                        const std::vector<HostTensor>& reference) {
  if (outputs.size() != reference.size()) throw Error("the two models have different outputs, and cannot be compared");
  for (size_t i = 0; i < outputs.size(); ++i) {
    const bool is_same =
        outputs[i].dims == reference[i].dims || (outputs[i].dims.size() == reference[i].dims.size() &&
                                                 may_have_shape(graph.output(static_cast<int>(i)), reference[i].dims));
    if (is_same && outputs[i].dtype == reference[i].dtype) continue;
    throw Error::make("output '{}' has another shape or type than '{}' of the model to compare with", outputs[i].name,
                      reference[i].name);
  }
}

// One class for each sample: what labels say, and what may change.
class ClassMeter {
 public:
  void add(const HostTensor& reference, const HostTensor& output, const Scores& scores,
           std::span<const uint64_t> indices, uint64_t rows) {
    const std::vector<int64_t> before = classes_of(scores, reference), after = classes_of(scores, output);
    if (before.size() != rows || after.size() != rows) return;
    for (size_t i = 0; i < indices.size(); ++i) {
      if (before[i] != after[i]) changed_.push_back({indices[i], before[i], after[i], {}});
    }
    samples_ += static_cast<double>(indices.size());
  }

  void put_into(Evaluation& evaluation) {
    if (samples_ == 0) return;
    std::ranges::sort(changed_, {}, &ChangedSample::index);
    evaluation.agreement_interval = wilson_interval(samples_ - static_cast<double>(changed_.size()), samples_);
    evaluation.changed = std::move(changed_);
  }

 private:
  double samples_ = 0;
  std::vector<ChangedSample> changed_;
};

// A run of the inputs: the first samples of `rows` have these places in the data.
struct Run {
  std::span<const HostTensor> inputs;
  std::span<const int64_t> labels;
  std::span<const uint64_t> indices;
  uint64_t rows = 1;
};

class Comparison {
 public:
  Comparison(const std::filesystem::path& model, const std::filesystem::path& against, const EvaluationOptions& options)
      : model_(Runner::open(model, options.threads, options.max_memory)),
        against_(against.empty() ? nullptr : Runner::open(against, options.threads, options.max_memory)),
        reference_name_(against.string()),
        on_outputs_(options.on_outputs) {}

  const Runner& model() const { return *model_; }
  // Whose graph says what the reference's outputs are.
  const Runner& other() const { return against_ ? *against_ : *model_; }
  bool has_against() const { return against_ || computed_; }

  // In place of another model: what it has computed for the data, which have so many samples.
  void compare_with(const std::filesystem::path& folder, uint64_t samples) {
    std::vector<std::string> names;
    for (const onnx::ValueInfoProto& output : model_->graph().output()) names.push_back(output.name());
    computed_.emplace(folder, names, samples);
    reference_name_ = folder.string();
  }

  void add(const Run& run) {
    const std::vector<HostTensor> outputs = model_->run(run.inputs);
    check_numbers(model_->name(), outputs);
    accuracy_.add(*model_, outputs, run.labels, run.rows);
    if (!has_against()) return;
    const std::vector<HostTensor> reference =
        against_ ? against_->run(run.inputs) : computed_->at(run.indices, run.rows, outputs);
    check_numbers(reference_name_, reference);
    check_same_outputs(model_->graph(), outputs, reference);
    against_accuracy_.add(other(), reference, run.labels, run.rows);
    compare(reference, outputs, run);
    if (on_outputs_) on_outputs_(run.indices, run.rows, reference, outputs);
  }

  Evaluation result(uint64_t samples) {
    Evaluation evaluation;
    evaluation.samples = samples;
    evaluation.accuracy = accuracy_.result();
    if (!has_against()) return evaluation;
    evaluation.against = against_accuracy_.result();
    evaluation.snr_db = fidelity_.snr_db();
    for (const OutputMeter& meter : meters_) evaluation.outputs.push_back(meter.result());
    if (classified_) evaluation.agreement = evaluation.outputs[*classified_].agreement;
    classes_.put_into(evaluation);
    return evaluation;
  }

 private:
  void compare(const std::vector<HostTensor>& reference, const std::vector<HostTensor>& outputs, const Run& run) {
    const uint64_t samples = run.indices.size();
    const onnx::GraphProto& graph = other().graph();
    std::vector<std::optional<Scores>> scores = scores_of_each(graph, reference);
    // What labels are held against has classes, whatever it is called.
    const std::optional<Scores> main = find_scores(graph, reference);
    if (main && !run.labels.empty()) scores[main->output] = main;
    const bool is_classified = main && scores[main->output];
    if (is_classified) classified_ = main->output;
    fidelity_.add(reference, outputs, samples, run.rows);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (i == meters_.size()) meters_.emplace_back(outputs[i].name);
      meters_[i].add(scores[i], reference[i], outputs[i], samples, run.rows);
    }
    if (is_classified && is_one_per_sample(*main, reference[main->output].dims))
      classes_.add(reference[main->output], outputs[main->output], *main, run.indices, run.rows);
  }

  std::unique_ptr<Runner> model_, against_;
  std::optional<ReferenceOutputs> computed_;
  std::string reference_name_;
  decltype(EvaluationOptions::on_outputs) on_outputs_;
  AccuracyMeter accuracy_, against_accuracy_;
  Fidelity fidelity_;
  std::vector<OutputMeter> meters_;
  std::optional<size_t> classified_;  // the output that is what the model is for, or what labels belong to
  ClassMeter classes_;
};

Evaluation evaluate_on_data(Comparison& comparison, const EvaluationOptions& options) {
  const Runner& model = comparison.model();
  const Samples all(model.name(), model.model(), options.data, options.preprocessing, options.shapes);
  const Samples samples = all.part(options.part);
  if (!options.reference.empty()) comparison.compare_with(options.reference, all.size());
  if (!samples.has_labels() && !comparison.has_against()) {
    throw Error::make("{}: there are no labels in it; give a model to compare with (--against)",
                      fmt::join(options.data, ", "));
  }
  const uint64_t total = options.samples == 0 ? samples.size() : std::min(options.samples, samples.size());
  // What was computed elsewhere is of one sample each.
  const uint64_t batch_size = samples.batch_size(options.reference.empty() ? static_cast<uint64_t>(options.batch) : 1);
  for (uint64_t first = 0; first < total; first += batch_size) {
    if (options.progress) options.progress(static_cast<double>(first) / static_cast<double>(total));
    const Samples::Batch batch = samples.batch(first, std::min(batch_size, total - first));
    comparison.add({batch.inputs, batch.labels, batch.indices, batch.rows});
  }
  Evaluation evaluation = comparison.result(total);
  for (ChangedSample& sample : evaluation.changed) sample.file = all.file_of(sample.index);
  if (!evaluation.accuracy && !comparison.has_against())
    throw Error::make("{}: no output is one row of scores per sample, so that labels say nothing", model.name());
  return evaluation;
}

Evaluation evaluate_on_seeded_inputs(Comparison& comparison, const EvaluationOptions& options) {
  if (!comparison.has_against()) throw Error("give data with labels (--data), or a model to compare with (--against)");
  const uint64_t total = options.samples == 0 ? kSeededSamples : options.samples;
  const SeededInputs seeded = comparison.model().seeded_inputs(options.shapes, options.seed, &comparison.other());
  uint64_t done = 0;
  for (uint64_t index = 0; done < total; ++index) {
    if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(total));
    const auto wanted = static_cast<int64_t>(std::min(static_cast<uint64_t>(options.batch), total - done));
    const std::vector<HostTensor> inputs = seeded.draw(index, wanted);
    const bool is_batch = !inputs.empty() && !inputs[0].dims.empty() && inputs[0].dims[0] > 0;
    const uint64_t samples = is_batch ? static_cast<uint64_t>(inputs[0].dims[0]) : 1;
    std::vector<uint64_t> indices(samples);
    std::iota(indices.begin(), indices.end(), done);
    comparison.add({inputs, {}, indices, samples});
    done += samples;
  }
  Evaluation evaluation = comparison.result(done);
  evaluation.on_seeded_inputs = true;
  return evaluation;
}

}  // namespace

Evaluation evaluate(const std::filesystem::path& model, const std::filesystem::path& against,
                    const EvaluationOptions& options) {
  Comparison comparison(model, against, options);
  return options.data.empty() ? evaluate_on_seeded_inputs(comparison, options) : evaluate_on_data(comparison, options);
}

}  // namespace quench::measure
