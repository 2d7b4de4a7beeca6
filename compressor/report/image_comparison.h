// Image codecs compared, for people: tables, curves of quality over rate, and parts of pictures side by side.
#pragma once

#include <string>

#include "compressor/measure/image_comparison.h"

namespace quench::report {

// Lines that end in a newline: means over the pictures for each rate, how often a learned codec is better, what was left
// out.
std::string to_text(const measure::ImageComparison& comparison);

// An SVG file: MS-SSIM in dB, and PSNR, over bits per pixel.
std::string rate_curves(const measure::ImageComparison& comparison);

// An SVG file: the middles of the pictures that are shown, twice as large, as they were and as each codec's file at the
// first rate has them. Throws quench::Error.
std::string middles(const measure::ImageComparison& comparison);

// -10 log10(1 - ms_ssim); infinite for 1.
double ms_ssim_db(double ms_ssim);

}  // namespace quench::report
