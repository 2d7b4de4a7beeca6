// The inner loop of convolution and matrix multiplication: a block of output pixels (or rows) times a few vectors of
// output channels (or columns), held in registers while the whole sum is taken.
//
// Both operands lie as the loop wants them: the input with the summed index innermost (channels-last, or row-major
// left-hand matrices), the weights packed as [step][depth][vectors * lanes]. Per output value the products are added in
// one fixed order, so that results do not depend on how the outputs were cut into blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/contract/kernel.h"

namespace quench::rt::fast {

inline constexpr int kMaxTileVectors = 4;

// output[p][c] = activation(start[c] + residual[p][c]
//                           + sum over i, j, k of input[p * input_pixel + i * row_step + j * step + k]
//                                                 * weights[i][j][k][c]),
// for i < rows, j < steps, k < depth, p < pixels and c < (vectors - 1) * lanes + last_lanes.
struct TileArguments {
  const float* input;
  ptrdiff_t input_pixel;  // elements from one pixel to the next
  size_t rows;
  ptrdiff_t row_step;
  size_t steps;
  ptrdiff_t step;
  size_t depth;  // runs of consecutive inputs
  const float* weights;
  ptrdiff_t weights_step;  // from one k to the next; vectors * lanes in packed weights
  const float* bias;       // vectors * lanes values to start at; nullptr: zeros
  bool accumulate;         // add what is in `output`
  float* output;
  ptrdiff_t output_pixel;
  const float* residual;  // nullptr: none; lies like the output and may be the same memory
  size_t last_lanes;      // valid lanes of the last vector, 1 to lanes
  Activation activation;  // one that tile_activates
  // The whole is done `repeat` times, each time with the pointers moved on by so many elements.
  size_t repeat = 1;
  ptrdiff_t input_repeat = 0;
  ptrdiff_t weights_repeat = 0;
  ptrdiff_t output_repeat = 0;
};

using TileFunction = void (*)(const TileArguments&);

// The instruction set that packed weights are laid out for and that their kernels run on.
struct TileSet {
  int lanes;                                       // floats in a vector
  int max_pixels[kMaxTileVectors];                 // by vectors - 1
  const TileFunction* functions[kMaxTileVectors];  // by vectors - 1, then pixels - 1

  TileFunction function(int vectors, int pixels) const { return functions[vectors - 1][pixels - 1]; }
};

// The best set for this processor. Packed weights are only valid with the set that they were packed for.
const TileSet& tile_set();

// Whether the tile applies this activation itself; others are applied to its output by activate_values.
constexpr bool tile_activates(Activation::Kind kind) {
  return kind == Activation::kNone || kind == Activation::kRelu || kind == Activation::kClip ||
         kind == Activation::kLeakyRelu;
}

}  // namespace quench::rt::fast
