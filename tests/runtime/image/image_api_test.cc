// The C API of .qim files, mostly with a codec that is made here.
#include <gtest/gtest.h>
#include <quench/image.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/image/windows.h"
#include "tests/formats/image/sample_file.h"
#include "tests/runtime/image/sample_codec.h"

namespace quench::image::testing {
namespace {

using Bytes = std::vector<uint8_t>;

const SampleCodec& sample_codec() {
  static const SampleCodec codec = make_sample_codec();
  return codec;
}

struct Picture {
  uint32_t width, height;
  quench_image_format format;
  size_t row_bytes;
  Bytes data;

  Picture(uint32_t w, uint32_t h, quench_image_format f, size_t gap = 0)
      : width(w), height(h), format(f), row_bytes(size_t{w} * f + gap), data(row_bytes * h, 0xee) {}
  quench_image_pixels pixels() { return {data.data(), width, height, row_bytes, format}; }
  uint8_t& at(uint32_t x, uint32_t y, int sample) {
    return data[y * row_bytes + size_t{x} * format + static_cast<size_t>(sample)];
  }
};

// Smooth, with a few edges; alpha is a disc.
Picture scene(uint32_t width, uint32_t height, quench_image_format format, size_t gap = 0) {
  Picture picture(width, height, format, gap);
  for (uint32_t y = 0; y < height; ++y) {
    for (uint32_t x = 0; x < width; ++x) {
      const double fx = x, fy = y;
      const double values[] = {128 + 90 * std::sin(fx / 37) * std::cos(fy / 53), 100 + 80 * std::cos(fx / 71 + fy / 29),
                               (x / 64 + y / 48) % 2 == 0 ? 180.0 : 90.0};
      for (int sample = 0; sample < std::min<int>(format, 3); ++sample) {
        picture.at(x, y, sample) = static_cast<uint8_t>(values[sample]);
      }
      if (format == QUENCH_IMAGE_RGBA8) picture.at(x, y, 3) = disc({y, x, 1, 1}, width, height)[0];
    }
  }
  return picture;
}

class Codec {
 public:
  explicit Codec(const quench_image_options* options = nullptr, const SampleCodec& files = sample_codec()) {
    quench_status status = QUENCH_STATUS_INIT;
    EXPECT_EQ(quench_image_codec_open(files.encoder.data(), files.encoder.size(), files.decoder.data(),
                                      files.decoder.size(), options, &codec_, &status),
              QUENCH_OK)
        << status.message;
  }
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;
  ~Codec() { quench_image_codec_release(codec_); }
  operator quench_image_codec*() const { return codec_; }

  Bytes encode(Picture& picture, float quality) const {
    void* file = nullptr;
    size_t size = 0;
    quench_status status = QUENCH_STATUS_INIT;
    const quench_image_pixels pixels = picture.pixels();
    EXPECT_EQ(quench_image_encode(codec_, &pixels, quality, &file, &size, &status), QUENCH_OK) << status.message;
    const Bytes bytes(static_cast<uint8_t*>(file), static_cast<uint8_t*>(file) + size);
    quench_image_free(codec_, file, size);
    return bytes;
  }
  quench_code decode(const Bytes& file, Picture& picture, quench_status* status = nullptr) const {
    const quench_image_pixels pixels = picture.pixels();
    return quench_image_decode(codec_, file.data(), file.size(), &pixels, status);
  }

 private:
  quench_image_codec* codec_ = nullptr;
};

int largest_difference(const Picture& a, const Picture& b) {
  int most = 0;
  for (size_t i = 0; i < a.data.size(); ++i) most = std::max(most, std::abs(a.data[i] - b.data[i]));
  return most;
}

double psnr(Picture& a, Picture& b) {
  double squares = 0;
  for (uint32_t y = 0; y < a.height; ++y) {
    for (uint32_t x = 0; x < a.width; ++x) {
      for (int sample = 0; sample < std::min<int>(a.format, 3); ++sample) {
        squares += std::pow(a.at(x, y, sample) - b.at(x, y, sample), 2);
      }
    }
  }
  return 10 * std::log10(255.0 * 255 * a.width * a.height * std::min<int>(a.format, 3) / squares);
}

TEST(ImageApi, EncodesAndDecodes) {
  const Codec codec;
  EXPECT_EQ(quench_image_codec_qualities(codec), SampleCodec::kQualities);
  for (const auto& [width, height] : {std::pair{1u, 1u}, {8u, 8u}, {70u, 33u}, {200u, 150u}}) {
    Picture picture = scene(width, height, QUENCH_IMAGE_RGB8, 5), decoded(width, height, QUENCH_IMAGE_RGB8, 3);
    const Bytes file = codec.encode(picture, 4);
    quench_image_info info;
    ASSERT_EQ(quench_image_read_info(file.data(), file.size(), &info, nullptr), QUENCH_OK);
    EXPECT_EQ(info.width, width);
    EXPECT_EQ(info.height, height);
    EXPECT_EQ(info.quality, 4);
    EXPECT_EQ(info.has_alpha, 0);
    EXPECT_EQ(info.is_grey, 0);
    EXPECT_EQ(info.codec, quench_image_codec_identity(codec));
    quench_status status = QUENCH_STATUS_INIT;
    ASSERT_EQ(codec.decode(file, decoded, &status), QUENCH_OK) << status.message;
    EXPECT_GT(psnr(picture, decoded), 24);
    if (width == 200) {
      const Bytes coarse = codec.encode(picture, 1);
      EXPECT_LT(coarse.size(), file.size());
      Picture worse(width, height, QUENCH_IMAGE_RGB8);
      ASSERT_EQ(codec.decode(coarse, worse), QUENCH_OK);
      EXPECT_LT(psnr(picture, worse), psnr(picture, decoded));
    }
    // Nothing between the rows is touched.
    for (uint32_t y = 0; y < height; ++y) {
      for (size_t i = 0; i < 3; ++i) EXPECT_EQ(decoded.data[y * decoded.row_bytes + width * 3 + i], 0xee);
    }
  }
}

Bytes read_file(const char* name) {
  std::ifstream file(std::string(QUENCH_SOURCE_DIR "/") + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

// What the bundled codec makes of a bundled picture, and the pixels of that, on x86-64 with AVX2:
//
//     quench codec encode examples/pictures/ship.png -o ship.qim --codec examples/models/photo --quality 8
//     quench codec decode ship.qim -o ship.png --codec examples/models/photo
//     python3 -c "from PIL import Image; open('ship.rgb', 'wb').write(Image.open('ship.png').tobytes())"
TEST(ImageApi, PixelsDifferByALevelAtMostBetweenMachines) {
  SampleCodec photo;
  for (const uint8_t byte : read_file("examples/models/photo.encoder.quench")) photo.encoder.push_back(std::byte{byte});
  for (const uint8_t byte : read_file("examples/models/photo.decoder.quench")) photo.decoder.push_back(std::byte{byte});
  const Codec codec(nullptr, photo);
  const Bytes expected = read_file("tests/runtime/image/golden/ship.rgb");
  Picture decoded(32, 32, QUENCH_IMAGE_RGB8);
  quench_status status = QUENCH_STATUS_INIT;
  ASSERT_EQ(codec.decode(read_file("tests/runtime/image/golden/ship.qim"), decoded, &status), QUENCH_OK)
      << status.message;
  ASSERT_EQ(expected.size(), decoded.data.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_LE(std::abs(decoded.data[i] - expected[i]), 1) << i;
}

TEST(ImageApi, AlphaIsKept) {
  const Codec codec;
  Picture picture = scene(100, 90, QUENCH_IMAGE_RGBA8, 1), decoded(100, 90, QUENCH_IMAGE_RGBA8);
  const Bytes file = codec.encode(picture, 3);
  ASSERT_EQ(codec.decode(file, decoded), QUENCH_OK);
  for (uint32_t y = 0; y < 90; ++y) {
    for (uint32_t x = 0; x < 100; ++x) EXPECT_EQ(decoded.at(x, y, 3), picture.at(x, y, 3));
  }
  Picture without(100, 90, QUENCH_IMAGE_RGB8);
  ASSERT_EQ(codec.decode(file, without), QUENCH_OK);
  EXPECT_EQ(without.at(50, 40, 1), decoded.at(50, 40, 1));

  // All opaque: not a byte more than without alpha.
  Picture opaque = picture, plain(100, 90, QUENCH_IMAGE_RGB8);
  for (uint32_t y = 0; y < 90; ++y) {
    for (uint32_t x = 0; x < 100; ++x) {
      opaque.at(x, y, 3) = 255;
      for (int sample = 0; sample < 3; ++sample) plain.at(x, y, sample) = picture.at(x, y, sample);
    }
  }
  EXPECT_EQ(codec.encode(opaque, 3), codec.encode(plain, 3));
  EXPECT_LT(codec.encode(plain, 3).size(), file.size());
  // And back as RGBA, opaque.
  ASSERT_EQ(codec.decode(codec.encode(plain, 3), decoded), QUENCH_OK);
  EXPECT_EQ(decoded.at(1, 1, 3), 255);
}

TEST(ImageApi, GreyStaysGrey) {
  const Codec codec;
  Picture picture = scene(60, 50, QUENCH_IMAGE_GREY8), decoded(60, 50, QUENCH_IMAGE_GREY8);
  const Bytes file = codec.encode(picture, 4);
  ASSERT_EQ(codec.decode(file, decoded), QUENCH_OK);
  EXPECT_GT(psnr(picture, decoded), 26);
  Picture colour(60, 50, QUENCH_IMAGE_RGB8);
  ASSERT_EQ(codec.decode(file, colour), QUENCH_OK);
  for (uint32_t x = 0; x < 60; ++x) {
    for (int sample = 0; sample < 3; ++sample) EXPECT_EQ(colour.at(x, 7, sample), decoded.at(x, 7, 0));
  }
  // An image in colours is not made grey.
  Picture other = scene(60, 50, QUENCH_IMAGE_RGB8);
  EXPECT_EQ(codec.decode(codec.encode(other, 2), decoded), QUENCH_INVALID_ARGUMENT);
}

// 1500 x 1500 pixels are 188 x 188 latents: several windows both ways, and four tiles.
TEST(ImageApi, WindowsGiveWhatTheWholeWouldGive) {
  quench_image_options whole = {}, small = {};
  whole.size = small.size = sizeof whole;
  small.max_network_bytes = 6 << 20;
  const Codec in_large_windows(&whole), in_small_ones(&small);
  Picture picture = scene(1500, 1500, QUENCH_IMAGE_RGB8);
  const Bytes file = in_large_windows.encode(picture, 2.5f);
  EXPECT_EQ(in_small_ones.encode(picture, 2.5f), file);
  Picture one(1500, 1500, QUENCH_IMAGE_RGB8), other = one;
  ASSERT_EQ(in_large_windows.decode(file, one), QUENCH_OK);
  ASSERT_EQ(in_small_ones.decode(file, other), QUENCH_OK);
  EXPECT_LE(largest_difference(one, other), 1);
  EXPECT_GT(psnr(picture, one), 20);
  EXPECT_LT(quench_image_codec_peak_bytes(in_small_ones), quench_image_codec_peak_bytes(in_large_windows));
  EXPECT_LT(quench_image_codec_peak_bytes(in_small_ones), 16u << 20);
}

TEST(ImageApi, ThreadsChangeNothing) {
  quench_image_options two = {};
  two.size = sizeof two;
  two.threads = 2;
  const Codec codec, threaded(&two);
  Picture picture = scene(300, 200, QUENCH_IMAGE_RGB8);
  const Bytes file = codec.encode(picture, 3);
  EXPECT_EQ(threaded.encode(picture, 3), file);
  Picture one(300, 200, QUENCH_IMAGE_RGB8), other = one;
  ASSERT_EQ(codec.decode(file, one), QUENCH_OK);
  ASSERT_EQ(threaded.decode(file, other), QUENCH_OK);
  EXPECT_EQ(one.data, other.data);
}

TEST(ImageApi, WindowsCoverEachSideOnce) {
  for (const uint32_t most : {32u, 48u, 144u}) {
    for (uint32_t latents = 1; latents < 700; ++latents) {
      const Windows windows(latents, most);
      ASSERT_LE(windows.size(), std::min(most, latents));
      uint32_t next = 0;
      for (uint32_t i = 0; i < windows.count(); ++i) {
        const Window window = windows[i];
        ASSERT_EQ(window.core_begin, next);
        ASSERT_GT(window.core_end, window.core_begin);
        next = window.core_end;
        ASSERT_LE(window.begin + windows.size(), latents);
        // A halo on each side that is not the image's.
        ASSERT_LE(window.begin + (window.begin > 0 ? kHalo : 0), window.core_begin);
        ASSERT_GE(window.begin + windows.size(),
                  window.core_end + (window.begin + windows.size() < latents ? kHalo : 0));
      }
      ASSERT_EQ(next, latents);
    }
  }
}

TEST(ImageApi, RefusesWhatDoesNotFit) {
  const Codec codec;
  Picture picture = scene(40, 30, QUENCH_IMAGE_RGB8);
  const Bytes file = codec.encode(picture, 2);
  quench_status status = QUENCH_STATUS_INIT;
  void* out = nullptr;
  size_t size = 0;
  quench_image_pixels pixels = picture.pixels();
  const auto encode = [&](float quality) { return quench_image_encode(codec, &pixels, quality, &out, &size, &status); };
  EXPECT_EQ(encode(0.5f), QUENCH_INVALID_ARGUMENT);
  EXPECT_STREQ(status.message, "quality 0.5: this codec has 1 to 4");
  EXPECT_EQ(encode(4.1f), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(encode(NAN), QUENCH_INVALID_ARGUMENT);
  pixels.row_bytes = 119;
  EXPECT_EQ(encode(2), QUENCH_INVALID_ARGUMENT);
  pixels = picture.pixels();
  pixels.format = static_cast<quench_image_format>(2);
  EXPECT_EQ(encode(2), QUENCH_INVALID_ARGUMENT);
  pixels = picture.pixels();
  pixels.width = 0;
  EXPECT_EQ(encode(2), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(out, nullptr);

  Picture small(39, 30, QUENCH_IMAGE_RGB8);
  EXPECT_EQ(codec.decode(file, small, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_STREQ(status.message, "the image has 40 x 30 pixels, and there is room for 39 x 30");
  EXPECT_EQ(quench_image_decode(codec, file.data(), file.size(), nullptr, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_image_decode(nullptr, file.data(), file.size(), nullptr, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_image_read_info(nullptr, 0, nullptr, &status), QUENCH_INVALID_ARGUMENT);

  const SampleCodec other = make_sample_codec(6);
  const Codec another(nullptr, other);
  EXPECT_EQ(another.decode(file, picture, &status), QUENCH_NOT_FOUND);
  quench_image_codec* made = nullptr;
  EXPECT_EQ(quench_image_codec_open(sample_codec().encoder.data(), sample_codec().encoder.size(), other.decoder.data(),
                                    other.decoder.size(), nullptr, &made, &status),
            QUENCH_INVALID_ARGUMENT);
  EXPECT_STREQ(status.message, "the encoder and the decoder are not of one codec");
  EXPECT_EQ(made, nullptr);
  EXPECT_EQ(quench_image_codec_open(nullptr, 0, nullptr, 0, nullptr, &made, &status), QUENCH_INVALID_ARGUMENT);
  // The decoder is no encoder.
  EXPECT_EQ(quench_image_codec_open(other.decoder.data(), other.decoder.size(), nullptr, 0, nullptr, &made, &status),
            QUENCH_INVALID_ARGUMENT);
  EXPECT_STREQ(status.message, "the encoder has no input 'image': this is no codec of images");
}

TEST(ImageApi, OneSideIsEnough) {
  quench_image_codec* codec = nullptr;
  const SampleCodec& files = sample_codec();
  Picture picture = scene(30, 30, QUENCH_IMAGE_RGB8);
  const Bytes file = Codec().encode(picture, 2);
  const quench_image_pixels pixels = picture.pixels();
  void* out = nullptr;
  size_t size = 0;
  ASSERT_EQ(quench_image_codec_open(nullptr, 0, files.decoder.data(), files.decoder.size(), nullptr, &codec, nullptr),
            QUENCH_OK);
  EXPECT_EQ(quench_image_decode(codec, file.data(), file.size(), &pixels, nullptr), QUENCH_OK);
  EXPECT_EQ(quench_image_encode(codec, &pixels, 2, &out, &size, nullptr), QUENCH_NOT_READY);
  quench_image_codec_release(codec);
  ASSERT_EQ(quench_image_codec_open(files.encoder.data(), files.encoder.size(), nullptr, 0, nullptr, &codec, nullptr),
            QUENCH_OK);
  EXPECT_EQ(quench_image_encode(codec, &pixels, 2, &out, &size, nullptr), QUENCH_OK);
  EXPECT_EQ(quench_image_decode(codec, file.data(), file.size(), &pixels, nullptr), QUENCH_NOT_READY);
  quench_image_free(codec, out, size);
  quench_image_free(codec, nullptr, 0);
  quench_image_codec_release(codec);
  quench_image_codec_release(nullptr);
}

TEST(ImageApi, DamageIsAnErrorOrAPicture) {
  const Codec codec;
  Random random(1);
  Picture picture = scene(60, 40, QUENCH_IMAGE_RGBA8), decoded(60, 40, QUENCH_IMAGE_RGBA8);
  const Bytes file = codec.encode(picture, 2);
  int pictures = 0;
  for (int flip = 0; flip < 3000; ++flip) {
    Bytes damaged = file;
    damaged[random.below(static_cast<uint32_t>(file.size()))] ^= static_cast<uint8_t>(1u << random.below(8));
    quench_status status = QUENCH_STATUS_INIT;
    if (flip % 4 == 0) {
      EXPECT_NE(codec.decode(damaged, decoded, &status), QUENCH_OK);
      EXPECT_NE(status.message[0], '\0');
      continue;
    }
    fix_checksum(damaged);
    pictures += codec.decode(damaged, decoded, &status) == QUENCH_OK ? 1 : 0;
  }
  EXPECT_GT(pictures, 0);
}

// Fails each allocation in turn: an error each time, nothing leaks (AddressSanitizer), and the last time it works.
TEST(ImageApi, MemoryMayRunOut) {
  struct Limited {
    int left;
    int blocks = 0;
  } limited{0};
  quench_image_options options = {};
  options.size = sizeof options;
  options.allocator = {[](void* user, size_t bytes, size_t alignment) -> void* {
                         auto& self = *static_cast<Limited*>(user);
                         if (self.left-- <= 0) return nullptr;
                         ++self.blocks;
                         return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
                       },
                       [](void* user, void* block, size_t) {
                         --static_cast<Limited*>(user)->blocks;
                         std::free(block);
                       },
                       &limited};
  Picture picture = scene(40, 40, QUENCH_IMAGE_RGBA8);
  const quench_image_pixels pixels = picture.pixels();
  const SampleCodec& files = sample_codec();
  bool worked = false;
  for (int allocations = 0; allocations < 2000 && !worked; ++allocations) {
    limited.left = allocations;
    quench_image_codec* codec = nullptr;
    void* file = nullptr;
    size_t size = 0;
    quench_status status = QUENCH_STATUS_INIT;
    worked = quench_image_codec_open(files.encoder.data(), files.encoder.size(), files.decoder.data(),
                                     files.decoder.size(), &options, &codec, &status) == QUENCH_OK &&
             quench_image_encode(codec, &pixels, 2, &file, &size, &status) == QUENCH_OK &&
             quench_image_decode(codec, file, size, &pixels, &status) == QUENCH_OK;
    if (!worked) {
      EXPECT_EQ(status.code, QUENCH_OUT_OF_MEMORY) << status.message;
    }
    quench_image_free(codec, file, size);
    quench_image_codec_release(codec);
    EXPECT_EQ(limited.blocks, 0);
  }
  EXPECT_TRUE(worked);
}

#if defined(QUENCH_DECODE_IMAGE)
void write_bytes(const std::string& path, const void* bytes, size_t size) {
  std::ofstream(path, std::ios::binary).write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
}

TEST(ImageApi, TheExampleDecodes) {
  const std::string folder = ::testing::TempDir() + "decode_image_test." + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  write_bytes(folder + "/decoder.quench", sample_codec().decoder.data(), sample_codec().decoder.size());
  const Codec codec;
  const auto decode = [&] {
    const std::string command = std::string(QUENCH_DECODE_IMAGE) + " " + folder + "/decoder.quench " + folder +
                                "/in.qim " + folder + "/out.ppm 2> " + folder + "/errors";
    return std::system(command.c_str());
  };
  for (const quench_image_format format : {QUENCH_IMAGE_RGB8, QUENCH_IMAGE_GREY8}) {
    Picture picture = scene(75, 40, format), expected(75, 40, format);
    const Bytes file = codec.encode(picture, 3);
    ASSERT_EQ(codec.decode(file, expected), QUENCH_OK);
    write_bytes(folder + "/in.qim", file.data(), file.size());
    ASSERT_EQ(decode(), 0);
    std::ifstream out(folder + "/out.ppm", std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(out)), {});
    EXPECT_EQ(bytes, (format == QUENCH_IMAGE_RGB8 ? "P6\n75 40\n255\n" : "P5\n75 40\n255\n") +
                         std::string(expected.data.begin(), expected.data.end()));
  }
  write_bytes(folder + "/in.qim", "no such file", 12);
  EXPECT_NE(decode(), 0);
  std::ifstream errors(folder + "/errors");
  EXPECT_EQ(std::string((std::istreambuf_iterator<char>(errors)), {}), folder + "/in.qim: this is not a .qim file\n");
  std::filesystem::remove_all(folder);
}
#endif

}  // namespace
}  // namespace quench::image::testing
