#include "compressor/solver/integrate.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <map>

#include "compressor/solver/tableau.h"
#include "formats/error.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::solver {
namespace {

using ::quench::testing::error_of;
using torch::Tensor;

Tensor doubles(std::vector<double> values) { return torch::tensor(values, torch::kDouble); }

struct Problem {
  std::string name;
  Function f;
  Tensor u0;
  std::function<Tensor(double)> solution;
};

const Tensor& matrix() {
  static const Tensor kMatrix = doubles({-0.5, 2.0, 0.0, -2.0, -0.5, 0.3, 0.1, -0.3, -1.0}).view({3, 3});
  return kMatrix;
}

// From 0 to 2, with their solutions in closed form.
std::vector<Problem> problems() {
  return {
      {"constant", [](double t, const Tensor& u) { return 0.2 + (u - (0.2 * t + 0.5)).pow(5); }, doubles({0.5}),
       [](double t) { return doubles({0.2 * t + 0.5}); }},
      {"linear", [](double, const Tensor& u) { return torch::mv(matrix(), u); }, doubles({1.0, -0.5, 2.0}),
       [](double t) {
         return torch::mv(torch::matrix_exp(matrix() * t), doubles({1.0, -0.5, 2.0}));
       }},
      {"sine", [](double t, const Tensor& u) { return 2 * u / (t + 1) + (t + 1) * (t + 1) * std::cos(3 * t); },
       doubles({0.3}), [](double t) { return doubles({(t + 1) * (t + 1) * (0.3 + std::sin(3 * t) / 3)}); }},
      {"exponential", [](double t, const Tensor& u) { return u * (std::sin(2 * t) - 0.5); }, doubles({1.0}),
       [](double t) { return doubles({std::exp((1 - std::cos(2 * t)) / 2 - 0.5 * t)}); }},
  };
}

double error_of(const Tensor& value, const Tensor& expected) { return (value - expected).abs().max().item<double>(); }

Options adaptive(std::string method, double tolerance) {
  return {.method = std::move(method), .rtol = tolerance, .atol = tolerance};
}

TEST(Integrate, ConvergesWithTheOrderOfTheMethod) {
  torch::manual_seed(4);
  const Tensor random = torch::randn({4, 4}, torch::kDouble) * 0.3, u0 = torch::randn({4}, torch::kDouble);
  const Tensor system = random - random.t();
  const Tensor expected = torch::mv(torch::matrix_exp(4 * system), u0);
  const Function f = [&](double, const Tensor& u) { return torch::mv(system, u); };
  for (const std::string_view name : tableau_names()) {
    double x = 0, y = 0, xx = 0, xy = 0, count = 0;
    for (const int steps : {40, 56, 80, 112, 160}) {  // small enough steps, and errors above those of rounding
      Options options;
      options.method = name;
      options.steps = steps;
      const double log_error = std::log(error_of(integrate(f, u0, {0, 4}, options).values[1], expected));
      const double log_step = -std::log(steps);
      x += log_step, y += log_error, xx += log_step * log_step, xy += log_step * log_error, ++count;
    }
    const double slope = (count * xy - x * y) / (count * xx - x * x);
    EXPECT_NEAR(slope, find_tableau(name).order, 0.2) << name;
  }
}

// What SciPy 1.10.1 needs: solve_ivp(f, (0, 2), u0, method, rtol=10**-e, atol=10**-e) of the problems above, for e from 3
// upwards; nfev and the largest error at t = 2.
struct Needed {
  int evaluations;
  double error;
};

const std::map<std::string, std::map<std::string, std::vector<Needed>>>& scipy() {
  static const std::map<std::string, std::map<std::string, std::vector<Needed>>> kNeeded = {
      {"RK45",
       {{"constant", {{20, 0}, {20, 0}, {20, 0}, {20, 0}, {20, 0}, {26, 0}, {26, 0}}},
        {"linear",
         {{32, 1.64e-3}, {44, 1.43e-4}, {62, 1.13e-5}, {86, 9.54e-7}, {134, 1.05e-7}, {206, 1.12e-8}, {320, 1.16e-9}}},
        {"sine",
         {{26, 9.44e-4}, {32, 2.73e-4}, {56, 2.45e-5}, {98, 4.07e-6}, {140, 1.9e-7}, {218, 1.68e-8}, {314, 1.75e-9}}},
        {"exponential",
         {{32, 3.51e-5},
          {26, 6.79e-5},
          {56, 1.21e-6},
          {74, 1.12e-6},
          {116, 6.03e-8},
          {134, 5.89e-9},
          {206, 4.42e-10}}}}},
      {"RK23",
       {{"constant", {{11, 0}, {11, 0}, {14, 0}, {14, 0}, {14, 0}, {17, 0}}},
        {"linear", {{29, 7.24e-3}, {56, 6.78e-4}, {113, 6.21e-5}, {236, 6.27e-6}, {500, 6.36e-7}, {1070, 6.42e-8}}},
        {"sine", {{65, 9.87e-4}, {119, 1.26e-4}, {230, 1.72e-5}, {464, 2.48e-6}, {977, 2.04e-7}, {2090, 1.7e-8}}},
        {"exponential",
         {{38, 3.4e-4}, {56, 3.52e-5}, {113, 3.25e-6}, {233, 2.04e-7}, {479, 1.14e-8}, {1010, 8.58e-10}}}}},
  };
  return kNeeded;
}

// The evaluations that an error costs, between the two stored ones around it; where it is below what rounding leaves,
// those of the same tolerance.
double evaluations_for(const std::vector<Needed>& needed, double error, int exponent) {
  if (error < 1e-14) return needed[static_cast<size_t>(exponent - 3)].evaluations;
  for (size_t i = 1; i < needed.size(); ++i) {
    const Needed &rough = needed[i - 1], &fine = needed[i];
    if (error > rough.error || error < fine.error) continue;
    const double share = std::log(error / rough.error) / std::log(fine.error / rough.error);
    return rough.evaluations * std::pow(static_cast<double>(fine.evaluations) / rough.evaluations, share);
  }
  return -1;
}

TEST(Integrate, MeetsTolerancesWithNoMoreEvaluationsThanSciPy) {
  const std::map<std::string, std::string> rivals{{"dopri5", "RK45"}, {"tsit5", "RK45"}, {"bosh3", "RK23"}};
  for (const Problem& problem : problems()) {
    const Tensor expected = problem.solution(2);
    for (const auto& [method, rival] : rivals) {
      for (const int exponent : {6, 7}) {
        const Solution solution = integrate(problem.f, problem.u0, {0, 2}, adaptive(method, std::pow(10.0, -exponent)));
        const double error = error_of(solution.values[1], expected);
        if (exponent == 7) {
          EXPECT_LT(error, 1e-6 * std::max(1.0, expected.abs().max().item<double>())) << method << " " << problem.name;
        }
        const double allowed = evaluations_for(scipy().at(rival).at(problem.name), error, exponent);
        ASSERT_GT(allowed, 0) << method << " " << problem.name << " " << error;
        EXPECT_LE(static_cast<double>(solution.counts.evaluations), 1.15 * allowed)
            << method << " " << problem.name << " 1e-" << exponent << " " << error;
      }
    }
    const Solution heun = integrate(problem.f, problem.u0, {0, 2}, adaptive("heun", 1e-7));
    EXPECT_LT(error_of(heun.values[1], expected), 3e-6) << problem.name;
  }
}

TEST(Integrate, CountsWhatItDoes) {
  int64_t calls = 0;
  const Problem problem = problems()[2];
  const Function f = [&](double t, const Tensor& u) {
    ++calls;
    return problem.f(t, u);
  };
  for (const std::string_view name : adaptive_names()) {
    calls = 0;
    const Counts counts = integrate(f, problem.u0, {0, 2}, adaptive(std::string(name), 1e-5)).counts;
    EXPECT_EQ(counts.evaluations, calls) << name;
    EXPECT_GT(counts.accepted, 3) << name;
    const Tableau& tableau = find_tableau(name);
    const auto tried = counts.accepted + counts.rejected, stages = static_cast<int64_t>(tableau.stages());
    // Two for the first step; each step's first stage is at hand, but heun's, which is evaluated after each accepted one.
    const int64_t firsts = tableau.is_fsal() ? 0 : counts.accepted - 1;
    EXPECT_EQ(calls, 2 + tried * (stages - 1) + firsts) << name;
  }
  calls = 0;
  EXPECT_EQ(integrate(f, problem.u0, {0, 2}, {.method = "rk4", .steps = 5}).counts.evaluations, 20);
  EXPECT_EQ(calls, 20);
  // A stiff stretch that the first step cannot know of.
  const Function sudden = [](double t, const Tensor& u) { return (t > 1 ? -200.0 : -0.1) * u; };
  EXPECT_GT(integrate(sudden, doubles({1}), {0, 2}, adaptive("dopri5", 1e-6)).counts.rejected, 0);
}

TEST(Integrate, ReturnsFromWhereItWent) {
  for (const Problem& problem : problems()) {
    for (const std::string method : {"bosh3", "tsit5", "dopri5"}) {
      const double tolerance = method == "bosh3" ? 1e-8 : 1e-10;
      const Tensor there = integrate(problem.f, problem.u0, {0, 2}, adaptive(method, tolerance)).values[1];
      const Tensor back = integrate(problem.f, there, {2, 0}, adaptive(method, tolerance)).values[1];
      EXPECT_LT(error_of(back, problem.u0), 1e-6) << method << " " << problem.name;
    }
  }
}

TEST(Integrate, GivesValuesAtTheTimesAskedFor) {
  const Problem problem = problems()[1];
  for (const std::vector<double>& times : {std::vector<double>{0, 0.3, 0.31, 1.7, 2}, {2, 1.2, -0.4}, {0.5}}) {
    for (const std::string method : {"dopri5", "rk4"}) {
      Options options = adaptive(method, 1e-9);
      if (method == "rk4") options.steps = 200;
      const Tensor u0 = problem.solution(times[0]);
      const Solution solution = integrate(problem.f, u0, times, options);
      ASSERT_EQ(solution.values.size(), times.size());
      for (size_t i = 0; i < times.size(); ++i) {
        EXPECT_LT(error_of(solution.values[i], problem.solution(times[i])), 1e-7) << method << " " << times[i];
      }
    }
  }
}

// u' = tanh(W u + t b), in which W and b are learned; the loss looks at two of three values.
struct Learned {
  Tensor w, b, u0;

  Learned() {
    torch::manual_seed(7);
    w = torch::randn({3, 3}, torch::kDouble).requires_grad_(true);
    b = torch::randn({3}, torch::kDouble).requires_grad_(true);
    u0 = torch::randn({2, 3}, torch::kDouble).requires_grad_(true);
  }

  std::vector<Tensor> gradients(Options options) const {
    options.parameters = {w, b};
    const Function f = [this](double t, const Tensor& u) { return torch::tanh(torch::matmul(u, w) + t * b); };
    const Solution solution = integrate(f, u0, {0, 0.7, 1.5}, options);
    const Tensor loss = solution.values[1].square().sum() + solution.values[2].sin().sum();
    return torch::autograd::grad({loss}, {u0, w, b});
  }
};

double largest_difference(const std::vector<Tensor>& x, const std::vector<Tensor>& y) {
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) largest = std::max(largest, error_of(x[i], y[i]));
  return largest;
}

TEST(Gradient, RecomputedAndStoredAgree) {
  const Learned learned;
  for (const std::string_view name : tableau_names()) {
    for (const int steps : {0, 4}) {
      if (steps == 0 && !find_tableau(name).has_error()) continue;
      Options options = adaptive(std::string(name), 1e-5);
      options.steps = steps;
      const std::vector<Tensor> recomputed = learned.gradients(options);
      options.gradient = Gradient::kStored;
      EXPECT_LT(largest_difference(recomputed, learned.gradients(options)), 1e-12) << name << " " << steps;
    }
  }
}

TEST(Gradient, AdjointAgreesWithBackpropagation) {
  const Learned learned;
  for (const std::string method : {"tsit5", "dopri5"}) {
    Options options = adaptive(method, 1e-9);
    const std::vector<Tensor> recomputed = learned.gradients(options);
    options.gradient = Gradient::kAdjoint;
    const double difference = largest_difference(recomputed, learned.gradients(options));
    EXPECT_LT(difference, 1e-6) << method;
    EXPECT_GT(difference, 0) << method;  // it is another method
  }
}

TEST(Gradient, AgreesWithFiniteDifferences) {
  const Problem problem = problems()[2];
  const auto loss_of = [&](const Tensor& u0, Gradient gradient) {
    Options options = adaptive("dopri5", 1e-10);
    options.gradient = gradient;
    return integrate(problem.f, u0, {0, 2}, options).values[1].sum();
  };
  for (const Gradient gradient : {Gradient::kRecompute, Gradient::kAdjoint, Gradient::kStored}) {
    const Tensor u0 = problem.u0.clone().requires_grad_(true);
    const Tensor derivative = torch::autograd::grad({loss_of(u0, gradient)}, {u0})[0];
    EXPECT_NEAR(derivative.item<double>(), 9, 1e-6);  // u(t) = (t + 1)^2 (u0 + sin(3 t) / 3)
  }
}

TEST(Integrate, RefusesWhatCannotBe) {
  const Function f = [](double, const Tensor& u) { return -u; };
  const Tensor u0 = doubles({1, 2});
  const auto refusal = [&](const Options& options, const std::vector<double>& times = {0, 1}) {
    return error_of([&] { integrate(f, u0, times, options); });
  };
  EXPECT_EQ(refusal({.method = "ode45"}),
            "solver 'ode45' is not known: choose one of euler, midpoint, heun, rk4, bosh3, tsit5, dopri5");
  EXPECT_EQ(refusal({.method = "rk4"}),
            "solver 'rk4' has no estimate of its error: give a number of steps, or choose one of heun, bosh3, tsit5, "
            "dopri5");
  EXPECT_EQ(refusal(adaptive("dopri5", 0)), "a tolerance of 0 cannot be met: give rtol or atol above 0");
  EXPECT_EQ(refusal(adaptive("dopri5", -1e-3)), "rtol -0.001 cannot be: give a number of at least 0");
  EXPECT_EQ(refusal(adaptive("dopri5", std::nan(""))), "rtol nan cannot be: give a number of at least 0");
  EXPECT_EQ(refusal(adaptive("dopri5", 2)), "rtol 2 asks for nothing: give a number below 1");
  EXPECT_EQ(refusal({.steps = -1}), "-1 steps cannot be taken: give at least 1, or 0 for adaptive ones");
  EXPECT_NE(refusal({}, {0, 1, 0.5}).find("time 2 is 0.5"), std::string::npos);
  EXPECT_NE(refusal({}, {0, 0}).find("time 1 is 0"), std::string::npos);
  EXPECT_NE(refusal({}, {0, INFINITY}).find("time 1 is inf"), std::string::npos);
  EXPECT_NE(refusal({}, {}).find("no times"), std::string::npos);
}

TEST(Integrate, SaysWhatIsWrongWithTheRightHandSide) {
  const auto refusal = [](const Function& f, const Options& options = {}) {
    return error_of([&] { integrate(f, doubles({1, 2}), {0, 2}, options); });
  };
  EXPECT_EQ(refusal([](double, const Tensor& u) { return u.sum(); }),
            "the right-hand side at t = 0 has the shape [], but u has [2]: f(t, u) must have u's");
  EXPECT_EQ(refusal([](double, const Tensor& u) { return u.to(torch::kFloat); }),
            "the right-hand side at t = 0 is of the type Float, but u of Double: f(t, u) must have u's");
  const Function nothing = [](double, const Tensor& u) { return u * std::nan(""); };
  EXPECT_EQ(refusal(nothing), "u or f(t, u) is not finite at t = 0, where it begins: look at both");
  EXPECT_EQ(refusal(nothing, {.method = "rk4", .steps = 3}),
            "u is not finite at t = 2: take more steps, or an adaptive solver");
  // NaN from t = 1 on.
  const std::string late = refusal([](double t, const Tensor& u) { return t < 1 ? -u : u * std::nan(""); });
  EXPECT_EQ(late.find("u or f(t, u) is not finite behind t = "), 0u) << late;
  // u = 1 / (1/2 - t) for the second element has no end at t = 1/2.
  const std::string pole = refusal([](double, const Tensor& u) { return u * u; });
  EXPECT_TRUE(pole.find("the step underflows at t = 0.5") == 0 || pole.find("not finite behind t = 0.5") != pole.npos)
      << pole;
  const std::string stiff = refusal([](double, const Tensor& u) { return -1e9 * (u - 1.5); }, {.max_steps = 500});
  EXPECT_EQ(stiff.find("500 steps were not enough, and t is "), 0u) << stiff;
}

TEST(Integrate, ErrorsNameTheProblemOnTheWayBackToo) {
  for (const Gradient gradient : {Gradient::kRecompute, Gradient::kAdjoint}) {
    Options options;
    options.name = "the pendulum";
    options.gradient = gradient;
    const Tensor u0 = doubles({1, 2}).requires_grad_();
    bool returns = false, has_shape = true;
    const Function f = [&](double, const Tensor& u) {
      if (!has_shape) return u.sum();
      return returns ? u * std::nan("") : -u;
    };
    const Tensor u = integrate(f, u0, {0, 1}, options).values[1];
    const auto gradient_of = [&] { torch::autograd::grad({u.sum()}, {u0}, {}, true); };
    has_shape = false;
    EXPECT_EQ(error_of(gradient_of).find("the pendulum: the right-hand side at t = "), 0u) << error_of(gradient_of);
    EXPECT_EQ(error_of([&] { integrate(f, u0, {0, 1}, options); }).find("the pendulum: the right-hand side"), 0u);
    if (gradient == Gradient::kRecompute) continue;  // which chooses no steps on the way back
    has_shape = true;
    returns = true;
    EXPECT_THROW(gradient_of(), NoSolution);
    EXPECT_EQ(error_of(gradient_of).find("the pendulum: u or f(t, u) is not finite"), 0u) << error_of(gradient_of);
  }
}

}  // namespace
}  // namespace quench::solver
