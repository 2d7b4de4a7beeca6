#include "formats/container/layout.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "formats/base/crc32c.h"
#include "formats/base/float16.h"
#include "formats/container/planes.h"
#include "tests/formats/container/sample_file.h"

namespace quench::container {
namespace {

// Reference values: RFC 3720, appendix B.4, and the check value of CRC-32C.
TEST(Crc32c, MatchesTheStandardsValues) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c(FileBytes(32, std::byte{0})), 0x8A9136AAu);
  EXPECT_EQ(crc32c(FileBytes(32, std::byte{0xFF})), 0x62A8AB43u);
  FileBytes ascending(32);
  for (size_t i = 0; i < 32; ++i) ascending[i] = static_cast<std::byte>(i);
  EXPECT_EQ(crc32c(ascending), 0x46DD794Eu);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Crc32c, ContinuesAtAnyPlaceAndAgreesWithBitwiseDivision) {
  std::mt19937 random(2);
  FileBytes bytes(77);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  uint32_t bitwise = ~0u;
  for (const std::byte byte : bytes) {
    bitwise ^= static_cast<uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) bitwise = (bitwise >> 1) ^ ((bitwise & 1) != 0 ? 0x82F63B78u : 0u);
  }
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const auto all = std::span(std::as_const(bytes));
    EXPECT_EQ(crc32c(all.subspan(cut), crc32c(all.first(cut))), ~bitwise) << cut;
  }
}

TEST(Float16, WidensEveryValueExactlyAndNarrowsItBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = float32_from_float16(static_cast<uint16_t>(bits));
    const uint32_t exponent = (bits >> 10) & 31;
    const double mantissa = bits & 1023;
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(value), mantissa != 0);
      EXPECT_EQ(std::isinf(value), mantissa == 0);
    } else {
      const double magnitude =
          exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, static_cast<int>(exponent) - 25);
      EXPECT_EQ(value, (bits >> 15) != 0 ? -magnitude : magnitude);
    }
    EXPECT_EQ(std::signbit(value), bits >> 15 != 0);
    const uint32_t quiet = std::isnan(value) ? 0x200 : 0;
    EXPECT_EQ(float16_from_float32(value), bits | quiet);
  }
}

TEST(Float16, RoundsToNearestEven) {
  // Around the middle between each two neighbours, up to the overflow to infinity.
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const double low = float32_from_float16(static_cast<uint16_t>(bits));
    const double high = bits == 0x7BFF ? 65536.0 : float32_from_float16(static_cast<uint16_t>(bits + 1));
    const float middle = static_cast<float>((low + high) / 2);  // exact in float32
    EXPECT_EQ(float16_from_float32(middle), bits + (bits & 1));
    EXPECT_EQ(float16_from_float32(std::nextafter(middle, 0.0f)), bits);
    EXPECT_EQ(float16_from_float32(std::nextafter(middle, 1e9f)), bits + 1);
    EXPECT_EQ(float16_from_float32(-middle), 0x8000 | (bits + (bits & 1)));
  }
}

TEST(Bfloat16, RoundsToNearestEvenAndKeepsNan) {
  for (uint32_t bits = 0; bits < 0x7F80; ++bits) {
    const float low = float32_from_bfloat16(static_cast<uint16_t>(bits));
    const float middle = std::bit_cast<float>((bits << 16) | 0x8000);
    EXPECT_EQ(bfloat16_from_float32(low), bits);
    EXPECT_EQ(bfloat16_from_float32(middle), bits + (bits & 1));
    EXPECT_EQ(bfloat16_from_float32(std::bit_cast<float>(std::bit_cast<uint32_t>(middle) - 1)), bits);
    EXPECT_EQ(bfloat16_from_float32(std::bit_cast<float>(std::bit_cast<uint32_t>(middle) + 1)), bits + 1);
  }
  EXPECT_TRUE(std::isnan(float32_from_bfloat16(bfloat16_from_float32(std::bit_cast<float>(0x7F800001u)))));
}

TEST(Conversion, RefusesOtherTypesAndSizes) {
  const std::vector<float> values(3);
  FileBytes out(6);
  EXPECT_TRUE(convert_from_float32(values, ElementType::kFloat16, out).ok());
  EXPECT_EQ(convert_from_float32(values, ElementType::kFloat32, out).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(convert_from_float32(values, ElementType::kInt16, out).code(), StatusCode::kUnsupportedType);
}

TEST(Scale, FollowsTheLogarithmicGrid) {
  for (const float largest : {1.0f, 0.37f, 123.456f, 1e-20f, 3e30f}) {
    for (int code = 0; code < 256; ++code) {
      const float scale = coded::scale_from_code(largest, static_cast<uint8_t>(code));
      const double exact = static_cast<double>(largest) * std::exp2(-code / 16.0);
      EXPECT_NEAR(scale / exact, 1, 1.3e-7) << largest << " " << code;
      EXPECT_EQ(coded::code_from_scale(largest, scale), code);
    }
    EXPECT_EQ(coded::scale_from_code(largest, 0), largest);
    EXPECT_EQ(coded::code_from_scale(largest, largest * 2), 0);
    EXPECT_EQ(coded::code_from_scale(largest, 0), 255);
    EXPECT_EQ(coded::code_from_scale(largest, -1), 255);
    EXPECT_EQ(coded::code_from_scale(largest, std::nanf("")), 255);
  }
}

// Fixed bits: the grid is part of the format, and must be the same on any machine.
TEST(Scale, HasTheSameBitsEverywhere) {
  EXPECT_EQ(std::bit_cast<uint32_t>(coded::scale_from_code(1.0f, 1)), 0x3F75257Du);
  EXPECT_EQ(std::bit_cast<uint32_t>(coded::scale_from_code(1.0f, 8)), 0x3F3504F3u);
  EXPECT_EQ(std::bit_cast<uint32_t>(coded::scale_from_code(1.0f, 255)), 0x3785AAC3u);
  EXPECT_EQ(std::bit_cast<uint32_t>(coded::scale_from_code(0.1f, 37)), 0x3CA4EA0Au);
}

TEST(Planes, SeparateExponentFromSignAndMantissa) {
  const std::vector<float> values = {1.0f, -1.0f, 1.5f};
  FileBytes planes(12);
  split_planes(std::as_bytes(std::span(values)), unit_layout(ElementType::kFloat32, false), planes);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(planes[i], std::byte{127});
  EXPECT_EQ(planes[9], std::byte{0});
  EXPECT_EQ(planes[10], std::byte{1});
  EXPECT_EQ(planes[5], std::byte{0x80});
}

TEST(ElementBytes, CoversAllTypes) {
  EXPECT_EQ(element_bytes(ElementType::kInt4, 5), 3u);
  EXPECT_EQ(element_bytes(ElementType::kBool, 5), 5u);
  EXPECT_EQ(element_bytes(ElementType::kBfloat16, 5), 10u);
  EXPECT_EQ(element_bytes(ElementType::kComplex128, 5), 80u);
  EXPECT_EQ(element_bits(static_cast<ElementType>(8)), 0u);  // string
  EXPECT_EQ(element_bits(static_cast<ElementType>(0)), 0u);
  EXPECT_EQ(element_bits(static_cast<ElementType>(200)), 0u);
}

}  // namespace
}  // namespace quench::container
