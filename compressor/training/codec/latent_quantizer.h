// The bottleneck of an image codec in training: latent values become centers, and what their indices cost in bits.
//
// Each value z of a latent channel is assigned softly to the centers c, phi = softmax(-sigma (z - c)^2), or to the
// nearest one with the gradients of the soft assignment. What index j costs is -log2 p_j, with p the frequencies of the
// indices in the course of the training, by quality, channel and context: how far the neighbours that are coded before
// are from the center in the middle, in the same channel (left, above and the corners above) and in the channels before
// at the same place. The gradient of the bits is that of the soft assignment; that a value is its neighbours' context,
// too, has none.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace quench::training {

class LatentQuantizer {
 public:
  LatentQuantizer(int64_t channels, int64_t centers, int64_t qualities, const torch::Device& device);

  struct Result {
    torch::Tensor values;   // as the latents
    torch::Tensor indices;  // int64, of the nearest centers
    torch::Tensor bits;     // [N]: of each picture, can be differentiated
  };
  // `latents`: float32 [N, channels, rows, columns]; `qualities`: [N, 1], 1 to the last. `is_hard`: nearest centers
  // forward.
  Result quantize(const torch::Tensor& latents, const torch::Tensor& qualities, double sigma, bool is_hard) const;

  // How often each index was taken, to be summed over all processes and given to learn().
  torch::Tensor count(const torch::Tensor& indices, const torch::Tensor& qualities) const;
  void learn(const torch::Tensor& counts);

  // A leaf of autograd, [L], to be kept in order by sort().
  torch::Tensor& centers() { return centers_; }
  const torch::Tensor& centers() const { return centers_; }
  void sort();
  // The frequencies.
  torch::Tensor& frequencies() { return frequencies_; }

 private:
  torch::Tensor contexts(const torch::Tensor& indices) const;
  torch::Tensor rows_of(const torch::Tensor& indices, const torch::Tensor& qualities) const;
  torch::Tensor costs() const;

  int64_t channels_, qualities_;
  torch::Tensor centers_;
  torch::Tensor frequencies_;  // float32 [qualities, channels, contexts, L]
};

}  // namespace quench::training
