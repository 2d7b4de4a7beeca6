#include "compressor/data/image.h"

#include <algorithm>
#include <cmath>

#include "compressor/data/array.h"
#include "formats/error.h"

namespace quench::data {
namespace {

// The source pixels that one target pixel averages, along one axis.
struct Taps {
  int first = 0;
  std::vector<double> weights;
};

// A triangle filter: as wide as a source pixel when the image grows, as a target pixel when it shrinks.
std::vector<Taps> triangle_taps(int source, double scale, double offset, int target) {
  const double support = std::max(scale, 1.0);
  std::vector<Taps> taps(static_cast<size_t>(target));
  for (int t = 0; t < target; ++t) {
    const double center = (t + 0.5) * scale + offset;
    const int first = std::max(0, static_cast<int>(std::floor(center - support)));
    const int last = std::min(source - 1, static_cast<int>(std::ceil(center + support)));
    Taps& tap = taps[static_cast<size_t>(t)];
    tap.first = first;
    double sum = 0;
    for (int s = first; s <= last; ++s) {
      const double weight = std::max(0.0, 1.0 - std::abs(s + 0.5 - center) / support);
      tap.weights.push_back(weight);
      sum += weight;
    }
    for (double& weight : tap.weights) weight /= sum;
  }
  return taps;
}

std::vector<float> values_for_channels(const std::vector<float>& values, int channels, float default_value,
                                       std::string_view what) {
  const auto count = static_cast<size_t>(channels);
  if (values.empty()) return std::vector<float>(count, default_value);
  if (values.size() == 1) return std::vector<float>(count, values[0]);
  if (values.size() == count) return values;
  throw Error::make("{} {} values are given, the model's input has {} channels", values.size(), what, channels);
}

bool can_be_channels(int64_t dim) { return dim == 1 || dim == 3; }

}  // namespace

Image fit_image(const Image& image, int width, int height) {
  if (image.width == width && image.height == height) return image;
  const double scale = std::min(static_cast<double>(image.width) / width, static_cast<double>(image.height) / height);
  const std::vector<Taps> columns = triangle_taps(image.width, scale, (image.width - scale * width) / 2, width);
  const std::vector<Taps> rows = triangle_taps(image.height, scale, (image.height - scale * height) / 2, height);

  const auto row_values = size_t{3} * static_cast<size_t>(width);
  std::vector<double> wide(row_values * static_cast<size_t>(image.height), 0.0);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < width; ++x) {
      const Taps& taps = columns[static_cast<size_t>(x)];
      for (size_t k = 0; k < taps.weights.size(); ++k) {
        const size_t from =
            3 * (static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(taps.first) + k);
        for (size_t c = 0; c < 3; ++c) {
          wide[static_cast<size_t>(y) * row_values + 3 * static_cast<size_t>(x) + c] +=
              taps.weights[k] * image.pixels[from + c];
        }
      }
    }
  }
  Image fitted{width, height, std::vector<uint8_t>(row_values * static_cast<size_t>(height))};
  for (int y = 0; y < height; ++y) {
    const Taps& taps = rows[static_cast<size_t>(y)];
    for (size_t i = 0; i < row_values; ++i) {
      double sum = 0.5;
      for (size_t k = 0; k < taps.weights.size(); ++k) {
        sum += taps.weights[k] * wide[(static_cast<size_t>(taps.first) + k) * row_values + i];
      }
      fitted.pixels[static_cast<size_t>(y) * row_values + i] = static_cast<uint8_t>(std::clamp(sum, 0.0, 255.0));
    }
  }
  return fitted;
}

ImageTarget::ImageTarget(const DatasetOptions& options, int width, int height) : bgr_(options.bgr) {
  read_shape(options, width, height);
  const std::vector<float> mean = values_for_channels(options.mean, channels_, 0.0f, "mean");
  const std::vector<float> deviation = values_for_channels(options.std, channels_, 1.0f, "std");
  const float scale = options.scale.value_or(1.0f / 255.0f);
  for (size_t c = 0; c < static_cast<size_t>(channels_); ++c) {
    if (!(deviation[c] > 0)) throw Error("std must be above 0");
    factor_.push_back(scale / deviation[c]);
    offset_.push_back(-mean[c] / deviation[c]);
  }
}

void ImageTarget::read_shape(const DatasetOptions& options, int width, int height) {
  const std::vector<int64_t>& input = options.model_input;
  if (input.empty()) {
    layout_ = options.layout.value_or(Layout::kNchw);
    width_ = width;
    height_ = height;
  } else {
    if (input.size() != 4) throw Error::make("the model's input is {}, which images do not fit", dims_text(input));
    const bool only_last = can_be_channels(input[3]) && !can_be_channels(input[1]);
    layout_ = options.layout.value_or(only_last ? Layout::kNhwc : Layout::kNchw);
    const bool nchw = layout_ == Layout::kNchw;
    const int64_t channels = nchw ? input[1] : input[3];
    const int64_t rows = nchw ? input[2] : input[1], columns = nchw ? input[3] : input[2];
    constexpr int64_t kMaxSide = 1 << 14;
    if ((channels >= 0 && !can_be_channels(channels)) || rows > kMaxSide || columns > kMaxSide || rows == 0 ||
        columns == 0) {
      throw Error::make("the model's input is {} ({}), which images of 1 or 3 channels do not fit", dims_text(input),
                        nchw ? "NCHW" : "NHWC");
    }
    channels_ = channels < 0 ? 3 : static_cast<int>(channels);
    height_ = rows < 0 ? height : static_cast<int>(rows);
    width_ = columns < 0 ? width : static_cast<int>(columns);
  }
  shape_ = layout_ == Layout::kNchw ? std::vector<int64_t>{channels_, height_, width_}
                                    : std::vector<int64_t>{height_, width_, channels_};
}

void ImageTarget::convert(const Image& image, std::span<float> out) const {
  const bool same = image.width == width_ && image.height == height_;
  const Image fitted = same ? Image{} : fit_image(image, width_, height_);
  const uint8_t* pixel = same ? image.pixels.data() : fitted.pixels.data();
  const auto plane = static_cast<size_t>(width_) * static_cast<size_t>(height_);
  const auto channels = static_cast<size_t>(channels_);
  for (size_t i = 0; i < plane; ++i, pixel += 3) {
    for (size_t c = 0; c < channels; ++c) {
      // One channel: luma after ITU-R BT.601.
      const float value =
          channels == 1 ? 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2] : pixel[bgr_ ? 2 - c : c];
      out[layout_ == Layout::kNchw ? c * plane + i : i * channels + c] = value * factor_[c] + offset_[c];
    }
  }
}

Picture middle_of(const Picture& picture, int side) {
  Picture middle = picture;
  middle.width = std::min(picture.width, side);
  middle.height = std::min(picture.height, side);
  middle.pixels.clear();
  const auto samples = static_cast<size_t>(picture.samples), row_bytes = static_cast<size_t>(picture.width) * samples;
  const int left = (picture.width - middle.width) / 2, top = (picture.height - middle.height) / 2;
  for (int y = 0; y < middle.height; ++y) {
    const uint8_t* first =
        picture.pixels.data() + static_cast<size_t>(top + y) * row_bytes + static_cast<size_t>(left) * samples;
    middle.pixels.insert(middle.pixels.end(), first, first + static_cast<size_t>(middle.width) * samples);
  }
  return middle;
}

}  // namespace quench::data
