#include "compressor/report/image_comparison.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "compressor/report/json.h"
#include "compressor/report/markup.h"

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

size_t count_of(const std::string& text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Middles, StandBesideTheOriginalWithTheNumbersOfTheirOwnFile) {
  measure::ImageComparison comparison = two_codecs();
  comparison.pictures = {{"a&b.png", 100, 80, {2, 1, 1, false, {7, 8}}}, {"b.png", 100, 80}};
  comparison.codecs[0].middles = {{{250, 30, 0.9, "1.50"}, {2, 1, 1, false, {1, 2}}}};
  comparison.codecs[1].middles = {{{240, 29, 0.75, "7"}, {2, 1, 1, false, {3, 4}}}};
  const std::string svg = middles(comparison);
  EXPECT_EQ(count_of(svg, "<image "), 3u);
  for (const char* text : {">a&amp;b.png: the middle of 100 x 80 pixels<", ">original<", ">photo<",
                           ">0.250 bpp, MS-SSIM 0.9000<", ">webp<", ">0.240 bpp, MS-SSIM 0.7500<"}) {
    EXPECT_EQ(count_of(svg, text), 1u) << text << svg;
  }
  EXPECT_EQ(svg.find("b.png: the middle", svg.find("<image ")), std::string::npos) << "only the first is shown";
}

// Four in a row, each place taken once.
TEST(Middles, DoNotOverlapAndStayWithinTheFile) {
  measure::ImageComparison comparison = two_codecs();
  const measure::CodedMiddle middle = {{250, 30, 0.9, "1"}, {2, 1, 1, false, {1, 2}}};
  comparison.pictures = {{"a.png", 100, 80, middle.pixels}, {"b.png", 100, 80, middle.pixels}};
  comparison.codecs.resize(1);
  for (const char* name : {"1", "2", "3", "4"}) comparison.codecs.push_back({name, "", {}});
  for (auto& codec : comparison.codecs) codec.middles = {middle, middle};
  const std::string svg = middles(comparison);
  std::set<std::pair<int, int>> places;
  for (size_t at = svg.find("<image "); at != std::string::npos; at = svg.find("<image ", at + 1)) {
    int x = 0, y = 0;
    ASSERT_EQ(std::sscanf(svg.c_str() + at, "<image x=\"%d\" y=\"%d\"", &x, &y), 2);
    EXPECT_EQ(x % 268, 0);
    EXPECT_TRUE(places.insert({x, y}).second) << x << " " << y;
  }
  EXPECT_EQ(places.size(), 12u);
  EXPECT_EQ(places.rbegin()->first, 3 * 268);
  int width = 0, height = 0;
  ASSERT_EQ(std::sscanf(svg.c_str() + svg.find("viewBox"), "viewBox=\"-14 -14 %d %d", &width, &height), 2);
  EXPECT_EQ(width, 4 * 268 - 12 + 28);
  EXPECT_EQ(height, 2 * (26 + 2 * 300) + 28);
}

TEST(Base64, IsThatOfTheRfc) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "+/+/"}};
  for (const auto& [bytes, text] : cases) EXPECT_EQ(base64(std::as_bytes(std::span(bytes))), text);
}

}  // namespace
}  // namespace quench::report
