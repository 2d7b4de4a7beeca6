// A report as one HTML page: text, tables and plots, with nothing outside of the file and no scripts. It follows the
// reader's light or dark mode, prints, and shows values on hovering over lines and bars.
//
//     Page page("Training of resnet32");
//     page.table({"", "before", "after"}, {{"top-1", "92.6 %", "92.3 %"}, {"size", "1.8 MiB", "72 KiB"}});
//     page.heading("Rate");
//     page.plot({.title = "Entropy of the indices", .x_label = "epoch", .y_label = "bits per weight",
//                .series = {{"soft", epochs, soft}, {"hard", epochs, hard}}});
//     write_file(path, page.html());
//
// All texts are plain, and escaped. The page is well-formed XML as well as HTML.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compressor/report/plot.h"

namespace quench::report {

class Page {
 public:
  explicit Page(std::string title);

  void heading(std::string_view text);
  void paragraph(std::string_view text);
  // Columns of numbers are set to the right. Missing cells are empty; throws quench::Error for more cells than there
  // are columns.
  void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);
  void plot(const LinePlot& plot);
  // Next to each other where there is room, two in a row: two trainings, two quantities. Each has its own axes; give
  // both the same y_range where they are to be compared.
  void side_by_side(const std::vector<LinePlot>& plots);
  void bars(const BarPlot& plot);
  void bars(const BarPanels& plot);
  void bars(const BarTable& plot);
  // Of what has a to_figure() of its own.
  void figure(std::string_view html);

  // The whole page, UTF-8. More may be added afterwards.
  std::string html() const;

 private:
  std::string title_;
  std::string body_;
};

}  // namespace quench::report
