// Nodes that make no sense: every kernel, with inputs of any number, type and shape, and attributes with absurd values.
// infer must refuse what run could not do; what it accepts is run, in buffers of exactly the right size, so that the
// sanitizers see every step over the edge.

#include <map>
#include <random>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

class Generator {
 public:
  explicit Generator(uint32_t seed) : engine_(seed) {}

  int64_t below(int64_t count) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(count)); }
  bool chance(int percent) { return below(100) < percent; }

  // Mostly what a model would say, sometimes what only an attacker would.
  int64_t number() {
    static constexpr int64_t kAbsurd[] = {std::numeric_limits<int64_t>::min(),
                                          std::numeric_limits<int64_t>::max(),
                                          int64_t{1} << 62,
                                          int64_t{1} << 31,
                                          -(int64_t{1} << 40),
                                          int64_t{1} << 30};
    return chance(8) ? kAbsurd[below(6)] : below(9) - 3;
  }

  std::vector<int64_t> numbers() {
    std::vector<int64_t> list(static_cast<size_t>(chance(3) ? below(20) : below(7)));
    for (int64_t& value : list) value = chance(70) ? below(4) : number();
    return list;
  }

  Shape shape() {
    Shape result;
    const int64_t rank = chance(50) ? 4 : below(kMaxRank + 1);
    for (int64_t i = 0; i < rank; ++i) result[result.rank++] = chance(4) ? 0 : 1 + below(rank > 4 ? 2 : 5);
    return result;
  }

  // A shape that operators like beside `first`: the same, a value per channel, weights.
  Shape related(const Shape& first) {
    Shape result = first;
    if (first.rank < 2 || chance(50)) return result;
    if (chance(50)) return {first[1]};
    result[0] = first.rank == 2 ? first[1] : 1 + below(4);
    result[1] = first.rank == 2 ? 1 + below(4) : first[1];
    for (int axis = 2; axis < first.rank; ++axis) result[axis] = 1 + below(3);
    return result;
  }

  Value value(const Shape* like) {
    const Shape dims = like && chance(75) ? related(*like) : chance(40) ? Shape{below(9)} : shape();
    const auto count = static_cast<size_t>(dims.elements());
    switch (chance(50) ? 0 : below(5)) {
      case 1: {
        std::vector<int64_t> values(count);
        for (int64_t& element : values) element = number();
        return Value::of(dims, values);
      }
      case 2: {
        std::vector<int32_t> values(count);
        for (int32_t& element : values) element = static_cast<int32_t>(number());
        return Value::of(dims, values);
      }
      case 3: {
        std::vector<uint8_t> values(count);
        for (uint8_t& element : values) element = static_cast<uint8_t>(number());
        Value result = Value::of(dims, values);
        if (chance(60)) result.type = ElementType::kBool;
        return result;
      }
      default: {
        std::vector<float> values(count);
        for (float& element : values) element = chance(4) ? std::numeric_limits<float>::quiet_NaN() : floating();
        return Value::of(dims, values);
      }
    }
  }

  // An image, a kernel, and for each output two values a tap: shapes that fit each other by no accident.
  std::vector<std::optional<Value>> deformable() {
    const Shape x = {1 + below(2), 1 + below(4), 2 + below(3), 2 + below(3)};
    const Shape w = {1 + below(4), x[1], 1 + below(2), 1 + below(2)};
    std::vector<float> offsets(static_cast<size_t>(x[0] * 2 * w[2] * w[3] * (x[2] - w[2] + 1) * (x[3] - w[3] + 1)));
    for (float& offset : offsets) offset = floating();
    const Shape places = {x[0], 2 * w[2] * w[3], x[2] - w[2] + 1, x[3] - w[3] + 1};
    return {Value::random(x, 1), Value::random(w, 2), Value::of(places, offsets)};
  }

  std::vector<std::optional<Value>> inputs() {
    if (chance(3)) return deformable();
    std::vector<std::optional<Value>> all;
    const bool normalizes = chance(10);
    const int64_t count = normalizes ? 3 + 2 * below(2) : chance(30) ? below(7) : 1 + below(3);
    for (int64_t i = 0; i < count; ++i) {
      const Shape* first = !all.empty() && all[0] ? &all[0]->shape : nullptr;
      if (chance(5)) {
        all.push_back(std::nullopt);
      } else if (normalizes && first && first->rank > 1) {
        all.push_back(Value::random({(*first)[1]}, 1));
      } else {
        all.push_back(value(first));
      }
    }
    return all;
  }

  // Half of the time, one input or number is another.
  void spoil(std::vector<std::optional<Value>>& inputs, std::vector<TestAttribute>& attributes) {
    if (chance(50)) return;
    if (!inputs.empty() && (attributes.empty() || chance(50))) {
      auto& input = inputs[static_cast<size_t>(below(static_cast<int64_t>(inputs.size())))];
      const Value before = input.value_or(Value());
      input = value(&before.shape);
      if (chance(50) && before.type == ElementType::kInt64) {
        std::vector<int64_t> values(static_cast<size_t>(before.shape.elements()));
        for (int64_t& element : values) element = number();
        input = Value::of(before.shape, values);
      }
    } else if (!attributes.empty()) {
      attributes[static_cast<size_t>(below(static_cast<int64_t>(attributes.size())))].i = number();
    }
  }

  float floating() {
    static constexpr float kAbsurd[] = {1e30f, -1e30f, std::numeric_limits<float>::infinity(), 1e-30f};
    return chance(5) ? kAbsurd[below(4)] : static_cast<float>(below(400)) / 100 - 1;
  }

  // One entry per spatial axis of `input`, or anything.
  std::vector<int64_t> spatial_list(const Shape& input, int per_axis) {
    if (input.rank < 3 || chance(10)) return numbers();
    std::vector<int64_t> list(static_cast<size_t>((input.rank - 2) * per_axis));
    for (int64_t& value : list) value = chance(95) ? (per_axis == 2 ? 0 : 1) + below(3) : number();
    return list;
  }

  std::vector<TestAttribute> attributes(const Shape& input) {
    static const std::vector<std::string> kInts = {"axis",
                                                   "group",
                                                   "keepdims",
                                                   "transA",
                                                   "ceil_mode",
                                                   "count_include_pad",
                                                   "storage_order",
                                                   "blocksize",
                                                   "allowzero",
                                                   "to",
                                                   "size",
                                                   "start",
                                                   "end",
                                                   "select_last_index",
                                                   "fmod",
                                                   "batch_dims",
                                                   "upper",
                                                   "noop_with_empty_axes",
                                                   "exclude_outside",
                                                   "value_int"};
    static const std::vector<std::string> kLists = {"kernel_shape", "strides",        "dilations",    "pads",  "axes",
                                                    "perm",         "output_padding", "output_shape", "split", "starts",
                                                    "ends",         "shape",          "value_ints"};
    static const std::vector<std::pair<std::string, std::string>> kTexts = {
        {"auto_pad", "SAME_UPPER"},
        {"auto_pad", "SAME_LOWER"},
        {"auto_pad", "VALID"},
        {"mode", "reflect"},
        {"mode", "edge"},
        {"mode", "linear"},
        {"mode", "cubic"},
        {"mode", "CRD"},
        {"mode", "wrap"},
        {"coordinate_transformation_mode", "tf_crop_and_resize"},
        {"coordinate_transformation_mode", "align_corners"},
        {"reduction", "add"}};
    std::vector<TestAttribute> all;
    for (const std::string& name : kInts) {
      if (chance(15)) all.push_back(int_of(name, number()));
    }
    for (const std::string& name : kLists) {
      if (chance(30)) all.push_back(ints_of(name, numbers()));
    }
    // The first attribute of a name counts.
    for (const auto& [name, per_axis] :
         {std::pair{"kernel_shape", 1}, {"strides", 1}, {"dilations", 1}, {"pads", 2}, {"output_padding", 1}}) {
      if (chance(60)) all.insert(all.begin(), ints_of(name, spatial_list(input, per_axis)));
    }
    if (chance(40)) {
      const auto& [name, text] = kTexts[static_cast<size_t>(below(static_cast<int64_t>(kTexts.size())))];
      all.push_back(string_of(name, text));
    }
    if (chance(20)) all.push_back(floats_of("scales", std::vector<float>(static_cast<size_t>(below(6)), floating())));
    for (const char* name : {"alpha", "beta", "epsilon", "min", "max", "value"}) {
      if (chance(10)) all.push_back(float_of(name, floating()));
    }
    return all;
  }

 private:
  std::mt19937_64 engine_;
};

// A node that makes sense, of operators for which chance alone makes none; parts of it are spoiled then.
struct Specimen {
  std::vector<std::optional<Value>> inputs;
  std::vector<TestAttribute> attributes = {};
};

// What quantized operators take, by letters: bytes of an image, of a kernel or of a matrix, a scale, a zero point, a
// list of sums, a matrix or a list of real numbers, nothing.
std::vector<std::optional<Value>> quantized(std::string_view letters) {
  const auto bytes = [](Shape shape) {
    return Value::of<uint8_t>(shape, std::vector<uint8_t>(static_cast<size_t>(shape.elements()), 200));
  };
  const std::map<char, std::optional<Value>> values = {{'i', bytes({1, 4, 4, 4})},
                                                       {'k', bytes({4, 4, 2, 2})},
                                                       {'m', bytes({4, 4})},
                                                       {'s', Value::scalar(0.5f)},
                                                       {'z', bytes({})},
                                                       {'l', Value::of<int32_t>({4}, {-1, 1000, 1 << 30, 7})},
                                                       {'r', Value::random({4, 4}, 1)},
                                                       {'f', Value::random({4}, 1)},
                                                       {'-', std::nullopt}};
  std::vector<std::optional<Value>> all;
  for (const char letter : letters) all.push_back(values.at(letter));
  return all;
}

const std::map<std::string_view, Specimen>& specimens() {
  const Value image = Value::random({1, 4, 4, 4}, 1);
  const Value sequence = Value::random({3, 2, 4}, 2);
  const Value four = Value::random({4}, 3);
  const Value bytes = Value::of<uint8_t>({2, 3}, {1, 2, 3, 4, 5, 255});
  const Value flags = Value::truths({2, 3}, {0, 1, 1, 0, 0, 1});
  const Value gates = Value::random({1, 4, 4}, 4);
  const Value numbers = Value::of<int32_t>({1, 3}, {1, 0, 1});
  const Value table = Value::random({3, 4}, 5);
  const TestAttribute hidden = int_of("hidden_size", 1);
  static const std::map<std::string_view, Specimen> all = {
      {"And", {{flags, flags}}},
      {"Attention", {{image, image, image}, {int_of("is_causal", 1)}}},
      {"BitShift", {{bytes, bytes}, {string_of("direction", "RIGHT")}}},
      {"CenterCropPad", {{image, Value::indices({2, 3, 4, 7})}}},
      {"Col2Im", {{Value::random({1, 8, 9}, 1), Value::indices({4, 4}), Value::indices({2, 2})}}},
      {"ConvInteger", {quantized("ikzz")}},
      {"ConvTranspose", {{image, Value::random({4, 2, 3, 3}, 1)}}},
      {"DFT", {{Value::random({2, 6, 1}, 1), Value::indices({7})}, {int_of("axis", 1)}}},
      {"CumSum", {{image, Value::indices({1})}}},
      {"DepthToSpace", {{image}, {int_of("blocksize", 2)}}},
      {"Einsum", {{sequence, sequence}, {string_of("equation", "tbi,sbi->bts")}}},
      {"EmbedLayerNormalization",
       {{numbers, numbers, table, table, table, four, four, numbers, numbers}, {int_of("mask_index_type", 1)}}},
      {"FusedConv",
       {{image, Value::random({4, 4, 1, 1}, 1), four, image},
        {string_of("activation", "Sigmoid"), int_of("group", 1)}}},
      {"FusedMatMul", {{image, image}, {int_of("transB", 1)}}},
      {"GRU", {{sequence, Value::random({1, 3, 4}, 1), Value::random({1, 3, 1}, 1)}, {hidden}}},
      {"Gemm", {{table, Value::random({4, 2}, 1)}}},
      {"GridSample", {{image, Value::random({1, 3, 2, 2}, 1)}}},
      {"GroupNormalization", {{image, four, four}, {int_of("num_groups", 4)}}},
      {"LSTM", {{sequence, gates, Value::random({1, 4, 1}, 1)}, {hidden}}},
      {"DynamicQuantizeMatMul", {quantized("rmszf")}},
      {"MatMulInteger", {quantized("mmzz")}},
      {"MatMulNBits",
       {{table, Value::of<uint8_t>({2, 1, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), Value::random({2}, 1)},
        {int_of("K", 4), int_of("N", 2), int_of("block_size", 8), int_of("bits", 4)}}},
      {"MatMulIntegerToFloat", {quantized("mmsszzf")}},
      {"MaxRoiPool", {{image, Value::of<float>({1, 5}, {0, 1, 0, 3, 3})}, {ints_of("pooled_shape", {2, 2})}}},
      {"MaxUnpool",
       {{image, Value::of<int64_t>(image.shape, std::vector<int64_t>(64, 17))}, {ints_of("kernel_shape", {2, 2})}}},
      {"MelWeightMatrix",
       {{Value::indices({3}), Value::indices({16}), Value::indices({8000}), Value::scalar(0), Value::scalar(4000)}}},
      {"Multinomial", {{Value::random({2, 3}, 1)}}},
      {"NegativeLogLikelihoodLoss", {{image, Value::of<int64_t>({1, 4, 4}, std::vector<int64_t>(16, 2)), four}}},
      {"OneHot", {{Value::indices({0, 3, -2}), Value::scalar(4), Value::of<float>({2}, {0, 1})}}},
      {"Or", {{flags, flags}}},
      {"QGemm", {quantized("mszmszlsz"), {int_of("transA", 1)}}},
      {"QLinearAdd", {quantized("mszmszsz")}},
      {"QLinearAveragePool", {quantized("iszsz"), {ints_of("kernel_shape", {2, 2})}}},
      {"QLinearConcat", {quantized("szmszmsz"), {int_of("axis", 1)}}},
      {"QLinearConv", {quantized("iszkszszl")}},
      {"QLinearGlobalAveragePool", {quantized("iszsz")}},
      {"QLinearLeakyRelu", {quantized("mszsz")}},
      {"QLinearMatMul", {quantized("mszmszsz")}},
      {"QLinearMul", {quantized("mszmszsz")}},
      {"QLinearSigmoid", {quantized("mszsz")}},
      {"QLinearSoftmax", {quantized("mszsz"), {int_of("opset", 13)}}},
      {"RandomNormal", {{}, {ints_of("shape", {2, 3})}}},
      {"RandomUniform", {{}, {ints_of("shape", {2, 3})}}},
      {"RNN", {{sequence, Value::random({1, 1, 4}, 1), Value::random({1, 1, 1}, 1)}, {hidden}}},
      {"ReverseSequence", {{sequence, Value::indices({3, 2})}}},
      {"NonMaxSuppression",
       {{Value::random({1, 4, 4}, 1), Value::random({1, 2, 4}, 2), Value::indices({2}),
         Value::of<float>({1}, {0.5f})}}},
      {"RoiAlign", {{image, Value::of<float>({2, 4}, {0, 0, 3, 3, 1, 1, 2, 3}), Value::indices({0, 0})}}},
      {"RotaryEmbedding", {{image, Value::random({1, 4, 2}, 1), Value::random({1, 4, 2}, 2)}}},
      {"STFT", {{Value::random({1, 16, 1}, 1), Value::indices({3}), four}}},
      {"ScatterND", {{image, Value::of<int64_t>({2, 4}, {0, 1, 2, 3, 0, 3, 2, 1}), Value::random({2}, 1)}}},
      {"SkipLayerNormalization", {{sequence, sequence, four, four, four}}},
      {"SkipSimplifiedLayerNormalization", {{sequence, sequence, four, four}}},
      {"SimplifiedLayerNormalization", {{sequence, four}}},
      {"SoftmaxCrossEntropyLoss", {{image, Value::of<int64_t>({1, 4, 4}, std::vector<int64_t>(16, 2)), four}}},
      {"SpaceToDepth", {{image}, {int_of("blocksize", 2)}}},
      {"Tile", {{table, Value::indices({2, 3})}}},
      {"TopK", {{image, Value::indices({2})}}},
      {"Xor", {{flags, flags}}},
  };
  return all;
}

// The same on every machine, as std::hash is not.
uint32_t seed_of(std::string_view name) {
  uint32_t seed = 1;
  for (const char letter : name) seed = seed * 31 + static_cast<uint8_t>(letter);
  return seed;
}

TEST(Hostile, NoNodeBreaksAKernel) {
  constexpr int kRounds = 1000;
  int64_t ran = 0;
  int64_t kernels = 0;
  int64_t kernels_that_ran = 0;
  for (std::span<const Kernel> table : all_kernels(KernelSet::kReference)) {
    for (const Kernel& kernel : table) {
      if ((kernel.flags & kControl) != 0) continue;  // control_test.cc
      ++kernels;
      // Not by number: what a kernel is tried with depends on no other.
      Generator generator(seed_of(kernel.op));
      const int64_t ran_before = ran;
      for (int round = 0; round < kRounds; ++round) {
        const auto specimen = specimens().find(kernel.op);
        const bool fits = specimen != specimens().end() && generator.chance(25);
        std::vector<std::optional<Value>> inputs = fits ? specimen->second.inputs : generator.inputs();
        const int opset = std::max(kernel.since_version,
                                   std::min<int>(kernel.until_version, static_cast<int>(7 + generator.below(14))));
        const int outputs = static_cast<int>(1 + generator.below(3));
        std::vector<TestAttribute> attributes =
            generator.attributes(inputs.empty() || !inputs[0] ? Shape() : inputs[0]->shape);
        if (fits) {
          if (generator.chance(50)) attributes.clear();
          attributes.insert(attributes.begin(), specimen->second.attributes.begin(), specimen->second.attributes.end());
          generator.spoil(inputs, attributes);
        }
        DirectNode node(&kernel, opset, attributes, inputs, outputs,
                        generator.chance(80) ? kAllInputs : static_cast<uint32_t>(generator.below(8)));
        if (!node.infer().ok()) continue;
        int64_t elements = 0;
        for (int i = 0; i < outputs; ++i) elements = std::max(elements, node.output_tensor(i).elements());
        if (elements > 20000 || node.scratch_bytes() > (1 << 22)) continue;
        // An index out of range is found here, and nothing else needs to be.
        if (node.run().ok()) ++ran;
      }
      kernels_that_ran += ran > ran_before;
      if (ran == ran_before) std::printf("%s never ran\n", kernel.op);
    }
  }
  EXPECT_EQ(kernels_that_ran, kernels);
  EXPECT_GT(ran, kernels * kRounds / 20);
  std::printf("%lld of %lld nodes ran, %lld of %lld kernels\n", static_cast<long long>(ran),
              static_cast<long long>(kernels * kRounds), static_cast<long long>(kernels_that_ran),
              static_cast<long long>(kernels));
}

}  // namespace
}  // namespace quench::rt
