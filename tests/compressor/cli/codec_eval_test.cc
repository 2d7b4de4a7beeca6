// `quench codec eval` end to end: a codec that was not trained, and peers that are shell scripts or, where they are
// installed, real ones.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "compressor/data/files.h"
#include "compressor/data/image.h"
#include "compressor/measure/ms_ssim.h"
#include "tests/compressor/cli/program.h"
#include "tests/compressor/compress/small_model.h"
#include "tests/compressor/measure/pictures.h"
#include "tests/runtime/image/sample_codec.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Of this process and those that it starts, until it goes away.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* before = ::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { before_.empty() ? ::unsetenv(name_) : ::setenv(name_, before_.c_str(), 1); }

 private:
  const char* name_;
  std::string before_;
};

constexpr int kWidth = 200, kHeight = 180;
constexpr double kBytesPerBpp = kWidth * kHeight / 8.0;

// Its file at -q Q has 1000 + 100 Q bytes.
constexpr const char* kFakeEncoder =
    "for word; do printf '<%s>' \"$word\"; done >> \"$FAKE/calls\"; echo >> \"$FAKE/calls\"\n"
    "head -c $((1000 + 100 * $5)) /dev/zero > \"$8\"\n";
// Good from 2300 bytes on.
constexpr const char* kFakeDecoder =
    "if [ \"$(wc -c < \"$2\")\" -lt 2300 ]; then cp \"$FAKE/far.png\" \"$4\"; else cp \"$FAKE/near.png\" \"$4\"; fi\n";

class CodecEval : public ::testing::Test {
 protected:
  CodecEval() {
    const image::testing::SampleCodec codec = image::testing::make_sample_codec();
    data::write_file(path("codec.encoder.quench"), codec.encoder);
    data::write_file(path("codec.decoder.quench"), codec.decoder);
    picture_ = measure::noisy_ramp(kWidth, kHeight, 3, 1, 3);
    far_ = measure::noisy_ramp(kWidth, kHeight, 3, 2, 60);
    near_ = measure::noisy_ramp(kWidth, kHeight, 3, 2, 4);
    data::write_png(path("picture.png"), picture_);
    fs::create_directory(path("bin"));
    for (const char* tool : {"cat", "rm"}) fs::create_symlink(std::string("/bin/") + tool, path("bin/") + tool);
    data::write_png(path("bin/far.png"), far_);
    data::write_png(path("bin/near.png"), near_);
  }

  std::string path(const std::string& name) const { return (folder_ / name.c_str()).string(); }

  void write_program(const char* name, const std::string& script) const {
    const std::string file = path(std::string("bin/") + name);
    std::ofstream(file) << "#!/bin/sh\nPATH=/usr/bin:/bin\nFAKE='" << path("bin") << "'\n" << script;
    fs::permissions(file, fs::perms::owner_all);
  }
  void write_webp() const {
    write_program("cwebp", kFakeEncoder);
    write_program("dwebp", kFakeDecoder);
  }
  // No other programs than the fake ones.
  Outcome eval_with_fakes(std::vector<std::string> arguments) const {
    const Environment only("PATH", path("bin"));
    arguments.insert(arguments.begin(), {"codec", "eval"});
    return run_program(arguments);
  }
  static json json_of(const Outcome& outcome) {
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  }
  static void expect_error(const Outcome& outcome, int code, const std::string& part) {
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  }
  static std::string text_of(const std::string& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // The PNGs that an SVG file carries.
  std::vector<data::Picture> crops_in(const std::string& svg) const {
    constexpr std::string_view kStart = "data:image/png;base64,";
    std::vector<data::Picture> crops;
    for (size_t at = svg.find(kStart); at != std::string::npos; at = svg.find(kStart, at)) {
      at += kStart.size();
      data::write_file(path("crop.png"), bytes_of(std::string_view(svg).substr(at, svg.find('"', at) - at)));
      crops.push_back(data::read_picture(path("crop.png")));
    }
    return crops;
  }
  static std::vector<std::byte> bytes_of(std::string_view base64) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::vector<std::byte> bytes;
    uint32_t bits = 0;
    int count = 0;
    for (const char letter : base64) {
      if (letter == '=') break;
      bits = bits << 6 | static_cast<uint32_t>(kDigits.find(letter));
      if ((count += 6) >= 8) bytes.push_back(static_cast<std::byte>(bits >> (count -= 8) & 255));
    }
    return bytes;
  }
  std::string left_out(const char* encoder, const char* decoder) const {
    write_program("cwebp", encoder);
    write_program("dwebp", decoder);
    const json report =
        json_of(eval_with_fakes({path("picture.png"), "--codec", path("codec"), "--against", "webp", "--json"}));
    EXPECT_EQ(report["codecs"].size(), 1u);
    EXPECT_EQ(report["left_out"].size(), 1u) << report;
    return report["left_out"].empty() ? "" : report["left_out"][0].value("reason", "");
  }

  quantizer::TemporaryFolder folder_;
  data::Picture picture_, far_, near_;
};

TEST_F(CodecEval, APeerCountsAsThePointBetweenItsFilesThatHasTheBytes) {
  write_webp();
  const json report =
      json_of(eval_with_fakes({path("picture.png"), "--against", "webp", "--bpp", "0.5,0.1,4", "--json"}));
  EXPECT_EQ(report["rates"], json({0.1, 0.5, 4}));
  const json& files = report["images"][0]["files"];
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[0]["bytes"], 1000);  // its smallest, although it is too large
  EXPECT_EQ(files[0]["setting"], "0");
  EXPECT_EQ(files[2]["bytes"], 11000);  // its largest
  EXPECT_EQ(files[2]["setting"], "100");
  EXPECT_NEAR(files[2]["psnr_db"], measure::psnr(picture_, near_), 1e-9);
  // 2,250 bytes are between 2,200 (far) and 2,300 (near).
  EXPECT_EQ(files[1]["bytes"], 0.5 * kBytesPerBpp);
  EXPECT_EQ(files[1]["setting"], "12 to 13");
  const double share = std::log(2250.0 / 2200) / std::log(2300.0 / 2200);
  const auto mixed = [share](double a, double b) { return a + share * (b - a); };
  EXPECT_NEAR(files[1]["psnr_db"], mixed(measure::psnr(picture_, far_), measure::psnr(picture_, near_)), 1e-9);
  EXPECT_NEAR(files[1]["ms_ssim"], mixed(measure::ms_ssim(picture_, far_), measure::ms_ssim(picture_, near_)), 1e-9);
  EXPECT_EQ(report["codecs"][0]["command"], "cwebp -quiet -m 6 -q Q IN.png -o OUT.webp");
}

TEST_F(CodecEval, CountsWhereTheCodecIsBetter) {
  write_webp();
  fs::create_directory(path("pictures"));
  for (const char* name : {"pictures/one.png", "pictures/two.PNG"}) fs::copy_file(path("picture.png"), path(name));
  std::ofstream(path("pictures/notes.txt")) << "no image";
  const Outcome outcome = eval_with_fakes({path("pictures"), "--codec", path("codec"), "--bpp", "0.45,1", "--against",
                                           "webp", "--json", path("out.json"), "--plot", path("out.svg")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("2 pictures, means over them"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("better on so many of 2 with no more bytes"), std::string::npos) << outcome.out;
  const json report = json::parse(std::ifstream(path("out.json")));
  ASSERT_EQ(report["better"].size(), 2u);
  EXPECT_EQ(
      report["better"][0],
      json({{"codec", "codec"}, {"against", "webp"}, {"rate", 0.45}, {"by_ms_ssim", 2}, {"by_psnr", 2}, {"of", 2}}));
  EXPECT_EQ(report["better"][1]["by_ms_ssim"], 0);  // where the peer's picture is the near one
  for (const json& image : report["images"]) {
    EXPECT_LE(image["files"][0]["bytes"], 0.45 * kBytesPerBpp);
    EXPECT_EQ(image["files"][2]["bytes"], 0.45 * kBytesPerBpp);
  }
  EXPECT_NE(quantizer::read_bytes(path("out.svg")).size(), 0u);
}

TEST_F(CodecEval, AQualityOfTheFirstCodecSaysHowManyBytesAllGet) {
  write_webp();
  for (const char* side : {".encoder.quench", ".decoder.quench"})
    fs::copy_file(path("codec") + side, path("second") + side);
  const json report = json_of(eval_with_fakes({path("picture.png"), "--codec", path("codec"), "--codec", path("second"),
                                               "--quality", "4", "--against", "webp", "--json"}));
  ASSERT_EQ(run_program({"codec", "encode", path("picture.png"), "-o", path("x.qim"), "--codec", path("codec"),
                         "--quality", "4"})
                .code,
            0);
  const double bytes = static_cast<double>(fs::file_size(path("x.qim")));
  const json& files = report["images"][0]["files"];
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(report["codecs"][1]["name"], "second");
  for (const json& file : files)
    EXPECT_EQ(file["bytes"], std::max(bytes, file["codec"] == "webp" ? 1000.0 : 0)) << file;
  EXPECT_EQ(files[0]["setting"], "4.00");
}

// 2,250 bytes are between 2,200 (far) and 2,300 (near): the picture is that of the file that fits.
TEST_F(CodecEval, CropsAreOfFilesWithinTheBytes) {
  write_webp();
  const std::string picture = path("picture.png"), codec = path("codec");
  const Outcome outcome =
      eval_with_fakes({picture, "--codec", codec, "--against", "webp", "--bpp", "1,0.5", "--crops", path("crops.svg")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  ASSERT_EQ(run_program({"codec", "encode", picture, "-o", path("x.qim"), "--codec", codec, "--bpp", "0.5"}).code, 0);
  ASSERT_EQ(run_program({"codec", "decode", path("x.qim"), "-o", path("x.png"), "--codec", codec}).code, 0);
  const std::string svg = text_of(path("crops.svg"));
  const std::vector<data::Picture> crops = crops_in(svg);
  const data::Picture own = data::read_picture(path("x.png"));
  ASSERT_EQ(crops.size(), 3u);
  EXPECT_EQ(crops[0].pixels, data::middle_of(picture_, 128).pixels);
  EXPECT_EQ(crops[1].pixels, data::middle_of(own, 128).pixels);
  EXPECT_EQ(crops[2].pixels, data::middle_of(far_, 128).pixels);
  const auto label = [&](double bytes, const data::Picture& decoded) {
    return fmt::format("{:.3f} bpp, MS-SSIM {:.4f}<", bytes / kBytesPerBpp, measure::ms_ssim(picture_, decoded));
  };
  for (const std::string& text : {std::string(">original<"), std::string(">codec<"), std::string(">webp<"),
                                  label(static_cast<double>(fs::file_size(path("x.qim"))), own), label(2200, far_)}) {
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  }
}

TEST_F(CodecEval, CropsAreOfTheFirstFourPictures) {
  fs::create_directory(path("pictures"));
  for (const char* name : {"1.png", "2.png", "3.png", "4.png", "5.png"})
    fs::copy_file(path("picture.png"), path("pictures/") + name);
  const Outcome outcome = eval_with_fakes(
      {path("pictures"), "--codec", path("codec"), "--against", "none", "--bpp", "1", "--crops", path("crops.svg")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string svg = text_of(path("crops.svg"));
  EXPECT_EQ(crops_in(svg).size(), 8u);
  EXPECT_NE(svg.find(">4.png"), std::string::npos);
  EXPECT_EQ(svg.find(">5.png"), std::string::npos);
}

TEST_F(CodecEval, CropsThatCannotBeWrittenAreRefusedBeforeTheWork) {
  const std::string picture = path("picture.png"), codec = path("codec"), svg = path("x.svg");
  expect_error(run_program({"codec", "eval", picture, "--codec", codec, "--crops", picture}), 1, "picture.png");
  expect_error(run_program({"codec", "eval", picture, "--codec", codec, "--crops", path("none/x.svg")}), 1, "none");
  expect_error(run_program({"codec", "eval", picture, "--codec", codec, "--plot", svg, "--crops", svg}), 1, "x.svg");
  EXPECT_FALSE(fs::exists(svg));
}

TEST_F(CodecEval, ProgramsGetTheirWordsAsTheyAre) {
  write_webp();
  const std::string odd = "it's \"odd\" $(touch gone) *;.png", temporary = path("temp 'or' $HOME");
  fs::copy_file(path("picture.png"), path(odd));
  fs::create_directory(temporary);
  const Environment folder("TMPDIR", temporary);
  const json report = json_of(eval_with_fakes({path(odd), "--against", "webp", "--bpp", "0.5,0.6", "--json"}));
  EXPECT_EQ(report["images"][0]["file"], odd);
  std::ifstream calls(path("bin/calls"));
  std::set<std::string> seen;
  for (std::string line; std::getline(calls, line);) {
    EXPECT_TRUE(line.starts_with("<-quiet><-m><6><-q><")) << line;
    EXPECT_NE(line.find("><" + temporary + "/quench-"), std::string::npos) << line;
    EXPECT_TRUE(seen.insert(line).second) << "a setting was encoded twice";
  }
  EXPECT_GE(seen.size(), 5u);
  EXPECT_LE(seen.size(), 14u);
  EXPECT_TRUE(fs::is_empty(temporary));
}

TEST_F(CodecEval, PeersThatAreMissingAreLeftOutWithTheirPackage) {
  write_webp();
  const Outcome outcome = eval_with_fakes({path("picture.png"), "--codec", path("codec"), "--bpp", "0.5"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(
      outcome.out.find("left out: jpeg: cjpeg is not installed; Debian has it in the package libjpeg-turbo-progs\n"),
      std::string::npos);
  EXPECT_EQ(outcome.out.find("left out: webp"), std::string::npos);
  fs::remove(path("bin/dwebp"));
  expect_error(eval_with_fakes({path("picture.png"), "--against", "webp"}), 1,
               "no codec is left to measure: dwebp is not installed; Debian has it in the package webp");
}

TEST_F(CodecEval, PeersThatFailAreLeftOutWithTheirLastLine) {
  EXPECT_EQ(left_out("echo first; echo no more paper >&2; exit 3", kFakeDecoder),
            path("picture.png") + ": cwebp: ended with exit code 3: no more paper");
  EXPECT_EQ(left_out("kill -9 $$", kFakeDecoder), path("picture.png") + ": cwebp: ended with signal 9");
  EXPECT_EQ(left_out(kFakeEncoder, "exit 1"), path("picture.png") + ": dwebp: ended with exit code 1");
  EXPECT_EQ(left_out("exit 0", kFakeDecoder), path("picture.png") + ": cwebp: ended well, but wrote no file");
  EXPECT_EQ(left_out(kFakeEncoder, "exit 0"), path("picture.png") + ": dwebp: ended well, but wrote no file");
  data::write_png(path("bin/small.png"), measure::noisy_ramp(170, 170, 3, 1, 3));
  EXPECT_NE(left_out(kFakeEncoder, "cp \"$FAKE/small.png\" \"$4\"").find("cannot be compared"), std::string::npos);
}

TEST_F(CodecEval, PeersThatAreInstalledDoWhatTheyAreToldTo) {
  const json report = json_of(
      run_program({"codec", "eval", path("picture.png"), "--bpp", "1,1.5", "--codec", path("codec"), "--json"}));
  EXPECT_EQ(report["codecs"].size() + report["left_out"].size(), 7u);
  for (const json& each : report["left_out"])
    EXPECT_NE(each["reason"].get<std::string>().find("is not installed"), std::string::npos) << each;
  for (const json& codec : report["codecs"]) {
    if (codec["command"].is_null()) continue;
    const json &low = codec["means"][0], &high = codec["means"][1];
    EXPECT_NEAR(low["bits_per_pixel"], 1, 1e-3) << codec["name"];
    EXPECT_NEAR(high["bits_per_pixel"], 1.5, 1e-3) << codec["name"];
    EXPECT_GT(low["psnr_db"], 30) << codec["name"];
    EXPECT_GT(high["psnr_db"], low["psnr_db"]) << codec["name"];
    EXPECT_GT(high["ms_ssim"], low["ms_ssim"]) << codec["name"];
  }
}

// Grey stays grey for those that have it, and transparency is left out.
TEST_F(CodecEval, TakesGreyAndTransparentPictures) {
  data::Picture grey = measure::noisy_ramp(kWidth, kHeight, 1, 1, 3),
                clear = measure::noisy_ramp(kWidth, kHeight, 4, 1, 3);
  fs::create_directory(path("pictures"));
  data::write_png(path("pictures/grey.png"), grey);
  data::write_png(path("pictures/clear.png"), clear);
  const json report =
      json_of(run_program({"codec", "eval", path("pictures"), "--bpp", "2", "--codec", path("codec"), "--json"}));
  EXPECT_EQ(report["images"].size(), 2u);
  for (const json& each : report["left_out"])
    EXPECT_NE(each["reason"].get<std::string>().find("is not installed"), std::string::npos) << each;
  for (const json& image : report["images"]) {
    for (const json& file : image["files"]) EXPECT_GT(file["psnr_db"], 20) << image["file"] << file;
  }
}

TEST_F(CodecEval, WrongUsageIsSaid) {
  const std::string picture = path("picture.png"), codec = path("codec");
  expect_error(run_program({"codec", "eval", picture, "--against", "jpeg,gif"}), 2, "'gif' is none of jpeg, openjpeg");
  expect_error(run_program({"codec", "eval", picture, "--against", "none"}), 2, "there is nothing to measure");
  expect_error(run_program({"codec", "eval", picture, "--quality", "1"}), 2, "give it with --codec");
  expect_error(run_program({"codec", "eval", picture, "--codec", codec, "--quality", "1", "--bpp", "1"}), 2, "--bpp");
  expect_error(run_program({"codec", "eval", picture, "--bpp", "0.2,0"}), 2, "0 is not above 0");
  expect_error(run_program({"codec", "eval", picture, "--codec", path("none")}), 1, "there is no such codec");
  expect_error(run_program({"codec", "eval", picture, "--codec", codec, "--quality", "9", "--against", "none"}), 1,
               "picture.png: ");
  expect_error(run_program({"codec", "eval", path("no.png"), "--codec", codec}), 1, "no.png");
  expect_error(run_program({"codec", "eval", picture, "--codec", codec, "--plot", picture}), 1, "picture.png");
  fs::create_directory(path("nothing"));
  expect_error(run_program({"codec", "eval", path("nothing"), "--codec", codec}), 1, "there is nothing in the folder");
  data::write_png(path("nothing/small.png"), measure::noisy_ramp(300, 160, 3, 1, 3));
  expect_error(run_program({"codec", "eval", path("nothing"), "--codec", codec}), 1,
               "small.png: a picture of 300 x 160 pixels is too small for MS-SSIM, which takes 161 and more");
}

}  // namespace
}  // namespace quench::cli
