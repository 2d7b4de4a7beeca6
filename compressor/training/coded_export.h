// From a module with its quantizer to a .quench file: BatchNormalization is folded into the convolution before it,
// where it becomes a scale for each output channel beside the indices, which stay what they are; biases and other small
// tensors are rounded to a grid.
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
#include <string>
#include <vector>

#include "compressor/quantizer/coded_model.h"
#include "compressor/training/graph_module.h"
#include "compressor/training/soft_to_hard.h"

namespace quench::training {

// A convolution's weight whose rows a BatchNormalization scales.
struct NormalizedWeight {
  std::string weight, scale, mean, variance;
  std::string bias;  // of the convolution; empty: none
  double epsilon = 0;
};

// Only those whose names have no other use.
std::vector<NormalizedWeight> find_normalized_weights(const OnnxModel& model);

// Rows whose scale is negative change sign together with their scale and mean: the same function, with scales that the
// file can hold, which are positive.
void make_positive(GraphModule& module, const std::vector<NormalizedWeight>& normalized);
// Scales that training has brought to 0 or below become tiny.
void keep_positive(GraphModule& module, const std::vector<NormalizedWeight>& normalized);

// Moves the scales of quantized weights so that, folded, they are values that the file can hold (see
// container::scale_from_code): by 2.2 % at most.
void snap_scales(GraphModule& module, const SoftToHard& quantizer, const std::vector<NormalizedWeight>& normalized);

class CodedExport {
 public:
  // Throws quench::Error where a quantized weight got rows that no scale for each explains.
  CodedExport(const GraphModule& module, const SoftToHard& quantizer,
              entropy::Coder coder = entropy::Coder::kArithmetic);
  CodedExport(const CodedExport&) = delete;
  CodedExport& operator=(const CodedExport&) = delete;

  // As long as this object.
  const quantizer::CodedModel& coded() const { return *coded_; }

 private:
  void add_tensor(size_t weight, const SoftToHard::HardTensor& hard);
  void add_small(size_t weight);

  OnnxModel model_;
  std::unique_ptr<quantizer::CodedModel> coded_;
  std::vector<std::unique_ptr<quantizer::CodedTensor>> tensors_;
  std::vector<std::vector<uint16_t>> renumbered_;  // scope -> center -> its place in the written codebook
};

}  // namespace quench::training
