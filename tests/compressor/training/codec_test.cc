#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "compressor/measure/ms_ssim.h"
#include "compressor/networks/image_codec.h"
#include "compressor/training/codec/latent_quantizer.h"
#include "compressor/training/codec/ms_ssim.h"
#include "compressor/training/codec/rate_control.h"
#include "compressor/training/codec/train_codec.h"
#include "formats/error.h"
#include "tests/compressor/measure/pictures.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::training {
namespace {

using torch::Tensor;

Tensor tensor_of(const data::Picture& picture) {
  const Tensor bytes = torch::from_blob(const_cast<uint8_t*>(picture.pixels.data()),
                                        {1, picture.height, picture.width, picture.samples}, torch::kUInt8);
  return bytes.permute({0, 3, 1, 2}).to(torch::kFloat64).contiguous();
}

TEST(CodecMsSsim, IsTheMeasure) {
  for (const auto& [width, height] : {std::pair{176, 176}, {201, 187}}) {
    const data::Picture a = measure::noisy_ramp(width, height, 3, 1, 3);
    for (const int noise : {4, 30, 90}) {
      const data::Picture b = measure::noisy_ramp(width, height, 3, 2, noise);
      EXPECT_NEAR(ms_ssim(tensor_of(a), tensor_of(b)).item<double>(), measure::ms_ssim(a, b), 1e-8);
    }
  }
}

TEST(CodecMsSsim, HasTheGradientOfItsDifferences) {
  torch::manual_seed(3);
  const Tensor x = tensor_of(measure::noisy_ramp(176, 176, 3, 1, 20));
  const Tensor y = tensor_of(measure::noisy_ramp(176, 176, 3, 2, 20)).set_requires_grad(true);
  ms_ssim(x, y).sum().backward();
  const Tensor direction = torch::randn_like(y);
  torch::NoGradGuard no_grad;
  const double step = 1e-3;
  const double difference =
      (ms_ssim(x, y + step * direction) - ms_ssim(x, y - step * direction)).item<double>() / (2 * step);
  EXPECT_NEAR((y.grad() * direction).sum().item<double>(), difference, 1e-6 * std::abs(difference) + 1e-12);
}

TEST(LatentQuantizer, TakesTheNearestCenterWithTheSoftGradient) {
  torch::manual_seed(4);
  LatentQuantizer quantizer(3, 5, 2, torch::kCPU);
  quantizer.centers().detach().copy_(torch::tensor({-2, -1, 0, 1, 2}));
  const Tensor latents = (2 * torch::randn({2, 3, 4, 5})).set_requires_grad(true);
  const Tensor qualities = torch::tensor({{1.0f}, {2.0f}});
  const LatentQuantizer::Result hard = quantizer.quantize(latents, qualities, 1, true);
  EXPECT_TRUE(torch::allclose(hard.values, latents.round().clamp(-2, 2), 0, 1e-6));
  EXPECT_TRUE(torch::equal(hard.indices, (latents.round().clamp(-2, 2) + 2).to(torch::kInt64)));
  const Tensor weights = torch::randn_like(latents);
  (hard.values * weights).sum().backward();
  const Tensor hard_gradient = latents.grad().clone();
  latents.mutable_grad() = Tensor();
  const LatentQuantizer::Result soft = quantizer.quantize(latents, qualities, 1, false);
  (soft.values * weights).sum().backward();
  EXPECT_TRUE(torch::allclose(latents.grad(), hard_gradient, 0, 1e-6));
  EXPECT_FALSE(torch::allclose(soft.values, hard.values, 0, 0.01));
  const LatentQuantizer::Result harder = quantizer.quantize(latents, qualities, 1e5, false);
  EXPECT_TRUE(torch::allclose(harder.values, hard.values, 0, 1e-3));
}

// Indices of a channel that is always 0 in the middle cost next to nothing once that is known, those of a random one
// log2 5 bits, and the gradient pulls towards what is frequent.
TEST(LatentQuantizer, BitsFollowWhatItHasSeen) {
  torch::manual_seed(5);
  LatentQuantizer quantizer(2, 5, 2, torch::kCPU);
  const Tensor qualities = torch::tensor({{1.0f}, {2.0f}});
  Tensor indices;
  const auto draw = [&] {
    indices = torch::randint(0, 5, {2, 2, 16, 16});
    indices.select(1, 0).fill_(2);
  };
  for (int i = 0; i < 200; ++i) {
    draw();
    quantizer.learn(quantizer.evidence(indices, qualities));
  }
  draw();
  const Tensor latents = (indices.to(torch::kFloat32) - 2).set_requires_grad(true);
  const LatentQuantizer::Result result = quantizer.quantize(latents, qualities, 1, true);
  EXPECT_NEAR(result.bits[0].item<double>() / 256, std::log2(5.0), 0.03);
  const Tensor constant = torch::full({2, 2, 16, 16}, 0.4f).set_requires_grad(true);
  quantizer.quantize(constant, qualities, 1, true).bits.sum().backward();
  EXPECT_GT(constant.grad().select(1, 0).min().item<float>(), 0);
}

// Pieces that take fewer bits the more these cost, and differ as those of photographs do.
TEST(RateControl, BringsPiecesToTheBitsThatAreAskedFor) {
  torch::manual_seed(6);
  constexpr int kSteps = 2000, kBatch = 4;
  RateControl control({1, 0.005}, {0.1, 0.8}, 8, torch::kCPU);
  const auto rates = [&](const Tensor& qualities, const Tensor& busy) {
    return 0.05 * busy * torch::pow(control.betas(qualities), -0.6);
  };
  for (int step = 0; step < kSteps; ++step) {
    const Tensor qualities = 1 + 7 * torch::rand({kBatch, 1});
    const Tensor busy = torch::exp(0.7 * torch::randn({kBatch}) - 0.245);  // 1 on average
    control.learn(control.excess(rates(qualities, busy), qualities), kBatch, static_cast<double>(step) / kSteps);
  }
  const Tensor ends = torch::tensor({{1.0f}, {8.0f}});
  const Tensor reached = rates(ends, torch::ones({2}));
  EXPECT_NEAR(reached[0].item<double>(), 0.1, 0.01);
  EXPECT_NEAR(reached[1].item<double>(), 0.8, 0.08);
}

TEST(RateControl, LeavesBetasAloneWhereNothingIsAsked) {
  RateControl control({1, 0.01}, {}, 3, torch::kCPU);
  const Tensor qualities = torch::tensor({{1.0f}, {2.0f}, {3.0f}});
  control.learn(control.excess(torch::full({3}, 5.0f), qualities), 3, 0);
  EXPECT_TRUE(torch::allclose(control.betas(qualities), torch::tensor({1.0f, 0.1f, 0.01f}), 1e-5));
}

// Noisy ramps as PNG files.
void write_pictures(const std::filesystem::path& folder, int count) {
  std::filesystem::create_directory(folder);
  for (int i = 0; i < count; ++i) {
    data::write_png(folder / fmt::format("{}.png", i), measure::noisy_ramp(184, 184, 3, static_cast<uint64_t>(i), 30));
  }
}

CodecOptions small_training(const std::filesystem::path& folder) {
  CodecOptions options;
  options.network = {.channels = 8, .latents = 4, .blocks = 1, .qualities = 3, .seed = 2};
  options.centers = 7;
  options.crop = 176;
  options.loop.data = (folder / "train").string();
  options.loop.test_data = (folder / "test").string();
  options.loop.optimizer = OptimizerKind::kAdam;
  options.loop.learning_rate = 5e-3;
  options.loop.samples = 8;
  options.loop.batch = 2;
  options.loop.epochs = 3;
  options.betas = {20, 20};  // bits are dear: they must become fewer
  options.loop.bfloat16 = false;
  options.loop.checkpoint = folder / "checkpoint";
  write_pictures(folder / "train", 3);
  write_pictures(folder / "test", 1);
  return options;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A run that was stopped at any step ends as one that was not.
TEST(TrainCodec, LearnsAndGoesOnWhereItWasStopped) {
  const testing::TemporaryFolder folder;
  CodecOptions options = small_training(folder.path());
  options.bits_per_pixel = {0.01, 0.02};
  std::vector<TrainingRecord> records;
  options.loop.on_epoch = [&](std::span<const TrainingRecord> all) { records.assign(all.begin(), all.end()); };
  std::vector<DecodedMiddle> middles;
  options.on_pictures = [&](const std::vector<DecodedMiddle>& latest) { middles = latest; };
  const CodecReport report = train_codec(folder.path() / "whole", options);
  ASSERT_EQ(records.size(), 3U);
  // The only test picture, at three qualities.
  ASSERT_EQ(middles.size(), 1U);
  EXPECT_EQ(middles[0].file, "0.png");
  const data::Picture picture = data::read_picture(folder.path() / "test" / "0.png");
  const auto pixel = static_cast<size_t>(3 * (4 * picture.width + 4));  // 184 x 184, of which the middle 176 are shown
  EXPECT_TRUE(std::equal(middles[0].original.pixels.begin(), middles[0].original.pixels.begin() + 3 * kDecodedSide,
                         picture.pixels.begin() + static_cast<std::ptrdiff_t>(pixel)));
  ASSERT_EQ(middles[0].decoded.size(), 3U);
  EXPECT_EQ(middles[0].decoded[2].measured.quality, 3);
  EXPECT_EQ(middles[0].decoded[2].measured.ms_ssim, records[2].rates[2].ms_ssim);
  EXPECT_NE(middles[0].decoded[2].pixels.pixels, middles[0].original.pixels);
  // At the finest quality; the coarsest begins with next to nothing.
  EXPECT_LT(records[2].rates[2].bits_per_pixel, records[0].rates[2].bits_per_pixel);
  ASSERT_EQ(report.rates.size(), 3U);
  EXPECT_EQ(report.rates[2].quality, 3);
  const TrainingRecord read = training_record(to_json_line(records[2]));
  ASSERT_EQ(read.rates.size(), 3U);
  EXPECT_EQ(read.rates[2].bits_per_pixel, records[2].rates[2].bits_per_pixel);
  EXPECT_EQ(read.rates[2].ms_ssim, records[2].rates[2].ms_ssim);
  EXPECT_EQ(read.rates[2].psnr_db, records[2].rates[2].psnr_db);
  EXPECT_GT(report.encoder_bytes, 0U);
  EXPECT_FALSE(std::filesystem::exists(options.loop.checkpoint));

  int steps = 0;
  options.loop.progress = [&](std::string_view what, double) {
    if (what == "training" && ++steps == 6) std::raise(SIGTERM);
  };
  EXPECT_THROW(train_codec(folder.path() / "broken", options), Error);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "broken.encoder.onnx"));
  options.loop.progress = nullptr;
  options.loop.resume = true;
  CodecOptions other = options;
  other.network.latents = 5;
  EXPECT_THROW(train_codec(folder.path() / "broken", other), Error);
  train_codec(folder.path() / "broken", options);
  for (const char* name : {"encoder", "decoder"}) {
    EXPECT_EQ(bytes_of(folder.path() / fmt::format("whole.{}.onnx", name)),
              bytes_of(folder.path() / fmt::format("broken.{}.onnx", name)));
  }
}

// Only those for MS-SSIM have weights of the contrast, one for each latent channel on either side.
TEST(TrainCodec, TheLossDecidesOnTheNetworks) {
  const testing::TemporaryFolder folder;
  CodecOptions options = small_training(folder.path());
  options.loop.samples = 2;
  options.loop.epochs = 1;
  options.loop.test_data.clear();
  const uint64_t for_ms_ssim = train_codec(folder.path() / "codec", options).parameters;
  options.distortion = Distortion::kMse;
  EXPECT_EQ(train_codec(folder.path() / "codec", options).parameters + 2 * 4, for_ms_ssim);
}

TEST(TrainCodec, RefusesWhatItCannotLearnFrom) {
  const testing::TemporaryFolder folder;
  CodecOptions options = small_training(folder.path());
  const auto message = [&] {
    try {
      train_codec(folder.path() / "codec", options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  options.crop = 100;
  EXPECT_NE(message().find("multiple of 8"), std::string::npos) << message();
  options.crop = 168;
  EXPECT_NE(message().find("176"), std::string::npos) << message();
  options.crop = 192;
  EXPECT_NE(message().find("192 pixels on both sides"), std::string::npos) << message();
  options.loop.data = (folder.path() / "nothing").string();
  EXPECT_NE(message().find("nothing"), std::string::npos) << message();
}

}  // namespace
}  // namespace quench::training
