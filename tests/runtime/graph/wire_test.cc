#include "runtime/graph/wire.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quench::rt {
namespace {

Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text.data(), text.size())); }

// Reads all fields; the status at the end.
Status drain(const std::string& text, std::vector<WireField>* fields = nullptr) {
  WireReader reader(bytes_of(text));
  for (WireField field; reader.next(field);) {
    if (fields) fields->push_back(field);
  }
  return reader.status();
}

TEST(Wire, ReadsEveryWireType) {
  const std::string text(
      "\x08\x96\x01"                          // field 1: varint 150, protobuf's own example
      "\x12\x07testing"                       // field 2: bytes
      "\x1d\x00\x00\x80\x3f"                  // field 3: fixed32, 1.0f
      "\x21\x01\x00\x00\x00\x00\x00\x00\x80"  // field 4: fixed64
      "\xf8\x01\x00",                         // field 31: varint 0, a key of two bytes
      29);
  std::vector<WireField> fields;
  ASSERT_TRUE(drain(text, &fields).ok());
  ASSERT_EQ(fields.size(), 5u);
  EXPECT_EQ(fields[0].value, 150u);
  EXPECT_EQ(fields[1].text(), "testing");
  EXPECT_EQ(fields[2].value, 0x3f800000u);
  EXPECT_EQ(fields[3].value, 0x8000000000000001u);
  EXPECT_EQ(fields[4].number, 31u);
}

TEST(Wire, ReadsTheLargestNumberAndNoLarger) {
  std::vector<WireField> fields;
  ASSERT_TRUE(drain("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &fields).ok());
  EXPECT_EQ(fields[0].value, UINT64_MAX);
  EXPECT_EQ(drain("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").code(), StatusCode::kCorrupt);
  EXPECT_EQ(drain("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01").code(), StatusCode::kCorrupt);
}

TEST(Wire, RefusesWhatDoesNotEnd) {
  EXPECT_EQ(drain("\x08").code(), StatusCode::kTruncated);
  EXPECT_EQ(drain("\x08\x80").code(), StatusCode::kTruncated);
  EXPECT_EQ(drain("\x12\x05"
                  "abcd")
                .code(),
            StatusCode::kTruncated);
  EXPECT_EQ(drain("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").code(), StatusCode::kTruncated);
  EXPECT_EQ(drain("\x1d\x01\x02\x03").code(), StatusCode::kTruncated);
  EXPECT_EQ(drain("\x21\x01\x02\x03\x04\x05\x06\x07").code(), StatusCode::kTruncated);
}

TEST(Wire, RefusesGroupsAndFieldZero) {
  EXPECT_EQ(drain("\x0b").code(), StatusCode::kCorrupt);  // start of a group
  EXPECT_EQ(drain("\x0c").code(), StatusCode::kCorrupt);  // end of one
  EXPECT_EQ(drain(std::string("\x00\x00", 2)).code(), StatusCode::kCorrupt);
  EXPECT_EQ(drain("\x80\x80\x80\x80\x10\x01").code(), StatusCode::kCorrupt);  // number 2^29
}

TEST(Wire, StopsAtAnError) {
  std::vector<WireField> fields;
  EXPECT_FALSE(drain("\x08\x01\x0b\x08\x02", &fields).ok());
  EXPECT_EQ(fields.size(), 1u);
}

TEST(Wire, ReadsPackedValues) {
  const std::string varints("\x01\xac\x02\x00", 4);
  WireReader reader(bytes_of(varints));
  std::vector<uint64_t> values;
  for (uint64_t value = 0; reader.next_varint(value);) values.push_back(value);
  EXPECT_TRUE(reader.status().ok());
  EXPECT_EQ(values, (std::vector<uint64_t>{1, 300, 0}));

  const std::string odd("\x01\x02\x03\x04\x05", 5);
  WireReader fixed(bytes_of(odd));
  uint32_t bits = 0;
  EXPECT_TRUE(fixed.next_fixed32(bits));
  EXPECT_EQ(bits, 0x04030201u);
  EXPECT_FALSE(fixed.next_fixed32(bits));
  EXPECT_EQ(fixed.status().code(), StatusCode::kTruncated);
}

}  // namespace
}  // namespace quench::rt
