#include "compressor/quantizer/annealing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "compressor/quantizer/hard_assignment.h"
#include "compressor/quantizer/uniform_grid.h"
#include "formats/error.h"
#include "tests/compressor/quantizer/distributions.h"

namespace quench::quantizer {
namespace {

RateDistortion apply(const Codebook& codebook, std::span<const float> vectors, float beta) {
  std::vector<uint32_t> indices(vectors.size() / static_cast<size_t>(codebook.dimension));
  HardAssigner(codebook, beta).assign_all(vectors, indices);
  return measure(codebook, vectors, indices);
}

Codebook learn(std::span<const float> vectors, float beta, int dimension = 1, uint32_t max_centers = 255) {
  AnnealingOptions options;
  options.dimension = dimension;
  options.beta = beta;
  options.max_centers = max_centers;
  return learn_codebook(vectors, options);
}

// The Lagrangian of the best scalar quantizer whose cells end at multiples of `bin`, by dynamic programming: a cell's
// cost does not depend on the other cells. The cell around 0 has its center at 0.
double best_scalar_lagrangian(std::vector<float> values, double beta, double bin) {
  std::sort(values.begin(), values.end());
  struct Prefix {
    double count = 0, sum = 0, squares = 0;
    int zeros = 0;
  };
  std::vector<Prefix> bins(1);
  for (size_t i = 0; i < values.size();) {
    const double cell = std::floor(values[i] / bin);
    Prefix prefix = bins.back();
    for (; i < values.size() && std::floor(values[i] / bin) == cell; ++i) {
      prefix.count += 1;
      prefix.sum += values[i];
      prefix.squares += static_cast<double>(values[i]) * values[i];
    }
    if (cell == 0) ++prefix.zeros;
    bins.push_back(prefix);
  }
  const double total = static_cast<double>(values.size());
  std::vector<double> least(bins.size(), std::numeric_limits<double>::infinity());
  least[0] = 0;
  for (size_t end = 1; end < bins.size(); ++end) {
    for (size_t begin = 0; begin < end; ++begin) {
      const double count = bins[end].count - bins[begin].count, sum = bins[end].sum - bins[begin].sum;
      double distortion = bins[end].squares - bins[begin].squares;
      if (bins[end].zeros == bins[begin].zeros) distortion -= sum * sum / count;
      least[end] = std::min(least[end], least[begin] + distortion + beta * count * std::log2(total / count));
    }
  }
  return least.back() / total;
}

class Annealing : public testing::TestWithParam<Distribution> {
 protected:
  static std::vector<float> draw(size_t count, double scale) { return GetParam().draw(count, scale); }
};

TEST_P(Annealing, IsNeverWorseThanTheGridOfItsOwnSpacing) {
  for (const double scale : {0.3, 0.8, 2.0, 6.0}) {
    const std::vector<float> values = draw(8000, scale);
    for (const float beta : {0.0f, 0.02f, 0.05f, 0.1155f, 0.2f, 0.6f}) {
      for (const uint32_t centers : {1u, 3u, 15u, 255u}) {
        const double learned = apply(learn(values, beta, 1, centers), values, beta).lagrangian(beta);
        const double grid = apply(learn_uniform_grid(values, {centers, beta, 1}), values, beta).lagrangian(beta);
        EXPECT_LE(learned, grid * (1 + 1e-6)) << scale << " " << beta << " " << centers;
      }
    }
  }
}

TEST_P(Annealing, NeedsNoMoreDistortionThanAnyGridAtTheSameRate) {
  const std::vector<float> values = draw(8000, 2.0);
  std::vector<RateDistortion> learned;  // falling rate
  for (double beta = 0.01; beta < 2.5; beta *= 1.06) {
    learned.push_back(apply(learn(values, static_cast<float>(beta)), values, static_cast<float>(beta)));
  }
  int compared = 0;
  for (const float step : {0.4f, 0.7f, 1.0f, 1.5f, 2.2f}) {
    for (const float factor : {0.0f, 0.5f, 1.0f, 1.5f}) {
      const float beta = 0.1155f * step * step * factor;
      const RateDistortion grid = apply(learn_uniform_grid(values, {255, beta, step}), values, beta);
      for (size_t i = 0; i + 1 < learned.size(); ++i) {
        if (grid.bits > learned[i].bits || grid.bits <= learned[i + 1].bits) continue;
        // Time sharing between two learned codebooks; the curve itself lies a little below its chord.
        const double part = (learned[i].bits - grid.bits) / (learned[i].bits - learned[i + 1].bits);
        const double mse = (1 - part) * learned[i].mse + part * learned[i + 1].mse;
        EXPECT_LE(mse, grid.mse * 1.002) << step << " " << beta << " at " << grid.bits << " bits";
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 10);
}

TEST_P(Annealing, ComesNearTheBestScalarQuantizer) {
  for (const double scale : {0.8, 2.0}) {
    const std::vector<float> values = draw(8000, scale);
    for (const float beta : {0.05f, 0.1155f, 0.2f}) {
      const double best = best_scalar_lagrangian(values, beta, 1.0 / 16);
      EXPECT_LE(apply(learn(values, beta), values, beta).lagrangian(beta), best * 1.005) << scale << " " << beta;
    }
  }
}

TEST_P(Annealing, GainsFromVectors) {
  const float beta = 0.1155f;
  for (const double scale : {0.5, 1.0}) {
    const std::vector<float> values = draw(16384, scale);
    const double scalar = apply(learn(values, beta), values, beta).lagrangian(beta);
    for (const int dimension : {2, 4}) {
      const uint32_t centers = dimension == 2 ? 256 : 700;
      const double vector = apply(learn(values, beta, dimension, centers), values, beta).lagrangian(beta);
      EXPECT_LE(vector, scalar * 1.0001) << dimension << " " << scale;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Data, Annealing, testing::ValuesIn(distributions()),
                         [](const auto& test) { return test.param.name; });

TEST(AnnealedCodebook, HasTheSpaceFillingGainOnAGaussian) {
  // Beyond the 1.53 dB of a scalar quantizer above Shannon's bound D = 2^(-2R): the hexagonal lattice saves 0.17 dB.
  const float beta = 0.1155f;
  const std::vector<float> values = distributions()[0].draw(131072, 1.25);
  const auto decibels_above_bound = [&](int dimension) {
    const RateDistortion reached = apply(learn(values, beta, dimension, 128), values, beta);
    return 10 * std::log10(reached.mse / (1.25 * 1.25)) + 20 * std::log10(2.0) * reached.bits;
  };
  const double scalar = decibels_above_bound(1), plane = decibels_above_bound(2);
  EXPECT_GT(scalar, 1.4);
  EXPECT_LT(scalar, 1.6);
  EXPECT_LT(plane, scalar - 0.12);
}

TEST(AnnealedCodebook, IsTheSameWithAnyNumberOfThreads) {
  const std::vector<float> values = filters(20000, 1.2);
  for (const int dimension : {1, 2, 4}) {
    AnnealingOptions options;
    options.dimension = dimension;
    options.max_centers = 60;
    const Codebook one = learn_codebook(values, options);
    for (const int threads : {2, 3}) {
      options.threads = threads;
      const Codebook other = learn_codebook(values, options);
      EXPECT_EQ(one.centers, other.centers);
      EXPECT_EQ(one.bits, other.bits);
    }
  }
}

TEST(AnnealedCodebook, IsSortedCompleteAndKeepsZero) {
  for (const int dimension : {1, 2, 4, 8}) {
    const std::vector<float> values = distributions()[4].draw(8192, 1.5);
    const Codebook codebook = learn(values, 0.1f, dimension, 64);
    ASSERT_LE(codebook.size(), 64u);
    ASSERT_EQ(codebook.centers.size(), codebook.size() * static_cast<size_t>(dimension));
    for (const float value : codebook.center(codebook.zero_symbol)) EXPECT_EQ(value, 0.0f);
    double last = -INFINITY, shares = 0;
    for (size_t j = 0; j < codebook.size(); ++j) {
      double norm = 0;
      for (const float value : codebook.center(j)) norm += static_cast<double>(value) * value;
      const double key = dimension == 1 ? codebook.centers[j] : norm;
      EXPECT_GE(key, last);
      last = key;
      shares += std::exp2(-static_cast<double>(codebook.bits[j]));
    }
    EXPECT_NEAR(shares, 1, 1e-4);
  }
}

TEST(AnnealedCodebook, ReportsItsProgress) {
  AnnealingOptions options;
  std::vector<double> shares;
  options.progress = [&](double share) { shares.push_back(share); };
  learn_codebook(filters(1000, 1), options);
  ASSERT_FALSE(shares.empty());
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  EXPECT_GE(shares.front(), 0);
  EXPECT_EQ(shares.back(), 1);
}

// Data on which clustering tools fall over.
TEST(EdgeCases, NoValues) {
  for (const int dimension : {1, 2, 4, 8}) {
    const Codebook codebook = learn({}, 0.1f, dimension);
    EXPECT_EQ(codebook.size(), 1u);
    EXPECT_EQ(codebook.centers, std::vector<float>(static_cast<size_t>(dimension)));
  }
  EXPECT_EQ(learn_uniform_grid({}, {}).size(), 1u);
}

TEST(EdgeCases, AllZeroOrAllEqual) {
  for (const int dimension : {1, 2, 4, 8}) {
    for (const float value : {0.0f, 0.3f, -17.25f}) {
      const std::vector<float> values(64, value);
      const Codebook codebook = learn(values, 0.1f, dimension);
      ASSERT_EQ(codebook.size(), 1u) << value;
      for (const float coordinate : codebook.centers) EXPECT_EQ(coordinate, value);
      EXPECT_EQ(codebook.bits[0], 0.0f);
    }
  }
  EXPECT_EQ(learn_uniform_grid(std::vector<float>(9, -0.2f), {}).centers, std::vector<float>{0.0f});
}

TEST(EdgeCases, OneVector) {
  for (const int dimension : {1, 2, 4, 8}) {
    std::vector<float> values;
    for (int k = 0; k < dimension; ++k) values.push_back(0.7f - static_cast<float>(k));
    EXPECT_EQ(learn(values, 0.1f, dimension).centers, values);
  }
}

TEST(EdgeCases, FewerDistinctValuesThanCenters) {
  std::vector<float> values;
  for (int i = 0; i < 999; ++i) values.push_back(std::array{-2.25f, 0.4f, 3.1f}[static_cast<size_t>(i % 3)]);
  EXPECT_EQ(learn(values, 0.05f).centers, (std::vector<float>{-2.25f, 0.4f, 3.1f}));
  values.push_back(0);
  const Codebook plane = learn(values, 0.05f, 2);
  EXPECT_LE(apply(plane, values, 0.05f).mse, 0.02);
}

TEST(EdgeCases, OneCenter) {
  const std::vector<float> values = filters(1000, 1);
  for (const int dimension : {1, 2, 4, 8}) EXPECT_EQ(learn(values, 0.1f, dimension, 1).size(), 1u);
  EXPECT_EQ(learn_uniform_grid(values, {1, 0.1f, 1}).size(), 1u);
}

TEST(EdgeCases, OutliersHaveACenterNearThem) {
  for (const int dimension : {1, 2, 4, 8}) {
    std::vector<float> values = filters(16384, 1);
    values[5] = 1e6f;
    values[777] = -3e4f;
    values[778] = 2.9e4f;
    const Codebook codebook = learn(values, 0.1f, dimension, 64);
    std::vector<uint32_t> indices(values.size() / static_cast<size_t>(dimension));
    HardAssigner(codebook, 0.1f).assign_all(values, indices);
    for (const size_t i : {5u, 777u, 778u}) {
      const size_t width = static_cast<size_t>(dimension);
      EXPECT_NEAR(codebook.center(indices[i / width])[i % width], values[i], 3) << dimension;
    }
  }
  std::vector<float> values = filters(1000, 1);
  values.insert(values.end(), {1e6f, -1e5f, 1.01e6f});
  const Codebook grid = learn_uniform_grid(values, {16, 0.1f, 1});
  EXPECT_LE(grid.size(), 16u);
  EXPECT_EQ(grid.centers.back(), 1.01e6f);
  EXPECT_EQ(grid.centers.front(), -1e5f);
  EXPECT_EQ(grid.centers[grid.zero_symbol], 0.0f);
}

TEST(EdgeCases, OutliersThatASampleWouldMiss) {
  std::vector<float> values = filters(300000, 0.5);
  values[123456] = 5e4f;
  AnnealingOptions options;
  options.dimension = 2;
  options.max_centers = 40;
  options.threads = 2;
  const Codebook codebook = learn_codebook(values, options);
  EXPECT_EQ(codebook.center(codebook.size() - 1)[0], 5e4f);
}

TEST(EdgeCases, RefusesWhatItCannotQuantize) {
  for (const float bad : {NAN, INFINITY, -INFINITY, 1e9f}) {
    const std::vector<float> values = {0, 1, bad, 2};
    EXPECT_THROW(learn(values, 0.1f), Error);
    EXPECT_THROW(learn(values, 0.1f, 2), Error);
    EXPECT_THROW(learn_uniform_grid(values, {}), Error);
  }
  const std::vector<float> three = {0, 1, 2};
  EXPECT_THROW(learn(three, 0.1f, 2), Error);
  EXPECT_THROW(learn(three, 0.1f, 3), Error);
  EXPECT_THROW(learn(three, -0.1f), Error);
  EXPECT_THROW(learn(three, NAN), Error);
  EXPECT_THROW(learn(three, 0.1f, 1, 0), Error);
  EXPECT_THROW(learn_uniform_grid(three, {0, 0.1f, 1}), Error);
  EXPECT_THROW(learn_uniform_grid(three, {5, 0.1f, 0}), Error);
  AnnealingOptions still;
  still.sigma_growth = 1;
  EXPECT_THROW(learn_codebook(three, still), Error);
}

TEST(UniformGrid, IsAGridWithAMiddle) {
  for (const float step : {0.5f, 1.0f}) {
    const std::vector<float> values = filters(20000, 3);
    const Codebook grid = learn_uniform_grid(values, {75, 0.1f, step});
    for (const float center : grid.centers) EXPECT_EQ(center / step, std::round(center / step));
    EXPECT_EQ(grid.centers[grid.zero_symbol], 0.0f);
  }
}

TEST(UniformGrid, PaysForDistortionWithBitsOnlyWhereThatIsWorthIt) {
  const std::vector<float> values = filters(20000, 1.5);
  const RateDistortion plain = apply(learn_uniform_grid(values, {255, 0, 1}), values, 0);
  const RateDistortion optimised = apply(learn_uniform_grid(values, {255, 0.1155f, 1}), values, 0.1155f);
  EXPECT_LT(optimised.bits, plain.bits);
  EXPECT_LT(optimised.lagrangian(0.1155), plain.lagrangian(0.1155));
}

}  // namespace
}  // namespace quench::quantizer
