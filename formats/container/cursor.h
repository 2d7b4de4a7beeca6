// Reads bytes in order, checking each step against what is left. After the first failure every further read fails too
// and gives zeros, so that a run of reads needs one check at its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "formats/base/status.h"

namespace quench::container {

class Cursor {
 public:
  // `offset`: where `bytes` begin in the file, for error messages.
  explicit Cursor(std::span<const std::byte> bytes, uint64_t offset = 0) : bytes_(bytes), offset_(offset) {}

  size_t remaining() const { return bytes_.size() - position_; }
  bool ok() const { return code_ == StatusCode::kOk; }

  // kTruncated or kCorrupt (an overlong number) once a read has failed.
  Status status(const char* what) const {
    if (ok()) return {};
    return Status::error(code_, "%s: %s", what, meaning(code_)).at(offset_ + position_);
  }

  std::span<const std::byte> take(uint64_t size) {
    if (!ok() || size > remaining()) {
      fail(StatusCode::kTruncated);
      return {};
    }
    const auto taken = bytes_.subspan(position_, static_cast<size_t>(size));
    position_ += taken.size();
    return taken;
  }

  template <typename T>
  T fixed() {
    T value{};
    const auto taken = take(sizeof(T));
    if (taken.size() == sizeof(T)) std::memcpy(&value, taken.data(), sizeof(T));
    return value;
  }

  // LEB128 in its shortest form: seven bits a byte, lowest first, the top bit set on all bytes but the last.
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const uint64_t byte = fixed<uint8_t>();
      if (!ok()) return 0;
      value |= (byte & 0x7F) << shift;
      if ((byte & 0x80) != 0) continue;
      const bool overlong = (byte == 0 && shift > 0) || (shift == 63 && byte > 1);
      if (overlong) break;
      return value;
    }
    fail(StatusCode::kCorrupt);
    return 0;
  }

  // A signed number as 0, -1, 1, -2, 2, ...
  int64_t signed_varint() {
    const uint64_t value = varint();
    return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
  }

 private:
  void fail(StatusCode code) {
    if (ok()) code_ = code;
  }

  std::span<const std::byte> bytes_;
  uint64_t offset_;
  size_t position_ = 0;
  StatusCode code_ = StatusCode::kOk;
};

}  // namespace quench::container
