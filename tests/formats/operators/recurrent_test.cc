#include "formats/operators/recurrent.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "tests/formats/operators/attribute_map.h"

namespace quench::operators {
namespace {

using enum CellFunction;
using Functions = std::vector<CellFunction>;

std::optional<Functions> functions(Cell cell, std::vector<std::string> names, int direction = 0) {
  CellActivation read[kMaxCellFunctions];
  const AttributeMap attributes{.text_lists = {{"activations", std::move(names)}}};
  if (!read_functions(attributes.view(), cell, direction, read).ok()) return std::nullopt;
  Functions found;
  for (int i = 0; i < functions_of(cell); ++i) found.push_back(read[i].function);
  return found;
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

TEST(Recurrent, NamesOfFunctionsMayBeInAnyCase) {
  EXPECT_EQ(functions(Cell::kLstm, {"SIGMOID", "tanh", "ReLU"}), Functions({kSigmoid, kTanh, kRelu}));
  EXPECT_EQ(functions(Cell::kGru, {"hardsigmoid", "SoftSign"}), Functions({kHardSigmoid, kSoftsign}));
}

TEST(Recurrent, EachFunctionTakesItsAlphaAndBetaInOrder) {
  const AttributeMap attributes{
      .text_lists = {{"activations", {"HardSigmoid", "Tanh", "LeakyRelu", "Affine", "ScaledTanh", "Elu"}}},
      .float_lists = {{"activation_alpha", {0.3f, 0.02f, 2, 3}}, {"activation_beta", {0.4f, 5}}}};
  CellActivation read[kMaxCellFunctions];
  ASSERT_TRUE(read_functions(attributes.view(), Cell::kLstm, 0, read).ok());
  EXPECT_EQ(read[0].alpha, 0.3f);
  EXPECT_EQ(read[0].beta, 0.4f);
  EXPECT_EQ(read[2].alpha, 0.02f);
  ASSERT_TRUE(read_functions(attributes.view(), Cell::kLstm, 1, read).ok());
  EXPECT_EQ(read[0].alpha, 2);
  EXPECT_EQ(read[0].beta, 5);
  EXPECT_EQ(read[1].alpha, 3);
  EXPECT_EQ(read[1].beta, 1);  // the list has no more
  EXPECT_EQ(read[2].alpha, 1);
}

TEST(Recurrent, FunctionsAreTheOperatorsOfTheirNames) {
  const float x = -0.75f;
  EXPECT_FLOAT_EQ(evaluate({kSigmoid}, x), 1 / (1 + std::exp(0.75f)));
  EXPECT_FLOAT_EQ(evaluate({kTanh}, x), std::tanh(x));
  EXPECT_FLOAT_EQ(evaluate({kRelu}, x), 0);
  EXPECT_FLOAT_EQ(evaluate({kAffine, 2, 3}, x), 1.5f);
  EXPECT_FLOAT_EQ(evaluate({kLeakyRelu, 0.1f}, x), -0.075f);
  EXPECT_FLOAT_EQ(evaluate({kThresholdedRelu, 0.5f}, 0.5f), 0);
  EXPECT_FLOAT_EQ(evaluate({kThresholdedRelu, 0.5f}, 0.6f), 0.6f);
  EXPECT_FLOAT_EQ(evaluate({kScaledTanh, 2, 3}, x), 2 * std::tanh(3 * x));
  EXPECT_FLOAT_EQ(evaluate({kHardSigmoid, 0.2f, 0.5f}, x), 0.35f);
  EXPECT_FLOAT_EQ(evaluate({kElu, 2}, x), 2 * (std::exp(x) - 1));
  EXPECT_FLOAT_EQ(evaluate({kSoftsign}, x), x / 1.75f);
  EXPECT_FLOAT_EQ(evaluate({kSoftplus}, x), std::log(1 + std::exp(x)));
  EXPECT_FLOAT_EQ(evaluate({kSoftplus}, 200), 200);
  for (int function = 0; function <= static_cast<int>(kSoftplus); ++function) {
    EXPECT_TRUE(std::isnan(evaluate({static_cast<CellFunction>(function), 1, 1}, std::nanf("")))) << function;
  }
}

TEST(Recurrent, RefusesOtherFunctionsAndTooFew) {
  EXPECT_FALSE(functions(Cell::kRnn, {"Gelu"}));
  EXPECT_FALSE(functions(Cell::kRnn, {""}));
  EXPECT_FALSE(functions(Cell::kRnn, {"Tanh"}, 1));
  EXPECT_FALSE(functions(Cell::kLstm, {"Sigmoid", "Tanh"}));
}

}  // namespace
}  // namespace quench::operators
