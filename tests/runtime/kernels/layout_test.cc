// What a kernel computes does not depend on how its tensors lie in memory: channels-last gives what row-major gives,
// and running in place what running beside gives.

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

struct Case {
  const char* op;
  int opset;
  std::vector<TestAttribute> attributes;
  std::vector<std::optional<Value>> inputs;
  int outputs = 1;
};

Value booleans(Shape shape) {
  Value value = Value::of<uint8_t>(shape, std::vector<uint8_t>(static_cast<size_t>(shape.elements())));
  for (size_t i = 0; i < value.bytes.size(); i += 3) value.bytes[i] = std::byte{1};
  value.type = ElementType::kBool;
  return value;
}

std::vector<Case> cases() {
  const Shape shape = {2, 8, 6, 5};
  const Value x = Value::random(shape, 1);
  const Value y = Value::random(shape, 2);
  const Value channel = Value::random({8, 1, 1}, 3);
  const Value per_channel = Value::of<float>({8}, {1, 2, 3, 4, 5, 6, 7, 8});
  const Value row = Value::random({1, 8, 1, 5}, 4);
  std::vector<Case> all;
  for (const char* op :
       {"Relu",  "Sigmoid", "Tanh",  "HardSwish", "HardSigmoid", "LeakyRelu", "Elu",
        "Selu",  "Exp",     "Neg",   "Abs",       "Sign",        "Identity",  "Erf",
        "Floor", "Clip",    "Round", "Gelu",      "IsNaN",       "IsInf",     "MeanVarianceNormalization"}) {
    all.push_back({op, 20, {}, {x}});
  }
  for (const char* op : {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Less", "Greater", "Equal",
                         "LessOrEqual", "GreaterOrEqual"}) {
    for (const Value& other : {y, channel, row, Value::scalar(2), Value::random({5}, 5)}) {
      all.push_back({op, 14, {}, {x, other}});
      all.push_back({op, 14, {}, {other, x}});
    }
  }
  for (const char* op : {"Sum", "Mean", "Min", "Max"}) all.push_back({op, 14, {}, {x, y, row, channel}});
  for (const char* op : {"And", "Or", "Xor"}) all.push_back({op, 14, {}, {booleans(shape), booleans({1, 8, 1, 5})}});
  all.push_back({"Not", 14, {}, {booleans(shape)}});
  all.push_back({"Where", 16, {}, {booleans({8, 1, 1}), x, row}});
  const Value bits = Value::of<uint8_t>({8, 1, 1}, {1, 2, 3, 4, 5, 6, 7, 8});
  Value bytes = booleans(shape);
  bytes.type = ElementType::kUint8;
  for (const char* op : {"BitwiseAnd", "BitwiseOr", "BitwiseXor"}) all.push_back({op, 18, {}, {bytes, bits}});
  all.push_back({"BitShift", 11, {string_of("direction", "LEFT")}, {bytes, bits}});
  all.push_back({"BitwiseNot", 18, {}, {bytes}});
  all.push_back({"CenterCropPad", 18, {}, {x, Value::indices({3, 5, 9, 5})}});
  all.push_back({"PRelu", 16, {}, {x, channel}});
  all.push_back({"Cast", 13, {int_of("to", 7)}, {x}});
  all.push_back({"Cast", 13, {int_of("to", 2)}, {x}});
  all.push_back({"QuantizeLinear", 13, {}, {x, Value::scalar(0.02f)}});
  all.push_back({"DequantizeLinear", 13, {}, {booleans(shape), Value::scalar(0.02f)}});
  all.back().inputs[0]->type = ElementType::kUint8;
  all.push_back({"DynamicQuantizeLinear", 11, {}, {x}, 3});
  all.push_back({"BatchNormalization", 15, {}, {x, per_channel, per_channel, per_channel, per_channel}});
  for (const char* op : {"MaxPool", "AveragePool"}) {
    all.push_back({op, 12, {ints_of("kernel_shape", {3, 2}), ints_of("strides", {2, 1})}, {x}});
    all.push_back({op,
                   12,
                   {ints_of("kernel_shape", {3, 3}), ints_of("strides", {2, 2}), ints_of("pads", {1, 0, 0, 1}),
                    int_of("ceil_mode", 1), int_of("count_include_pad", 1)},
                   {x}});
  }
  all.push_back({"MaxPool", 12, {ints_of("kernel_shape", {2, 2}), ints_of("dilations", {2, 1})}, {x}, 2});
  all.push_back({"LpPool", 11, {ints_of("kernel_shape", {3, 2}), ints_of("pads", {1, 0, 0, 1}), int_of("p", 3)}, {x}});
  all.push_back({"GlobalAveragePool", 13, {}, {x}});
  all.push_back({"GlobalLpPool", 13, {int_of("p", 1)}, {x}});
  all.push_back({"GlobalMaxPool", 13, {}, {x}});
  for (int axis = 0; axis < 4; ++axis) {
    all.push_back({"Concat", 13, {int_of("axis", axis)}, {x, y, x}});
    all.push_back({"Concat", 13, {int_of("axis", axis)}, {x}});
    all.push_back({"ArgMax", 13, {int_of("axis", axis)}, {x}});
    all.push_back({"ArgMin", 13, {int_of("axis", axis), int_of("keepdims", 0)}, {x}});
    for (const char* op : {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                           "ReduceLogSumExp", "ReduceSumSquare"}) {
      all.push_back({op, 11, {ints_of("axes", {axis})}, {x}});
      all.push_back({op, 11, {ints_of("axes", {axis, (axis + 1) % 4}), int_of("keepdims", 0)}, {x}});
    }
  }
  all.push_back({"Split", 13, {int_of("axis", 1)}, {x, Value::indices({3, 4, 1})}, 3});
  all.push_back({"Split", 11, {int_of("axis", 2)}, {x}, 3});
  all.push_back({"Slice",
                 13,
                 {},
                 {x, Value::indices({1, 4, -1}), Value::indices({8, 0, -6}), Value::indices({1, 2, 3}),
                  Value::indices({3, -2, -1})}});
  for (const char* mode : {"constant", "edge", "reflect", "wrap"}) {
    all.push_back(
        {"Pad", 13, {string_of("mode", mode)}, {x, Value::indices({0, 2, 1, 0, 1, 0, 2, 3}), Value::scalar(7)}});
    all.push_back({"Pad", 13, {string_of("mode", mode)}, {x, Value::indices({0, -2, 1, 0, 0, 0, -1, 3})}});
  }
  all.push_back({"Expand", 13, {}, {row, Value::indices({2, 8, 6, 5})}});
  all.push_back({"Tile", 13, {}, {x, Value::indices({1, 2, 3, 1})}});
  all.push_back({"DepthToSpace", 13, {int_of("blocksize", 2)}, {x}});
  all.push_back({"DepthToSpace", 13, {int_of("blocksize", 2), string_of("mode", "CRD")}, {x}});
  all.push_back({"SpaceToDepth", 13, {int_of("blocksize", 2)}, {Value::random({2, 3, 4, 6}, 9)}});
  all.push_back({"Dropout", 13, {}, {x}, 2});
  all.push_back({"Shape", 15, {}, {x}});
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    for (const char* transformation : {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"}) {
      all.push_back({"Resize",
                     13,
                     {string_of("mode", mode), string_of("coordinate_transformation_mode", transformation)},
                     {x, std::nullopt, Value::of<float>({4}, {1, 1, 1.7f, 0.6f})}});
    }
    all.push_back({"Resize",
                   13,
                   {string_of("mode", mode), string_of("coordinate_transformation_mode", "tf_crop_and_resize"),
                    float_of("extrapolation_value", 9)},
                   {x, Value::of<float>({8}, {0, 0, 0.2f, -0.5f, 1, 1, 0.7f, 1.2f}), std::nullopt,
                    Value::indices({2, 8, 7, 7})}});
  }
  return all;
}

TEST(Layout, ChannelsLastGivesWhatRowMajorGives) {
  for (Case& each : cases()) {
    DirectNode node(each.op, each.opset, each.attributes, each.inputs, each.outputs);
    const Status inferred = node.infer();
    ASSERT_TRUE(inferred.ok()) << each.op << ": " << inferred.detail();
    ASSERT_EQ(node.kernel()->layout, LayoutRule::kFollows) << each.op;
    ASSERT_TRUE(node.run().ok()) << each.op;
    std::vector<Value> expected;
    for (int i = 0; i < each.outputs; ++i) expected.push_back(node.output(i));
    ASSERT_TRUE(node.run(Layout::kChannelsLast).ok()) << each.op;
    for (int i = 0; i < each.outputs; ++i) {
      EXPECT_TRUE(node.output(i) == expected[static_cast<size_t>(i)]) << each.op << " output " << i;
    }
  }
}

TEST(Layout, EveryKernelThatFollowsIsAmongTheCases) {
  std::vector<std::string> names;
  for (const Case& each : cases()) names.push_back(each.op);
  // Served by the same functions as one that is among them.
  for (const char* name : {"Sqrt",     "Log",          "Reciprocal",
                           "Ceil",     "Sin",          "Cos",
                           "Softplus", "Softsign",     "ThresholdedRelu",
                           "Mod",      "ReduceLogSum", "CastLike",
                           "Upsample", "Size",         "QuickGelu",
                           "Tan",      "Asin",         "Acos",
                           "Atan",     "Sinh",         "Cosh",
                           "Asinh",    "Acosh",        "Atanh",
                           "Mish",     "Celu",         "Shrink"}) {
    names.push_back(name);
  }
  for (std::span<const Kernel> table : all_kernels(KernelSet::kReference)) {
    for (const Kernel& kernel : table) {
      if (kernel.layout != LayoutRule::kFollows) continue;
      EXPECT_NE(std::find(names.begin(), names.end(), kernel.op), names.end()) << kernel.op;
    }
  }
}

TEST(Layout, InPlaceGivesWhatBesideGives) {
  int checked = 0;
  std::vector<Case> all = cases();
  all.push_back({"Softmax", 13, {}, {Value::random({3, 4, 5}, 1)}});
  all.push_back({"LogSoftmax", 11, {}, {Value::random({3, 4, 5}, 1)}});
  const Value scale = Value::of<float>({3}, {1, -2, 3});
  all.push_back({"InstanceNormalization", 13, {}, {Value::random({2, 3, 7}, 1), scale, scale}});
  all.push_back({"LayerNormalization", 17, {}, {Value::random({2, 5, 3}, 1), scale, scale}});
  all.push_back({"GroupNormalization", 21, {int_of("num_groups", 1)}, {Value::random({2, 3, 7}, 1), scale, scale}});
  all.push_back({"RMSNormalization", 23, {}, {Value::random({2, 5, 3}, 1), scale}});
  all.push_back({"LpNormalization", 13, {int_of("axis", 1)}, {Value::random({3, 4, 5}, 1)}});
  all.push_back({"Hardmax", 13, {int_of("axis", 1)}, {Value::random({3, 4, 5}, 1)}});
  all.push_back({"CumSum", 14, {int_of("exclusive", 1)}, {Value::random({3, 4, 5}, 1), Value::indices({1})}});
  for (Case& each : all) {
    DirectNode node(each.op, each.opset, each.attributes, each.inputs, each.outputs);
    ASSERT_TRUE(node.infer().ok()) << each.op;
    for (int index = 0; index < static_cast<int>(each.inputs.size()); ++index) {
      const Value& input = *each.inputs[static_cast<size_t>(index)];
      const Tensor& output = node.output_tensor(0);
      if ((node.kernel()->inplace_inputs >> index & 1) == 0) continue;
      if (input.type != output.type || !(input.shape == output.shape)) continue;
      ASSERT_TRUE(node.run().ok());
      const Value expected = node.output(0);
      ASSERT_TRUE(node.run(Layout::kRowMajor, index).ok());
      EXPECT_TRUE(node.output(0) == expected) << each.op << " over input " << index;
      ++checked;
    }
  }
  EXPECT_GT(checked, 80);
}

// Sum(x, x, x) over x: the input must not be read again once a part of it has been written.
TEST(Layout, AnInputThatOccursTwiceMayBeWrittenOver) {
  const Shape shape = {1000};
  std::vector<float> values(1000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  for (const auto& [op, count, factor] :
       {std::tuple{"Sum", 3, 3.0f}, {"Sum", 2, 2.0f}, {"Add", 2, 2.0f}, {"Mean", 3, 1.0f}, {"Max", 3, 1.0f}}) {
    const Kernel* kernel = find_kernel("", op, 13, KernelSet::kReference);
    std::vector<float> memory = values;
    Tensor tensor;
    tensor.type = ElementType::kFloat32;
    tensor.shape = shape;
    tensor.data = memory.data();
    Tensor output = tensor;
    const std::vector<const Tensor*> inputs(static_cast<size_t>(count), &tensor);
    Tensor* outputs[] = {&output};
    RunContext context;
    context.opset_ = 13;
    context.inputs_ = inputs;
    context.outputs_ = outputs;
    ASSERT_TRUE(kernel->run(context).ok());
    for (size_t i = 0; i < values.size(); ++i) ASSERT_FLOAT_EQ(memory[i], factor * values[i]) << op;
  }
}

}  // namespace
}  // namespace quench::rt
