// What bits cost in the training of an image codec, for each quality: fixed, or steered so that the pieces that are learned
// from take given bits per pixel.
#pragma once

#include <torch/types.h>

#include "compressor/training/codec/codec_options.h"

namespace quench::training {

class RateControl {
 public:
  // Steers to `bits_per_pixel`, from `betas` on; with 0 the betas stay.
  RateControl(const QualityRange& betas, const QualityRange& bits_per_pixel, int qualities,
              const torch::Device& device);

  // [N]: the distortion that a bit per pixel costs, for `qualities` of [N, 1], 1 to the last.
  torch::Tensor betas(const torch::Tensor& qualities) const;

  // By how much pieces of `rates`, [N] bits per pixel, take too many bits, at the coarsest and at the finest quality, as
  // shares of what they should take: [2], to be summed over all processes.
  torch::Tensor excess(const torch::Tensor& rates, const torch::Tensor& qualities) const;
  // `excess` of a batch of `batch` pieces; `share` of the training is done.
  void learn(const torch::Tensor& excess, int64_t batch, double share);

  // Logarithms of the betas, float32 [2].
  torch::Tensor& state() { return logarithms_; }

 private:
  torch::Tensor place_of(const torch::Tensor& qualities) const;

  bool is_steered_;
  double last_;                                   // quality, counted from 0
  torch::Tensor logarithms_, target_logarithms_;  // [2]: at the coarsest and at the finest quality
};

}  // namespace quench::training
