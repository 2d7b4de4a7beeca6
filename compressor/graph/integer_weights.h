// The weights of models that were quantized to 8 bits before: int8 and uint8 initializers that an operator multiplies,
// with integers (QLinearConv) or behind a DequantizeLinear (Conv).
//
//     const std::vector<std::optional<int32_t>> zeros = integer_weights(model);
//     if (zeros[w]) std::vector<float> values = read_integers(model.weights[w], *zeros[w]);
//
// They stand for real numbers as floating-point weights do, in units of a scale, and may be quantized like these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::graph {

// An operator that multiplies input 0 by a weight, both integers or, of some, input 0 in floating point. Numbers of its
// inputs; -1: it has none such.
struct IntegerProduct {
  std::string_view domain, name;
  std::string_view real;  // ONNX's operator that does the same to real numbers, with these attributes
  int activation_zero = -1, weight = -1, weight_zero = -1;
};
// Null where the node is none.
const IntegerProduct* integer_product_of(const onnx::NodeProto& node);

// The constants of a model's main graph: its initializers and Constant nodes. The model must outlive it.
class Constants {
 public:
  explicit Constants(const OnnxModel& model);
  // Null where the name is no constant, or one that the caller of the graph may override.
  const Weight* find(const std::string& name) const;
  // The integer that stands for 0, input `input` of a node: 0 where it is left out; nothing where it is no constant or
  // not the same for all channels.
  std::optional<int32_t> zero_point(const onnx::NodeProto& node, int input) const;

 private:
  const OnnxModel& model_;
  std::unordered_map<std::string, size_t> weights_;
};

// For each weight the integer that stands for 0, if it is one of those above and all nodes that read it agree on that.
std::vector<std::optional<int32_t>> integer_weights(const OnnxModel& model);

// For each weight, whether it may be quantized: it is learned (learned.h) or one of integer_weights.
std::vector<bool> quantizable_weights(const OnnxModel& model);

// Values of an int8 or uint8 weight less `zero`, and back: to the nearest integer, within the type's range.
std::vector<float> read_integers(const Weight& weight, int32_t zero);
std::vector<std::byte> to_integers(int32_t dtype, int32_t zero, std::span<const float> values);

// Of a tensor in memory.
std::vector<float> integers_to_float(int32_t dtype, int32_t zero, std::span<const std::byte> raw);

bool is_integer_type(int32_t dtype);  // int8 and uint8

}  // namespace quench::graph
