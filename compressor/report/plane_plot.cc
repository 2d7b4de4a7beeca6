#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "compressor/report/axis.h"
#include "compressor/report/markup.h"
#include "compressor/report/plot.h"
#include "formats/error.h"

namespace quench::report {
namespace {

constexpr double kSide = 270;   // pixels of a panel's square
constexpr double kLeft = 30;    // of it, for the labels of the ticks
constexpr double kBottom = 22;  // below it, likewise
constexpr double kMargin = 7;   // on the other sides
constexpr int kTicks = 5;
constexpr int kShades = 24;

template <typename... Args>
void add(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

class PlanePanel {
 public:
  PlanePanel(const PlanePanels& plot, const PlanePanels::Panel& panel)
      : panel_(panel),
        low_(plot.range.first),
        high_(plot.range.second),
        axis_({low_, high_}, {.ticks = kTicks}),
        name_(fmt::format("{}, {}", plot.title, panel.caption)) {
    if (panel.x.size() != panel.y.size()) {
      throw Error::make("plot '{}': {} values of x and {} of y: give as many", name_, panel.x.size(), panel.y.size());
    }
    side_ = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(panel.density.size()))));
    if (side_ * side_ != panel.density.size()) {
      throw Error::make("plot '{}': {} values are no square: give as many rows as columns", name_,
                        panel.density.size());
    }
  }

  std::string svg() const {
    std::string out = fmt::format(R"(<svg viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" role="img" aria-label="{2}">)",
                                  kLeft + kSide + kMargin, kMargin + kSide + kBottom, escape(name_));
    for (const Tick& tick : axis_.ticks()) {
      add(out, R"(<path class="grid" d="M{0:.1f} {1:.1f}h{3}M{2:.1f} {4}v{3}"/>)", kLeft, y_of(tick.value),
          x_of(tick.value), kSide, kMargin);
      add(out, R"(<text x="{:.1f}" y="{:.1f}" text-anchor="end" class="tick">{}</text>)", kLeft - 6,
          y_of(tick.value) + 4, escape(tick.label));
      add(out, R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle" class="tick">{}</text>)", x_of(tick.value),
          kMargin + kSide + 16, escape(tick.label));
    }
    out += R"(<g class="c0">)";
    draw_density(out);
    draw_points(out);
    add(out, R"(</g><path class="axis" d="M{0} {1}h{2}v{2}h-{2}z"/></svg>)", kLeft, kMargin, kSide);
    return out;
  }

 private:
  double x_of(double value) const { return kLeft + kSide * (value - low_) / (high_ - low_); }
  double y_of(double value) const { return kMargin + kSide * (high_ - value) / (high_ - low_); }

  int shade_of(double value, double most) const {
    return std::isfinite(value) && value > 0 ? static_cast<int>(std::lround(kShades * value / most)) : 0;
  }

  // A path for each shade, of the squares that are as dark or darker: one over the other, they have no seams.
  void draw_density(std::string& out) const {
    double most = 0;
    for (const double value : panel_.density) {
      if (std::isfinite(value)) most = std::max(most, value);
    }
    if (most == 0) return;
    add(out, R"(<svg x="{0}" y="{1}" width="{2}" height="{2}" viewBox="0 -0.5 {3} {3}" stroke="currentColor" )", kLeft,
        kMargin, kSide, side_);
    out += R"(stroke-width="1.04">)";
    for (int shade = 1; shade <= kShades; ++shade) {
      std::string path;
      for (size_t row = 0; row < side_; ++row) add_runs(path, row, shade, most);
      if (path.empty()) continue;
      // What takes (shade - 1) / kShades of the ink to shade / kShades.
      add(out, R"(<path stroke-opacity="{:.3f}" d="{}"/>)", 1.0 / (kShades - shade + 1), path);
    }
    out += "</svg>";
  }

  void add_runs(std::string& path, size_t row, int shade, double most) const {
    const double* values = panel_.density.data() + row * side_;
    const auto is_drawn = [&](size_t column) { return column < side_ && shade_of(values[column], most) >= shade; };
    for (size_t begin = 0; begin < side_; ++begin) {
      if (!is_drawn(begin)) continue;
      size_t end = begin + 1;
      while (is_drawn(end)) ++end;
      add(path, "M{} {}h{}", begin, side_ - row - 1, end - begin);
      begin = end;
    }
  }

  void draw_points(std::string& out) const {
    std::string path;
    for (size_t i = 0; i < panel_.x.size(); ++i) {
      const double x = panel_.x[i], y = panel_.y[i];
      if (x >= low_ && x <= high_ && y >= low_ && y <= high_) add(path, "M{:.1f} {:.1f}h0", x_of(x), y_of(y));
    }
    if (path.empty()) return;
    add(out, R"(<path stroke="currentColor" stroke-opacity="0.55" stroke-width="1.8" stroke-linecap="round" d="{}"/>)",
        path);
  }

  const PlanePanels::Panel& panel_;
  double low_, high_;
  Axis axis_;
  std::string name_;
  size_t side_ = 0;
};

}  // namespace

std::string to_figure(const PlanePanels& plot) {
  if (!(plot.range.first < plot.range.second)) throw Error::make("plot '{}': its range is empty", plot.title);
  std::string out = "<figure class=\"plot\">";
  if (!plot.title.empty()) add(out, "<figcaption>{}</figcaption>", escape(plot.title));
  add(out, R"(<div class="panels" style="--columns:{}">)", std::max<size_t>(plot.panels.size(), 2));
  for (const PlanePanels::Panel& panel : plot.panels) {
    add(out, R"(<div><p class="caption">{}</p>{}</div>)", escape(panel.caption), PlanePanel(plot, panel).svg());
  }
  return out + "</div></figure>\n";
}

}  // namespace quench::report
