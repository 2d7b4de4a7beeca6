// From a module with its quantizer to a .quench file: BatchNormalization is folded into the convolution or Gemm before
// it, where it becomes a scale for each output channel beside the indices, which stay what they are. Where it cannot be
// folded it becomes a factor and a shift for each channel. Factors are held to 2.2 %; biases and small weights
// are rounded to a grid, other tensors to a finer one.
//
//     const std::vector<NormalizedWeight> normalized = find_normalized_weights(model);
//     make_positive(module, normalized);                    // before training
//     keep_positive(module, normalized);                    // after each step
//     ...
//     snap_scales(module, quantizer, normalized);           // after training
//     CodedExport file(module, quantizer);
//     file.coded().save("model.quench", report);
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "compressor/compress/coded_model.h"
#include "compressor/compress/storage_policy.h"
#include "compressor/training/graph_module.h"
#include "compressor/training/quantization/weight_binding.h"

namespace quench::training {

// A weight whose output channels a BatchNormalization scales.
struct NormalizedWeight {
  std::string weight, scale, mean, variance;
  std::string bias;  // of the weight's node; empty: none
  double epsilon = 0;
  int64_t axis = 0;  // of the weight, along which its output channels lie
};

// Only those whose names have no other use.
std::vector<NormalizedWeight> find_normalized_weights(const OnnxModel& model);

// Channels whose scale is negative change sign together with their scale and mean: the same function, with scales that
// the file can hold, which are positive.
void make_positive(GraphModule& module, const std::vector<NormalizedWeight>& normalized);
// Scales that training has brought to 0 or below become tiny.
void keep_positive(GraphModule& module, const std::vector<NormalizedWeight>& normalized);

// Moves the scales of quantized weights so that, folded, they are values that the file can hold (see
// coded::scale_from_code): by 2.2 % at most.
void snap_scales(GraphModule& module, const WeightBinding& quantizer, const std::vector<NormalizedWeight>& normalized);

// The float weights of a file that is written from the model, by which its bits per weight are counted.
uint64_t stored_weights(const OnnxModel& model);

class CodedExport {
 public:
  // A quantized weight that is no longer its indices' values times a scale for each slice along one axis is rounded to
  // a grid as small tensors are.
  CodedExport(const GraphModule& module, const WeightBinding& quantizer, const quantizer::StoragePolicy& policy = {},
              entropy::Coder coder = entropy::kDefaultCoder, const quantizer::FileNotes::Pairs& metadata = {});
  CodedExport(const CodedExport&) = delete;
  CodedExport& operator=(const CodedExport&) = delete;

  // As long as this object.
  const quantizer::CodedModel& coded() const { return *coded_; }

 private:
  bool add_tensor(size_t weight, const WeightBinding::HardTensor& hard);
  void add_factors(size_t weight);
  void add_small(size_t weight, const quantizer::StoragePolicy& policy);
  void add(std::unique_ptr<quantizer::CodedTensor> tensor, quantizer::TensorMethod method);

  OnnxModel model_;
  std::optional<quantizer::ResidentWeights> weights_;
  std::unique_ptr<quantizer::CodedModel> coded_;
  std::vector<std::unique_ptr<quantizer::CodedTensor>> tensors_;
  std::vector<bool> is_learned_;                   // of model_'s weights
  std::set<size_t> coarse_;                        // weights that are small, and biases
  std::vector<std::vector<uint16_t>> renumbered_;  // scope -> center -> its place in the written codebook
};

}  // namespace quench::training
