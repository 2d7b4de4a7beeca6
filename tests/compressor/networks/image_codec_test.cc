#include "compressor/networks/image_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "compressor/graph/evaluator.h"
#include "tests/compressor/networks/evaluate.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::networks {
namespace {

using graph::Evaluator;
using graph::HostTensor;
using ::quench::testing::error_of;

constexpr ImageCodecOptions kSmall{.channels = 8, .latents = 3, .blocks = 1, .qualities = 4, .seed = 7};

HostTensor quality_of(float quality) { return HostTensor::float32("quality", {1, 1}, {{quality}}); }

HostTensor picture(int64_t height, int64_t width) {
  HostTensor image = HostTensor::float32("image", {1, 3, height, width});
  for (size_t i = 0; i < image.floats().size(); ++i) image.floats()[i] = static_cast<float>(i * 7919 % 256);
  return image;
}

TEST(ImageCodec, GoesToAnEighthAndBack) {
  const ImageCodec codec = build(kSmall);
  Evaluator encoder(codec.encoder), decoder(codec.decoder);
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{16, 24}, {40, 8}}) {
    HostTensor latent = encoder.run({{picture(height, width), quality_of(2)}})[0];
    EXPECT_EQ(latent.dims, (std::vector<int64_t>{1, 3, height / 8, width / 8}));
    latent.name = "latent";
    const HostTensor image = decoder.run({{latent, quality_of(2)}})[0];
    EXPECT_EQ(image.dims, (std::vector<int64_t>{1, 3, height, width}));
  }
}

// They become 0.
void remove_thresholds(OnnxModel& model) {
  for (onnx::TensorProto& tensor : *model.proto.mutable_graph()->mutable_initializer()) {
    if (tensor.name() != "threshold") continue;
    const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    set_weight(model, tensor, onnx::TensorProto::FLOAT, dims,
               owned_source(std::vector<std::byte>(static_cast<size_t>(dims[0]) * sizeof(float))));
    return;
  }
  ADD_FAILURE() << "there are no thresholds";
}

constexpr ImageCodecOptions kComplete{.channels = 8, .latents = 192, .blocks = 1, .qualities = 4, .seed = 7};

// With all 192 frequencies nothing is lost before the indices but what the thresholds take, at the borders neither; the
// contrast, which is high here, is undone.
TEST(ImageCodec, BeginsAsATransformThatIsUndone) {
  const HostTensor image = picture(24, 40);
  for (const bool weighted : {true, false}) {
    ImageCodecOptions options = kComplete;
    options.weighted = weighted;
    ImageCodec codec = build(options);
    remove_thresholds(codec.encoder);
    HostTensor latent = Evaluator(codec.encoder).run({{image, quality_of(3)}})[0];
    latent.name = "latent";
    const HostTensor back = Evaluator(codec.decoder).run({{latent, quality_of(3)}})[0];
    for (size_t i = 0; i < image.floats().size(); ++i) EXPECT_NEAR(back.floats()[i], image.floats()[i], 0.01) << i;
  }
}

// A tenth at most, of all but the lowest frequencies.
TEST(ImageCodec, ThresholdsMoveValuesTowardsNought) {
  OnnxModel encoder = build(kComplete).encoder;
  const HostTensor image = picture(24, 40);
  const HostTensor moved = Evaluator(encoder).run({{image, quality_of(1)}})[0];
  remove_thresholds(encoder);
  const HostTensor latent = Evaluator(encoder).run({{image, quality_of(1)}})[0];
  int means = 0;
  for (size_t channel = 0, places = 3 * 5; channel < 192; ++channel) {
    const size_t first = channel * places;
    const bool is_mean = moved.floats()[first] == latent.floats()[first];
    means += is_mean ? 1 : 0;
    for (size_t i = first; i < first + places; ++i) {
      const float value = latent.floats()[i], share = is_mean ? 0 : std::clamp(value, -1.0F, 1.0F) / 10;
      EXPECT_NEAR(moved.floats()[i], value - share, 1e-4) << channel;
    }
  }
  EXPECT_EQ(means, 3) << "of luma and chroma";
}

// The sum of the latents' sizes, of noise of so many levels around the middle.
double strength(bool weighted, float levels) {
  ImageCodecOptions options = kComplete;
  options.weighted = weighted;
  ImageCodec codec = build(options);
  remove_thresholds(codec.encoder);
  HostTensor image = picture(24, 40);
  for (float& pixel : image.floats()) pixel = 127.5F + levels * (pixel / 127.5F - 1);
  const HostTensor latents = Evaluator(codec.encoder).run({{image, quality_of(1)}})[0];
  double sum = 0;
  for (const float latent : latents.floats()) sum += std::abs(latent);
  return sum;
}

TEST(ImageCodec, HighContrastIsLessenedForMsSsimAlone) {
  EXPECT_NEAR(strength(false, 100) / strength(false, 50), 2, 1e-3);
  EXPECT_LT(strength(true, 100) / strength(true, 50), 1.8);
}

// Between two qualities the logarithm of the gain is between theirs; a codec that was never trained has one gain for
// all channels.
TEST(ImageCodec, GainsAreContinuousInTheQuality) {
  const ImageCodec codec = build(kSmall);
  Evaluator encoder(codec.encoder);
  const auto latent = [&](float quality) { return encoder.run({{picture(16, 16), quality_of(quality)}})[0]; };
  const HostTensor first = latent(1), middle = latent(1.5F), second = latent(2);
  for (size_t i = 0; i < first.floats().size(); ++i) {
    EXPECT_NEAR(middle.floats()[i] / first.floats()[i], second.floats()[i] / middle.floats()[i], 1e-4);
    EXPECT_GT(second.floats()[i] / first.floats()[i], 1.1);
  }
}

// Of 255 centers, 1 apart, the last is 127.
TEST(ImageCodec, WhiteStaysWithinTheCenters) {
  const ImageCodec codec = build(kSmall);
  Evaluator encoder(codec.encoder);
  HostTensor white = HostTensor::float32("image", {1, 3, 24, 24});
  std::fill(white.floats().begin(), white.floats().end(), 255.0F);
  const HostTensor latent = encoder.run({{white, quality_of(4)}})[0];
  const float most = *std::max_element(latent.floats().begin(), latent.floats().end());
  EXPECT_LE(most, 127.01F);
  EXPECT_GT(most, 120);
}

TEST(ImageCodec, ShipsIndicesOfTheNearestCenters) {
  const ImageCodecTables tables{{-1.5F, -0.5F, 0, 0.25F, 2}, {12, 2, 4}, std::vector<uint8_t>(96, 9), 2};
  ImageCodecOptions options = kSmall;
  options.latents = 12;  // the means are three of them, which neither contrast nor thresholds touch
  const ImageCodec trained = build(options), shipped = build(options, tables);
  const std::vector<HostTensor> coded = Evaluator(shipped.encoder).run({{picture(32, 40), quality_of(3)}});
  const HostTensor latent = Evaluator(trained.encoder).run({{picture(32, 40), quality_of(3)}})[0];
  ASSERT_EQ(coded.size(), 2U);
  EXPECT_EQ(coded[0].dtype, onnx::TensorProto::UINT8);
  EXPECT_EQ(coded[0].dims, latent.dims);
  HostTensor nearest = latent;
  nearest.name = "latent";
  for (size_t i = 0; i < coded[0].bytes.size(); ++i) {
    const auto distance = [&](float center) { return std::abs(center - latent.floats()[i]); };
    const auto best = std::min_element(tables.centers.begin(), tables.centers.end(),
                                       [&](float a, float b) { return distance(a) < distance(b); });
    EXPECT_EQ(static_cast<int>(coded[0].bytes[i]), best - tables.centers.begin());
    nearest.floats()[i] = *best;
  }
  for (const OnnxModel* model : {&shipped.encoder, &shipped.decoder}) {
    ASSERT_EQ(model->proto.metadata_props_size(), 2);
    EXPECT_EQ(model->proto.metadata_props(0).value(), "4");
    EXPECT_EQ(model->proto.metadata_props(1).value(), "2");
  }
  EXPECT_EQ(coded[1].dims, tables.prior_dims);
  EXPECT_EQ(std::memcmp(coded[1].bytes.data(), tables.prior.data(), tables.prior.size()), 0);
  const std::vector<HostTensor> decoded = Evaluator(shipped.decoder).run({{coded[0], quality_of(3)}});
  const HostTensor expected = Evaluator(trained.decoder).run({{nearest, quality_of(3)}})[0];
  EXPECT_EQ(decoded[0].bytes, expected.bytes);
  EXPECT_EQ(decoded[1].bytes, coded[1].bytes);
}

TEST(ImageCodec, RefusesWhatCannotBeBuilt) {
  EXPECT_NE(error_of([] { build(ImageCodecOptions{.channels = 30}); }).find("multiple of 4"), std::string::npos);
  EXPECT_NE(error_of([] { build(ImageCodecOptions{.latents = 0}); }).find("latent"), std::string::npos);
  EXPECT_NE(error_of([] { build(ImageCodecOptions{.blocks = -1}); }).find("blocks"), std::string::npos);
  EXPECT_NE(error_of([] { build(ImageCodecOptions{.qualities = 0}); }).find("qualities"), std::string::npos);
  EXPECT_NE(error_of([] { build(kSmall, {{1, 0}, {3, 1, 1}, {0, 0, 0}, 0}); }).find("ascending"), std::string::npos);
}

}  // namespace
}  // namespace quench::networks
