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

void check_size(uint64_t width, uint64_t height, const std::string& name) {
  if (width == 0 || height == 0 || width > kMaxPixels / height) {
    throw Error::make("{}: an image of {} x {} pixels cannot be used", name, width, height);
  }
}

Image decode_png(std::span<const std::byte> file, const std::string& name) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  const auto fail = [&] {
    const std::string reason = png.message;
    png_image_free(&png);
    throw Error::make("{}: damaged PNG: {}", name, reason);
  };
  if (!png_image_begin_read_from_memory(&png, file.data(), file.size())) fail();
  try {
    check_size(png.width, png.height, name);
  } catch (...) {
    png_image_free(&png);
    throw;
  }
  png.format = PNG_FORMAT_RGB;
  Image image{static_cast<int>(png.width), static_cast<int>(png.height), {}};
  image.pixels.resize(PNG_IMAGE_SIZE(png));
  const png_color black{0, 0, 0};
  if (!png_image_finish_read(&png, &black, image.pixels.data(), 0, nullptr)) fail();
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
  info.out_color_space = JCS_RGB;
  if (uint64_t{info.image_width} * info.image_height > kMaxPixels) {
    std::snprintf(error.message, sizeof error.message, "the image is too large");
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_start_decompress(&info);
  image.width = static_cast<int>(info.output_width);
  image.height = static_cast<int>(info.output_height);
  image.pixels.resize(size_t{3} * info.output_width * info.output_height);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = image.pixels.data() + size_t{3} * info.output_width * info.output_scanline;
    jpeg_read_scanlines(&info, &row, 1);
  }
  // Missing data is only a warning to libjpeg, and grey pixels.
  const bool complete = error.manager.num_warnings == 0;
  if (!complete) std::snprintf(error.message, sizeof error.message, "the data is damaged or ends early");
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

}  // namespace

Image read_image(const std::filesystem::path& path) {
  constexpr unsigned char kPngStart[] = {0x89, 'P', 'N', 'G'};
  constexpr unsigned char kJpegStart[] = {0xff, 0xd8, 0xff};
  const std::vector<std::byte> file = read_file(path, uint64_t{1} << 30);
  const auto starts_with = [&](std::span<const unsigned char> start) {
    return file.size() >= start.size() && std::memcmp(file.data(), start.data(), start.size()) == 0;
  };
  if (starts_with(kPngStart)) return decode_png(file, path.string());
  if (starts_with(kJpegStart)) return decode_jpeg(file, path.string());
  throw Error::make("{}: this is neither a PNG nor a JPEG image", path.string());
}

bool is_image_name(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

}  // namespace quench::data
