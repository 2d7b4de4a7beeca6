#include "compressor/measure/seeded_inputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tests/formats/onnx/test_models.h"

namespace quench::measure {
namespace {

using graph::HostTensor;
using Shape = std::vector<int64_t>;

HostTensor input_of(const std::string& text, uint64_t seed = 1, uint64_t index = 0) {
  const OnnxModel model = testing::load_text(text);
  std::vector<HostTensor> inputs = SeededInputs(model, {.batch = 4}, seed).draw(index);
  EXPECT_EQ(inputs.size(), 1u);
  return std::move(inputs.front());
}

struct Range {
  float low, high;
  double mean;
};

Range range_of(std::span<const float> values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  double sum = 0;
  for (const float value : values) sum += value;
  return {*low, *high, sum / static_cast<double>(values.size())};
}

// Of the squared differences between an element and the one `step` after it, over those of elements far away: near 0
// where the two are neighbours in a picture.
double roughness(const HostTensor& tensor, size_t step) {
  const std::span<const float> x = tensor.floats();
  const size_t far = x.size() / 2 + 1234;
  double near_by = 0, apart = 0;
  for (size_t i = 0; i + far < x.size(); ++i) {
    near_by += std::pow(x[i] - x[i + step], 2);
    apart += std::pow(x[i] - x[i + far], 2);
  }
  return near_by / apart;
}

TEST(SeededInputs, FollowTheDeclaredShapesAndTheSeed) {
  const std::string text = "g (float[N,3,16,16] image) => (float[N,3,16,16] y) { y = Relu(image) }";
  const HostTensor a = input_of(text);
  EXPECT_EQ(a.name, "image");
  EXPECT_EQ(a.dims, (Shape{4, 3, 16, 16}));
  EXPECT_EQ(a.bytes, input_of(text).bytes);
  EXPECT_NE(a.bytes, input_of(text, 1, 1).bytes);
  EXPECT_NE(a.bytes, input_of(text, 2, 0).bytes);
  double power = 0;
  for (const float value : a.floats()) power += static_cast<double>(value) * value;
  EXPECT_NEAR(power / static_cast<double>(a.elements()), 1.0, 0.6);
}

// A segmentation net was destroyed because its N x H x W x C input got noise.
TEST(SeededInputs, ArePicturesInEitherLayout) {
  const HostTensor first = input_of("g (float[N,3,64,48] x) => (float[N,3,64,48] y) { y = Relu(x) }");
  EXPECT_LT(roughness(first, 1), 0.2);   // the next pixel
  EXPECT_LT(roughness(first, 48), 0.2);  // the one below
  const HostTensor last = input_of("g (float[N,64,48,3] x) => (float[N,64,48,3] y) { y = Relu(x) }");
  EXPECT_LT(roughness(last, 1), 0.4);       // mostly the next channel
  EXPECT_LT(roughness(last, 3), 0.2);       // the next pixel
  EXPECT_LT(roughness(last, 3 * 48), 0.2);  // the one below
}

// Photographs have 0.25 to 0.5 deviations between neighbours, shaded shapes without a texture a fifth.
TEST(SeededInputs, PicturesAreAsRoughAsPhotographs) {
  double sum = 0;
  constexpr int kPictures = 32;
  for (uint64_t seed = 1; seed <= kPictures; ++seed) {
    const HostTensor one = input_of("g (float[1,1,160,160] x) => (float[1,1,160,160] y) { y = Relu(x) }", seed);
    sum += std::sqrt(2 * roughness(one, 1)) / kPictures;
  }
  EXPECT_GT(sum, 0.25);
  EXPECT_LT(sum, 0.5);
}

// Half a minute went into drawing a million of them.
TEST(SeededInputs, PicturesComeAgainInAnEnormousBatch) {
  const HostTensor many = input_of("g (float[300,1,4,4] x) => (float[300,1,4,4] y) { y = Relu(x) }");
  const auto picture = [&](size_t n) { return many.floats().subspan(n * 16, 16); };
  EXPECT_TRUE(std::ranges::equal(picture(256), picture(0)));
  EXPECT_FALSE(std::ranges::equal(picture(255), picture(0)));
}

// A file of 451 bytes asked for 75 million numbers, drawn one by one for seven seconds.
TEST(SeededInputs, ValuesComeAgainInAnEnormousShape) {
  constexpr size_t kDrawn = size_t{1} << 22;
  const HostTensor many = input_of("g (float[2,1048576,3,6] x) => (float[2,1048576,3,6] y) { y = Relu(x) }");
  EXPECT_TRUE(std::ranges::equal(many.floats().subspan(kDrawn, 1000), many.floats().first(1000)));
  EXPECT_FALSE(std::ranges::equal(many.floats().subspan(kDrawn - 1000, 1000), many.floats().first(1000)));
  const HostTensor picture = input_of("g (float[1,3,65536,256] x) => (float[1,3,65536,256] y) { y = Relu(x) }");
  EXPECT_EQ(picture.floats()[kDrawn], picture.floats()[0]) << "too large to be drawn";
}

TEST(SeededInputs, OpenHeightsAndWidthsAreThoseOfAPicture) {
  EXPECT_EQ(input_of("g (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }").dims, (Shape{4, 3, 224, 224}));
  EXPECT_EQ(input_of("g (float[1,H,W,3] x) => (float[1,H,W,3] y) { y = Relu(x) }").dims, (Shape{1, 224, 224, 3}));
  EXPECT_EQ(input_of("g (float[N,T] x) => (float[N,T] y) { y = Relu(x) }").dims, (Shape{4, 16}));
}

// Where the graph's first nodes bring values to a scale, pictures come in the one that they undo.
TEST(SeededInputs, HaveTheScaleThatTheGraphUndoes) {
  const auto range = [](const std::string& nodes) {
    return range_of(input_of("g (float[N,32,32,3] x) => (float[N,32,32,3] y) <float[1] a = {127.5}, float[3] b = "
                             "{0.485, 0.456, 0.406}, float[3] c = {0.229, 0.224, 0.225}, float[1] d = {2}, "
                             "float[1] e = {1}> { " +
                             nodes + " }")
                        .floats());
  };
  const Range bytes = range("s = Sub(x, a) y = Div(s, a)");
  EXPECT_GE(bytes.low, 0);
  EXPECT_LE(bytes.high, 255);
  EXPECT_NEAR(bytes.mean, 120, 60);
  for (const char* nodes : {"s = Sub(x, b) y = Div(s, c)", "t = Identity(x) s = Mul(d, t) y = Sub(s, e)"}) {
    const Range unit = range(nodes);
    EXPECT_GE(unit.low, 0) << nodes;
    EXPECT_LE(unit.high, 1) << nodes;
  }
  EXPECT_LT(range("y = Relu(x)").low, -1);
  EXPECT_LT(range("s = Sub(a, x) y = Relu(s)").low, -1);  // not a scale
}

// Where nothing undoes a scale, the first convolution was trained for one.
TEST(SeededInputs, HaveTheScaleThatTheFirstConvolutionWasTrainedFor) {
  enum Scale { kNormalized, kSigned, kUnit, kBytes, kTwiceDivided };
  const auto scale = [](const std::string& nodes, const std::string& initializers = "") {
    const std::string weights = "float[2,3,1,1] w = {0.3, 0.3, 0.3, 0.3, 0.3, 0.3}, float[2] b = {0.5, -0.5}";
    const Range range = range_of(
        input_of("g (float[N,3,32,32] x) => (float[N,C,H,W] y) <" + weights + initializers + "> { " + nodes + " }")
            .floats());
    if (range.high > 2.5f) return kBytes;
    if (range.high > 1) return kNormalized;
    if (range.high < 0.1f) return kTwiceDivided;
    return range.low < 0 ? kSigned : kUnit;
  };
  EXPECT_EQ(scale("y = Conv(x, w)"), kNormalized);
  EXPECT_EQ(scale("y = Conv(x, w, b)"), kNormalized);
  EXPECT_EQ(scale("y = Conv(x, w, c)", ", float[2] c = {0, 0}"), kNormalized);

  // Next to which normalized pictures are nothing, or all; not by a bias alone.
  const std::string faint = ", float[2,3,1,1] f = {0.003, 0.003, 0.003, 0.003, 0.003, 0.003}, float[2] c = {1, -1}";
  const std::string loud = ", float[2,3,1,1] l = {30, 30, 30, 30, 30, 30}, float[2] d = {0.5, -0.5}";
  EXPECT_EQ(scale("y = Conv(x, f, c)", faint), kBytes);
  EXPECT_EQ(scale("t = Conv(x, f) y = Add(t, e)", faint + ", float[1,2,1,1] e = {1, -1}"), kBytes);
  EXPECT_EQ(scale("y = Conv(x, l, d)", loud), kTwiceDivided);
  EXPECT_EQ(scale("y = Conv(x, w, c)", ", float[2] c = {20, -20}"), kNormalized);
  EXPECT_EQ(scale("y = Conv(x, w, c)", ", float[2] c = {0.005, -0.005}"), kNormalized);

  // Of the convolution's values, whose deviation is 1 on normalized pictures.
  const auto normalization = [](const std::string& variance) {
    return ", float[2] one = {3, 3}, float[2] zero = {0, 0}, float[2] v = {" + variance + ", " + variance + "}";
  };
  const std::string nodes = "t = Conv(x, w, b) y = BatchNormalization(t, one, zero, zero, v)";
  EXPECT_EQ(scale(nodes, normalization("1")), kNormalized);
  EXPECT_EQ(scale(nodes, normalization("0.25")), kSigned);
  EXPECT_EQ(scale(nodes, normalization("0.06")), kUnit);
  EXPECT_EQ(scale(nodes, normalization("4000")), kBytes);
  EXPECT_EQ(scale(nodes, normalization("0.00001")), kTwiceDivided);
  // Without statistics, as `compress` leaves them, nothing is known of the training.
  const std::string strong = ", float[2,3,1,1] s = {3, 3, 3, 3, 3, 3}";
  EXPECT_EQ(scale("t = Conv(x, s, b) y = BatchNormalization(t, one, zero, zero, v)", strong + normalization("1.1")),
            kUnit);
  EXPECT_EQ(scale("t = Conv(x, s, b) y = BatchNormalization(t, one, zero, zero, v)", strong + normalization("1")),
            kNormalized);
  EXPECT_EQ(scale("t = Conv(x, s, b) y = BatchNormalization<epsilon = 0.1>(t, one, zero, zero, v)",
                  strong + normalization("0.9")),
            kNormalized);

  // Behind what cuts and shapes; and of what the runtime does not have, nothing shows.
  const std::string cut =
      "s = Slice(x, from, to, axes, two) t = Slice(x, two, to, axes, two) u = Concat<axis = 2>(s, t) "
      "y = Conv(u, f, c)";
  const std::string constants =
      faint + ", int64[1] from = {0}, int64[1] to = {32}, int64[1] axes = {2}, int64[1] two = {2}";
  EXPECT_EQ(scale(cut, constants), kBytes);
  EXPECT_EQ(scale("y = Conv<strides = [0, 0]>(x, f, c)", constants), kNormalized);
}

TEST(SeededInputs, PicturesWithTheirChannelsLastHaveTheirScaleToo) {
  const HostTensor picture = input_of(
      "g (float[N,32,32,3] x) => (float[N,C,H,W] y) <float[2,3,1,1] w = {0.003, 0.003, 0.003, 0.003, 0.003, 0.003}, "
      "float[2] "
      "b = {1, -1}> { t = Transpose<perm = [0, 3, 1, 2]>(x) y = Conv(t, w, b) }");
  EXPECT_GT(range_of(picture.floats()).high, 100);
}

TEST(SeededInputs, NodesWithoutOutputsAreNoConvolutions) {
  onnx::ModelProto proto = testing::parse_text(
      "g (float[N,3,32,32] x) => (float[N,C,H,W] y) <float[2,3,1,1] w = {0.3, 0.3, 0.3, 0.3, 0.3, 0.3}> { "
      "c = Constant<value = float[1] {1}>() t = Conv(x, w) y = Conv(x, w) }",
      17);
  proto.mutable_graph()->mutable_node(0)->clear_output();
  proto.mutable_graph()->mutable_node(1)->clear_output();
  const OnnxModel model = testing::load_proto(proto);
  EXPECT_LT(range_of(SeededInputs(model, {.batch = 4}, 1).draw(0)[0].floats()).low, -1);
}

// Where sizes depend on the batch, what is a picture does, too.
TEST(SeededInputs, APictureOfOneBatchOnlyIsDrawn) {
  onnx::ModelProto proto = testing::parse_text("g (float[N,C,8,32] x) => (float[A,B,D,E] y) { y = Relu(x) }", 17);
  auto& type = *proto.mutable_graph()->mutable_input(0)->mutable_type()->mutable_tensor_type();
  type.mutable_shape()->mutable_dim(1)->set_dim_param("N + 2");
  const OnnxModel model = testing::load_proto(proto);
  const SeededInputs inputs(model, {.batch = 4}, 1);
  EXPECT_EQ(inputs.draw(0, 4)[0].dims, (Shape{4, 6, 8, 32}));
  EXPECT_EQ(inputs.draw(0, 1)[0].dims, (Shape{1, 3, 8, 32}));
}

// As of a .quench file, whose weights are coded.
TEST(SeededInputs, AnotherModelShowsTheScaleWhereWeightsAreMissing) {
  const std::string text =
      "g (float[N,3,32,32] x) => (float[N,C,H,W] y) <float[2,3,1,1] w = {0.003, 0.003, 0.003, 0.003, 0.003, 0.003}, "
      "float[2] b = {1, -1}> { y = Conv(x, w, b) }";
  const OnnxModel model = testing::load_text(text);
  OnnxModel bare;
  bare.proto = model.proto;
  EXPECT_LE(range_of(SeededInputs(bare, {.batch = 4}, 1).draw(0)[0].floats()).high, 2.5f);
  EXPECT_EQ(SeededInputs(bare, {.batch = 4}, 1, &model).draw(0)[0].bytes,
            SeededInputs(model, {.batch = 4}, 1).draw(0)[0].bytes);
}

TEST(SeededInputs, TokensAreAllRowsOfTheTableThatTheyChooseFrom) {
  const auto tokens = [](const std::string& type, const std::string& nodes) {
    return input_of("g (" + type + "[N, 300] x) => (float[M] y) <float[5, 1] table = {0, 1, 2, 3, 4}> { " + nodes +
                    " }");
  };
  const HostTensor integers = tokens("int64", "r = Reshape(x, x) y = Gather(table, r)");
  std::vector<int64_t> values(1200);
  std::memcpy(values.data(), integers.bytes.data(), integers.bytes.size());
  std::vector<int> counts(5);
  for (const int64_t value : values) ++counts.at(static_cast<size_t>(value));
  EXPECT_GT(*std::ranges::min_element(counts), 180);
  const HostTensor narrow = tokens("int8", "i = Cast<to = 7>(x) y = Gather(table, i)");
  EXPECT_EQ(std::to_integer<int>(*std::ranges::max_element(narrow.bytes)), 4);
  const HostTensor floats = tokens("float", "i = Cast<to = 7>(x) u = Unsqueeze(i, i) y = Gather(table, u)");
  const Range range = range_of(floats.floats());
  EXPECT_EQ(range.low, 0);
  EXPECT_EQ(range.high, 4);
  const HostTensor chosen = input_of(
      "g (float[N, 300] x) => (float[N, 300, M] y) <int64[1] depth = {7}, float[2] v = {0, 1}> { i = Cast<to = 6>(x) y "
      "= OneHot(i, depth, v) }");
  EXPECT_EQ(range_of(chosen.floats()).high, 6);
  EXPECT_EQ(range_of(chosen.floats()).low, 0);
}

TEST(SeededInputs, PicturesOfBytesAreNotZerosAndOnes) {
  const HostTensor picture = input_of("g (uint8[N,32,32,3] x) => (float[N,32,32,3] y) { y = Cast<to = 1>(x) }");
  ASSERT_EQ(picture.bytes.size(), 4u * 32 * 32 * 3);
  EXPECT_GT(std::to_integer<int>(*std::max_element(picture.bytes.begin(), picture.bytes.end())), 100);
  const HostTensor tokens = input_of("g (int64[N,T] x) => (int64[N,T] y) { y = Identity(x) }");
  EXPECT_LE(std::to_integer<int>(*std::max_element(tokens.bytes.begin(), tokens.bytes.end())), 1);
}

std::map<std::string, HostTensor> inputs_of(const std::string& text) {
  const OnnxModel model = testing::load_text(text);
  std::map<std::string, HostTensor> inputs;
  for (HostTensor& input : SeededInputs(model, {.batch = 4}, 1).draw(0)) inputs.emplace(input.name, std::move(input));
  return inputs;
}

TEST(SeededInputs, ADimensionHasOneSizeWhereverItsNameStands) {
  const auto inputs = inputs_of(
      "g (float[batch,sequence] x, float[2,batch,8] state, float[2,M,8] other, float[M] first) => (float[A,B] y) "
      "{ y = Relu(x) }");
  EXPECT_EQ(inputs.at("x").dims, (Shape{4, 16}));
  EXPECT_EQ(inputs.at("state").dims, (Shape{2, 4, 8}));
  EXPECT_EQ(inputs.at("other").dims, (Shape{2, 4, 8}));  // as the first dimension of another input
  EXPECT_EQ(inputs.at("first").dims, (Shape{4}));
}

TEST(SeededInputs, AnUnnamedDimensionBehindLayersIsTheBatch) {
  onnx::ModelProto proto =
      testing::parse_text("g (float[A,B] x, float[2,C,8] state) => (float[D,E] y) { y = Relu(x) }", 17);
  for (onnx::ValueInfoProto& input : *proto.mutable_graph()->mutable_input()) {
    for (auto& dim : *input.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim()) {
      if (!dim.has_dim_value()) dim.clear_dim_param();
    }
  }
  const OnnxModel model = testing::load_proto(proto);
  const std::vector<HostTensor> inputs = SeededInputs(model, {.batch = 4}, 1).draw(0);
  EXPECT_EQ(inputs[0].dims, (Shape{4, 16}));
  EXPECT_EQ(inputs[1].dims, (Shape{2, 4, 8}));
}

// Of rank 4 and with four heads, they are no pictures of four channels, 224 long.
TEST(SeededInputs, KeysAndValuesOfThePastAreNoPictures) {
  const std::string text =
      "g (int64[batch_size,sequence_length] ids, float[batch_size,4,past_sequence_length,16] past_key, "
      "float[batch_size,4,P,16] cache, int64[batch_size,total] attention_mask) => (float[A,B] y) { y = Cast(ids) }";
  onnx::ModelProto proto = testing::parse_text(text, 17);
  proto.mutable_graph()
      ->mutable_input(3)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim(1)
      ->set_dim_param("past_sequence_length + sequence_length");
  const OnnxModel model = testing::load_proto(proto);
  const std::vector<HostTensor> inputs = SeededInputs(model, {.batch = 4}, 1).draw(0);
  EXPECT_EQ(inputs[1].dims, (Shape{4, 4, 16, 16}));
  EXPECT_EQ(inputs[2].dims, (Shape{4, 4, 16, 16}));
  ASSERT_EQ(inputs[3].dims, (Shape{4, 32}));
  int64_t shown = 0;
  std::memcpy(&shown, inputs[3].bytes.data() + 8 * 7, 8);
  EXPECT_EQ(shown, 1);  // a mask hides nothing
  EXPECT_FALSE(takes_pictures(model));
  SeededShapes given{.batch = 4};
  given.inputs.dims["past_sequence_length"] = 5;
  EXPECT_EQ(SeededInputs(model, given, 1).draw(0)[3].dims, (Shape{4, 21}));
}

TEST(SeededInputs, ASoundHasTheLengthThatGoesWithItsRate) {
  const auto inputs = inputs_of("g (float[batch,samples] input, int64 sr) => (float[A,B] y) { y = Relu(input) }");
  EXPECT_EQ(inputs.at("input").dims, (Shape{4, 576}));
  EXPECT_EQ(inputs.at("sr").dims, Shape{});
  int64_t rate = 0;
  std::memcpy(&rate, inputs.at("sr").bytes.data(), 8);
  EXPECT_EQ(rate, 16000);
  const auto named = inputs_of(
      "g (float[batch,samples] audio, float[batch,n] audio_features) => (float[A,B] y) { y = Add(audio, "
      "audio_features) }");
  EXPECT_EQ(named.at("audio").dims, (Shape{4, 576}));
  EXPECT_EQ(named.at("audio_features").dims, (Shape{4, 16}));
}

// The correlation of neighbours: near 1 in a sound, near 0 in noise.
double smoothness(std::span<const float> x, size_t step = 1) {
  double products = 0, squares = 0;
  for (size_t i = 0; i + step < x.size(); ++i) {
    products += static_cast<double>(x[i]) * x[i + step];
    squares += static_cast<double>(x[i]) * x[i];
  }
  return products / squares;
}

double deviation_of(std::span<const float> x) {
  double squares = 0;
  for (const float value : x) squares += static_cast<double>(value) * value;
  return std::sqrt(squares / static_cast<double>(x.size()));
}

TEST(SeededInputs, WhatAConvolutionTakesOfOneChannelIsASound) {
  const std::string reshaped = R"(g (float[N,1024] input) => (float[A,B,C,D] y)
    <int64[4] shape = {-1, 1, 1024, 1}, float[1,1,4,1] w = {1, 2, 3, 4}> {
    waves = Reshape(input, shape)
    y = Conv(waves, w) })";
  const HostTensor sound = input_of(reshaped);
  std::vector<double> smooth;
  for (size_t n = 0; n < 4; ++n) {
    const std::span<const float> one = sound.floats().subspan(n * 1024, 1024);
    smooth.push_back(smoothness(one));
    EXPECT_GT(deviation_of(one), 0.005) << n;
    EXPECT_LT(deviation_of(one), 5) << n;
  }
  std::ranges::sort(smooth);
  EXPECT_GT(smooth[0], 0.05);  // a hiss
  EXPECT_GT(smooth[2], 0.7);
  EXPECT_EQ(sound.bytes, input_of(reshaped).bytes);
  EXPECT_NE(sound.bytes, input_of(reshaped, 2).bytes);

  const HostTensor stereo = input_of("g (float[N,500,2] audio_in) => (float[A,B,C] y) { y = Relu(audio_in) }");
  EXPECT_GT(smoothness(stereo.floats(), 2), 0.5);  // along one channel; the other has a sound of its own
  EXPECT_GT(smoothness(stereo.floats(), 2), smoothness(stereo.floats(), 1) + 0.3);
}

TEST(SeededInputs, SoundsComeAgainInAnEnormousBatch) {
  const HostTensor sounds = input_of("g (float[4000,8] audio) => (float[A,B] y) { y = Relu(audio) }");
  const std::span<const float> values = sounds.floats();
  EXPECT_FALSE(std::ranges::equal(values.first(8), values.subspan(8, 8)));
  EXPECT_TRUE(std::ranges::equal(values.first(8), values.subspan(size_t{256} * 8, 8)));
  EXPECT_TRUE(std::ranges::equal(values.subspan(size_t{128} * 8, 8), values.subspan(size_t{3968} * 8, 8)));
}

TEST(SeededInputs, AVectorOfFeaturesIsNoSound) {
  for (const char* text : {"g (float[N,1024] x) => (float[A,B] y) <float[1,1] w = {1}> { y = Gemm(x, w) }",
                           "g (float[N,40,40] x) => (float[A,B,C] y) <float[1,40,1] w> { y = Conv(x, w) }",
                           "g (float[N,32] x) => (float[A,B,C] y) <int64[3] s = {-1, 1, 32}, float[1,1,1] w = {1}> "
                           "{ r = Reshape(x, s) y = Conv(r, w) }"}) {
    const HostTensor noise = input_of(text);
    EXPECT_LT(std::abs(smoothness(noise.floats())), 0.3) << text;
    EXPECT_NEAR(deviation_of(noise.floats()), 1, 0.2) << text;
  }
}

TEST(SeededInputs, StatesOfRecurrentNetworksLieWithinMinusOneAndOne) {
  const auto inputs =
      inputs_of(R"(g (float[1,N,8] x, float[1,N,16] h, float[N,64] state, int64 sr) => (float[A,B,C,D] y)
    <float[1,48,8] w, float[1,48,16] r> {
    moved = Identity(h)
    y = GRU<hidden_size = 16>(x, w, r, , , moved) })");
  EXPECT_NEAR(deviation_of(inputs.at("x").floats()), 1, 0.3);
  EXPECT_NEAR(deviation_of(inputs.at("h").floats()), 0.3, 0.09);
  EXPECT_NEAR(deviation_of(inputs.at("state").floats()), 0.3, 0.06);
}

}  // namespace
}  // namespace quench::measure
