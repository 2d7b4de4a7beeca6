#include "compressor/training/loop/losses.h"

#include <torch/torch.h>

namespace quench::training {

using torch::Tensor;

namespace {

// Over the values of all ranks.
Tensor variance_of(const Tensor& values, Communicator* communicator) {
  torch::NoGradGuard no_grad;
  const auto mean_of = [&](const Tensor& own) {
    Tensor sums = torch::stack({own.sum(torch::kFloat64), torch::full({}, static_cast<double>(own.numel()),
                                                                      own.options().dtype(torch::kFloat64))});
    if (communicator) communicator->all_reduce_sum({sums});
    return sums[0] / sums[1];
  };
  const Tensor mean = mean_of(values).to(torch::kFloat32);
  return mean_of((values - mean).square()).to(torch::kFloat32).clamp_min(1e-20);
}

}  // namespace

Tensor cross_entropy(const Tensor& scores, const Tensor& labels, int64_t samples) {
  const Tensor logs = torch::log_softmax(scores.to(torch::kFloat32), 1);
  return torch::nll_loss(logs, labels, {}, at::Reduction::Sum) / static_cast<double>(samples);
}

Tensor distillation(const Tensor& scores, const Tensor& teacher, double temperature, int64_t samples) {
  const Tensor student = torch::log_softmax(scores.to(torch::kFloat32) / temperature, 1);
  const Tensor target = torch::log_softmax(teacher.to(torch::kFloat32) / temperature, 1);
  const Tensor divergence = (target.exp() * (target - student)).sum();
  return divergence * (temperature * temperature / static_cast<double>(samples));
}

Tensor output_matching(const Tensors& outputs, const Tensors& teacher, int64_t own_samples, int64_t samples,
                       Communicator* communicator) {
  Tensor total;
  int64_t count = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].is_floating_point() || !teacher[i].defined()) continue;
    const Tensor target = teacher[i].to(torch::kFloat32);
    const Tensor error = (outputs[i].to(torch::kFloat32) - target).square().mean() / variance_of(target, communicator);
    total = total.defined() ? total + error : error;
    ++count;
  }
  return total * (static_cast<double>(own_samples) / static_cast<double>(samples * std::max<int64_t>(count, 1)));
}

Tensor negative_log_likelihood(const Tensor& log_densities, int64_t samples) {
  return -log_densities.sum() / static_cast<double>(samples);
}

}  // namespace quench::training
