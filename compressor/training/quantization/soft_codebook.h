// A codebook to which any tensor is quantized while a network is trained: softly (Agustsson et al. 2017), or with hard
// values and soft gradients (Mentzer et al. 2018), at a price for each bit (Chou et al. 1989). It knows of no names and
// no parameters, so that it serves activations as well as weights; weight_binding.h quantizes a model's weights by it.
//
//     SoftCodebook codebook({sample}, options);                  // learned from values like those to come
//     CenterUse use = codebook.first_use();                      // of one tensor, or of one place in a network
//     SoftQuantized pass = codebook.quantize(x / scale, use, hardness);
//     loss = task_loss(pass.values * scale) + beta * pass.bits;
//     use.lengths = code_lengths(use.counts);                    // for the next pass
//     loss.backward();
//     codebook.precondition_gradient(use.counts * scale * scale);
//     optimizer.step();                                          // of codebook.centers(), too
//     codebook.rearrange();
//
// Values are in units in which the centers lie, about the step of a quantizer. A tensor's vectors are `dimension` of its
// values each, in the order of its elements; the last one is filled up with zeros. Many tensors are quantized in one
// call, as vectors one after the other.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "compressor/training/quantization/soft_quantize_function.h"

namespace quench::training {

struct SoftCodebookOptions {
  int dimension = 1;      // of the vectors: 1, 2, 4 or 8
  uint32_t centers = 75;  // at most
  uint64_t seed = 1;
};

// What tensors that are quantized together, one after the other, make of a codebook's L centers, each in a row.
struct CenterUse {
  torch::Tensor counts;   // tensors x L, float64: hard assignments of the last pass
  torch::Tensor lengths;  // tensors x L, float32: bits of each center's code
};

class SoftCodebook {
 public:
  // `samples`: float32, of any shapes, on one device, where the centers come to lie.
  SoftCodebook(const std::vector<torch::Tensor>& samples, const SoftCodebookOptions& options);

  int dimension() const { return options_.dimension; }
  int64_t size() const { return centers_.size(0); }
  // L x d, a leaf of autograd, to be given to the optimizer.
  const torch::Tensor& centers() const { return centers_; }
  // As many as there are; throws quench::Error where they are not L x d float32.
  void set_centers(const torch::Tensor& centers);

  // No counts yet, and the code lengths with which the centers were learned.
  CenterUse first_use(int64_t tensors = 1) const;

  // n x d, of a tensor's values in units of its scale.
  torch::Tensor vectors_of(const torch::Tensor& values) const;
  SoftQuantized quantize(const torch::Tensor& vectors, const Parts& parts, const CenterUse& use,
                         const Hardness& hardness) const {
    return soft_quantize(vectors, parts, centers_, use.lengths, hardness);
  }
  // Of one tensor: values in its shape. Counts the hard assignments in `use`.
  SoftQuantized quantize(const torch::Tensor& values, CenterUse& use, const Hardness& hardness) const;

  // A center's gradient is a sum over all that lies at it: makes it the mean step instead, so that one learning rate
  // suits centers and what is quantized. `weights`: L, float64, the sum over each center's values of the square of the
  // scale by which they are multiplied.
  void precondition_gradient(const torch::Tensor& weights);
  // After a step of the optimizer: centers ascend (d = 1), and the one next to 0 is 0.
  void rearrange();

 private:
  SoftCodebookOptions options_;
  torch::Tensor centers_, first_lengths_;
};

// Bits for each of L centers, by how often a tensor and all that share the codebook use them; none is out of reach.
// `counts`: tensors x L, float64, as is the result.
torch::Tensor code_lengths(const torch::Tensor& counts);

}  // namespace quench::training
