#include "compressor/data/image.h"

#include <gtest/gtest.h>
#include <png.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "compressor/data/files.h"
#include "tests/compressor/data/temporary_folder.h"

// clang-format off: jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>
// clang-format on

namespace quench::data {
namespace {

Image gradient(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<uint8_t>(255 * x / std::max(width - 1, 1)));
      image.pixels.push_back(static_cast<uint8_t>(255 * y / std::max(height - 1, 1)));
      image.pixels.push_back(100);
    }
  }
  return image;
}

void write_png(const std::string& path, const Image& image, uint32_t format = PNG_FORMAT_RGB) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = format;
  ASSERT_TRUE(png_image_write_to_file(&png, path.c_str(), 0, image.pixels.data(), 0, nullptr)) << png.message;
}

void write_jpeg(const std::string& path, const Image& image) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;  // NOLINT(google-runtime-int): libjpeg's type
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<uint8_t*>(image.pixels.data()) + size_t{3} * info.image_width * info.next_scanline;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  write_file(path, std::as_bytes(std::span(bytes, size)));
  std::free(bytes);
}

int largest_difference(const Image& a, const Image& b) {
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

TEST(ImageFile, PngIsExact) {
  const TemporaryFolder folder;
  const Image image = gradient(37, 21);
  write_png(folder / "a.png", image);
  const Image again = read_image(folder / "a.png");
  EXPECT_EQ(again.width, 37);
  EXPECT_EQ(again.height, 21);
  EXPECT_EQ(again.pixels, image.pixels);
}

TEST(ImageFile, GreyPngBecomesRgb) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", {2, 1, {10, 200}}, PNG_FORMAT_GRAY);
  EXPECT_EQ(read_image(folder / "a.png").pixels, (std::vector<uint8_t>{10, 10, 10, 200, 200, 200}));
}

// One row of 16-bit samples, with a gamma chunk or without.
void write_png_16(const std::string& path, const std::vector<uint16_t>& samples, double gamma) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_IHDR(png, info, static_cast<png_uint_32>(samples.size() / 3), 1, 16, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (gamma > 0) png_set_gAMA(png, info, gamma);
  png_write_info(png, info);
  std::vector<png_byte> row;
  for (const uint16_t sample : samples) {
    row.push_back(static_cast<png_byte>(sample >> 8));
    row.push_back(static_cast<png_byte>(sample & 255));
  }
  png_write_row(png, row.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

// libpng's simplified reading takes 16 bits for linear light, and brightened them by up to 72.
TEST(ImageFile, SamplesOf16BitsAndOfAnyGammaAreThoseOfTheFile) {
  const TemporaryFolder folder;
  const std::vector<uint16_t> samples = {0, 1000, 65535, 32768, 257, 40000, 20000, 60000, 128};
  for (const double gamma : {0.0, 1.0, 0.45455, 0.1}) {
    write_png_16(folder / "16.png", samples, gamma);
    const Image image = read_image(folder / "16.png");
    ASSERT_EQ(image.pixels.size(), samples.size());
    for (size_t i = 0; i < samples.size(); ++i)
      EXPECT_NEAR(image.pixels[i], samples[i] / 257.0, 0.51) << gamma << " " << i;
  }
}

// Of CMYK, as programs of Adobe write it or others do, and of its form for compression, YCCK.
void write_cmyk_jpeg(const std::string& path, const std::vector<uint8_t>& inks, bool is_adobe, J_COLOR_SPACE space) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;  // NOLINT(google-runtime-int): libjpeg's type
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = 16;
  info.image_height = 16;
  info.input_components = 4;
  info.in_color_space = JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_colorspace(&info, space);
  info.write_Adobe_marker = is_adobe || space == JCS_YCCK ? TRUE : FALSE;
  jpeg_set_quality(&info, 100, TRUE);
  jpeg_start_compress(&info, TRUE);
  std::vector<uint8_t> line;
  for (int x = 0; x < 16; ++x) line.insert(line.end(), inks.begin(), inks.end());
  while (info.next_scanline < info.image_height) {
    uint8_t* row = line.data();
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  write_file(path, std::as_bytes(std::span(bytes, size)));
  std::free(bytes);
}

TEST(ImageFile, CmykAndYcckJpegBecomeRgb) {
  const TemporaryFolder folder;
  const std::vector<uint8_t> inks = {51, 102, 204, 51}, left = {204, 153, 51, 204};  // of 255, and what is left of it
  const int expected[] = {204 * 204 / 255, 153 * 204 / 255, 51 * 204 / 255};
  write_cmyk_jpeg(folder / "adobe.jpg", left, true, JCS_CMYK);
  write_cmyk_jpeg(folder / "ycck.jpg", left, true, JCS_YCCK);
  write_cmyk_jpeg(folder / "plain.jpg", inks, false, JCS_CMYK);
  for (const char* name : {"adobe.jpg", "ycck.jpg", "plain.jpg"}) {
    const Image image = read_image(folder / name);
    ASSERT_EQ(image.pixels.size(), 16u * 16u * 3u);
    for (int c = 0; c < 3; ++c) EXPECT_NEAR(image.pixels[static_cast<size_t>(300 + c)], expected[c], 3) << name;
  }
}

TEST(ImageFile, TransparentPixelsLieOverBlack) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", {2, 1, {200, 100, 50, 255, 200, 100, 50, 0}}, PNG_FORMAT_RGBA);
  EXPECT_EQ(read_image(folder / "a.png").pixels, (std::vector<uint8_t>{200, 100, 50, 0, 0, 0}));
}

TEST(ImageFile, JpegIsNear) {
  const TemporaryFolder folder;
  const Image image = gradient(64, 48);
  write_jpeg(folder / "a.jpg", image);
  const Image again = read_image(folder / "a.jpg");
  ASSERT_EQ(again.pixels.size(), image.pixels.size());
  EXPECT_LE(largest_difference(again, image), 24);
}

TEST(ImageFile, EveryPrefixIsAnErrorWithTheFilesName) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", gradient(8, 8));
  write_jpeg(folder / "a.jpg", gradient(8, 8));
  for (const char* name : {"a.png", "a.jpg"}) {
    const std::vector<std::byte> file = read_file(folder / name);
    // The last bytes are the end markers, which decoders may do without.
    for (size_t length = 0; length + 16 < file.size(); ++length) {
      const std::string path = folder.write("cut", {reinterpret_cast<const char*>(file.data()), length});
      const std::string error = error_of([&] { read_image(path); });
      EXPECT_TRUE(error.starts_with(path + ": ")) << name << " " << length << " " << error;
    }
  }
}

// A fuzzer's JPEG of 150 bytes was read as 29,322 x 2,308 grey pixels, in a second.
TEST(ImageFile, ASmallFileCannotAskForManyPixels) {
  const TemporaryFolder folder;
  write_jpeg(folder / "a.jpg", gradient(8, 8));
  write_cmyk_jpeg(folder / "cmyk.jpg", {1, 2, 3, 4}, true, JCS_CMYK);
  for (const char* name : {"a.jpg", "cmyk.jpg"}) {
    const std::vector<std::byte> file = read_file(folder / name);
    std::string text(reinterpret_cast<const char*>(file.data()), file.size());
    const size_t size = text.find("\xFF\xC0") + 5;  // height and width, of two bytes each
    ASSERT_LT(size, text.size());
    text.replace(size, 4, "\x20\x01\x20\x01");
    const std::string path = folder.write("many.jpg", text);
    EXPECT_EQ(error_of([&] { read_image(path); }), path + ": damaged JPEG: the image is too large");
  }
}

TEST(ImageFile, OtherFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a.png", "GIF89a and so on");
  EXPECT_EQ(error_of([&] { read_image(path); }), path + ": this is neither a PNG nor a JPEG image");
}

TEST(FitImage, ConstantStaysConstantAndSizeIsMet) {
  Image image{13, 7, std::vector<uint8_t>(3 * 13 * 7, 77)};
  for (const auto& [width, height] : {std::pair{32, 32}, {5, 5}, {1, 1}, {64, 3}, {13, 7}}) {
    const Image fitted = fit_image(image, width, height);
    EXPECT_EQ(fitted.width, width);
    EXPECT_EQ(fitted.height, height);
    EXPECT_EQ(fitted.pixels, std::vector<uint8_t>(static_cast<size_t>(3 * width * height), 77));
  }
}

TEST(FitImage, HalvingAveragesAndDoublingInterpolates) {
  Image stripes{64, 64, {}};
  for (int i = 0; i < 64 * 64; ++i) stripes.pixels.insert(stripes.pixels.end(), 3, i % 2 ? 255 : 0);
  const Image half = fit_image(stripes, 32, 32);
  for (const uint8_t value : half.pixels) EXPECT_NEAR(value, 128, 33);  // the borders see one stripe more
  EXPECT_NEAR(half.pixels[3 * (16 * 32 + 16)], 128, 1);

  const Image doubled = fit_image({2, 2, {0, 0, 0, 100, 100, 100, 0, 0, 0, 100, 100, 100}}, 4, 4);
  EXPECT_EQ(doubled.pixels[0], 0);
  EXPECT_EQ(doubled.pixels[3], 25);
  EXPECT_EQ(doubled.pixels[6], 75);
  EXPECT_EQ(doubled.pixels[9], 100);
}

TEST(MiddleOfAPicture, IsASquareOrWhatThereIs) {
  Picture picture{5, 4, 3, false, {}};
  for (uint8_t y = 0; y < 4; ++y) {
    for (uint8_t x = 0; x < 5; ++x) picture.pixels.insert(picture.pixels.end(), {x, y, 9});
  }
  const Picture two = middle_of(picture, 2), high = middle_of(picture, 4), all = middle_of(picture, 8);
  EXPECT_EQ(two.width, 2);
  EXPECT_EQ(two.height, 2);
  EXPECT_EQ(two.pixels, (std::vector<uint8_t>{1, 1, 9, 2, 1, 9, 1, 2, 9, 2, 2, 9}));
  EXPECT_EQ(high.width, 4);
  EXPECT_EQ(high.height, 4);
  EXPECT_EQ(high.pixels.size(), 48u);
  EXPECT_EQ(all.pixels, picture.pixels);
}

TEST(FitImage, CropsTheMiddle) {
  const Image wide = gradient(300, 100);
  const Image square = fit_image(wide, 100, 100);
  EXPECT_NEAR(square.pixels[0], 85, 2);        // a third of the way
  EXPECT_NEAR(square.pixels[3 * 99], 170, 2);  // two thirds
  EXPECT_NEAR(square.pixels[3 * 99 * 100 + 1], 255, 2);
}

TEST(ImageTarget, LayoutsAndPreprocessing) {
  const Image image{2, 1, {10, 20, 30, 40, 50, 60}};
  std::vector<float> values(6);
  ImageTarget({.mean = {1, 2, 3}, .std = {2}, .scale = 1.0f, .layout = {}, .model_input = {-1, 3, 1, 2}}, 0, 0)
      .convert(image, values);
  EXPECT_EQ(values, (std::vector<float>{4.5f, 19.5f, 9, 24, 13.5f, 28.5f}));
  ImageTarget({.mean = {}, .std = {}, .scale = 1.0f, .layout = Layout::kNhwc, .model_input = {1, 1, 2, 3}}, 0, 0)
      .convert(image, values);
  EXPECT_EQ(values, (std::vector<float>{10, 20, 30, 40, 50, 60}));
  ImageTarget({.mean = {}, .std = {}, .scale = {}, .layout = {}, .model_input = {1, 1, 1, 2}}, 0, 0)
      .convert(image, values);
  EXPECT_NEAR(values[0], (0.299 * 10 + 0.587 * 20 + 0.114 * 30) / 255, 1e-6);
}

TEST(ImageTarget, LayoutIsWhatTheShapeSays) {
  const auto shape = [](std::vector<int64_t> input) {
    DatasetOptions options;
    options.model_input = std::move(input);
    return ImageTarget(options, 50, 40).shape();
  };
  EXPECT_EQ(shape({-1, 3, 32, 32}), (std::vector<int64_t>{3, 32, 32}));
  EXPECT_EQ(shape({-1, 32, 32, 3}), (std::vector<int64_t>{32, 32, 3}));
  EXPECT_EQ(shape({1, 1, 28, 28}), (std::vector<int64_t>{1, 28, 28}));
  EXPECT_EQ(shape({1, 3, -1, -1}), (std::vector<int64_t>{3, 40, 50}));
  EXPECT_EQ(shape({}), (std::vector<int64_t>{3, 40, 50}));
}

TEST(ImageTarget, RefusesWhatDoesNotFit) {
  const auto refusal = [](DatasetOptions options) { return error_of([&] { ImageTarget(options, 32, 32); }); };
  EXPECT_EQ(refusal({.mean = {}, .std = {}, .scale = {}, .layout = {}, .model_input = {-1, 10}}),
            "the model's input is Nx10, which images do not fit");
  EXPECT_NE(refusal({.mean = {}, .std = {}, .scale = {}, .layout = {}, .model_input = {1, 7, 32, 32}})
                .find("1x7x32x32 (NCHW)"),
            std::string::npos);
  EXPECT_EQ(refusal({.mean = {1, 2}, .std = {}, .scale = {}, .layout = {}, .model_input = {}}),
            "2 mean values are given, the model's input has 3 channels");
  EXPECT_EQ(refusal({.mean = {}, .std = {0}, .scale = {}, .layout = {}, .model_input = {}}), "std must be above 0");
}

}  // namespace
}  // namespace quench::data
