// A table of text for people: columns as wide as their widest cell, numbers to the right.
//
//     Table table({{"tensor", Table::Align::kLeft}, {"bytes", Table::Align::kRight}});
//     table.row({"conv1.weight", "1.69 KiB"});
//     table.rule();
//     table.row({"total", "1.69 KiB"});
//     fmt::print("{}", table.text());
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quench::report {

class Table {
 public:
  enum class Align : uint8_t { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kRight;
  };

  explicit Table(std::vector<Column> columns);

  // Missing cells are empty. Throws quench::Error for more cells than columns.
  void row(std::vector<std::string> cells);
  // A line across, before the next row.
  void rule();

  // Lines that end in a newline, without spaces before it. Cells of more than 48 characters are cut in the middle.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  // a row without cells is a rule
};

// "812 B", "13.4 KiB", "1.06 MiB": three digits, powers of 1024.
std::string human_bytes(uint64_t bytes);

// `digits` behind the point; "-" for NaN, "exact" for infinity (a signal-to-noise ratio without noise).
std::string human_number(double value, int digits);

}  // namespace quench::report
