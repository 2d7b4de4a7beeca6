#include "compressor/report/page.h"

#include <fmt/format.h>

#include <algorithm>

#include "compressor/report/markup.h"
#include "formats/error.h"

namespace quench::report {
namespace {

constexpr double kWidth = 920;  // pixels of a plot that has the page for itself
constexpr double kHalfWidth = 448;

constexpr std::string_view kStyle = R"(
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1 { margin: 0 0 1rem; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--grid); font-size: 1.15rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }
figure { margin: 1.25rem 0; min-width: 0; overflow-x: auto; overflow-y: hidden; }
figcaption { margin-bottom: .4rem; font-weight: 600; overflow-wrap: anywhere; }
svg { display: block; }
figure svg[viewBox] { max-width: 100%; height: auto; }
figure svg.wide { min-width: 35rem; }
svg svg[viewBox] { max-width: none; height: revert; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: 0 0 .4rem; padding: 0; list-style: none; font-size: 13px; }
.legend li { display: flex; align-items: center; gap: .4rem; min-width: 0; overflow-wrap: anywhere; }
.legend svg { flex: none; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 1.5rem; }
.panels { display: grid; gap: 14px 16px;
  grid-template-columns: repeat(auto-fill, minmax(max(10rem, (100% - (var(--columns) - 1) * 16px - 1px) / var(--columns)), 1fr)); }
.caption { margin: 0 0 .2rem; font-size: 13px; color: var(--soft); }
.scroll { overflow-x: auto; margin: 1rem 0; }
figure .scroll { margin: 0; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; white-space: nowrap; }
table.bars { width: 100%; }
table.bars td { padding-top: .15rem; padding-bottom: .15rem; vertical-align: middle; }
td.rowname { width: 1%; min-width: calc(var(--name) + 1.2rem); overflow-wrap: anywhere;
  font: 12px/1.3 ui-monospace, "DejaVu Sans Mono", monospace; }
td.rowbars { min-width: 8rem; width: 60%; }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --grid: #ddd; --axis: #888;
    --c0: #0072b2; --c1: #d55e00; --c2: #00835f; --c3: #b2518c; --c4: #a87700; --c5: #3f9fd8; --c6: #6b6f74; }
  body { padding: 0; max-width: none; font-size: 10pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2, figcaption, .legend { break-after: avoid; }
  figure svg.wide { min-width: 0; }
  figure, .scroll { overflow: visible; }
  figure.plot, tr { break-inside: avoid; }
  .columns { grid-template-columns: 1fr 1fr; }
  .hit { display: none; }
}
)";

// Digits, after a sign perhaps; what has no value says so with a dash.
bool is_number(std::string_view cell) {
  if (cell.empty() || cell == "-") return true;
  if (cell[0] == '-' || cell[0] == '+' || cell[0] == '<') cell.remove_prefix(1);
  return !cell.empty() && cell[0] >= '0' && cell[0] <= '9';
}

bool has_numbers(const std::vector<std::vector<std::string>>& rows, size_t column) {
  return !rows.empty() && std::all_of(rows.begin(), rows.end(), [column](const std::vector<std::string>& row) {
    return column >= row.size() || is_number(row[column]);
  });
}

}  // namespace

Page::Page(std::string title) : title_(std::move(title)) {}

void Page::heading(std::string_view text) { body_ += fmt::format("<h2>{}</h2>\n", escape(text)); }

void Page::paragraph(std::string_view text) { body_ += fmt::format("<p>{}</p>\n", escape(text)); }

void Page::table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::string_view> classes;
  for (size_t column = 0; column < header.size(); ++column) {
    classes.push_back(has_numbers(rows, column) ? R"( class="number")" : "");
  }
  std::string head, lines;
  for (size_t c = 0; c < header.size(); ++c) head += fmt::format("<th{}>{}</th>", classes[c], escape(header[c]));
  for (const std::vector<std::string>& row : rows) {
    if (row.size() > header.size()) throw Error("a table's row has more cells than the table has columns");
    lines += "<tr>";
    for (size_t c = 0; c < header.size(); ++c) {
      lines += fmt::format("<td{}>{}</td>", classes[c], c < row.size() ? escape(row[c]) : "");
    }
    lines += "</tr>\n";
  }
  body_ += fmt::format("<div class=\"scroll\"><table><thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
                       head, lines);
}

void Page::plot(const LinePlot& plot) { body_ += to_figure(plot, kWidth); }

void Page::side_by_side(const std::vector<LinePlot>& plots) {
  body_ += "<div class=\"columns\">\n";
  for (const LinePlot& plot : plots) body_ += to_figure(plot, kHalfWidth);
  body_ += "</div>\n";
}

void Page::bars(const BarPlot& plot) { body_ += to_figure(plot, kWidth); }

void Page::bars(const BarPanels& plot) { body_ += to_figure(plot); }

void Page::bars(const BarTable& plot) { body_ += to_figure(plot); }

void Page::figure(std::string_view html) { body_ += html; }

std::string Page::html() const {
  const std::string title = escape(title_);
  std::string page = "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n";
  page += "<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
  page += fmt::format("<title>{}</title>\n<style>{}{}</style>\n</head>\n", title, plot_style(), kStyle);
  page += fmt::format("<body>\n<h1>{}</h1>\n{}</body>\n</html>\n", title, body_);
  return page;
}

}  // namespace quench::report
