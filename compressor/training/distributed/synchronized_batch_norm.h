// Batch normalization whose statistics are those of all ranks' samples, so that training on several machines is, but
// for rounding, training on one with the whole batch.
#pragma once

#include <torch/types.h>

#include "compressor/training/distributed/communicator.h"

namespace quench::training {

// What torch::batch_norm does in training with the batches of all ranks in one, for this rank's samples: `input` is
// N x C or N x C x spatial, with an N of each rank's own (0 too); `weight`, `bias`, `running_mean` and `running_var`
// have C elements. The output is of input's type; statistics are taken in float32. `running_mean` and `running_var`
// (the unbiased variance) are updated in place, alike on all ranks: running = (1 - momentum) * running + momentum *
// batch's.
//
// Seen by autograd: gradients are those of the sum of all ranks' losses, where `weight` and `bias` get this rank's
// part, to be summed by Communicator::all_reduce_sum as those of all parameters are. Throws quench::Error as
// all_reduce_sum does. Ioffe and Szegedy, "Batch Normalization", 2015.
torch::Tensor synchronized_batch_norm(const torch::Tensor& input, const torch::Tensor& weight,
                                      const torch::Tensor& bias, const torch::Tensor& running_mean,
                                      const torch::Tensor& running_var, double momentum, double eps,
                                      Communicator& communicator);

}  // namespace quench::training
