#include "compressor/report/table.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::report {
namespace {

constexpr size_t kMaxCell = 48;        // characters that are shown
constexpr size_t kLongestCell = 4000;  // bytes that are looked at

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

// Characters of UTF-8 text, which is what a terminal's columns count.
size_t width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), begins_character));
}

// Byte offset of a character.
size_t offset_of(std::string_view text, size_t character) {
  size_t at = 0;
  while (at < text.size() && (character > 0 || !begins_character(text[at]))) character -= begins_character(text[at++]);
  return at;
}

std::string shortened(std::string text) {
  const size_t characters = width(text);
  if (characters <= kMaxCell) return text;
  const size_t head = (kMaxCell - 3) / 2, tail = kMaxCell - 3 - head;
  return text.substr(0, offset_of(text, head)) + "..." + text.substr(offset_of(text, characters - tail));
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::row(std::vector<std::string> cells) {
  if (cells.size() > columns_.size()) throw Error("a table's row has more cells than the table has columns");
  cells.resize(columns_.size());
  for (std::string& cell : cells) cell = shortened(printable(cell, kLongestCell));
  rows_.push_back(std::move(cells));
}

void Table::rule() { rows_.emplace_back(); }

std::string Table::text() const {
  std::vector<size_t> widths;
  size_t total = 0;
  for (size_t c = 0; c < columns_.size(); ++c) {
    size_t widest = width(columns_[c].title);
    for (const std::vector<std::string>& cells : rows_) widest = std::max(widest, cells.empty() ? 0 : width(cells[c]));
    widths.push_back(widest);
    total += widest + (c > 0 ? 2 : 0);
  }
  std::string text;
  const auto add = [&](auto cell_at) {
    const size_t begin = text.size();
    for (size_t c = 0; c < columns_.size(); ++c) {
      const std::string& cell = cell_at(c);
      const std::string padding(widths[c] - width(cell), ' ');
      if (c > 0) text += "  ";
      text += columns_[c].align == Align::kLeft ? cell + padding : padding + cell;
    }
    text.erase(std::max(begin, text.find_last_not_of(' ') + 1));
    text += '\n';
  };
  const std::string rule = std::string(total, '-') + '\n';
  add([&](size_t c) -> const std::string& { return columns_[c].title; });
  text += rule;
  for (const std::vector<std::string>& cells : rows_) {
    if (cells.empty()) {
      text += rule;
    } else {
      add([&](size_t c) -> const std::string& { return cells[c]; });
    }
  }
  return text;
}

std::string human_bytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, digits, kUnits[unit]);
}

std::string human_number(double value, int digits) {
  if (std::isnan(value)) return "-";
  if (std::isinf(value)) return value > 0 ? "exact" : "-inf";
  return fmt::format("{:.{}f}", value, digits);
}

}  // namespace quench::report
