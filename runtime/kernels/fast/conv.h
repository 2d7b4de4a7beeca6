// Convolution of float32 activations that lie channels-last, as free functions of shape, packed weights and pointers.
//
// Three algorithms behind one interface:
//   direct     any kernel, stride, dilation and number of groups: broadcast inputs times vectors of output channels.
//   winograd   3 x 3, stride 1: F(4 x 4, 3 x 3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
//              (2015), with the points 0, +-1/sqrt(2), +-sqrt(2), which keep the error near that of direct summation.
//   depthwise  one input and one output channel per group: vectors of channels.
//
//     ConvPlan plan = plan_conv(shape, threads);                   // shape.valid() has been checked by the caller
//     std::vector<float> packed(packed_floats(plan));             // aligned to kAlignment
//     pack_conv(plan, weights, bias, packed.data());
//     run_conv(plan, {packed, input, output, ...}, 0, plan.units, scratch);
//
// Units are independent of each other and may be run by several threads, each with its own scratch. An output value
// does not depend on how units were cut: results are the same to the bit for any number of threads.
#pragma once

#include <cstdint>

#include "runtime/contract/kernel.h"

namespace quench::rt::fast {

// Weights are out_channels x (in_channels / groups) x kernel_height x kernel_width. Padding at the bottom and the right
// is what the output's size implies: places outside the input read as zero. Groups divide both numbers of channels,
// all sizes but batch, out_height and out_width are positive, strides and dilations too, pads are not negative.
struct ConvShape {
  int64_t batch = 1;
  int64_t in_channels = 0, in_height = 0, in_width = 0;
  int64_t out_channels = 0, out_height = 0, out_width = 0;
  int64_t kernel_height = 1, kernel_width = 1;
  int64_t stride_height = 1, stride_width = 1;
  int64_t dilation_height = 1, dilation_width = 1;
  int64_t pad_top = 0, pad_left = 0;
  int64_t groups = 1;
  Layout input_layout = Layout::kChannelsLast;  // the output is always channels-last
  // Floats from one pixel, line and image of the output to the next; all 0: they lie densely. Only the direct algorithm
  // takes others.
  int64_t output_pixel = 0, output_line = 0, output_image = 0;
};

// Where the weight of a group, an output and an input channel of it, and a tap is: at a sum of multiples of these. The
// ONNX operator Conv has {inputs * taps * outputs of a group, inputs * taps, taps, kernel_width, 1}.
struct WeightSteps {
  int64_t group = 0, output = 0, input = 0, row = 0, column = 0;
};

enum class ConvAlgorithm : uint8_t { kDirect, kWinograd, kDepthwise };

struct ConvPlan {
  ConvShape shape;
  ConvAlgorithm algorithm = ConvAlgorithm::kDirect;
  int block_vectors = 1;       // output channels are computed in blocks of at most so many vectors
  int64_t units = 0;           // pieces of work
  int64_t scratch_floats = 0;  // for each thread

  // How the work is cut: rows, columns and channel blocks of a unit (tiles and channel blocks for Winograd).
  int64_t unit_rows = 1, unit_columns = 1, unit_blocks = 1;
  bool copies_input = false;

  // Identifies the form of the packed weights: plans with the same number and the same weights can share them.
  uint32_t variant() const { return static_cast<uint32_t>(algorithm) * 16 + static_cast<uint32_t>(block_vectors); }
};

// The best plan for this processor. `threads` decides how finely the work is cut, never the result.
ConvPlan plan_conv(const ConvShape& shape, int threads);
// The same with the algorithm given, which must be able to do it: for tests and measurements.
ConvPlan plan_conv(const ConvShape& shape, int threads, ConvAlgorithm algorithm);
bool can_do(ConvAlgorithm algorithm, const ConvShape& shape);

// Size of the packed weights and bias; depends only on the variant and on the shape of the weights.
int64_t packed_floats(const ConvPlan& plan);
// `bias` may be nullptr. `packed` is aligned to kAlignment.
void pack_conv(const ConvPlan& plan, const float* weights, const float* bias, float* packed);
// The same for the direct algorithm.
void pack_direct(const ConvPlan& plan, const float* weights, const WeightSteps& steps, const float* bias,
                 float* packed);

struct ConvData {
  const float* packed = nullptr;
  const float* input = nullptr;     // in the layout that the shape names
  float* output = nullptr;          // channels-last
  const float* residual = nullptr;  // added before the activation; lies like the output and may be the same memory
  Activation activation;
};

// Computes units [begin, end). `scratch` has plan.scratch_floats, aligned to kAlignment.
void run_conv(const ConvPlan& plan, const ConvData& data, int64_t begin, int64_t end, float* scratch);

}  // namespace quench::rt::fast
