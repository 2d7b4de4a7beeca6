#include "formats/image/reader.h"

#include "formats/base/crc32c.h"
#include "formats/container/cursor.h"
#include "formats/image/index_decoder.h"
#include "formats/image/plane_decoder.h"

namespace quench::image {

namespace {

using container::Cursor;

constexpr const char* kWhat = "the header of the .qim file";

Status read_header(Cursor& cursor, ImageHeader& header) {
  const auto magic = cursor.take(sizeof kMagic);
  if (!cursor.ok() || std::memcmp(magic.data(), kMagic, sizeof kMagic) != 0) {
    return Status::error(StatusCode::kBadMagic, "this is not a .qim file").at(0);
  }
  const auto version = cursor.fixed<uint8_t>();
  if (cursor.ok() && version != kVersion) {
    return Status::error(StatusCode::kUnsupportedVersion, "version %u of .qim files; this reader knows %u", version,
                         kVersion)
        .at(4);
  }
  const auto flags = cursor.fixed<uint8_t>();
  if ((flags & ~(kGreyFlag | kAlphaFlag)) != 0) {
    return Status::error(StatusCode::kUnsupportedFeature, "the .qim file has flags %u, some of them unknown", flags)
        .at(5);
  }
  header.is_grey = (flags & kGreyFlag) != 0;
  header.has_alpha = (flags & kAlphaFlag) != 0;
  const uint64_t width = cursor.varint(), height = cursor.varint();
  header.quality = cursor.fixed<uint16_t>();
  header.channels = cursor.fixed<uint8_t>() + 1u;
  header.levels = cursor.fixed<uint8_t>();
  header.zero = cursor.fixed<uint8_t>();
  header.codec = cursor.fixed<uint32_t>();
  QUENCH_RETURN_IF_ERROR(cursor.status(kWhat));
  header.width = static_cast<uint32_t>(std::min<uint64_t>(width, UINT32_MAX));
  header.height = static_cast<uint32_t>(std::min<uint64_t>(height, UINT32_MAX));
  return check_header(header).at(6);
}

}  // namespace

Result<Reader> Reader::open(std::span<const uint8_t> file) {
  Cursor cursor(std::as_bytes(file));
  Reader reader;
  QUENCH_RETURN_IF_ERROR(read_header(cursor, reader.header_));
  const ImageHeader& header = reader.header_;

  const size_t lengths_at = file.size() - cursor.remaining();
  uint64_t total = 0;
  for (uint32_t i = 0; i < header.tiles() * (header.has_alpha ? 2u : 1u); ++i) {
    const uint64_t length = cursor.varint();
    if (length > file.size()) return Status(StatusCode::kTruncated);
    total += length;
  }
  QUENCH_RETURN_IF_ERROR(cursor.status("the lengths of the .qim file"));
  const size_t streams_at = file.size() - cursor.remaining();
  if (total + kChecksumSize > cursor.remaining()) {
    return Status::error(StatusCode::kTruncated, "the .qim file ends early").at(file.size());
  }
  if (total + kChecksumSize < cursor.remaining()) {
    return Status::error(StatusCode::kCorrupt, "bytes are left over behind the .qim file's checksum");
  }
  reader.lengths_ = file.subspan(lengths_at, streams_at - lengths_at);
  reader.streams_ = file.subspan(streams_at, static_cast<size_t>(total));

  const std::span<const uint8_t> checked = file.first(file.size() - kChecksumSize);
  Cursor end(std::as_bytes(file.subspan(checked.size())));
  if (end.fixed<uint32_t>() != crc32c(std::as_bytes(checked))) {
    return Status::error(StatusCode::kChecksum, "the checksum of the .qim file does not match: it is damaged")
        .at(checked.size());
  }
  return reader;
}

// Of the streams from `first` on. open() has read the lengths.
uint64_t Reader::length_of(uint32_t first, uint32_t count) const {
  Cursor cursor(std::as_bytes(lengths_));
  for (uint32_t i = 0; i < first; ++i) cursor.varint();
  uint64_t total = 0;
  for (uint32_t i = 0; i < count; ++i) total += cursor.varint();
  return total;
}

std::span<const uint8_t> Reader::stream(uint32_t number) const {
  return streams_.subspan(static_cast<size_t>(length_of(0, number)), static_cast<size_t>(length_of(number, 1)));
}

uint64_t Reader::index_bytes() const { return length_of(0, header_.tiles()); }
uint64_t Reader::alpha_bytes() const { return header_.has_alpha ? length_of(header_.tiles(), header_.tiles()) : 0; }

Status Reader::decode_indices(uint32_t tile, std::span<const uint8_t> prior, std::span<uint8_t> indices,
                              std::span<uint8_t> scratch) const {
  if (tile >= header_.tiles()) return Status(StatusCode::kInvalidArgument);
  return image::decode_indices(header_.tile_layout(tile), prior, stream(tile), indices, scratch);
}

Status Reader::decode_alpha(uint32_t tile, const PlaneView<uint8_t>& plane) const {
  const bool is_there = header_.has_alpha && tile < header_.tiles();
  const TileArea area = is_there ? header_.tile_pixels(tile) : TileArea{};
  if (!is_there || plane.height != area.height || plane.width != area.width) {
    return Status(StatusCode::kInvalidArgument);
  }
  return decode_plane(stream(header_.tiles() + tile), plane);
}

}  // namespace quench::image
