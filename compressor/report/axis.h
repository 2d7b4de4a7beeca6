// The axis of a plot: its range, and ticks at 1, 2 or 5 times a power of ten.
#pragma once

#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace quench::report {

// The smallest and largest of the values that were added and are finite.
struct Extent {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value);
  void add(std::span<const double> values);
  bool is_empty() const { return low > high; }
};

struct Tick {
  double value = 0;
  std::string label;
};

struct AxisOptions {
  int ticks = 5;               // about how many
  bool logarithmic = false;    // values <= 0 have no place
  bool to_ticks = false;       // the range is widened to whole ticks
  bool whole_numbers = false;  // no ticks between integers
};

class Axis {
 public:
  // An empty extent gets the range from 0 to 1, or 1 to 10; one of a single value gets some space around it.
  Axis(Extent extent, const AxisOptions& options);

  double low() const { return low_; }
  double high() const { return high_; }
  const std::vector<Tick>& ticks() const { return ticks_; }
  // False for NaN, infinities and, on a logarithmic axis, what is not positive.
  bool has_place_for(double value) const;
  // 0 at the lower end, 1 at the upper one; from -10 to 10 for values outside.
  double position(double value) const;

 private:
  void add_linear_ticks(const AxisOptions& options);
  void add_decades(const AxisOptions& options);

  double low_, high_;
  bool logarithmic_;
  std::vector<Tick> ticks_;
};

// A number for people: about five digits, no trailing zeros; "NaN" and "∞".
std::string short_number(double value);

}  // namespace quench::report
