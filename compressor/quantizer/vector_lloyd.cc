#include "compressor/quantizer/vector_lloyd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "compressor/quantizer/nearest_center.h"
#include "compressor/quantizer/parallel.h"

namespace quench::quantizer {
namespace {

constexpr size_t kMaxBlocks = 32;  // each holds a sum per center
constexpr size_t kMinBlock = 1024;
constexpr size_t kSearch = 256;  // vectors per search

struct Sums {
  std::vector<double> weights;    // L
  std::vector<double> centroids;  // L x d: weight times vector
  double cost = 0;
};

void add_block(const VectorView& data, size_t begin, size_t end, const NearestCenter& nearest, Sums& sums) {
  uint32_t indices[kSearch];
  float costs[kSearch];
  const size_t width = data.dimension;
  for (size_t first = begin; first < end; first += kSearch) {
    const size_t count = std::min(kSearch, end - first);
    const float* vectors = data.values.data() + first * width;
    nearest.search(vectors, count, indices, costs);
    for (size_t i = 0; i < count; ++i) {
      const double weight = data.weight(first + i);
      sums.cost += weight * costs[i];
      sums.weights[indices[i]] += weight;
      for (size_t k = 0; k < width; ++k) sums.centroids[indices[i] * width + k] += weight * vectors[i * width + k];
    }
  }
}

Sums assign(const VectorView& data, const NearestCenter& nearest, size_t centers, int threads) {
  const size_t block = std::max(kMinBlock, (data.size() + kMaxBlocks - 1) / kMaxBlocks);
  std::vector<Sums> parts((data.size() + block - 1) / block);
  parallel_blocks(data.size(), block, threads, [&](size_t index, size_t begin, size_t end) {
    parts[index].weights.resize(centers);
    parts[index].centroids.resize(centers * data.dimension);
    add_block(data, begin, end, nearest, parts[index]);
  });
  Sums sums = std::move(parts[0]);
  for (size_t p = 1; p < parts.size(); ++p) {
    for (size_t j = 0; j < sums.weights.size(); ++j) sums.weights[j] += parts[p].weights[j];
    for (size_t j = 0; j < sums.centroids.size(); ++j) sums.centroids[j] += parts[p].centroids[j];
    sums.cost += parts[p].cost;
  }
  return sums;
}

VectorState updated(const VectorState& state, const Sums& sums, size_t width) {
  VectorState next;
  for (size_t j = 0; j < state.size(); ++j) {
    if (sums.weights[j] == 0) continue;
    const float* old = state.centers.data() + j * width;
    const bool zero = std::all_of(old, old + width, [](float value) { return value == 0; });
    for (size_t k = 0; k < width; ++k) {
      next.centers.push_back(zero ? 0.0f : static_cast<float>(sums.centroids[j * width + k] / sums.weights[j]));
    }
    next.weights.push_back(sums.weights[j]);
  }
  return next;
}

}  // namespace

std::vector<float> code_lengths(const VectorState& state) {
  const double total = std::accumulate(state.weights.begin(), state.weights.end(), 0.0);
  std::vector<float> bits;
  for (const double weight : state.weights) bits.push_back(static_cast<float>(std::log2(total / weight)));
  return bits;
}

double vector_lloyd(const VectorView& data, double beta, int max_steps, double least_gain, int threads,
                    VectorState& state) {
  double total = 0;
  for (size_t i = 0; i < data.size(); ++i) total += data.weight(i);
  double cost = INFINITY;
  for (int step = 0; step < max_steps; ++step) {
    std::vector<float> penalties = code_lengths(state);
    for (float& penalty : penalties) penalty *= static_cast<float>(beta);
    const Sums sums = assign(data, NearestCenter(state.centers, penalties), state.size(), threads);
    state = updated(state, sums, data.dimension);
    const double before = cost;
    cost = sums.cost / total;
    if (before - cost <= least_gain * cost) break;
  }
  return cost;
}

}  // namespace quench::quantizer
