#include "compressor/training/distributed/synchronized_batch_norm.h"

#include <algorithm>

namespace quench::training {
namespace {

using torch::Tensor;

// Every dimension but that of the channels.
std::vector<int64_t> sample_dims(const Tensor& input) {
  std::vector<int64_t> dims{0};
  for (int64_t i = 2; i < input.dim(); ++i) dims.push_back(i);
  return dims;
}

// C values along input's dimension of the channels.
Tensor along_channels(const Tensor& values, const Tensor& input) {
  std::vector<int64_t> shape(static_cast<size_t>(input.dim()), 1);
  shape[1] = -1;
  return values.view(shape);
}

}  // namespace

Tensor synchronized_batch_norm(const Tensor& input, const Tensor& weight, const Tensor& bias,
                               const Tensor& running_mean, const Tensor& running_var, double momentum, double eps,
                               Communicator& communicator) {
  if (communicator.is_alone()) {
    return torch::batch_norm(input, weight, bias, running_mean, running_var, /*training=*/true, momentum, eps,
                             /*cudnn_enabled=*/true);
  }
  const Tensor x = input.to(torch::kFloat);
  const std::vector<int64_t> dims = sample_dims(x);
  const int64_t channels = x.size(1);
  // The few sums are added up in double: a count needs more than 24 bits.
  const int64_t own_count = x.numel() / std::max<int64_t>(channels, 1);
  const Tensor totals = communicator.all_reduce_sum_differentiable(
      torch::cat({x.sum(dims).to(torch::kDouble), torch::full({1}, own_count, x.options().dtype(torch::kDouble))}));
  const Tensor count = totals.narrow(0, channels, 1).detach();
  const Tensor mean = totals.narrow(0, 0, channels) / count;

  const Tensor centered = x - along_channels(mean.to(torch::kFloat), x);
  const Tensor squares = communicator.all_reduce_sum_differentiable((centered * centered).sum(dims).to(torch::kDouble));
  const Tensor var = squares / count;
  if (running_mean.defined()) {
    const torch::NoGradGuard no_grad;
    const Tensor unbiased = squares / (count - 1).clamp_min(1);
    running_mean.lerp_(mean.to(running_mean.scalar_type()), momentum);
    running_var.lerp_(unbiased.to(running_var.scalar_type()), momentum);
  }
  const Tensor scale = weight.to(torch::kFloat) * (var + eps).rsqrt().to(torch::kFloat);
  const Tensor normalized = centered * along_channels(scale, x) + along_channels(bias.to(torch::kFloat), x);
  return normalized.to(input.scalar_type());
}

}  // namespace quench::training
