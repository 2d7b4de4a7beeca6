// How near two pictures are, as people see it and as engineers count it.
#pragma once

#include <array>

#include "compressor/data/image.h"

namespace quench::measure {

constexpr int kSsimWindow = 11;                                                           // pixels, sigma 1.5
constexpr double kSsimC1 = 0.01 * 255 * 0.01 * 255;                                       // (K1 L)^2
constexpr double kSsimC2 = 0.03 * 255 * 0.03 * 255;                                       // (K2 L)^2
constexpr std::array<double, 5> kSsimWeights = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};  // of the scales

constexpr int kLeastMsSsimSide = (kSsimWindow - 1) * 16 + 1;  // pixels, which are halved four times

// The Gaussian's taps, whose sum is 1.
const std::array<double, kSsimWindow>& ssim_window();

// The multiscale structural similarity of Wang, Simoncelli and Bovik ("Multiscale structural similarity for image
// quality assessment", 2003): five scales, each the mean of 2 x 2 pixels of the one before (zeros beside an odd side
// count), the 11 x 11 Gaussian window where it fits, K of 0.01 and 0.03; contrast and structure at each scale and
// luminance at the last, means over the picture, negative ones taken as 0, each to the power of its weight; the mean
// over the channels; how opaque a pixel is does not count. 1: equal. Both pictures have the same size, both sides at least kLeastMsSsimSide. Throws quench::Error otherwise.
double ms_ssim(const data::Picture& a, const data::Picture& b);

// Peak signal-to-noise ratio over the same samples in dB, infinite where they are equal. Throws quench::Error where the sizes
// differ.
double psnr(const data::Picture& a, const data::Picture& b);

}  // namespace quench::measure
