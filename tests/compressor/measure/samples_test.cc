#include "compressor/measure/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include "compressor/data/npy.h"
#include "compressor/measure/runner.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::measure {
namespace {

using data::Array;
using graph::HostTensor;
using Dims = std::vector<int64_t>;
using Specs = std::vector<std::string>;

Array counted(Dims dims, float first = 0) {
  std::vector<float> values(
      static_cast<size_t>(std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies())));
  std::iota(values.begin(), values.end(), first);
  return Array::float32(std::move(dims), values);
}

template <typename T>
Array array_of(ElementType type, Dims dims, const std::vector<T>& values) {
  Array array{type, std::move(dims), std::vector<std::byte>(values.size() * sizeof(T))};
  std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

const data::DatasetOptions kDoubled{.mean = {}, .std = {}, .scale = 2.f, .layout = {}, .model_input = {}};
const data::DatasetOptions kShifted{.mean = {0.5f}, .std = {}, .scale = {}, .layout = {}, .model_input = {}};

class SamplesTest : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  std::string npz(const std::string& name, const std::vector<std::pair<std::string, Array>>& arrays) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    data::write_npz(folder_ / name, arrays);
    return at(name);
  }
  std::string npy(const std::string& name, const Array& array) const {
    data::write_npy(folder_ / name, array);
    return at(name);
  }

  // Of a model with these inputs.
  static Samples open(const std::string& inputs, const Specs& specs, const data::DatasetOptions& preprocessing = {},
                      const InputShapes& shapes = {}) {
    const OnnxModel model =
        testing::load_text("g (" + inputs + ") => (float[1] out) <float[1] c = {1}> { out = Relu(c) }");
    return Samples("m.onnx", model.proto, specs, preprocessing, shapes);
  }
  static std::string error(const std::string& inputs, const Specs& specs) {
    return testing::error_of([&] { open(inputs, specs); });
  }

  // The inputs of the sample that has this place in the data.
  static std::map<std::string, HostTensor> sample(const Samples& samples, uint64_t index) {
    for (uint64_t k = 0; k < samples.size(); ++k) {
      const Samples::Batch batch = samples.batch(k, 1);
      if (batch.indices != std::vector<uint64_t>{index}) continue;
      std::map<std::string, HostTensor> inputs;
      for (const HostTensor& input : batch.inputs) inputs[input.name] = input;
      return inputs;
    }
    ADD_FAILURE() << "no sample " << index;
    return {};
  }

  static std::vector<float> floats(const HostTensor& tensor) {
    return {tensor.floats().begin(), tensor.floats().end()};
  }
  template <typename T>
  static std::vector<T> values(const HostTensor& tensor) {
    std::vector<T> values(tensor.bytes.size() / sizeof(T));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(SamplesTest, TheOnlyInputTakesAnyDataSet) {
  const Samples shapes = open("float[N,3,8,8] x", {"synthetic:shapes,count=10"});
  EXPECT_EQ(shapes.size(), 10u);
  EXPECT_TRUE(shapes.has_labels());
  EXPECT_EQ(shapes.batch_size(7), 7u);
  const Samples::Batch batch = shapes.batch(8, 7);
  EXPECT_EQ(batch.samples, 2u);
  EXPECT_EQ(batch.rows, 2u);
  EXPECT_EQ(batch.inputs[0].dims, (Dims{2, 3, 8, 8}));
  EXPECT_EQ(batch.labels.size(), 2u);
  EXPECT_EQ(shapes.batch(10, 7).samples, 0u);
  // Filled up to the batch that the model demands.
  const Samples fixed = open("float[4,2] x", {npy("x.npy", counted({5, 2}))});
  EXPECT_EQ(fixed.batch_size(64), 4u);
  const Samples::Batch last = fixed.batch(4, 4);
  EXPECT_EQ(last.samples, 1u);
  EXPECT_EQ(last.rows, 4u);
  const float first = static_cast<float>(2 * last.indices[0]);
  EXPECT_EQ(floats(last.inputs[0]),
            (std::vector<float>{first, first + 1, first, first + 1, first, first + 1, first, first + 1}));
  // Every sample comes once.
  std::vector<uint64_t> all;
  for (uint64_t k = 0; k < shapes.size(); ++k) all.push_back(shapes.batch(k, 1).indices[0]);
  std::ranges::sort(all);
  for (uint64_t k = 0; k < all.size(); ++k) EXPECT_EQ(all[k], k);
}

TEST_F(SamplesTest, ValuesAreExactAndOfTheTypeOfTheInput) {
  const int64_t large = (int64_t{1} << 53) + 1;
  const std::string integers = npy("i.npy", Array::int64({2, 1}, std::vector<int64_t>{large, -7}));
  const std::string doubles = npy("d.npy", array_of(ElementType::kFloat64, {1, 1}, std::vector<double>{0.1}));
  const std::string small = npy("s.npy", array_of(ElementType::kUint8, {1, 2}, std::vector<uint8_t>{0, 1}));
  for (const char* prefix : {"", "x="}) {  // as a data set, and as an array of an input
    EXPECT_EQ(values<int64_t>(sample(open("int64[N,1] x", {prefix + integers}), 0)["x"]), std::vector{large});
    EXPECT_EQ(values<double>(sample(open("double[N,1] x", {prefix + doubles}), 0)["x"]), std::vector{0.1});
    EXPECT_EQ(floats(sample(open("float[N,1] x", {prefix + doubles}), 0)["x"]), std::vector{0.1f});
    EXPECT_EQ(floats(sample(open("float16[N,1] x", {prefix + integers}), 1)["x"]), std::vector{-7.f});
    const HostTensor flags = sample(open("bool[N,2] x", {prefix + small}), 0)["x"];
    EXPECT_EQ(flags.dtype, onnx::TensorProto::BOOL);
    EXPECT_EQ(values<uint8_t>(flags), (std::vector<uint8_t>{0, 1}));
    EXPECT_EQ(values<int32_t>(sample(open("int32[N,2] x", {prefix + small}), 0)["x"]), (std::vector{0, 1}));
    const Samples narrow = open("int32[N,1] x", {prefix + integers});
    EXPECT_EQ(testing::error_of([&] { sample(narrow, 0); }),
              "input 'x': value 9007199254740993 does not fit the input's type");
  }
  // With preprocessing, they are what it makes of them.
  EXPECT_EQ(values<int64_t>(sample(open("int64[N,1] x", {integers}, kDoubled), 1)["x"]), std::vector<int64_t>{-14});
}

TEST_F(SamplesTest, AFileWithAnAxisMoreHasTheSamplesAlongIt) {
  const Samples samples = open("float[N,2] a, float[2,N,1] state, int64 rate, float[N,3] same",
                               {npz("d.npz", {{"a", counted({3, 2})},
                                              {"state", counted({3, 2, 1, 1})},
                                              {"rate", Array::int64({}, std::vector<int64_t>{16000})},
                                              {"same", counted({1, 3})},
                                              {"other", counted({7})}})});
  EXPECT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples.batch_size(64), 1u);
  auto inputs = sample(samples, 2);
  EXPECT_EQ(inputs.size(), 4u);
  EXPECT_EQ(inputs["a"].dims, (Dims{1, 2}));
  EXPECT_EQ(floats(inputs["a"]), (std::vector<float>{4, 5}));
  EXPECT_EQ(inputs["state"].dims, (Dims{2, 1, 1}));
  EXPECT_EQ(floats(inputs["state"]), (std::vector<float>{4, 5}));
  EXPECT_EQ(inputs["rate"].dims, Dims{});
  EXPECT_EQ(values<int64_t>(inputs["rate"]), std::vector<int64_t>{16000});
  EXPECT_EQ(floats(inputs["same"]), (std::vector<float>{0, 1, 2}));
}

TEST_F(SamplesTest, WithoutOneTheFirstAxisCountsWhereAllCanBeBatches) {
  const std::string inputs = "float[N,2] a, float[1,1,3] b";
  const Samples rows = open(inputs, {npz("d.npz", {{"a", counted({4, 2})}, {"b", counted({4, 1, 3})}})});
  EXPECT_EQ(rows.size(), 4u);
  auto third = sample(rows, 3);
  EXPECT_EQ(third["a"].dims, (Dims{1, 2}));
  EXPECT_EQ(floats(third["b"]), (std::vector<float>{9, 10, 11}));
  // Sequences of different lengths are no batches, nor are two of the same length without any other axis.
  EXPECT_EQ(open("float[S,2] a, float[T,2] b", {npz("e.npz", {{"a", counted({4, 2})}, {"b", counted({3, 2})}})}).size(),
            1u);
  const Samples tokens = open("int64[S] a, int64[T] b", {npz("f.npz", {{"a", counted({4})}, {"b", counted({4})}})});
  EXPECT_EQ(tokens.size(), 1u);
  EXPECT_EQ(sample(tokens, 0)["a"].dims, (Dims{4}));
  // A state whose first axis is no batch makes the file one sample.
  const Samples state =
      open("float[1,2] a, float[2,N,4] b", {npz("g.npz", {{"a", counted({1, 2})}, {"b", counted({2, 1, 4})}})});
  EXPECT_EQ(state.size(), 1u);
  EXPECT_EQ(sample(state, 0)["b"].dims, (Dims{2, 1, 4}));
}

TEST_F(SamplesTest, FilesOfSamplesComeInTheOrderOfTheirNamesWithAnyShapes) {
  for (int k = 0; k < 3; ++k) {
    npz("samples/real_" + std::to_string(k) + ".npz",
        {{"text", counted({2 + k}, static_cast<float>(10 * k))}, {"speaker", counted({1}, static_cast<float>(k))}});
  }
  testing::write_file(folder_ / "samples/readme.txt", "not looked at");
  const Specs specs[] = {{at("samples")},
                         {at("samples/real_0.npz"), at("samples/real_1.npz"), at("samples/real_2.npz")}};
  for (const Specs& spec : specs) {
    const Samples samples = open("int64[T] text, int64[1] speaker", spec);
    ASSERT_EQ(samples.size(), 3u);
    EXPECT_FALSE(samples.has_labels());
    for (int64_t k = 0; k < 3; ++k) {
      auto inputs = sample(samples, static_cast<uint64_t>(k));
      EXPECT_EQ(inputs["text"].dims, (Dims{2 + k}));
      EXPECT_EQ(values<int64_t>(inputs["text"])[0], 10 * k);
      EXPECT_EQ(values<int64_t>(inputs["speaker"])[0], k);
    }
  }
  // Of the only input, too; the array may have any name where it is the only one.
  for (int k = 0; k < 2; ++k) npz("one/" + std::to_string(k) + ".npz", {{"values", counted({3, 2})}});
  EXPECT_EQ(open("float[N,2] x", {at("one")}).size(), 6u);
  EXPECT_EQ(open("float[N,2] x", {at("one/0.npz"), at("one")}).size(), 9u);
  // .npy files have one array.
  std::filesystem::create_directories(folder_ / "arrays");
  for (int k = 0; k < 3; ++k) npy("arrays/" + std::to_string(k) + ".npy", counted({k + 1, 2}));
  const Samples arrays = open("float[N,2] x", {at("arrays")});
  EXPECT_EQ(arrays.size(), 6u);
  EXPECT_EQ(floats(sample(arrays, 2)["x"]), (std::vector<float>{2, 3}));
  EXPECT_NE(error("float[N,2] x, float[N,2] z", {at("arrays")}).find("0.npy: has one array"), std::string::npos);
}

TEST_F(SamplesTest, EachInputMayHaveDataOfItsOwn) {
  const std::string state = npy("state.npy", counted({5, 2, 1, 4}));
  const Specs specs = {"image=synthetic:shapes,count=5", "state=" + state, "mask=1", "past=zeros",
                       "a=b=" + npz("d.npz", {{"p", counted({5, 2})}, {"q", counted({5, 2}, 100)}}) + ":q"};
  const Samples samples =
      open("float[batch,3,8,8] image, float[2,batch,4] state, bool[1,3] mask, float[batch,2,width] past, float[N,2] c",
           {specs[0], specs[1], specs[2], specs[3], "c=" + at("d.npz") + ":q"}, kShifted,
           {.whole = {}, .dims = {{"width", 6}}});
  EXPECT_EQ(samples.size(), 5u);
  EXPECT_TRUE(samples.has_labels());
  EXPECT_EQ(samples.batch(0, 1).labels.size(), 1u);
  auto inputs = sample(samples, 4);
  EXPECT_EQ(inputs["image"].dims, (Dims{1, 3, 8, 8}));
  EXPECT_EQ(inputs["state"].floats()[0], 32);
  EXPECT_EQ(values<uint8_t>(inputs["mask"]), (std::vector<uint8_t>{1, 1, 1}));
  EXPECT_EQ(inputs["past"].dims, (Dims{1, 2, 6}));
  EXPECT_EQ(floats(inputs["past"]), std::vector<float>(12));
  EXPECT_EQ(floats(inputs["c"]), (std::vector<float>{108, 109}));
  const float mean = std::accumulate(inputs["image"].floats().begin(), inputs["image"].floats().end(), 0.f) / 192;
  EXPECT_LE(*std::ranges::min_element(inputs["image"].floats()), 0) << mean;
  EXPECT_GE(*std::ranges::min_element(inputs["image"].floats()), -0.5f);
  // A batch that the model fixes has the image in each place.
  const Samples fixed = open("float[2,3,8,8] image, float[2] c", {"image=synthetic:shapes,count=3", "c=zeros"});
  const Samples::Batch batch = fixed.batch(0, 1);
  EXPECT_EQ(batch.rows, 2u);
  EXPECT_EQ(batch.samples, 1u);
  EXPECT_EQ(batch.inputs[0].dims, (Dims{2, 3, 8, 8}));
}

TEST_F(SamplesTest, FilledInputsTakeTheSizesOfOthers) {
  const std::string inputs = "int64[batch,T] tokens, int64[batch,T] mask, float[layers,batch,8] past";
  const std::string tokens = npy("t.npy", counted({1, 9}));
  auto sizes = sample(open(inputs, {"tokens=" + tokens, "mask=1", "past=zeros"}), 0);
  EXPECT_EQ(sizes["mask"].dims, (Dims{1, 9}));
  EXPECT_EQ(values<int64_t>(sizes["mask"]), std::vector<int64_t>(9, 1));
  EXPECT_EQ(sizes["past"].dims, (Dims{1, 1, 8}));
  const InputShapes given{.whole = {{"past", {3, 1, 8}}}, .dims = {}};
  EXPECT_EQ(sample(open(inputs, {"tokens=" + tokens, "mask=1", "past=zeros"}, {}, given), 0)["past"].dims,
            (Dims{3, 1, 8}));
  const Samples open_still = open("float[N,2] a, float[N,W] b", {"a=" + npy("a.npy", counted({1, 2})), "b=zeros"});
  EXPECT_TRUE(
      testing::contains(testing::error_of([&] { sample(open_still, 0); }),
                        "--data b=zeros: the model leaves the shape of input 'b' open; give it with --shape or --dim"));
}

TEST_F(SamplesTest, PartsHaveNoSampleInCommonAndAllTogether) {
  for (const int64_t count : {1, 3, 15, 16, 17, 100}) {
    const Samples all = open("float[N,2] x", {npy("x.npy", counted({count, 2}))});
    std::map<Samples::Part, std::vector<uint64_t>> parts;
    for (const Samples::Part part : {Samples::Part::kCalibration, Samples::Part::kHeldOut}) {
      const Samples some = all.part(part);
      for (uint64_t k = 0; k < some.size(); ++k) {
        const Samples::Batch batch = some.batch(k, 1);
        EXPECT_EQ(batch.inputs[0].floats()[0], static_cast<float>(2 * batch.indices[0]));
        parts[part].push_back(batch.indices[0]);
      }
      EXPECT_EQ(some.batch(some.size(), 1).samples, 0u);
    }
    std::vector<uint64_t> together = parts[Samples::Part::kCalibration];
    std::ranges::copy(parts[Samples::Part::kHeldOut], std::back_inserter(together));
    std::ranges::sort(together);
    ASSERT_EQ(together.size(), static_cast<size_t>(count));
    for (uint64_t k = 0; k < together.size(); ++k) EXPECT_EQ(together[k], k);
    EXPECT_EQ(parts[Samples::Part::kCalibration].empty(), count < 16);
    for (const uint64_t place : parts[Samples::Part::kHeldOut]) EXPECT_TRUE(count < 16 || place % 4 == 3u);
  }
}

TEST_F(SamplesTest, LabelsComeWithTheSamples) {
  const auto file = [&](const char* name, int64_t n, const std::vector<int64_t>& labels) {
    return npz(name, {{"a", counted({n, 2})}, {"b", counted({n, 2})}, {"y", Array::int64({n}, labels)}});
  };
  const std::string inputs = "float[N,2] a, float[N,2] b";
  const Samples samples = open(inputs, {file("d.npz", 2, {3, 1}), file("e.npz", 1, {2})});
  ASSERT_TRUE(samples.has_labels());
  for (uint64_t k = 0; k < 3; ++k) {
    const Samples::Batch batch = samples.batch(k, 1);
    EXPECT_EQ(batch.labels, std::vector<int64_t>({std::vector<int64_t>{3, 1, 2}[batch.indices[0]]}));
  }
  EXPECT_FALSE(open("float[N,2] a, float[N,2] b, int64[N] y", {at("d.npz")}).has_labels()) << "y is an input";
  const std::string without = npz("f.npz", {{"a", counted({1, 2})}, {"b", counted({1, 2})}});
  EXPECT_TRUE(testing::contains(error(inputs, {at("d.npz"), without}), "f.npz: has no labels ('y'), unlike "));
  EXPECT_TRUE(testing::contains(error(inputs, {without, at("d.npz")}), "d.npz: has labels ('y'), unlike "));
  EXPECT_TRUE(testing::contains(error(inputs, {file("g.npz", 1, {-1})}), "g.npz: array 'y': label -1 is below 0"));
  const std::string two = npz("h.npz", {{"a", counted({2, 2})}, {"b", counted({2, 2})}, {"y", counted({2})}});
  EXPECT_TRUE(testing::contains(error(inputs, {two}), "must hold integer labels"));
  const std::string three =
      npz("i.npz",
          {{"a", counted({2, 2})}, {"b", counted({2, 2})}, {"y", Array::int64({3}, std::vector<int64_t>{0, 1, 2})}});
  EXPECT_TRUE(testing::contains(error(inputs, {three}), "there are 2 samples but 3 labels"));
}

TEST_F(SamplesTest, WhatDoesNotFitIsNamed) {
  const std::string two = "float[N,2] a, float[N,2] b";
  const std::string a = npz("a.npz", {{"a", counted({3, 2})}}), one = npy("one.npy", counted({3, 2}));
  const std::string stacked = npz("s.npz", {{"a", counted({3, 1, 2})}, {"b", counted({4, 1, 2})}});
  const std::string wide = npz("w.npz", {{"a", counted({3, 5})}, {"b", counted({3, 2})}});
  const std::string none = npz("n.npz", {{"a", counted({0, 1, 2})}, {"b", counted({0, 1, 2})}});
  npz("empty/readme/none.npz", {});
  const std::vector<std::pair<Specs, std::string>> table = {
      {{a}, "a.npz: there is no array 'b' for the model's input of that name; it has a"},
      {{stacked}, "s.npz: array 'a' has 3 samples, and "},
      {{wide}, "w.npz: array 'a': an array of 3x5 does not fit the model's input 'a' of Nx2"},
      {{none}, "there are no samples in it"},
      {{one}, "m.onnx: the model has the inputs a, b: give --data NAME=SPEC for each, or .npz files with their arrays"},
      {{"synthetic:shapes"}, "the model has the inputs a, b: give --data NAME=SPEC"},
      {{at("empty")}, "the model has the inputs a, b: give --data NAME=SPEC"},
      {{"a=" + one}, "m.onnx: no data are given for input 'b' (--data b=SPEC)"},
      {{"a=" + one, "a=" + one, "b=" + one}, "--data: input 'a' is given twice"},
      {{"a=" + one, "c=" + one}, "begins with the name of no input, unlike others; the model has a, b"},
      {{"a=" + one, one}, "begins with the name of no input"},
      {{"a=" + one, "b=" + a + ":z"}, "a.npz: there is no array 'z'; it has a"},
      {{"a=" + one, "b=cifar10:" + at("no")}, "which images do not fit"},
      {{"a=" + one, "b=nothing"}, "nothing: this is no data"},
      {{"a=" + one, "b="}, "--data b=: nothing is given behind the name"},
      {{"a=" + one, "b=.npz"}, ".npz"},
      {{"a=" + one, "b=.npz:"}, ".npz"},
      {{"a=" + one, "b=nan"}, "nan: this is no data"},
      {{"a=" + one, "b=" + at("missing.npy")}, "missing.npy"},
      {{"a=" + one, "b=" + npy("four.npy", counted({4, 1, 2}))}, "one.npy: is 3 long, and there are 4 samples"}};
  for (const auto& [specs, message] : table) EXPECT_TRUE(testing::contains(error(two, specs), message));
  EXPECT_TRUE(
      testing::contains(error("string[N] text", {one}), "m.onnx: input 'text' takes strings, which data cannot be"));
  EXPECT_TRUE(testing::contains(error("float[N,2] a", {one, one}), "the model has the inputs a"));
  for (const Specs& specs : {Specs{"a=" + one, "b=" + one}, Specs{wide}}) {
    EXPECT_EQ(testing::error_of([&] { open(two, specs, kShifted); }),
              "--mean, --std, --scale, --layout and --order are for images, and the data are arrays");
  }
  EXPECT_TRUE(testing::contains(testing::error_of([&] {
                                  open(two, {a}, {}, {.whole = {{"z", {1}}}, .dims = {}});
                                }),
                                "--shape: there is no input 'z'"));
}

TEST_F(SamplesTest, InputsWithDefaultValuesMayBeLeftOut) {
  OnnxModel model = testing::load_text(
      "g (float[N,2] a, float[N,2] b) => (float[N,2] y) <float[1] shift = {3}> "
      "{ c = Add(a, b) y = Add(c, shift) }");
  onnx::ValueInfoProto& input = *model.proto.mutable_graph()->add_input();
  input.set_name("shift");
  input.mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
  input.mutable_type()->mutable_tensor_type()->mutable_shape()->add_dim()->set_dim_value(1);
  const auto names = [&](const Specs& specs) {
    std::vector<std::string> given;
    for (const HostTensor& tensor : Samples("m", model.proto, specs, {}).batch(0, 1).inputs)
      given.push_back(tensor.name);
    std::ranges::sort(given);
    return given;
  };
  const std::string array = npy("a.npy", counted({1, 2}));
  EXPECT_EQ(names({"a=" + array, "b=" + array}), (Specs{"a", "b"}));
  EXPECT_EQ(names({"a=" + array, "b=" + array, "shift=5"}), (Specs{"a", "b", "shift"}));
  EXPECT_EQ(names({npz("d.npz", {{"a", counted({1, 2})}, {"b", counted({1, 2})}})}), (Specs{"a", "b"}));
  EXPECT_EQ(names({npz("e.npz", {{"a", counted({1, 2})}, {"b", counted({1, 2})}, {"shift", counted({1})}})}),
            (Specs{"a", "b", "shift"}));
}

}  // namespace
}  // namespace quench::measure
