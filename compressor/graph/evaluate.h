// Runs a node whose inputs are constants, by the runtime that ships.
#pragma once

#include <optional>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::graph {

struct Value {
  int32_t dtype = 0;
  std::vector<int64_t> dims;
  std::vector<std::byte> raw;  // as in TensorProto.raw_data
};

// The outputs of a graph without inputs whose values are all inside. Nothing where the runtime does not have the
// operator or refuses the values, or where more than `max_memory_bytes` are needed.
std::optional<std::vector<Value>> evaluate(const onnx::ModelProto& model, uint64_t max_memory_bytes);

}  // namespace quench::graph
