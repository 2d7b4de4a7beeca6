#include "compressor/report/page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "compressor/report/axis.h"
#include "compressor/report/markup.h"
#include "compressor/report/picture_panels.h"
#include "formats/error.h"

namespace quench::report {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What is wrong with a page as XML: the text from there on, or nothing.
class XmlCheck {
 public:
  explicit XmlCheck(std::string_view text) : rest_(text) {}

  std::string error() {
    if (rest_.starts_with("<!DOCTYPE html>\n")) rest_.remove_prefix(16);
    while (!rest_.empty()) {
      const bool is_fine = rest_[0] == '<' ? tag() : rest_[0] == '&' ? entity(rest_) : character();
      if (!is_fine) return std::string(rest_.substr(0, 80));
    }
    return open_.empty() && roots_ == 1 ? "" : "unclosed tag or several roots";
  }

 private:
  bool character() {
    const auto code = static_cast<unsigned char>(rest_[0]);
    rest_.remove_prefix(1);
    return code >= 0x20 || code == '\n';
  }

  static bool entity(std::string_view& text) {
    for (const std::string_view known : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"}) {
      if (text.starts_with(known)) return text.remove_prefix(known.size()), true;
    }
    return false;
  }

  std::string_view name() {
    size_t end = 0;
    while (end < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[end])) || rest_[end] == '-')) ++end;
    const std::string_view name = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return name;
  }

  bool skip(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  bool tag() {
    if (skip("</")) {
      if (open_.empty() || name() != open_.back()) return false;
      open_.pop_back();
      return skip(">");
    }
    if (!skip("<")) return false;
    const std::string_view element = name();
    if (element.empty()) return false;
    if (open_.empty()) ++roots_;
    std::set<std::string_view> seen;
    while (skip(" ")) {
      const std::string_view attribute = name();
      if (attribute.empty() || !seen.insert(attribute).second || !skip("=\"") || !value()) return false;
    }
    if (skip("/>")) return true;
    open_.push_back(element);
    return skip(">");
  }

  bool value() {
    while (!rest_.empty() && rest_[0] != '"') {
      if (rest_[0] == '<' || !(rest_[0] == '&' ? entity(rest_) : character())) return false;
    }
    return skip("\"");
  }

  std::string_view rest_;
  std::vector<std::string_view> open_;
  int roots_ = 0;
};

// What stands in the quotes behind each occurrence of `before`.
std::vector<std::string> quoted(const std::string& text, const std::string& before) {
  std::vector<std::string> found;
  const std::string start = before + "\"";
  for (size_t at = text.find(start); at != std::string::npos; at = text.find(start, at)) {
    at += start.size();
    found.push_back(text.substr(at, text.find('"', at) - at));
  }
  return found;
}

std::vector<double> numbers(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return std::strchr("MLHVhvz%", c) != nullptr; }, ' ');
  std::istringstream stream(text);
  std::vector<double> result;
  for (double number; stream >> number;) result.push_back(number);
  return result;
}

// Coordinates are numbers, and not large ones.
void expect_sound(const Page& page) {
  const std::string html = page.html();
  EXPECT_EQ(XmlCheck(html).error(), "");
  for (const char* name : {" d=", " x=", " y=", " cx=", " cy=", " width=", " height=", " viewBox="}) {
    for (const std::string& value : quoted(html, name)) {
      EXPECT_EQ(value.find_first_not_of("0123456789.- MLHVhvz%"), std::string::npos) << value;
      for (const double number : numbers(value)) EXPECT_LT(std::abs(number), 1e5);
    }
  }
}

std::string path_of_line(const std::string& figure) { return quoted(figure, "class=\"line\" d=").at(0); }

std::vector<double> heights_of_bars(const std::string& figure) {
  const std::vector<std::string> bars = quoted(figure, "class=\"bar\" d=");
  std::vector<double> heights(bars.size());
  std::transform(bars.begin(), bars.end(), heights.begin(),
                 [](const std::string& bar) { return numbers(bar)[1] - numbers(bar)[3]; });
  return heights;
}

LinePlot one_line(std::vector<double> x, std::vector<double> y) {
  return {.series = {{"", std::move(x), std::move(y)}}};
}

TEST(XmlCheck, FindsWhatIsWrong) {
  EXPECT_EQ(XmlCheck("<a><b c=\"d\"/>&lt;</a>").error(), "");
  for (const char* wrong : {"<a>", "<a></b>", "<a b=c/>", "<a b=\"<\"/>", "<a>&x;</a>", "<a/><a/>",
                            "<a b=\"1\" b=\"1\"/>", "<a>\x01</a>", "<a></a></a>"}) {
    EXPECT_NE(XmlCheck(wrong).error(), "") << wrong;
  }
}

TEST(Escape, LeavesNothingThatMarkupWouldRead) {
  EXPECT_EQ(escape("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;&#39;c");
  EXPECT_EQ(escape("größe 重み 🙂"), "größe 重み 🙂");
  EXPECT_EQ(escape("a\nb\tc"), "a b c");
  EXPECT_EQ(escape(std::string_view("\0\x1b[31m\x7f", 7)), "\xef\xbf\xbd\xef\xbf\xbd[31m\xef\xbf\xbd");
}

TEST(Escape, ReplacesWhatIsNoCharacter) {
  const std::string replacement = "\xef\xbf\xbd";
  for (const char* bytes : {"\x80", "\xff", "\xc3", "\xe2\x82", "\xed\xa0\x80" /* a surrogate */, "\xef\xbf\xbf",
                            "\xc0\xaf", "\xe0\x80\xaf", "\xf4\x90\x80\x80", "\xe2\x80\xae" /* right to left */}) {
    const std::string escaped = escape(bytes);
    EXPECT_TRUE(escaped.starts_with(replacement)) << escaped;
    EXPECT_EQ(escaped.size() % 3, 0u);
    EXPECT_EQ(escape(std::string(bytes) + "<"), escaped + "&lt;");
  }
}

TEST(Shorten, CutsInTheMiddleBetweenCharacters) {
  EXPECT_EQ(shorten("layer1.conv", 11), "layer1.conv");
  EXPECT_EQ(shorten("layer1.conv", 7), "lay…onv");
  EXPECT_EQ(shorten("äöüäöü", 5), "äö…öü");
}

std::vector<std::string> labels_of(const Axis& axis) {
  std::vector<std::string> labels;
  for (const Tick& tick : axis.ticks()) labels.push_back(tick.label);
  return labels;
}

using Labels = std::vector<std::string>;

TEST(Axis, TicksAreRoundNumbers) {
  EXPECT_EQ(labels_of(Axis({0, 1}, {})), (Labels{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(labels_of(Axis({-0.3, 0.21}, {})), (Labels{"-0.2", "0", "0.2"}));
  EXPECT_EQ(labels_of(Axis({1, 90}, {})), (Labels{"20", "40", "60", "80"}));
  EXPECT_EQ(labels_of(Axis({0, 50000}, {})), (Labels{"0", "10,000", "20,000", "30,000", "40,000", "50,000"}));
  EXPECT_EQ(labels_of(Axis({0, 2e-7}, {.ticks = 2})), (Labels{"0", "1e-7", "2e-7"}));
  EXPECT_EQ(labels_of(Axis({0, 3e9}, {.ticks = 3})), (Labels{"0", "1e9", "2e9", "3e9"}));
  EXPECT_EQ(labels_of(Axis({0, 2}, {.whole_numbers = true})), (Labels{"0", "1", "2"}));
}

TEST(Axis, WidensToTicksWhereAsked) {
  const Axis axis({0.07, 0.93}, {.to_ticks = true});
  EXPECT_DOUBLE_EQ(axis.low(), 0);
  EXPECT_DOUBLE_EQ(axis.high(), 1);
  EXPECT_DOUBLE_EQ(axis.position(0.25), 0.25);
}

TEST(Axis, LogarithmicTicksAreDecades) {
  EXPECT_EQ(labels_of(Axis({0.001, 1000}, {.logarithmic = true})),
            (Labels{"0.001", "0.01", "0.1", "1", "10", "100", "1000"}));
  EXPECT_EQ(labels_of(Axis({0.8, 30}, {.logarithmic = true})), (Labels{"1", "2", "5", "10", "20"}));
  const Axis axis({0.03, 200}, {.logarithmic = true, .to_ticks = true});
  EXPECT_NEAR(axis.position(0.01), 0, 1e-9);
  EXPECT_NEAR(axis.position(1000), 1, 1e-9);
  EXPECT_NEAR(axis.position(1), 0.4, 1e-9);
  EXPECT_FALSE(axis.has_place_for(0));
  EXPECT_FALSE(axis.has_place_for(-1));
}

// Any range gives a few ticks inside of it, in order, evenly spaced, with labels that differ and tell the value.
TEST(Axis, AnyRangeGetsUsefulTicks) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> unit(-1, 1);
  for (int i = 0; i < 20000; ++i) {
    const double middle = unit(random) * std::pow(10, unit(random) * 12);
    const double size = std::abs(unit(random)) * std::pow(10, unit(random) * 12);
    const Axis axis({middle - size, middle + size}, {.to_ticks = i % 2 == 0});
    const std::vector<Tick>& ticks = axis.ticks();
    ASSERT_GE(ticks.size(), 2u) << middle << " " << size;
    ASSERT_LE(ticks.size(), 9u) << middle << " " << size;
    const double step = ticks[1].value - ticks[0].value;
    std::set<std::string> labels;
    for (size_t t = 0; t < ticks.size(); ++t) {
      ASSERT_GE(axis.position(ticks[t].value), -1e-6);
      ASSERT_LE(axis.position(ticks[t].value), 1 + 1e-6);
      ASSERT_NEAR(ticks[t].value, ticks[0].value + t * step, 1e-3 * step);
      std::string plain = ticks[t].label;
      std::erase(plain, ',');
      ASSERT_NEAR(std::stod(plain), ticks[t].value, 1e-3 * step) << middle << " " << size;
      ASSERT_TRUE(labels.insert(plain).second) << plain << " " << middle << " " << size;
    }
  }
}

TEST(Axis, OddRangesStillHaveOne) {
  for (const Extent& extent : {Extent{}, Extent{0, 0}, Extent{5, 5}, Extent{-1e308, 1e308}, Extent{1e308, 1e308},
                               Extent{1, std::nextafter(1, 2)}, Extent{0, 5e-324}, Extent{-1e-320, 1e-320}}) {
    for (const bool logarithmic : {false, true}) {
      const Axis axis(extent, {.logarithmic = logarithmic, .to_ticks = true});
      EXPECT_LT(axis.low(), axis.high());
      EXPECT_FALSE(axis.ticks().empty());
      EXPECT_LT(axis.ticks().size(), 20u);
      for (const double value : {1.0, 5e-324, 1e308}) {
        EXPECT_TRUE(std::isfinite(axis.position(value))) << extent.low << " " << extent.high;
      }
    }
  }
}

TEST(ShortNumber, IsShort) {
  EXPECT_EQ(short_number(0.5), "0.5");
  EXPECT_EQ(short_number(-3), "-3");
  EXPECT_EQ(short_number(123456.7), "123,457");
  EXPECT_EQ(short_number(3.14159265), "3.1416");
  EXPECT_EQ(short_number(0.00012345), "0.00012345");
  EXPECT_EQ(short_number(1.5e-9), "1.500e-9");
  EXPECT_EQ(short_number(kNan), "NaN");
  EXPECT_EQ(short_number(-kInfinity), "−∞");
}

TEST(LinePlot, PutsValuesOnTheirPlace) {
  const std::vector<double> path = numbers(path_of_line(to_figure(one_line({0, 5, 10}, {0, 1, 0.5}), 600)));
  ASSERT_EQ(path.size(), 6u);
  EXPECT_NEAR(path[2] - path[0], path[4] - path[2], 0.2);
  EXPECT_NEAR((path[1] - path[5]) / (path[1] - path[3]), 0.5, 0.01);
  EXPECT_GT(path[1], path[3] + 100);  // up is less
}

TEST(LinePlot, LeavesGapsForWhatIsNoNumber) {
  const std::string path = path_of_line(to_figure(one_line({}, {1, 2, kNan, 2, 1, kInfinity, 3}), 600));
  EXPECT_EQ(std::count(path.begin(), path.end(), 'M'), 3);
  EXPECT_EQ(std::count(path.begin(), path.end(), 'L'), 2);
}

TEST(LinePlot, ThinsLongLinesButKeepsTheirPeaks) {
  std::vector<double> y(200000, 1.0);
  for (size_t i = 0; i < y.size(); ++i) y[i] += 0.01 * static_cast<double>(i % 7);
  y[123457] = 2;
  y[77777] = 0;
  const std::string figure = to_figure(one_line({}, y), 600);
  EXPECT_LT(figure.size(), 100000u);
  const std::vector<double> path = numbers(path_of_line(figure));
  double highest = 1e9, lowest = -1e9;
  for (size_t i = 1; i < path.size(); i += 2) {
    highest = std::min(highest, path[i]);
    lowest = std::max(lowest, path[i]);
  }
  EXPECT_NEAR(highest, 8, 0.2);  // the top of the plot
  EXPECT_NEAR(lowest, 230 - 22, 0.2);
}

TEST(LinePlot, NamesFewLinesAtTheirEndsAndManyInALegend) {
  LinePlot plot{.title = "t"};
  for (const char* name : {"a", "b", "c"}) plot.series.push_back({name, {}, {0, 1}});
  const std::string direct = to_figure(plot, 600);
  EXPECT_EQ(direct.find("legend"), std::string::npos);
  std::vector<double> heights;
  for (size_t at = 0; (at = direct.find("\" text-anchor=\"start\" class=\"name", at)) != std::string::npos; ++at) {
    heights.push_back(std::stod(direct.substr(direct.rfind('"', at - 1) + 1)));
  }
  ASSERT_EQ(heights.size(), 3u);
  std::sort(heights.begin(), heights.end());
  EXPECT_GE(heights[1] - heights[0], 14.9);
  EXPECT_GE(heights[2] - heights[1], 14.9);
  for (const char* name : {"d", "e"}) plot.series.push_back({name, {}, {0, 1}});
  const std::string many = to_figure(plot, 600);
  EXPECT_NE(many.find("class=\"legend\""), std::string::npos);
  EXPECT_EQ(many.find("class=\"name"), std::string::npos);
}

TEST(LinePlot, KeepsToTheRangeThatIsGiven) {
  LinePlot plot = one_line({}, {-50, 0.5, 99});
  plot.y_range = {0.0, 1.0};
  const std::vector<double> path = numbers(path_of_line(to_figure(plot, 600)));
  EXPECT_NEAR(path[3], (8 + 208) / 2.0, 0.2);
  plot.y_range = {1.0, 0.0};  // no range
  EXPECT_NE(to_figure(plot, 600).find(">100<"), std::string::npos);
}

TEST(LinePlot, IsAFileOfItsOwn) {
  LinePlot plot{.title = "a < b", .x_label = "epoch"};
  for (int i = 0; i < 9; ++i) plot.series.push_back({"run-" + std::to_string(i), {}, {0, 1.0 + i}});
  const std::string file = to_svg_file(plot, 600);
  EXPECT_EQ(XmlCheck(file).error(), "");
  EXPECT_TRUE(file.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  for (const char* text : {">a &lt; b<", ">epoch<", ">run-0<", ">run-8<", "<style>"}) {
    EXPECT_NE(file.find(text), std::string::npos) << text;
  }
}

TEST(BarPlot, HeightsFollowValues) {
  const std::string figure =
      to_figure(BarPlot{.values = {1, 2, 0, kNan, 4}, .positions = {-0.5, 0.25, 0.5, 1, 2}}, 600);
  const std::vector<double> heights = heights_of_bars(figure);
  ASSERT_EQ(heights.size(), 3u);
  EXPECT_NEAR(heights[1], 2 * heights[0], 0.3);
  EXPECT_NEAR(heights[2], 4 * heights[0], 0.3);
  EXPECT_NE(figure.find("<title>0.25: 2</title>"), std::string::npos);
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(PlanePanels, PointsAndDensityLieWhereTheyAre) {
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  PlanePanels plot{
      "plane", {-1, 1}, {{"points", {0.5, 3, nothing}, {-1, 0, 0}, {}}, {"density", {}, {}, {1, 0, 2, 2}}}};
  const std::string figure = to_figure(plot);
  // The square begins at (30, 7) and has a side of 270.
  EXPECT_EQ(count_of(figure, "h0"), 1u) << "what is outside or no number is left out: " << figure;
  EXPECT_NE(figure.find("d=\"M232.5 277.0h0\""), std::string::npos) << figure;
  // y points up: the second row lies above the first, and the first is half as dark.
  EXPECT_NE(figure.find("stroke-opacity=\"1.000\" d=\"M0 0h2\""), std::string::npos) << figure;
  EXPECT_EQ(2 * count_of(figure, "M0 1h1"), count_of(figure, "M0 0h2"));
  plot.panels[1].density = {0, nothing, -1, 0};
  EXPECT_EQ(to_figure(plot).find("stroke-opacity=\"1.000\""), std::string::npos);
  plot.panels[1].density.push_back(1);
  EXPECT_THROW(to_figure(plot), Error);
  plot.panels[1] = {"points", {1}, {}, {}};
  EXPECT_THROW(to_figure(plot), Error);
  EXPECT_THROW(to_figure(PlanePanels{"plane", {1, 1}, {}}), Error);
}

TEST(PicturePanels, StandInAGridWithTheirPixels) {
  const data::Picture red{.width = 2, .height = 1, .pixels = {255, 0, 0, 255, 0, 0}};
  const std::string figure = to_figure(PicturePanels{"<pictures>", 3, {{"a & b", red}, {"c", red}}});
  EXPECT_NE(figure.find("&lt;pictures&gt;"), std::string::npos) << figure;
  EXPECT_NE(figure.find("--columns:3"), std::string::npos) << figure;
  EXPECT_EQ(count_of(figure, "a &amp; b"), 2u) << "caption and alt: " << figure;
  const std::vector<std::byte> png = data::encode_png(red, "red");
  EXPECT_EQ(count_of(figure, "width=\"2\" height=\"1\" src=\"data:image/png;base64," + base64(png) + "\""), 2u)
      << figure;
}

TEST(BarPanels, ShareTheirAxes) {
  const std::string figure = to_figure(BarPanels{.panels = {{"early", {1, 1, 1}, {}}, {"late", {0, 3, 0}, {}}}});
  const std::vector<double> heights = heights_of_bars(figure);
  ASSERT_EQ(heights.size(), 4u);
  EXPECT_NEAR(heights[3], 3 * heights[0], 0.3);
}

TEST(BarTable, DrawsBarsFromZero) {
  const std::string figure = to_figure(
      BarTable{.series = {"bits"}, .rows = {{"a", {4}}, {"b", {1}}, {"c", {kNan}}, {"d", {-1}}}, .digits = 1});
  EXPECT_EQ(quoted(figure, "class=\"bar c0\" x="), (Labels{"20.00%", "20.00%", "0.00%"}));
  EXPECT_EQ(quoted(figure, " y=\"1\" width="), (Labels{"80.00%", "20.00%", "20.00%"}));
  EXPECT_NE(figure.find("<td class=\"number\">-1.0</td>"), std::string::npos);
  EXPECT_NE(figure.find("<td class=\"number\">NaN</td>"), std::string::npos);
}

TEST(Page, TablesSetNumbersToTheRight) {
  Page page("t");
  page.table({"name", "size"}, {{"3a", "12 KiB"}, {"b", "-"}, {"c"}});
  EXPECT_NE(page.html().find("<th>name</th><th class=\"number\">size</th>"), std::string::npos);
  EXPECT_NE(page.html().find("<td>c</td><td class=\"number\"></td>"), std::string::npos);
  EXPECT_THROW(page.table({"a"}, {{"1", "2"}}), Error);
}

TEST(Page, RefusesVectorsThatDoNotFit) {
  Page page("t");
  EXPECT_THROW(page.plot(one_line({1, 2}, {1, 2, 3})), Error);
  EXPECT_THROW(page.bars(BarPlot{.values = {1, 2}, .positions = {1}}), Error);
  EXPECT_THROW(page.bars(BarPlot{.values = {1, 2}, .labels = {"a"}}), Error);
  EXPECT_THROW(page.bars(BarTable{.series = {"a", "b"}, .rows = {{"r", {1}}}}), Error);
}

TEST(Page, NeedsNothingFromOutside) {
  Page page("t");
  page.plot(one_line({}, {1, 2}));
  const std::string html = page.html();
  for (const char* reference : {"<script", "src=", "href=", "url(", "@import"}) {
    EXPECT_EQ(html.find(reference), std::string::npos) << reference;
  }
}

// Everything that takes text gets one that wants to be markup.
Page page_of(const std::string& text, const std::vector<double>& values) {
  Page page(text);
  page.heading(text);
  page.paragraph(text);
  page.table({text, "n"}, {{text, text}});
  for (const bool log_y : {false, true}) {
    const LinePlot plot{text, text, text, {{text, {}, values}, {"", values, values}}, log_y, {}};
    page.plot(plot);
    page.side_by_side({plot, {text, text, text, {}, log_y, {{-1, 1}}}});
  }
  page.plot({text, text, text, std::vector<Series>(17, {text, {}, values}), false, {}});
  page.bars(BarPlot{text, text, text, values, {}, {}});
  page.bars(BarPlot{text, text, text, values, values, std::vector<std::string>(values.size(), text)});
  page.bars(BarPanels{text, text, text, {{text, values, {}}, {text, values, values}, {"", {}, {}}}});
  BarTable table{text, text, {text, "b"}, {}, 2};
  for (const double value : values) table.rows.push_back({text, {value, -value}});
  page.bars(table);
  return page;
}

TEST(Page, TextStaysText) {
  const std::string hostile = "</title></style><script>alert(\"1\")</script>' onload='x' ]]>&amp;\x01\xff";
  const Page page = page_of(hostile, {1, 2, 3});
  expect_sound(page);
  EXPECT_EQ(page.html().find("<script"), std::string::npos);
  EXPECT_EQ(page.html().find("onload='"), std::string::npos);
  expect_sound(page_of(std::string(5000, 'x'), {1, 2, 3}));
  expect_sound(page_of("", {1, 2, 3}));
}

TEST(Page, OddValuesDoNotBreakIt) {
  const double largest = std::numeric_limits<double>::max();
  const double smallest = std::numeric_limits<double>::denorm_min();
  for (const std::vector<double>& values : std::vector<std::vector<double>>{{},
                                                                            {kNan},
                                                                            {kInfinity, -kInfinity},
                                                                            {0},
                                                                            {7},
                                                                            {kNan, 1, kNan},
                                                                            {largest, -largest},
                                                                            {largest, 1},
                                                                            {smallest, -smallest},
                                                                            {1e15, 1e15 + 1},
                                                                            {0, 1e-12},
                                                                            {-3, -2},
                                                                            {3, 1, 2},
                                                                            {1, 1, 1},
                                                                            {1e-300, 1e300}}) {
    expect_sound(page_of("a", values));
  }
}

TEST(Page, RandomValuesDoNotBreakIt) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 25; ++i) {
    std::vector<double> values(random() % 40);
    for (double& value : values) {
      const uint64_t bits = random();
      std::memcpy(&value, &bits, sizeof value);  // any double at all
    }
    expect_sound(page_of("a", values));
  }
}

}  // namespace
}  // namespace quench::report
