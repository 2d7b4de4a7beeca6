#include "formats/image/writer.h"

#include "formats/base/crc32c.h"
#include "formats/image/index_encoder.h"
#include "formats/image/plane_encoder.h"

namespace quench::image {

namespace {

void append_varint(ByteSink& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.append(static_cast<uint8_t>(value | 0x80));
  out.append(static_cast<uint8_t>(value));
}

void append_number(ByteSink& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.append(static_cast<uint8_t>(value >> (8 * i)));
}

Status wrong_order() { return Status::error(StatusCode::kInvalidArgument, "tiles are missing, or not in their order"); }

}  // namespace

Status Writer::end_stream(size_t begin) {
  append_varint(*lengths_, streams_->size - begin);
  ++count_;
  return lengths_->failed ? Status(StatusCode::kOutOfMemory) : Status();
}

Status Writer::add_indices(uint32_t tile, std::span<const uint8_t> prior, std::span<const uint8_t> indices,
                           std::span<uint8_t> scratch) {
  if (tile != count_ || tile >= header_.tiles()) return wrong_order();
  const size_t begin = streams_->size;
  QUENCH_RETURN_IF_ERROR(encode_indices(header_.tile_layout(tile), prior, indices, scratch, *streams_));
  return end_stream(begin);
}

Status Writer::add_alpha(uint32_t tile, const PlaneView<const uint8_t>& plane) {
  if (!header_.has_alpha || tile >= header_.tiles() || header_.tiles() + tile != count_) return wrong_order();
  const TileArea area = header_.tile_pixels(tile);
  if (plane.height != area.height || plane.width != area.width) return Status(StatusCode::kInvalidArgument);
  const size_t begin = streams_->size;
  QUENCH_RETURN_IF_ERROR(encode_plane(plane, *streams_));
  return end_stream(begin);
}

Status Writer::finish(ByteSink& file) const {
  const Status status = check_header(header_);
  if (!status.ok()) return Status::error(StatusCode::kInvalidArgument, "%s", status.detail());
  if (count_ != header_.tiles() * (header_.has_alpha ? 2 : 1)) return wrong_order();
  const size_t begin = file.size;
  file.append(kMagic);
  file.append(kVersion);
  file.append(static_cast<uint8_t>((header_.is_grey ? kGreyFlag : 0) | (header_.has_alpha ? kAlphaFlag : 0)));
  append_varint(file, header_.width);
  append_varint(file, header_.height);
  append_number(file, header_.quality, 2);
  append_number(file, header_.channels - 1, 1);
  append_number(file, header_.levels, 1);
  append_number(file, header_.zero, 1);
  append_number(file, header_.codec, 4);
  file.append({lengths_->data, lengths_->size});
  file.append({streams_->data, streams_->size});
  if (file.failed) return Status(StatusCode::kOutOfMemory);
  append_number(file, crc32c(std::as_bytes(std::span<const uint8_t>(file.data + begin, file.size - begin))), 4);
  return file.failed ? Status(StatusCode::kOutOfMemory) : Status();
}

}  // namespace quench::image
