#include "compressor/data/points.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <string>

#include "formats/base/crc32c.h"
#include "formats/error.h"

namespace quench::data {
namespace {

using Point = std::array<float, 2>;

constexpr int kCount = 20000;
constexpr double kTurn = 2 * M_PI;

Point draw(const PointsOptions& options, uint64_t index) {
  Point point{};
  draw_point(options, index, point);
  return point;
}

void for_each_point(const std::string& set, const std::function<void(double, double)>& visit) {
  for (int i = 0; i < kCount; ++i) {
    const Point point = draw({.set = set}, static_cast<uint64_t>(i));
    visit(point[0], point[1]);
  }
}

struct Moments {
  double x = 0, y = 0, xx = 0, yy = 0, xy = 0;  // means, and means of products around them
};

Moments moments_of(const std::string& set) {
  Moments m;
  for_each_point(set, [&](double x, double y) {
    m.x += x / kCount;
    m.y += y / kCount;
    m.xx += x * x / kCount;
    m.yy += y * y / kCount;
    m.xy += x * y / kCount;
  });
  return {m.x, m.y, m.xx - m.x * m.x, m.yy - m.y * m.y, m.xy - m.x * m.y};
}

// The mean of a function over the first interval of a grid.
double mean_over(double low, double high, const std::function<double(double)>& f) {
  constexpr int kParts = 2000;
  double sum = 0;
  for (int i = 0; i < kParts; ++i) sum += f(low + (high - low) * (i + 0.5) / kParts);
  return sum / kParts;
}

// Figures that were measured on the sets rely on these bytes.
TEST(Points, PointsNeverChange) {
  const std::map<std::string_view, uint32_t> expected = {{"moons", 565444827u},      {"checkerboard", 2541805867u},
                                                         {"pinwheel", 538889395u},   {"spirals", 1122694647u},
                                                         {"8gaussians", 869595679u}, {"rings", 1765506943u}};
  for (const std::string_view set : point_set_names()) {
    uint32_t sum = 0;
    for (uint64_t i = 0; i < 1000; ++i) {
      const Point point = draw({.set = std::string(set), .seed = 5}, i);
      sum = crc32c(std::as_bytes(std::span(point)), sum);
    }
    EXPECT_EQ(sum, expected.at(set)) << set;
  }
}

TEST(Points, APointDependsOnSetSeedSplitAndIndexOnly) {
  const Point first = draw({}, 5);
  EXPECT_EQ(draw({}, 5), first);
  EXPECT_NE(draw({}, 6), first);
  EXPECT_NE(draw({.seed = 1}, 5), first);
  EXPECT_NE(draw({.training = true}, 5), first);
}

// By the definitions in points.h; a mean of 20,000 numbers of variance v is within 4 sqrt(v / 20,000) but for one in
// 16,000.
TEST(Points, MomentsAreThoseOfTheDefinitions) {
  const auto expect = [](const std::string& set, const Moments& wanted) {
    const Moments m = moments_of(set);
    const double of_product = 4 * 1.5 * std::max(wanted.xx, wanted.yy) / std::sqrt(kCount);
    EXPECT_NEAR(m.x, wanted.x, 4 * std::sqrt(wanted.xx / kCount)) << set;
    EXPECT_NEAR(m.y, wanted.y, 4 * std::sqrt(wanted.yy / kCount)) << set;
    EXPECT_NEAR(m.xx, wanted.xx, of_product) << set;
    EXPECT_NEAR(m.yy, wanted.yy, of_product) << set;
    EXPECT_NEAR(m.xy, wanted.xy, of_product) << set;
  };
  // A half circle of radius 2: mean height 4 / pi, mean square 2 each.
  const double height = 4 / M_PI, upper = height - 0.2, lower = 0.8 - height, middle = (upper + lower) / 2;
  expect("moons", {0, middle, 2 + 1 + 0.04, 2 - height * height + (upper - middle) * (upper - middle) + 0.04,
                   -(upper - middle)});
  expect("checkerboard", {0, 0, 16.0 / 3, 16.0 / 3, 1});
  expect("pinwheel", {0, 0, 2 * (1 + 0.09 + 0.01), 2 * (1 + 0.09 + 0.01), 0});
  const auto of_spiral = [](const std::function<double(double x, double y)>& f) {
    return mean_over(0, 1,
                     [&](double u) {
                       const double p = 3 * M_PI * std::sqrt(u);
                       return f(-p * std::cos(p) + 0.25, p * std::sin(p) + 0.25);
                     }) /
           9;
  };
  const double jitter = 0.25 / 12 / 9 + 0.01;
  expect("spirals", {0, 0, of_spiral([](double x, double) { return x * x; }) + jitter,
                     of_spiral([](double, double y) { return y * y; }) + jitter,
                     of_spiral([](double x, double y) { return x * y; })});
  expect("8gaussians", {0, 0, 4 + 0.125, 4 + 0.125, 0});
  const double square = 0.75 * 0.75 * (1 + 4 + 9 + 16) / 4 / 2 + 0.0064;
  expect("rings", {0, 0, square, square, 0});
}

TEST(Points, LieWhereTheSetIs) {
  for_each_point("checkerboard", [](double x, double y) {
    ASSERT_LT(std::max(std::abs(x), std::abs(y)), 4.0001);
    ASSERT_EQ((static_cast<int>(std::floor(x / 2 + 1e-9)) + static_cast<int>(std::floor(y / 2 + 1e-9))) & 1, 0);
  });
  for_each_point("rings", [](double x, double y) {
    const double radius = std::hypot(x, y) / 0.75;
    ASSERT_LT(std::abs(radius - std::round(radius)) * 0.75, 0.08 * 6);
    ASSERT_LT(radius, 4 + 0.8);
  });
  for_each_point("8gaussians", [](double x, double y) {
    const double angle = std::round(8 * std::atan2(y, x) / kTurn) * kTurn / 8, radius = 4 * std::sqrt(0.5);
    ASSERT_LT(std::hypot(x - radius * std::cos(angle), y - radius * std::sin(angle)), 6 * 0.5);
  });
  for_each_point("spirals", [](double x, double y) { ASSERT_LT(std::hypot(x, y), M_PI + 1); });
}

// The share of points near one of the five arms at its middle, where noise does not blur which one it is.
TEST(Points, PinwheelHasFiveArms) {
  double same = 0, all = 0;
  for_each_point("pinwheel", [&](double x, double y) {
    const double radius = std::hypot(x, y) / 2;
    if (radius < 0.9 || radius > 1.1) return;
    const double beyond = std::atan2(y, x) - std::exp(radius) / 4;
    same += std::cos(5 * beyond);
    ++all;
  });
  ASSERT_GT(all, kCount / 10);
  // cos(5 n / 10) of a normal n has the mean exp(-1/8); the bend of the arms blurs it a little.
  EXPECT_NEAR(same / all, std::exp(-0.125), 0.03);
}

TEST(Points, UnknownSet) {
  Point point{};
  try {
    draw_point({.set = "squares"}, 0, point);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "set 'squares' is not known: choose one of moons, checkerboard, pinwheel, spirals, 8gaussians, rings");
  }
}

}  // namespace
}  // namespace quench::data
