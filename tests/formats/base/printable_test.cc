#include "formats/base/printable.h"

#include <gtest/gtest.h>

namespace quench {
namespace {

TEST(Printable, TextOfAnyLanguageIsLeftAlone) {
  for (const char* text : {"", "conv1.weight", "größe", "\xE5\xB1\x82\xE4\xB8\x80", "\xF0\x9F\x98\x80", "a b"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, WhatATerminalWouldActOnBecomesAQuestionMark) {
  EXPECT_EQ(printable("a\x1b[31mb\a\r\n\t\x7f"), "a?[31mb?????");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a?b");
  EXPECT_EQ(printable("\xC2\x9B"), "?");  // C1: a control sequence of one character
  EXPECT_EQ(printable("a\xE2\x80\xAE"
                      "b"),
            "a?b");  // right to left from here
  EXPECT_EQ(printable("\xE2\x81\xA6"), "?");
  EXPECT_EQ(printable("a\xE2\x80\xA8"
                      "b"),
            "a?b");  // a line separator
  EXPECT_EQ(printable("\xEF\xBB\xBFx"), "?x");
}

TEST(Printable, WhatIsNoUtf8BecomesAQuestionMarkForEachByte) {
  EXPECT_EQ(printable("\xff\xfe"), "??");
  EXPECT_EQ(printable("\xC0\x80"), "??");            // too long a form
  EXPECT_EQ(printable("\xED\xA0\x80"), "???");       // half of a pair
  EXPECT_EQ(printable("\xF4\x90\x80\x80"), "????");  // beyond the last character
  EXPECT_EQ(printable("a\xE2\x82"), "a??");          // cut off
}

TEST(Printable, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(printable(std::string(100, 'x')), std::string(100, 'x'));
  EXPECT_EQ(printable(std::string(101, 'x')), std::string(100, 'x') + "...");
  EXPECT_EQ(printable("abc\xC3\xB6", 4), "abc...");
}

}  // namespace
}  // namespace quench
