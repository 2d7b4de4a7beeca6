// A .qim file for the tests and the fuzzer, from a seed.
#pragma once

#include <cstring>

#include "formats/image/reader.h"
#include "formats/image/writer.h"
#include "tests/formats/image/sample_indices.h"
#include "tests/formats/image/vector_sink.h"
#include "tests/formats/plain_crc32c.h"

namespace quench::image::testing {

struct SampleFile {
  ImageHeader header;
  std::vector<uint8_t> prior;
  std::vector<std::vector<uint8_t>> indices, alpha;  // by tile; `alpha` without gaps between rows
  std::vector<uint8_t> bytes;
};

// A disc with a soft edge, 255 inside.
inline std::vector<uint8_t> disc(const TileArea& area, uint32_t width, uint32_t height) {
  std::vector<uint8_t> plane;
  for (uint32_t y = area.top; y < area.top + area.height; ++y) {
    for (uint32_t x = area.left; x < area.left + area.width; ++x) {
      const int64_t dx = int64_t{x} * 2 - width, dy = int64_t{y} * 2 - height;
      const int64_t radius = std::min(width, height);
      const int64_t inside = (radius * radius - dx * dx - dy * dy) / (4 * radius + 1);
      plane.push_back(static_cast<uint8_t>(std::clamp<int64_t>(128 + inside * 16, 0, 255)));
    }
  }
  return plane;
}

// Logits from -2.5 to 2.5.
inline std::vector<uint8_t> random_prior(const ImageHeader& header, uint64_t seed) {
  std::vector<uint8_t> prior = random_bytes(header.tile_layout(0).prior_size(), 80, seed);
  for (uint8_t& byte : prior) byte = static_cast<uint8_t>(byte + 88);
  return prior;
}

// The header's codec is set.
inline SampleFile make_file(ImageHeader header, uint64_t seed, std::vector<uint8_t> prior) {
  SampleFile sample;
  sample.prior = std::move(prior);
  header.codec = codec_identity(header.channels, header.levels, header.zero, sample.prior);
  sample.header = header;
  VectorSink streams, lengths, file;
  Writer writer(header, streams, lengths);
  const auto require = [](const Status& status) {
    if (!status.ok()) throw std::runtime_error(status.detail());
  };
  for (uint32_t tile = 0; tile < header.tiles(); ++tile) {
    sample.indices.push_back(picture(header.tile_layout(tile), seed + tile));
    require(writer.add_indices(tile, sample.prior, sample.indices.back(), index_scratch()));
  }
  for (uint32_t tile = 0; header.has_alpha && tile < header.tiles(); ++tile) {
    const TileArea area = header.tile_pixels(tile);
    sample.alpha.push_back(disc(area, header.width, header.height));
    require(writer.add_alpha(tile, {sample.alpha.back().data(), area.height, area.width, 1, area.width}));
  }
  require(writer.finish(file));
  sample.bytes = file.bytes();
  return sample;
}

inline SampleFile make_file(const ImageHeader& header, uint64_t seed) {
  return make_file(header, seed, random_prior(header, seed));
}

// Puts a right checksum at the end of a damaged file, so that a reader looks further.
inline void fix_checksum(std::vector<uint8_t>& file) {
  if (file.size() < kChecksumSize) return;
  const uint32_t crc = plain_crc32c(std::span(file).first(file.size() - kChecksumSize));
  std::memcpy(file.data() + file.size() - kChecksumSize, &crc, sizeof crc);
}

// Opens a file and decodes all of it, whatever its header says; the first error.
inline Status decode_all(std::span<const uint8_t> file, const std::vector<uint8_t>& prior,
                         std::vector<std::vector<uint8_t>>* indices = nullptr,
                         std::vector<std::vector<uint8_t>>* alpha = nullptr) {
  const Result<Reader> reader = Reader::open(file);
  if (!reader.ok()) return reader.status();
  const ImageHeader& header = reader->header();
  std::vector<uint8_t> decoded;
  for (uint32_t tile = 0; tile < header.tiles(); ++tile) {
    const IndexLayout layout = header.tile_layout(tile);
    decoded.assign(layout.symbols(), 0);
    std::vector<uint8_t> fitting = prior;
    fitting.resize(layout.prior_size(), 128);
    QUENCH_RETURN_IF_ERROR(reader->decode_indices(tile, fitting, decoded, index_scratch()));
    for (const uint8_t index : decoded) {
      if (index >= header.levels) return Status::error(StatusCode::kInvalidArgument, "an index is out of range");
    }
    if (indices != nullptr) indices->push_back(decoded);
  }
  for (uint32_t tile = 0; header.has_alpha && tile < header.tiles(); ++tile) {
    const TileArea area = header.tile_pixels(tile);
    decoded.assign(size_t{area.height} * area.width, 0);
    QUENCH_RETURN_IF_ERROR(reader->decode_alpha(tile, {decoded.data(), area.height, area.width, 1, area.width}));
    if (alpha != nullptr) alpha->push_back(decoded);
  }
  return Status();
}

}  // namespace quench::image::testing
