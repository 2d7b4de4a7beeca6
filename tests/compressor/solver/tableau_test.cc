#include "compressor/solver/tableau.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "formats/error.h"

namespace quench::solver {
namespace {

using Vector = std::vector<double>;

double dot(const Vector& x, const Vector& y) { return std::inner_product(x.begin(), x.end(), y.begin(), 0.0); }

Vector times(const Vector& x, const Vector& y) {
  Vector z(x.size());
  for (size_t i = 0; i < x.size(); ++i) z[i] = x[i] * y[i];
  return z;
}

// The conditions of order 1 to 5, one for each rooted tree (Hairer, Norsett and Wanner, table II.2.2): weights . vector
// must be the value.
struct Condition {
  int order;
  Vector vector;
  double value;
};

std::vector<Condition> conditions_of(const Tableau& tableau) {
  const auto a = [&](const Vector& x) {
    Vector y(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] = std::inner_product(tableau.a[i].begin(), tableau.a[i].end(), x.begin(), 0.0);
    }
    return y;
  };
  const Vector& c = tableau.c;
  const Vector one(c.size(), 1), c2 = times(c, c), c3 = times(c2, c), ac = a(c), ac2 = a(c2), aac = a(ac);
  return {{1, one, 1},
          {2, c, 1.0 / 2},
          {3, c2, 1.0 / 3},
          {3, ac, 1.0 / 6},
          {4, c3, 1.0 / 4},
          {4, times(c, ac), 1.0 / 8},
          {4, ac2, 1.0 / 12},
          {4, aac, 1.0 / 24},
          {5, times(c2, c2), 1.0 / 5},
          {5, times(c2, ac), 1.0 / 10},
          {5, times(ac, ac), 1.0 / 20},
          {5, times(c, ac2), 1.0 / 15},
          {5, a(c3), 1.0 / 20},
          {5, times(c, aac), 1.0 / 30},
          {5, a(times(c, ac)), 1.0 / 40},
          {5, a(ac2), 1.0 / 60},
          {5, a(aac), 1.0 / 120}};
}

// The largest order up to which all conditions hold.
int order_of(const Tableau& tableau, const Vector& weights) {
  int order = 5;
  for (const Condition& condition : conditions_of(tableau)) {
    if (std::abs(dot(weights, condition.vector) - condition.value) > 1e-12) {
      order = std::min(order, condition.order - 1);
    }
  }
  return order;
}

TEST(Tableau, MeetsTheConditionsOfItsOrderAndNoMore) {
  EXPECT_EQ(tableau_names().size(), 7u);
  for (const std::string_view name : tableau_names()) {
    const Tableau& tableau = find_tableau(name);
    ASSERT_EQ(tableau.c.size(), tableau.stages()) << name;
    ASSERT_EQ(tableau.a.size(), tableau.stages()) << name;
    for (size_t i = 0; i < tableau.stages(); ++i) {
      ASSERT_EQ(tableau.a[i].size(), i) << name;
      EXPECT_NEAR(std::accumulate(tableau.a[i].begin(), tableau.a[i].end(), 0.0), tableau.c[i], 1e-12) << name;
    }
    EXPECT_EQ(order_of(tableau, tableau.b), tableau.order) << name;
    if (!tableau.has_error()) continue;
    Vector embedded = tableau.b;
    for (size_t i = 0; i < embedded.size(); ++i) embedded[i] -= tableau.d[i];
    EXPECT_EQ(order_of(tableau, embedded), tableau.error_order) << name;
  }
}

TEST(Tableau, LastStageIsTheNextStepsFirst) {
  const std::map<std::string_view, bool> expected{{"euler", false}, {"midpoint", false}, {"heun", false},
                                                  {"rk4", false},   {"bosh3", true},     {"tsit5", true},
                                                  {"dopri5", true}};
  for (const std::string_view name : tableau_names())
    EXPECT_EQ(find_tableau(name).is_fsal(), expected.at(name)) << name;
}

TEST(Tableau, UnknownNamesAreAnsweredWithThoseThatThereAre) {
  try {
    find_tableau("rk45\n");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "solver 'rk45?' is not known: choose one of euler, midpoint, heun, rk4, bosh3, tsit5, dopri5");
  }
}

}  // namespace
}  // namespace quench::solver
