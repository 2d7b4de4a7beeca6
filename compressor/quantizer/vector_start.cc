#include "compressor/quantizer/vector_start.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "compressor/quantizer/codebook.h"
#include "compressor/quantizer/hard_assignment.h"

namespace quench::quantizer {
namespace {

constexpr size_t kMaxDimension = 8;
// Where more cells are in use than centers are allowed, this share of them goes to the vectors farthest from the
// others.
constexpr size_t kFarShare = 8;

using Point = std::array<float, kMaxDimension>;  // coordinates behind the dimension are 0

struct Cell {
  Point center;
  double weight;
};

double squared_distance(const Point& a, const Point& b) {
  double sum = 0;
  for (size_t k = 0; k < kMaxDimension; ++k)
    sum += (static_cast<double>(a[k]) - b[k]) * (static_cast<double>(a[k]) - b[k]);
  return sum;
}

// One cell per center that occurs, those of most weight first.
template <typename Quantize>
std::vector<Cell> occupied_cells(const WeightedVectors& data, const Quantize& quantize) {
  std::vector<Cell> cells(data.size());
  for (size_t i = 0; i < data.size(); ++i) {
    cells[i] = {quantize(data.vector(i)), data.weights[i]};
  }
  std::stable_sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) { return a.center < b.center; });
  size_t used = 0;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (used > 0 && cells[used - 1].center == cells[i].center) {
      cells[used - 1].weight += cells[i].weight;
    } else {
      cells[used++] = cells[i];
    }
  }
  cells.resize(used);
  std::stable_sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) { return a.weight > b.weight; });
  return cells;
}

// The cells of most weight, then, one after the other, the cell farthest from all that were taken.
std::vector<Cell> prune(std::vector<Cell> cells, size_t max_centers) {
  if (cells.size() <= max_centers) return cells;
  const size_t far = max_centers / kFarShare;
  std::vector<Cell> kept(cells.begin(), cells.begin() + static_cast<ptrdiff_t>(max_centers - far));
  std::vector<Cell> others(cells.begin() + static_cast<ptrdiff_t>(kept.size()), cells.end());
  std::vector<double> distance(others.size(), std::numeric_limits<double>::infinity());
  // Measured from the origin, about which weights lie, instead of from thousands of centers.
  for (size_t i = 0; i < others.size(); ++i) distance[i] = squared_distance(others[i].center, Point{});
  while (kept.size() < max_centers) {
    const size_t farthest = static_cast<size_t>(std::max_element(distance.begin(), distance.end()) - distance.begin());
    kept.push_back(others[farthest]);
    for (size_t i = 0; i < others.size(); ++i) {
      distance[i] = std::min(distance[i], squared_distance(others[i].center, kept.back().center));
    }
  }
  return kept;
}

CenterSet to_set(const std::vector<Cell>& cells, size_t dimension) {
  const Eigen::Index count = static_cast<Eigen::Index>(cells.size()), width = static_cast<Eigen::Index>(dimension);
  CenterSet set{Eigen::ArrayXXf(count, width), Eigen::ArrayXd(count)};
  for (Eigen::Index j = 0; j < count; ++j) {
    const Cell& cell = cells[static_cast<size_t>(j)];
    set.weights[j] = cell.weight;
    for (Eigen::Index k = 0; k < width; ++k) set.centers(j, k) = cell.center[static_cast<size_t>(k)];
  }
  return set;
}

// The point of D_n (integers with an even sum) nearest to z - shift, plus shift.
Point nearest_even(const float* z, size_t dimension, float shift) {
  Point point{};
  float worst = -1;
  size_t flip = 0;
  int64_t sum = 0;
  for (size_t k = 0; k < dimension; ++k) {
    const float shifted = z[k] - shift;
    point[k] = std::nearbyint(shifted);
    sum += static_cast<int64_t>(point[k]);
    if (std::fabs(shifted - point[k]) > worst) {
      worst = std::fabs(shifted - point[k]);
      flip = k;
    }
  }
  if (sum % 2 != 0) point[flip] += z[flip] - shift < point[flip] ? -1.0f : 1.0f;
  for (size_t k = 0; k < dimension; ++k) point[k] += shift;
  return point;
}

Point nearest_hexagonal(const float* z, float shift) {
  const float height = std::sqrt(3.0f);
  return {std::nearbyint(z[0] - shift) + shift, (std::nearbyint(z[1] / height - shift) + shift) * height};
}

// The nearest point of the lattice, which is one or two shifted copies of a simpler one.
Point nearest_lattice_point(const float* z, size_t dimension) {
  if (dimension == 4) return nearest_even(z, dimension, 0);
  const auto copy = [&](float shift) {
    return dimension == 2 ? nearest_hexagonal(z, shift) : nearest_even(z, dimension, shift);
  };
  Point vector{};
  std::copy(z, z + dimension, vector.begin());
  const Point whole = copy(0), half = copy(0.5f);
  return squared_distance(whole, vector) <= squared_distance(half, vector) ? whole : half;
}

// The mean squared error per value of the lattice at a scale of 1: its normalised second moment times V^(2/d).
double lattice_mse(size_t dimension) {
  if (dimension == 2) return 0.0801875 * std::sqrt(3.0) / 2;
  if (dimension == 4) return 0.0766032 * std::sqrt(2.0);
  return 0.0716821;
}

}  // namespace

CenterSet product_start(const WeightedVectors& data, std::span<const float> centers, std::span<const float> bits,
                        float beta, size_t max_centers) {
  const Codebook scalar{1, {centers.begin(), centers.end()}, {bits.begin(), bits.end()}, 0};
  const HardAssigner assigner(scalar, beta);
  const auto quantize = [&](const float* z) {
    Point point{};
    for (size_t k = 0; k < data.dimension; ++k) point[k] = centers[assigner.assign(z[k])];
    return point;
  };
  return to_set(prune(occupied_cells(data, quantize), max_centers), data.dimension);
}

CenterSet lattice_start(const WeightedVectors& data, double mse, size_t max_centers) {
  const float scale = static_cast<float>(std::sqrt(mse / lattice_mse(data.dimension)));
  const auto quantize = [&](const float* z) {
    Point scaled{};
    for (size_t k = 0; k < data.dimension; ++k) scaled[k] = z[k] / scale;
    Point point = nearest_lattice_point(scaled.data(), data.dimension);
    for (float& value : point) value = value * scale + 0.0f;  // no -0
    return point;
  };
  return to_set(prune(occupied_cells(data, quantize), max_centers), data.dimension);
}

}  // namespace quench::quantizer
