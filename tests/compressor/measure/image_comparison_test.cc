#include "compressor/measure/image_comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace quench::measure {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

TEST(ImageComparison, APointBetweenTwoFilesIsLinearOverTheLogarithmOfTheBytes) {
  const CodedPicture within{1000, 30, 0.90, "7"}, above{4000, 34, 0.98, "8"};
  const CodedPicture middle = between(within, above, 2000);
  EXPECT_EQ(middle.bytes, 2000);
  EXPECT_DOUBLE_EQ(middle.psnr, 32);
  EXPECT_DOUBLE_EQ(middle.ms_ssim, 0.94);
  EXPECT_EQ(middle.setting, "7 to 8");
}

TEST(ImageComparison, AFileThatFitsExactlyIsTakenAsItIs) {
  const CodedPicture within{1000, 30, 0.90, "7"}, above{4000, kInfinite, 1, "8"};
  const CodedPicture same = between(within, above, 1000);
  EXPECT_EQ(same.psnr, 30);
  EXPECT_EQ(same.setting, "7");
  EXPECT_EQ(between(within, above, 1001).psnr, kInfinite);
  EXPECT_EQ(between({1000, kInfinite, 1, "6"}, above, 1001).psnr, kInfinite);
}

ImageComparison two_pictures() {
  ImageComparison comparison;
  comparison.rates = {0.5};
  comparison.pictures = {{"a.png", 100, 80}, {"b.png", 200, 80}};
  comparison.codecs = {{"own", "", {{{500, 30, 0.95, "1"}}, {{1001, 30, 0.95, "1"}}}},
                       {"peer", "peer Q", {{{500, 31, 0.94, "1"}}, {{1000, 20, 0.80, "1"}}}}};
  return comparison;
}

TEST(ImageComparison, MeansAreOverPictures) {
  const ImageComparison comparison = two_pictures();
  const MeanRate mean = mean_of(comparison, comparison.codecs[1], 0);
  EXPECT_DOUBLE_EQ(mean.bits_per_pixel, (8.0 * 500 / 8000 + 8.0 * 1000 / 16000) / 2);
  EXPECT_DOUBLE_EQ(mean.psnr, 25.5);
  EXPECT_DOUBLE_EQ(mean.ms_ssim, 0.87);
}

TEST(ImageComparison, NothingIsBetterThatHasMoreBytes) {
  const ImageComparison comparison = two_pictures();
  const Wins wins = wins_of(comparison.codecs[0], comparison.codecs[1], 0);
  EXPECT_EQ(wins.ms_ssim, 1u);  // not the second, with a byte more
  EXPECT_EQ(wins.psnr, 0u);
  EXPECT_EQ(wins_of(comparison.codecs[0], comparison.codecs[0], 0).ms_ssim, 0u);
}

TEST(PeerCodecs, CommandsAreSaidWithTheirOption) {
  for (const Peer& peer : peers()) {
    const std::string command = command_of(peer);
    EXPECT_TRUE(command.starts_with(peer.encode.front())) << command;
    EXPECT_EQ(command.find('{'), std::string::npos) << command;
    EXPECT_NE(command.find("IN.p"), std::string::npos) << command;
    EXPECT_NE(command.find(std::string("OUT.") + peer.suffix), std::string::npos) << command;
    EXPECT_NE(peer.option(0), peer.option(peer.settings - 1));
  }
}

}  // namespace
}  // namespace quench::measure
