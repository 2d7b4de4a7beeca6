#include "compressor/networks/initial_values.h"
#include "compressor/networks/integrator.h"

namespace quench::networks {
namespace {

class LinearMultistep final : public Integrator {
 public:
  std::string_view name() const override { return "linear-multistep"; }
  BlockForm form() const override { return BlockForm::kPreActivation; }

  // Written as u_n + k (u_{n-1} - u_n) + f(u_n): no constant 1 is needed, which training would take for a parameter.
  std::string step(GraphBuilder& graph, const std::string& step, uint64_t seed, const History& history,
                   const RightHandSide& f) const override {
    if (history.size() < 2) return euler().step(graph, step, seed, history, f);
    const std::string k = graph.floats(step + ".k", {1}, [&] { return uniform_values(seed, step + ".k", 1, -0.1, 0); });
    const std::string back = graph.node("Sub", step + ".back", {history[1], history[0]});
    const std::string scaled = graph.node("Mul", step + ".scale", {back, k});
    const std::string mixed = graph.node("Add", step + ".mix", {history[0], scaled});
    return graph.node("Add", step + ".add", {f(step, history[0]), mixed}, {}, step + ".sum");
  }
};

}  // namespace

const Integrator& linear_multistep() {
  static const LinearMultistep integrator;
  return integrator;
}

}  // namespace quench::networks
