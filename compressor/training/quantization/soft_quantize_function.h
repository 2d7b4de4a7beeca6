// compressor/quantizer's soft-to-hard quantization as one function of autograd, of many tensors at once.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace quench::training {

// How values are quantized; a loop's schedules move it.
struct Hardness {
  double sigma = 1;           // hardness of the soft assignment, above 0
  double price = 0;           // squared distance per bit, at least 0, in soft and hard assignment
  bool hard_values = false;   // hard values forward; gradients are soft in any case
  bool hold_lengths = false;  // code lengths stay what they are, whatever is assigned
  bool wants_bits = true;     // else the bits may be 0: hard values are found without exponentials
};

// What lies one after the other in a tensor of n vectors, each part with code lengths of its own.
struct Parts {
  Parts(std::vector<int64_t> sizes, const torch::Device& device);

  int64_t count() const { return static_cast<int64_t>(sizes.size()); }

  std::vector<int64_t> sizes;  // vectors of each
  torch::Tensor numbers;       // n, int64: whose each vector is; empty on the CPU, where nobody asks
};

struct SoftQuantized {
  torch::Tensor values;   // n x d: soft, or hard with the soft ones' gradient
  torch::Tensor bits;     // sum over the vectors of sum_j phi_j length_j, differentiable
  torch::Tensor counts;   // parts x L, float64: hard assignments
  torch::Tensor indices;  // n, int32: hard assignment
};

// z: n x d, centers: L x d (ascending for d = 1), lengths: parts x L, taken as constant; all float32 on one device.
// Memory: a few times that of z, whatever L is. On the CPU this is quantizer::soft_quantize; elsewhere torch's own
// operators on pieces of z, which nothing on the host waits for.
SoftQuantized soft_quantize(const torch::Tensor& z, const Parts& parts, const torch::Tensor& centers,
                            const torch::Tensor& lengths, const Hardness& hardness);

// The same in torch's operators wherever the tensors lie, for tests of what other devices do.
SoftQuantized soft_quantize_by_torch(const torch::Tensor& z, const Parts& parts, const torch::Tensor& centers,
                                     const torch::Tensor& lengths, const Hardness& hardness);

}  // namespace quench::training
