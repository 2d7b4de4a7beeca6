// A bounded reader of protobuf wire bytes (https://protobuf.dev/programming-guides/encoding) over borrowed memory.
//
//     WireReader reader(bytes);
//     for (WireField field; reader.next(field);) {
//       if (field.number == 7 && field.is_bytes()) ...
//     }
//     if (!reader.status().ok()) return reader.status();
//
// No field reaches beyond its message, a varint has at most ten bytes, groups are refused. Fields of a number or wire
// type that the caller does not expect are its to skip, by not looking at them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "formats/base/status.h"

namespace quench::rt {

using Bytes = std::span<const std::byte>;

struct WireField {
  enum Type : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  uint32_t number = 0;
  uint8_t type = kVarint;
  uint64_t value = 0;  // of kVarint, kFixed64 and kFixed32
  Bytes bytes;         // of kBytes

  bool is_bytes() const { return type == kBytes; }
  bool is_varint() const { return type == kVarint; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
};

class WireReader {
 public:
  explicit WireReader(Bytes bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  // The next field of the message; false at its end and on an error.
  bool next(WireField& field);

  // One value of a packed repeated field, whose bytes this reader was made of; false at the end and on an error.
  bool next_varint(uint64_t& value);
  bool next_fixed32(uint32_t& value);
  bool next_fixed64(uint64_t& value);

  const Status& status() const { return status_; }

 private:
  bool varint(uint64_t& value);
  bool fixed(size_t count, uint64_t& value);
  bool fail(StatusCode code, const char* what);

  const std::byte* at_;
  const std::byte* end_;
  Status status_;
};

}  // namespace quench::rt
