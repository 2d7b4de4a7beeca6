#include "compressor/measure/ms_ssim.h"

#include <gtest/gtest.h>

#include <limits>

#include "formats/error.h"
#include "tests/compressor/measure/pictures.h"

namespace quench::measure {
namespace {

// By the definition, in double, with SciPy's correlate2d and the two-dimensional window; sides that are odd at some
// scale are among them.
struct Stored {
  int width, height, channels, noise;
  double ms_ssim, psnr;
};
constexpr Stored kStored[] = {
    {176, 161, 3, 4, 0.981627393, 37.851201},  {176, 161, 3, 20, 0.832931097, 26.571984},
    {176, 161, 3, 90, 0.334529969, 14.004748}, {201, 187, 1, 4, 0.988264080, 39.864608},
    {201, 187, 1, 20, 0.834481872, 26.712277}, {201, 187, 1, 90, 0.344087916, 14.075264},
    {256, 192, 3, 4, 0.982141172, 37.882250},  {256, 192, 3, 20, 0.838344544, 26.664246},
    {256, 192, 3, 90, 0.379469626, 14.360314},
};

TEST(MsSsim, IsTheDefinitions) {
  for (const Stored& each : kStored) {
    const data::Picture x = noisy_ramp(each.width, each.height, each.channels, 1, each.channels == 1 ? 0 : 3);
    const data::Picture y = noisy_ramp(each.width, each.height, each.channels, 2, each.noise);
    EXPECT_NEAR(ms_ssim(x, y), each.ms_ssim, 1e-8) << each.width << " " << each.noise;
    EXPECT_NEAR(ms_ssim(y, x), each.ms_ssim, 1e-8);
    EXPECT_NEAR(psnr(x, y), each.psnr, 1e-5);
  }
}

TEST(MsSsim, OfAPictureWithItselfIsOne) {
  const data::Picture picture = noisy_ramp(180, 170, 3, 1, 50);
  EXPECT_DOUBLE_EQ(ms_ssim(picture, picture), 1);
  EXPECT_EQ(psnr(picture, picture), std::numeric_limits<double>::infinity());
}

TEST(MsSsim, LeavesOpacityOut) {
  data::Picture colors = noisy_ramp(180, 170, 3, 1, 50), clear = colors, other = noisy_ramp(180, 170, 3, 2, 50);
  clear.samples = 4;
  clear.pixels.clear();
  for (size_t i = 0; i < colors.pixels.size(); ++i) {
    clear.pixels.push_back(colors.pixels[i]);
    if (i % 3 == 2) clear.pixels.push_back(static_cast<uint8_t>(i));
  }
  EXPECT_DOUBLE_EQ(ms_ssim(clear, other), ms_ssim(colors, other));
  EXPECT_DOUBLE_EQ(psnr(other, clear), psnr(other, colors));
}

TEST(MsSsim, RefusesWhatCannotBeCompared) {
  const data::Picture small = noisy_ramp(161, 160, 3, 1, 5), turned = noisy_ramp(160, 161, 3, 1, 5),
                      grey = noisy_ramp(161, 160, 1, 1, 5);
  EXPECT_THROW(ms_ssim(small, small), Error);
  EXPECT_THROW(ms_ssim(small, turned), Error);
  EXPECT_THROW(psnr(small, turned), Error);
  EXPECT_THROW(psnr(small, grey), Error);
}

}  // namespace
}  // namespace quench::measure
