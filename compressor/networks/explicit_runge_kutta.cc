#include "compressor/networks/integrator.h"

namespace quench::networks {
namespace {

// Numbers of rank 0 belong to the method: training takes none of them for a parameter.
std::string times(GraphBuilder& graph, const std::string& name, const std::string& u, const std::string& number,
                  float value) {
  return graph.node("Mul", name, {u, graph.floats(number, {}, [value] { return std::vector<float>{value}; })});
}

std::string plus(GraphBuilder& graph, const std::string& name, const std::string& a, const std::string& b) {
  return graph.node("Add", name, {a, b});
}

class Midpoint final : public Integrator {
 public:
  std::string_view name() const override { return "midpoint"; }
  BlockForm form() const override { return BlockForm::kPreActivation; }

  std::string step(GraphBuilder& graph, const std::string& step, uint64_t /*seed*/, const History& history,
                   const RightHandSide& f) const override {
    const std::string& u = history[0];
    const std::string half = times(graph, step + ".halve", f(step, u), "half", 0.5f);
    const std::string slope = f(step, plus(graph, step + ".middle", half, u));
    return graph.node("Add", step + ".add", {slope, u}, {}, step + ".sum");
  }
};

class Rk4 final : public Integrator {
 public:
  std::string_view name() const override { return "rk4"; }
  BlockForm form() const override { return BlockForm::kPreActivation; }

  std::string step(GraphBuilder& graph, const std::string& step, uint64_t /*seed*/, const History& history,
                   const RightHandSide& f) const override {
    const std::string& u = history[0];
    const auto ahead = [&](const std::string& slope) { return plus(graph, step + ".ahead", slope, u); };
    const auto half = [&](const std::string& slope) { return times(graph, step + ".halve", slope, "half", 0.5f); };
    const std::string k1 = f(step, u);
    const std::string k2 = f(step, ahead(half(k1)));
    const std::string k3 = f(step, ahead(half(k2)));
    const std::string k4 = f(step, ahead(k3));
    const std::string middle = times(graph, step + ".double", plus(graph, step + ".inner", k2, k3), "two", 2);
    const std::string all = plus(graph, step + ".all", plus(graph, step + ".outer", k1, k4), middle);
    return graph.node("Add", step + ".add", {times(graph, step + ".mean", all, "sixth", 1.0f / 6), u}, {},
                      step + ".sum");
  }
};

}  // namespace

const Integrator& midpoint() {
  static const Midpoint integrator;
  return integrator;
}

const Integrator& rk4() {
  static const Rk4 integrator;
  return integrator;
}

}  // namespace quench::networks
