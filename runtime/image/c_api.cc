// image.h over Codec.
#include <quench/image.h>

#include <cstring>

#include "formats/image/reader.h"
#include "runtime/image/codec.h"
#include "runtime/session/c_support.h"

using quench::Status;
namespace image = quench::image;
namespace rt = quench::rt;
using rt::null_argument;
using rt::report;

struct quench_image_codec : image::Codec {
  using image::Codec::Codec;
};

namespace {

std::span<const std::byte> bytes_of(const void* bytes, size_t size) {
  return {static_cast<const std::byte*>(bytes), bytes ? size : 0};
}

std::span<const uint8_t> file_of(const void* file, size_t size) {
  return {static_cast<const uint8_t*>(file), file ? size : 0};
}

Status read_info(std::span<const uint8_t> file, quench_image_info& info) {
  const quench::Result<image::Reader> reader = image::Reader::open(file);
  QUENCH_RETURN_IF_ERROR(reader.status());
  const image::ImageHeader& header = reader->header();
  info.width = header.width;
  info.height = header.height;
  info.quality = static_cast<float>(header.quality) / image::kQualityUnit;
  info.has_alpha = header.has_alpha ? 1 : 0;
  info.is_grey = header.is_grey ? 1 : 0;
  info.codec = header.codec;
  info.channels = header.channels;
  info.levels = header.levels;
  info.index_bytes = reader->index_bytes();
  info.alpha_bytes = reader->alpha_bytes();
  return Status();
}

Status open_codec(std::span<const std::byte> encoder, std::span<const std::byte> decoder,
                  const quench_image_options* given, quench_image_codec** codec) {
  quench_image_options options;
  QUENCH_RETURN_IF_ERROR(rt::read_options(given, options));
  rt::Allocator allocator;
  QUENCH_RETURN_IF_ERROR(rt::read_allocator(options.allocator, allocator));
  auto* made = rt::make<quench_image_codec>(allocator);
  if (!made) return rt::out_of_memory();
  const Status status = made->open(encoder, decoder, options);
  if (!status.ok()) {
    rt::destroy(made);
    return status;
  }
  *codec = made;
  return Status();
}

Status encode(quench_image_codec& codec, const quench_image_pixels* pixels, float quality, void** file, size_t* size) {
  QUENCH_RETURN_IF_ERROR(image::check_pixels(pixels));
  image::MemorySink sink(codec.memory);
  QUENCH_RETURN_IF_ERROR(image::encode_image(codec, *pixels, quality, sink));
  // quench_image_free() knows the file's size only.
  void* block = codec.memory.allocate(sink.size);
  if (!block) return rt::out_of_memory();
  std::memcpy(block, sink.data, sink.size);
  *file = block;
  *size = sink.size;
  return Status();
}

}  // namespace

quench_code quench_image_read_info(const void* file, size_t size, quench_image_info* info, quench_status* status) {
  if (!file || !info) return report(null_argument(file ? "info" : "file"), status);
  return report(read_info(file_of(file, size), *info), status);
}

quench_code quench_image_codec_open(const void* encoder, size_t encoder_size, const void* decoder, size_t decoder_size,
                                    const quench_image_options* options, quench_image_codec** codec,
                                    quench_status* status) {
  if (!codec) return report(null_argument("codec"), status);
  *codec = nullptr;
  return report(open_codec(bytes_of(encoder, encoder_size), bytes_of(decoder, decoder_size), options, codec), status);
}

void quench_image_codec_release(quench_image_codec* codec) {
  if (codec) rt::destroy(codec);
}

uint32_t quench_image_codec_identity(const quench_image_codec* codec) { return codec ? codec->identity : 0; }

float quench_image_codec_qualities(const quench_image_codec* codec) {
  return codec ? static_cast<float>(codec->qualities) : 0;
}

quench_code quench_image_decode(quench_image_codec* codec, const void* file, size_t size,
                                const quench_image_pixels* pixels, quench_status* status) {
  if (!codec || !file) return report(null_argument(codec ? "file" : "codec"), status);
  Status result = image::check_pixels(pixels);
  if (result.ok()) result = image::decode_image(*codec, file_of(file, size), *pixels);
  return report(result, status);
}

quench_code quench_image_encode(quench_image_codec* codec, const quench_image_pixels* pixels, float quality,
                                void** file, size_t* size, quench_status* status) {
  if (!file || !size) return report(null_argument(file ? "size" : "file"), status);
  *file = nullptr;
  *size = 0;
  return report(codec ? encode(*codec, pixels, quality, file, size) : null_argument("codec"), status);
}

void quench_image_free(quench_image_codec* codec, void* file, size_t size) {
  if (codec) codec->memory.release(file, size);
}

uint64_t quench_image_codec_peak_bytes(const quench_image_codec* codec) {
  return codec ? codec->memory.peak() + codec->encoder.peak_bytes() + codec->decoder.peak_bytes() : 0;
}
