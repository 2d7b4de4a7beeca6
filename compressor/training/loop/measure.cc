#include "compressor/training/loop/measure.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compressor/measure/runner.h"

namespace quench::training {
namespace {

constexpr uint64_t kBatch = 250;

struct Sums {
  double correct = 0, loss = 0, signal = 0, noise = 0;
  double samples = 0, unscored = 0;  // of those, without a score for each class
};

Sums sum_of_ranks(const Sums& own, Communicator& communicator) {
  torch::Tensor sums =
      torch::tensor({own.correct, own.loss, own.signal, own.noise, own.samples, own.unscored}, torch::kFloat64);
  communicator.all_reduce_sum({sums});
  const auto value = sums.accessor<double, 1>();
  return {value[0], value[1], value[2], value[3], value[4], value[5]};
}

void add_scores(const torch::Tensor& scores, const torch::Tensor& labels, Sums& sums) {
  sums.correct += scores.argmax(1).eq(labels).sum().item<double>();
  sums.loss -= torch::log_softmax(scores, 1).gather(1, labels.unsqueeze(1)).sum().item<double>();
}

void add_outputs(const Tensors& outputs, const Tensors& taught, Sums& sums) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined() || !taught[i].defined()) continue;
    const torch::Tensor expected = taught[i].to(torch::kCPU, torch::kFloat64);
    sums.signal += expected.square().sum().item<double>();
    sums.noise += (outputs[i].to(torch::kFloat64) - expected).square().sum().item<double>();
  }
}

}  // namespace

const torch::Tensor* scores_of(const Tensors& outputs, int64_t classes, bool has_teacher) {
  if (classes < 1 || outputs.size() != 1 || !outputs[0].defined() || outputs[0].dim() != 2) return nullptr;
  const int64_t scores = outputs[0].size(1);
  return scores == classes || (!has_teacher && scores > classes) ? &outputs[0] : nullptr;
}

int64_t input_batch(const OnnxModel& model) {
  const std::vector<measure::ValueSpec> inputs = measure::declared_inputs(model.proto.graph());
  return inputs.empty() || inputs.front().dims.empty() ? 0 : std::max<int64_t>(inputs.front().dims[0], 0);
}

TestResult measure(Teacher& model, int64_t declared_batch, const data::Dataset& dataset, Teacher* teacher,
                   Communicator* communicator) {
  const uint64_t rank = communicator ? static_cast<uint64_t>(communicator->rank()) : 0;
  const uint64_t ranks = communicator ? static_cast<uint64_t>(communicator->size()) : 1;
  const uint64_t limit = dataset.size();
  const uint64_t batch = declared_batch > 0 ? static_cast<uint64_t>(declared_batch) : kBatch;
  const bool labelled = dataset.class_count() > 0;
  Sums sums;
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
    const Tensors outputs = model.outputs(values);
    const bool scored = labelled && scores_of(outputs, dataset.class_count(), teacher != nullptr);
    if (scored) add_scores(outputs[0], labels, sums);
    if (teacher && !scored) add_outputs(outputs, teacher->outputs(values), sums);
    sums.samples += static_cast<double>(count);
    if (!scored) sums.unscored += static_cast<double>(count);
  }
  if (communicator) sums = sum_of_ranks(sums, *communicator);
  TestResult result;
  if (sums.samples == 0) return result;
  if (sums.unscored == 0) {
    result.accuracy = sums.correct / sums.samples;
    result.loss = sums.loss / sums.samples;
  } else if (teacher && (sums.signal != 0 || sums.noise != 0)) {
    result.snr_db =
        sums.noise == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(sums.signal / sums.noise);
  }
  return result;
}

}  // namespace quench::training
