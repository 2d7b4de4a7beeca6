#include "formats/operators/recurrent.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/formats/operators/attribute_map.h"

namespace quench::operators {
namespace {

using enum CellFunction;
using Functions = std::vector<CellFunction>;

std::optional<Functions> functions(Cell cell, std::vector<std::string> names, int direction = 0) {
  CellFunction read[kMaxCellFunctions];
  const AttributeMap attributes{.text_lists = {{"activations", std::move(names)}}};
  if (!read_functions(attributes.view(), cell, direction, read).ok()) return std::nullopt;
  return Functions(read, read + functions_of(cell));
}

TEST(Recurrent, FunctionsAreOnnxsUnlessGiven) {
  EXPECT_EQ(functions(Cell::kRnn, {}), Functions({kTanh}));
  EXPECT_EQ(functions(Cell::kGru, {}), Functions({kSigmoid, kTanh}));
  EXPECT_EQ(functions(Cell::kLstm, {}, 1), Functions({kSigmoid, kTanh, kTanh}));
}

TEST(Recurrent, EachDirectionHasItsOwnFunctions) {
  EXPECT_EQ(functions(Cell::kRnn, {"Relu", "Sigmoid"}, 0), Functions({kRelu}));
  EXPECT_EQ(functions(Cell::kRnn, {"Relu", "Sigmoid"}, 1), Functions({kSigmoid}));
  EXPECT_EQ(functions(Cell::kLstm, {"Tanh", "Relu", "Sigmoid"}), Functions({kTanh, kRelu, kSigmoid}));
}

TEST(Recurrent, RefusesOtherFunctionsAndTooFew) {
  EXPECT_FALSE(functions(Cell::kRnn, {"Affine"}));
  EXPECT_FALSE(functions(Cell::kRnn, {"Tanh"}, 1));
  EXPECT_FALSE(functions(Cell::kLstm, {"Sigmoid", "Tanh"}));
}

}  // namespace
}  // namespace quench::operators
