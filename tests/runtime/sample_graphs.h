// Graphs for the tests of the runtime's core.
#pragma once

#include <random>

#include "tests/runtime/graph_builder.h"

namespace quench::rt {

inline std::vector<float> random_values(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

inline HostTensor random_tensor(const std::vector<int64_t>& shape, uint32_t seed) {
  size_t count = 1;
  for (int64_t dim : shape) count *= static_cast<size_t>(dim);
  return HostTensor::of(shape, random_values(count, seed));
}

inline std::vector<float> positive_values(size_t count, uint32_t seed) {
  std::vector<float> values = random_values(count, seed);
  for (float& value : values) value = 0.5f + value * value;
  return values;
}

// A residual block on N x 4 x 6 x 6 (Conv, BatchNormalization, Relu, Conv, BatchNormalization, Add, Relu), then the
// dynamic flatten that exporters write (Shape, Gather, Concat, Reshape) and a Gemm: "x" to "y", N x 5. The values of
// inner steps are named, so that they can be asked for.
inline GraphBuilder residual_graph() {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {-1, 4, 6, 6});
  uint32_t seed = 1;
  for (const std::string n : {"1", "2"}) {
    graph.initializer("w" + n, {4, 4, 3, 3}, random_values(144, seed++));
    graph.initializer("scale" + n, {4}, positive_values(4, seed++));
    graph.initializer("shift" + n, {4}, random_values(4, seed++));
    graph.initializer("mean" + n, {4}, random_values(4, seed++));
    graph.initializer("variance" + n, {4}, positive_values(4, seed++));
  }
  graph.node("Conv", {"x", "w1"}, {"c1"}, {ints("pads", {1, 1, 1, 1})}, "conv1");
  graph.node("BatchNormalization", {"c1", "scale1", "shift1", "mean1", "variance1"}, {"n1"});
  graph.node("Relu", {"n1"}, {"r1"});
  graph.node("Conv", {"r1", "w2"}, {"c2"}, {ints("pads", {1, 1, 1, 1})}, "conv2");
  graph.node("BatchNormalization", {"c2", "scale2", "shift2", "mean2", "variance2"}, {"n2"});
  graph.node("Add", {"n2", "x"}, {"sum"});
  graph.node("Relu", {"sum"}, {"r2"});
  graph.node("Shape", {"r2"}, {"shape"});
  graph.initializer<int64_t>("zero", {}, {0})
      .initializer<int64_t>("axes", {1}, {0})
      .initializer<int64_t>("rest", {1}, {-1});
  graph.node("Gather", {"shape", "zero"}, {"batch"}, {integer("axis", 0)});
  graph.node("Unsqueeze", {"batch", "axes"}, {"batch1"});
  graph.node("Concat", {"batch1", "rest"}, {"flat_shape"}, {integer("axis", 0)});
  graph.node("Reshape", {"r2", "flat_shape"}, {"flat"});
  graph.initializer("fc", {5, 144}, random_values(720, 21)).initializer("bias", {5}, random_values(5, 22));
  graph.node("Gemm", {"flat", "fc", "bias"}, {"y"}, {integer("transB", 1)}, "fc");
  graph.output("y");
  return graph;
}

// A random graph of operators that keep the shape N x 4 x 6 x 6, with many branches: "x" to "y0" and "y1".
inline std::string random_graph(uint32_t seed, int nodes) {
  std::mt19937 random(seed);
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {-1, 4, 6, 6});
  graph.initializer<int64_t>("as_matrix", {2}, {0, -1}).initializer<int64_t>("as_image", {4}, {-1, 4, 6, 6});
  graph.initializer("half", {1}, std::vector<float>{0.5f});
  std::vector<std::string> values = {"x"};
  for (int n = 0; n < nodes; ++n) {
    const auto pick = [&] {
      const size_t last = std::min<size_t>(values.size(), 6);  // mostly recent ones, now and then an old one
      return random() % 5 == 0 ? values[random() % values.size()] : values[values.size() - 1 - random() % last];
    };
    const std::string out = "v" + std::to_string(n);
    const std::string in = pick();
    switch (random() % 12) {
      case 0:
      case 1: {
        const std::string w = "w" + std::to_string(n);
        std::vector<float> weights = random_values(144, seed * 1000 + static_cast<uint32_t>(n));
        for (float& weight : weights) weight *= 0.3f;
        graph.initializer(w, {4, 4, 3, 3}, weights);
        graph.node("Conv", {in, w}, {out}, {ints("pads", {1, 1, 1, 1})});
        break;
      }
      case 2:
        graph.node("Relu", {in}, {out});
        break;
      case 3:
        graph.node("Sigmoid", {in}, {out});
        break;
      case 4:
      case 5:
        graph.node("Add", {in, pick()}, {out});
        break;
      case 6:
        graph.node("Mul", {in, "half"}, {out});
        break;
      case 7:
        graph.node("Identity", {in}, {out});
        break;
      case 8:
        graph.node("Reshape", {in, "as_matrix"}, {out + "m"});
        graph.node("Tanh", {out + "m"}, {out + "t"});
        graph.node("Reshape", {out + "t", "as_image"}, {out});
        break;
      case 9:
        graph.node("Transpose", {in}, {out + "t"}, {ints("perm", {0, 2, 3, 1})});
        graph.node("Relu", {out + "t"}, {out + "r"});
        graph.node("Transpose", {out + "r"}, {out}, {ints("perm", {0, 3, 1, 2})});
        break;
      case 10:
        graph.node("MaxPool", {in}, {out}, {ints("kernel_shape", {3, 3}), ints("pads", {1, 1, 1, 1})});
        break;
      default:
        graph.node("Split", {in}, {out + "a", out + "b"}, {integer("axis", 1)});
        graph.node("Concat", {out + "b", out + "a"}, {out}, {integer("axis", 1)});
        break;
    }
    values.push_back(out);
  }
  graph.node("Identity", {values[values.size() - 1]}, {"y0"});
  graph.node("Identity", {values[values.size() / 2]}, {"y1"});
  graph.output("y0").output("y1");
  return graph.build();
}

}  // namespace quench::rt
