#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>

// clang-format off: jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>
// clang-format on

#include "compressor/data/files.h"
#include "compressor/data/image.h"
#include "formats/error.h"

namespace quench::data {
namespace {

constexpr uint64_t kMaxPixels = uint64_t{1} << 26;
// Deflate makes at most 1,032 bytes of one, each of 8 pixels of one bit. No JPEG comes near.
constexpr uint64_t kMaxPixelsPerByte = 1032 * 8;

bool is_too_large(uint64_t width, uint64_t height, size_t file_bytes) {
  return width * height > std::min(kMaxPixels, kMaxPixelsPerByte * file_bytes);
}

void check_size(uint64_t width, uint64_t height, const std::string& name) {
  if (width == 0 || height == 0 || width > kMaxPixels / height) {
    throw Error::make("{}: an image of {} x {} pixels cannot be used", name, width, height);
  }
}

// libpng reports errors by a call that must not return.
struct PngReader {
  std::span<const std::byte> file;
  size_t position = 0;
  std::jmp_buf escape;
  char message[200] = {};
  bool has_alpha = false;  // of the file
  int bit_depth = 8;
};

void escape_from_png(png_structp png, png_const_charp message) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof reader->message, "%s", message);
  std::longjmp(reader->escape, 1);
}

void read_png(png_structp png, png_bytep out, size_t bytes) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (bytes > reader->file.size() - reader->position) png_error(png, "the file ends early");
  std::memcpy(out, reader->file.data() + reader->position, bytes);
  reader->position += bytes;
}

// Samples of any kind become RGBA of 8 bits, each by its share of the largest: gamma and profiles are not applied, nor
// is what a palette says of them. 16 bits are rounded to 8.
void set_rgba(png_structp png, png_infop info) {
  png_set_expand(png);
  png_set_scale_16(png);
  png_set_gray_to_rgb(png);
  if (png_get_valid(png, info, PNG_INFO_tRNS) == 0) png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
  png_set_interlace_handling(png);
}

// Nothing with a destructor is created between setjmp and the calls that may jump.
bool decode_png_into(PngReader& reader, Image& image, std::vector<uint8_t>& rgba, std::vector<png_bytep>& rows) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, escape_from_png, [](png_structp, auto) {});
  png_infop info = png == nullptr ? nullptr : png_create_info_struct(png);
  if (info == nullptr || setjmp(reader.escape)) {
    png_destroy_read_struct(&png, &info, nullptr);
    return false;
  }
  png_set_read_fn(png, &reader, read_png);
  png_set_user_limits(png, 1 << 26, 1 << 26);
  png_read_info(png, info);
  image.width = static_cast<int>(png_get_image_width(png, info));
  image.height = static_cast<int>(png_get_image_height(png, info));
  if (is_too_large(png_get_image_width(png, info), png_get_image_height(png, info), reader.file.size()))
    png_error(png, "the image is too large");
  reader.has_alpha =
      (png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(png, info, PNG_INFO_tRNS) != 0;
  reader.bit_depth = png_get_bit_depth(png, info);
  set_rgba(png, info);
  png_read_update_info(png, info);
  const size_t row_bytes = png_get_rowbytes(png, info);
  rgba.resize(row_bytes * static_cast<size_t>(image.height));
  rows.resize(static_cast<size_t>(image.height));
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = rgba.data() + y * row_bytes;
  png_read_image(png, rows.data());
  png_read_end(png, nullptr);
  png_destroy_read_struct(&png, &info, nullptr);
  return true;
}

// RGBA of a PNG; `image` gets the size alone.
std::vector<uint8_t> decode_png_rgba(PngReader& reader, Image& image, const std::string& name) {
  std::vector<uint8_t> rgba;
  std::vector<png_bytep> rows;
  if (!decode_png_into(reader, image, rgba, rows)) throw Error::make("{}: damaged PNG: {}", name, reader.message);
  check_size(static_cast<uint64_t>(image.width), static_cast<uint64_t>(image.height), name);
  return rgba;
}

Image decode_png(std::span<const std::byte> file, const std::string& name) {
  PngReader reader;
  reader.file = file;
  Image image;
  const std::vector<uint8_t> rgba = decode_png_rgba(reader, image, name);
  image.pixels.resize(rgba.size() / 4 * 3);
  for (size_t pixel = 0; pixel < rgba.size() / 4; ++pixel) {
    for (size_t c = 0; c < 3; ++c)  // over black
      image.pixels[3 * pixel + c] = static_cast<uint8_t>((rgba[4 * pixel + c] * rgba[4 * pixel + 3] + 127) / 255);
  }
  return image;
}

// libjpeg reports errors by a call that must not return.
struct JpegError {
  jpeg_error_mgr manager;
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

void escape_from_jpeg(j_common_ptr info) {
  auto* error = reinterpret_cast<JpegError*>(info->err);
  error->manager.format_message(info, error->message);
  std::longjmp(error->escape, 1);
}

// In place, without a profile: each ink takes its share of the light. Programs of Adobe store the share that is left.
void cmyk_to_rgb(std::vector<uint8_t>& pixels, bool is_inverted) {
  const size_t count = pixels.size() / 4;
  for (size_t pixel = 0; pixel < count; ++pixel) {
    const auto left = [&](size_t c) { return is_inverted ? pixels[4 * pixel + c] : 255 - pixels[4 * pixel + c]; };
    const int black = left(3);
    for (size_t c = 0; c < 3; ++c) pixels[3 * pixel + c] = static_cast<uint8_t>((left(c) * black + 127) / 255);
  }
  pixels.resize(3 * count);
}

// Nothing with a destructor is created between setjmp and the calls that may jump.
bool decode_jpeg_into(std::span<const std::byte> file, Image& image, JpegError& error) {
  jpeg_decompress_struct info{};
  info.err = jpeg_std_error(&error.manager);
  error.manager.error_exit = escape_from_jpeg;
  error.manager.output_message = [](j_common_ptr) {};
  if (setjmp(error.escape)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&info, TRUE);
  const bool is_cmyk = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  info.out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
  if (is_too_large(info.image_width, info.image_height, file.size())) {
    std::snprintf(error.message, sizeof error.message, "the image is too large");
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_start_decompress(&info);
  image.width = static_cast<int>(info.output_width);
  image.height = static_cast<int>(info.output_height);
  const size_t channels = is_cmyk ? 4 : 3;
  image.pixels.resize(channels * info.output_width * info.output_height);
  // Missing data is only a warning to libjpeg, and grey pixels.
  while (info.output_scanline < info.output_height && error.manager.num_warnings == 0) {
    JSAMPROW row = image.pixels.data() + channels * info.output_width * info.output_scanline;
    jpeg_read_scanlines(&info, &row, 1);
  }
  const bool complete = error.manager.num_warnings == 0;
  if (!complete) std::snprintf(error.message, sizeof error.message, "the data is damaged or ends early");
  if (complete && is_cmyk) cmyk_to_rgb(image.pixels, info.saw_Adobe_marker != 0);
  jpeg_destroy_decompress(&info);
  return complete;
}

Image decode_jpeg(std::span<const std::byte> file, const std::string& name) {
  Image image;
  JpegError error{};
  if (!decode_jpeg_into(file, image, error)) throw Error::make("{}: damaged JPEG: {}", name, error.message);
  check_size(static_cast<uint64_t>(image.width), static_cast<uint64_t>(image.height), name);
  return image;
}

bool starts_with(std::span<const std::byte> file, std::span<const unsigned char> start) {
  return file.size() >= start.size() && std::memcmp(file.data(), start.data(), start.size()) == 0;
}

bool is_png(std::span<const std::byte> file) {
  constexpr unsigned char kPngStart[] = {0x89, 'P', 'N', 'G'};
  return starts_with(file, kPngStart);
}

// The pixels with fewer samples: the first `to` of each.
void keep_samples(Picture& picture, int to) {
  const auto from = static_cast<size_t>(picture.samples), kept = static_cast<size_t>(to);
  const size_t count = picture.pixels.size() / from;
  for (size_t pixel = 0; pixel < count; ++pixel) {
    std::memmove(picture.pixels.data() + pixel * kept, picture.pixels.data() + pixel * from, kept);
  }
  picture.pixels.resize(count * kept);
  picture.samples = to;
}

bool is_grey(const Picture& picture) {
  const auto samples = static_cast<size_t>(picture.samples);
  for (size_t i = 0; i < picture.pixels.size(); i += samples) {
    const uint8_t* pixel = picture.pixels.data() + i;
    if (pixel[0] != pixel[1] || pixel[0] != pixel[2]) return false;
  }
  return true;
}

}  // namespace

Picture read_picture(const std::filesystem::path& path) {
  const std::vector<std::byte> file = read_file(path, uint64_t{1} << 30);
  Picture picture;
  Image image;
  if (is_png(file)) {
    PngReader reader;
    reader.file = file;
    picture.pixels = decode_png_rgba(reader, image, path.string());
    picture.samples = 4;
    picture.had_16_bits = reader.bit_depth == 16;
    if (!reader.has_alpha) keep_samples(picture, 3);
  } else {
    image = decode_image(file, path.string());
    picture.pixels = std::move(image.pixels);
  }
  picture.width = image.width;
  picture.height = image.height;
  if (picture.samples == 3 && is_grey(picture)) keep_samples(picture, 1);
  return picture;
}

std::vector<std::byte> encode_png(const Picture& picture, const std::string& name) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = picture.samples == 1 ? PNG_FORMAT_GRAY : picture.samples == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_RGBA;
  // First how long it can be, then the file.
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<std::byte> file(size);
  if (png_image_write_to_memory(&image, file.data(), &size, 0, picture.pixels.data(), 0, nullptr) == 0) {
    throw Error::make("{}: {}", name, image.message);
  }
  file.resize(size);
  return file;
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
  write_file(path, encode_png(picture, path.string()));
}

Image read_image(const std::filesystem::path& path) {
  return decode_image(read_file(path, uint64_t{1} << 30), path.string());
}

Image decode_image(std::span<const std::byte> file, const std::string& name) {
  if (is_png(file)) return decode_png(file, name);
  constexpr unsigned char kJpegStart[] = {0xff, 0xd8, 0xff};
  if (starts_with(file, kJpegStart)) return decode_jpeg(file, name);
  throw Error::make("{}: this is neither a PNG nor a JPEG image", name);
}

bool is_image_name(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

}  // namespace quench::data
