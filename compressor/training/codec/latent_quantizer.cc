#include "compressor/training/codec/latent_quantizer.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace quench::training {
namespace {

using torch::Tensor;

// Thresholds of the two parts of a context, in distances from the prediction: a weighted sum over the four neighbours in
// the channel (weights 2, 2, 1, 1), and the mean over the channels before.
const std::vector<float> kNear = {0.5F, 1.5F, 2.5F, 4.5F, 7.5F, 11.5F, 18.5F};
const std::vector<float> kBefore = {0.05F, 0.2F, 0.5F};
constexpr int64_t kContexts = 8 * 4;

// Centers that a value is assigned to softly. They are about 1 apart and sigma is 1 and more, so that the next one's
// share is below e^-6.
constexpr int64_t kWindow = 5;

// Distances to a prediction that frequencies tell apart, to either side; larger ones count as the largest.
constexpr int64_t kFarthest = 31;

// These and the thresholds are first guesses: no others were tried.
constexpr double kMemory = 0.995;     // of the frequencies, from step to step
constexpr double kChannelWeight = 8;  // indices that the channel's own frequencies count for in each context
constexpr double kEvenWeight = 0.5;   // indices that even frequencies count for in each channel
constexpr int64_t kNeighbours = 4;
constexpr double kRidge = 0.01;  // of the least squares, in squares of a level

// [4, N, channels, rows, columns]: left, above, above left and above right of each; 0 outside.
Tensor neighbours(const Tensor& values) {
  const Tensor padded = torch::constant_pad_nd(values, {1, 1, 1, 0});
  const int64_t rows = values.size(2), columns = values.size(3);
  const auto shifted = [&](int64_t top, int64_t left) { return padded.narrow(2, top, rows).narrow(3, left, columns); };
  return torch::stack({shifted(1, 0), shifted(0, 1), shifted(0, 0), shifted(0, 2)});
}

}  // namespace

LatentQuantizer::LatentQuantizer(int64_t channels, int64_t centers, int64_t qualities, const torch::Device& device)
    : channels_(channels),
      qualities_(qualities),
      centers_((torch::arange(centers, torch::kFloat32) - static_cast<double>(centers - 1) / 2)
                   .to(device)
                   .set_requires_grad(true)),
      frequencies_(torch::zeros({qualities, channels, kContexts, 2 * kFarthest + 1}, device)),
      moments_(torch::zeros({channels, kNeighbours, kNeighbours + 1}, device)) {}

// Whole levels, as [N, channels, rows, columns].
Tensor LatentQuantizer::predictions(const Tensor& levels) const {
  const Tensor ridge = kRidge * torch::eye(kNeighbours, moments_.options());
  const Tensor weights =
      torch::linalg_solve(moments_.narrow(2, 0, kNeighbours) + ridge, moments_.select(2, kNeighbours));
  return (neighbours(levels) * weights.t().view({kNeighbours, 1, channels_, 1, 1})).sum(0).round();
}

// [N, channels, rows, columns], 0 to kContexts - 1.
Tensor LatentQuantizer::contexts(const Tensor& distances) const {
  const Tensor sizes = distances.abs();
  const Tensor weights = torch::tensor({2, 2, 1, 1}, sizes.options()).view({kNeighbours, 1, 1, 1, 1});
  const Tensor near = (neighbours(sizes) * weights).sum(0);
  const Tensor numbers = torch::arange(channels_, sizes.options()).clamp_min(1).view({1, channels_, 1, 1});
  const Tensor before = (sizes.cumsum(1) - sizes) / numbers;
  const auto level = [](const Tensor& values, const std::vector<float>& thresholds) {
    return torch::bucketize(values.contiguous(), torch::tensor(thresholds, values.options()));
  };
  return level(near, kNear) * static_cast<int64_t>(kBefore.size() + 1) + level(before, kBefore);
}

// Of the first of the frequencies that a place has.
Tensor LatentQuantizer::rows_of(const Tensor& distances, const Tensor& qualities) const {
  const Tensor nearest = (qualities.round().to(torch::kInt64) - 1).clamp(0, qualities_ - 1).view({-1, 1, 1, 1});
  const Tensor channel = torch::arange(channels_, nearest.options()).view({1, channels_, 1, 1});
  return ((nearest * channels_ + channel) * kContexts + contexts(distances)) * (2 * kFarthest + 1);
}

// Bits of each distance, as the frequencies, in one row.
Tensor LatentQuantizer::costs() const {
  Tensor of_channel = frequencies_.sum(2, true) + kEvenWeight / (2 * kFarthest + 1);
  of_channel = of_channel / of_channel.sum(-1, true);
  const Tensor mixed = frequencies_ + kChannelWeight * of_channel;
  return -(mixed / mixed.sum(-1, true)).log2().flatten();
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
  const Tensor centers = centers_.index_select(0, near.flatten()).view(near.sizes());
  Tensor phi = torch::softmax((latents.unsqueeze(-1) - centers).square() * -sigma, -1);
  const Tensor soft = (phi * centers).sum(-1);
  result.values = soft;
  if (is_hard) {
    const Tensor hard = fixed.index({result.indices});
    result.values = soft + (hard - soft).detach();
    const Tensor one = torch::one_hot(result.indices - first, window).to(phi.scalar_type());
    phi = phi + (one - phi).detach();
  }
  const Tensor levels = (result.indices - (count - 1) / 2).to(torch::kFloat32), predicted = predictions(levels);
  const Tensor rows = rows_of(levels - predicted, qualities);
  const Tensor from = predicted.to(torch::kInt64) + (count - 1) / 2;
  const Tensor cells = rows.unsqueeze(-1) + (near - from.unsqueeze(-1)).clamp(-kFarthest, kFarthest) + kFarthest;
  const Tensor cost = costs().index_select(0, cells.flatten()).view(cells.sizes());
  result.bits = (phi * cost).flatten(1).sum(1);
  return result;
}

LatentQuantizer::Evidence LatentQuantizer::evidence(const Tensor& indices, const Tensor& qualities) const {
  torch::NoGradGuard no_grad;
  const int64_t count = centers_.size(0), middle = (count - 1) / 2;
  const Tensor levels = (indices - middle).to(torch::kFloat32), distances = levels - predictions(levels);
  const Tensor places = distances.to(torch::kInt64).clamp(-kFarthest, kFarthest) + kFarthest;
  const Tensor cells = rows_of(distances, qualities) + places;
  Evidence evidence;
  evidence.counts =
      torch::bincount(cells.flatten(), {}, frequencies_.numel()).to(torch::kFloat32).view_as(frequencies_);
  const auto of_channel = [this](const Tensor& values) { return values.transpose(0, 1).reshape({channels_, -1}); };
  const Tensor around = neighbours(levels).permute({2, 0, 1, 3, 4}).reshape({channels_, kNeighbours, -1});
  const Tensor all = torch::cat({around, of_channel(levels).unsqueeze(1)}, 1);
  evidence.moments = torch::bmm(around, all.transpose(1, 2)) / static_cast<double>(all.size(2));
  return evidence;
}

void LatentQuantizer::learn(const Evidence& evidence) {
  torch::NoGradGuard no_grad;
  frequencies_.mul_(kMemory).add_(evidence.counts);
  moments_.mul_(kMemory).add_(evidence.moments);
}

void LatentQuantizer::sort() {
  torch::NoGradGuard no_grad;
  centers_.copy_(std::get<0>(centers_.sort()));
}

}  // namespace quench::training
