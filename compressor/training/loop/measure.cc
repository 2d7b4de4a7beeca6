#include "compressor/training/loop/measure.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "compressor/measure/accuracy.h"
#include "compressor/measure/fidelity.h"
#include "compressor/measure/runner.h"
#include "compressor/measure/scores.h"

namespace quench::training {
namespace {

constexpr uint64_t kBatch = 250;

// What one rank has seen, or all.
struct Sums {
  measure::AccuracySum accuracy;
  measure::Fidelity fidelity;
  double samples = 0, unscored = 0;  // of those, without a score for each class
};

Sums sum_of_ranks(const Sums& own, Communicator& communicator) {
  const auto sum = [&](const std::vector<double>& values) {
    torch::Tensor tensor = torch::tensor(values, torch::kFloat64);
    communicator.all_reduce_sum({tensor});
    return std::vector<double>(tensor.data_ptr<double>(), tensor.data_ptr<double>() + tensor.numel());
  };
  const measure::AccuracySum::Sums& accuracy = own.accuracy.sums();
  const auto outputs = static_cast<double>(own.fidelity.outputs());
  const std::vector<double> all = sum(
      {accuracy.samples, accuracy.right, accuracy.loss, own.samples, own.unscored, outputs, outputs > 0 ? 1.0 : 0.0});
  Sums sums{measure::AccuracySum(measure::AccuracySum::Sums{all[0], all[1], all[2], 0}), {}, all[3], all[4]};
  // A rank without samples does not know how many outputs there are; the others agree.
  if (all[6] > 0) {
    const auto count = static_cast<size_t>(std::lround(all[5] / all[6]));
    sums.fidelity = measure::Fidelity::from_sums(sum(own.fidelity.sums(count)));
  }
  return sums;
}

void add_scores(const torch::Tensor& scores, const torch::Tensor& labels, Sums& sums) {
  const torch::Tensor rows = scores.to(torch::kCPU, torch::kFloat32).contiguous();
  sums.accuracy.add(std::span(rows.data_ptr<float>(), static_cast<size_t>(rows.numel())),
                    static_cast<size_t>(rows.size(1)),
                    std::span(labels.data_ptr<int64_t>(), static_cast<size_t>(labels.numel())));
}

void add_outputs(const Tensors& outputs, const Tensors& taught, Sums& sums) {
  const auto values = [](const torch::Tensor& tensor) { return tensor.to(torch::kCPU, torch::kFloat64).contiguous(); };
  const auto span = [](const torch::Tensor& tensor) {
    return std::span<const double>(tensor.data_ptr<double>(), static_cast<size_t>(tensor.numel()));
  };
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined() || !taught[i].defined()) continue;
    const torch::Tensor expected = values(taught[i]), actual = values(outputs[i]);
    sums.fidelity.add(i, outputs[i].is_floating_point(), span(expected), span(actual));
  }
}

// This rank's batches of a data set, an epoch of all samples: inputs and, where there are any, labels.
template <typename Visit>
void for_each_batch(const data::Dataset& dataset, int64_t declared_batch, Communicator* communicator,
                    const Visit& visit) {
  const uint64_t rank = communicator ? static_cast<uint64_t>(communicator->rank()) : 0;
  const uint64_t ranks = communicator ? static_cast<uint64_t>(communicator->size()) : 1;
  const uint64_t limit = dataset.size();
  const uint64_t batch = declared_batch > 0 ? static_cast<uint64_t>(declared_batch) : kBatch;
  const bool labelled = dataset.class_count() > 0;
  for (uint64_t start = 0; start < limit; start += ranks * batch) {
    if (communicator) communicator->barrier();  // or the fastest would wait too long at the end
    const uint64_t first = start + rank * batch;
    const uint64_t count = first < limit ? std::min(batch, limit - first) : 0;
    if (count == 0 || (count < batch && declared_batch > 0)) continue;  // the model takes whole batches only
    std::vector<uint64_t> indices(count);
    for (uint64_t i = 0; i < count; ++i) indices[i] = data::spread_index(first + i, dataset.size());
    std::vector<int64_t> dims = {static_cast<int64_t>(count)};
    dims.insert(dims.end(), dataset.sample_shape().begin(), dataset.sample_shape().end());
    torch::Tensor values = torch::empty(dims, torch::kFloat32);
    torch::Tensor labels = torch::empty({labelled ? dims[0] : 0}, torch::kInt64);
    dataset.fill(indices, {values.data_ptr<float>(), static_cast<size_t>(values.numel())},
                 {labels.data_ptr<int64_t>(), static_cast<size_t>(labels.numel())});
    visit(values, labels);
  }
}

}  // namespace

std::optional<torch::Tensor> scores_of(const Tensors& outputs, int64_t classes, bool has_teacher) {
  if (classes < 1 || outputs.size() != 1 || !outputs[0].defined() || !outputs[0].is_floating_point())
    return std::nullopt;
  const measure::OutputShape shape{onnx::TensorProto::FLOAT, outputs[0].sizes().vec()};
  if (!measure::find_scores(onnx::GraphProto(), std::span(&shape, 1))) return std::nullopt;
  const int64_t scores = outputs[0].size(1);
  if (scores != classes && (has_teacher || scores < classes)) return std::nullopt;
  return outputs[0].flatten(1);
}

int64_t input_batch(const OnnxModel& model) {
  const std::vector<measure::ValueSpec> inputs = measure::declared_inputs(model.proto.graph());
  return inputs.empty() || inputs.front().dims.empty() ? 0 : std::max<int64_t>(inputs.front().dims[0], 0);
}

TestResult measure(Teacher& model, int64_t declared_batch, const data::Dataset& dataset, Teacher* teacher,
                   Communicator* communicator) {
  const bool labelled = dataset.class_count() > 0;
  Sums sums;
  for_each_batch(dataset, declared_batch, communicator, [&](const torch::Tensor& values, const torch::Tensor& labels) {
    const auto count = static_cast<double>(values.size(0));
    const Tensors outputs = model.outputs(values);
    const std::optional<torch::Tensor> scored =
        labelled ? scores_of(outputs, dataset.class_count(), teacher != nullptr) : std::nullopt;
    if (scored) add_scores(*scored, labels, sums);
    if (teacher && !scored) add_outputs(outputs, teacher->outputs(values), sums);
    sums.samples += count;
    if (!scored) sums.unscored += count;
  });
  if (communicator) sums = sum_of_ranks(sums, *communicator);
  TestResult result;
  if (sums.samples == 0) return result;
  if (sums.unscored == 0) {
    const std::optional<measure::Accuracy> accuracy = sums.accuracy.result();
    result.accuracy = accuracy->top1;
    result.loss = accuracy->loss;
  } else {
    result.snr_db = sums.fidelity.snr_db();
  }
  return result;
}

double log_likelihood(Teacher& model, const data::Dataset& dataset, Communicator* communicator) {
  torch::Tensor sums = torch::zeros({2}, torch::kFloat64);
  for_each_batch(dataset, 0, communicator, [&](const torch::Tensor& values, const torch::Tensor& /*labels*/) {
    const torch::Tensor logs = model.outputs(values).at(0);
    sums[0] += logs.to(torch::kCPU, torch::kFloat64).sum();
    sums[1] += static_cast<double>(logs.numel());
  });
  if (communicator) communicator->all_reduce_sum({sums});
  return (sums[0] / sums[1]).item<double>();
}

}  // namespace quench::training
