// The table of coders: what command line, reports and files take from it.
#include "formats/entropy/coder.h"

#include <gtest/gtest.h>

#include "tests/formats/entropy/sample_streams.h"

namespace quench::entropy::testing {
namespace {

TEST(CodersTest, NumbersAndNamesAreForEver) {
  EXPECT_STREQ(name_of(static_cast<Coder>(1)), "huffman");
  EXPECT_STREQ(name_of(static_cast<Coder>(2)), "rans");
  EXPECT_STREQ(name_of(static_cast<Coder>(3)), "arithmetic");
}

TEST(CodersTest, NumbersRiseAndNamesLeadBack) {
  int before = 0;
  for (const CoderRow& row : kCoders) {
    EXPECT_GT(static_cast<int>(row.coder), before);
    before = static_cast<int>(row.coder);
    EXPECT_EQ(coder_named(row.name), row.coder);
    EXPECT_STREQ(name_of(row.coder), row.name);
  }
}

TEST(CodersTest, WhatIsNotInTheTableIsUnknown) {
  EXPECT_STREQ(name_of(static_cast<Coder>(0)), "unknown");
  EXPECT_STREQ(name_of(static_cast<Coder>(255)), "unknown");
  EXPECT_EQ(coder_named("Huffman"), std::nullopt);
  EXPECT_EQ(coder_named(""), std::nullopt);
  for (const uint8_t number : {0, 255}) {
    const uint8_t model[] = {number, 0, 0};
    EXPECT_EQ(Encoder::create(model).status().code(), StatusCode::kUnsupportedFeature);
    EXPECT_EQ(Decoder::memory_bytes(model).status().code(), StatusCode::kUnsupportedFeature);
  }
}

TEST(CodersTest, BothEndsGoByTheNumberThatAModelBeginsWith) {
  for (const CoderRow& row : kCoders) {
    const std::vector<uint8_t> model = fit(row.coder, {});
    EXPECT_EQ(model[0], static_cast<uint8_t>(row.coder));
    EXPECT_EQ(Encoder::create(model)->coder(), row.coder);
    OwnedDecoder decoder(model);
    EXPECT_EQ((*decoder).coder(), row.coder);
  }
}

}  // namespace
}  // namespace quench::entropy::testing
