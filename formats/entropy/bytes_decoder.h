// Decompresses bytes that bytes_encoder.h compressed: the graph section, planes of floats, integers.
//
// No heap, no exceptions; every byte may be hostile. The caller knows the decoded length; more or less is an error:
// kTruncated, kCorrupt, kUnsupportedFeature (unknown mode), kInvalidArgument (`scratch` below kBytesScratch bytes or
// not aligned to 64). After an error the contents of `out` are unspecified.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/status.h"

namespace quench::entropy {

inline constexpr size_t kBytesScratch = size_t{144} << 10;
inline constexpr uint64_t kMaxBytes = uint64_t{1} << 40;  // longest input of compress_bytes

Status decompress_bytes(std::span<const uint8_t> coded, std::span<uint8_t> out, std::span<uint8_t> scratch);

}  // namespace quench::entropy
