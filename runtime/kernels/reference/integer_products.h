// What the reference and the fast products of bytes have in common: ConvInteger, QLinearConv, MatMulInteger,
// QLinearMatMul, and of ONNX Runtime's own QGemm, MatMulIntegerToFloat and DynamicQuantizeMatMul. They differ in who
// multiplies.
#pragma once

#include <cstdint>

#include "runtime/kernels/reference/convolution.h"
#include "runtime/kernels/reference/matrix.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {

// Two signed integers of 16 bits that follow each other along a sum, the first in the lower bits: processors multiply
// two such pairs and add the products in one instruction.
using Pair = uint32_t;

// Sign-extended, so that products wrap as those of signed integers would.
inline uint32_t first_of(Pair pair) { return static_cast<uint32_t>(static_cast<int16_t>(pair)); }
inline uint32_t second_of(Pair pair) { return static_cast<uint32_t>(static_cast<int16_t>(pair >> 16)); }

inline constexpr int64_t kPairColumns = 32;  // of outputs, which are computed together

// The matrix product sums[i][j] = sum over p of a[i][p] . b[p][j], which wraps around.
struct PairProduct {
  const Pair* a;  // rows x pairs
  const Pair*
      b;  // pairs x kPairColumns; what lies behind the first `columns` of a row may be read, and does not matter
  int64_t rows;
  int64_t pairs;
  int64_t columns;  // 1 to kPairColumns
  uint32_t* sums;   // rows x columns
  int64_t sums_row;
};
using MultiplyPairs = void (*)(const PairProduct& product);

// Which input is what; -1: the operator has none. Without scales the sums are the output, and without a zero point of
// the output real numbers are.
struct IntegerOperands {
  int required;  // inputs up front
  int count;     // of inputs, at most
  int a;
  int a_scale;
  int a_zero;
  int b;
  int b_scale;
  int b_zero;
  int addend = -1;  // int32 in the scale of the sums, or real numbers
  int y_scale = -1;
  int y_zero = -1;
  ElementType addend_type = ElementType::kInt32;
  bool is_gemm = false;     // with the attributes of Gemm
  bool is_dynamic = false;  // `a` are real numbers, which are quantized first
};
inline constexpr IntegerOperands kIntegers = {2, 4, 0, -1, 2, 1, -1, 3};
inline constexpr IntegerOperands kQLinearConv = {8, 9, 0, 1, 2, 3, 4, 5, 8, 6, 7};
inline constexpr IntegerOperands kQLinearMatMul = {8, 8, 0, 1, 2, 3, 4, 5, -1, 6, 7};
inline constexpr IntegerOperands kQGemm = {6, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, ElementType::kInt32, true};
inline constexpr IntegerOperands kToFloat = {4, 7, 0, 2, 4, 1, 3, 5, 6, -1, -1, ElementType::kFloat32};
inline constexpr IntegerOperands kDynamic = {3, 5, 0, -1, -1, 1, 2, 3, 4, -1, -1, ElementType::kFloat32, false, true};

// The axes along which a list of parameters lies, in an operand and in the output; -1: only one number may be there.
struct ParameterAxes {
  int a = -1;
  int b = -1;
  int y_a = -1;
  int y_b = -1;
};

struct IntegerMatMulState {
  MatMulState product;
  ParameterAxes axes;
};

Status infer_integer_convolution(InferContext& context, const IntegerOperands& operands);  // state: ConvolutionState
Status run_integer_convolution(const RunContext& context, const IntegerOperands& operands, MultiplyPairs multiply);
Status infer_integer_matmul(InferContext& context, const IntegerOperands& operands);  // state: IntegerMatMulState
Status run_integer_matmul(const RunContext& context, const IntegerOperands& operands, MultiplyPairs multiply);

template <const IntegerOperands& kOperands, MultiplyPairs kMultiply>
constexpr Kernel integer_convolution(const char* op) {
  return {.op = op,
          .since_version = 10,
          .infer = [](InferContext& context) { return infer_integer_convolution(context, kOperands); },
          .run = [](RunContext& context) { return run_integer_convolution(context, kOperands, kMultiply); },
          .state_bytes = sizeof(ConvolutionState)};
}

template <const IntegerOperands& kOperands, MultiplyPairs kMultiply>
constexpr Kernel integer_matmul(const char* op, const char* domain = "") {
  return {.op = op,
          .domain = domain,
          .since_version = *domain == '\0' ? 10 : 1,
          .infer = [](InferContext& context) { return infer_integer_matmul(context, kOperands); },
          .run = [](RunContext& context) { return run_integer_matmul(context, kOperands, kMultiply); },
          .state_bytes = sizeof(IntegerMatMulState)};
}

template <MultiplyPairs kMultiply>
inline constexpr Kernel kIntegerProducts[] = {
    integer_convolution<kIntegers, kMultiply>("ConvInteger"),
    integer_convolution<kQLinearConv, kMultiply>("QLinearConv"),
    integer_matmul<kIntegers, kMultiply>("MatMulInteger"),
    integer_matmul<kQLinearMatMul, kMultiply>("QLinearMatMul"),
    integer_matmul<kQGemm, kMultiply>("QGemm", kMicrosoft),
    integer_matmul<kToFloat, kMultiply>("MatMulIntegerToFloat", kMicrosoft),
    integer_matmul<kDynamic, kMultiply>("DynamicQuantizeMatMul", kMicrosoft),
};

}  // namespace quench::rt
