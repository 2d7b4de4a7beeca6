#include "compressor/training/codec/latent_quantizer.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace quench::training {
namespace {

using torch::Tensor;

// Thresholds of the two parts of a context, in steps from the center in the middle: a weighted sum over the four
// neighbours in the channel (weights 2, 2, 1, 1), and the mean over the channels before.
const std::vector<float> kNear = {0.5F, 1.5F, 2.5F, 4.5F, 7.5F, 11.5F, 18.5F};
const std::vector<float> kBefore = {0.05F, 0.2F, 0.5F};
constexpr int64_t kContexts = 8 * 4;

// Centers that a value is assigned to softly. They are about 1 apart and sigma is 1 and more, so that the next one's
// share is below e^-9.
constexpr int64_t kWindow = 7;

// These and the thresholds are first guesses: no others were tried.
constexpr double kMemory = 0.995;     // of the frequencies, from step to step
constexpr double kChannelWeight = 8;  // indices that the channel's own frequencies count for in each context
constexpr double kEvenWeight = 0.5;   // indices that even frequencies count for in each channel

}  // namespace

LatentQuantizer::LatentQuantizer(int64_t channels, int64_t centers, int64_t qualities, const torch::Device& device)
    : channels_(channels),
      qualities_(qualities),
      centers_((torch::arange(centers, torch::kFloat32) - static_cast<double>(centers - 1) / 2)
                   .to(device)
                   .set_requires_grad(true)),
      frequencies_(torch::zeros({qualities, channels, kContexts, centers}, device)) {}

// [N, channels, rows, columns], 0 to kContexts - 1.
Tensor LatentQuantizer::contexts(const Tensor& indices) const {
  const Tensor sizes = (indices - (centers_.size(0) - 1) / 2).abs().to(torch::kFloat32);
  const Tensor padded = torch::constant_pad_nd(sizes, {1, 1, 1, 0});
  const int64_t rows = sizes.size(2), columns = sizes.size(3);
  const auto shifted = [&](int64_t top, int64_t left) { return padded.narrow(2, top, rows).narrow(3, left, columns); };
  const Tensor near = 2 * (shifted(1, 0) + shifted(0, 1)) + shifted(0, 0) + shifted(0, 2);
  const Tensor numbers = torch::arange(channels_, sizes.options()).clamp_min(1).view({1, channels_, 1, 1});
  const Tensor before = (sizes.cumsum(1) - sizes) / numbers;
  const auto level = [](const Tensor& values, const std::vector<float>& thresholds) {
    return torch::bucketize(values.contiguous(), torch::tensor(thresholds, values.options()));
  };
  return level(near, kNear) * static_cast<int64_t>(kBefore.size() + 1) + level(before, kBefore);
}

// Of the frequencies, seen as a table of all rows of L.
Tensor LatentQuantizer::rows_of(const Tensor& indices, const Tensor& qualities) const {
  const Tensor nearest = (qualities.round().to(torch::kInt64) - 1).clamp(0, qualities_ - 1).view({-1, 1, 1, 1});
  const Tensor channel = torch::arange(channels_, nearest.options()).view({1, channels_, 1, 1});
  return (nearest * channels_ + channel) * kContexts + contexts(indices);
}

// Bits of each index, [rows, L].
Tensor LatentQuantizer::costs() const {
  const int64_t count = centers_.size(0);
  Tensor of_channel = frequencies_.sum(2, true) + kEvenWeight / static_cast<double>(count);
  of_channel = of_channel / of_channel.sum(-1, true);
  const Tensor mixed = frequencies_ + kChannelWeight * of_channel;
  return -(mixed / mixed.sum(-1, true)).log2().view({-1, count});
}

LatentQuantizer::Result LatentQuantizer::quantize(const Tensor& latents, const Tensor& qualities, double sigma,
                                                  bool is_hard) const {
  const int64_t count = centers_.size(0), window = std::min(count, kWindow);
  const Tensor fixed = centers_.detach();
  const Tensor between = (fixed.slice(0, 1) + fixed.slice(0, 0, count - 1)) / 2;
  Result result;
  result.indices = torch::bucketize(latents.detach().contiguous(), between);
  // The other centers are so far away that they have no part.
  const Tensor first = (result.indices - window / 2).clamp(0, count - window);
  const Tensor near = first.unsqueeze(-1) + torch::arange(window, first.options());
  const Tensor centers = centers_.index({near});
  Tensor phi = torch::softmax((latents.unsqueeze(-1) - centers).square() * -sigma, -1);
  const Tensor soft = (phi * centers).sum(-1);
  result.values = soft;
  if (is_hard) {
    const Tensor hard = fixed.index({result.indices});
    result.values = soft + (hard - soft).detach();
    const Tensor one = torch::one_hot(result.indices - first, window).to(phi.scalar_type());
    phi = phi + (one - phi).detach();
  }
  const Tensor cells = rows_of(result.indices, qualities).unsqueeze(-1) * count + near;
  const Tensor cost = costs().flatten().index({cells});
  result.bits = (phi * cost).flatten(1).sum(1);
  return result;
}

Tensor LatentQuantizer::count(const Tensor& indices, const Tensor& qualities) const {
  torch::NoGradGuard no_grad;
  const Tensor cells = rows_of(indices, qualities) * centers_.size(0) + indices;
  return torch::bincount(cells.flatten(), {}, frequencies_.numel()).to(torch::kFloat32).view(frequencies_.sizes());
}

void LatentQuantizer::learn(const Tensor& counts) {
  torch::NoGradGuard no_grad;
  frequencies_.mul_(kMemory).add_(counts);
}

void LatentQuantizer::sort() {
  torch::NoGradGuard no_grad;
  centers_.copy_(std::get<0>(centers_.sort()));
}

}  // namespace quench::training
