#include "compressor/quantizer/center_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "compressor/quantizer/soft_lloyd.h"
#include "compressor/quantizer/vector_lloyd.h"
#include "tests/compressor/quantizer/distributions.h"

namespace quench::quantizer {
namespace {

WeightedVectors random_vectors(size_t count, size_t dimension) {
  Draw draw(11);
  WeightedVectors data{dimension, {}, {}};
  for (size_t i = 0; i < count * dimension; ++i) data.values.push_back(static_cast<float>(2 * draw.laplacian()));
  for (size_t i = 0; i < count; ++i) data.weights.push_back(static_cast<float>(1 + i % 3));
  return data;
}

// For d = 1 ascending; the one in the middle at exactly 0.
CenterSet random_centers(Eigen::Index count, Eigen::Index dimension) {
  Draw draw(12);
  CenterSet set{Eigen::ArrayXXf(count, dimension), Eigen::ArrayXd(count)};
  for (float& value : set.centers.reshaped()) value = static_cast<float>(2 * draw.laplacian());
  for (double& weight : set.weights) weight = 1 + 100 * draw.uniform();
  if (dimension == 1) std::sort(set.centers.data(), set.centers.data() + count);
  set.centers.row(count / 2) = 0;
  if (dimension == 1) std::sort(set.centers.data(), set.centers.data() + count);
  return set;
}

double cost(const CenterSet& set, Eigen::Index j, const float* z, double beta) {
  double sum = -beta * std::log2(set.weights[j] / set.weights.sum());
  for (Eigen::Index k = 0; k < set.centers.cols(); ++k) sum += std::pow(double{z[k]} - set.centers(j, k), 2);
  return sum;
}

// The step of soft_step, vector by vector over all centers, in double.
CenterSet plain_soft_step(const WeightedVectors& data, double sigma, double beta, const CenterSet& set) {
  const Eigen::Index count = set.centers.rows(), width = set.centers.cols();
  Eigen::ArrayXXd sums = Eigen::ArrayXXd::Zero(count, width + 1);
  for (size_t i = 0; i < data.size(); ++i) {
    Eigen::ArrayXd phi(count);
    for (Eigen::Index j = 0; j < count; ++j) phi[j] = cost(set, j, data.vector(i), beta);
    phi = (-sigma * (phi - phi.minCoeff())).exp();
    phi *= data.weights[i] / phi.sum();
    sums.col(0) += phi;
    for (Eigen::Index k = 0; k < width; ++k) sums.col(k + 1) += phi * data.vector(i)[k];
  }
  CenterSet next{set.centers, sums.col(0)};
  for (Eigen::Index j = 0; j < count; ++j) {
    if ((set.centers.row(j) != 0).any()) next.centers.row(j) = (sums.row(j).tail(width) / sums(j, 0)).cast<float>();
  }
  return next;
}

TEST(SoftStep, IsTheFormulaOverAllCenters) {
  for (const size_t dimension : {1, 2, 4, 8}) {
    WeightedVectors data = random_vectors(3000, dimension);
    order_spatially(data);
    for (const float sigma : {0.3f, 4.0f, 60.0f}) {
      CenterSet set = random_centers(40, static_cast<Eigen::Index>(dimension));
      CenterSet expected = plain_soft_step(data, sigma, 0.1, set);
      std::vector<Eigen::Index> kept;
      for (Eigen::Index j = 0; j < 40; ++j) {
        if (expected.weights[j] <= 0.05) continue;
        if (dimension == 1 && !kept.empty() && expected.centers(j, 0) - expected.centers(kept.back(), 0) < 1e-3) {
          expected.weights[kept.back()] += expected.weights[j];
        } else {
          kept.push_back(j);
        }
      }
      soft_step(data, sigma, 0.1f, 2, set);
      ASSERT_EQ(set.size(), kept.size()) << dimension << " " << sigma;
      for (size_t i = 0; i < kept.size(); ++i) {
        const Eigen::Index row = static_cast<Eigen::Index>(i);
        EXPECT_NEAR(set.weights[row], expected.weights[kept[i]], 1e-3 * expected.weights[kept[i]] + 1e-3);
        for (Eigen::Index k = 0; k < set.centers.cols(); ++k) {
          EXPECT_NEAR(set.centers(row, k), expected.centers(kept[i], k), 2e-3) << dimension << " " << sigma;
        }
      }
    }
  }
}

TEST(VectorLloyd, AssignsByLeastCostAndNeverClimbs) {
  for (const size_t dimension : {2, 4, 8}) {
    WeightedVectors data = random_vectors(3000, dimension);
    order_spatially(data);
    CenterSet set = random_centers(70, static_cast<Eigen::Index>(dimension));
    double last = INFINITY;
    for (int step = 0; step < 5; ++step) {
      double least = 0, total = 0;
      for (size_t i = 0; i < data.size(); ++i) {
        double best = INFINITY;
        for (Eigen::Index j = 0; j < set.centers.rows(); ++j) best = std::min(best, cost(set, j, data.vector(i), 0.2));
        least += data.weights[i] * best;
        total += data.weights[i];
      }
      const double reached = vector_lloyd(data, 0.2, 1, 0, 2, set);
      EXPECT_NEAR(reached, least / total, 1e-5 * reached);
      EXPECT_LE(reached, last);
      EXPECT_NEAR(set.weights.sum(), total, 1e-6 * total);
      last = reached;
    }
  }
}

TEST(OrderSpatially, IsAPermutationIntoCompactRuns) {
  for (const size_t count : {1u, 63u, 64u, 65u, 200u, 5000u}) {
    const WeightedVectors before = random_vectors(count, 2);
    WeightedVectors after = before;
    order_spatially(after);
    const auto rows = [](const WeightedVectors& data) {
      std::vector<std::array<float, 3>> result;
      for (size_t i = 0; i < data.size(); ++i) {
        result.push_back({data.vector(i)[0], data.vector(i)[1], data.weights[i]});
      }
      std::sort(result.begin(), result.end());
      return result;
    };
    EXPECT_EQ(rows(before), rows(after));
    const auto spread = [](const WeightedVectors& data) {  // of the first coordinate within runs, summed up
      double sum = 0;
      for (size_t begin = 0; begin < data.size(); begin += kNeighborhood) {
        float low = INFINITY, high = -INFINITY;
        for (size_t i = begin; i < std::min(begin + kNeighborhood, data.size()); ++i) {
          low = std::min(low, data.vector(i)[0]);
          high = std::max(high, data.vector(i)[0]);
        }
        sum += high - low;
      }
      return sum;
    };
    if (count == 5000) {
      EXPECT_LT(spread(after), 0.3 * spread(before));
    }
  }
}

}  // namespace
}  // namespace quench::quantizer
