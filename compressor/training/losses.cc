#include "compressor/training/losses.h"

#include <torch/torch.h>

namespace quench::training {

using torch::Tensor;

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

Tensor output_matching(const Tensors& outputs, const Tensors& teacher, int64_t own_samples, int64_t samples) {
  Tensor total;
  int64_t count = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].is_floating_point() || !teacher[i].defined()) continue;
    const Tensor target = teacher[i].to(torch::kFloat32);
    const Tensor variance = (target - target.mean()).square().mean().clamp_min(1e-20);
    const Tensor error = (outputs[i].to(torch::kFloat32) - target).square().mean() / variance;
    total = total.defined() ? total + error : error;
    ++count;
  }
  return total * (static_cast<double>(own_samples) / static_cast<double>(samples * std::max<int64_t>(count, 1)));
}

}  // namespace quench::training
