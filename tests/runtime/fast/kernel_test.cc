// The fast kernels as operators of a graph against the reference kernels: attributes, constant and computed weights,
// fusion, layouts, ranks, threads.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/runtime/fast/targets.h"
#include "tests/runtime/graph_builder.h"

namespace quench::rt {
namespace {

std::vector<float> random_floats(const std::vector<int64_t>& shape, uint32_t seed) {
  size_t count = 1;
  for (int64_t dim : shape) count *= static_cast<size_t>(dim);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

HostTensor random_tensor(const std::vector<int64_t>& shape, uint32_t seed) {
  return HostTensor::of(shape, random_floats(shape, seed));
}

// Fast kernels give what the reference kernels give, with and without fusion, and the same bits for any threads.
void check(const std::string& model, const std::vector<HostTensor>& inputs) {
  ModelOptions reference;
  reference.kernels = KernelSet::kReference;
  reference.fuse = false;
  const std::vector<HostTensor> expected = run_model(model, inputs, reference);
  for (bool fuse : {true, false}) {
    ModelOptions options;
    options.fuse = fuse;
    const std::vector<HostTensor> outputs = run_model(model, inputs, options);
    ASSERT_EQ(outputs.size(), expected.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      ASSERT_EQ(outputs[i].shape, expected[i].shape);
      if (expected[i].type != ElementType::kFloat32) {
        ASSERT_EQ(outputs[i].storage, expected[i].storage);
        continue;
      }
      const std::vector<float> a = outputs[i].values<float>(), b = expected[i].values<float>();
      for (size_t k = 0; k < a.size(); ++k) ASSERT_NEAR(a[k], b[k], 2e-5 * (1 + std::abs(b[k]))) << "at " << k;
    }
    SessionOptions three;
    three.threads = 3;
    const std::vector<HostTensor> again = run_model(model, inputs, options, three);
    for (size_t i = 0; i < outputs.size(); ++i) ASSERT_EQ(again[i].storage, outputs[i].storage) << "three threads";
  }
}

TEST(FastKernels, Conv) {
  struct Case {
    std::vector<int64_t> x, w;
    std::vector<std::string> attributes;
  };
  const std::vector<Case> cases = {
      {{1, 16, 12, 12}, {16, 16, 3, 3}, {ints("pads", {1, 1, 1, 1})}},
      {{2, 3, 17, 15}, {20, 3, 3, 3}, {ints("pads", {1, 1, 1, 1}), ints("strides", {2, 2})}},
      {{1, 20, 10, 9}, {20, 1, 3, 3}, {integer("group", 20), ints("pads", {1, 1, 1, 1})}},
      {{1, 12, 8, 8}, {18, 4, 3, 3}, {integer("group", 3), text("auto_pad", "SAME_UPPER")}},
      {{1, 12, 8, 8}, {18, 12, 4, 2}, {text("auto_pad", "SAME_LOWER"), ints("strides", {2, 1})}},
      {{3, 12, 8, 5}, {40, 12, 1, 1}, {}},
      {{1, 9, 11, 11}, {8, 9, 3, 3}, {ints("dilations", {2, 3}), ints("pads", {2, 3, 2, 3})}},
      {{1, 24, 40}, {10, 24, 5}, {ints("pads", {2, 2}), ints("strides", {2})}},
      {{2, 24, 30}, {24, 1, 3}, {integer("group", 24)}},
      {{1, 30, 50, 1}, {20, 30, 5, 1}, {}},
      {{1, 30, 50, 1}, {20, 30, 3, 3}, {ints("pads", {1, 1, 1, 1})}},
      {{1, 30, 1, 50}, {20, 30, 1, 5}, {ints("strides", {1, 2})}},
      {{0, 16, 8, 8}, {16, 16, 3, 3}, {}},
      {{1, 2, 5, 5, 5}, {4, 2, 3, 3, 3}, {}},
  };
  uint32_t seed = 0;
  for (const Case& c : cases) {
    for (bool constant : {true, false}) {
      for (const char* activation : {"", "Relu", "Tanh"}) {
        for (bool residual : {false, true}) {
          SCOPED_TRACE(std::to_string(&c - cases.data()) + " " + activation);
          GraphBuilder graph(13);
          const std::vector<float> bias = random_floats({c.w[0]}, ++seed);
          graph.input("x", ElementType::kFloat32, c.x);
          std::vector<HostTensor> inputs = {random_tensor(c.x, ++seed)};
          if (constant) {
            graph.initializer("w", c.w, random_floats(c.w, ++seed)).initializer("b", {c.w[0]}, bias);
          } else {
            graph.input("w", ElementType::kFloat32, c.w).input("b", ElementType::kFloat32, {c.w[0]});
            inputs.push_back(random_tensor(c.w, ++seed));
            inputs.push_back(HostTensor::of({c.w[0]}, bias));
          }
          // Sigmoid keeps the layout that the convolution made, so that what follows has to cope with it.
          graph.node("Conv", {"x", "w", "b"}, {"conv"}, c.attributes);
          std::string last = "conv";
          if (residual) {
            graph.node("Conv", {"x", "w"}, {"other"}, c.attributes).node("Add", {"other", last}, {"sum"});
            last = "sum";
          }
          if (*activation) {
            graph.node(activation, {last}, {"activated"});
            last = "activated";
          }
          graph.output(last);
          check(graph.build(), inputs);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Every phase of strides, also such as have fewer taps than others, or outputs that hang over the end.
TEST(FastKernels, ConvTranspose) {
  struct Case {
    std::vector<int64_t> x, w;
    std::vector<std::string> attributes;
  };
  const std::vector<Case> cases = {
      {{1, 24, 7, 6}, {24, 16, 2, 2}, {ints("strides", {2, 2})}},
      {{2, 5, 6, 7}, {5, 12, 3, 3}, {ints("strides", {2, 2}), ints("pads", {1, 1, 1, 1})}},
      {{1, 6, 9, 5}, {6, 20, 4, 4}, {ints("strides", {2, 2}), ints("pads", {1, 1, 1, 1})}},
      {{1, 6, 5, 5},
       {6, 8, 5, 3},
       {ints("strides", {3, 2}), ints("output_padding", {2, 1}), ints("pads", {2, 0, 1, 2})}},
      {{1, 8, 6, 6}, {8, 4, 3, 3}, {integer("group", 2), ints("strides", {2, 1}), text("auto_pad", "SAME_UPPER")}},
      {{1, 7, 6, 6}, {7, 9, 3, 3}, {}},
      {{1, 4, 1, 9}, {4, 8, 1, 4}, {ints("strides", {1, 4}), ints("output_shape", {1, 35})}},
      {{2, 12, 20}, {12, 10, 16}, {ints("strides", {8}), ints("pads", {4, 4})}},
      {{1, 12, 20}, {12, 1, 4}, {ints("strides", {2})}},
      {{1, 6, 5, 5}, {6, 8, 3, 3}, {ints("dilations", {2, 2}), ints("strides", {2, 2})}},
      {{1, 6, 5, 5}, {6, 8, 2, 2}, {ints("strides", {3, 3})}},
      {{0, 6, 5, 5}, {6, 8, 2, 2}, {ints("strides", {2, 2})}},
  };
  uint32_t seed = 50;
  for (const Case& c : cases) {
    for (const bool constant : {true, false}) {
      for (const char* activation : {"", "Relu", "Tanh"}) {
        SCOPED_TRACE(std::to_string(&c - cases.data()) + " " + activation);
        const int64_t group = &c - cases.data() == 4 ? 2 : 1;
        const std::vector<int64_t> bias = {c.w[1] * group};
        GraphBuilder graph(13);
        graph.input("x", ElementType::kFloat32, c.x);
        graph.initializer("first", {c.x[1], c.x[1], 1, 1}, random_floats({c.x[1], c.x[1], 1, 1}, ++seed));
        std::vector<HostTensor> inputs = {random_tensor(c.x, ++seed)};
        if (constant) {
          graph.initializer("w", c.w, random_floats(c.w, ++seed));
          graph.initializer("b", bias, random_floats(bias, ++seed));
        } else {
          graph.input("w", ElementType::kFloat32, c.w).input("b", ElementType::kFloat32, bias);
          inputs.push_back(random_tensor(c.w, ++seed));
          inputs.push_back(random_tensor(bias, ++seed));
        }
        // Half of the inputs come channels-last, out of a convolution.
        std::string last = "x";
        if (c.x.size() == 4 && constant) {
          graph.node("Conv", {"x", "first"}, {"c"});
          last = "c";
        }
        graph.node("ConvTranspose", {last, "w", "b"}, {"transposed"}, c.attributes);
        graph.node("ConvTranspose", {last, "w"}, {"other"}, c.attributes).node("Add", {"other", "transposed"}, {"sum"});
        last = "sum";
        if (*activation) {
          graph.node(activation, {last}, {"activated"});
          last = "activated";
        }
        graph.output(last);
        check(graph.build(), inputs);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(FastKernels, Gemm) {
  uint32_t seed = 100;
  for (const std::vector<int64_t>& c_shape :
       std::vector<std::vector<int64_t>>{{}, {19}, {1, 19}, {1}, {6, 1}, {6, 19}, {1, 1}}) {
    for (int turns = 0; turns < 4; ++turns) {
      for (bool constant : {true, false}) {
        for (float alpha : {1.0f, 0.5f}) {
          const std::vector<int64_t> a = turns & 1 ? std::vector<int64_t>{33, 6} : std::vector<int64_t>{6, 33};
          const std::vector<int64_t> b = turns & 2 ? std::vector<int64_t>{19, 33} : std::vector<int64_t>{33, 19};
          GraphBuilder graph(13);
          graph.input("a", ElementType::kFloat32, a).input("r", ElementType::kFloat32, {6, 19});
          std::vector<HostTensor> inputs = {random_tensor(a, ++seed), random_tensor({6, 19}, ++seed)};
          if (constant) {
            graph.initializer("b", b, random_floats(b, ++seed));
            graph.initializer("c", c_shape, random_floats(c_shape, ++seed));
          } else {
            graph.input("b", ElementType::kFloat32, b).input("c", ElementType::kFloat32, c_shape);
            inputs.push_back(random_tensor(b, ++seed));
            inputs.push_back(random_tensor(c_shape, ++seed));
          }
          graph.node("Gemm", {"a", "b", "c"}, {"y"},
                     {integer("transA", turns & 1), integer("transB", turns >> 1), number("alpha", alpha),
                      number("beta", 0.25f)});
          graph.node("Add", {"y", "r"}, {"sum"}).node("Relu", {"sum"}, {"z"}).output("z");
          check(graph.build(), inputs);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(FastKernels, MatMul) {
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> cases = {
      {{5, 7}, {7, 20}}, {{2, 3, 5, 7}, {7, 20}},    {{2, 3, 5, 7}, {3, 7, 4}}, {{7}, {7, 20}},
      {{5, 7}, {7}},     {{3, 1, 5, 7}, {2, 7, 33}}, {{1, 600}, {600, 70}},     {{40, 1030}, {1030, 20}},
      {{0, 7}, {7, 5}},  {{5, 0}, {0, 4}},           {{2, 9, 4}, {2, 4, 9}},    {{64, 64}, {64, 64}},
  };
  uint32_t seed = 200;
  for (const auto& [a, b] : cases) {
    for (bool constant : {true, false}) {
      GraphBuilder graph(13);
      graph.input("a", ElementType::kFloat32, a);
      std::vector<HostTensor> inputs = {random_tensor(a, ++seed)};
      if (constant) {
        graph.initializer("b", b, random_floats(b, ++seed));
      } else {
        graph.input("b", ElementType::kFloat32, b);
        inputs.push_back(random_tensor(b, ++seed));
      }
      graph.node("MatMul", {"a", "b"}, {"y"}).node("Sigmoid", {"y"}, {"z"}).output("z");
      check(graph.build(), inputs);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(FastKernels, PoolsBetweenConvolutions) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> pools = {
      {"MaxPool", {ints("kernel_shape", {2, 2}), ints("strides", {2, 2})}},
      {"MaxPool",
       {ints("kernel_shape", {3, 3}), ints("pads", {1, 1, 1, 1}), integer("ceil_mode", 1), ints("strides", {2, 2})}},
      {"AveragePool", {ints("kernel_shape", {3, 2}), ints("pads", {1, 0, 1, 1}), ints("strides", {2, 1})}},
      {"AveragePool",
       {ints("kernel_shape", {3, 3}), ints("pads", {1, 1, 1, 1}), integer("count_include_pad", 1),
        integer("ceil_mode", 1), ints("strides", {2, 2})}},
      {"GlobalAveragePool", {}},
      {"GlobalMaxPool", {}},
  };
  uint32_t seed = 300;
  for (const auto& [op, attributes] : pools) {
    for (int64_t channels : {6, 20}) {
      SCOPED_TRACE(op);
      GraphBuilder graph(13);
      graph.input("x", ElementType::kFloat32, {2, 3, 12, 11});
      graph.initializer("w", {channels, 3, 3, 3}, random_floats({channels, 3, 3, 3}, ++seed));
      graph.node("Conv", {"x", "w"}, {"c"}).node(op, {"c"}, {"y"}, attributes).output("y");
      check(graph.build(), {random_tensor({2, 3, 12, 11}, ++seed)});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(FastKernels, MaxPoolWithIndices) {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {1, 3, 8, 8});
  graph.node("MaxPool", {"x"}, {"y", "i"}, {ints("kernel_shape", {2, 2}), ints("strides", {2, 2})});
  graph.output("y").output("i", ElementType::kInt64);
  check(graph.build(), {random_tensor({1, 3, 8, 8}, 1)});
}

TEST(FastKernels, ArithmeticOfMixedLayouts) {
  uint32_t seed = 400;
  for (const char* op : {"Add", "Sub", "Mul", "Div", "Min", "Max"}) {
    for (const std::vector<int64_t>& other : std::vector<std::vector<int64_t>>{
             {}, {1}, {10}, {20, 1, 1}, {1, 20, 1, 1}, {20, 9, 10}, {2, 20, 9, 10}, {9, 10}, {2, 1, 9, 1}}) {
      for (bool swapped : {false, true}) {
        SCOPED_TRACE(op);
        GraphBuilder graph(13);
        graph.input("x", ElementType::kFloat32, {2, 4, 9, 10}).input("o", ElementType::kFloat32, other);
        graph.initializer("w", {20, 4, 1, 1}, random_floats({20, 4, 1, 1}, ++seed));
        graph.node("Conv", {"x", "w"}, {"c"});
        graph.node("HardSigmoid", {"o"}, {"positive"}, {number("beta", 1.5f)});
        graph.node("HardSigmoid", {"c"}, {"h"}, {number("beta", 1.5f)});
        graph.node(op, swapped ? std::vector<std::string>{"positive", "h"} : std::vector<std::string>{"h", "positive"},
                   {"y"});
        graph.node("Clip", {"y", "low", "high"}, {"z"});
        graph.initializer("low", {}, std::vector<float>{0.1f}).initializer("high", {}, std::vector<float>{2.0f});
        graph.output("z");
        check(graph.build(), {random_tensor({2, 4, 9, 10}, ++seed), random_tensor(other, ++seed)});
        if (HasFatalFailure()) return;
      }
    }
  }
}

template <typename T>
HostTensor random_bytes(const std::vector<int64_t>& shape, uint32_t seed) {
  std::vector<T> values;
  for (const float value : random_floats(shape, seed))
    values.push_back(static_cast<T>(value * 127 + (T(-1) > 0) * 127));
  return HostTensor::of(shape, values);
}

TEST(FastKernels, ConvolutionsOfBytes) {
  struct Case {
    std::vector<int64_t> x, w;
    std::vector<std::string> attributes;
  };
  const std::vector<Case> cases = {
      {{1, 7, 9, 8}, {13, 7, 1, 1}, {}},
      {{2, 6, 7, 7}, {9, 6, 3, 3}, {ints("pads", {1, 1, 1, 1})}},
      {{1, 8, 12, 11}, {8, 1, 3, 3}, {integer("group", 8), ints("pads", {1, 1, 1, 1}), ints("strides", {2, 2})}},
      {{1, 4, 40}, {6, 4, 5}, {ints("dilations", {3}), ints("pads", {9, 2})}},
      {{1, 2, 5, 4, 6}, {3, 2, 2, 3, 1}, {ints("pads", {1, 0, 2, 0, 2, 2})}},
      {{1, 3, 6, 70}, {1, 3, 2, 1}, {ints("pads", {3, 0, 3, 0})}},
      {{0, 3, 6, 7}, {5, 3, 1, 1}, {}},
  };
  for (const int64_t target : fast::targets()) {
    const simd::RestrictTargets only(target);
    uint32_t seed = 600;
    for (const Case& c : cases) {
      SCOPED_TRACE(std::to_string(&c - cases.data()) + " on " + std::to_string(target));
      GraphBuilder graph(13);
      graph.input("x", ElementType::kUint8, c.x).input("w", ElementType::kInt8, c.w);
      graph.initializer("x_zero", {}, std::vector<uint8_t>{255}).initializer("w_zero", {}, std::vector<int8_t>{-128});
      graph.initializer("scale", {}, std::vector<float>{0.01f});
      graph.node("ConvInteger", {"x", "w", "x_zero", "w_zero"}, {"sums"}, c.attributes);
      graph.node("QLinearConv", {"x", "scale", "x_zero", "w", "scale", "w_zero", "scale", "x_zero"}, {"y"},
                 c.attributes);
      graph.output("sums", ElementType::kInt32).output("y", ElementType::kUint8);
      check(graph.build(), {random_bytes<uint8_t>(c.x, ++seed), random_bytes<int8_t>(c.w, ++seed)});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(FastKernels, MatricesOfBytes) {
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> cases = {
      {{1, 7}, {7, 20}},          {{7}, {7, 33}},   {{13, 8}, {8, 70}}, {{300, 5}, {5, 40}},
      {{3, 1, 5, 7}, {2, 7, 33}}, {{2, 5, 6}, {6}}, {{0, 7}, {7, 5}},   {{5, 0}, {0, 4}},
  };
  for (const int64_t target : fast::targets()) {
    const simd::RestrictTargets only(target);
    uint32_t seed = 700;
    for (const auto& [a, b] : cases) {
      SCOPED_TRACE(std::to_string(seed) + " on " + std::to_string(target));
      GraphBuilder graph(13);
      graph.input("a", ElementType::kInt8, a).input("b", ElementType::kUint8, b);
      graph.initializer("a_zero", {}, std::vector<int8_t>{-128}).initializer("b_zero", {}, std::vector<uint8_t>{0});
      graph.initializer("scale", {}, std::vector<float>{0.02f});
      graph.node("MatMulInteger", {"a", "b", "a_zero", "b_zero"}, {"sums"});
      graph.node("QLinearMatMul", {"a", "scale", "a_zero", "b", "scale", "b_zero", "scale", "a_zero"}, {"y"});
      graph.output("sums", ElementType::kInt32).output("y", ElementType::kInt8);
      check(graph.build(), {random_bytes<int8_t>(a, ++seed), random_bytes<uint8_t>(b, ++seed)});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(FastKernels, Softmax) {
  uint32_t seed = 500;
  for (int opset : {11, 13}) {
    for (int64_t axis : {-1, 0, 1, 2, 3}) {
      GraphBuilder graph(opset);
      graph.input("x", ElementType::kFloat32, {2, 9, 5, 20})
          .node("Softmax", {"x"}, {"y"}, {integer("axis", axis)})
          .output("y");
      check(graph.build(), {random_tensor({2, 9, 5, 20}, ++seed)});
    }
  }
}

}  // namespace
}  // namespace quench::rt
