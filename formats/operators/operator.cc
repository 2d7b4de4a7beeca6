#include "formats/operators/operator.h"

#include <iterator>

namespace quench::operators {
namespace {

using enum Role;

constexpr Operator unary(std::string_view name, uint8_t flags = 0) { return {name, {kData}, flags}; }
constexpr Operator function(std::string_view name) { return unary(name, kElementwise); }
constexpr Operator binary(std::string_view name) { return {name, {kData, kData}, kElementwise}; }
constexpr Operator variadic(std::string_view name, uint8_t flags = 0) {
  return {name, {kData}, static_cast<uint8_t>(kVariadic | flags)};
}
// With sizes, axes or indices behind the data.
constexpr Operator placed(std::string_view name) { return {name, {kData, kShape}}; }

// By name.
constexpr Operator kOperators[] = {
    function("Abs"),
    function("Acos"),
    function("Acosh"),
    binary("Add"),
    binary("And"),
    unary("ArgMax"),
    unary("ArgMin"),
    function("Asin"),
    function("Asinh"),
    function("Atan"),
    function("Atanh"),
    {"Attention", {kData, kData, kData, kSetting, kState, kState}},
    unary("AveragePool", kWindowed),
    {"BatchNormalization", {kData, kWeight, kBias, kStatistic, kStatistic}},
    unary("Bernoulli", kRandom),
    binary("BitShift"),
    binary("BitwiseAnd"),
    function("BitwiseNot"),
    binary("BitwiseOr"),
    binary("BitwiseXor"),
    {"BlackmanWindow", {kShape}},
    function("Cast"),
    {"CastLike", {kData, kSetting}, kElementwise},
    function("Ceil"),
    function("Celu"),
    placed("CenterCropPad"),
    {"Clip", {kData, kSetting, kSetting}, kElementwise},
    {"Col2Im", {kData, kShape, kShape}},
    placed("Compress"),
    variadic("Concat"),
    unary("ConcatFromSequence"),
    {"Constant"},
    {"ConstantOfShape", {kShape}},
    {"Conv", {kData, kWeight, kBias}, kWindowed, WeightForm::kKernel},
    {"ConvInteger", {kData, kWeight, kSetting, kSetting}, kWindowed},
    {"ConvTranspose", {kData, kWeight, kBias}, kWindowed, WeightForm::kTransposedKernel},
    function("Cos"),
    function("Cosh"),
    placed("CumSum"),
    {"DFT", {kData, kShape, kShape}},
    {"DeformConv", {kData, kWeight, kData, kBias, kData}, 0, WeightForm::kKernel},
    unary("DepthToSpace"),
    {"DequantizeLinear", {kData, kSetting, kSetting}},
    unary("Det"),
    binary("Div"),
    {"Dropout", {kData, kSetting, kSetting}, kElementwise | kRandom},
    unary("DynamicQuantizeLinear"),
    variadic("Einsum"),
    function("Elu"),
    binary("Equal"),
    function("Erf"),
    function("Exp"),
    placed("Expand"),
    unary("EyeLike"),
    unary("Flatten"),
    function("Floor"),
    {"GRU", {kData, kWeight, kWeight, kBias, kShape, kState}},
    placed("Gather"),
    placed("GatherElements"),
    placed("GatherND"),
    function("Gelu"),
    {"Gemm", {kData, kWeight, kBias}, 0, WeightForm::kMatrix},
    unary("GlobalAveragePool"),
    unary("GlobalLpPool"),
    unary("GlobalMaxPool"),
    binary("Greater"),
    binary("GreaterOrEqual"),
    {"GridSample", {kData, kSetting}},
    {"GroupNormalization", {kData, kWeight, kBias}},
    {"HammingWindow", {kShape}},
    {"HannWindow", {kShape}},
    function("HardSigmoid"),
    function("HardSwish"),
    unary("Hardmax"),
    function("Identity"),
    {"If", {kSetting}},
    {"InstanceNormalization", {kData, kWeight, kBias}},
    function("IsInf"),
    function("IsNaN"),
    unary("LRN"),
    {"LSTM", {kData, kWeight, kWeight, kBias, kShape, kState, kState, kWeight}},
    {"LayerNormalization", {kData, kWeight, kBias}},
    function("LeakyRelu"),
    binary("Less"),
    binary("LessOrEqual"),
    function("Log"),
    unary("LogSoftmax"),
    variadic("Loop"),
    unary("LpNormalization"),
    unary("LpPool", kWindowed),
    {"MatMul", {kData, kWeight}, 0, WeightForm::kMatrix},
    {"MatMulInteger", {kData, kWeight, kSetting, kSetting}},
    variadic("Max", kElementwise),
    unary("MaxPool", kWindowed),
    {"MaxRoiPool", {kData, kSetting}},
    {"MaxUnpool", {kData, kShape, kShape}},
    variadic("Mean", kElementwise),
    unary("MeanVarianceNormalization"),
    {"MelWeightMatrix", {kShape, kShape, kSetting, kSetting, kSetting}},
    variadic("Min", kElementwise),
    function("Mish"),
    binary("Mod"),
    binary("Mul"),
    unary("Multinomial", kRandom),
    function("Neg"),
    {"NegativeLogLikelihoodLoss", {kData, kShape, kSetting}},
    {"NonMaxSuppression", {kData, kData, kShape, kSetting, kSetting}},
    unary("NonZero"),
    function("Not"),
    {"OneHot", {kShape, kShape, kSetting}},
    unary("Optional"),
    unary("OptionalGetElement"),
    unary("OptionalHasElement"),
    binary("Or"),
    {"PRelu", {kData, kWeight}, kElementwise},
    {"Pad", {kData, kShape, kSetting, kShape}},
    {"Pow", {kData, kSetting}, kElementwise},
    {"QLinearConv", {kData, kSetting, kSetting, kWeight, kSetting, kSetting, kSetting, kSetting, kBias}, kWindowed},
    {"QLinearMatMul", {kData, kSetting, kSetting, kWeight, kSetting, kSetting, kSetting, kSetting}},
    {"QuantizeLinear", {kData, kSetting, kSetting}},
    {"RMSNormalization", {kData, kWeight}},
    {"RNN", {kData, kWeight, kWeight, kBias, kShape, kState}},
    {"RandomNormal", {}, kRandom},
    unary("RandomNormalLike", kRandom),
    {"RandomUniform", {}, kRandom},
    unary("RandomUniformLike", kRandom),
    {"Range", {kSetting, kSetting, kSetting}},
    function("Reciprocal"),
    placed("ReduceL1"),
    placed("ReduceL2"),
    placed("ReduceLogSum"),
    placed("ReduceLogSumExp"),
    placed("ReduceMax"),
    placed("ReduceMean"),
    placed("ReduceMin"),
    placed("ReduceProd"),
    placed("ReduceSum"),
    placed("ReduceSumSquare"),
    function("Relu"),
    placed("Reshape"),
    {"Resize", {kData, kSetting, kSetting, kShape}},
    placed("ReverseSequence"),
    {"RoiAlign", {kData, kSetting, kShape}},
    {"RotaryEmbedding", {kData, kSetting, kSetting, kShape}},
    function("Round"),
    {"STFT", {kData, kShape, kSetting, kShape}},
    variadic("Scan"),
    {"Scatter", {kData, kShape, kData}},
    {"ScatterElements", {kData, kShape, kData}},
    {"ScatterND", {kData, kShape, kData}},
    function("Selu"),
    placed("SequenceAt"),
    variadic("SequenceConstruct"),
    {"SequenceEmpty"},
    placed("SequenceErase"),
    {"SequenceInsert", {kData, kData, kShape}},
    unary("SequenceLength"),
    variadic("SequenceMap"),
    unary("Shape"),
    function("Shrink"),
    function("Sigmoid"),
    function("Sign"),
    {"SimplifiedLayerNormalization", {kData, kWeight}},
    function("Sin"),
    function("Sinh"),
    unary("Size"),
    {"Slice", {kData, kShape, kShape, kShape, kShape}},
    unary("Softmax"),
    {"SoftmaxCrossEntropyLoss", {kData, kShape, kSetting}},
    function("Softplus"),
    function("Softsign"),
    unary("SpaceToDepth"),
    placed("Split"),
    placed("SplitToSequence"),
    function("Sqrt"),
    placed("Squeeze"),
    binary("Sub"),
    variadic("Sum", kElementwise),
    function("Tan"),
    function("Tanh"),
    function("ThresholdedRelu"),
    {"Tile", {kData, kShape, kShape}},
    placed("TopK"),
    unary("Transpose"),
    placed("Trilu"),
    unary("Unique"),
    placed("Unsqueeze"),
    {"Upsample", {kData, kSetting}},
    {"Where", {kData, kData, kData}, kElementwise},
    binary("Xor"),
};

constexpr bool is_sorted() {
  for (size_t i = 1; i < std::size(kOperators); ++i) {
    if (!(kOperators[i - 1].name < kOperators[i].name)) return false;
  }
  return true;
}
static_assert(is_sorted());

ChannelMap map_kernel(int64_t groups, std::span<const int64_t> dims, int64_t elements) {
  if (dims.size() < 3 || groups < 1 || dims[0] % groups != 0) return {};
  return {.channels = dims[0], .groups = groups, .axis = 0, .inner = elements / dims[0], .within = dims[0]};
}

ChannelMap map_transposed_kernel(int64_t groups, std::span<const int64_t> dims, int64_t elements) {
  if (dims.size() < 3 || groups < 1 || dims[0] % groups != 0) return {};
  ChannelMap map{.channels = dims[1] * groups, .groups = groups, .axis = groups == 1 ? 1 : -1, .within = dims[1]};
  map.inner = elements / dims[0] / dims[1];
  if (groups > 1) map.outer = elements / groups;
  return map;
}

ChannelMap map_matrix(bool is_turned, std::span<const int64_t> dims) {
  if (dims.size() != 2) return {};
  if (is_turned) return {.channels = dims[0], .axis = 0, .inner = dims[1], .within = dims[0]};
  return {.channels = dims[1], .axis = 1, .inner = 1, .within = dims[1]};
}

}  // namespace

const Operator* find(std::string_view name) {
  size_t begin = 0;
  size_t end = std::size(kOperators);
  while (begin < end) {
    const size_t middle = (begin + end) / 2;
    if (kOperators[middle].name == name) return &kOperators[middle];
    if (kOperators[middle].name < name) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return nullptr;
}

std::span<const Operator> all() { return kOperators; }

ChannelMap channel_map(const Operator& op, const AttributeView& attributes, std::span<const int64_t> dims) {
  int64_t elements = 1;
  for (const int64_t dim : dims) {
    if (dim < 1 || __builtin_mul_overflow(elements, dim, &elements)) return {};
  }
  switch (op.weight) {
    case WeightForm::kKernel:
      return map_kernel(attributes.get_int("group", 1), dims, elements);
    case WeightForm::kTransposedKernel:
      return map_transposed_kernel(attributes.get_int("group", 1), dims, elements);
    case WeightForm::kMatrix:
      return map_matrix(attributes.get_int("transB", 0) != 0, dims);
    case WeightForm::kNone:
      break;
  }
  return {};
}

}  // namespace quench::operators
