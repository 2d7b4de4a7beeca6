#include "runtime/graph/wire.h"

namespace quench::rt {

bool WireReader::fail(StatusCode code, const char* what) {
  status_ = Status::error(code, "graph: %s", what);
  at_ = end_;
  return false;
}

bool WireReader::varint(uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (at_ == end_) return fail(StatusCode::kTruncated, "a number ends early");
    const auto byte = static_cast<uint64_t>(*at_++);
    if (shift == 63 && byte > 1) return fail(StatusCode::kCorrupt, "a number has more than 64 bits");
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return fail(StatusCode::kCorrupt, "a number has more than 64 bits");
}

bool WireReader::fixed(size_t count, uint64_t& value) {
  if (static_cast<size_t>(end_ - at_) < count) return fail(StatusCode::kTruncated, "a number ends early");
  value = 0;
  for (size_t i = 0; i < count; ++i) value |= static_cast<uint64_t>(*at_++) << (8 * i);
  return true;
}

bool WireReader::next(WireField& field) {
  if (at_ == end_) return false;
  uint64_t key = 0;
  if (!varint(key)) return false;
  const uint64_t number = key >> 3;
  if (number == 0 || number >= (uint64_t{1} << 29)) return fail(StatusCode::kCorrupt, "a field has no valid number");
  field.number = static_cast<uint32_t>(number);
  field.type = static_cast<uint8_t>(key & 7);
  field.value = 0;
  field.bytes = {};
  switch (field.type) {
    case WireField::kVarint:
      return varint(field.value);
    case WireField::kFixed64:
      return fixed(8, field.value);
    case WireField::kFixed32:
      return fixed(4, field.value);
    case WireField::kBytes: {
      uint64_t length = 0;
      if (!varint(length)) return false;
      if (length > static_cast<uint64_t>(end_ - at_))
        return fail(StatusCode::kTruncated, "a field reaches beyond its message");
      field.bytes = Bytes(at_, static_cast<size_t>(length));
      at_ += length;
      return true;
    }
    default:
      return fail(StatusCode::kCorrupt, "a field has an unknown wire type");
  }
}

bool WireReader::next_varint(uint64_t& value) { return at_ != end_ && varint(value); }

bool WireReader::next_fixed32(uint32_t& value) {
  uint64_t wide = 0;
  if (at_ == end_ || !fixed(4, wide)) return false;
  value = static_cast<uint32_t>(wide);
  return true;
}

bool WireReader::next_fixed64(uint64_t& value) { return at_ != end_ && fixed(8, value); }

}  // namespace quench::rt
