// The .qim file: what comes back, what is refused, and its bytes.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "formats/image/prior_fitter.h"
#include "tests/formats/image/sample_file.h"

namespace quench::image::testing {
namespace {

using Bytes = std::vector<uint8_t>;

ImageHeader header_of(uint32_t width, uint32_t height, bool has_alpha = false) {
  ImageHeader header;
  header.width = width;
  header.height = height;
  header.quality = 3 * kQualityUnit + 77;
  header.has_alpha = has_alpha;
  header.channels = 4;
  header.levels = 7;
  header.zero = 3;
  return header;
}

StatusCode code_of(const Bytes& file) { return Reader::open(file).status().code(); }

TEST(QimFile, EverythingComesBack) {
  const std::pair<uint32_t, uint32_t> sizes[] = {{1, 1},     {8, 8},       {9, 7},    {63, 41},
                                                 {1024, 16}, {1025, 1033}, {20, 3000}};
  for (const auto& [width, height] : sizes) {
    for (const bool has_alpha : {false, true}) {
      SCOPED_TRACE(::testing::Message() << width << " x " << height << (has_alpha ? " with alpha" : ""));
      const SampleFile sample = make_file(header_of(width, height, has_alpha), 1);
      const Result<Reader> reader = Reader::open(sample.bytes);
      ASSERT_TRUE(reader.ok()) << reader.status().detail();
      const ImageHeader& header = reader->header();
      EXPECT_EQ(header.width, width);
      EXPECT_EQ(header.height, height);
      EXPECT_EQ(header.quality, sample.header.quality);
      EXPECT_EQ(header.has_alpha, has_alpha);
      EXPECT_EQ(header.is_grey, false);
      EXPECT_EQ(header.channels, 4u);
      EXPECT_EQ(header.levels, 7u);
      EXPECT_EQ(header.zero, 3u);
      EXPECT_EQ(header.codec, sample.header.codec);
      std::vector<Bytes> indices, alpha;
      const Status status = decode_all(sample.bytes, sample.prior, &indices, &alpha);
      EXPECT_TRUE(status.ok()) << status.detail();
      EXPECT_EQ(indices, sample.indices);
      EXPECT_EQ(alpha, sample.alpha);
      EXPECT_EQ(alpha.empty(), !has_alpha);
      EXPECT_LE(sample.bytes.size() - reader->index_bytes() - reader->alpha_bytes(), 24u + 3 * header.tiles() * 2);
    }
  }
}

TEST(QimFile, GreyIsAFlag) {
  ImageHeader header = header_of(30, 20);
  header.is_grey = true;
  EXPECT_TRUE(Reader::open(make_file(header, 2).bytes)->header().is_grey);
}

TEST(QimFile, EveryPrefixIsAnError) {
  const SampleFile sample = make_file(header_of(100, 60, true), 3);
  for (size_t size = 0; size < sample.bytes.size(); ++size) {
    Bytes prefix(sample.bytes.begin(), sample.bytes.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_NE(code_of(prefix), StatusCode::kOk) << size;
    fix_checksum(prefix);
    EXPECT_NE(code_of(prefix), StatusCode::kOk) << size;
  }
  Bytes longer = sample.bytes;
  longer.push_back(0);
  EXPECT_EQ(code_of(longer), StatusCode::kCorrupt);
}

TEST(QimFile, EveryFlipIsAnError) {
  const SampleFile sample = make_file(header_of(100, 60, true), 4);
  for (size_t bit = 0; bit < sample.bytes.size() * 8; ++bit) {
    Bytes damaged = sample.bytes;
    damaged[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    EXPECT_NE(code_of(damaged), StatusCode::kOk) << bit;
  }
}

// With a checksum that is right again, what a flip makes is an error or another image.
TEST(QimFile, TenThousandFlipsThatNoChecksumShows) {
  Random random(5);
  const SampleFile sample = make_file(header_of(120, 70, true), 5);
  int refused = 0;
  for (int flip = 0; flip < 10000; ++flip) {
    Bytes damaged = sample.bytes;
    // Half of them in the header and the lengths.
    const uint32_t within = flip % 2 == 0 ? 24 : static_cast<uint32_t>(damaged.size());
    damaged[random.below(within)] ^= static_cast<uint8_t>(1u << random.below(8));
    fix_checksum(damaged);
    // What a header asks for can be large: the test gives memory within reason.
    const Result<Reader> reader = Reader::open(damaged);
    if (!reader.ok()) {
      EXPECT_NE(reader.status().detail()[0], '\0');
      ++refused;
    } else if (uint64_t{reader->header().width} * reader->header().height < 100'000) {
      const Status status = decode_all(damaged, sample.prior);
      EXPECT_NE(status.code(), StatusCode::kInvalidArgument) << status.detail();
      refused += status.ok() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 5000);
}

TEST(QimFile, RefusesWhatItDoesNotKnow) {
  const Bytes good = make_file(header_of(30, 20), 6).bytes;
  const auto with = [&](size_t at, uint8_t byte) {
    Bytes file = good;
    file[at] = byte;
    fix_checksum(file);
    return code_of(file);
  };
  EXPECT_EQ(with(0, 0x88), StatusCode::kBadMagic);
  EXPECT_EQ(with(3, 'N'), StatusCode::kBadMagic);
  EXPECT_EQ(with(4, 2), StatusCode::kUnsupportedVersion);
  EXPECT_EQ(with(5, 4), StatusCode::kUnsupportedFeature);
  EXPECT_EQ(with(6, 0), StatusCode::kCorrupt);     // the width
  EXPECT_EQ(with(7, 0), StatusCode::kCorrupt);     // the height
  EXPECT_EQ(with(11, 1), StatusCode::kCorrupt);    // levels
  EXPECT_EQ(with(11, 132), StatusCode::kCorrupt);  // 128 above zero
  EXPECT_EQ(with(12, 7), StatusCode::kCorrupt);    // the zero
  EXPECT_EQ(with(12, 6), StatusCode::kOk);
}

TEST(QimFile, HasALimitOfPixels) {
  ImageHeader header = header_of(1u << 14, 1u << 14);
  EXPECT_TRUE(check_header(header).ok());
  header.width += 1;
  EXPECT_EQ(check_header(header).code(), StatusCode::kCorrupt);
  header = header_of(kMaxSide, 1);
  EXPECT_TRUE(check_header(header).ok());
  header.width += 1;
  EXPECT_FALSE(check_header(header).ok());
}

TEST(QimFile, WriterWantsAllTilesInOrder) {
  const ImageHeader header = header_of(2000, 10, true);
  VectorSink streams, lengths, file;
  Writer writer(header, streams, lengths);
  const Bytes prior(header.tile_layout(0).prior_size(), 128);
  EXPECT_EQ(writer.finish(file).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(writer.add_indices(1, prior, picture(header.tile_layout(1), 1), index_scratch()).code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(writer.add_indices(0, prior, picture(header.tile_layout(0), 1), index_scratch()).ok());
  EXPECT_TRUE(writer.add_indices(1, prior, picture(header.tile_layout(1), 1), index_scratch()).ok());
  EXPECT_EQ(writer.finish(file).code(), StatusCode::kInvalidArgument);
  const Bytes plane(2000 * 10, 255);
  EXPECT_EQ(writer.add_alpha(0, {plane.data(), 10, 1023, 1, 2000}).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(writer.add_alpha(0, {plane.data(), 10, 1024, 1, 2000}).ok());
  EXPECT_TRUE(writer.add_alpha(1, {plane.data(), 10, 976, 1, 2000}).ok());
  EXPECT_TRUE(writer.finish(file).ok());
}

TEST(QimFile, WriterSaysWhenMemoryIsOut) {
  const ImageHeader header = header_of(200, 200);
  const Bytes prior(header.tile_layout(0).prior_size(), 128), indices = picture(header.tile_layout(0), 1);
  VectorSink full(0), lengths;
  EXPECT_EQ(Writer(header, full, lengths).add_indices(0, prior, indices, index_scratch()).code(),
            StatusCode::kOutOfMemory);
  VectorSink streams, file(0);
  Writer writer(header, streams, lengths);
  EXPECT_TRUE(writer.add_indices(0, prior, indices, index_scratch()).ok());
  EXPECT_EQ(writer.finish(file).code(), StatusCode::kOutOfMemory);
}

TEST(QimFile, CodecsHaveIdentities) {
  const Bytes prior(header_of(1, 1).tile_layout(0).prior_size(), 128);
  const uint32_t one = codec_identity(4, 7, 3, prior);
  EXPECT_EQ(codec_identity(4, 7, 3, prior), one);
  EXPECT_NE(codec_identity(4, 7, 2, prior), one);
  Bytes other = prior;
  other.back() ^= 1;
  EXPECT_NE(codec_identity(4, 7, 3, other), one);
}

// The bytes lie in users' disks, and are the same on every machine: this test runs on 32-bit Arm, too.
TEST(QimFile, WritesWhatItAlwaysWrote) {
  const Bytes file = make_file(header_of(1030, 50, true), 7).bytes;
  EXPECT_EQ(std::make_pair(file.size(), plain_crc32c(std::span(file).first(file.size() - kChecksumSize))),
            (std::pair<size_t, uint32_t>{1124, 3852685169u}));
  const uint8_t head[] = {0x89, 'Q', 'I', 'M', 1, 2, 0x86, 8, 50, 77, 3, 3, 7, 3};
  EXPECT_TRUE(std::equal(std::begin(head), std::end(head), file.begin()));
}

// With a fitted prior, one channel of which has predicted centers.
SampleFile file_to_keep() {
  ImageHeader header = header_of(1050, 50, true);
  header.levels = 11;
  header.zero = 5;
  const IndexLayout layout = header.tile_layout(0);
  PriorFitter fitter(layout.channels, layout.levels, layout.zero);
  for (uint64_t seed = 1; seed < 4; ++seed) {
    fitter.add(layout.height, layout.width, picture(layout, seed));
  }
  Bytes prior = fitter.finish();
  prior[2 * layout.channel_prior() + size_t{kActivities} * (layout.levels - 1) + 2] = 129;
  return make_file(header, 8, prior);
}

// A file that must decode for ever; tests/qim_reader.py finds the same sums. With QUENCH_WRITE_GOLDEN_IMAGE=folder one is
// written there.
TEST(QimFile, KeptFileDecodes) {
  if (const char* folder = std::getenv("QUENCH_WRITE_GOLDEN_IMAGE")) {
    const SampleFile sample = file_to_keep();
    const auto write = [&](const char* name, const Bytes& bytes) {
      std::ofstream(std::string(folder) + "/" + name, std::ios::binary)
          .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    };
    write("v1-sample.prior", sample.prior);
    write("v1-sample.qim", sample.bytes);
  }
  const auto read = [](const char* name) {
    std::ifstream file(std::string(QUENCH_SOURCE_DIR "/tests/formats/image/golden/") + name, std::ios::binary);
    return Bytes((std::istreambuf_iterator<char>(file)), {});
  };
  std::vector<Bytes> indices, alpha;
  const Status status = decode_all(read("v1-sample.qim"), read("v1-sample.prior"), &indices, &alpha);
  ASSERT_TRUE(status.ok()) << status.detail();
  const auto sum = [](const std::vector<Bytes>& tiles) {
    Bytes all;
    for (const Bytes& tile : tiles) all.insert(all.end(), tile.begin(), tile.end());
    return plain_crc32c(all);
  };
  EXPECT_EQ(sum(indices), 0x5a4b9f53u);
  EXPECT_EQ(sum(alpha), 0xd9339b97u);
}

}  // namespace
}  // namespace quench::image::testing
