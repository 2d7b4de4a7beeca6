// The soft-to-hard quantizer in a training loop (Agustsson et al. 2017; hard values with soft gradients: Mentzer et al.
// 2018; assignment by distortion + price * bits: Chou et al. 1989).
//
//     SoftToHard quantizer(parameters, {"conv1.weight", ...}, options);
//     SoftToHard::Pass pass = quantizer.quantize(parameters);        // each step
//     loss = task_loss(module.forward(x, mode, pass.weights)) + beta * pass.rate;
//     loss.backward();
//     quantizer.precondition_gradients();
//     optimizer.step();
//     quantizer.rearrange();
//
// The parameters stay what they are, weights in their own units; a tensor's vectors z are its values, in memory order,
// over its scale. A center is named by its place in the codebook, whose code lengths are those of the tensor's own hard
// assignments, mixed with those of all tensors that share the codebook.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "compressor/compress/compress.h"

namespace quench::training {

using NamedTensors = std::map<std::string, torch::Tensor>;

struct SoftToHardOptions {
  int dimension = 1;      // of the vectors: 1, 2, 4 or 8
  uint32_t centers = 75;  // of a codebook at most
  quantizer::CodebookScope codebook = quantizer::CodebookScope::kModel;
  bool channel_scales = false;  // of output channels (the first axis), in place of the tensor's
  bool learn_scales = false;
  // The scale in units of the root mean square of what it scales, which it follows: weights that BatchNormalization
  // makes free of scale grow while they are trained, and would otherwise spread over more and more centers. Learned
  // scales only begin there.
  double step = 1;
  std::map<std::string, double> tensor_steps;  // factors to the step; 1 where there is none
  uint64_t seed = 1;
};

class SoftToHard {
 public:
  // How the next passes quantize; the loop's schedules move it.
  struct Hardness {
    double sigma = 1;           // hardness of the soft assignment, above 0
    double price = 0;           // squared normalised distance per bit, at least 0, in soft and hard assignment
    bool hard_values = false;   // hard values forward; gradients are soft in any case
    bool hold_lengths = false;  // code lengths stay what they are, whatever is assigned
  };

  struct Pass {
    NamedTensors weights;  // the tensors by name, quantized
    torch::Tensor rate;    // bits per weight: mean over the vectors of sum_j phi_j bits_j / d, differentiable
  };

  // A tensor as it would be stored.
  struct HardTensor {
    size_t scope = 0;              // which codebook
    std::vector<int64_t> indices;  // of the vectors, into the scope's centers
    torch::Tensor scale;           // 1 x ... or channels x 1 ..., on the CPU
  };

  // `names`: the parameters to quantize. Throws quench::Error for values that are not finite.
  SoftToHard(const NamedTensors& parameters, const std::vector<std::string>& names, const SoftToHardOptions& options);

  const SoftToHardOptions& options() const { return options_; }
  Hardness& hardness() { return hardness_; }
  const Hardness& hardness() const { return hardness_; }

  Pass quantize(const NamedTensors& parameters);
  // Of the last pass: order-0 entropy of the hard assignments with a histogram for each codebook, bits per weight; and
  // of each tensor with its own.
  double entropy() const;
  std::map<std::string, double> tensor_entropies() const;
  // Hard assignments of the last pass to the first codebook.
  std::vector<int64_t> histogram() const;
  int64_t weight_count() const { return weight_count_; }
  bool contains(const std::string& name) const { return tensors_.contains(name); }

  // Centers and, if they are learned, scales: leaves of autograd, to be given to the optimizer.
  const NamedTensors& learned() const { return learned_; }
  // A center's gradient is a sum over all of its weights: makes it their mean step instead, so that one learning rate
  // suits weights, centers and scales.
  void precondition_gradients();
  // After a step of the optimizer: centers ascend (d = 1), the one next to 0 is 0, scales are positive.
  void rearrange();

  // The hard assignments of `parameters` with the present code lengths, which stay as they are.
  std::map<std::string, HardTensor> harden(const NamedTensors& parameters) const;
  // The same, as weights.
  NamedTensors hard_weights(const NamedTensors& parameters) const { return weights(parameters, true); }
  NamedTensors soft_weights(const NamedTensors& parameters) const { return weights(parameters, false); }
  // L x d values of a scope's codebook.
  std::vector<float> centers(size_t scope) const;
  size_t scopes() const { return scopes_; }

  // What a checkpoint needs beyond learned(): by name.
  NamedTensors state() const;
  // Throws quench::Error for tensors that do not fit, std::out_of_range where one is missing.
  void set_state(const NamedTensors& state);

 private:
  struct Item {
    size_t scope = 0;
    double step = 1;        // of the scale when it follows the weights
    torch::Tensor scale;    // leaf if learned
    torch::Tensor counts;   // L, float64: hard assignments of the last pass
    torch::Tensor lengths;  // L, float32: bits
  };

  NamedTensors weights(const NamedTensors& parameters, bool hard) const;
  torch::Tensor normalize(const Item& item, const torch::Tensor& weight) const;
  torch::Tensor denormalize(const Item& item, const torch::Tensor& values, const torch::Tensor& weight) const;
  torch::Tensor natural_scale(const Item& item, const torch::Tensor& weight) const;
  void learn_codebook(size_t scope, const NamedTensors& parameters);
  const torch::Tensor& scope_centers(size_t scope) const;
  void update_lengths();

  SoftToHardOptions options_;
  Hardness hardness_;
  std::map<std::string, Item> tensors_;
  NamedTensors learned_;
  size_t scopes_ = 1;
  int64_t weight_count_ = 0;
};

}  // namespace quench::training
