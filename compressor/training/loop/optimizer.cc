#include "compressor/training/loop/optimizer.h"

#include <torch/torch.h>

#include <cmath>
#include <cstring>
#include <sstream>

#include "formats/error.h"

namespace quench::training {

using torch::Tensor;

Optimizer::Optimizer(const std::vector<Tensor>& decayed, const std::vector<Tensor>& others, const LoopOptions& options)
    : groups_{{decayed, {}, options.weight_decay}, {others, {}, 0}}, momentum_(options.momentum) {
  if (options.optimizer == OptimizerKind::kSgd) {
    for (Group& group : groups_) {
      for (const Tensor& tensor : group.tensors) group.momenta.push_back(torch::zeros_like(tensor));
    }
    return;
  }
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (const Group& group : groups_) {
    auto adam = torch::optim::AdamOptions(options.learning_rate);
    adam.weight_decay(group.weight_decay);
    groups.emplace_back(group.tensors, std::make_unique<torch::optim::AdamOptions>(adam));
  }
  adam_ = std::make_unique<torch::optim::Adam>(groups, torch::optim::AdamOptions(options.learning_rate));
}

Optimizer::~Optimizer() = default;

void Optimizer::zero_grad() {
  for (Group& group : groups_) {
    for (Tensor& tensor : group.tensors) tensor.mutable_grad() = Tensor();
  }
}

void Optimizer::step(double learning_rate) {
  if (!adam_) {
    for (Group& group : groups_) descend(group, learning_rate);
    return;
  }
  for (auto& group : adam_->param_groups()) group.options().set_lr(learning_rate);
  adam_->step();
}

void Optimizer::descend(Group& group, double learning_rate) const {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> tensors, gradients, momenta;
  for (size_t i = 0; i < group.tensors.size(); ++i) {
    const Tensor& gradient = group.tensors[i].grad();
    if (!gradient.defined()) continue;
    tensors.push_back(group.tensors[i]);
    gradients.push_back(gradient);
    momenta.push_back(group.momenta[i]);
  }
  if (tensors.empty()) return;
  if (group.weight_decay != 0) at::_foreach_add_(gradients, tensors, group.weight_decay);
  if (momentum_ > 0) {
    at::_foreach_mul_(momenta, momentum_);
    at::_foreach_add_(momenta, gradients);
    at::_foreach_add_(gradients, momenta, momentum_);
  }
  at::_foreach_add_(tensors, gradients, -learning_rate);
}

Tensor Optimizer::state() const {
  if (!adam_) {
    std::vector<Tensor> momenta;
    for (const Group& group : groups_) {
      for (const Tensor& momentum : group.momenta) momenta.push_back(momentum.flatten());
    }
    return torch::cat(momenta);
  }
  torch::serialize::OutputArchive archive;
  adam_->save(archive);
  std::ostringstream stream;
  archive.save_to(stream);
  const std::string bytes = std::move(stream).str();
  Tensor tensor = torch::empty({static_cast<int64_t>(bytes.size())}, torch::kUInt8);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

void Optimizer::set_state(const Tensor& state, const torch::Device& device) {
  if (!adam_) {
    int64_t first = 0;
    for (Group& group : groups_) {
      for (size_t i = 0; i < group.tensors.size(); ++i) {  // which may have come back in other sizes
        const Tensor& tensor = group.tensors[i];
        const int64_t last = first + tensor.numel();
        if (state.scalar_type() != torch::kFloat32 || last > state.numel()) break;
        group.momenta[i] = state.slice(0, first, last).view(tensor.sizes()).to(device).clone();
        first = last;
      }
    }
    if (first != state.numel()) throw Error("the optimizer's state is not of this model");
    return;
  }
  torch::serialize::InputArchive archive;
  archive.load_from(static_cast<const char*>(state.data_ptr()), static_cast<size_t>(state.numel()), device);
  adam_->load(archive);
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
