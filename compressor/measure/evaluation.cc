#include "compressor/measure/evaluation.h"

#include <algorithm>
#include <cmath>

#include "compressor/measure/fidelity.h"
#include "compressor/measure/samples.h"
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
    accuracy_.add(*model_, outputs, labels, rows);
    if (!against_) return;
    const std::vector<HostTensor> reference = against_->run(inputs);
    check_numbers(*against_, reference);
    against_accuracy_.add(*against_, reference, labels, rows);
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
  const Runner& model = comparison.model();
  const Samples samples(model.name(), model.model(), options.data, options.preprocessing, options.shapes);
  if (!samples.has_labels() && !comparison.has_against()) {
    throw Error::make("{}: there are no labels in it; give a model to compare with (--against)",
                      fmt::join(options.data, ", "));
  }
  const uint64_t total = options.samples == 0 ? samples.size() : std::min(options.samples, samples.size());
  const uint64_t batch_size = samples.batch_size(static_cast<uint64_t>(options.batch));
  for (uint64_t first = 0; first < total; first += batch_size) {
    if (options.progress) options.progress(static_cast<double>(first) / static_cast<double>(total));
    const Samples::Batch batch = samples.batch(first, std::min(batch_size, total - first));
    comparison.add(batch.inputs, batch.labels, batch.samples, batch.rows);
  }
  const Evaluation evaluation = comparison.result(total);
  if (!evaluation.accuracy && !comparison.has_against())
    throw Error::make("{}: no output is one row of scores per sample, so that labels say nothing", model.name());
  return evaluation;
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

Evaluation evaluate(const std::filesystem::path& model, const std::filesystem::path& against,
                    const EvaluationOptions& options) {
  Comparison comparison(model, against, options);
  return options.data.empty() ? evaluate_on_seeded_inputs(comparison, options) : evaluate_on_data(comparison, options);
}

}  // namespace quench::measure
