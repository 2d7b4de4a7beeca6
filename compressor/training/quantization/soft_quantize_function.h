// compressor/quantizer's soft-to-hard quantization as one function of autograd.
#pragma once

#include <torch/types.h>

#include <vector>

namespace quench::training {

struct SoftQuantized {
  torch::Tensor values;   // n x d: soft, or hard with the soft ones' gradient
  torch::Tensor mass;     // L, float32: sum over the vectors of their soft assignment, differentiable
  torch::Tensor indices;  // n, int64: hard assignment
};

// z: n x d, centers: L x d (ascending for d = 1), penalties: L, taken as constant; all float32 on one device. Memory: a
// few times that of z, whatever L is. On the CPU this is quantizer::soft_quantize; elsewhere torch's own operators on
// pieces of z.
SoftQuantized soft_quantize(const torch::Tensor& z, const torch::Tensor& centers, const torch::Tensor& penalties,
                            double sigma, bool hard_values);

// The same in torch's operators wherever the tensors lie, for tests of what other devices do.
SoftQuantized soft_quantize_by_torch(const torch::Tensor& z, const torch::Tensor& centers,
                                     const torch::Tensor& penalties, double sigma, bool hard_values);

}  // namespace quench::training
