#include "compressor/networks/ode_block.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace quench::networks {
namespace {

// u + h sum_j weights[j] k[j], zeros left out.
std::string combine(GraphBuilder& graph, const std::string& name, const std::string& u,
                    const std::vector<double>& weights, double h, const std::vector<std::string>& k) {
  const std::string scale = name + ".scale", add = name + ".add";
  std::string sum = u;
  for (size_t j = 0; j < weights.size(); ++j) {
    if (weights[j] == 0) continue;
    const std::string term = graph.node("Mul", scale, {k[j], constant_of(graph, h * weights[j])});
    sum = graph.node("Add", add, {sum, term});
  }
  return sum;
}

// Writes what an adaptive step needs, node by node.
class LoopWriter {
 public:
  LoopWriter(GraphBuilder& graph, std::string name, const solver::Tableau& tableau, const Tolerance& tolerance,
             double t1, const TimedRightHandSide& f)
      : graph_(graph), name_(std::move(name)), tableau_(tableau), tolerance_(tolerance), t1_(t1), f_(f) {}

  std::string write(double t0, const std::string& u) {
    const std::string start = number(t0), slope = f_(graph_, start, u);
    const std::string h = first_step(start, t1_ - t0, u, slope);
    std::vector<std::string> carried = {start, h, number(kMostFactor), number(0), u};
    if (tableau_.is_fsal()) carried.push_back(slope);
    const std::string begins = op("Less", {start, number(t1_)});
    const std::vector<std::string> ends =
        graph_.loop(name_ + ".loop", tolerance_.most, begins, carried,
                    [this](const std::vector<std::string>& values) { return turn(values); });
    graph_.node("Identity", name_ + ".tries", {ends[3]}, {}, name_ + ".tries");
    const std::string zero = op("Sub", {ends[0], ends[0]});  // 0 / 0, as no initializer may be NaN
    return op("Where", {op("Less", {ends[0], number(t1_)}), op("Div", {zero, zero}), ends[4]});
  }

 private:
  // As in solver/integrate.cc.
  static constexpr double kSafety = 0.9, kLeastFactor = 0.2, kMostFactor = 10;

  std::string op(const std::string& type, const std::vector<std::string>& inputs) {
    return graph_.node(type, fmt::format("{}.control.{}", name_, type), inputs);
  }
  std::string number(double value) { return constant_of(graph_, value); }
  std::string times(const std::string& a, double b) { return op("Mul", {a, number(b)}); }

  std::string root_mean_square(const std::string& u) {
    return op("Sqrt",
              {graph_.node("ReduceMean", name_ + ".control.mean", {op("Mul", {u, u})}, {{"keepdims", int64_t{0}}})});
  }

  // rtol size + atol
  std::string scale_of(const std::string& size) {
    return op("Add", {times(size, tolerance_.rtol), number(tolerance_.atol)});
  }

  // h times the sum of weights[j] k[j].
  std::string change(const std::string& h, const std::vector<double>& weights, const std::vector<std::string>& k) {
    std::string sum;
    for (size_t j = 0; j < weights.size(); ++j) {
      if (weights[j] == 0) continue;
      const std::string term = times(k[j], weights[j]);
      sum = sum.empty() ? term : op("Add", {sum, term});
    }
    return op("Mul", {sum, h});
  }

  // Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", 1993, p. 169.
  std::string first_step(const std::string& t, double interval, const std::string& u, const std::string& slope) {
    const std::string scale = scale_of(op("Abs", {u}));
    const std::string size = root_mean_square(op("Div", {u, scale})),
                      speed = root_mean_square(op("Div", {slope, scale}));
    const std::string tiny = op("Or", {op("Less", {size, number(1e-5)}), op("Less", {speed, number(1e-5)})});
    const std::string ratio = times(op("Div", {size, speed}), 0.01);
    const std::string guess = op("Min", {op("Where", {tiny, number(1e-6), ratio}), number(interval)});
    const std::string ahead = f_(graph_, op("Add", {t, guess}), op("Add", {u, op("Mul", {slope, guess})}));
    const std::string bend = op("Div", {root_mean_square(op("Div", {op("Sub", {ahead, slope}), scale})), guess});
    const std::string fastest = op("Max", {speed, bend});
    const std::string still = op("LessOrEqual", {fastest, number(1e-15)});
    const std::string slow = op("Max", {times(guess, 1e-3), number(1e-6)});
    const std::string fast = op("Pow", {op("Div", {number(0.01), fastest}), number(1.0 / (tableau_.error_order + 1))});
    return op("Min", {times(guess, 100), op("Where", {still, slow, fast}), number(interval)});
  }

  // Carried: t, h, the most that a step may grow by, tries, u and, where the method has it, f(t, u).
  GraphBuilder::Turn turn(const std::vector<std::string>& carried) {
    const std::string &t = carried[0], &u = carried[4];
    const std::string left = op("Sub", {number(t1_), t});
    const std::string is_last = op("LessOrEqual", {left, carried[1]});
    const std::string h = op("Min", {carried[1], left});
    std::vector<std::string> k = {tableau_.is_fsal() ? carried[5] : f_(graph_, t, u)};
    std::string next;
    for (size_t i = 1; i < tableau_.stages(); ++i) {
      next = op("Add", {u, change(h, tableau_.a[i], k)});
      k.push_back(f_(graph_, op("Add", {t, times(h, tableau_.c[i])}), next));
    }
    if (!tableau_.is_fsal()) next = op("Add", {u, change(h, tableau_.b, k)});
    const std::string size = op("Max", {op("Abs", {u}), op("Abs", {next})});
    const std::string error = root_mean_square(op("Div", {change(h, tableau_.d, k), scale_of(size)}));
    const std::string is_accepted = op("LessOrEqual", {error, number(1)});
    // An error that is not a number is not at most 1, and the step becomes a fifth.
    const std::string power =
        times(op("Pow", {op("Max", {error, number(1e-10)}), number(-1.0 / (tableau_.error_order + 1))}), kSafety);
    const std::string grown = op("Min", {power, carried[2]});
    const std::string shrunk =
        op("Where", {op("Less", {power, number(kLeastFactor)}), number(kLeastFactor), op("Min", {power, number(1)})});
    const std::string is_number = op("LessOrEqual", {error, number(std::numeric_limits<float>::max())});
    const std::string rejected = op("Where", {is_number, shrunk, number(kLeastFactor)});
    const std::string end = op("Where", {is_last, number(t1_), op("Add", {t, h})});
    const std::string t_next = op("Where", {is_accepted, end, t});
    std::vector<std::string> values = {t_next, op("Mul", {h, op("Where", {is_accepted, grown, rejected})}),
                                       op("Where", {is_accepted, number(kMostFactor), number(1)}),
                                       op("Add", {carried[3], number(1)}), op("Where", {is_accepted, next, u})};
    if (tableau_.is_fsal()) values.push_back(op("Where", {is_accepted, k.back(), k.front()}));
    return {op("Less", {t_next, number(t1_)}), values};
  }

  GraphBuilder& graph_;
  std::string name_;
  const solver::Tableau& tableau_;
  Tolerance tolerance_;
  double t1_;
  const TimedRightHandSide& f_;
};

}  // namespace

std::string integrate_in_loop(GraphBuilder& graph, const std::string& name, const solver::Tableau& tableau,
                              const Tolerance& tolerance, double t0, double t1, const TimedRightHandSide& f,
                              const std::string& u) {
  return LoopWriter(graph, name, tableau, tolerance, t1, f).write(t0, u);
}

std::string write_for_training(GraphBuilder& graph, const std::string& name, const TimedRightHandSide& f,
                               const std::string& u) {
  const auto named = [&](const std::string& part, const std::string& value) {
    return graph.node("Identity", name + part, {value}, {}, name + part);
  };
  const std::string start = named(".u", u), t = named(".t", constant_of(graph, 0));
  const std::string slope = named(".slope", f(graph, t, start));
  return graph.node("Add", name + ".end", {start, slope}, {}, name + ".end");
}

std::string constant_of(GraphBuilder& graph, double value) {
  const auto number = static_cast<float>(value);
  return graph.floats(fmt::format("number.{}", number), {}, [number] { return std::vector<float>{number}; });
}

std::string unroll(GraphBuilder& graph, const std::string& name, const solver::Tableau& tableau, int steps, double t0,
                   double t1, const TimedRightHandSide& f, std::string u) {
  const double h = (t1 - t0) / steps;
  const std::string step_name = name + ".step";
  for (int step = 0; step < steps; ++step) {
    const double t = t0 + step * h;
    std::vector<std::string> k;
    // A last stage that b leaves out serves the error estimate and the next step, which evaluates it itself.
    const size_t stages = tableau.is_fsal() ? tableau.stages() - 1 : tableau.stages();
    for (size_t i = 0; i < stages; ++i) {
      const std::string at = combine(graph, fmt::format("{}.stage{}", name, i + 1), u, tableau.a[i], h, k);
      k.push_back(f(graph, constant_of(graph, t + tableau.c[i] * h), at));
    }
    u = combine(graph, step_name, u, tableau.b, h, k);
  }
  return u;
}

}  // namespace quench::networks
