// Residual networks for small images as ONNX graphs, ready to be trained.
//
//     OnnxModel model = networks::build({.depth = 32, .integrator = "linear-multistep", .seed = 1});
//     save("resnet32.onnx", model);
//
// The form of He et al. for CIFAR ("Deep Residual Learning for Image Recognition", 2015, section 4.2): a 3x3
// convolution to 16 channels, three stages of n steps each at 16, 32 and 64 channels, global average pooling and a
// linear layer; a step has two 3x3 convolutions, so the depth is 6n + 2. The first step of the second and third stage
// halves the image and doubles the channels: its shortcut takes every second pixel and pads channels with zeros, and
// it has no parameters. How the steps of a stage follow from each other is the integrator's (integrator.h); those two
// steps are plain residual ones for all integrators, and the steps after them see the shortcut's value as the one
// before theirs. Where an integrator's state is two values, the first convolution has 32 channels, half of them for
// each, and the linear layer sees both. Pre-activation networks have BatchNormalization and Relu before the pooling,
// and not behind the first convolution.
//
// The graph: opset 13; `input` [N, channels, height, width] and `logits` [N, classes], N open. Trainable are all float
// initializers but the running mean and variance of BatchNormalization, which start at 0 and 1; 464,154 numbers at
// depth 32 with Euler. Convolutions start as in He et al. ("Delving Deep into Rectifiers", 2015): variance 2 over the
// number of inputs of a neuron; the linear layer, which no Relu follows, at half of that, its bias at 0.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "formats/onnx/model_file.h"

namespace quench::networks {

struct NetworkOptions {
  int depth = 32;                           // 6n + 2 with n from 1 to 200: 20, 32, 44, 56, 110 in the paper
  std::string integrator = "euler";         // one of integrator_names()
  int64_t classes = 10;                     // 1 to 2^20
  std::array<int64_t, 3> input{3, 32, 32};  // channels, height, width; each 1 to 2^16
  uint64_t seed = 1;                        // same options, same bytes, on any machine
};

// Throws quench::Error, with what to do, on options out of range.
OnnxModel build(const NetworkOptions& options);

// The depth that a network's name tells: 32 for "resnet32". Throws quench::Error for other names and bad depths.
int depth_of(std::string_view network);

}  // namespace quench::networks
