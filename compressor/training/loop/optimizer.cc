#include "compressor/training/loop/optimizer.h"

#include <torch/torch.h>

#include <cmath>
#include <cstring>
#include <sstream>

namespace quench::training {

using torch::Tensor;

namespace {

template <typename GroupOptions>
std::vector<torch::optim::OptimizerParamGroup> groups_of(const std::vector<Tensor>& decayed,
                                                         const std::vector<Tensor>& others, const GroupOptions& group,
                                                         double weight_decay) {
  GroupOptions with_decay = group;
  with_decay.weight_decay(weight_decay);
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(decayed, std::make_unique<GroupOptions>(with_decay));
  groups.emplace_back(others, std::make_unique<GroupOptions>(group));
  return groups;
}

}  // namespace

Optimizer::Optimizer(const std::vector<Tensor>& decayed, const std::vector<Tensor>& others,
                     const LoopOptions& options) {
  if (options.optimizer == OptimizerKind::kSgd) {
    const auto sgd =
        torch::optim::SGDOptions(options.learning_rate).momentum(options.momentum).nesterov(options.momentum > 0);
    optimizer_ = std::make_unique<torch::optim::SGD>(groups_of(decayed, others, sgd, options.weight_decay), sgd);
  } else {
    const auto adam = torch::optim::AdamOptions(options.learning_rate);
    optimizer_ = std::make_unique<torch::optim::Adam>(groups_of(decayed, others, adam, options.weight_decay), adam);
  }
}

Optimizer::~Optimizer() = default;

void Optimizer::zero_grad() { optimizer_->zero_grad(); }

void Optimizer::step(double learning_rate) {
  for (auto& group : optimizer_->param_groups()) group.options().set_lr(learning_rate);
  optimizer_->step();
}

Tensor Optimizer::state() const {
  torch::serialize::OutputArchive archive;
  optimizer_->save(archive);
  std::ostringstream stream;
  archive.save_to(stream);
  const std::string bytes = std::move(stream).str();
  Tensor tensor = torch::empty({static_cast<int64_t>(bytes.size())}, torch::kUInt8);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

void Optimizer::set_state(const Tensor& state, const torch::Device& device) {
  torch::serialize::InputArchive archive;
  archive.load_from(static_cast<const char*>(state.data_ptr()), static_cast<size_t>(state.numel()), device);
  optimizer_->load(archive);
}

double learning_rate(const LoopOptions& options, double share) {
  switch (options.schedule) {
    case RateSchedule::kCosine:
      return options.learning_rate * 0.5 * (1 + std::cos(M_PI * share));
    case RateSchedule::kStep:
      return options.learning_rate * (share < 0.5 ? 1 : share < 0.75 ? 0.1 : 0.01);
    case RateSchedule::kOneCycle:
      return options.learning_rate * (share < 0.25 ? 0.04 + 0.96 * share / 0.25 : (1 - share) / 0.75);
  }
  return options.learning_rate;
}

}  // namespace quench::training
