// Networks whose layers are the solution of an ordinary differential equation (Chen, Rubanova, Bettencourt and Duvenaud,
// "Neural Ordinary Differential Equations", 2018, arXiv:1806.07366), as ONNX graphs that can be trained.
//
//     OnnxModel model = networks::build({.network = "odenet", .solver = "rk4", .steps = 2});
//
// An ODE block takes u(0) to u(1) along u' = f(t, u), where
//
//     f(t, u) = N conv([t, relu(N conv([t, relu(N u)]))])
//
// with 3x3 convolutions that see the time as one more channel, and N = GroupNormalization, each with a scale and a shift of
// its own. The block is unrolled into steps of equal size, which share its weights.
//
//     odenet        the paper's MNIST network: three convolutions to 64 channels of 6 x 6, an ODE block, normalization,
//                   Relu, global average pooling, a linear layer; 208,266 parameters, 75,392 of them the block's;
//                   two channels a group everywhere
//     odenet-twin   the residual network that the paper compares it with: six pre-activation residual blocks in the
//                   place of the ODE block; 576,778 parameters
//     odenet-cifar  three stages of 16, 32 and 64 channels as in network.h, each with one ODE block in the place of its
//                   steps of equal size; between the stages a pre-activation residual step to half the size with a
//                   shortcut without parameters; 170,298 parameters; eight channels a group in the blocks,
//                   BatchNormalization outside
//
// With `loop` each block is one ONNX Loop instead: the solver chooses its steps by a tolerance (ode_block.h). Such a graph
// runs, compresses and unpacks, but is not trained; with_weights_of() gives it the weights of a trained one.
//
// The graph: opset 13; `input` [N, channels, height, width] and `logits` [N, classes], N open. Convolutions and the
// linear layer start uniform in +-1/sqrt(inputs of a neuron), as in the authors' code, those of odenet-cifar's convolutions
// with sqrt(3) times such weights. GroupNormalization is written as InstanceNormalization of [N, groups, rest], which opset 13 has.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::networks {

// What an ODE block is in the graph.
//     kUnrolled      `steps` steps of `solver`, one after the other
//     kLoop          a Loop that chooses its steps; `solver` has an error estimate then (solver::adaptive_names())
//     kForTraining   f once, for a training that takes the steps itself (ode_block.h: write_for_training)
enum class OdeForm : uint8_t { kUnrolled, kLoop, kForTraining };

struct OdeNetworkOptions {
  std::string network = "odenet";  // one of ode_network_names()
  OdeForm form = OdeForm::kUnrolled;
  std::string solver = "rk4";  // one of solver::tableau_names()
  int steps = 2;               // of each ODE block, 1 to 1000
  // Of zeros beside the channels of each ODE block's u(0) (Dupont, Doucet and Teh, "Augmented Neural ODEs", 2019,
  // arXiv:1904.01681); whole groups, 0 to 1024.
  int64_t extra_channels = 0;
  double rtol = 1e-3, atol = 1e-3;  // of the loop, above 0 and below 1
  int64_t classes = 10;             // 1 to 2^20
  std::array<int64_t, 3> input{};   // channels, height, width; all 0: MNIST's or CIFAR-10's
  uint64_t seed = 1;                // same options, same bytes, on any machine
};

// Throws quench::Error, with what to do, on options out of range.
OnnxModel build(const OdeNetworkOptions& options);

// `model` with the float initializers of `trained` that have the same name and shape; those that it does not share stay.
OnnxModel with_weights_of(OnnxModel model, const OnnxModel& trained);

std::vector<std::string_view> ode_network_names();
bool is_ode_network(std::string_view name);

// The blocks by name; none of odenet-twin.
std::vector<std::string> ode_block_names(std::string_view network);

// Evaluations of right-hand sides in a pass through the network whose blocks are `steps` steps each.
int64_t evaluations_of(const OdeNetworkOptions& options);

}  // namespace quench::networks
