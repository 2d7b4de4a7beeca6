// What an ONNX operator is: one row each, which everything that asks "what does this node do with its inputs" reads.
//
//     const operators::Operator* op = operators::find("Conv");       // null: not one that Quench knows
//     if (op->role(1) == operators::Role::kWeight) ...
//     const operators::ChannelMap map = operators::channel_map(*op, attributes, dims);
//     if (map.channels != 0) scale[map.channel(e)] ...
//
// A new operator gets a row in operator.cc; tests/formats/operators asks for the row of every kernel.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "formats/operators/attributes.h"

namespace quench::operators {

enum class Role : uint8_t {
  kNone,       // there is no such input
  kData,       // what is computed with
  kWeight,     // what is learned and multiplies
  kBias,       // what is learned and is added
  kStatistic,  // what is measured in training: mean and variance of a BatchNormalization
  kState,      // what a recurrent operator starts from
  kShape,      // integers that say where: sizes, axes, indices, lengths
  kSetting,    // values that say how to compute, not what to learn
};

enum Flags : uint8_t {
  kElementwise = 1 << 0,  // an output value depends on the values at its own place alone (inputs are broadcast)
  kRandom = 1 << 1,       // may give other values each time: never a constant
  kWindowed = 1 << 2,     // a window moves over the spatial axes of input 0, as window.h reads it from the attributes
  kVariadic = 1 << 3,     // any number of inputs, all in the role of the first
};

// How the weight of a linear operator lies, its input 1. Linear: in input 0, but for the bias, with each output channel
// in proportion to its own elements of the weight. So a scale for each channel behind it may be multiplied into them.
enum class WeightForm : uint8_t {
  kNone,              // not linear, or without a weight
  kKernel,            // Conv, DeformConv: output channels x channels of a group x kernel
  kTransposedKernel,  // ConvTranspose: channels x output channels of a group x kernel
  kMatrix,            // Gemm, MatMul: input x output, or turned around by transB
};

struct Operator {
  static constexpr int kMaxInputs = 9;

  std::string_view name;  // as in NodeProto.op_type, of ONNX's own domain
  Role inputs[kMaxInputs] = {};
  uint8_t flags = 0;
  WeightForm weight = WeightForm::kNone;

  constexpr bool is(Flags flag) const { return (flags & flag) != 0; }
  constexpr bool is_linear() const { return weight != WeightForm::kNone; }
  constexpr Role role(int input) const {
    if (input < 0) return Role::kNone;
    if (is(kVariadic)) return inputs[0];
    return input < kMaxInputs ? inputs[input] : Role::kNone;
  }
  // The first input in a role; -1: there is none.
  constexpr int first(Role role) const {
    for (int i = 0; i < kMaxInputs; ++i) {
      if (inputs[i] == role) return i;
    }
    return -1;
  }
  constexpr int bias_input() const { return first(Role::kBias); }
};

// The row of an operator of ONNX's own domain; null where there is none.
const Operator* find(std::string_view name);

// All rows, by name.
std::span<const Operator> all();

// Which output channel each element of a weight (input 1) belongs to.
struct ChannelMap {
  int64_t channels = 0;  // output channels; 0: the operator has no such weight, or it is no valid one
  int64_t groups = 1;    // channels [g * channels / groups, (g + 1) * channels / groups) see the inputs of group g
  int axis = -1;         // of the weight, along which the channels lie; -1 where two axes together tell
  int64_t inner = 1;     // elements of a channel that lie together
  int64_t within = 1;    // channels of a group
  int64_t outer = std::numeric_limits<int64_t>::max();  // elements of a group, where groups lie one after the other

  int64_t channel(int64_t element) const { return element / inner % within + element / outer * within; }
};

// `dims` are the weight's. A MatMul with a weight of other than two axes has no map.
ChannelMap channel_map(const Operator& op, const AttributeView& attributes, std::span<const int64_t> dims);

}  // namespace quench::operators
