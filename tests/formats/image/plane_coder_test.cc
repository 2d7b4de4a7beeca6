// The coder of opacity planes: what comes back, and what it costs.
#include <gtest/gtest.h>

#include "formats/image/plane_decoder.h"
#include "formats/image/plane_encoder.h"
#include "tests/formats/image/sample_file.h"

namespace quench::image::testing {
namespace {

using Bytes = std::vector<uint8_t>;

size_t expect_round_trip(const Bytes& plane, uint32_t height, uint32_t width) {
  VectorSink sink;
  EXPECT_TRUE(encode_plane({plane.data(), height, width, 1, width}, sink).ok());
  Bytes decoded(plane.size(), 7);
  const Status status = decode_plane(sink.bytes(), {decoded.data(), height, width, 1, width});
  EXPECT_TRUE(status.ok()) << status.detail();
  EXPECT_EQ(decoded, plane);
  return sink.size;
}

TEST(PlaneCoder, EverythingComesBack) {
  for (const auto& [height, width] : {std::pair{1u, 1u}, {1u, 50u}, {50u, 1u}, {33u, 47u}}) {
    const size_t pixels = size_t{height} * width;
    expect_round_trip(random_bytes(pixels, 256, 1), height, width);
    expect_round_trip(random_bytes(pixels, 2, 2), height, width);
    expect_round_trip(Bytes(pixels, 0), height, width);
    expect_round_trip(disc({0, 0, height, width}, width, height), height, width);
  }
}

TEST(PlaneCoder, MasksAreSmall) {
  constexpr uint32_t kSide = 512;
  EXPECT_LE(expect_round_trip(Bytes(kSide * kSide, 255), kSide, kSide), 140u);
  EXPECT_LE(expect_round_trip(Bytes(kSide * kSide, 0), kSide, kSide), 140u);
  EXPECT_LE(expect_round_trip(disc({0, 0, kSide, kSide}, kSide, kSide), kSide, kSide), 4000u);
  Bytes ramp(kSide * kSide);
  for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<uint8_t>((i % kSide + i / kSide) / 4);
  EXPECT_LE(expect_round_trip(ramp, kSide, kSide), kSide * kSide / 16);
}

TEST(PlaneCoder, WorksInPlaceOfOneOfFourChannels) {
  constexpr uint32_t kHeight = 9, kWidth = 14, kRow = kWidth * 4 + 5;
  const Bytes pixels = random_bytes(kHeight * kRow, 3, 4);
  VectorSink sink;
  ASSERT_TRUE(encode_plane({pixels.data() + 3, kHeight, kWidth, 4, kRow}, sink).ok());
  Bytes decoded(pixels.size(), 9);
  ASSERT_TRUE(decode_plane(sink.bytes(), {decoded.data() + 3, kHeight, kWidth, 4, kRow}).ok());
  for (size_t i = 0; i < pixels.size(); ++i) {
    const bool is_alpha = i % kRow < kWidth * 4 && i % kRow % 4 == 3;
    EXPECT_EQ(decoded[i], is_alpha ? pixels[i] : 9);
  }
}

TEST(PlaneCoder, DamageIsAnErrorOrAnotherPlane) {
  const Bytes plane = disc({0, 0, 40, 40}, 40, 40);
  VectorSink sink;
  ASSERT_TRUE(encode_plane({plane.data(), 40, 40, 1, 40}, sink).ok());
  const Bytes coded = sink.bytes();
  Bytes decoded(plane.size());
  for (size_t bit = 0; bit < coded.size() * 8; ++bit) {
    Bytes damaged = coded;
    damaged[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    if (decode_plane(damaged, {decoded.data(), 40, 40, 1, 40}).ok()) {
      EXPECT_NE(decoded, plane);
    }
  }
  EXPECT_EQ(decode_plane({}, {decoded.data(), 0, 0, 1, 0}).code(), StatusCode::kOk);
}

TEST(PlaneCoder, SaysWhenTheSinkIsFull) {
  const Bytes plane = random_bytes(10000, 256, 5);
  for (const size_t most : {size_t{0}, size_t{4096}}) {
    VectorSink sink(most);
    EXPECT_EQ(encode_plane({plane.data(), 100, 100, 1, 100}, sink).code(), StatusCode::kOutOfMemory);
  }
}

}  // namespace
}  // namespace quench::image::testing
