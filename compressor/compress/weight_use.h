// How the nodes of a graph use its weights: which activation a weight multiplies, and as which matrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/onnx/model_file.h"
#include "formats/operators/operator.h"
#include "formats/operators/window.h"

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

struct WeightUse {
  size_t weight = 0;       // index into OnnxModel::weights
  int node = 0;            // index into the main graph's nodes
  std::string activation;  // name of the value that it multiplies
  MatrixView view;
  // Conv, over an activation N x C x spatial, without its sizes; otherwise the activation's last (or, transposed, first)
  // axis is contracted.
  std::optional<operators::Window> window;
  bool activation_transposed = false;  // Gemm with transA
  std::optional<size_t> bias;          // weight index of a bias that is used by this node alone
  int32_t activation_zero = 0;         // of an activation of 8-bit integers: the one that stands for 0
};

// The weights of the main graph that exactly one node uses, as the constant operand of Conv (1-D and 2-D), Gemm or
// MatMul, or as W or R of LSTM, GRU or RNN. So, too, the 8-bit integers that QLinearConv and the like multiply, or Conv,
// Gemm or MatMul behind a DequantizeLinear, where each row has one scale.
std::vector<WeightUse> find_weight_uses(const OnnxModel& model);

// For each weight, where its output channels lie for the first node, also of subgraphs, that multiplies with it; no
// channels where none does.
std::vector<operators::ChannelMap> channels_of_weights(const OnnxModel& model);

// For each weight, whether a node of a subgraph reads it: of a branch or a loop, which some inputs may never run.
std::vector<bool> read_in_subgraphs(const OnnxModel& model);

// For each weight, the number of the first node, of the graph with its subgraphs in order, that reads it; kNoPlace where
// none does.
inline constexpr size_t kNoPlace = SIZE_MAX;
std::vector<size_t> places_of_weights(const OnnxModel& model);

// The dimensions that the entropy coder's contexts see: rows (filters), channels, inner.
struct StreamShape {
  uint64_t rows = 1, channels = 1, inner = 1;
};
StreamShape stream_shape(const Weight& weight);

}  // namespace quench::quantizer
