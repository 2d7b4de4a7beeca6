#include "compressor/training/codec/rate_control.h"

#include <algorithm>
#include <cmath>

namespace quench::training {
namespace {

using torch::Tensor;

// Of a logarithm of beta, in a step whose pieces all are of that end's quality and take twice the bits that they should
// (of all qualities, half of it): at first, falling to 0 so that the last steps learn at betas that rest. Pieces of
// photographs differ by a factor of 2 in what they take, so that 20 steps of 4 pieces are needed for a mean that is good
// to a tenth. Of `codec train --bpp 0.15 0.8 --samples 480 --epochs 5` on 229 photographs, the last 120 steps' pieces took
// a tenth too little at the coarse end and a seventh too much at the fine one; with half the gain a twentieth and a
// quarter after 240 steps.
constexpr double kGain = 0.1;
constexpr double kLargestStep = 0.05;  // in the first steps the pieces take many times what they will

Tensor logarithms(const QualityRange& range, const torch::Device& device) {
  return torch::tensor({std::log(range.coarsest), std::log(range.finest)}, torch::kFloat32).to(device);
}

// Geometric between the ends; `place`: [N], 0 to 1.
Tensor between(const Tensor& logarithms, const Tensor& place) {
  return torch::exp(torch::lerp(logarithms[0], logarithms[1], place));
}

}  // namespace

RateControl::RateControl(const QualityRange& betas, const QualityRange& bits_per_pixel, int qualities,
                         const torch::Device& device)
    : is_steered_(bits_per_pixel.coarsest > 0),
      last_(std::max(qualities - 1, 1)),
      logarithms_(logarithms(betas, device)),
      target_logarithms_(logarithms(is_steered_ ? bits_per_pixel : QualityRange{1, 1}, device)) {}

Tensor RateControl::place_of(const Tensor& qualities) const { return (qualities.flatten() - 1) / last_; }

Tensor RateControl::betas(const Tensor& qualities) const { return between(logarithms_, place_of(qualities)); }

Tensor RateControl::excess(const Tensor& rates, const Tensor& qualities) const {
  torch::NoGradGuard no_grad;
  if (!is_steered_) return torch::zeros_like(logarithms_);
  const Tensor place = place_of(qualities);
  const Tensor excess = rates / between(target_logarithms_, place) - 1;
  return torch::stack({((1 - place) * excess).sum(), (place * excess).sum()});
}

void RateControl::learn(const Tensor& excess, int64_t batch, double share) {
  torch::NoGradGuard no_grad;
  logarithms_ += (kGain * (1 - share) / static_cast<double>(batch) * excess).clamp(-kLargestStep, kLargestStep);
}

}  // namespace quench::training
