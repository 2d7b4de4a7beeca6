// How the nodes of a graph use its weights: which activation a weight multiplies, and as which matrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::quantizer {

// A weight as a matrix of output rows by input columns, for y = W x: element (row, column) lies at
// row * row_stride + column * column_stride. With groups, rows [g * rows / groups, (g + 1) * rows / groups) multiply
// the columns of group g of the activation.
struct MatrixView {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t row_stride = 0;
  int64_t column_stride = 0;
  int64_t groups = 1;
};

// The window of a convolution over an activation N x C x spatial (1-D or 2-D, a missing axis has kernel 1).
struct Window {
  int64_t kernel[2] = {1, 1};
  int64_t stride[2] = {1, 1};
  int64_t dilation[2] = {1, 1};
  int64_t pad_begin[2] = {0, 0};
  int64_t pad_end[2] = {0, 0};
  bool same_padding = false;  // auto_pad SAME_UPPER or SAME_LOWER: pads follow from the activation's size
  bool same_lower = false;
};

struct WeightUse {
  size_t weight = 0;       // index into OnnxModel::weights
  int node = 0;            // index into the main graph's nodes
  std::string activation;  // name of the value that it multiplies
  MatrixView view;
  std::optional<Window> window;  // Conv; otherwise the activation's last (or, transposed, first) axis is contracted
  bool activation_transposed = false;  // Gemm with transA
  std::optional<size_t> bias;          // weight index of a bias that is used by this node alone
};

// The weights of the main graph that exactly one node uses, as the constant operand of Conv (1-D and 2-D), Gemm or
// MatMul.
std::vector<WeightUse> find_weight_uses(const OnnxModel& model);

// The dimensions that the entropy coder's contexts see: rows (filters), channels, inner.
struct StreamShape {
  uint64_t rows = 1, channels = 1, inner = 1;
};
StreamShape stream_shape(const Weight& weight);

}  // namespace quench::quantizer
