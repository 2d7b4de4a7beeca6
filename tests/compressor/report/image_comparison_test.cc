#include "compressor/report/image_comparison.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "compressor/report/json.h"

namespace quench::report {
namespace {

measure::ImageComparison two_codecs() {
  measure::ImageComparison comparison;
  comparison.rates = {0.25, 0.5};
  comparison.pictures = {{"a.png", 100, 80}};
  comparison.codecs = {{"photo", "", {{{250, 30, 0.9, "1.50"}, {500, 33, 0.99, "2.00"}}}},
                       {"webp", "cwebp Q", {{{250, 29, 0.8, "7 to 8"}, {500, 34, 0.999, "9"}}}}};
  comparison.left_out = {{"jxl", "cjxl is not installed"}};
  return comparison;
}

TEST(ImageComparisonText, HasMeansWinsAndWhatWasLeftOut) {
  EXPECT_EQ(to_text(two_codecs()),
            "1 picture\n\n"
            "rate      codec  bits/pixel  PSNR dB  MS-SSIM  MS-SSIM dB\n"
            "---------------------------------------------------------\n"
            "0.25 bpp  photo      0.2500    30.00   0.9000       10.00\n"
            "          webp       0.2500    29.00   0.8000        6.99\n"
            "---------------------------------------------------------\n"
            "0.5 bpp   photo      0.5000    33.00   0.9900       20.00\n"
            "          webp       0.5000    34.00   0.9990       30.00\n"
            "\nbetter on so many of 1 with no more bytes, by MS-SSIM (by PSNR)\n\n"
            "photo against  0.25 bpp  0.5 bpp\n"
            "--------------------------------\n"
            "webp              1 (1)    0 (0)\n"
            "\nleft out: jxl: cjxl is not installed\n");
}

TEST(ImageComparisonText, OneCodecAloneIsBetterThanNothing) {
  measure::ImageComparison comparison = two_codecs();
  comparison.codecs.pop_back();
  comparison.left_out.clear();
  comparison.by_quality = true;
  comparison.rates = {1, 2.5};
  const std::string text = to_text(comparison);
  EXPECT_EQ(text.find("better"), std::string::npos) << text;
  EXPECT_NE(text.find("quality 2.5  photo"), std::string::npos) << text;
}

TEST(ImageComparisonText, EqualPicturesAreExact) {
  measure::ImageComparison comparison = two_codecs();
  comparison.codecs[0].files[0][0] = {250, std::numeric_limits<double>::infinity(), 1, "8.00"};
  EXPECT_NE(to_text(comparison).find("photo      0.2500    exact   1.0000       exact"), std::string::npos);
  const nlohmann::json json = nlohmann::json::parse(to_json(comparison));
  EXPECT_TRUE(json["codecs"][0]["means"][0]["psnr_db"].is_null());
  EXPECT_TRUE(json["codecs"][0]["means"][0]["ms_ssim_db"].is_null());
  EXPECT_EQ(rate_curves(comparison).find("inf"), std::string::npos);
}

TEST(ImageComparisonJson, HasEachPicture) {
  const nlohmann::json json = nlohmann::json::parse(to_json(two_codecs()));
  EXPECT_EQ(json["pictures"], 1);
  EXPECT_EQ(json["rates_are"], "bits_per_pixel");
  EXPECT_TRUE(json["codecs"][0]["command"].is_null());
  EXPECT_EQ(json["codecs"][1]["command"], "cwebp Q");
  EXPECT_EQ(json["codecs"][1]["means"][1]["psnr_db"], 34);
  EXPECT_EQ(json["better"][0]["against"], "webp");
  EXPECT_EQ(json["better"][0]["by_ms_ssim"], 1);
  EXPECT_EQ(json["better"][1]["by_ms_ssim"], 0);
  EXPECT_EQ(json["left_out"][0]["reason"], "cjxl is not installed");
  EXPECT_EQ(json["images"][0]["file"], "a.png");
  EXPECT_EQ(json["images"][0]["files"].size(), 4u);
  EXPECT_EQ(json["images"][0]["files"][2]["setting"], "7 to 8");
  EXPECT_EQ(json["images"][0]["files"][2]["bits_per_pixel"], 0.25);
}

TEST(RateCurves, DrawBothQualitiesOfAllCodecs) {
  const std::string svg = rate_curves(two_codecs());
  for (const char* text :
       {"MS-SSIM, dB", "PSNR, dB", "bits per pixel", ">photo<", ">webp<", "webp, 0.5: 30<", "photo, 0.25: 30<"}) {
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  }
  EXPECT_TRUE(svg.starts_with("<svg xmlns"));
}

}  // namespace
}  // namespace quench::report
