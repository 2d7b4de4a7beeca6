#include "compressor/training/loop/checkpointing.h"

#include <torch/torch.h>

#include <sstream>

#include "compressor/training/loop/clock.h"
#include "formats/error.h"

namespace quench::training {
namespace {

constexpr std::string_view kAnnealer = "annealer.";
constexpr const char* kEvaluations = "evaluations";

}  // namespace

Checkpointing::Checkpointing(Parts parts, RunKey key, const LoopOptions& options, Communicator& communicator)
    : parts_(parts),
      key_(std::move(key)),
      model_(options.checkpoint.empty() ? "" : parts.module.identity()),
      options_(options),
      communicator_(communicator),
      last_(monotonic_seconds()) {}

bool Checkpointing::is_due() const { return monotonic_seconds() - last_ >= 60 * options_.checkpoint_minutes; }

void Checkpointing::save(const TrainingProgress& progress) {
  last_ = monotonic_seconds();
  if (options_.checkpoint.empty() || communicator_.rank() != 0) return;
  Checkpoint checkpoint;
  for (const auto& [name, tensor] : parts_.module.parameters()) checkpoint.tensors["parameter." + name] = tensor;
  for (const auto& [name, tensor] : parts_.module.buffers()) checkpoint.tensors["buffer." + name] = tensor;
  if (parts_.annealer) {
    for (const auto& [name, tensor] : parts_.annealer->state()) {
      checkpoint.tensors[std::string(kAnnealer) + name] = tensor;
    }
  }
  checkpoint.tensors["optimizer"] = parts_.optimizer.state();
  checkpoint.tensors["progress"] =
      torch::tensor({static_cast<double>(progress.step), progress.loss_sum, progress.seconds}, torch::kFloat64);
  if (parts_.module.integrates_blocks()) {
    checkpoint.tensors[kEvaluations] =
        torch::tensor({progress.evaluations.forward, progress.evaluations.backward}, torch::kFloat64);
  }
  checkpoint.texts = key_.to_texts();
  checkpoint.texts["model"] = model_;
  for (const TrainingRecord& record : progress.records) checkpoint.texts["records"] += to_json_line(record) + '\n';
  checkpoint.save(options_.checkpoint);
  has_saved_ = true;
}

TrainingProgress Checkpointing::load() {
  const std::string file = options_.checkpoint.string();
  const Checkpoint checkpoint = Checkpoint::load(options_.checkpoint, &communicator_);
  if (const std::string difference = key_.difference(checkpoint.texts); !difference.empty()) {
    throw Error::make("{}: this checkpoint is of a run with {}; --resume needs the options that the run began with",
                      file, difference);
  }
  if (const auto model = checkpoint.texts.find("model"); model == checkpoint.texts.end() || model->second != model_) {
    throw Error::make("{}: this checkpoint is of another model", file);
  }
  try {
    return restore(checkpoint);
  } catch (const std::exception&) {
    throw Error::make("{}: the checkpoint is damaged, or of another version of Quench", file);
  }
}

TrainingProgress Checkpointing::restore(const Checkpoint& checkpoint) {
  for (auto& [name, tensor] : parts_.module.parameters()) checkpoint.restore("parameter." + name, tensor);
  for (auto& [name, tensor] : parts_.module.buffers()) checkpoint.restore("buffer." + name, tensor);
  NamedTensors state;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    if (name.starts_with(kAnnealer)) state[name.substr(kAnnealer.size())] = tensor;
  }
  if (parts_.annealer) parts_.annealer->set_state(state);
  parts_.optimizer.set_state(checkpoint.tensors.at("optimizer"), parts_.module.device());
  const auto numbers = checkpoint.tensor("progress", {3}, torch::kFloat64).accessor<double, 1>();
  TrainingProgress progress{static_cast<int64_t>(numbers[0]), numbers[1], {}, numbers[2], {}};
  if (parts_.module.integrates_blocks()) {
    const auto evaluations = checkpoint.tensor(kEvaluations, {2}, torch::kFloat64).accessor<double, 1>();
    progress.evaluations = {evaluations[0], evaluations[1]};
  }
  if (const auto records = checkpoint.texts.find("records"); records != checkpoint.texts.end()) {
    std::istringstream lines(records->second);
    for (std::string line; std::getline(lines, line);) progress.records.push_back(training_record(line));
  }
  has_saved_ = true;
  return progress;
}

}  // namespace quench::training
