#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compressor/quantizer/hard_assignment.h"
#include "compressor/quantizer/soft_assignment.h"
#include "formats/base/simd_dispatch.h"
#include "formats/error.h"
#include "tests/compressor/quantizer/distributions.h"

namespace quench::quantizer {
namespace {

Codebook random_codebook(int dimension, size_t size, uint64_t seed) {
  Draw draw(seed);
  std::vector<float> centers(size * static_cast<size_t>(dimension));
  for (float& value : centers) value = static_cast<float>(3 * draw.gaussian());
  std::vector<uint64_t> counts(size);
  for (uint64_t& count : counts) count = 1 + static_cast<uint64_t>(1000 * std::pow(draw.uniform(), 4));
  return make_codebook(dimension, centers, counts);
}

double cost(const Codebook& codebook, size_t index, const float* vector, float beta) {
  double sum = static_cast<double>(beta) * codebook.bits[index];
  for (size_t k = 0; k < static_cast<size_t>(codebook.dimension); ++k) {
    sum += std::pow(static_cast<double>(vector[k]) - codebook.center(index)[k], 2);
  }
  return sum;
}

uint32_t brute_force(const Codebook& codebook, const float* vector, float beta) {
  uint32_t best = 0;
  for (uint32_t j = 1; j < codebook.size(); ++j) {
    if (cost(codebook, j, vector, beta) < cost(codebook, best, vector, beta)) best = j;
  }
  return best;
}

TEST(HardAssigner, FindsTheLeastCostOnTheLineExactly) {
  for (const size_t size : {1, 2, 3, 41, 75, 1000}) {
    for (const float beta : {0.0f, 0.1f, 2.0f, 1000.0f}) {
      const Codebook codebook = random_codebook(1, size, size);
      const HardAssigner assigner(codebook, beta);
      Draw draw(3);
      for (int i = 0; i < 3000; ++i) {
        const float value = static_cast<float>(draw.student(1) * 3);
        ASSERT_EQ(assigner.assign(value), brute_force(codebook, &value, beta)) << size << " " << beta << " " << value;
      }
      for (const float value : codebook.centers) {
        ASSERT_EQ(assigner.assign(value), brute_force(codebook, &value, beta)) << size << " " << beta << " " << value;
      }
    }
  }
}

TEST(HardAssigner, GivesTiesToTheLowerIndex) {
  const Codebook line{1, {-1, 0, 1}, {1, 1, 1}, 1};
  const HardAssigner on_line(line, 0.1f);
  EXPECT_EQ(on_line.assign(-0.5f), 0u);
  EXPECT_EQ(on_line.assign(0.5f), 1u);
  EXPECT_EQ(on_line.assign(std::nextafter(0.5f, 1.0f)), 2u);
  const Codebook twins{1, {2, 2, 2}, {3, 1, 1}, 0};
  EXPECT_EQ(HardAssigner(twins, 0.1f).assign(2.0f), 1u);

  Codebook plane{2, {}, {}, 0};
  for (int j = 0; j < 40; ++j) {
    plane.centers.insert(plane.centers.end(), {1.0f, static_cast<float>(j % 2)});
    plane.bits.push_back(5);
  }
  const float between[] = {1.0f, 0.5f};
  EXPECT_EQ(HardAssigner(plane, 0.1f).assign(between), 0u);
}

TEST(HardAssigner, SurvivesValuesThatAreNoNumbers) {
  const Codebook codebook = random_codebook(1, 20, 5);
  const HardAssigner assigner(codebook, 0.1f);
  EXPECT_EQ(assigner.assign(std::numeric_limits<float>::infinity()), 19u);
  EXPECT_EQ(assigner.assign(-std::numeric_limits<float>::infinity()), 0u);
  EXPECT_LT(assigner.assign(std::numeric_limits<float>::quiet_NaN()), 20u);
}

TEST(HardAssigner, FindsTheLeastCostInSpaceOnEveryTarget) {
  for (const int64_t target : {HWY_SCALAR, HWY_EMU128, HWY_SSE4, HWY_AVX2, HWY_AVX3, HWY_NEON}) {
    const simd::RestrictTargets only(target);
    if (!only.possible()) continue;
    for (const int dimension : {2, 4, 8}) {
      for (const size_t size : {1, 15, 16, 17, 75, 300}) {
        const Codebook codebook = random_codebook(dimension, size, size);
        const size_t width = static_cast<size_t>(dimension);
        Draw draw(4);
        std::vector<float> vectors(500 * width);
        for (float& value : vectors) value = static_cast<float>(3 * draw.gaussian());
        std::vector<uint32_t> indices(500);
        const HardAssigner assigner(codebook, 0.3f);
        assigner.assign_all(vectors, indices, 2);
        for (size_t i = 0; i < indices.size(); ++i) {
          const float* vector = vectors.data() + i * width;
          const double least = cost(codebook, brute_force(codebook, vector, 0.3f), vector, 0.3f);
          ASSERT_LE(cost(codebook, indices[i], vector, 0.3f), least * (1 + 1e-5)) << dimension << " " << size;
          ASSERT_EQ(indices[i], assigner.assign(vector));
        }
      }
    }
  }
}

TEST(HardAssigner, RefusesWhatIsNoCodebook) {
  EXPECT_THROW(HardAssigner(Codebook{}, 0.1f), Error);
  EXPECT_THROW(HardAssigner(Codebook{1, {1, 0}, {1, 1}, 0}, 0.1f), Error);
  EXPECT_THROW(HardAssigner(Codebook{2, {1, 0, 2}, {1, 1}, 0}, 0.1f), Error);
  EXPECT_THROW(HardAssigner(Codebook{1, {0, 1}, {1, INFINITY}, 0}, 0.1f), Error);
  EXPECT_THROW(HardAssigner(Codebook{1, {0, 1}, {1, 1}, 0}, -1.0f), Error);
  std::vector<uint32_t> indices(3);
  const std::vector<float> values(4);
  EXPECT_THROW(HardAssigner(Codebook{2, {0, 1}, {0}, 0}, 0.1f).assign_all(values, indices), Error);
}

TEST(SoftAssignment, FollowsTheFormula) {
  for (const int dimension : {1, 4}) {
    const Codebook codebook = random_codebook(dimension, 30, 2);
    const Eigen::Index width = dimension, count = static_cast<Eigen::Index>(codebook.size());
    Eigen::ArrayXXf centers(count, width);
    Eigen::ArrayXf penalties(count), phi(count);
    for (Eigen::Index j = 0; j < count; ++j) {
      penalties[j] = 0.1f * codebook.bits[static_cast<size_t>(j)];
      for (Eigen::Index k = 0; k < width; ++k) centers(j, k) = codebook.centers[static_cast<size_t>(j * width + k)];
    }
    const float z[] = {0.3f, -1.0f, 0.7f, 2.0f};
    for (const float sigma : {0.1f, 1.0f, 10.0f}) {
      soft_assign(z, centers, penalties, sigma, phi);
      double total = 0;
      for (size_t j = 0; j < codebook.size(); ++j) total += std::exp(-sigma * cost(codebook, j, z, 0.1f));
      std::vector<double> value(static_cast<size_t>(dimension));
      for (Eigen::Index j = 0; j < count; ++j) {
        const double share = std::exp(-sigma * cost(codebook, static_cast<size_t>(j), z, 0.1f)) / total;
        EXPECT_NEAR(phi[j], share, 2e-5);
        for (Eigen::Index k = 0; k < width; ++k) value[static_cast<size_t>(k)] += share * centers(j, k);
      }
      float soft[4];
      soft_value(phi, centers, soft);
      for (size_t k = 0; k < value.size(); ++k) EXPECT_NEAR(soft[k], value[k], 1e-4);
    }
  }
}

TEST(SoftAssignment, HardensToTheHardOneAndNeverOverflows) {
  const Codebook codebook = random_codebook(1, 30, 2);
  const Eigen::Index count = static_cast<Eigen::Index>(codebook.size());
  const Eigen::ArrayXXf centers = Eigen::Map<const Eigen::ArrayXf>(codebook.centers.data(), count);
  const Eigen::ArrayXf penalties = 0.1f * Eigen::Map<const Eigen::ArrayXf>(codebook.bits.data(), count);
  const HardAssigner assigner(codebook, 0.1f);
  Eigen::ArrayXf phi(count);
  for (const float z : {-1e6f, -3.2f, 0.01f, 1.234f, 1e6f}) {
    soft_assign(&z, centers, penalties, 1e7f, phi);
    Eigen::Index hardest;
    EXPECT_GT(phi.maxCoeff(&hardest), 0.99f);
    EXPECT_EQ(static_cast<uint32_t>(hardest), assigner.assign(z));
    soft_assign(&z, centers, penalties, 1e-7f, phi);
    EXPECT_NEAR(phi.sum(), 1, 1e-5);
    EXPECT_TRUE(phi.isFinite().all());
  }
}

}  // namespace
}  // namespace quench::quantizer
