// What training minimises. All are means over the samples of all ranks: the sum over this rank's samples over
// `samples`, the number that all have together.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "compressor/training/distributed/communicator.h"
#include "compressor/training/operators/operators.h"

namespace quench::training {

// scores: n x classes; labels: n, int64. Nats.
torch::Tensor cross_entropy(const torch::Tensor& scores, const torch::Tensor& labels, int64_t samples);

// T^2 KL(softmax(teacher / T) || softmax(scores / T)), whose gradients do not shrink with T (Hinton et al. 2015).
torch::Tensor distillation(const torch::Tensor& scores, const torch::Tensor& teacher, double temperature,
                           int64_t samples);

// Any outputs: squared error over the variance of the teacher's outputs to the whole batch, mean over the outputs of a
// model that are floats. All ranks must call it; alone, `communicator` may be null.
torch::Tensor output_matching(const Tensors& outputs, const Tensors& teacher, int64_t own_samples, int64_t samples,
                              Communicator* communicator);

// Of log densities, one for each sample. Nats.
torch::Tensor negative_log_likelihood(const torch::Tensor& log_densities, int64_t samples);

}  // namespace quench::training
