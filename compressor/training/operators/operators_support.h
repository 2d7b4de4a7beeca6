// What the files of operators share: their tables, and access to a node's attributes and inputs.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "compressor/training/operators/operators.h"

namespace quench::training {

struct OperatorEntry {
  std::string_view name;
  Operator run;
};

std::span<const OperatorEntry> convolution_operators();
std::span<const OperatorEntry> creation_operators();
std::span<const OperatorEntry> elementwise_operators();
std::span<const OperatorEntry> gather_operators();
std::span<const OperatorEntry> matrix_operators();
std::span<const OperatorEntry> movement_operators();
std::span<const OperatorEntry> normalization_operators();
std::span<const OperatorEntry> pooling_operators();
std::span<const OperatorEntry> recurrent_operators();
std::span<const OperatorEntry> reduction_operators();
std::span<const OperatorEntry> resize_operators();

using Integers = std::vector<int64_t>;

// Attributes, or `fallback` where they are absent; a list that is absent is empty.
int64_t integer(const NodeView& node, std::string_view name, int64_t fallback);
double real(const NodeView& node, std::string_view name, double fallback);
std::string_view text(const NodeView& node, std::string_view name, std::string_view fallback);
bool has(const NodeView& node, std::string_view name);
Integers integers(const NodeView& node, std::string_view name);
std::vector<float> reals(const NodeView& node, std::string_view name);

// An axis that counts from the end if it is negative. Throws when it lies outside of the rank.
int64_t axis_of(const NodeView& node, int64_t fallback, int64_t rank);

// Input `index`; throws where it is absent.
const torch::Tensor& required(const Tensors& inputs, size_t index);
// An undefined tensor where it is absent.
torch::Tensor optional(const Tensors& inputs, size_t index);

// The values of an integer tensor that says what to do, wherever it lies.
Integers integers(const torch::Tensor& tensor);
// Input `index` in that way, empty where it is absent.
Integers integer_input(const Tensors& inputs, size_t index);

// Puts tensors that operate together where most of them must be: beside one that is not on the CPU.
void to_one_device(Tensors& tensors);

// Torch's type for one of onnx::TensorProto's; throws for those without any.
torch::ScalarType torch_type(int32_t type);

}  // namespace quench::training
