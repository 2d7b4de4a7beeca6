// Compresses bytes without loss: the graph section (protobuf, repetitive), planes of floats, integers.
//
// Tries match finding with adaptive binary range coding and adaptive coding by the bits already seen of a byte, and
// keeps the smallest; where nothing helps the bytes are stored with one byte of overhead. The length is not stored: the
// caller keeps it for decompress_bytes(). The same input gives the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quench::entropy {

// `search_matches`: false where nothing repeats (planes of trained weights); the search takes most of the time.
std::vector<uint8_t> compress_bytes(std::span<const uint8_t> bytes, bool search_matches = true);

}  // namespace quench::entropy
