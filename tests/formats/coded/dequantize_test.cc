#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "formats/base/float16.h"
#include "formats/coded/tensor.h"

namespace quench::coded {
namespace {

constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kFloat16, ElementType::kBfloat16,
                                  ElementType::kFloat64};

float rounded(float value, ElementType type) {
  if (type == ElementType::kFloat16) return float32_from_float16(float16_from_float32(value));
  if (type == ElementType::kBfloat16) return float32_from_bfloat16(bfloat16_from_float32(value));
  return value;
}

struct Sample {
  Tensor tensor;
  Codebook codebook;
  std::vector<float> centers;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> indices;
  std::vector<float> values;  // by the definition
};

Sample draw(std::mt19937& random, ElementType type, uint32_t dimension, ScaleKind kind) {
  Sample sample;
  std::normal_distribution<float> normal;
  for (uint32_t i = 0; i < 20 * dimension; ++i) sample.centers.push_back(normal(random));
  sample.codebook = {CodebookKind::kTableFloat32, 20, dimension, 3, 0, {}};
  const uint64_t channels = 6, inner = 10;
  sample.tensor.type = type;
  sample.tensor.element_count = channels * inner * 4;
  for (uint64_t i = 0; i < sample.tensor.element_count / dimension; ++i) {
    sample.indices.push_back(static_cast<uint16_t>(random() % 20));
  }
  for (uint64_t c = 0; c < channels; ++c) sample.codes.push_back(static_cast<uint8_t>(random() % 256));
  sample.tensor.scales = {kind, channels, inner, 1.7f, {}, {}};
  if (kind != ScaleKind::kChannel) sample.tensor.scales = {kind, 1, sample.tensor.element_count, 1.7f, {}, {}};
  for (uint64_t e = 0; e < sample.tensor.element_count; ++e) {
    const float scale = kind == ScaleKind::kNone     ? 1.0f
                        : kind == ScaleKind::kTensor ? 1.7f
                                                     : scale_from_code(1.7f, sample.codes[e / inner % channels]);
    sample.values.push_back(
        rounded(scale * sample.centers[sample.indices[e / dimension] * dimension + e % dimension], type));
  }
  return sample;
}

// Any piece, from indices of either width that begin anywhere before it.
TEST(Dequantize, IsScaleTimesCenterRoundedToTheDeclaredType) {
  std::mt19937 random(3);
  for (const ElementType type : kTypes) {
    for (const uint32_t dimension : {1, 2, 8}) {
      for (const auto kind : {ScaleKind::kNone, ScaleKind::kTensor, ScaleKind::kChannel}) {
        Sample sample = draw(random, type, dimension, kind);
        sample.codebook.centers = sample.centers;
        if (kind == ScaleKind::kChannel) sample.tensor.scales.codes = sample.codes;
        const std::vector<uint8_t> narrow(sample.indices.begin(), sample.indices.end());
        for (int piece = 0; piece < 30; ++piece) {
          const uint64_t first = random() % sample.values.size();
          const uint64_t first_index = random() % (first / dimension + 1);
          std::vector<float> out(1 + random() % (sample.values.size() - first)), other(out.size());
          const std::span<const uint16_t> wide = sample.indices;
          dequantize(sample.tensor, sample.codebook, wide.subspan(first_index), first_index, first, out);
          dequantize(sample.tensor, sample.codebook, std::span(narrow).subspan(first_index), first_index, first, other);
          const std::vector<float> expected(sample.values.begin() + static_cast<std::ptrdiff_t>(first),
                                            sample.values.begin() + static_cast<std::ptrdiff_t>(first + out.size()));
          ASSERT_EQ(out, expected);
          ASSERT_EQ(other, expected);
        }
      }
    }
  }
}

TEST(Dequantize, AUniformCodebookNeedsNoTable) {
  Tensor tensor;
  tensor.scales = {ScaleKind::kTensor, 1, 5, 0.3f, {}, {}};
  Codebook codebook{CodebookKind::kUniform, 9, 1, 4, 0.7f, {}};
  const std::vector<uint16_t> indices = {0, 8, 4, 5, 3};
  std::vector<float> computed(5), looked_up(5), centers(9);
  dequantize(tensor, codebook, indices, 0, 0, computed);
  for (uint32_t j = 0; j < 9; ++j) centers[j] = uniform_center(0.7f, 4, j);
  codebook.centers = centers;
  dequantize(tensor, codebook, indices, 0, 0, looked_up);
  EXPECT_EQ(computed, looked_up);
  EXPECT_EQ(computed[2], 0.0f);
}

TEST(Scales, CodesAreSixteenthsOfOctaves) {
  for (int code = 0; code < 256; ++code) {
    const float scale = scale_from_code(3.5f, static_cast<uint8_t>(code));
    EXPECT_FLOAT_EQ(scale, 3.5f * std::exp2(-static_cast<float>(code) / 16));
    EXPECT_EQ(code_from_scale(3.5f, scale), code);
  }
}

}  // namespace
}  // namespace quench::coded
