#include "compressor/quantizer/codebook.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "formats/entropy/statistics.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

double squared_norm(std::span<const float> vector) {
  double sum = 0;
  for (const float value : vector) sum += static_cast<double>(value) * value;
  return sum;
}

double squared_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k) sum += (static_cast<double>(a[k]) - b[k]) * (static_cast<double>(a[k]) - b[k]);
  return sum;
}

}  // namespace

Codebook make_codebook(int dimension, std::span<const float> centers, std::span<const uint64_t> counts) {
  const size_t width = static_cast<size_t>(dimension);
  const auto center = [&](size_t index) { return centers.subspan(index * width, width); };
  std::vector<size_t> order;
  for (size_t j = 0; j < counts.size(); ++j) {
    if (counts[j] > 0) order.push_back(j);
  }
  Codebook codebook;
  codebook.dimension = dimension;
  if (order.empty()) {
    codebook.centers.assign(width, 0.0f);
    codebook.bits.assign(1, 0.0f);
    return codebook;
  }
  std::vector<double> key(counts.size());
  for (const size_t j : order) key[j] = dimension == 1 ? centers[j] : squared_norm(center(j));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (key[a] != key[b]) return key[a] < key[b];
    return std::lexicographical_compare(center(a).begin(), center(a).end(), center(b).begin(), center(b).end());
  });

  const double total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
  double least = INFINITY;
  for (const size_t j : order) {
    const double norm = squared_norm(center(j));
    if (norm < least) {
      least = norm;
      codebook.zero_symbol = static_cast<uint32_t>(codebook.size());
    }
    codebook.centers.insert(codebook.centers.end(), center(j).begin(), center(j).end());
    codebook.bits.push_back(static_cast<float>(-std::log2(static_cast<double>(counts[j]) / total)));
  }
  return codebook;
}

RateDistortion measure(const Codebook& codebook, std::span<const float> vectors, std::span<const uint32_t> indices) {
  RateDistortion result;
  if (indices.empty()) return result;
  const size_t width = static_cast<size_t>(codebook.dimension);
  std::vector<uint64_t> counts(codebook.size());
  double distortion = 0;
  for (size_t i = 0; i < indices.size(); ++i) {
    ++counts[indices[i]];
    distortion += squared_distance(vectors.subspan(i * width, width), codebook.center(indices[i]));
  }
  result.bits = entropy::entropy_bits(counts) / static_cast<double>(width);
  result.mse = distortion / static_cast<double>(vectors.size());
  return result;
}

void check_vectors(std::span<const float> vectors, int dimension) {
  if (dimension != 1 && dimension != 2 && dimension != 4 && dimension != 8) {
    throw Error::make("the quantizer's dimension is {}; it must be 1, 2, 4 or 8", dimension);
  }
  if (vectors.size() % static_cast<size_t>(dimension) != 0) {
    throw Error::make("{} values are not whole vectors of dimension {}; pad them", vectors.size(), dimension);
  }
  for (const float value : vectors) {
    if (!(std::fabs(value) <= kMaxMagnitude)) {
      throw Error::make("cannot quantize {}: values must be finite and, divided by their scale, at most {}", value,
                        kMaxMagnitude);
    }
  }
}

}  // namespace quench::quantizer
