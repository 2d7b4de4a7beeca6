// The inputs and activation functions of RNN, GRU and LSTM, as runtime and training both have them.
#pragma once

#include <cstdint>

#include "formats/base/status.h"
#include "formats/operators/attributes.h"

namespace quench::operators {

enum class Cell : uint8_t { kRnn, kGru, kLstm };

enum class CellFunction : uint8_t { kSigmoid, kTanh, kRelu };

// The inputs of RNN, GRU and LSTM, by number.
struct RecurrentInput {
  enum : int { kX, kW, kR, kBias, kLengths, kInitialHidden, kInitialCell, kPeepholes };
};

inline constexpr int kMaxCellFunctions = 3;

// The functions f, g and h of ONNX that a cell has: 1, 2 or 3.
constexpr int functions_of(Cell cell) { return cell == Cell::kLstm ? 3 : cell == Cell::kGru ? 2 : 1; }
constexpr int gates_of(Cell cell) { return cell == Cell::kLstm ? 4 : cell == Cell::kGru ? 3 : 1; }

// Fills in the functions of one direction (0 or 1) from the attribute `activations`. kUnsupportedFeature for ONNX's
// other functions, kInvalidArgument where the list does not have functions_of(cell) names for each direction.
Status read_functions(const AttributeView& attributes, Cell cell, int direction,
                      CellFunction functions[kMaxCellFunctions]);

}  // namespace quench::operators
