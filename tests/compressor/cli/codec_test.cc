// `quench codec` end to end, with a codec that was not trained.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "compressor/data/files.h"
#include "compressor/data/image.h"
#include "tests/compressor/cli/program.h"
#include "tests/compressor/compress/small_model.h"
#include "tests/runtime/image/sample_codec.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;

data::Picture scene(int width, int height, int samples) {
  data::Picture picture{width, height, samples, false, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int sample = 0; sample < samples; ++sample) {
        const double wave = std::sin(x / (11.0 + 5 * sample)) * std::cos(y / (17.0 - 3 * sample));
        picture.pixels.push_back(sample == 3 ? static_cast<uint8_t>(x < width / 2 ? 255 : 2 * y)
                                             : static_cast<uint8_t>(128 + 100 * wave));
      }
    }
  }
  return picture;
}

double psnr(const data::Picture& a, const data::Picture& b) {
  double squares = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) squares += std::pow(a.pixels[i] - b.pixels[i], 2);
  return 10 * std::log10(255.0 * 255 * static_cast<double>(a.pixels.size()) / squares);
}

class CodecProgram : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new quantizer::TemporaryFolder();
    const image::testing::SampleCodec codec = image::testing::make_sample_codec();
    data::write_file(path("codec.encoder.quench"), codec.encoder);
    data::write_file(path("codec.decoder.quench"), codec.decoder);
    data::write_file(path("graphs.encoder.onnx"), std::as_bytes(std::span(codec.encoder_onnx)));
    data::write_file(path("graphs.decoder.onnx"), std::as_bytes(std::span(codec.decoder_onnx)));
    data::write_png(path("rgb.png"), scene(150, 90, 3));
    data::write_png(path("grey.png"), scene(60, 70, 1));
    data::write_png(path("alpha.png"), scene(80, 120, 4));
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string path(const std::string& name) { return (*folder_ / name.c_str()).string(); }
  static Outcome encode(const std::string& in, const std::string& out, std::vector<std::string> how) {
    how.insert(how.begin(), {"codec", "encode", path(in), "-o", path(out), "--codec", path("codec")});
    return run_program(how);
  }
  static Outcome decode(const std::string& in, const std::string& out) {
    return run_program({"codec", "decode", path(in), "-o", path(out), "--codec", path("codec")});
  }
  static void expect_error(const Outcome& outcome, int code, const std::string& part) {
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  }

 private:
  static quantizer::TemporaryFolder* folder_;
};
quantizer::TemporaryFolder* CodecProgram::folder_ = nullptr;

TEST_F(CodecProgram, EncodesAndDecodes) {
  for (const std::string name : {"rgb", "grey", "alpha"}) {
    const Outcome encoded = encode(name + ".png", name + ".qim", {"--quality", "4"});
    ASSERT_EQ(encoded.code, 0) << encoded.err;
    EXPECT_NE(encoded.out.find("quality 4.00"), std::string::npos) << encoded.out;
    EXPECT_NE(encoded.out.find(fmt::format("{} bytes", fs::file_size(path(name + ".qim")))), std::string::npos);
    const Outcome decoded = decode(name + ".qim", name + ".out.png");
    ASSERT_EQ(decoded.code, 0) << decoded.err;
    const data::Picture before = data::read_picture(path(name + ".png")),
                        after = data::read_picture(path(name + ".out.png"));
    ASSERT_EQ(before.samples, after.samples);
    ASSERT_EQ(before.width, after.width);
    EXPECT_GT(psnr(before, after), 22);
    for (size_t i = 3; before.samples == 4 && i < before.pixels.size(); i += 4) {
      ASSERT_EQ(before.pixels[i], after.pixels[i]);
    }
  }
}

TEST_F(CodecProgram, InfoSaysWhatIsInAFile) {
  ASSERT_EQ(encode("alpha.png", "info.qim", {"--quality", "2.5"}).code, 0);
  const Outcome text = run_program({"codec", "info", path("info.qim")});
  EXPECT_NE(text.out.find("80 x 120 pixels, colour, with transparency\nquality 2.50 of codec "), std::string::npos);
  const Outcome outcome = run_program({"codec", "info", path("info.qim"), "--json"});
  const nlohmann::json json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["width"], 80);
  EXPECT_EQ(json["height"], 120);
  EXPECT_EQ(json["quality"], 2.5);
  EXPECT_EQ(json["alpha"], true);
  EXPECT_EQ(json["grey"], false);
  EXPECT_EQ(json["levels"], image::testing::SampleCodec::kLevels);
  EXPECT_EQ(json["bytes"], fs::file_size(path("info.qim")));
  EXPECT_EQ(
      json["index_bytes"].get<uint64_t>() + json["alpha_bytes"].get<uint64_t>() + json["other_bytes"].get<uint64_t>(),
      fs::file_size(path("info.qim")));
}

TEST_F(CodecProgram, SizesAreKeptTo) {
  ASSERT_EQ(encode("rgb.png", "least.qim", {"--quality", "1"}).code, 0);
  ASSERT_EQ(encode("rgb.png", "most.qim", {"--quality", "4"}).code, 0);
  const uint64_t least = fs::file_size(path("least.qim")), most = fs::file_size(path("most.qim"));
  for (const uint64_t wanted : {least, (least + most) / 2, (least + 4 * most) / 5, 10 * most}) {
    const Outcome outcome = encode("rgb.png", "sized.qim", {"--bytes", std::to_string(wanted)});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const uint64_t size = fs::file_size(path("sized.qim"));
    EXPECT_LE(size, wanted);
    EXPECT_GE(static_cast<double>(size), 0.95 * static_cast<double>(std::min(wanted, most)));
  }
  const double bpp = static_cast<double>(least + most) / 2 * 8 / (150 * 90);
  ASSERT_EQ(encode("rgb.png", "sized.qim", {"--bpp", fmt::format("{:.4f}", bpp)}).code, 0);
  EXPECT_LE(fs::file_size(path("sized.qim")), (least + most) / 2);
  fs::remove(path("none.qim"));
  expect_error(encode("rgb.png", "none.qim", {"--bytes", "30"}), 1, "30 bytes are too few: at the lowest quality");
  EXPECT_FALSE(fs::exists(path("none.qim")));
}

TEST_F(CodecProgram, FoldersBecomeFolders) {
  fs::create_directory(path("in"));
  for (const char* name : {"rgb.png", "grey.png"}) {
    fs::copy_file(path(name), path(std::string("in/") + name), fs::copy_options::overwrite_existing);
  }
  std::ofstream(path("in/notes.txt")) << "no image";
  const Outcome encoded = encode("in", "coded", {"--quality", "2"});
  ASSERT_EQ(encoded.code, 0) << encoded.err;
  EXPECT_EQ(std::count(encoded.out.begin(), encoded.out.end(), '\n'), 2);
  EXPECT_TRUE(fs::exists(path("coded/rgb.qim")));
  EXPECT_TRUE(fs::exists(path("coded/grey.qim")));
  EXPECT_EQ(std::distance(fs::directory_iterator(path("coded")), {}), 2);
  ASSERT_EQ(decode("coded", "decoded").code, 0);
  EXPECT_EQ(data::read_picture(path("decoded/grey.png")).height, 70);
  fs::create_directory(path("nothing"));
  expect_error(encode("nothing", "coded", {"--quality", "2"}), 1, "there is nothing in the folder");
}

TEST_F(CodecProgram, OnnxFilesAreACodecToo) {
  const Outcome encoded = run_program(
      {"codec", "encode", path("rgb.png"), "-o", path("onnx.qim"), "--codec", path("graphs"), "--quality", "3"});
  ASSERT_EQ(encoded.code, 0) << encoded.err;
  ASSERT_EQ(encode("rgb.png", "quench.qim", {"--quality", "3"}).code, 0);
  EXPECT_EQ(quantizer::read_bytes(path("onnx.qim")), quantizer::read_bytes(path("quench.qim")));
  ASSERT_EQ(run_program({"codec", "decode", path("onnx.qim"), "-o", path("onnx.png"), "--codec", path("graphs")}).code,
            0);
}

TEST_F(CodecProgram, CompressKeepsWhatTheCodecIsWorth) {
  fs::create_directory(path("photographs"));
  data::write_png(path("photographs/wide.png"), scene(230, 192, 3));
  data::write_png(path("photographs/high.png"), scene(192, 200, 3));
  const auto compress = [&](const std::string& loss, const std::string& out) {
    const Outcome outcome = run_program({"codec", "compress", path("graphs"), "-o", path(out), "--data",
                                         path("photographs"), "--max-loss", loss, "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out);
  };
  const nlohmann::json fine = compress("0.0001", "fine"), coarse = compress("0.05", "coarse");
  EXPECT_LE(fine["ms_ssim_loss"], 0.0002);
  EXPECT_LE(coarse["ms_ssim_loss"], 0.1);
  EXPECT_EQ(fine["decoder_bytes"], fs::file_size(path("fine.decoder.quench")));
  EXPECT_LT(coarse["decoder_bytes"], fine["decoder_bytes"]);
  EXPECT_LT(fine["encoder_bytes"], fs::file_size(path("codec.encoder.quench")));
  const Outcome encoded = run_program(
      {"codec", "encode", path("rgb.png"), "-o", path("fine.qim"), "--codec", path("fine"), "--quality", "2"});
  EXPECT_EQ(encoded.code, 0) << encoded.err;
  const Outcome decoded =
      run_program({"codec", "decode", path("fine.qim"), "-o", path("fine.png"), "--codec", path("fine")});
  EXPECT_EQ(decoded.code, 0) << decoded.err;

  data::write_png(path("photographs/small.png"), scene(191, 300, 3));
  expect_error(run_program({"codec", "compress", path("graphs"), "-o", path("x"), "--data", path("photographs")}), 1,
               "small.png: 191 x 300 pixels are too few");
  expect_error(run_program({"codec", "compress", path("none"), "-o", path("x"), "--data", path("photographs")}), 1,
               "none.encoder.onnx");
  EXPECT_FALSE(fs::exists(path("x.encoder.quench")));
}

TEST_F(CodecProgram, WrongUsageIsSaid) {
  expect_error(encode("rgb.png", "x.qim", {}), 2, "--quality, --bpp or --bytes");
  expect_error(encode("rgb.png", "x.qim", {"--quality", "2", "--bpp", "1"}), 2, "(see quench codec encode --help)");
  expect_error(encode("rgb.png", "x.qim", {"--quality", "9"}), 1, "quality 9: this codec has 1 to 4");
  expect_error(encode("no.png", "x.qim", {"--quality", "2"}), 1, "no.png");
  expect_error(run_program({"codec", "decode", path("x.qim"), "-o", path("x.png"), "--codec", path("none")}), 1,
               "there is no such codec");
  expect_error(encode("rgb.png", "rgb.png", {"--quality", "2"}), 1, "rgb.png");
}

TEST_F(CodecProgram, DamagedFilesAreErrors) {
  ASSERT_EQ(encode("rgb.png", "whole.qim", {"--quality", "2"}).code, 0);
  auto bytes = quantizer::read_bytes(path("whole.qim"));
  bytes[bytes.size() / 2] ^= decltype(bytes)::value_type{4};
  std::ofstream(path("damaged.qim"), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  expect_error(decode("damaged.qim", "damaged.png"), 1, "damaged.qim: the checksum of the .qim file does not match");
  EXPECT_FALSE(fs::exists(path("damaged.png")));
  expect_error(decode("rgb.png", "other.png"), 1, "this is not a .qim file");
  expect_error(run_program({"codec", "info", path("rgb.png")}), 1, "this is not a .qim file");
}

}  // namespace
}  // namespace quench::cli
