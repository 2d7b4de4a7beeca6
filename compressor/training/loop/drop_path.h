// Drop-path, the regularization of networks of columns (formats/onnx/columns.h): Larsson, Maire and Shakhnarovich,
// "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016, arXiv:1605.07648, section 3.
//
//     module.set_paths(draw_paths(module.joins(), module.columns(), options.drop_path, options.seed, step));
#pragma once

#include <cstdint>
#include <vector>

namespace quench::training {

// Of the values that each join has, `joins` of them, those that count, a bit for each. In half of the steps (local) each
// is left out with probability `rate`, but never all of a join; in the others (global) there is one column in the whole
// network, any with the same probability. Depends on the arguments alone.
std::vector<uint32_t> draw_paths(const std::vector<int>& joins, int columns, double rate, uint64_t seed, int64_t step);

// Column `column`, from 1, and no other.
std::vector<uint32_t> paths_of_column(const std::vector<int>& joins, int columns, int column);

}  // namespace quench::training
