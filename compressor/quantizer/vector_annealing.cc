#include "compressor/quantizer/vector_annealing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "compressor/quantizer/scalar_annealing.h"
#include "compressor/quantizer/soft_lloyd.h"
#include "compressor/quantizer/vector_lloyd.h"
#include "compressor/quantizer/vector_start.h"

namespace quench::quantizer {
namespace {

constexpr size_t kMaxSample = size_t{1} << 17;  // vectors that are annealed
constexpr size_t kSamplePerCenter = 32;         // at least, where the data has them
constexpr size_t kMaxPairs = size_t{1} << 24;   // vectors x centers, beyond kSamplePerCenter
constexpr size_t kExtremes = 256;               // vectors of the largest norm, which a sample would miss
constexpr int kTrialSteps = 8;
constexpr int kFinalSteps = 40;
constexpr double kTrialGain = 1e-4;
constexpr double kFinalGain = 2e-5;
constexpr double kHighRateMse =
    0.7213;  // 1 / (2 ln 2): mean squared error over beta of the best quantizer at high rate
constexpr std::array kLatticeScales = {0.8, 1.0, 1.25};

struct Solution {
  CenterSet set;
  double cost;
};

double squared_norm(const float* vector, size_t width) {
  return std::inner_product(vector, vector + width, vector, 0.0);
}

// All vectors, or the ones of largest norm and one at random from each of equally long parts of the others.
WeightedVectors sample(std::span<const float> vectors, size_t width, size_t wanted, uint64_t seed) {
  const size_t count = vectors.size() / width;
  if (count <= wanted) return all_vectors(vectors, width);
  WeightedVectors result{width, {}, {}};
  std::vector<std::pair<double, size_t>> norms(count);
  for (size_t i = 0; i < count; ++i) norms[i] = {-squared_norm(vectors.data() + i * width, width), i};
  const size_t extremes = std::min(kExtremes, wanted / 2);
  std::nth_element(norms.begin(), norms.begin() + static_cast<ptrdiff_t>(extremes), norms.end());
  std::sort(norms.begin(), norms.begin() + static_cast<ptrdiff_t>(extremes));
  std::vector<size_t> others;
  for (size_t e = extremes; e < count; ++e) others.push_back(norms[e].second);
  std::sort(others.begin(), others.end());

  const auto take = [&](size_t index, float weight) {
    result.values.insert(result.values.end(), vectors.begin() + static_cast<ptrdiff_t>(index * width),
                         vectors.begin() + static_cast<ptrdiff_t>((index + 1) * width));
    result.weights.push_back(weight);
  };
  for (size_t e = 0; e < extremes; ++e) take(norms[e].second, 1.0f);
  const size_t parts = wanted - extremes;
  std::mt19937_64 random(seed);
  for (size_t p = 0; p < parts; ++p) {
    const size_t begin = others.size() * p / parts, end = others.size() * (p + 1) / parts;
    take(others[begin + random() % (end - begin)], static_cast<float>(others.size()) / static_cast<float>(parts));
  }
  return result;
}

Codebook to_codebook(const CenterSet& set) {
  std::vector<float> centers;
  std::vector<uint64_t> counts;
  for (Eigen::Index j = 0; j < set.weights.size(); ++j) {
    for (Eigen::Index k = 0; k < set.centers.cols(); ++k) centers.push_back(set.centers(j, k));
    counts.push_back(static_cast<uint64_t>(std::llround(set.weights[j])));
  }
  return make_codebook(static_cast<int>(set.centers.cols()), centers, counts);
}

class VectorAnnealing {
 public:
  VectorAnnealing(std::span<const float> vectors, const AnnealingOptions& options)
      : options_(options),
        width_(static_cast<size_t>(options.dimension)),
        vectors_(vectors),
        sample_(sample(vectors, width_, sample_size(), options.seed)) {
    order_spatially(sample_);
  }

  Codebook run() {
    Solution best = best_start();
    CenterSet soft = best.set;
    anneal(sample_, options_, soft);
    best = settle(sample_, std::move(best.set), kFinalSteps, kFinalGain);
    take_better(settle(sample_, std::move(soft), kFinalSteps, kFinalGain), best);
    if (sample_.size() < vectors_.size() / width_) {
      WeightedVectors all = all_vectors(vectors_, width_);
      order_spatially(all);
      best = settle(all, std::move(best.set), kFinalSteps, kFinalGain);
    }
    return to_codebook(best.set);
  }

 private:
  size_t sample_size() const {
    const size_t centers = options_.max_centers;
    return std::min(kMaxSample, std::max(kSamplePerCenter * centers, kMaxPairs / centers));
  }

  Solution settle(const WeightedVectors& data, CenterSet set, int steps, double gain) const {
    const double cost = vector_lloyd(data, options_.beta, steps, gain, options_.threads, set);
    return {std::move(set), cost};
  }

  static void take_better(Solution candidate, Solution& best) {
    if (candidate.cost < best.cost) best = std::move(candidate);
  }

  Solution from_product(uint32_t scalar_centers) const {
    AnnealingOptions options = options_;
    options.dimension = 1;
    options.max_centers = scalar_centers;
    options.progress = nullptr;
    const Codebook scalar = anneal_scalar(sample_.values, options);
    CenterSet set = product_start(sample_, scalar.centers, scalar.bits, options_.beta, options_.max_centers);
    return settle(sample_, std::move(set), kTrialSteps, kTrialGain);
  }

  Solution best_start() const {
    const double root = std::pow(static_cast<double>(options_.max_centers), 1.0 / static_cast<double>(width_));
    Solution best = from_product(options_.max_centers);
    take_better(from_product(static_cast<uint32_t>(root + 1e-6)), best);
    for (const double scale : kLatticeScales) {
      if (options_.beta == 0) break;
      CenterSet set = lattice_start(sample_, kHighRateMse * options_.beta * scale * scale, options_.max_centers);
      take_better(settle(sample_, std::move(set), kTrialSteps, kTrialGain), best);
    }
    return best;
  }

  const AnnealingOptions& options_;
  size_t width_;
  std::span<const float> vectors_;
  WeightedVectors sample_;
};

}  // namespace

Codebook anneal_vectors(std::span<const float> vectors, const AnnealingOptions& options) {
  return VectorAnnealing(vectors, options).run();
}

}  // namespace quench::quantizer
