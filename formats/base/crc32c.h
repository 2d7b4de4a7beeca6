// A checksum of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace quench {

// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as iSCSI and ext4 use it. `crc` continues an earlier sum.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

}  // namespace quench
