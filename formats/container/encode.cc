// Encoding of bit-exact tensors: the smallest of raw bytes, planes, and planes of differences.
#include <algorithm>
#include <array>
#include <cstring>

#include "formats/container/planes.h"
#include "formats/container/serialize.h"
#include "formats/container/writer.h"
#include "formats/entropy/bytes_encoder.h"
#include "formats/entropy/statistics.h"

namespace quench::container {
namespace {

using Bytes = std::vector<uint8_t>;

// The lower bytes of trained floats are noise; the search for a code would cost time and find nothing.
bool is_noise(std::span<const uint8_t> plane) {
  constexpr size_t kFewest = 4096;
  constexpr double kNoiseBits = 7.9;
  if (plane.size() < kFewest) return false;
  std::array<uint64_t, 256> counts{};
  for (const uint8_t byte : plane) ++counts[byte];
  return entropy::entropy_bits(counts) > kNoiseBits;
}

// Whether repeated parts are worth searching for, which is slow: always in small planes, otherwise if a sample gains by
// it.
bool is_repetitive(std::span<const uint8_t> plane) {
  constexpr size_t kSmall = 16384;
  constexpr size_t kSample = 4096;
  if (plane.size() <= kSmall) return true;
  const auto sample = plane.first(kSample);
  const size_t without = entropy::compress_bytes(sample, false).size();
  return entropy::compress_bytes(sample, true).size() < without * 19 / 20;
}

struct EncodedPlane {
  PlaneForm form = PlaneForm::kStored;
  Bytes bytes;
};

EncodedPlane encode_plane(std::span<const uint8_t> plane) {
  if (std::all_of(plane.begin(), plane.end(), [&plane](uint8_t byte) { return byte == plane[0]; })) {
    return {PlaneForm::kConstant, {plane[0]}};
  }
  if (!is_noise(plane)) {
    Bytes coded = entropy::compress_bytes(plane, is_repetitive(plane));
    if (coded.size() + varint_size(coded.size()) < plane.size()) return {PlaneForm::kCoded, std::move(coded)};
  }
  return {PlaneForm::kStored, Bytes(plane.begin(), plane.end())};
}

void append_chunk(Bytes& out, std::span<const std::byte> units, UnitLayout layout) {
  std::vector<std::byte> planes(units.size());
  split_planes(units, layout, planes);
  const size_t size = units.size() / layout.width;
  std::array<EncodedPlane, 8> encoded;
  uint16_t forms = 0;
  for (uint32_t p = 0; p < layout.width; ++p) {
    encoded[p] = encode_plane(as_uint8(planes).subspan(p * size, size));
    forms = static_cast<uint16_t>(forms | static_cast<uint16_t>(encoded[p].form) << (2 * p));
  }
  append_fixed(out, forms);
  for (const EncodedPlane& plane : encoded) {
    if (plane.form == PlaneForm::kCoded) append_varint(out, plane.bytes.size());
  }
  for (const EncodedPlane& plane : encoded) out.insert(out.end(), plane.bytes.begin(), plane.bytes.end());
}

Bytes encode_planes(std::span<const std::byte> bytes, UnitLayout layout) {
  const size_t chunk_size = static_cast<size_t>(kChunkUnits) * layout.width;
  const size_t chunks = (bytes.size() + chunk_size - 1) / chunk_size;
  const size_t directory = chunks > 1 ? chunks * sizeof(uint64_t) : 0;
  Bytes out;
  out.reserve(directory + bytes.size() + 2 * chunks);  // never grows: a large tensor must not be here twice
  out.resize(directory);
  for (size_t c = 0; c < chunks; ++c) {
    const size_t begin = c * chunk_size;
    append_chunk(out, bytes.subspan(begin, std::min(chunk_size, bytes.size() - begin)), layout);
    const uint64_t end = out.size() - directory;
    if (directory > 0) std::memcpy(out.data() + c * sizeof end, &end, sizeof end);
  }
  return out;
}

}  // namespace

Result<EncodedTensor> Writer::encode_lossless(ElementType type, std::span<const std::byte> bytes,
                                              uint64_t element_count) {
  if (element_bits(type) == 0) {
    return Status::error(StatusCode::kUnsupportedType, "element type %u has no fixed size",
                         static_cast<unsigned>(type));
  }
  if (element_count == 0 || element_count > kMaxElements || bytes.size() != element_bytes(type, element_count)) {
    return Status::error(StatusCode::kInvalidArgument, "%zu bytes do not hold %llu elements", bytes.size(),
                         static_cast<unsigned long long>(element_count));
  }
  EncodedTensor encoded;
  encoded.tensor.type = type;
  encoded.tensor.element_count = element_count;
  encoded.tensor.encoding = Encoding::kPlanes;
  encoded.stream = encode_planes(bytes, unit_layout(type, false));
  constexpr size_t kSmallEnough = 64;  // a 64th of its size is not worth a second search
  if (!unit_layout(type, false).rotated && encoded.stream.size() > bytes.size() / kSmallEnough) {
    Bytes delta = encode_planes(bytes, unit_layout(type, true));
    if (delta.size() < encoded.stream.size()) {
      encoded.stream = std::move(delta);
      encoded.tensor.encoding = Encoding::kDeltaPlanes;
    }
  }
  if (encoded.stream.size() >= bytes.size()) {
    const auto raw = as_uint8(bytes);
    encoded.stream.assign(raw.begin(), raw.end());
    encoded.tensor.encoding = Encoding::kRaw;
  }
  return encoded;
}

}  // namespace quench::container
