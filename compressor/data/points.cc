#include "compressor/data/points.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "compressor/data/counter_random.h"
#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::data {
namespace {

constexpr double kPi = 3.14159265358979323846;

struct Point {
  double x, y;
};

Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
Point operator*(double factor, Point a) { return {factor * a.x, factor * a.y}; }

// (cos, sin) of an angle of up to a few turns: Taylor's series of a thirty-second of it, then doubled five times.
Point direction(double angle) {
  const double x = angle / 32, square = x * x;
  double cosine = 1, sine = x, even = 1, odd = x;
  for (int i = 2; i <= 14; i += 2) {
    cosine += even *= -square / (i * (i - 1));
    sine += odd *= -square / (i * (i + 1));
  }
  for (int i = 0; i < 5; ++i) {
    const double doubled = cosine * cosine - sine * sine;
    sine = 2 * sine * cosine;
    cosine = doubled;
  }
  return {cosine, sine};
}

// exp(x) of a small x, likewise.
double exponential(double x) {
  const double part = x / 32;
  double sum = 1, term = 1;
  for (int i = 1; i <= 14; ++i) sum += term = term * part / i;
  for (int i = 0; i < 5; ++i) sum *= sum;
  return sum;
}

Point noise(CounterRandom& random, double deviation) {
  const double x = random.nearly_normal();
  return {deviation * x, deviation * random.nearly_normal()};
}

Point moons(CounterRandom& random) {
  const bool is_upper = random.below(2) == 0;
  const Point half = direction(random.uniform(0, kPi));
  const Point curve = is_upper ? 2 * half + Point{-1, -0.2} : -2 * half + Point{1, 0.8};
  return curve + noise(random, 0.2);
}

Point checkerboard(CounterRandom& random) {
  const int column = random.below(4);
  const int row = 2 * random.below(2) + column % 2;
  const double x = random.uniform(0, 1);
  return {2 * (column + x) - 4, 2 * (row + random.uniform(0, 1)) - 4};
}

Point pinwheel(CounterRandom& random) {
  const int arm = random.below(5);
  const double along = 1 + 0.3 * random.nearly_normal(), across = 0.1 * random.nearly_normal();
  const Point turn = direction(2 * kPi * arm / 5 + exponential(along) / 4);
  return 2 * Point{along * turn.x - across * turn.y, along * turn.y + across * turn.x};
}

Point spirals(CounterRandom& random) {
  const double p = 3 * kPi * std::sqrt(random.uniform(0, 1));
  const Point turn = direction(p);
  const double x = -p * turn.x + random.uniform(0, 0.5);
  const Point curve{x, p * turn.y + random.uniform(0, 0.5)};
  const double scale = random.below(2) == 0 ? 1.0 / 3 : -1.0 / 3;
  return scale * curve + noise(random, 0.1);
}

Point eight_gaussians(CounterRandom& random) {
  const Point center = direction(kPi / 4 * random.below(8));
  return std::sqrt(0.5) * (4 * center + noise(random, 0.5));
}

Point rings(CounterRandom& random) {
  const double radius = 0.75 * (1 + random.below(4));
  const Point circle = direction(random.uniform(0, 2 * kPi));
  return radius * circle + noise(random, 0.08);
}

struct PointSet {
  std::string_view name;
  Point (*draw)(CounterRandom& random);
};

constexpr std::array<PointSet, 6> kSets = {{{"moons", moons},
                                            {"checkerboard", checkerboard},
                                            {"pinwheel", pinwheel},
                                            {"spirals", spirals},
                                            {"8gaussians", eight_gaussians},
                                            {"rings", rings}}};

}  // namespace

void draw_point(const PointsOptions& options, uint64_t index, std::span<float, 2> point) {
  const auto* const set = std::ranges::find(kSets, options.set, &PointSet::name);
  if (set == kSets.end()) {
    throw Error::make("set '{}' is not known: choose one of {}", printable(options.set),
                      fmt::join(point_set_names(), ", "));
  }
  CounterRandom random(options.seed, options.training ? 0 : 1, index);
  const Point drawn = set->draw(random);
  point[0] = static_cast<float>(drawn.x);
  point[1] = static_cast<float>(drawn.y);
}

std::vector<std::string_view> point_set_names() {
  std::vector<std::string_view> names;
  names.reserve(kSets.size());
  for (const PointSet& set : kSets) names.push_back(set.name);
  return names;
}

bool is_point_set(std::string_view name) {
  return std::ranges::any_of(kSets, [name](const PointSet& set) { return set.name == name; });
}

}  // namespace quench::data
