#include "compressor/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quench::report {
namespace {

constexpr double kLargest = 1e300;      // differences of larger values overflow
constexpr double kSmallestSpan = 1e-9;  // relative to the values: below this, ticks could not be told apart
constexpr double kSmallestPositive = 1e-300;

double step_of(double span, int ticks) {
  const double raw = span / std::max(ticks, 1);
  const double magnitude = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * magnitude * (1 + 1e-9)) return factor * magnitude;
  }
  return 10 * magnitude;
}

int exponent_of(double value) { return static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9)); }

// "1.5e-07" -> "1.5e-7".
std::string scientific(double value, int digits) {
  std::string text = fmt::format("{:.{}e}", value, digits);
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  return text.substr(0, e) + "e" + std::to_string(exponent);
}

std::string with_thousands(std::string text) {
  const size_t first = text[0] == '-' ? 1 : 0;
  const size_t point = std::min(text.find('.'), text.size());
  if (point - first < 5) return text;  // 1234 needs none
  for (size_t at = point; at > first + 3;) text.insert(at -= 3, ",");
  return text;
}

std::string tick_label(double value, double step, double largest) {
  if (value == 0) return "0";
  const int step_exponent = exponent_of(step);
  if (largest >= 1e7 || step_exponent < -5) {
    return scientific(value, std::max(0, exponent_of(value) - step_exponent));
  }
  return with_thousands(fmt::format("{:.{}f}", value, std::max(0, -step_exponent)));
}

std::string decade_label(double value, int exponent) {
  return exponent >= -4 && exponent <= 5 ? with_thousands(fmt::format("{:.{}f}", value, std::max(0, -exponent)))
                                         : scientific(value, 0);
}

// Room above and below, so that there is a range to show.
Extent widened(Extent extent, bool logarithmic) {
  if (extent.is_empty()) return logarithmic ? Extent{1, 10} : Extent{0, 1};
  extent = {std::clamp(extent.low, -kLargest, kLargest), std::clamp(extent.high, -kLargest, kLargest)};
  const double largest = std::max(std::abs(extent.low), std::abs(extent.high));
  if (extent.high - extent.low > kSmallestSpan * largest && extent.high - extent.low > kSmallestPositive) return extent;
  if (logarithmic) return {extent.low / 2, extent.high * 2};
  const double room = largest > kSmallestPositive ? largest / 10 : 1;
  return {extent.low - room, extent.high + room};
}

}  // namespace

void Extent::add(double value) {
  if (!std::isfinite(value)) return;
  low = std::min(low, value);
  high = std::max(high, value);
}

void Extent::add(std::span<const double> values) {
  for (const double value : values) add(value);
}

Axis::Axis(Extent extent, const AxisOptions& options) : logarithmic_(options.logarithmic) {
  if (logarithmic_ && !extent.is_empty()) {
    extent.low = std::max(extent.low, kSmallestPositive);
    if (extent.high < extent.low) extent = {};
  }
  extent = widened(extent, logarithmic_);
  low_ = extent.low;
  high_ = extent.high;
  if (logarithmic_) add_decades(options);
  // Within a factor of ten or so there may be one tick or none.
  if (ticks_.size() < 3) {
    ticks_.clear();
    add_linear_ticks(options);
  }
}

void Axis::add_linear_ticks(const AxisOptions& options) {
  double step = step_of(high_ - low_, options.ticks);
  if (options.whole_numbers) step = std::max(step, 1.0);
  if (options.to_ticks && !logarithmic_) {
    low_ = std::floor(low_ / step + 1e-9) * step;
    high_ = std::ceil(high_ / step - 1e-9) * step;
  }
  const double largest = std::max(std::abs(low_), std::abs(high_));
  const double first = std::ceil(low_ / step - 1e-9);
  const int count = static_cast<int>(std::floor(high_ / step + 1e-9) - first) + 1;
  for (int i = 0; i < count; ++i) {
    const double value = (first + i) * step;
    ticks_.push_back({value, tick_label(value, step, largest)});
  }
}

void Axis::add_decades(const AxisOptions& options) {
  if (options.to_ticks) {
    low_ = std::pow(10, std::floor(std::log10(low_) + 1e-9));
    high_ = std::pow(10, std::ceil(std::log10(high_) - 1e-9));
  }
  const int first = static_cast<int>(std::floor(std::log10(low_) + 1e-9));
  const int last = static_cast<int>(std::floor(std::log10(high_) + 1e-9));
  const int stride = 1 + (last - first) / std::max(options.ticks + 2, 1);
  const bool is_short = std::log10(high_) - std::log10(low_) < 2;
  const std::vector<double> factors = is_short ? std::vector<double>{1, 2, 5} : std::vector<double>{1};
  for (int exponent = first; exponent <= last; exponent += stride) {
    for (const double factor : factors) {
      const double value = factor * std::pow(10, exponent);
      if (value < low_ * (1 - 1e-9) || value > high_ * (1 + 1e-9)) continue;
      ticks_.push_back({value, decade_label(value, exponent)});
    }
  }
}

bool Axis::has_place_for(double value) const { return std::isfinite(value) && (!logarithmic_ || value > 0); }

double Axis::position(double value) const {
  const double share = logarithmic_ ? (std::log(value) - std::log(low_)) / (std::log(high_) - std::log(low_))
                                    : (value - low_) / (high_ - low_);
  return std::clamp(share, -10.0, 10.0);
}

std::string short_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size < 1e-4 || size >= 1e7) return scientific(value, 3);
  std::string text = fmt::format("{:.{}f}", value, std::clamp(4 - exponent_of(value), 0, 8));
  if (text.find('.') != std::string::npos) text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return with_thousands(text);
}

}  // namespace quench::report
