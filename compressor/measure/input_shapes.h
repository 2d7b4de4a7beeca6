// Shapes that a user gives to inputs that leave dimensions open.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::measure {

struct InputShapes {
  std::map<std::string, std::vector<int64_t>> whole;  // by the input's name, in place of the declared shape
  std::map<std::string, int64_t> dims;                // by the name of a dimension, wherever an input has it

  // An input's shape; -1 where a dimension is still open.
  std::vector<int64_t> of(const onnx::ValueInfoProto& input) const;
};

// Throws quench::Error where there is no input, or no dimension, of one of the names.
void check_shapes(const std::string& model_name, const onnx::GraphProto& graph, const InputShapes& shapes);

}  // namespace quench::measure
