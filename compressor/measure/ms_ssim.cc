#include "compressor/measure/ms_ssim.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "formats/error.h"

namespace quench::measure {
namespace {

constexpr double kSigma = 1.5;

// One channel.
struct Plane {
  int width = 0, height = 0;
  std::vector<double> values;
  double at(int x, int y) const {
    return values[static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)];
  }
};

int channels_of(const data::Picture& picture) { return std::min(picture.samples, 3); }

Plane channel_of(const data::Picture& picture, int channel) {
  Plane plane{picture.width, picture.height, {}};
  plane.values.reserve(static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height));
  for (auto i = static_cast<size_t>(channel); i < picture.pixels.size(); i += static_cast<size_t>(picture.samples)) {
    plane.values.push_back(picture.pixels[i]);
  }
  return plane;
}

Plane product(const Plane& a, const Plane& b) {
  Plane result = a;
  for (size_t i = 0; i < result.values.size(); ++i) result.values[i] *= b.values[i];
  return result;
}

Plane blurred_rows(const Plane& plane) {
  const auto& window = ssim_window();
  Plane result{plane.width - kSsimWindow + 1, plane.height, {}};
  result.values.resize(static_cast<size_t>(result.width) * static_cast<size_t>(result.height));
  double* out = result.values.data();
  for (int y = 0; y < result.height; ++y) {
    const double* row = plane.values.data() + static_cast<size_t>(y) * static_cast<size_t>(plane.width);
    for (int x = 0; x < result.width; ++x) {
      double sum = 0;
      for (int t = 0; t < kSsimWindow; ++t) sum += window[static_cast<size_t>(t)] * row[x + t];
      *out++ = sum;
    }
  }
  return result;
}

Plane blurred(const Plane& plane) {
  const auto& window = ssim_window();
  const Plane rows = blurred_rows(plane);
  Plane result{rows.width, rows.height - kSsimWindow + 1, {}};
  const auto width = static_cast<size_t>(rows.width);
  result.values.resize(width * static_cast<size_t>(result.height));
  for (int y = 0; y < result.height; ++y) {
    double* out = result.values.data() + static_cast<size_t>(y) * width;
    for (int t = 0; t < kSsimWindow; ++t) {
      const double* row = rows.values.data() + static_cast<size_t>(y + t) * width;
      for (size_t x = 0; x < width; ++x) out[x] += window[static_cast<size_t>(t)] * row[x];
    }
  }
  return result;
}

// Odd sides have a row or column of zeros in front.
Plane halved(const Plane& plane) {
  const int pad_x = plane.width % 2, pad_y = plane.height % 2;
  Plane result{(plane.width + pad_x) / 2, (plane.height + pad_y) / 2, {}};
  const auto at = [&](int x, int y) { return x < 0 || y < 0 ? 0 : plane.at(x, y); };
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      const int left = 2 * x - pad_x, top = 2 * y - pad_y;
      result.values.push_back((at(left, top) + at(left + 1, top) + at(left, top + 1) + at(left + 1, top + 1)) / 4);
    }
  }
  return result;
}

struct Terms {
  double contrast = 0, whole = 0;
};

Terms terms_of(const Plane& x, const Plane& y) {
  const Plane mean_x = blurred(x), mean_y = blurred(y);
  const Plane xx = blurred(product(x, x)), yy = blurred(product(y, y)), xy = blurred(product(x, y));
  Terms terms;
  for (size_t i = 0; i < mean_x.values.size(); ++i) {
    const double a = mean_x.values[i], b = mean_y.values[i];
    const double contrast =
        (2 * (xy.values[i] - a * b) + kSsimC2) / (xx.values[i] - a * a + yy.values[i] - b * b + kSsimC2);
    terms.contrast += contrast;
    terms.whole += contrast * (2 * a * b + kSsimC1) / (a * a + b * b + kSsimC1);
  }
  const auto count = static_cast<double>(mean_x.values.size());
  return {terms.contrast / count, terms.whole / count};
}

double ms_ssim(Plane x, Plane y) {
  double result = 1;
  for (size_t scale = 0; scale < kSsimWeights.size(); ++scale) {
    const bool is_last = scale + 1 == kSsimWeights.size();
    const Terms terms = terms_of(x, y);
    result *= std::pow(std::max(0.0, is_last ? terms.whole : terms.contrast), kSsimWeights[scale]);
    if (is_last) break;
    x = halved(x);
    y = halved(y);
  }
  return result;
}

void check(const data::Picture& a, const data::Picture& b) {
  if (a.width == b.width && a.height == b.height && channels_of(a) == channels_of(b)) return;
  throw Error::make("a picture of {} x {} pixels in {} channels cannot be compared with one of {} x {} in {}", a.width,
                    a.height, channels_of(a), b.width, b.height, channels_of(b));
}

}  // namespace

const std::array<double, kSsimWindow>& ssim_window() {
  static const std::array<double, kSsimWindow> kTaps = [] {
    std::array<double, kSsimWindow> taps{};
    double sum = 0;
    constexpr int kMiddle = kSsimWindow / 2;
    for (int i = 0; i < kSsimWindow; ++i) {
      const double x = i - kMiddle;
      sum += taps[static_cast<size_t>(i)] = std::exp(-x * x / (2 * kSigma * kSigma));
    }
    for (double& tap : taps) tap /= sum;
    return taps;
  }();
  return kTaps;
}

double ms_ssim(const data::Picture& a, const data::Picture& b) {
  check(a, b);
  if (std::min(a.width, a.height) < kLeastMsSsimSide) {
    throw Error::make("a picture of {} x {} pixels is too small for MS-SSIM, which takes {} and more", a.width,
                      a.height, kLeastMsSsimSide);
  }
  double sum = 0;
  for (int channel = 0; channel < channels_of(a); ++channel) {
    sum += ms_ssim(channel_of(a, channel), channel_of(b, channel));
  }
  return sum / channels_of(a);
}

double psnr(const data::Picture& a, const data::Picture& b) {
  check(a, b);
  double sum = 0, count = 0;
  for (int channel = 0; channel < channels_of(a); ++channel) {
    const Plane x = channel_of(a, channel), y = channel_of(b, channel);
    for (size_t i = 0; i < x.values.size(); ++i) sum += (x.values[i] - y.values[i]) * (x.values[i] - y.values[i]);
    count += static_cast<double>(x.values.size());
  }
  return 10 * std::log10(255.0 * 255.0 * count / sum);
}

}  // namespace quench::measure
