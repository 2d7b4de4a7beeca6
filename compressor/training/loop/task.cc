#include "compressor/training/loop/task.h"

#include <torch/torch.h>

#include "compressor/training/loop/losses.h"
#include "compressor/training/loop/measure.h"
#include "formats/error.h"

namespace quench::training {

using torch::Tensor;

namespace {

constexpr double kDefaultLabelShare = 0.1;  // beside a teacher

}  // namespace

Task::Task(std::string model, int64_t classes, bool has_teacher, const LoopOptions& options, Communicator& communicator)
    : model_(std::move(model)),
      classes_(classes),
      has_teacher_(has_teacher),
      options_(options),
      communicator_(communicator) {}

void Task::check_labels(const Tensors& outputs) const {
  const bool labels_count = !has_teacher_ || options_.label_share != 0.0;
  if (labels_count && outputs.size() == 1 && outputs[0].dim() == 2 && outputs[0].size(1) > 1 &&
      outputs[0].size(1) < classes_) {
    throw Error::make("{}: there are labels up to {}, but the model's scores are for {} classes{}", options_.data,
                      classes_ - 1, outputs[0].size(1),
                      has_teacher_ ? "; --label-share 0 leaves labels out of account" : "");
  }
  if (!has_teacher_ && !scores_of(outputs, classes_, false)) {
    throw Error::make("{}: has labels of {} classes, but the model's output is not one score for each", options_.data,
                      classes_);
  }
}

void Task::check(const Tensors& outputs, const Tensors& taught) const {
  if (options_.likelihood) {
    if (!outputs.empty() && outputs[0].dim() == 1 && outputs[0].is_floating_point()) return;
    throw Error::make("{}: its first output is not a log density for each sample", model_);
  }
  check_labels(outputs);
  if (!has_teacher_) return;
  bool alike = taught.size() == outputs.size(), has_floats = false;
  for (size_t i = 0; i < outputs.size() && alike; ++i) {
    if (!outputs[i].is_floating_point()) continue;
    has_floats = true;
    alike = taught[i].defined() && taught[i].is_floating_point() && taught[i].sizes() == outputs[i].sizes();
  }
  if (!alike) throw Error("the teacher's outputs are not of the number, types and shapes of the model's");
  if (!has_floats) throw Error::make("{}: none of its outputs are floats to learn from", model_);
}

Tensor Task::imitation(const Tensors& outputs, const Tensors& taught, int64_t own) const {
  const std::optional<Tensor> scores = scores_of(outputs, classes_, true);
  return scores ? distillation(*scores, taught[0].flatten(1), options_.temperature, options_.batch)
                : output_matching(outputs, taught, own, options_.batch, &communicator_);
}

Tensor Task::loss(const Tensors& outputs, const Tensors& taught, const Batch& batch) const {
  if (options_.likelihood) return negative_log_likelihood(outputs[0], options_.batch);
  const std::optional<Tensor> scores = scores_of(outputs, classes_, has_teacher_);
  const auto of_labels = [&] { return cross_entropy(*scores, batch.labels.to(scores->device()), options_.batch); };
  if (!has_teacher_) return of_labels();
  const Tensor imitated = imitation(outputs, taught, batch.inputs.size(0));
  const double share = options_.label_share.value_or(kDefaultLabelShare);
  if (!scores || share == 0) return imitated;
  return share * of_labels() + (1 - share) * imitated;
}

}  // namespace quench::training
