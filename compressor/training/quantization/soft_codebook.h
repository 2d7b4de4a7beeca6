// A codebook to which any tensor is quantized while a network is trained: softly (Agustsson et al. 2017), or with hard
// values and soft gradients (Mentzer et al. 2018), at a price for each bit (Chou et al. 1989). It knows of no names and
// no parameters, so that it serves activations as well as weights; weight_binding.h quantizes a model's weights by it.
//
//     SoftCodebook codebook({sample}, options);                  // learned from values like those to come
//     CenterUse use = codebook.first_use();                      // of one tensor, or of one place in a network
//     SoftCodebook::Pass pass = codebook.quantize(x / scale, use, hardness);
//     loss = task_loss(pass.values * scale) + beta * pass.bits;
//     use.lengths = code_lengths(use.counts, use.counts);        // for the next pass
//     loss.backward();
//     codebook.precondition_gradient(use.counts * scale * scale);
//     optimizer.step();                                          // of codebook.centers(), too
//     codebook.rearrange();
//
// Values are in units in which the centers lie, about the step of a quantizer. A tensor's vectors are `dimension` of its
// values each, in the order of its elements; the last one is filled up with zeros.
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

// How the next passes quantize; a loop's schedules move it.
struct Hardness {
  double sigma = 1;           // hardness of the soft assignment, above 0
  double price = 0;           // squared distance per bit, at least 0, in soft and hard assignment
  bool hard_values = false;   // hard values forward; gradients are soft in any case
  bool hold_lengths = false;  // code lengths stay what they are, whatever is assigned
};

// What a tensor makes of a codebook's L centers.
struct CenterUse {
  torch::Tensor counts;   // L, float64: hard assignments of the last pass
  torch::Tensor lengths;  // L, float32: bits of each center's code
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
  CenterUse first_use() const;

  struct Pass {
    torch::Tensor values;  // in the shape of what was quantized
    torch::Tensor bits;    // sum over the vectors of sum_j phi_j length_j, differentiable
  };
  // Counts the hard assignments in `use`.
  Pass quantize(const torch::Tensor& values, CenterUse& use, const Hardness& hardness) const;
  // The same without counting; values in the shape of the argument, an index for each of its vectors.
  SoftQuantized assign(const torch::Tensor& values, const CenterUse& use, const Hardness& hardness) const;

  // A center's gradient is a sum over all that lies at it: makes it the mean step instead, so that one learning rate
  // suits centers and what is quantized. `weights`: L, float64, the sum over each center's values of the square of the
  // scale by which they are multiplied.
  void precondition_gradient(const torch::Tensor& weights);
  // After a step of the optimizer: centers ascend (d = 1), and the one next to 0 is 0.
  void rearrange();

 private:
  torch::Tensor vectors_of(const torch::Tensor& values) const;

  SoftCodebookOptions options_;
  torch::Tensor centers_, first_lengths_;
};

// Bits for each of L centers, by how often a tensor and all that share the codebook use them; none is out of reach.
// `own` and `all`: L, float64.
torch::Tensor code_lengths(const torch::Tensor& own, const torch::Tensor& all);

}  // namespace quench::training
