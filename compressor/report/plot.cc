#include "compressor/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>

#include "compressor/report/axis.h"
#include "compressor/report/markup.h"
#include "formats/error.h"

namespace quench::report {
namespace {

constexpr size_t kColors = 7;           // .c0 to .c6 in kStyle
constexpr double kFontSize = 12;        // of the text in plots, in pixels
constexpr size_t kMaxDirectLabels = 4;  // more lines have a legend
constexpr size_t kMaxLabel = 28;        // characters
constexpr size_t kMaxTooltips = 120;    // points of a line that tell their values
constexpr size_t kMaxDots = 24;         // points of a line that are drawn as such
constexpr size_t kMaxBars = 600;        // bars that tell their values
constexpr double kMaxFixed = 1e7;       // larger numbers are shown with an exponent
constexpr double kPageWidth = 920;      // pixels
constexpr double kPanelGap = 16;        // pixels, as in the page's styles
constexpr double kWide = 600;           // pixels; a wider plot scrolls on small screens, where its text would get tiny
constexpr double kLabelHeight = 15;     // pixels
constexpr double kFileMargin = 14;      // pixels around a plot that is a file
constexpr double kMaxLabeledBar = 64;   // pixels; bars over numbers touch, whatever their width
constexpr size_t kMaxNameWidth = 34;    // characters of a row's name before it wraps

// Colors after Okabe and Ito ("Color Universal Design", 2008), which people with any kind of color vision can tell
// apart, a little darker or lighter where the background asks for it.
constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark;
  --paper: #fff; --ink: #1c2025; --soft: #626a73; --grid: #e4e7ea; --axis: #9aa1a8; --band: #f5f6f8;
  --c0: #0072b2; --c1: #d55e00; --c2: #00835f; --c3: #b2518c; --c4: #a87700; --c5: #3f9fd8; --c6: #6b6f74; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #15181c; --ink: #e4e7ea; --soft: #9ba3ab; --grid: #2b3036; --axis: #5d656d; --band: #1c2025;
  --c0: #4ba6e3; --c1: #f08043; --c2: #2ebf95; --c3: #df93c0; --c4: #e6b04a; --c5: #9ad1f2; --c6: #a4a9af; } }
svg text { font-size: 12px; fill: var(--soft); }
svg text.label { fill: var(--ink); }
svg text.name { font-weight: 600; fill: currentColor; }
.paper { fill: var(--paper); }
.grid { stroke: var(--grid); stroke-width: 1; fill: none; }
.axis { stroke: var(--axis); stroke-width: 1; fill: none; }
.line { stroke: currentColor; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; fill: none; }
.dense .line { stroke-width: 1; }
.dashed .line { stroke-dasharray: 7 4; }
.dotted .line { stroke-dasharray: 1 5; }
.dot, .bar { fill: currentColor; }
.bar:hover { fill: var(--ink); }
.hit { fill: transparent; }
.hit:hover { fill: currentColor; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
.c4 { color: var(--c4); } .c5 { color: var(--c5); } .c6 { color: var(--c6); }
)";

template <typename... Args>
void add(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

double text_width(std::string_view text) { return width_in_ems(text) * kFontSize; }

// Classes that color a series; those past the last color repeat them with other dashes.
std::string color_class(size_t series) {
  return fmt::format("c{}{}", series % kColors, series < kColors ? "" : series < 2 * kColors ? " dashed" : " dotted");
}

// The plot area inside a picture, in pixels.
struct Frame {
  double left = 0, top = 0, right = 0, bottom = 0;

  double width() const { return right - left; }
  double height() const { return bottom - top; }
  double x(const Axis& axis, double value) const { return left + width() * axis.position(value); }
  double y(const Axis& axis, double value) const { return bottom - height() * axis.position(value); }
};

void open_svg(std::string& out, double width, double height, const std::string& title) {
  add(out, R"(<svg{3} viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" role="img" aria-label="{2}">)", width, height,
      escape(title), width > kWide ? " class=\"wide\"" : "");
}

void add_text(std::string& out, double x, double y, std::string_view anchor, std::string_view classes,
              std::string_view text) {
  add(out, R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>)", x, y, anchor, classes, escape(text));
}

// Room for the labels of the ticks and the axes.
Frame frame_for(const Axis& y_axis, double width, double height, const std::string& x_label, const std::string& y_label,
                double right_margin) {
  double widest = 0;
  for (const Tick& tick : y_axis.ticks()) widest = std::max(widest, text_width(tick.label));
  return {widest + 8, y_label.empty() ? 8.0 : 26.0, width - right_margin, height - (x_label.empty() ? 22.0 : 40.0)};
}

void draw_y_axis(std::string& out, const Frame& frame, const Axis& axis, const std::string& label) {
  for (const Tick& tick : axis.ticks()) {
    const double y = frame.y(axis, tick.value);
    add(out, R"(<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/>)", frame.left, y, frame.right);
    add_text(out, frame.left - 8, y + 4, "end", "tick", tick.label);
  }
  if (!label.empty()) add_text(out, 0, 12, "start", "label", label);
}

void draw_baseline(std::string& out, const Frame& frame, const std::string& label) {
  add(out, R"(<path class="axis" d="M{:.1f} {:.1f}H{:.1f}"/>)", frame.left, frame.bottom, frame.right);
  if (!label.empty()) add_text(out, (frame.left + frame.right) / 2, frame.bottom + 36, "middle", "label", label);
}

void draw_x_tick(std::string& out, const Frame& frame, double x, std::string_view label) {
  add(out, R"(<path class="axis" d="M{:.1f} {:.1f}v4"/>)", x, frame.bottom);
  add_text(out, x, frame.bottom + 17, "middle", "tick", label);
}

void draw_x_ticks(std::string& out, const Frame& frame, const Axis& axis) {
  for (const Tick& tick : axis.ticks()) draw_x_tick(out, frame, frame.x(axis, tick.value), tick.label);
}

void draw_no_data(std::string& out, const Frame& frame) {
  add_text(out, (frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2, "middle", "label", "no data");
}

std::string figure(const std::string& title, std::string_view kind, const std::string& content) {
  std::string caption;
  if (!title.empty()) caption = fmt::format("<figcaption>{}</figcaption>", escape(title));
  return fmt::format("<figure class=\"{}\">{}{}</figure>\n", kind, caption, content);
}

std::string legend(const std::vector<std::string>& names) {
  std::string out = R"(<ul class="legend">)";
  for (size_t i = 0; i < names.size(); ++i) {
    add(out, R"(<li><svg class="{}" width="22" height="10"><path class="line" d="M1 5H21"/></svg>{}</li>)",
        color_class(i), escape(names[i]));
  }
  return out + "</ul>";
}

std::vector<double> numbered(size_t count) {
  std::vector<double> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0.0);
  return numbers;
}

bool are_whole(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return !std::isfinite(v) || v == std::floor(v); });
}

int x_ticks_for(double width) { return std::max(2, static_cast<int>(width / 70)); }

struct Point {
  double x = 0, y = 0;  // pixels
  size_t index = 0;     // in the series
};
using Segment = std::vector<Point>;  // without a gap

// The series without what would be drawn on the same pixels: the first, lowest, highest and last point of a column.
Segment thinned(const Segment& segment, double width) {
  const bool is_sorted =
      std::is_sorted(segment.begin(), segment.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
  if (!is_sorted || static_cast<double>(segment.size()) < 4 * width) return segment;
  Segment kept;
  for (size_t begin = 0; begin < segment.size();) {
    size_t end = begin, low = begin, high = begin;
    for (; end < segment.size() && std::floor(segment[end].x) == std::floor(segment[begin].x); ++end) {
      if (segment[end].y < segment[low].y) low = end;
      if (segment[end].y > segment[high].y) high = end;
    }
    std::vector<size_t> column{begin, std::min(low, high), std::max(low, high), end - 1};
    column.erase(std::unique(column.begin(), column.end()), column.end());
    for (const size_t i : column) kept.push_back(segment[i]);
    begin = end;
  }
  return kept;
}

class LineFigure {
 public:
  // `in_page`: a legend may stand beside the picture.
  LineFigure(const LinePlot& plot, double width, bool in_page)
      : plot_(plot),
        in_page_(in_page),
        width_(width),
        height_(std::max(std::clamp(width * 0.36, 230.0, 320.0),
                         in_page ? 0 : kLabelHeight * static_cast<double>(plot.series.size()) + 66)),
        xs_(xs_of_all(plot)),
        x_axis_(extent_of_x(), x_options()),
        y_axis_(extent_of_y(), y_options()),
        frame_(frame_for(y_axis_, width, height_, plot.x_label, plot.y_label, right_margin())) {
    for (size_t i = 0; i < plot.series.size(); ++i) lines_.push_back(segments_of(i));
  }

  std::string html() const {
    std::string out;
    if (has_legend()) out += legend(names());
    open_svg(out, width_, height_, plot_.title);
    draw(out);
    return figure(plot_.title, "plot", out + "</svg>");
  }

  double height() const { return height_; }

  void draw(std::string& out) const {
    draw_y_axis(out, frame_, y_axis_, plot_.y_label);
    draw_x_ticks(out, frame_, x_axis_);
    draw_baseline(out, frame_, plot_.x_label);
    draw_lines(out);
    if (has_direct_labels()) draw_direct_labels(out);
  }

 private:
  using Line = std::vector<Segment>;

  static std::vector<std::vector<double>> xs_of_all(const LinePlot& plot) {
    std::vector<std::vector<double>> all;
    for (const Series& series : plot.series) {
      if (!series.x.empty() && series.x.size() != series.y.size()) {
        throw Error::make("plot '{}': series '{}' has {} values of x and {} of y: give as many, or no x", plot.title,
                          series.name, series.x.size(), series.y.size());
      }
      all.push_back(series.x.empty() ? numbered(series.y.size()) : series.x);
    }
    return all;
  }

  Extent extent_of_x() const {
    Extent extent;
    for (const std::vector<double>& x : xs_) extent.add(x);
    return extent;
  }

  AxisOptions x_options() const {
    const bool is_whole =
        std::all_of(xs_.begin(), xs_.end(), [](const std::vector<double>& x) { return are_whole(x); });
    return {.ticks = x_ticks_for(width_), .whole_numbers = is_whole};
  }

  bool has_y_range() const {
    return plot_.y_range && std::isfinite(plot_.y_range->first) && std::isfinite(plot_.y_range->second) &&
           plot_.y_range->first < plot_.y_range->second;
  }

  Extent extent_of_y() const {
    if (has_y_range()) return {plot_.y_range->first, plot_.y_range->second};
    Extent extent;
    for (const Series& series : plot_.series) {
      for (const double y : series.y) {
        if (!plot_.log_y || y > 0) extent.add(y);
      }
    }
    return extent;
  }

  AxisOptions y_options() const {
    return {.ticks = static_cast<int>(height_ / 55), .logarithmic = plot_.log_y, .to_ticks = !has_y_range()};
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const Series& series : plot_.series) names.push_back(series.name);
    return names;
  }

  double widest_label() const {
    double widest = 0;
    for (const Series& series : plot_.series) {
      widest = std::max(widest, text_width(shorten(series.name, kMaxLabel)));
    }
    return widest;
  }
  bool has_direct_labels() const {
    if (!in_page_) return widest_label() > 0;
    return plot_.series.size() <= kMaxDirectLabels && widest_label() > 0 && widest_label() < width_ * 0.25;
  }
  bool has_legend() const { return !has_direct_labels() && widest_label() > 0; }
  double right_margin() const { return has_direct_labels() ? widest_label() + 12 : 24; }

  Line segments_of(size_t index) const {
    const std::vector<double>&x = xs_[index], &y = plot_.series[index].y;
    Line line(1);
    for (size_t i = 0; i < y.size(); ++i) {
      if (x_axis_.has_place_for(x[i]) && y_axis_.has_place_for(y[i])) {
        line.back().push_back({frame_.x(x_axis_, x[i]), frame_.y(y_axis_, y[i]), i});
      } else if (!line.back().empty()) {
        line.emplace_back();
      }
    }
    if (line.back().empty()) line.pop_back();
    for (Segment& segment : line) segment = thinned(segment, frame_.width());
    return line;
  }

  void draw_lines(std::string& out) const {
    if (std::all_of(lines_.begin(), lines_.end(), [](const Line& line) { return line.empty(); })) {
      draw_no_data(out, frame_);
    }
    // Cuts off what is outside of the axes; points on their edge are drawn whole where nothing is.
    const double margin = has_y_range() ? 1 : 4;
    add(out,
        R"(<svg x="{0:.1f}" y="{1:.1f}" width="{2:.1f}" height="{3:.1f}" viewBox="{0:.1f} {1:.1f} {2:.1f} {3:.1f}">)",
        frame_.left - 4, frame_.top - margin, frame_.width() + 8, frame_.height() + 2 * margin);
    for (size_t i = 0; i < lines_.size(); ++i) draw_line(out, i);
    out += "</svg>";
  }

  void draw_line(std::string& out, size_t index) const {
    size_t points = 0;
    std::string path;
    for (const Segment& segment : lines_[index]) {
      points += segment.size();
      for (const Point& point : segment)
        add(path, "{}{:.1f} {:.1f}", &point == &segment[0] ? 'M' : 'L', point.x, point.y);
    }
    if (points == 0) return;
    add(out, R"(<g class="{}{}"><path class="line" d="{}"/>)", color_class(index),
        static_cast<double>(points) > frame_.width() ? " dense" : "", path);
    for (const Segment& segment : lines_[index]) {
      if (segment.size() > 1 && points > kMaxDots) continue;  // a point between gaps has no line
      for (const Point& point : segment)
        add(out, R"(<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="2.5"/>)", point.x, point.y);
    }
    add_tooltips(out, index, 1 + points / kMaxTooltips);
    out += "</g>";
  }

  void add_tooltips(std::string& out, size_t index, size_t stride) const {
    const Series& series = plot_.series[index];
    const std::string name = series.name.empty() ? "" : escape(series.name) + ", ";
    size_t number = 0;
    for (const Segment& segment : lines_[index]) {
      for (const Point& point : segment) {
        if (number++ % stride != 0) continue;
        add(out, R"(<circle class="hit" cx="{:.1f}" cy="{:.1f}" r="6"><title>{}{}: {}</title></circle>)", point.x,
            point.y, name, short_number(xs_[index][point.index]), short_number(series.y[point.index]));
      }
    }
  }

  // Names at the lines' ends, moved apart where they would touch.
  void draw_direct_labels(std::string& out) const {
    struct Label {
      size_t series;
      double y;
    };
    std::vector<Label> labels;
    for (size_t i = 0; i < lines_.size(); ++i) {
      if (!lines_[i].empty()) labels.push_back({i, std::clamp(lines_[i].back().back().y, frame_.top, frame_.bottom)});
    }
    std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
    for (size_t i = 1; i < labels.size(); ++i) labels[i].y = std::max(labels[i].y, labels[i - 1].y + kLabelHeight);
    double lowest = frame_.bottom;
    for (size_t i = labels.size(); i-- > 0; lowest -= kLabelHeight)
      labels[i].y = lowest = std::min(labels[i].y, lowest);
    for (const Label& label : labels) {
      add_text(out, frame_.right + 8, label.y + 4, "start", "name " + color_class(label.series),
               shorten(plot_.series[label.series].name, kMaxLabel));
    }
  }

  const LinePlot& plot_;
  bool in_page_;
  double width_, height_;
  std::vector<std::vector<double>> xs_;
  Axis x_axis_, y_axis_;
  Frame frame_;
  std::vector<Line> lines_;
};

std::vector<double> positions_of(const std::vector<double>& values, const std::vector<double>& positions,
                                 const std::string& title) {
  if (positions.empty()) return numbered(values.size());
  if (positions.size() == values.size()) return positions;
  throw Error::make("plot '{}': {} bars have {} positions: give as many, or none", title, values.size(),
                    positions.size());
}

// The least distance of two bars.
double gap_of(std::vector<double> positions) {
  std::erase_if(positions, [](double position) { return !std::isfinite(position); });
  std::sort(positions.begin(), positions.end());
  double gap = std::numeric_limits<double>::infinity();
  for (size_t i = 1; i < positions.size(); ++i) {
    if (positions[i] > positions[i - 1]) gap = std::min(gap, positions[i] - positions[i - 1]);
  }
  return std::isfinite(gap) ? gap : 1;
}

struct Bars {
  std::vector<double> positions, values;
  const std::vector<std::string>* labels = nullptr;  // null: the positions
};

struct BarAxes {
  Extent x, y;
  bool has_whole_x = true;
  double gap = std::numeric_limits<double>::infinity();

  void add(const Bars& bars) {
    const double own_gap = gap_of(bars.positions);
    gap = std::min(gap, own_gap);
    Extent own;
    own.add(bars.positions);
    if (!own.is_empty()) x.add(std::vector<double>{own.low - own_gap / 2, own.high + own_gap / 2});
    y.add(bars.values);
    y.add(0);
    has_whole_x = has_whole_x && are_whole(bars.positions);
  }
};

class BarDrawing {
 public:
  BarDrawing(const BarAxes& axes, double width, double height, std::string x_label, std::string y_label)
      : width_(width),
        height_(height),
        x_label_(std::move(x_label)),
        y_label_(std::move(y_label)),
        x_axis_(axes.x, {.ticks = x_ticks_for(width), .whole_numbers = axes.has_whole_x}),
        y_axis_(axes.y, {.ticks = static_cast<int>(height / 55), .to_ticks = true}),
        frame_(frame_for(y_axis_, width, height, x_label_, y_label_, 10)),
        gap_(axes.gap) {}

  std::string svg(const Bars& bars, const std::string& title) const {
    std::string out;
    open_svg(out, width_, height_, title);
    draw_y_axis(out, frame_, y_axis_, y_label_);
    draw_bars(out, bars);
    draw_baseline(out, frame_, x_label_);
    if (bars.labels != nullptr) {
      draw_labels(out, bars);
    } else {
      draw_x_ticks(out, frame_, x_axis_);
    }
    if (std::none_of(bars.values.begin(), bars.values.end(), [](double v) { return std::isfinite(v); })) {
      draw_no_data(out, frame_);
    }
    return out + "</svg>";
  }

 private:
  double gap_in_pixels() const {
    return std::min(frame_.width(), gap_ / (x_axis_.high() - x_axis_.low()) * frame_.width());
  }

  void draw_bars(std::string& out, const Bars& bars) const {
    double width = std::max(1.5, gap_in_pixels() - std::min(2.0, gap_in_pixels() * 0.15));
    if (bars.labels != nullptr) width = std::min(width, kMaxLabeledBar);
    const bool has_tooltips = bars.values.size() <= kMaxBars;
    std::string path;
    out += R"(<g class="c0">)";
    for (size_t i = 0; i < bars.values.size(); ++i) {
      if (!std::isfinite(bars.positions[i]) || !std::isfinite(bars.values[i]) || bars.values[i] == 0) continue;
      const double left = frame_.x(x_axis_, bars.positions[i]) - width / 2;
      const double zero = frame_.y(y_axis_, 0), end = frame_.y(y_axis_, bars.values[i]);
      add(path, "M{:.1f} {:.1f}h{:.1f}V{:.1f}h{:.1f}z", left, zero, width, end, -width);
      if (!has_tooltips) continue;
      add(out, R"(<path class="bar" d="{}"><title>{}: {}</title></path>)", path,
          bars.labels == nullptr ? short_number(bars.positions[i]) : escape((*bars.labels)[i]),
          short_number(bars.values[i]));
      path.clear();
    }
    if (!path.empty()) add(out, R"(<path class="bar" d="{}"/>)", path);
    out += "</g>";
  }

  // As many labels as there is room for.
  void draw_labels(std::string& out, const Bars& bars) const {
    double widest = 0;
    for (const std::string& label : *bars.labels) widest = std::max(widest, text_width(shorten(label, kMaxLabel)));
    const size_t stride = 1 + static_cast<size_t>((widest + 6) / std::max(gap_in_pixels(), 1e-3));
    for (size_t i = 0; i < bars.labels->size(); i += stride) {
      if (!std::isfinite(bars.positions[i])) continue;
      draw_x_tick(out, frame_, frame_.x(x_axis_, bars.positions[i]), shorten((*bars.labels)[i], kMaxLabel));
    }
  }

  double width_, height_;
  std::string x_label_, y_label_;
  Axis x_axis_, y_axis_;
  Frame frame_;
  double gap_;
};

Axis row_axis(const BarTable& plot) {
  Extent extent;
  extent.add(0);
  for (const BarTable::Row& row : plot.rows) extent.add(row.values);
  return Axis(extent, {});
}

std::string row_bars(const std::vector<double>& values, const Axis& axis) {
  constexpr int kHeight = 8;
  std::string out = fmt::format(R"(<svg class="rowbar" width="100%" height="{}">)", kHeight * values.size() + 2);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    const double zero = 100 * axis.position(0), end = 100 * axis.position(values[i]);
    add(out, R"(<rect class="bar {}" x="{:.2f}%" y="{}" width="{:.2f}%" height="{}"/>)", color_class(i),
        std::min(zero, end), kHeight * i + 1, std::abs(end - zero), kHeight - 1);
  }
  return out + "</svg>";
}

// Of small plots: rows that are full, where that can be.
size_t columns_for(size_t panels) { return panels <= 4 ? std::max<size_t>(panels, 2) : panels % 4 == 0 ? 4 : 3; }

}  // namespace

std::string to_figure(const LinePlot& plot, double width) { return LineFigure(plot, width, true).html(); }

std::string to_svg_file(const LinePlot& plot, double width) { return to_svg_file(std::span(&plot, 1), width); }

std::string to_svg_file(std::span<const LinePlot> plots, double width) {
  std::string title, drawn;
  double height = 0;
  for (const LinePlot& plot : plots) {
    const LineFigure figure(plot, width, false);
    title += (title.empty() ? "" : ", ") + plot.title;
    if (height > 0) height += kFileMargin;
    add(drawn, R"-(<g transform="translate(0 {:.0f})">)-", height);
    figure.draw(drawn);
    drawn += "</g>";
    height += figure.height();
  }
  return to_svg_file(title, width, height, drawn);
}

std::string to_svg_file(std::string_view title, double width, double height, std::string_view drawn) {
  std::string out = fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="{0} {0} {1:.0f} {2:.0f}" width="{1:.0f}" height="{2:.0f}">)",
      -kFileMargin, width + 2 * kFileMargin, height + 2 * kFileMargin);
  add(out, "<title>{}</title><style>{}text {{ font-family: {}; }}</style>\n", escape(title), kStyle,
      R"(system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif)");
  out += R"(<rect x="-50%" y="-50%" width="200%" height="200%" class="paper"/>)";
  return out.append(drawn).append("</svg>\n");
}

std::string_view plot_style() { return kStyle; }

std::string to_figure(const BarPlot& plot, double width) {
  Bars bars{positions_of(plot.values, plot.positions, plot.title), plot.values, nullptr};
  if (!plot.labels.empty()) {
    if (plot.labels.size() != plot.values.size()) {
      throw Error::make("plot '{}': {} bars have {} labels: give as many, or none", plot.title, plot.values.size(),
                        plot.labels.size());
    }
    bars.labels = &plot.labels;
  }
  BarAxes axes;
  axes.add(bars);
  const double height = std::clamp(width * 0.32, 200.0, 280.0);
  return figure(plot.title, "plot", BarDrawing(axes, width, height, plot.x_label, plot.y_label).svg(bars, plot.title));
}

std::string to_figure(const BarPanels& plot) {
  std::vector<Bars> all;
  BarAxes axes;
  for (const BarPanels::Panel& panel : plot.panels) {
    all.push_back({positions_of(panel.values, panel.positions, plot.title + ", " + panel.caption), panel.values});
    axes.add(all.back());
  }
  const size_t columns = columns_for(all.size());
  const BarDrawing drawing(axes, (kPageWidth - kPanelGap * (columns - 1)) / columns, 130, "", "");
  std::string out;
  const std::string by = plot.x_label.empty() ? plot.y_label : fmt::format("{} by {}", plot.y_label, plot.x_label);
  if (!by.empty()) add(out, R"(<p class="caption">{}</p>)", escape(by));
  add(out, R"(<div class="panels" style="--columns:{}">)", columns);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string& caption = plot.panels[i].caption;
    add(out, R"(<div><p class="caption">{}</p>{}</div>)", escape(caption), drawing.svg(all[i], caption));
  }
  return figure(plot.title, "plot", out + "</div>");
}

std::string to_figure(const BarTable& plot) {
  const Axis axis = row_axis(plot);
  std::string out;
  if (plot.series.size() > 1) out += legend(plot.series);
  size_t longest = 0;
  for (const BarTable::Row& row : plot.rows) longest = std::max(longest, row.name.size());
  add(out, R"(<div class="scroll"><table class="bars" style="--name:{}ch"><thead><tr><th>{}</th><th></th>)",
      std::min(longest, kMaxNameWidth), escape(plot.name_header));
  for (const std::string& name : plot.series) add(out, R"(<th class="number">{}</th>)", escape(name));
  out += "</tr></thead><tbody>";
  for (const BarTable::Row& row : plot.rows) {
    if (row.values.size() != plot.series.size()) {
      throw Error::make("plot '{}': row '{}' has {} values for {} series", plot.title, row.name, row.values.size(),
                        plot.series.size());
    }
    add(out, R"(<tr><td class="rowname">{}</td><td class="rowbars">{}</td>)", escape(row.name),
        row_bars(row.values, axis));
    for (const double value : row.values) {
      add(out, R"(<td class="number">{}</td>)",
          std::abs(value) < kMaxFixed ? fmt::format("{:.{}f}", value, plot.digits) : short_number(value));
    }
    out += "</tr>";
  }
  return figure(plot.title, "rows", out + "</tbody></table></div>");
}

}  // namespace quench::report
