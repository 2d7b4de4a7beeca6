// The rows against the kernels: every kernel has one, and what a row says is what the kernel does.

#include "formats/operators/operator.h"

#include <set>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::operators {
namespace {

using rt::DirectNode;
using rt::int_of;
using rt::TestAttribute;
using rt::Value;

TEST(Operators, EveryKernelHasARow) {
  int kernels = 0;
  for (const rt::KernelSet set : {rt::KernelSet::kFast, rt::KernelSet::kReference}) {
    for (const std::span<const rt::Kernel> table : rt::all_kernels(set)) {
      for (const rt::Kernel& kernel : table) {
        if (std::string_view(kernel.domain) != "") continue;
        ++kernels;
        EXPECT_NE(find(kernel.op), nullptr) << kernel.op << " has no row in formats/operators/operator.cc";
      }
    }
  }
  EXPECT_GT(kernels, 100);
}

TEST(Operators, FindGivesTheRowOfTheName) {
  for (const Operator& row : all()) EXPECT_EQ(find(row.name), &row) << row.name;
  for (const char* name : {"", "Aaa", "Convolution", "Con", "Zzz"}) EXPECT_EQ(find(name), nullptr) << name;
}

TEST(Operators, InputsBeyondTheLastHaveNoRole) {
  EXPECT_EQ(find("Conv")->role(1), Role::kWeight);
  EXPECT_EQ(find("Conv")->role(3), Role::kNone);
  EXPECT_EQ(find("LSTM")->role(7), Role::kWeight);
  EXPECT_EQ(find("LSTM")->role(8), Role::kNone);
  EXPECT_EQ(find("Concat")->role(100), Role::kData);
}

// A linear operator with a weight and an input, both of these shapes.
struct Linear {
  const char* op;
  std::vector<TestAttribute> attributes;
  rt::Shape input;
  rt::Shape weight;
  bool has_axis = true;
  std::optional<rt::Shape> offset = std::nullopt;  // input 2, of zeros
};

const std::vector<Linear> kLinears = {
    {"Conv", {}, {1, 4, 3}, {6, 4, 2}},
    {"Conv", {int_of("group", 2)}, {1, 4, 3, 3}, {6, 2, 2, 3}},
    {"Conv", {int_of("group", 4)}, {1, 4, 3, 3}, {4, 1, 1, 1}},
    {"ConvTranspose", {}, {1, 4, 3, 3}, {4, 3, 2, 2}},
    {"ConvTranspose", {int_of("group", 2)}, {1, 4, 3}, {4, 3, 2}, false},
    {"ConvTranspose", {int_of("group", 4)}, {1, 4, 2, 2}, {4, 1, 2, 1}, false},
    {"DeformConv", {}, {1, 4, 3, 3}, {6, 4, 2, 2}, true, rt::Shape{1, 8, 2, 2}},
    {"DeformConv", {int_of("group", 2)}, {1, 4, 3, 3}, {6, 2, 2, 3}, true, rt::Shape{1, 12, 2, 1}},
    {"Gemm", {}, {2, 4}, {4, 3}},
    {"Gemm", {int_of("transB", 1)}, {2, 4}, {3, 4}},
    {"Gemm", {int_of("transA", 1)}, {4, 2}, {4, 3}},
    {"Gemm", {int_of("transB", 1)}, {2, 1}, {3, 1}},
    {"MatMul", {}, {2, 5, 4}, {4, 3}},
};

ChannelMap map_of(const Linear& linear) {
  std::vector<rt::Attribute> attributes;
  for (const TestAttribute& from : linear.attributes) {
    rt::Attribute attribute;
    attribute.name = from.name;
    attribute.type = from.type;
    attribute.i = from.i;
    attributes.push_back(attribute);
  }
  const rt::Attributes view(attributes);
  const auto rank = static_cast<size_t>(linear.weight.rank);
  return channel_map(*find(linear.op), view.view(), std::span(linear.weight.dims, rank));
}

Value constant(const rt::Shape& shape, float value) {
  return Value::of(shape, std::vector<float>(static_cast<size_t>(shape.elements()), value));
}

Value run(const Linear& linear, const Value& x, const Value& w) {
  std::vector<std::optional<Value>> inputs = {x, w};
  if (linear.offset) inputs.emplace_back(constant(*linear.offset, 0));
  return rt::run_node(linear.op, 19, linear.attributes, inputs);
}

// Convolutions have their channels in axis 1, matrices in the last.
std::set<int64_t> channels_that_are_not_zero(const Linear& linear, const Value& y) {
  const size_t axis = find(linear.op)->weight != WeightForm::kMatrix ? 1 : static_cast<size_t>(y.shape.rank) - 1;
  std::set<int64_t> channels;
  const std::vector<float> values = y.values<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] != 0) channels.insert(rt::coordinates_of(y.shape, static_cast<int64_t>(i))[axis]);
  }
  return channels;
}

TEST(ChannelMap, EachElementOfTheWeightMovesItsOwnChannelOnly) {
  for (const Linear& linear : kLinears) {
    const ChannelMap map = map_of(linear);
    ASSERT_NE(map.channels, 0) << linear.op;
    EXPECT_EQ(map.axis >= 0, linear.has_axis) << linear.op;
    std::set<int64_t> all;
    for (int64_t e = 0; e < linear.weight.elements(); ++e) {
      std::vector<float> values(static_cast<size_t>(linear.weight.elements()), 0.0f);
      values[static_cast<size_t>(e)] = 1;
      const Value y = run(linear, constant(linear.input, 1), Value::of(linear.weight, values));
      EXPECT_EQ(channels_that_are_not_zero(linear, y), std::set<int64_t>{map.channel(e)}) << linear.op << " " << e;
      if (map.axis >= 0) {
        EXPECT_EQ(map.channel(e), rt::coordinates_of(linear.weight, e)[static_cast<size_t>(map.axis)]) << linear.op;
      }
      all.insert(map.channel(e));
    }
    EXPECT_EQ(static_cast<int64_t>(all.size()), map.channels) << linear.op;
    EXPECT_EQ(*all.rbegin(), map.channels - 1) << linear.op;
  }
}

TEST(ChannelMap, AGroupOfChannelsSeesItsGroupOfInputs) {
  for (const Linear& linear : kLinears) {
    if (find(linear.op)->weight == WeightForm::kMatrix) continue;
    const ChannelMap map = map_of(linear);
    const int64_t inputs = linear.input[1] / map.groups;
    for (int64_t input = 0; input < linear.input[1]; ++input) {
      std::vector<float> values(static_cast<size_t>(linear.input.elements()), 0.0f);
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = rt::coordinates_of(linear.input, static_cast<int64_t>(i))[1] == input ? 1.0f : 0.0f;
      }
      std::set<int64_t> expected;
      for (int64_t c = 0; c < map.channels / map.groups; ++c) {
        expected.insert(input / inputs * (map.channels / map.groups) + c);
      }
      const Value y = run(linear, Value::of(linear.input, values), constant(linear.weight, 1));
      EXPECT_EQ(channels_that_are_not_zero(linear, y), expected) << linear.op << " input " << input;
    }
  }
}

TEST(ChannelMap, ThereIsNoneForWhatIsNoValidWeight) {
  const rt::Attributes none;
  const auto channels = [&](const char* op, std::vector<int64_t> dims) {
    return channel_map(*find(op), none.view(), dims).channels;
  };
  EXPECT_EQ(channels("Conv", {4, 4}), 0);
  EXPECT_EQ(channels("Conv", {4, 0, 3}), 0);
  EXPECT_EQ(channels("Conv", {int64_t{1} << 40, int64_t{1} << 40, 3}), 0);
  EXPECT_EQ(channels("MatMul", {2, 4, 3}), 0);
  EXPECT_EQ(channels("Relu", {2, 4, 3}), 0);
  rt::Attribute group;
  group.name = "group";
  group.type = rt::Attribute::kInt;
  for (const int64_t groups : {-1, 0, 3}) {
    group.i = groups;
    const rt::Attributes attributes(std::span(&group, 1));
    for (const char* op : {"Conv", "ConvTranspose"}) {
      EXPECT_EQ(channel_map(*find(op), attributes.view(), std::vector<int64_t>{4, 4, 3}).channels, 0) << op << groups;
    }
  }
}

TEST(Operators, LinearOnesAreLinearInTheirInput) {
  std::set<std::string_view> tried;
  for (const Linear& linear : kLinears) {
    tried.insert(find(linear.op)->name);
    ASSERT_TRUE(find(linear.op)->is_linear());
    EXPECT_EQ(find(linear.op)->role(1), Role::kWeight);
    const Value w = Value::random(linear.weight, 1);
    const Value a = Value::random(linear.input, 2);
    const Value b = Value::random(linear.input, 3);
    const Value sum = rt::run_node("Add", 13, {}, {a, b});
    const std::vector<float> expected =
        rt::run_node("Add", 13, {}, {run(linear, a, w), run(linear, b, w)}).values<float>();
    rt::expect_near(run(linear, sum, w), expected, 1e-4f);
  }
  for (const Operator& row : all()) EXPECT_EQ(row.is_linear(), tried.contains(row.name)) << row.name;
}

// 2 x 3 values for each input, all in (0, 1) so that every function takes them; truth values or bytes where it wants those.
std::vector<std::optional<Value>> arguments(const Operator& row, int count, bool is_logical, bool is_bits,
                                            size_t changed) {
  std::vector<std::optional<Value>> inputs;
  for (int i = 0; i < count; ++i) {
    const bool is_condition = row.name == "Where" && i == 0;
    if (is_logical || is_bits || is_condition) {
      std::vector<bool> truths(6, i == 1);
      if (i == 0 && changed < 6) truths[changed] = !truths[changed];
      std::vector<uint8_t> bytes(truths.begin(), truths.end());
      Value value = Value::of<uint8_t>({2, 3}, bytes);
      if (!is_bits) value.type = ElementType::kBool;
      inputs.push_back(value);
    } else {
      std::vector<float> values = {0.15f, 0.25f, 0.35f, 0.45f, 0.55f, 0.65f};
      if (i > 0) values = {0.2f, 0.3f, 0.1f, 0.5f, 0.6f, 0.7f};
      if (i == 0 && changed < 6) values[changed] = 1.5f;
      inputs.push_back(Value::of<float>({2, 3}, values));
    }
  }
  return inputs;
}

TEST(Operators, ElementwiseOnesDependOnTheirOwnPlaceOnly) {
  const std::set<std::string_view> logical = {"And", "Or", "Xor", "Not"};
  const std::set<std::string_view> bits = {"BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"};
  for (const Operator& row : all()) {
    if (!row.is(kElementwise)) continue;
    int count = row.is(kVariadic) ? 3 : 0;
    while (!row.is(kVariadic) && (row.role(count) == Role::kData || row.role(count) == Role::kWeight)) ++count;
    if (row.name == "Pow" || row.name == "CastLike") count = 2;
    std::vector<TestAttribute> attributes;
    if (row.name == "Cast") attributes = {int_of("to", 1)};
    if (row.name == "Mod") attributes = {int_of("fmod", 1)};
    if (row.name == "BitShift") attributes = {rt::string_of("direction", "LEFT")};
    const auto run_with = [&](size_t changed) {
      return rt::run_node(row.name, 20, attributes,
                          arguments(row, count, logical.contains(row.name), bits.contains(row.name), changed));
    };
    const Value before = run_with(6);
    ASSERT_EQ(before.shape.elements(), 6) << row.name;
    const size_t size = before.bytes.size() / 6;
    for (size_t changed = 0; changed < 6; ++changed) {
      const Value after = run_with(changed);
      for (size_t i = 0; i < 6; ++i) {
        if (i == changed) continue;
        EXPECT_EQ(std::memcmp(before.bytes.data() + i * size, after.bytes.data() + i * size, size), 0)
            << row.name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace quench::operators
