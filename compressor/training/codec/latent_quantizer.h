// The bottleneck of an image codec in training: latent values become centers, and what their indices cost in bits.
//
// Each value z of a latent channel is assigned softly to the centers c, phi = softmax(-sigma (z - c)^2), or to the
// nearest one with the gradients of the soft assignment. Each index is predicted from those to the left, above, above left
// and above right in its channel, with weights of the least squares. What index j costs is -log2 p, with p the frequency of its
// distance to the prediction in the course of the training, by quality, channel and context: how large these distances
// were for the neighbours in the channel, and in the channels before at the same place. The gradient of the bits is that
// of the soft assignment; that a value is its neighbours' prediction and context, too, has none.
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

  // What the indices tell, to be summed over all processes.
  struct Evidence {
    torch::Tensor counts;   // as the frequencies
    torch::Tensor moments;  // as the moments
  };
  Evidence evidence(const torch::Tensor& indices, const torch::Tensor& qualities) const;
  void learn(const Evidence& evidence);

  // A leaf of autograd, [L], to be kept in order by sort().
  torch::Tensor& centers() { return centers_; }
  const torch::Tensor& centers() const { return centers_; }
  void sort();
  // What was learned beside the centers.
  torch::Tensor& frequencies() { return frequencies_; }
  torch::Tensor& moments() { return moments_; }

 private:
  torch::Tensor predictions(const torch::Tensor& levels) const;
  torch::Tensor contexts(const torch::Tensor& distances) const;
  torch::Tensor rows_of(const torch::Tensor& distances, const torch::Tensor& qualities) const;
  torch::Tensor costs() const;

  int64_t channels_, qualities_;
  torch::Tensor centers_;
  torch::Tensor frequencies_;  // float32 [qualities, channels, contexts, distances]
  torch::Tensor
      moments_;  // float32 [channels, 4, 5]: means of the neighbours' products with each other and with the level
};

}  // namespace quench::training
