// CRC-32C a bit at a time, as FORMAT.md defines it: short enough to be seen right, and shared with nothing that it
// checks.
#pragma once

#include <cstdint>
#include <span>

namespace quench {

inline uint32_t plain_crc32c(std::span<const uint8_t> bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0x82F63B78 & (0u - (crc & 1)));
  }
  return ~crc;
}

}  // namespace quench
