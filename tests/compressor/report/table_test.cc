#include "compressor/report/table.h"

#include <gtest/gtest.h>

#include <limits>

#include "formats/error.h"

namespace quench::report {
namespace {

Table two_columns() { return Table({{"tensor", Table::Align::kLeft}, {"bytes"}}); }

TEST(Table, AlignsTextLeftAndNumbersRight) {
  Table table = two_columns();
  table.row({"a", "12345"});
  table.row({"longer name", "7"});
  table.rule();
  table.row({"total"});
  EXPECT_EQ(table.text(),
            "tensor       bytes\n"
            "------------------\n"
            "a            12345\n"
            "longer name      7\n"
            "------------------\n"
            "total\n");
}

TEST(Table, CountsCharactersNotBytes) {
  Table table = two_columns();
  table.row({"größe", "1"});
  table.row({"grosse", "2"});
  EXPECT_NE(table.text().find("größe       1\n"), std::string::npos);
  EXPECT_NE(table.text().find("grosse      2\n"), std::string::npos);
}

TEST(Table, CutsLongCellsInTheMiddleBetweenCharacters) {
  std::string name;
  for (int i = 0; i < 60; ++i) name += "ä";
  Table table = two_columns();
  table.row({name + "end", "1"});
  std::string expected;
  for (int i = 0; i < 22; ++i) expected += "ä";
  expected += "...";
  for (int i = 0; i < 20; ++i) expected += "ä";
  EXPECT_NE(table.text().find("\n" + expected + "end      1\n"), std::string::npos) << table.text();
}

TEST(Table, AnEmptyTableIsItsTitle) { EXPECT_EQ(two_columns().text(), "tensor  bytes\n-------------\n"); }

TEST(Table, RefusesRowsThatAreTooLong) { EXPECT_THROW(two_columns().row({"a", "b", "c"}), Error); }

TEST(HumanBytes, ThreeDigits) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.00 KiB");
  EXPECT_EQ(human_bytes(10239), "10.0 KiB");
  EXPECT_EQ(human_bytes(102400), "100 KiB");
  EXPECT_EQ(human_bytes(1023 * 1024), "1.00 MiB");  // 999.5 and above goes to the next unit
  EXPECT_EQ(human_bytes(1085123), "1.03 MiB");
  EXPECT_EQ(human_bytes(uint64_t{400} << 20), "400 MiB");
  EXPECT_EQ(human_bytes(std::numeric_limits<uint64_t>::max()), "16384 PiB");
}

TEST(HumanNumber, NamesWhatIsNoNumber) {
  EXPECT_EQ(human_number(1.25, 1), "1.2");
  EXPECT_EQ(human_number(std::numeric_limits<double>::infinity(), 2), "exact");
  EXPECT_EQ(human_number(std::numeric_limits<double>::quiet_NaN(), 2), "-");
}

}  // namespace
}  // namespace quench::report
