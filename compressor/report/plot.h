// Plots as inline SVG, for a Page (page.h), or as a file of their own.
//
// All text is escaped, and values that are NaN or infinite are left out: lines have a gap there, bars are missing. A
// plot without any value says "no data". Throws quench::Error only when the vectors of a plot do not fit together.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quench::report {

struct Series {
  std::string name = {};
  std::vector<double> x = {};  // empty: 0, 1, 2, ...
  std::vector<double> y = {};
};

struct LinePlot {
  std::string title = {}, x_label = {}, y_label = {};
  std::vector<Series> series = {};
  bool log_y = false;                                     // values <= 0 are left out
  std::optional<std::pair<double, double>> y_range = {};  // low < high; lines are cut off there
};

// Vertical bars over numbers (a histogram) or over labels.
struct BarPlot {
  std::string title = {}, x_label = {}, y_label = {};
  std::vector<double> values = {};
  std::vector<double> positions = {};    // the middle of each bar; empty: 0, 1, 2, ...
  std::vector<std::string> labels = {};  // empty: the positions
};

// The same histogram at several times, as a row of small plots with common axes.
struct BarPanels {
  struct Panel {
    std::string caption = {};
    std::vector<double> values = {};
    std::vector<double> positions = {};  // empty: 0, 1, 2, ...
  };
  std::string title = {}, x_label = {}, y_label = {};  // shown once, as "y_label by x_label"
  std::vector<Panel> panels = {};
};

// Points in the plane, or how dense they are, as a row of small plots with common axes: y points up, and a unit is as
// long in x as in y.
struct PlanePanels {
  struct Panel {
    std::string caption = {};
    std::vector<double> x = {}, y = {};  // of points, as many of each
    // Of squares that cover the range: rows from low to high y, each from low to high x, as many rows as columns. The
    // highest value is darkest; what is below 0 or not finite is left out.
    std::vector<double> density = {};
  };
  std::string title = {};
  std::pair<double, double> range = {-1, 1};  // of x and of y, low < high; what is outside is not drawn
  std::vector<Panel> panels = {};
};

// A row for each name, with a horizontal bar and its number for each series: names may be long and rows many.
struct BarTable {
  struct Row {
    std::string name = {};
    std::vector<double> values = {};  // one for each series; NaN: none
  };
  std::string title = {}, name_header = {};
  std::vector<std::string> series = {};
  std::vector<Row> rows = {};
  int digits = 2;  // behind the point
};

// <figure> elements. `width` is in CSS pixels; the figure shrinks where there is less room.
std::string to_figure(const LinePlot& plot, double width);
std::string to_figure(const BarPlot& plot, double width);
std::string to_figure(const BarPanels& plot);
std::string to_figure(const BarTable& plot);
std::string to_figure(const PlanePanels& plot);

// A whole SVG file, for where no page can be shown; it follows the reader's light or dark mode, too. Lines are named at
// their ends, however many there are.
std::string to_svg_file(const LinePlot& plot, double width);
// Several below each other.
std::string to_svg_file(std::span<const LinePlot> plots, double width);

// A whole SVG file of what is drawn in `width` x `height`, with a margin, on the page's colour. `title` is escaped here.
std::string to_svg_file(std::string_view title, double width, double height, std::string_view drawn);

// The CSS that figures need.
std::string_view plot_style();

}  // namespace quench::report
