// The inputs and activation functions of RNN, GRU and LSTM, as runtime and training both have them.
#pragma once

#include <cstdint>

#include "formats/base/status.h"
#include "formats/operators/attributes.h"

namespace quench::operators {

enum class Cell : uint8_t { kRnn, kGru, kLstm };

enum class CellFunction : uint8_t {
  kSigmoid,
  kTanh,
  kRelu,
  kAffine,           // alpha * x + beta
  kLeakyRelu,        // x < 0 ? alpha * x : x
  kThresholdedRelu,  // x > alpha ? x : 0
  kScaledTanh,       // alpha * tanh(beta * x)
  kHardSigmoid,      // min(max(alpha * x + beta, 0), 1)
  kElu,              // x < 0 ? alpha * (exp(x) - 1) : x
  kSoftsign,         // x / (1 + |x|)
  kSoftplus,         // log(1 + exp(x))
};

struct CellActivation {
  CellFunction function = CellFunction::kTanh;
  float alpha = 0;
  float beta = 0;
};

// The inputs of RNN, GRU and LSTM, by number.
struct RecurrentInput {
  enum : int { kX, kW, kR, kBias, kLengths, kInitialHidden, kInitialCell, kPeepholes };
};

inline constexpr int kMaxCellFunctions = 3;

// The functions f, g and h of ONNX that a cell has: 1, 2 or 3.
constexpr int functions_of(Cell cell) { return cell == Cell::kLstm ? 3 : cell == Cell::kGru ? 2 : 1; }
constexpr int gates_of(Cell cell) { return cell == Cell::kLstm ? 4 : cell == Cell::kGru ? 3 : 1; }

// Fills in the functions of one direction (0 or 1) from the attribute `activations`, whose names may be in any case, and
// from `activation_alpha` and `activation_beta`, of which each function that has an alpha or beta takes the next value,
// over all directions; behind the end of a list it is that of ONNX's operator of that name. kUnsupportedFeature for a
// function that ONNX does not have, kInvalidArgument where the list does not have functions_of(cell) names for each
// direction.
Status read_functions(const AttributeView& attributes, Cell cell, int direction,
                      CellActivation functions[kMaxCellFunctions]);

// The value of a function. A NaN stays a NaN.
float evaluate(const CellActivation& activation, float x);

}  // namespace quench::operators
