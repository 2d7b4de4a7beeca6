// The path through a trellis: the best there is, as near as the literature says, and one that the coder takes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "compressor/quantizer/hard_assignment.h"
#include "compressor/quantizer/trellis_assignment.h"
#include "formats/entropy/encoder.h"
#include "formats/entropy/statistics.h"
#include "formats/error.h"
#include "tests/compressor/quantizer/distributions.h"

namespace quench::quantizer {
namespace {

using entropy::StreamLayout;
using entropy::Trellis;

Codebook priced_symbols(uint32_t reach) {
  Codebook symbols = trellis_codebook(reach);
  for (size_t k = 0; k < symbols.size(); ++k) symbols.bits[k] = 0.5f + 0.7f * std::abs(symbols.centers[k]);
  return symbols;
}

double cost(const TrellisAssigner& assigner, const Codebook& symbols, float beta, float value, uint32_t index) {
  const double distance = static_cast<double>(value) - assigner.center(index);
  return distance * distance + static_cast<double>(beta) * symbols.bits[index / 2];
}

// Over all ways on from the state.
double least_cost(const TrellisAssigner& assigner, const Codebook& symbols, float beta, std::span<const float> values,
                  uint32_t state) {
  if (values.empty()) return 0;
  double least = std::numeric_limits<double>::infinity();
  for (uint32_t k = 0; k < symbols.size(); ++k) {
    const double here = cost(assigner, symbols, beta, values[0], 2 * k + (state & 1));
    if (here >= least) continue;
    least =
        std::min(least, here + least_cost(assigner, symbols, beta, values.subspan(1), entropy::next_state(state, k)));
  }
  return least;
}

TEST(Trellis, TheBestOfAllPathsIsFound) {
  const Codebook symbols = priced_symbols(2);
  Draw draw(5);
  TrellisAssigner::Workspace workspace;
  for (const float beta : {0.0f, 0.1f, 1.0f}) {
    const TrellisAssigner assigner(symbols, beta);
    for (int trial = 0; trial < 40; ++trial) {
      std::vector<float> values(6);
      for (float& value : values) value = static_cast<float>(2 * draw.gaussian());
      const auto begin = static_cast<uint32_t>(trial % 8);
      uint32_t state = begin, walked = begin;
      std::vector<uint32_t> indices(values.size());
      assigner.assign(values, state, indices, workspace);
      double sum = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_EQ(indices[i] & 1, walked & 1);
        sum += cost(assigner, symbols, beta, values[i], indices[i]);
        walked = entropy::next_state(walked, indices[i] / 2);
      }
      EXPECT_EQ(state, walked);
      EXPECT_NEAR(sum, least_cost(assigner, symbols, beta, values, begin), 1e-4);
    }
  }
}

TEST(Trellis, AnyValuesGiveAPath) {
  const TrellisAssigner assigner(priced_symbols(2), 0.1f);
  TrellisAssigner::Workspace workspace;
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -3e38f}) {
    for (uint32_t begin = 0; begin < 8; ++begin) {
      const std::vector<float> values = {odd, 0, odd, 1, odd};
      std::vector<uint32_t> indices(values.size());
      uint32_t state = begin, walked = begin;
      assigner.assign(values, state, indices, workspace);
      for (const uint32_t index : indices) {
        EXPECT_EQ(index & 1, walked & 1) << odd << " from " << begin;
        walked = entropy::next_state(walked, index / 2);
      }
    }
  }
}

struct Point {
  double bits, decibels;
};

Point point_of(std::span<const float> values, std::span<const float> quantized, std::span<const uint32_t> symbols) {
  std::vector<uint64_t> counts(1000);
  double error = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    ++counts[symbols[i]];
    error += std::pow(static_cast<double>(values[i]) - quantized[i], 2);
  }
  return {entropy::entropy_bits(counts), -10 * std::log10(error / static_cast<double>(values.size()))};
}

// Eight states give 1.1 dB over a uniform quantizer of the same entropy where steps are fine (Fischer and Wang 1992).
TEST(Trellis, IsADecibelNearerThanAGridOfTheSameEntropy) {
  for (const double deviation : {3.0, 10.0}) {
    const std::vector<float> values = distributions()[0].draw(60000, deviation);
    const auto reach = static_cast<uint32_t>(8 * deviation);
    const Codebook symbols = trellis_codebook(reach);
    std::vector<uint32_t> indices(values.size()), plain(values.size());
    const StreamLayout layout{1, values.size(), 1, 4 * reach + 2, 2 * reach, Trellis::kAlongRows};
    const TrellisAssigner assigner(symbols, 0);
    assigner.assign_all(values, layout, indices, 2);
    HardAssigner(symbols, 0).assign_all(values, plain);
    std::vector<float> along(values.size()), nearest(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      along[i] = assigner.center(indices[i]);
      nearest[i] = symbols.centers[plain[i]];
      indices[i] /= 2;
    }
    const Point trellis = point_of(values, along, indices), grid = point_of(values, nearest, plain);
    const double gain = trellis.decibels - grid.decibels + 6.02 * (grid.bits - trellis.bits);
    EXPECT_GT(gain, 1.0) << deviation;
    EXPECT_LT(gain, 1.2) << deviation;
  }
}

// Rows and columns that the coder cuts into several chunks, too.
TEST(Trellis, TheCoderTakesThePathsOfWholeTensors) {
  const entropy::Encoder encoder =
      *entropy::Encoder::create(entropy::ModelFitter(entropy::Coder::kArithmetic).finish());
  for (const Trellis trellis : {Trellis::kDownColumns, Trellis::kAlongRows}) {
    for (const StreamLayout& shape :
         {StreamLayout{40, 3, 9}, StreamLayout{1, 50, 1}, StreamLayout{50, 1, 1}, StreamLayout{700, 100, 9}}) {
      const StreamLayout layout{shape.rows, shape.channels, shape.inner, 34, 16, trellis};
      const std::vector<float> values = distributions()[0].draw(layout.symbols(), 2);
      std::vector<uint32_t> indices(values.size()), alone(values.size());
      const TrellisAssigner assigner(priced_symbols(8), 0.1f);
      assigner.assign_all(values, layout, indices, 2);
      assigner.assign_all(values, layout, alone, 1);
      EXPECT_EQ(indices, alone);
      const std::vector<uint16_t> narrow(indices.begin(), indices.end());
      const auto stream = encoder.encode(layout, std::span<const uint16_t>(narrow));
      EXPECT_TRUE(stream.ok()) << stream.status().detail();
    }
  }
}

TEST(Trellis, NeedsSymbolsToChooseFrom) {
  EXPECT_THROW(TrellisAssigner(trellis_codebook(0), 0.1f), Error);
  const TrellisAssigner assigner(trellis_codebook(2), 0.1f);
  std::vector<float> values(3);
  std::vector<uint32_t> indices(2);
  uint32_t state = 0;
  TrellisAssigner::Workspace workspace;
  EXPECT_THROW(assigner.assign(values, state, indices, workspace), Error);
}

}  // namespace
}  // namespace quench::quantizer
