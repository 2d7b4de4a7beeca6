// A model's weights in a training loop that quantizes them: which parameters, in which scale, by which codebook. A
// codebook is soft_codebook.h's.
//
//     WeightBinding quantizer(parameters, {"conv1.weight", ...}, options);
//     WeightBinding::Pass pass = quantizer.quantize(parameters);        // each step
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
#include <optional>
#include <string>
#include <vector>

#include "compressor/compress/compress.h"
#include "compressor/training/quantization/soft_codebook.h"

namespace quench::training {

using NamedTensors = std::map<std::string, torch::Tensor>;

struct WeightBindingOptions {
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

class WeightBinding {
 public:
  struct Pass {
    NamedTensors weights;  // the tensors by name, quantized
    torch::Tensor rate;    // bits per weight: mean over the vectors of sum_j phi_j bits_j / d, differentiable;
                           // 0 where Hardness::wants_bits is not set
  };

  // A tensor as it would be stored.
  struct HardTensor {
    size_t scope = 0;              // which codebook
    std::vector<int64_t> indices;  // of the vectors, into the scope's centers
    torch::Tensor scale;           // 1 x ... or channels x 1 ..., on the CPU
  };

  // `names`: the parameters to quantize. Throws quench::Error for values that are not finite.
  WeightBinding(const NamedTensors& parameters, const std::vector<std::string>& names,
                const WeightBindingOptions& options);

  const WeightBindingOptions& options() const { return options_; }
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
  // Of the vectors, how many were assigned to another center than in the pass before; mean over the passes since the
  // last call, which must not be none.
  double take_flips();

  // Centers and, if they are learned, scales: leaves of autograd, to be given to the optimizer.
  const NamedTensors& learned() const { return learned_; }
  // Gradients of centers and scales, which are sums over all of their weights, become mean steps, so that one learning
  // rate suits weights, centers and scales.
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
  size_t scopes() const { return scopes_.size(); }

  // What a checkpoint needs beyond learned(): by name.
  NamedTensors state() const;
  // Throws quench::Error for tensors that do not fit, std::out_of_range where one is missing.
  void set_state(const NamedTensors& state);

 private:
  // The tensors that share a codebook, one after the other.
  struct Scope {
    std::vector<std::string> names;
    std::vector<std::vector<int64_t>> dims;
    std::vector<int64_t> elements;  // of each, filled up to whole vectors
    std::vector<double> steps;      // of each one's scale where that follows the weights
    std::optional<Parts> parts;
    torch::Tensor scales;      // of all tensors, one each or one for each of their channels; not where they are learned
    torch::Tensor scale_part;  // whose each scale is, int64
    torch::Tensor scale_reach;  // how many elements each scale multiplies, int64
    std::optional<SoftCodebook> codebook;
    CenterUse use;
    torch::Tensor indices;  // of the last pass
  };

  void add(Scope& scope, const std::string& name, const torch::Tensor& weight);
  torch::Tensor natural_scales(const Scope& scope, const NamedTensors& parameters) const;
  torch::Tensor scales_of(const Scope& scope) const;
  torch::Tensor element_scales(const Scope& scope) const;
  std::vector<int64_t> scale_counts(const Scope& scope) const;
  void learn_codebook(Scope& scope, size_t number, const NamedTensors& parameters);
  torch::Tensor flat(const Scope& scope, const NamedTensors& parameters) const;
  SoftQuantized assign(const Scope& scope, const NamedTensors& parameters, const Hardness& hardness) const;
  Hardness without_bits(bool hard) const;
  NamedTensors split(const Scope& scope, const torch::Tensor& values) const;
  NamedTensors weights(const NamedTensors& parameters, bool hard) const;

  WeightBindingOptions options_;
  Hardness hardness_;
  std::vector<Scope> scopes_;
  NamedTensors learned_;
  int64_t weight_count_ = 0;
  torch::Tensor flips_;  // since take_flips
  int64_t flip_passes_ = 0;
};

}  // namespace quench::training
